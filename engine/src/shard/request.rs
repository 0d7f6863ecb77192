//! What the operator asks of a shard, and what it answers. Counts of several shards add up.

use super::admit::QueueName;
use crate::base::Wall;
use std::sync::Arc;

/// A queue name pattern: `domain[/vmta]`, either part `*` or missing for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePattern {
    domain: Option<String>,
    vmta: Option<String>,
}

impl QueuePattern {
    pub fn all() -> QueuePattern {
        QueuePattern { domain: None, vmta: None }
    }

    pub fn parse(text: &str) -> QueuePattern {
        let part = |p: &str| if p.is_empty() || p == "*" { None } else { Some(p.to_ascii_lowercase()) };
        match text.split_once('/') {
            Some((domain, vmta)) => QueuePattern { domain: part(domain), vmta: part(vmta) },
            None => QueuePattern { domain: part(text), vmta: None },
        }
    }

    pub fn matches(&self, name: &QueueName) -> bool {
        let part = |p: &Option<String>, of: &str| p.as_ref().is_none_or(|p| p.eq_ignore_ascii_case(of));
        part(&self.domain, &name.domain) && part(&self.vmta, &name.vmta)
    }
}

/// Which recipients `delete` removes; all given conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub queue: Option<QueuePattern>,
    pub job: Option<String>,
    pub envid: Option<String>,
    pub sender: Option<String>,
    pub recipient: Option<String>,
}

#[derive(Clone, Debug)]
pub enum ShardRequest {
    Status,
    Queues,
    Jobs,
    Pause { queue: QueuePattern, paused: bool },
    /// Removes recipients that are not being sent right now.
    Delete { selection: Selection, quiet: bool },
    /// Recipients whose address is `address`, at most `limit`; `None` looks at queues only.
    Find { address: Option<String>, queue: QueuePattern, limit: usize },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStatus {
    pub waiting: u64,
    pub queues: u64,
    pub connections: u64,
    pub delivered: u64,
    pub delivered_bytes: u64,
    pub bounced: u64,
    pub deferrals: u64,
    pub in_doubt: u64,
    /// Messages (transactions) accepted by next hops.
    pub messages: u64,
}

/// One line of `show queues`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueState {
    pub name: QueueName,
    pub waiting: u64,
    pub in_flight: u64,
    pub connections: u64,
    pub paused: bool,
    pub backoff: bool,
    /// When the queue will try again after a failure.
    pub retry_at: Option<Wall>,
    pub last_error: Option<(Wall, String)>,
    pub delivered: u64,
    pub bounced: u64,
    pub deferrals: u64,
    /// What the queue waits for right now, in words; empty while it is sending.
    pub waits_for: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobState {
    pub job: Arc<str>,
    pub waiting: u64,
    pub delivered: u64,
    pub bounced: u64,
    pub deferrals: u64,
}

/// A waiting recipient, for `why ADDRESS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub recipient: String,
    pub queue: QueueName,
    pub job: Arc<str>,
    pub accepted_at: Wall,
    pub attempts: u16,
    /// Not tried again before this.
    pub due: Option<Wall>,
    pub in_flight: bool,
}

#[derive(Clone, Debug)]
pub enum ShardReply {
    Status(ShardStatus),
    Queues(Vec<QueueState>),
    Jobs(Vec<JobState>),
    /// Number of queues or recipients concerned.
    Count(u64),
    Found { recipients: Vec<Found>, queues: Vec<QueueState> },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_part_means_all() {
        let name = QueueName { domain: "a.example".into(), vmta: "Mta1".into() };
        for (pattern, matches) in [
            ("a.example/mta1", true),
            ("A.example", true),
            ("*/mta1", true),
            ("/mta1", true),
            ("*/*", true),
            ("b.example", false),
            ("a.example/mta2", false),
        ] {
            assert_eq!(QueuePattern::parse(pattern).matches(&name), matches, "{pattern}");
        }
    }
}
