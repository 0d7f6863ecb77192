//! Whose turn it is, where several shards share a rate: those who were refused stand in a row, and the first of them goes
//! first. It is waited for a moment only, shorter than the lateness a rate makes up for, so that nothing is lost by one
//! that does not come.

use crate::base::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// How long the first in the row is waited for.
const COURTESY: Duration = Duration::from_millis(1);
/// What a shard may take in one turn: what the rate gives in this time, and one at least.
pub(super) const TURN: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Turns {
    row: VecDeque<u32>,
    /// What the first in the row has taken in its turn.
    taken: u64,
    /// When its turn began.
    since: Time,
}

impl Turns {
    /// Whether `shard` may take now what may be taken since `earliest`; `Err` says when to ask again.
    pub fn look(&self, shard: u32, now: Time, earliest: Time) -> Result<(), Time> {
        match self.row.front() {
            None => Ok(()),
            Some(first) if *first == shard => Ok(()),
            Some(_) => {
                let until = earliest.max(self.since) + COURTESY;
                if now >= until { Ok(()) } else { Err(until) }
            }
        }
    }

    /// `shard` has taken `n`, of at most `most` in a turn.
    pub fn took(&mut self, shard: u32, now: Time, n: u64, most: u64) {
        let Some(&first) = self.row.front() else { return };
        if first == shard {
            self.taken = self.taken.saturating_add(n);
        }
        // The first did not come in time: its turn is over too.
        if first != shard || self.taken >= most {
            self.row.pop_front();
            (self.taken, self.since) = (0, now);
        }
    }

    /// `shard` was refused and still wants some.
    pub fn join(&mut self, shard: u32, now: Time) {
        if !self.row.contains(&shard) {
            if self.row.is_empty() {
                (self.taken, self.since) = (0, now);
            }
            self.row.push_back(shard);
        }
    }

    /// `shard` wants no more.
    pub fn leave(&mut self, shard: u32, now: Time) {
        if self.row.front() == Some(&shard) {
            (self.taken, self.since) = (0, now);
        }
        self.row.retain(|waiting| *waiting != shard);
    }
}
