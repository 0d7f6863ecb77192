//! What came of a load.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A message that the server answered `250` after the final dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    pub id: u64,
    /// When the `250` was read, microseconds of CLOCK_MONOTONIC.
    pub at_us: u64,
    /// From the final dot to the `250`, microseconds.
    pub latency_us: u32,
}

/// What came of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    pub started_us: u64,
    pub ended_us: u64,
    /// In the order of their `250`.
    pub acked: Vec<Ack>,
    /// The final dot was out, or partly, and no reply came: nobody knows.
    pub in_doubt: Vec<u64>,
    /// Refused for good.
    pub refused: Vec<u64>,
    /// Refused for now and sent again.
    pub deferrals: u64,
    /// Of these, the ones that had been sent whole: the server may have kept one and it is sent again.
    pub put_off: Vec<u64>,
    /// Replies other than those hoped for, by code, and the last text of each.
    pub replies: BTreeMap<u16, (u64, String)>,
    pub connections: u64,
    /// Connections that could not be opened or broke.
    pub broken: u64,
    /// The server stayed away longer than the source's patience.
    pub gave_up: bool,
}

impl SourceReport {
    pub(super) fn finish(&mut self, now: u64) {
        self.ended_us = now;
        self.acked.sort_unstable_by_key(|a| a.at_us);
    }

    /// Acknowledged messages a second.
    pub fn rate(&self) -> f64 {
        let span = self.ended_us.saturating_sub(self.started_us).max(1);
        self.acked.len() as f64 * 1e6 / span as f64
    }

    /// Time from the final dot to the `250` that this share (0.0 to 1.0) of the messages stayed within, in microseconds.
    pub fn latency_us(&self, share: f64) -> u32 {
        let mut all: Vec<u32> = self.acked.iter().map(|a| a.latency_us).collect();
        all.sort_unstable();
        let at = (all.len().saturating_sub(1) as f64 * share.clamp(0.0, 1.0)).round();
        all.get(at as usize).copied().unwrap_or(0)
    }

    pub(super) fn note(&mut self, code: u16, text: &str) {
        let entry = self.replies.entry(code).or_default();
        entry.0 += 1;
        if entry.1 != text {
            entry.1 = text.to_string();
        }
    }
}
