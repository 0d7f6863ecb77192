//! What an attempt means for its recipients: the verdict is told by `smtp::verdict`, the bookkeeping is done here, once
//! for every way a recipient can leave the queue or come back to it.

use super::Shard;
use super::connection::Transaction;
use super::outcomes::{AttemptKey, Settled};
use super::said;
use crate::base::Now;
use crate::base::planted::{Bug, planted};
use crate::smtp::client::{End, RecipientFate};
use crate::smtp::verdict::{self, Class, Scope, Verdict, VerdictOptions};
use crate::spool::record::{Attempt, Disposition, Said};

/// What to do with one recipient.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    pub disposition: Disposition,
    pub said: Said,
    pub size: u32,
    /// The host that has it reports what becomes of it.
    pub passed_on: bool,
    /// Put off, but not for long: another host is to be tried.
    pub at_once: bool,
}

impl Fate {
    /// That of a recipient who was not delivered.
    pub fn failed(disposition: Disposition, said: Said) -> Fate {
        Fate { disposition, said, size: 0, passed_on: false, at_once: false }
    }
}

impl Shard {
    /// A recipient had its answer before its transaction ended.
    pub(super) fn recipient_answered(
        &mut self,
        now: Now,
        key: u32,
        token: u64,
        index: u16,
        fate: &RecipientFate,
    ) {
        let options = self.verdict_options(key);
        let steered = self.steer_recipient(now, key, fate);
        let Some(connection) = self.connections.at(key) else { return };
        let Some(transaction) = connection.transaction(token) else { return };
        let (submission, granted) = (transaction.submission, transaction.granted);
        let Some(recipient) = transaction.recipients.get_mut(usize::from(index)) else { return };
        if std::mem::replace(&mut recipient.answered, true) {
            return;
        }
        let slot = recipient.slot;
        let Some(verdict) = verdict::of_fate(fate, &options) else {
            // Too many for one transaction (S09): the next one takes him, unpenalised.
            let (queue, from) = (connection.queue, connection.from);
            let entry = &mut self.queues[queue];
            entry.give_back(from, granted, 1);
            entry.queue.leave_over(&mut self.slots, slot, self.submissions.class(submission));
            return;
        };
        connection.errors += 1;
        connection.proven |= verdict.scope <= Scope::Message;
        let plain = || Fate::failed(disposition(verdict), said::of_fate(fate, verdict, &options));
        self.conclude(now, key, submission, slot, steered.unwrap_or_else(plain));
    }

    /// A transaction ended: what that means for the recipients that had no answer of their own.
    pub(super) fn transaction_ended(&mut self, now: Now, key: u32, token: u64, end: &End) {
        let Some(connection) = self.connections.at(key) else { return };
        let (queue, from) = (connection.queue, connection.from);
        let Some(transaction) = connection.take_transaction(token) else { return };
        let arrived = self.after_transaction(now, key, &transaction, end);
        self.queues[queue].ended(from, now.mono, transaction.charge, arrived);
    }

    /// True: the host has the message, or may have it.
    fn after_transaction(&mut self, now: Now, key: u32, transaction: &Transaction, end: &End) -> bool {
        let options = self.verdict_options(key);
        let steered = self.steer_end(now, key, end);
        let Some(connection) = self.connections.at(key) else { return false };
        let (queue, from) = (connection.queue, connection.from);
        let open = transaction.recipients.iter().filter(|r| !r.answered);
        if matches!(end, End::Untried) {
            let untried: smallvec::SmallVec<[u32; 8]> = open.map(|r| r.slot).collect();
            let entry = &mut self.queues[queue];
            entry.give_back(from, transaction.granted, untried.len() as u32);
            let class = self.submissions.class(transaction.submission);
            for &slot in untried.iter().rev() {
                entry.queue.hand_back(&mut self.slots, slot, class);
            }
            return false;
        }
        let Some(verdict) = verdict::of_end(end, &options) else { return false };
        let disposition = match end {
            End::InDoubt(_) if verdict.class != Class::Accepted && !planted(Bug::RetryWithoutInDoubt) => {
                Disposition::InDoubt
            }
            _ => disposition(verdict),
        };
        connection.proven |= verdict.scope <= Scope::Message;
        let said = said::of_end(end, verdict, &options);
        let delivered = disposition == Disposition::Delivered;
        let size = if delivered { transaction.size } else { 0 };
        if delivered {
            self.status.messages += 1;
        } else {
            connection.errors += 1;
        }
        let passed_on = delivered && connection.sends_reports;
        let plain = Fate { disposition, said, size, passed_on, at_once: false };
        self.conclude_all(now, key, transaction, &steered.unwrap_or(plain));
        if delivered {
            self.adapt_to_delivery(now, queue, transaction);
            self.delivered_in_backoff(now, queue, transaction.granted);
        }
        delivered || disposition == Disposition::InDoubt
    }

    fn conclude_all(&mut self, now: Now, key: u32, transaction: &Transaction, fate: &Fate) {
        for recipient in transaction.recipients.iter().filter(|r| !r.answered) {
            self.conclude(now, key, transaction.submission, recipient.slot, fate.clone());
        }
    }

    /// Settles or defers one recipient of an attempt over connection `key`.
    fn conclude(&mut self, now: Now, key: u32, submission: u32, slot: u32, fate: Fate) {
        let Some(connection) = self.connections.at(key) else { return };
        let queue = connection.queue;
        let mut attempt = std::mem::take(&mut connection.attempt);
        self.record(now, queue, &mut attempt, submission, slot, fate);
        if let Some(connection) = self.connections.at(key) {
            connection.attempt = attempt;
        }
    }

    /// Settles recipients without any attempt: expired, deleted, or to a domain that takes no mail.
    pub(super) fn settle_unattempted(&mut self, now: Now, queue: u32, slots: &[u32], fate: &Fate) {
        let mut attempt = AttemptKey::new(self.bare_attempt(queue));
        for &slot in slots {
            let submission = self.slots[slot].submission;
            self.record(now, queue, &mut attempt, submission, slot, fate.clone());
        }
    }

    /// The attempt of a queue that has no connection to show.
    pub(super) fn bare_attempt(&self, queue: u32) -> Attempt {
        let entry = &self.queues[queue];
        Attempt {
            queue: entry.queue.name().to_string(),
            vmta: entry.queue.name().vmta.to_string(),
            vmta_pool: self.profiles.pool_of(&entry.queue.name().vmta),
            delivery_type: entry.profile.delivery.name().to_owned(),
            ..Attempt::default()
        }
    }

    fn record(
        &mut self,
        now: Now,
        queue: u32,
        attempt: &mut AttemptKey,
        submission: u32,
        slot: u32,
        fate: Fate,
    ) {
        let row = self.slots[slot].row();
        let attempts = self.slots[slot].attempts.saturating_add(1);
        let at = self.submissions.at(submission);
        let settled =
            Settled { row, submission: at, disposition: fate.disposition, size: fate.size, attempts };
        // That a host is to be skipped says more.
        if fate.disposition != Disposition::Delivered && !fate.at_once {
            self.queues[queue].queue.note_error(now, last_error(&fate.said));
        }
        match self.due_report(queue, submission, &fate) {
            Some(action) => {
                let size = self.submissions.size(submission);
                self.report(now, action, attempt.shared(), size, fate.said, settled.outcome(now));
            }
            None => self.outcomes.push(now, attempt, fate.said, settled),
        }
        let entry = &mut self.queues[queue];
        let job = self.submissions.job_counts(submission);
        match fate.disposition {
            Disposition::Delivered => {
                job.delivered += 1;
                self.status.delivered += 1;
                self.status.delivered_bytes += u64::from(fate.size);
            }
            Disposition::Bounced | Disposition::Expired | Disposition::Deleted { .. } => {
                job.bounced += 1;
                self.status.bounced += 1;
            }
            Disposition::Deferred | Disposition::InDoubt => {
                job.deferrals += 1;
                self.status.deferrals += 1;
                self.status.in_doubt += u64::from(fate.disposition == Disposition::InDoubt);
                let class = self.submissions.class(submission);
                if fate.at_once {
                    entry.queue.defer_to_next_host(&mut self.slots, slot, class, now.mono);
                } else {
                    entry.queue.defer(&mut self.slots, slot, class, now.mono);
                }
                self.submissions.deferred(submission);
                return;
            }
        }
        entry.queue.settled(fate.disposition, now.mono);
        entry.bytes = entry.bytes.saturating_sub(u64::from(self.submissions.size(submission)));
        self.depart(slot);
    }

    pub(super) fn verdict_options(&mut self, key: u32) -> VerdictOptions {
        let queue = self.connections.at(key).map(|c| c.queue);
        queue.map_or_else(VerdictOptions::default, |queue| self.queues[queue].profile.verdict)
    }
}

fn disposition(verdict: Verdict) -> Disposition {
    match verdict.class {
        Class::Accepted => Disposition::Delivered,
        Class::Permanent => Disposition::Bounced,
        Class::Transient | Class::Protocol => Disposition::Deferred,
    }
}

/// What `show queues` gives as the latest error.
fn last_error(said: &Said) -> &str {
    if said.diagnostic.is_empty() { &said.status } else { &said.diagnostic }
}
