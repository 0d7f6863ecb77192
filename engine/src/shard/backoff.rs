//! The mode of a queue (reference 3.3, 3.4): in backoff it has other limits and other waits. It lasts over a reload and
//! ends with the engine.

use super::operate::BY_OPERATOR;
use super::{Notice, Output, Shard};
use crate::base::{Now, Time, Wall};
use std::time::Duration;

/// That a queue is in backoff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub since: Wall,
    entered: Time,
    /// Which reply and line did it, or who.
    pub reason: String,
    /// `backoff-to-normal-after` of the line.
    lasts: Option<Duration>,
}

impl Backoff {
    /// When it ends by itself; `usual` is what the configuration says.
    pub fn until(&self, usual: Option<Duration>) -> Option<Time> {
        self.lasts.or(usual).map(|lasts| self.entered + lasts)
    }
}

impl Shard {
    /// Whoever is in backoff already stays as he is: the time counts from the beginning.
    pub(super) fn enter_backoff(&mut self, now: Now, queue: u32, reason: &str, lasts: Option<Duration>) {
        let entry = &mut self.queues[queue];
        if entry.backoff.is_some() {
            return;
        }
        let backoff = Backoff { since: now.wall, entered: now.mono, reason: reason.to_owned(), lasts };
        entry.set_backoff(Some(backoff));
        self.mode_changed(now, queue, true, reason);
    }

    pub(super) fn leave_backoff(&mut self, now: Now, queue: u32, reason: &str) {
        if self.queues[queue].backoff.is_some() {
            self.queues[queue].set_backoff(None);
            self.mode_changed(now, queue, false, reason);
        }
    }

    /// The operator's word.
    pub(super) fn set_mode(&mut self, now: Now, queue: u32, backoff: bool) -> bool {
        match backoff {
            true => self.enter_backoff(now, queue, BY_OPERATOR, None),
            false => {
                self.leave_backoff(now, queue, BY_OPERATOR);
                self.lift(now, queue, BY_OPERATOR);
            }
        }
        true
    }

    fn mode_changed(&mut self, now: Now, queue: u32, backoff: bool, reason: &str) {
        self.queue_timers.set(queue, now.mono);
        let name = self.queues[queue].queue.name().clone();
        let notice = Notice::Mode { queue: name, backoff, reason: reason.to_owned() };
        self.outputs.push_back(Output::Notice(Box::new(notice)));
    }

    /// A message was taken that was begun at `begun`. One that was on its way before says nothing about backoff.
    pub(super) fn delivered_in_backoff(&mut self, now: Now, queue: u32, begun: Time) {
        let entry = &self.queues[queue];
        let after_it = entry.backoff.as_ref().is_some_and(|backoff| begun > backoff.entered);
        if after_it && entry.profile.backoff.to_normal_after_delivery {
            self.leave_backoff(now, queue, "a message was delivered (backoff-to-normal-after-delivery)");
        }
    }

    /// Ends backoff when its time is over.
    pub(super) fn look_at_mode(&mut self, now: Now, queue: u32) {
        if self.queues[queue].backoff_until().is_some_and(|until| until <= now.mono) {
            self.leave_backoff(now, queue, "its time is over (backoff-to-normal-after)");
        }
    }
}
