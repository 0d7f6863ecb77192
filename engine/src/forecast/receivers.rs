//! How receivers behave in a forecast.

use crate::shard::QueueProfile;
use crate::smtp::client::StartTls;
use std::time::Duration;

/// Typical behaviour of receivers; the same for all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Receivers {
    /// Time to a receiver and back.
    pub round_trip: Duration,
    /// From the end of a message to the reply.
    pub message: Duration,
    /// Of a thousand attempts so many are put off for a later one.
    pub deferred: u32,
}

/// A receiver on another continent that scans what it gets: rather slow, so that a forecast is not too good to be true.
impl Default for Receivers {
    fn default() -> Receivers {
        Receivers { round_trip: Duration::from_millis(80), message: Duration::from_millis(200), deferred: 0 }
    }
}

impl Receivers {
    /// What it takes to get a connection to its first message: TCP, greeting and EHLO; with STARTTLS that command, the
    /// handshake and a second EHLO (RFC 3207, RFC 8446).
    pub fn to_connect(&self, profile: &QueueProfile) -> Duration {
        self.round_trip * if profile.starttls == StartTls::Off { 3 } else { 6 }
    }

    /// What a message takes with PIPELINING (RFC 2920): its envelope comes with the end of the one before it, unless that
    /// is not wanted.
    pub fn to_send(&self, profile: &QueueProfile) -> Duration {
        let trips = match (profile.ignore_pipelining, profile.pipeline_across_data) {
            (true, _) => 4,
            (false, false) => 2,
            (false, true) => 1,
        };
        self.round_trip * trips + self.message
    }
}
