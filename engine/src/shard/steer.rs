//! Replies that steer: what lines of an `<smtp-pattern-list>` make of a queue (reference 3.2). Only refusals are looked
//! at, and other replies while the queue is in backoff and one of them could end it.

use super::Shard;
use super::settle::Fate;
use crate::base::Now;
use crate::smtp::client::{End, Failure, RecipientFate};
use crate::smtp::reply::Reply;
use crate::smtp::status;
use crate::smtp::verdict::{Class, Scope, Verdict, VerdictOptions};
use crate::spool::record::{Attempt, Disposition, Said};
use std::fmt::Debug;
use std::time::Duration;

/// What a reply does to the mode of its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeChange {
    /// For so long, if the line says so.
    Backoff(Option<Duration>),
    Normal,
}

/// What becomes of the mail that a reply was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Course {
    /// As the reply says.
    #[default]
    Plain,
    /// It stays queued, and goes to the next host.
    SkipMx,
    BounceQueue,
    /// Only after a 4xx to RCPT.
    BounceRecipient,
}

/// What the line asks for that fits a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steer {
    pub mode: Option<ModeChange>,
    pub course: Course,
    pub disable_source: Option<DisableSource>,
    pub defer_queue: bool,
    /// The line, for display: its expression and where it stands.
    pub rule: String,
}

/// The source address that had the reply is used no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisableSource {
    /// For so long, if the line says so.
    pub reenable_after: Option<Duration>,
}

/// An `<smtp-pattern-list>`.
pub trait ReplyRules: Debug + Send + Sync {
    /// What the first line that fits asks for; `reply` begins with its code.
    fn steer(&self, reply: &str) -> Option<Steer>;
    /// Whether any line ends backoff.
    fn may_end_backoff(&self) -> bool;
}

/// The reply a transaction ended with.
fn reply_of(end: &End) -> Option<&Reply> {
    match end {
        End::Replied { reply, .. }
        | End::Broken { failure: Failure::Reply(reply), .. }
        | End::InDoubt(Failure::Reply(reply)) => Some(reply),
        _ => None,
    }
}

impl Shard {
    /// Does to the queue of connection `key` what its pattern list says of `reply`; what remains to be done is what becomes
    /// of the mail.
    pub(super) fn steer(&mut self, now: Now, key: u32, reply: &Reply) -> Course {
        let Some(connection) = self.connections.at(key) else { return Course::Plain };
        let queue = connection.queue;
        let entry = &self.queues[queue];
        let Some(rules) = &entry.profile.replies else { return Course::Plain };
        let ends_backoff = reply.code < 400 && entry.backoff.is_some() && rules.may_end_backoff();
        if reply.code < 400 && !ends_backoff {
            return Course::Plain;
        }
        let Some(steer) = rules.steer(reply.text()) else { return Course::Plain };
        let why = format!("{} fits {}", reply.text(), steer.rule);
        if steer.mode == Some(ModeChange::Normal) {
            self.leave_backoff(now, queue, &why);
        }
        if reply.code < 400 {
            return Course::Plain;
        }
        if let Some(ModeChange::Backoff(lasts)) = steer.mode
            && !self.ease(now, queue, &why)
        {
            self.enter_backoff(now, queue, &why, lasts);
        }
        if let Some(DisableSource { reenable_after }) = steer.disable_source {
            self.disable_source_of(now, key, reenable_after, &why);
        }
        if steer.course == Course::SkipMx {
            self.skip_mx(now, key, reply);
        }
        if steer.defer_queue {
            self.defer_queue(now, key, reply);
        }
        if steer.course == Course::BounceQueue {
            self.bounce_queue(now, queue, &said_by_rule(reply, steer.course));
        }
        steer.course
    }

    /// [`Shard::steer`] by what became of one recipient; the fate the line gives it, if it does.
    pub(super) fn steer_recipient(&mut self, now: Now, key: u32, fate: &RecipientFate) -> Option<Fate> {
        match fate {
            RecipientFate::Refused(reply) => {
                let course = self.steer(now, key, reply);
                let applies = course != Course::BounceRecipient || reply.class() == 4;
                applies.then(|| steered(course, reply)).flatten()
            }
            RecipientFate::Postponed(reply) => {
                self.steer(now, key, reply);
                None
            }
            RecipientFate::Local(_) => None,
        }
    }

    /// [`Shard::steer`] by the end of a transaction; the fate the line gives the recipients that had no answer of their own.
    pub(super) fn steer_end(&mut self, now: Now, key: u32, end: &End) -> Option<Fate> {
        let reply = reply_of(end)?;
        let course = self.steer(now, key, reply);
        // What may have arrived stays in doubt.
        let certain = !matches!(end, End::InDoubt(_)) && course != Course::BounceRecipient;
        certain.then(|| steered(course, reply)).flatten()
    }

    /// [`Shard::steer`] by the failure of a session before it carried mail. True: there is nothing else to be done about
    /// it.
    pub(super) fn steer_failure(&mut self, now: Now, key: u32, failure: &Failure) -> bool {
        let Failure::Reply(reply) = failure else { return false };
        let course = self.steer(now, key, reply);
        let Some((queue, attempt)) = self.attempt_of(key) else { return false };
        let from = self.connections.at(key).and_then(|c| c.from);
        let entry = &self.queues[queue];
        if matches!(course, Course::SkipMx | Course::BounceQueue) || entry.queue.is_deferred(now.mono) {
            return true;
        }
        // The other addresses try the host themselves.
        let others = entry.sources.disabled.has(from) && !entry.sources.all_disabled();
        if others {
            self.queues[queue].queue.note_error(now, &status::diagnostic(reply));
            self.outcomes.queue_failed(now, attempt, said(reply, Class::Transient));
        }
        others
    }

    /// `defer-queue`: all of the queue waits, even while mail that is on its way is taken.
    fn defer_queue(&mut self, now: Now, key: u32, reply: &Reply) {
        let Some((queue, attempt)) = self.attempt_of(key) else { return };
        let entry = &mut self.queues[queue];
        if entry.queue.is_deferred(now.mono) {
            return;
        }
        entry.queue.defer_all(now, &status::diagnostic(reply));
        self.outcomes.queue_failed(now, attempt, said(reply, Class::Transient));
        self.queue_timers.set(queue, now.mono);
    }

    /// `skip-mx`: the host is left alone until the queue would have come back to it.
    fn skip_mx(&mut self, now: Now, key: u32, reply: &Reply) {
        let Some((queue, attempt)) = self.attempt_of(key) else { return };
        let Some(connection) = self.connections.at(key) else { return };
        let (host, helo) = (connection.host.clone(), connection.options.helo.clone());
        let entry = &mut self.queues[queue];
        let wait = entry.queue.settings().retry_wait(0);
        if !entry.work_mut().skip(host, now.mono, wait) {
            return;
        }
        let Attempt { mta, source_ip, .. } = &attempt;
        let text = format!(
            "skip of MX requested: \"{}\" received from {mta} while connected from {helo} ({source_ip}) to {mta}",
            reply.text()
        );
        entry.queue.note_error(now, &text);
        self.outcomes.queue_failed(now, attempt, said(reply, Class::Transient));
        self.queue_timers.set(queue, now.mono);
    }

    fn attempt_of(&mut self, key: u32) -> Option<(u32, Attempt)> {
        self.connections.at(key).map(|c| (c.queue, c.attempt.attempt().clone()))
    }
}

/// What a line of the pattern list makes of the mail, where it makes something of it.
fn steered(course: Course, reply: &Reply) -> Option<Fate> {
    match course {
        Course::Plain => None,
        Course::SkipMx => {
            Some(Fate { at_once: true, ..Fate::failed(Disposition::Deferred, said(reply, Class::Transient)) })
        }
        Course::BounceQueue | Course::BounceRecipient => {
            Some(Fate::failed(Disposition::Bounced, said_by_rule(reply, course)))
        }
    }
}

fn said(reply: &Reply, class: Class) -> Said {
    let verdict = Verdict { scope: Scope::Host, class };
    let code = status::of_reply(reply, verdict, &VerdictOptions::default());
    Said { status: status::with_text(code), diagnostic: status::diagnostic(reply) }
}

/// The record keeps the reply as it was, and says that a line of the pattern list decided (reference 3.2).
fn said_by_rule(reply: &Reply, course: Course) -> Said {
    let name = if course == Course::BounceQueue { "bounce-queue" } else { "bounce-rcpt" };
    let class = (reply.code / 100) as u8;
    let (subject, detail) = reply.enhanced.map_or((0, 0), |(_, subject, detail)| (subject, detail));
    let status = format!("{class}.{subject}.{detail} (SMTP reply matched {name} pattern rule)");
    Said { status, diagnostic: status::diagnostic(reply) }
}
