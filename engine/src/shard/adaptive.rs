//! Queues that ease their rate and connections themselves when a reply asks for less (`adaptive-rate`). A step exchanges
//! the queue's settings, as a change of mode does, so that limits know nothing of it.

use super::connection::Transaction;
use super::{Notice, Output, Shard};
use crate::base::Now;
use crate::queue::{Adaptive, Refusal, Step};

impl Shard {
    /// A reply asks for less. False: the queue does not adapt, or has nothing left to ease, and backoff is due.
    pub(super) fn ease(&mut self, now: Now, queue: u32, why: &str) -> bool {
        let entry = &mut self.queues[queue];
        let open = entry.queue.connections();
        let in_backoff = entry.backoff.is_some();
        let Some(adaptive) = entry.adaptive.as_mut().filter(|_| !in_backoff) else { return false };
        match adaptive.refused(now, &entry.profile.scheduling, open, why) {
            Refusal::Eased(step) => self.adapted(now, queue, step),
            Refusal::Heard => {}
            Refusal::AtFloor => return false,
        }
        true
    }

    /// A message was taken: perhaps more may be tried.
    pub(super) fn adapt_to_delivery(&mut self, now: Now, queue: u32, transaction: &Transaction) {
        let entry = &mut self.queues[queue];
        let (open, in_backoff) = (entry.queue.connections(), entry.backoff.is_some());
        let Some(adaptive) = entry.adaptive.as_mut().filter(|_| !in_backoff) else { return };
        let taken = transaction.recipients.iter().filter(|recipient| !recipient.answered).count() as u32;
        if let Some(step) = adaptive.accepted(now, &entry.profile.scheduling, open, taken) {
            self.adapted(now, queue, step);
        }
    }

    /// All as configured again.
    pub(super) fn lift(&mut self, now: Now, queue: u32, why: &str) {
        let adaptive = self.queues[queue].adaptive.as_deref_mut();
        if let Some(step) = adaptive.and_then(|adaptive: &mut Adaptive| adaptive.lift(now, why)) {
            self.adapted(now, queue, step);
        }
    }

    fn adapted(&mut self, now: Now, queue: u32, step: Step) {
        let entry = &mut self.queues[queue];
        entry.adapt();
        let notice = Notice::Adapted { queue: entry.queue.name().clone(), step };
        self.queue_timers.set(queue, now.mono);
        self.outputs.push_back(Output::Notice(Box::new(notice)));
    }
}
