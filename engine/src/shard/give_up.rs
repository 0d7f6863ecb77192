//! Recipients that are given up without a try: too old, or of a queue that cannot deliver. However many they are, no more of
//! them go at once than there is room for their outcomes and reports; the others stay in their queue.

use super::Shard;
use super::outcomes::HIGH_WATER;
use super::reports::MOST;
use super::said;
use super::settle::Fate;
use crate::base::Now;
use crate::queue::Calendar;
use crate::spool::record::{Disposition, Said};

/// Recipients looked at for expiry after each failure of a queue that cannot deliver.
const SWEEP: u32 = 10_000;
/// Recipients given up between one look at the room and the next.
const AT_ONCE: usize = 64;

impl Shard {
    /// Gives up what has become too old in a queue that nobody is taken from.
    pub(super) fn sweep(&mut self, now: Now, queue: u32) {
        if !self.may_give_up() {
            self.queues[queue].look = now.mono;
            return;
        }
        let submissions = &self.submissions;
        let entry = &mut self.queues[queue];
        let terms = |key| submissions.terms(key);
        let calendar = Calendar { expiry: &self.expiry, terms, life: entry.life() };
        let expired = entry.queue.sweep(&mut self.slots, now, SWEEP, &calendar);
        let expired = self.keys_of(expired);
        self.expire(now, queue, &expired);
    }

    pub(super) fn expire(&mut self, now: Now, queue: u32, slots: &[u32]) {
        if slots.is_empty() {
            return;
        }
        let entry = &self.queues[queue];
        if entry.life_without_mx().is_some() {
            let (said, disposition) = (said::of_no_mx(&entry.destination()), Disposition::Bounced);
            return self.settle_unattempted(now, queue, slots, &Fate::failed(disposition, said));
        }
        let scheduled =
            slots.iter().any(|&slot| self.submissions.terms(self.slots[slot].submission).schedule.is_some());
        let without_try = if scheduled { "no time of its schedule is left" } else { "" };
        let last = entry.queue.last_error().map_or(without_try, |error| &error.text).to_owned();
        let said = Said { status: "4.4.7 (delivery time expired)".to_owned(), diagnostic: last };
        let fate = Fate::failed(Disposition::Expired, said);
        self.settle_unattempted(now, queue, slots, &fate);
    }

    /// Gives up everybody who waits in the queue, as there is room for it.
    pub(super) fn bounce_queue(&mut self, now: Now, queue: u32, said: &Said) {
        let fate = Fate::failed(Disposition::Bounced, said.clone());
        while self.queues[queue].queue.waiting() > 0 {
            if !self.may_give_up() {
                self.giving_up.insert(queue, fate.said);
                return;
            }
            let some = self.queues[queue].queue.take_any(&mut self.slots, AT_ONCE);
            self.settle_unattempted(now, queue, &some, &fate);
        }
    }

    /// Goes on with those for whom there was no room.
    pub(super) fn go_on_giving_up(&mut self, now: Now) {
        self.bounce_refused(now);
        while self.may_give_up()
            && let Some((queue, said)) = self.giving_up.pop_first()
        {
            self.bounce_queue(now, queue, &said);
        }
    }

    /// Whether there is room for more outcomes and reports. Half of it is left to what connections bring, which would
    /// otherwise wait for the last of a million. Whoever is left at a stop is found again by the next start.
    pub(super) fn may_give_up(&self) -> bool {
        let room = self.outcomes.len() < HIGH_WATER / 2 && self.reports_open < MOST / 2;
        room && !self.outcomes_held && !self.draining
    }
}
