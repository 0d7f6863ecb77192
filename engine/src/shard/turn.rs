//! A queue's turn: feed its idle connections, open new ones, and set the timer for the next turn.

use super::Shard;
use super::dispatch::Fed;
use super::profile::Delivery;
use super::settle::Fate;
use crate::base::{Now, Time};
use crate::mail::schedule::Opening;
use crate::queue::{Gate, List};
use crate::spool::record::{Attempt, Disposition, Said};
use std::time::Duration;

/// A connection whose queue must wait no longer than this for its rate is kept; beyond it the peer would tire first.
const WORTH_WAITING: Duration = Duration::from_secs(30);
/// How long those who wait are left to a busy connection while others have nothing to do.
const WORTH_LEAVING: Duration = Duration::from_millis(10);
/// How often a queue is looked through at least for mail that has become too old.
const LOOK: Duration = Duration::from_secs(3600);

impl Shard {
    pub(super) fn turn(&mut self, now: Now, queue: u32) {
        if self.queues[queue].profile.delivery == Delivery::Discard {
            self.discard(now, queue);
        }
        self.look(now, queue);
        self.look_at_mode(now, queue);
        self.look_at_sources(now, queue);
        if self.giving_up.contains_key(&queue) {
            return self.arm(now, queue);
        }
        if self.reroute(now, queue) {
            return self.arm(now, queue);
        }
        while !self.is_left_to_others(now, queue)
            && let Some(key) = self.next_idle(now, queue)
        {
            match self.feed(now, key) {
                Fed::Started => self.pump(now, key),
                Fed::Busy => {}
                Fed::Nothing => {
                    self.queues[queue].work_mut().idle.push_front(key);
                    break;
                }
            }
        }
        if !self.is_left_to_others(now, queue) {
            self.open_connections(now, queue);
        }
        self.arm(now, queue);
    }

    /// Whether those who wait are left to connections that are about to send something and will ask for more with it:
    /// that costs one round trip a message, another connection two. Not for long: over a long way the next one to ask
    /// may be far.
    fn is_left_to_others(&mut self, now: Now, queue: u32) -> bool {
        let entry = &mut self.queues[queue];
        let ready = entry.queue.ready();
        let Some(work) = entry.some_work() else { return false };
        if ready == 0 || ready > work.coming {
            work.left_until = None;
            return false;
        }
        *work.left_until.get_or_insert(now.mono + WORTH_LEAVING) > now.mono
    }

    /// Sets the queue's timer to when it may go on.
    fn arm(&mut self, now: Now, queue: u32) {
        let entry = &mut self.queues[queue];
        entry.rest(now.mono);
        if let Some(limits) = &mut entry.sources.limits {
            limits.looked();
        }
        let gate = entry.queue.gate(now.mono);
        if let Gate::Wait(wait) = gate
            && let Some(volume) = wait.reason.of_vmta()
        {
            self.stand_in_row(now, queue, volume, wait.until.unwrap_or(Time::NEVER));
        }
        let entry = &mut self.queues[queue];
        let mut wake = match gate {
            Gate::Wait(wait) if wait.reason.of_vmta().is_some() => None,
            Gate::Wait(wait) => wait.until,
            Gate::Go => match entry.queue.connection_gate(now.mono) {
                Gate::Wait(wait) => wait.until,
                Gate::Go => None,
            },
        };
        if let (Gate::Go, Some(limits)) = (gate, &entry.sources.limits) {
            wake = wake.into_iter().chain(limits.next(now.mono)).min();
        }
        let (hold, left) = entry.work().map_or((None, None), |work| (work.hold_until, work.left_until));
        if let Some(hold) = hold.filter(|h| *h > now.mono && entry.queue.waiting() > 0) {
            wake = Some(wake.map_or(hold, |w| w.min(hold)));
        }
        if let Some(until) = left.filter(|until| *until > now.mono) {
            wake = Some(wake.map_or(until, |w| w.min(until)));
        }
        // That of a queue whose virtual MTA or route is gone waits for the operator (F39).
        if entry.queue.waiting() > 0 && !entry.is_held() {
            wake = Some(wake.map_or(entry.look, |w| w.min(entry.look)));
        }
        let events = entry.backoff_until().into_iter().chain(entry.sources.disabled.next());
        let wake = wake.into_iter().chain(events).min();
        match wake {
            Some(at) => self.queue_timers.set(queue, at),
            None => self.queue_timers.cancel(queue),
        }
    }

    /// No mail outlives `bounce-after` because nobody takes it: in a queue that is paused, or behind others that always go
    /// first.
    fn look(&mut self, now: Now, queue: u32) {
        let entry = &self.queues[queue];
        let looked_after = entry.look != Time::ZERO && now.mono.since(entry.look) < LOOK;
        if entry.look > now.mono || entry.queue.waiting() == 0 || entry.is_held() {
            return;
        }
        // Where nobody has looked for long, for want of mail or of a route, it has its turn first.
        if looked_after {
            self.sweep(now, queue);
        }
        let entry = &mut self.queues[queue];
        let begins = |slot: u32| self.submissions.terms(self.slots[slot].submission).begins;
        let first = entry.queue.iter(&self.slots).next().map(begins);
        let left = first.map_or(LOOK, |begins| entry.life().saturating_sub(now.wall.since(begins)));
        entry.look = now.mono + left.clamp(Duration::from_secs(1), LOOK);
    }

    /// An idle connection's time is over, unless its queue only waits for its rate.
    pub(super) fn idle_too_long(&mut self, now: Now, key: u32) {
        let Some((queue, from)) = self.connections.at(key).map(|c| (c.queue, c.from)) else { return };
        let soon = match self.queues[queue].gate_from(from, now.mono) {
            Gate::Go => None,
            Gate::Wait(wait) => wait.until.filter(|until| until.since(now.mono) <= WORTH_WAITING),
        };
        match soon {
            Some(until) if !self.draining => {
                if let Some(connection) = self.connections.at(key) {
                    connection.idle_until = Some(until + WORTH_WAITING);
                }
                self.flush(now, key);
            }
            _ => self.part(now, key),
        }
    }

    /// A queue failed as a whole: record it, and give up what has become too old while it could not be delivered.
    pub(super) fn queue_failed(
        &mut self,
        now: Now,
        queue: u32,
        attempt: Attempt,
        said: Said,
        text: &str,
        dns: bool,
    ) {
        let entry = &mut self.queues[queue];
        if dns {
            entry.queue.dns_failed(now, text);
        } else {
            entry.queue.failed(now, text);
        }
        entry.queue.share_error(&mut self.failure);
        // The next try begins at the best host again.
        if let Some(work) = entry.some_work() {
            work.next = None;
        }
        self.outcomes.queue_failed(now, attempt, said);
        self.sweep(now, queue);
    }

    pub(super) fn keys_of(&mut self, mut list: List) -> Vec<u32> {
        let mut keys = Vec::with_capacity(list.len() as usize);
        while let Some(key) = list.pop_front(&mut self.slots) {
            keys.push(key);
        }
        keys
    }

    /// `type discard`: everybody who may go is delivered to nowhere.
    pub(super) fn discard(&mut self, now: Now, queue: u32) {
        loop {
            if self.queues[queue].is_held() {
                return;
            }
            if self.outcomes_back_up() {
                self.backed_up.insert(queue);
                return;
            }
            let batch = self.take(now, queue, 1000);
            if batch.is_empty() {
                // Empty with an open gate: a run of expired ones came first.
                if self.queues[queue].queue.gate(now.mono).open().is_err() {
                    break;
                }
                continue;
            }
            let said = Said { status: "2.0.0 (success)".to_owned(), diagnostic: "discarded".to_owned() };
            let fate =
                Fate { disposition: Disposition::Delivered, said, size: 0, passed_on: false, at_once: false };
            self.settle_unattempted(now, queue, &batch, &fate);
        }
    }

    /// A start date is a matter of the calendar, whatever it said when the mail came in.
    pub(super) fn look_at_clock(&mut self, now: Now) {
        let Some(step) = self.expiry.observe(now) else { return };
        for queue in 0..self.queues.len() as u32 {
            let submissions = &self.submissions;
            let begins = |key| match submissions.terms(key).schedule?.at(now.wall) {
                Opening::From(start) => Some(now.mono + start.since(now.wall)),
                Opening::Open | Opening::Over => Some(now.mono),
            };
            self.queues[queue].queue.clock_set(&mut self.slots, now.mono, step, begins);
            self.turn(now, queue);
        }
    }

    /// Timers that have come due.
    pub(super) fn expire_timers(&mut self, now: Now) {
        let mut due = std::mem::take(&mut self.due);
        self.queue_timers.expire(now.mono, |key| due.push(key));
        due.drain(..).for_each(|queue| self.turn(now, queue));
        self.connection_timers.expire(now.mono, |key| due.push(key));
        due.drain(..).for_each(|connection| self.connection_timer(now, connection));
        self.due = due;
    }
}
