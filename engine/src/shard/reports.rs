//! Reports that senders may want of what becomes of their mail (RFC 3461). The shard finds out when one is due and
//! hands it out with the outcome it is about, to become durable together with it; the report itself is made outside, where
//! message and recipient are at hand.

use super::settle::Fate;
use super::{Output, Shard};
use crate::base::{Now, Time, Wall};
use crate::mail::schedule::Schedule;
use crate::report::Action;
use crate::spool::record::{Attempt, Disposition, Location, Outcome, OutcomeBatch, Reports, RowRef, Said};
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Past this many that are being made no new transaction starts: each may hold a message in memory.
pub(super) const MOST: usize = 1024;

/// A report that may be wanted; what the recipient's NOTIFY says is still to be looked at.
#[derive(Clone, Debug)]
pub struct Report {
    pub action: Action,
    pub at: Wall,
    pub row: RowRef,
    pub submission: Location,
    /// Bytes of the message, or the best estimate.
    pub size: u32,
    pub attempt: Arc<Attempt>,
    pub said: Said,
    /// What became of the recipient; nothing yet of one that is delayed.
    pub outcome: Option<Outcome>,
    /// When a recipient that waits is given up.
    pub give_up: Wall,
}

impl Report {
    /// The outcome as it is recorded.
    pub fn batch(&self) -> Option<OutcomeBatch> {
        let outcome = self.outcome?;
        Some(OutcomeBatch {
            attempts: vec![(*self.attempt).clone()],
            said: vec![self.said.clone()],
            outcomes: vec![outcome],
            queue_failures: Vec::new(),
        })
    }
}

/// Recipients whose delay may have to be reported, and when. Few ask for it.
#[derive(Debug, Default)]
pub(super) struct Delays {
    by_slot: HashMap<u32, (Time, u32)>,
    by_time: BTreeSet<(Time, u32)>,
}

impl Delays {
    fn set(&mut self, slot: u32, queue: u32, at: Time) {
        self.forget(slot);
        self.by_slot.insert(slot, (at, queue));
        self.by_time.insert((at, slot));
    }

    pub fn forget(&mut self, slot: u32) {
        if let Some((at, _)) = self.by_slot.remove(&slot) {
            self.by_time.remove(&(at, slot));
        }
    }

    pub fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Slot and queue of one whose time has come.
    fn take_due(&mut self, now: Time) -> Option<(u32, u32)> {
        let &(_, slot) = self.by_time.first().filter(|(at, _)| *at <= now)?;
        let (_, queue) = self.by_slot.get(&slot).copied()?;
        self.forget(slot);
        Some((slot, queue))
    }
}

impl Shard {
    /// The report that may be due with what has become of a recipient.
    pub(super) fn due_report(&self, queue: u32, submission: u32, fate: &Fate) -> Option<Action> {
        if !self.queues[queue].profile.reports {
            return None;
        }
        let Reports { failure, success, .. } = self.submissions.reports(submission);
        match fate.disposition {
            Disposition::Bounced | Disposition::Expired if failure => Some(Action::Failed),
            Disposition::Delivered if success && !fate.passed_on => Some(Action::Relayed),
            _ => None,
        }
    }

    /// Hands an outcome out with the report of it.
    pub(super) fn report(
        &mut self,
        now: Now,
        action: Action,
        attempt: Arc<Attempt>,
        size: u32,
        said: Said,
        outcome: Outcome,
    ) {
        self.reports_open += 1;
        self.outputs.push_back(Output::Report(Box::new(Report {
            action,
            at: now.wall,
            row: outcome.row,
            submission: outcome.submission,
            size,
            attempt,
            said,
            outcome: Some(outcome),
            give_up: now.wall,
        })));
    }

    /// Notes when the delay of a recipient is to be reported, if its sender asked for that.
    pub(super) fn watch_delay(&mut self, now: Now, queue: u32, slot: u32) {
        let submission = self.slots[slot].submission;
        if !self.submissions.reports(submission).delay {
            return;
        }
        let profile = &self.queues[queue].profile;
        let Some(every) = profile.notify_of_delay_every.filter(|_| profile.reports) else { return };
        let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
        let age = now.wall.0.saturating_sub(self.submissions.accepted_at(submission).0);
        let left = every - u64::try_from(age).unwrap_or(0) % every;
        self.delays.set(slot, queue, now.mono + Duration::from_millis(left));
    }

    /// Reports the delays that have become long enough.
    pub(super) fn report_delays(&mut self, now: Now) {
        while self.reports_open < MOST
            && let Some((slot, queue)) = self.delays.take_due(now.mono)
        {
            let submission = self.slots[slot].submission;
            let entry = &self.queues[queue];
            let terms = self.submissions.terms(submission);
            let give_up = terms.schedule.and_then(Schedule::end).unwrap_or_else(|| {
                let life = i64::try_from(entry.life().as_millis()).unwrap_or(i64::MAX);
                Wall(terms.begins.0.saturating_add(life))
            });
            let said = Said {
                status: "4.0.0 (delivery delayed)".to_owned(),
                diagnostic: entry.queue.last_error().map(|e| e.text.to_string()).unwrap_or_default(),
            };
            self.reports_open += 1;
            self.outputs.push_back(Output::Report(Box::new(Report {
                action: Action::Delayed,
                at: now.wall,
                row: self.slots[slot].row(),
                submission: self.submissions.at(submission),
                size: self.submissions.size(submission),
                attempt: Arc::new(self.bare_attempt(queue)),
                said,
                outcome: None,
                give_up,
            })));
            self.watch_delay(now, queue, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_told_of_once_and_only_of_those_who_wait() {
        let mut delays = Delays::default();
        delays.set(1, 7, Time::from_millis(20));
        delays.set(2, 7, Time::from_millis(10));
        delays.set(2, 7, Time::from_millis(30));
        assert_eq!(delays.next(), Some(Time::from_millis(20)));
        assert_eq!(delays.take_due(Time::from_millis(19)), None);
        assert_eq!(delays.take_due(Time::from_millis(20)), Some((1, 7)));
        delays.forget(2);
        assert_eq!((delays.take_due(Time::from_millis(99)), delays.next()), (None, None));
    }
}
