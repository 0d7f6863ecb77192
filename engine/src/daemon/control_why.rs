//! What `why` answers: recipients and queues, their limits, and when they are expected to go.

use super::control::{DisabledRow, QueueRow, WarmingRow};
use serde::{Deserialize, Serialize};

/// A directive in force and where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Setting {
    pub directive: String,
    pub value: String,
    /// `file:line`, or `default`.
    pub origin: String,
}

/// A limit that counts for a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    pub directive: String,
    pub value: String,
    /// `file:line`, or `default`.
    pub origin: String,
    /// Whom it is for: the queue, or all that share it.
    pub of: String,
    /// Recipients an hour that it comes to.
    pub per_hour: Option<u64>,
    pub connections: Option<u64>,
    /// None allows less.
    pub binds: bool,
}

/// When mail is expected to go, and what that rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Estimate {
    /// `None` where nobody can say.
    pub at: Option<i64>,
    /// Recipients that go before it.
    pub ahead: Option<u64>,
    pub rests_on: String,
}

/// One queue of a [`WhyReport`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WhyQueue {
    pub row: QueueRow,
    pub disabled_sources: Vec<DisabledRow>,
    /// What it waits for comes from this directive, if from any.
    pub limited_by: Option<Setting>,
    /// All limits that count for it in its present mode.
    pub limits: Vec<Limit>,
    /// The least of them, in a sentence.
    pub ceiling: String,
    /// When all who wait now are expected to have gone.
    pub estimate: Estimate,
    /// How far its virtual MTA is warmed up at its domain, where it is cold.
    pub warming: Option<WarmingRow>,
    /// The settings that matter to it, with their origins.
    pub settings: Vec<Setting>,
}

/// One recipient of a [`WhyReport`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WhyRecipient {
    pub address: String,
    pub job: String,
    pub queue: String,
    /// In words: `waiting for its next attempt`, `being sent`, …
    pub state: String,
    pub accepted_at: i64,
    pub attempts: u32,
    pub next_attempt_at: Option<i64>,
    pub estimate: Estimate,
    pub last_reply: String,
}

/// The answer to `Request::Why`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WhyReport {
    pub subject: String,
    /// The conclusion, a sentence or two.
    pub summary: String,
    pub recipients: Vec<WhyRecipient>,
    pub queues: Vec<WhyQueue>,
}
