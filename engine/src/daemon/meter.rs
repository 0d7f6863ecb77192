//! Traffic in the last minute and hour, and in the busiest ones: samples of the totals, one a second.

use super::control::{Flow, Traffic};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

const MINUTE: usize = 60;
const HOUR: usize = 3600;

/// Totals of one direction since the start.
#[derive(Debug, Default)]
pub struct Counts {
    pub messages: AtomicU64,
    pub recipients: AtomicU64,
    pub bytes: AtomicU64,
}

impl Counts {
    pub fn add(&self, messages: u64, recipients: u64, bytes: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.recipients.fetch_add(recipients, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// One direction of traffic.
#[derive(Debug, Default)]
pub struct Meter {
    /// Totals, the latest last; at most an hour of them and one more.
    samples: VecDeque<Traffic>,
    top_minute: Traffic,
    top_hour: Traffic,
}

impl Meter {
    /// To be called once a second with the totals since the start.
    pub fn sample(&mut self, total: Traffic) {
        if self.samples.is_empty() {
            self.samples.push_back(Traffic::default());
        }
        self.samples.push_back(total);
        if self.samples.len() > HOUR + 1 {
            self.samples.pop_front();
        }
        self.top_minute = most(self.top_minute, self.since(MINUTE));
        self.top_hour = most(self.top_hour, self.since(HOUR));
    }

    fn since(&self, seconds: usize) -> Traffic {
        let Some(latest) = self.samples.back() else { return Traffic::default() };
        let then = self.samples[self.samples.len().saturating_sub(seconds + 1)];
        Traffic {
            rcpts: latest.rcpts.saturating_sub(then.rcpts),
            msgs: latest.msgs.saturating_sub(then.msgs),
            bytes: latest.bytes.saturating_sub(then.bytes),
        }
    }

    pub fn flow(&self, total: Traffic) -> Flow {
        Flow {
            total,
            last_hour: self.since(HOUR),
            top_hour: self.top_hour,
            last_minute: self.since(MINUTE),
            top_minute: self.top_minute,
        }
    }
}

fn most(a: Traffic, b: Traffic) -> Traffic {
    Traffic { rcpts: a.rcpts.max(b.rcpts), msgs: a.msgs.max(b.msgs), bytes: a.bytes.max(b.bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(n: u64) -> Traffic {
        Traffic { rcpts: n, msgs: n, bytes: n * 100 }
    }

    #[test]
    fn the_last_minute_forgets_and_the_busiest_one_does_not() {
        let mut meter = Meter::default();
        for second in 1..=60 {
            meter.sample(total(second * 10));
        }
        assert_eq!(meter.flow(total(600)).last_minute, total(600));
        for _ in 0..60 {
            meter.sample(total(600));
        }
        let flow = meter.flow(total(600));
        assert_eq!((flow.last_minute, flow.top_minute), (total(0), total(600)));
        assert_eq!((flow.last_hour, flow.top_hour), (total(600), total(600)));
    }
}
