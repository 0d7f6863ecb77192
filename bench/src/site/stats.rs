//! What a site has counted, as it is shown and stored.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::window::Window;

/// Counts of one door for one source address, or for all of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub connections_now: u32,
    /// The most at a time, ever; those refused at the greeting included.
    pub connections_max: u32,
    pub connections: u64,
    /// Greeted with a refusal.
    pub connections_refused: u64,
    /// The most in any window of one second.
    pub connections_max_per_second: u64,
    pub tls_sessions: u64,
    /// MAIL commands, and the most in any window of one second.
    pub mails: u64,
    pub mails_max_per_second: u64,
    /// Messages accepted, and the most final dots in any window of one second, whatever was answered to them.
    pub messages: u64,
    pub messages_max_per_second: u64,
    /// Messages refused at MAIL or after the final dot for good (5xx), or for now (4xx).
    pub messages_rejected: u64,
    pub messages_deferred: u64,
    /// Messages taken whose `250` was never sent (a fault after the final dot).
    pub messages_unacknowledged: u64,
    pub bytes: u64,
    /// Recipients of accepted messages.
    pub recipients: u64,
    pub recipients_rejected: u64,
    pub recipients_deferred: u64,
    /// Commands out of order or unknown, and bytes sent before the TLS handshake.
    pub protocol_errors: u64,
    /// Microseconds of CLOCK_MONOTONIC of the first and the last accepted message; 0 while there was none.
    pub first_us: u64,
    pub last_us: u64,
}

impl Counts {
    /// Accepted messages a second between the first and the last.
    pub fn rate(&self) -> f64 {
        if self.last_us <= self.first_us {
            return 0.0;
        }
        self.messages.saturating_sub(1) as f64 * 1e6 / (self.last_us - self.first_us) as f64
    }
}

/// Counts of one door.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorStats {
    pub name: String,
    pub addrs: Vec<SocketAddr>,
    pub total: Counts,
    pub sources: BTreeMap<IpAddr, Counts>,
}

/// Counts of a whole site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStats {
    /// Since the start, in microseconds.
    pub elapsed_us: u64,
    pub doors: Vec<DoorStats>,
}

impl SiteStats {
    pub fn door(&self, name: &str) -> Option<&DoorStats> {
        self.doors.iter().find(|d| d.name == name)
    }

    /// Messages accepted at all doors.
    pub fn messages(&self) -> u64 {
        self.doors.iter().map(|d| d.total.messages).sum()
    }

    /// Recipients accepted at all doors.
    pub fn recipients(&self) -> u64 {
        self.doors.iter().map(|d| d.total.recipients).sum()
    }
}

/// Counts in the making: with the windows behind the per-second figures.
#[derive(Debug, Default)]
pub struct Tally {
    pub counts: Counts,
    pub connects: Window,
    pub mails: Window,
    pub dots: Window,
}

impl Tally {
    pub fn arrive(&mut self, now: u64) {
        self.connects.add(now);
        self.counts.connections += 1;
        self.counts.connections_now += 1;
        self.counts.connections_max = self.counts.connections_max.max(self.counts.connections_now);
    }

    pub fn leave(&mut self) {
        self.counts.connections_now = self.counts.connections_now.saturating_sub(1);
    }

    pub fn accepted(&mut self, now: u64, bytes: u64, recipients: u32) {
        self.counts.messages += 1;
        self.counts.bytes += bytes;
        self.counts.recipients += u64::from(recipients);
        if self.counts.first_us == 0 {
            self.counts.first_us = now;
        }
        self.counts.last_us = now;
    }

    pub fn told(&self) -> Counts {
        Counts {
            connections_max_per_second: self.connects.most(),
            mails_max_per_second: self.mails.most(),
            messages_max_per_second: self.dots.most(),
            ..self.counts.clone()
        }
    }
}
