//! Mail that goes into another queue, of this shard or of another one: DNS has shown that its domain shares the hosts of others
//! (`<mx-rollup-list>`), or another virtual MTA is to have it (`reroute-to-virtual-mta`).

use super::admit::{Admit, AdmitRow};
use super::{Output, Shard};
use crate::base::Now;
use crate::queue::QueueName;
use crate::route::Route;

/// Recipients that move in one turn, at most; the rest have the next one.
const AT_ONCE: u32 = 4096;

impl Shard {
    /// Hands the queue's mail over to the queue of its rollup, if it belongs to one.
    pub(super) fn rolls_up(&mut self, now: Now, queue: u32, route: &Route) -> bool {
        let entry = &self.queues[queue];
        if !entry.goes_by_mx() || route.mx.is_empty() {
            return false;
        }
        let name = entry.queue.name();
        let Some(domain) = self.profiles.rollup(name, route, now.wall) else { return false };
        let to = QueueName { domain, vmta: name.vmta.clone() };
        self.move_ready(now, queue, &to);
        true
    }

    /// Hands the queue's mail over to that of another virtual MTA, if it has to.
    pub(super) fn reroute(&mut self, now: Now, queue: u32) -> bool {
        let entry = &mut self.queues[queue];
        let Some(to) = entry.rerouted().filter(|_| !entry.queue.is_paused() && !entry.is_held()) else {
            return false;
        };
        entry.turn = entry.turn.wrapping_add(1);
        if !self.draining {
            self.move_ready(now, queue, &to);
        }
        true
    }

    /// Hands all who may go over; those who are put off follow when their time has come.
    fn move_ready(&mut self, now: Now, queue: u32, to: &QueueName) {
        let mut ready = self.queues[queue].queue.take_ready(&mut self.slots, now.mono, AT_ONCE);
        if ready.is_empty() {
            return;
        }
        let mut admits: Vec<Admit> = Vec::new();
        while let Some(key) = ready.pop_front(&mut self.slots) {
            let slot = self.slots[key];
            let (row, size) = (slot.row(), self.submissions.size(slot.submission));
            let at = self.submissions.at(slot.submission);
            let together = |admit: &&mut Admit| (admit.submission, admit.record) == (at, row.record);
            let admit = match admits.last_mut().filter(together) {
                Some(admit) => admit,
                None => {
                    admits.push(Admit {
                        record: row.record,
                        first_ordinal: row.ordinal - u32::from(row.index),
                        queues: vec![to.clone()],
                        ..self.submissions.readmit(slot.submission)
                    });
                    admits.last_mut().expect("it has just been put there")
                }
            };
            admit.rows.push(AdmitRow { index: row.index, attempts: slot.attempts, queue: 0 });
            let entry = &mut self.queues[queue];
            entry.bytes = entry.bytes.saturating_sub(u64::from(size));
            self.depart(key);
        }
        if self.queues[queue].queue.ready() > 0 {
            self.queue_timers.set(queue, now.mono);
        }
        self.outputs.push_back(Output::Move(admits));
    }

    /// A recipient is no longer this shard's.
    pub(super) fn depart(&mut self, key: u32) {
        let submission = self.slots[key].submission;
        self.slots.remove(key);
        self.delays.forget(key);
        if let Some(content) = self.submissions.settled(submission) {
            self.contents.finished(content);
        }
    }
}
