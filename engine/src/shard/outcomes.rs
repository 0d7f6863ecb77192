//! Outcomes on their way to the log: gathered for up to [`MAX_AGE`] or [`MAX_COUNT`], so that settling a recipient
//! costs a few dozen bytes and no thread is woken for a single message.

use crate::base::{Now, Time};
use crate::spool::record::Location;
use crate::spool::record::{Attempt, Disposition, Outcome, OutcomeBatch, QueueFailure, RowRef, Said};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub const MAX_COUNT: usize = 512;
pub const MAX_AGE: Duration = Duration::from_millis(10);
/// Past this many unwritten outcomes no new transaction starts: the log comes first (R6).
pub const HIGH_WATER: usize = 16 * MAX_COUNT;

/// The circumstances of a connection's attempts; its index in the batch being gathered is remembered here, so
/// that the strings are copied once per connection and batch.
#[derive(Debug, Default)]
pub struct AttemptKey {
    attempt: Arc<Attempt>,
    generation: u64,
    index: u32,
}

impl AttemptKey {
    pub fn new(attempt: Attempt) -> AttemptKey {
        AttemptKey { attempt: Arc::new(attempt), generation: 0, index: 0 }
    }

    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    pub fn shared(&self) -> Arc<Attempt> {
        self.attempt.clone()
    }

    /// Replaces what is known about the connection (after EHLO or TLS).
    pub fn update(&mut self, change: impl FnOnce(&mut Attempt)) {
        change(Arc::make_mut(&mut self.attempt));
        self.generation = 0;
    }
}

/// One settled or deferred recipient, before its circumstances are folded into a batch.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    pub row: RowRef,
    pub submission: Location,
    pub disposition: Disposition,
    pub size: u32,
    pub attempts: u16,
}

impl Settled {
    /// As it is recorded, with circumstances and words of its own.
    pub fn outcome(self, now: Now) -> Outcome {
        self.outcome_in(now, 0, 0)
    }

    fn outcome_in(self, now: Now, attempt: u32, said: u32) -> Outcome {
        let Settled { row, submission, disposition, size, attempts } = self;
        Outcome { row, submission, disposition, at: now.wall.0, attempt, said, size, attempts }
    }
}

#[derive(Debug)]
pub struct OutcomeBuffer {
    batch: OutcomeBatch,
    /// Batches of [`MAX_COUNT`] that came before it: a queue that bounces as a whole must not become one record that is
    /// larger than the log takes.
    full: VecDeque<OutcomeBatch>,
    /// Counts batches from 1; an [`AttemptKey`] of generation 0 is in none.
    generation: u64,
    since: Option<Time>,
}

impl Default for OutcomeBuffer {
    fn default() -> Self {
        OutcomeBuffer { batch: OutcomeBatch::default(), full: VecDeque::new(), generation: 1, since: None }
    }
}

impl OutcomeBuffer {
    pub fn push(&mut self, now: Now, key: &mut AttemptKey, said: Said, settled: Settled) {
        let attempt = self.attempt(key);
        let said = self.said(said);
        self.batch.outcomes.push(settled.outcome_in(now, attempt, said));
        self.since.get_or_insert(now.mono);
    }

    pub fn queue_failed(&mut self, now: Now, attempt: Attempt, said: Said) {
        let attempt = self.attempt(&mut AttemptKey::new(attempt));
        let said = self.said(said);
        self.batch.queue_failures.push(QueueFailure { at: now.wall.0, attempt, said });
        self.since.get_or_insert(now.mono);
    }

    fn attempt(&mut self, key: &mut AttemptKey) -> u32 {
        if self.open_len() >= MAX_COUNT {
            let batch = self.next_batch();
            self.full.push_back(batch);
        }
        if key.generation != self.generation {
            key.generation = self.generation;
            key.index = self.batch.attempts.len() as u32;
            self.batch.attempts.push((*key.attempt).clone());
        }
        key.index
    }

    /// Neighbours often hear the same words (a refusal of a whole burst); beyond that texts hardly repeat,
    /// because most sites put a queue id into every reply.
    fn said(&mut self, said: Said) -> u32 {
        if self.batch.said.last() != Some(&said) {
            self.batch.said.push(said);
        }
        (self.batch.said.len() - 1) as u32
    }

    fn open_len(&self) -> usize {
        self.batch.outcomes.len() + self.batch.queue_failures.len()
    }

    pub fn len(&self) -> usize {
        self.full.len() * MAX_COUNT + self.open_len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the batch has to go, if there is one.
    pub fn due(&self) -> Option<Time> {
        let since = self.since?;
        Some(if self.len() >= MAX_COUNT { since } else { since + MAX_AGE })
    }

    /// The oldest batch.
    pub fn take(&mut self) -> OutcomeBatch {
        if let Some(full) = self.full.pop_front() {
            return full;
        }
        self.since = None;
        self.next_batch()
    }

    fn next_batch(&mut self) -> OutcomeBatch {
        self.generation += 1;
        std::mem::take(&mut self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Wall;

    fn at(ms: u64) -> Now {
        Now { mono: Time::from_millis(ms), wall: Wall(1_000_000 + ms as i64) }
    }

    fn settled(disposition: Disposition) -> Settled {
        Settled { row: RowRef::default(), submission: Location::default(), disposition, size: 7, attempts: 1 }
    }

    fn said(text: &str) -> Said {
        Said { status: "2.0.0 (success)".into(), diagnostic: text.into() }
    }

    #[test]
    fn a_connection_s_circumstances_are_stored_once_per_batch() {
        let mut buffer = OutcomeBuffer::default();
        let mut key = AttemptKey::new(Attempt { queue: "a.example/v".into(), ..Attempt::default() });
        buffer.push(at(1), &mut key, said("smtp;250 ok"), settled(Disposition::Delivered));
        buffer.push(at(2), &mut key, said("smtp;250 ok"), settled(Disposition::Delivered));
        let first = buffer.take();
        assert_eq!((first.attempts.len(), first.said.len(), first.outcomes.len()), (1, 1, 2));

        key.update(|a| a.tls_protocol = "TLSv1.3".into());
        buffer.push(at(3), &mut key, said("smtp;250 queued as 1"), settled(Disposition::Delivered));
        buffer.push(at(3), &mut key, said("smtp;250 queued as 2"), settled(Disposition::Deferred));
        let second = buffer.take();
        assert_eq!((second.attempts.len(), second.said.len()), (1, 2));
        assert_eq!(second.attempts[0].tls_protocol, "TLSv1.3");
        assert_eq!(second.outcomes[1].said, 1);
    }

    #[test]
    fn a_batch_is_due_by_age_or_at_once_when_full() {
        let mut buffer = OutcomeBuffer::default();
        assert_eq!(buffer.due(), None);
        let mut key = AttemptKey::new(Attempt::default());
        buffer.push(at(5), &mut key, said("x"), settled(Disposition::Delivered));
        assert_eq!(buffer.due(), Some(Time::from_millis(15)));
        for _ in 1..MAX_COUNT {
            buffer.push(at(6), &mut key, said("x"), settled(Disposition::Delivered));
        }
        assert_eq!(buffer.due(), Some(Time::from_millis(5)));
        buffer.take();
        assert_eq!(buffer.due(), None);
    }

    #[test]
    fn no_batch_is_larger_than_the_log_takes() {
        let mut buffer = OutcomeBuffer::default();
        let mut key = AttemptKey::new(Attempt::default());
        for n in 0..MAX_COUNT * 2 + 1 {
            buffer.push(at(5), &mut key, said(&n.to_string()), settled(Disposition::Bounced));
        }
        let mut sizes = Vec::new();
        while buffer.due().is_some_and(|due| due <= Time::from_millis(15)) {
            let batch = buffer.take();
            assert!(batch.outcomes.iter().all(|o| (o.attempt, o.said) < (1, MAX_COUNT as u32)));
            sizes.push((batch.attempts.len(), batch.outcomes.len()));
        }
        assert_eq!(sizes, [(1, MAX_COUNT), (1, MAX_COUNT), (1, 1)]);
        assert!(buffer.is_empty());
    }
}
