//! The operator's side of a shard: what it shows and what it does on request.

use super::admit::domain_hash;
use super::entries::Entry;
use super::request::{AdaptiveState, BackoffState, DisabledState};
use super::settle::Fate;
use super::{
    Found, JobState, QueuePattern, QueueState, Selection, Shard, ShardReply, ShardRequest, ShardStatus,
};
use crate::base::{Now, Wall};
use crate::spool::codec;
use crate::spool::record::{Disposition, Location, Said};
use std::collections::BTreeSet;

pub(super) const BY_OPERATOR: &str = "the operator said so";

impl Shard {
    pub fn request(&mut self, now: Now, request: ShardRequest) -> ShardReply {
        self.look_at_clock(now);
        match request {
            ShardRequest::Status => ShardReply::Status(self.status()),
            ShardRequest::Waiting => self.waiting(),
            ShardRequest::Queues => ShardReply::Queues(self.queue_states(now, &QueuePattern::all())),
            ShardRequest::Jobs => ShardReply::Jobs(self.jobs()),
            ShardRequest::Recovered => {
                self.recovered();
                ShardReply::Count(0)
            }
            ShardRequest::Pause { queue, paused } => ShardReply::Count(self.pause(now, &queue, paused)),
            ShardRequest::SetMode { queue, backoff } => {
                ShardReply::Count(self.for_queues(&queue, |shard, key| shard.set_mode(now, key, backoff)))
            }
            ShardRequest::DisableSource { queue, address, reenable_after } => {
                let address = Some(address);
                ShardReply::Count(self.for_queues(&queue, |shard, key| {
                    shard.disable_source(now, key, address, reenable_after, BY_OPERATOR)
                }))
            }
            ShardRequest::EnableSource { queue, address } => {
                let address = Some(address);
                let enable = |shard: &mut Shard, key| shard.enable_source(now, key, address, BY_OPERATOR);
                ShardReply::Count(self.for_queues(&queue, enable))
            }
            ShardRequest::Configure(profiles) => {
                profiles.routes().into_iter().for_each(|routes| self.routes.set_policy(routes));
                ShardReply::Configured(self.configure(now, profiles.make()))
            }
            ShardRequest::Delete { selection, quiet } => {
                ShardReply::Count(self.delete(now, &selection, quiet))
            }
            ShardRequest::Submissions => ShardReply::Submissions(self.submissions.all().collect()),
            ShardRequest::FindOf { submissions, row, limit } => {
                let recipients = self.find_of(now, &submissions, row, limit);
                let names: BTreeSet<String> = recipients.iter().map(|r| r.queue.to_string()).collect();
                let states = |name: &String| self.queue_states(now, &QueuePattern::parse(name));
                ShardReply::Found { queues: names.iter().flat_map(states).collect(), recipients }
            }
            ShardRequest::Find { address, queue, limit } => ShardReply::Found {
                recipients: address.map(|a| self.find(now, &a, limit)).unwrap_or_default(),
                queues: self.queue_states(now, &queue),
            },
        }
    }

    /// Does something to the queues that fit; the number of those to which it could be done.
    fn for_queues(&mut self, pattern: &QueuePattern, mut act: impl FnMut(&mut Shard, u32) -> bool) -> u64 {
        let mut concerned = 0;
        for key in 0..self.queues.len() as u32 {
            concerned += u64::from(pattern.matches(self.queues[key].queue.name()) && act(self, key));
        }
        concerned
    }

    fn status(&self) -> ShardStatus {
        ShardStatus {
            // In a queue or in a connection's hands.
            waiting: self.slots.len() as u64,
            queues: self.queues.len() as u64,
            connections: self.connections.len() as u64,
            ..self.status
        }
    }

    fn waiting(&self) -> ShardReply {
        let with_mail = self.queues.iter().filter(|e| e.queue.waiting() > 0);
        ShardReply::Waiting {
            bytes: self.queues.iter().map(|e| e.bytes).sum(),
            domains: with_mail.map(|e| domain_hash(&e.queue.name().domain)).collect(),
        }
    }

    fn queue_states(&self, now: Now, pattern: &QueuePattern) -> Vec<QueueState> {
        let mut states: Vec<QueueState> = Vec::new();
        let mut places = hashbrown::HashMap::new();
        for (key, entry) in self.queues.iter().enumerate() {
            let queue = &entry.queue;
            if !pattern.matches(queue.name()) {
                continue;
            }
            places.insert(key as u32, states.len());
            let counters = queue.counters();
            let obstacle = self.obstacle(now, key as u32).unwrap_or_default();
            states.push(QueueState {
                name: queue.name().clone(),
                waiting: u64::from(queue.waiting()),
                in_flight: 0,
                bytes: entry.bytes,
                connections: u64::from(queue.connections()),
                paused: queue.is_paused(),
                backoff: entry.backoff.as_ref().map(|backoff| BackoffState {
                    since: backoff.since,
                    reason: backoff.reason.clone(),
                    until: entry.backoff_until().map(|at| calendar(now, at)),
                }),
                adaptive: entry.adaptive.as_ref().map(|adaptive| AdaptiveState {
                    eased: adaptive.is_eased(),
                    level: adaptive.level(),
                    steps: adaptive.steps().cloned().collect(),
                }),
                disabled_sources: entry
                    .sources
                    .disabled
                    .iter()
                    .map(|source| DisabledState {
                        address: source.address,
                        since: source.since,
                        reason: source.reason.clone(),
                        until: source.until.map(|at| calendar(now, at)),
                    })
                    .collect(),
                retry_at: queue.retry_wait(now.mono).map(|at| calendar(now, at)),
                last_error: queue.last_error().map(|e| (e.at, e.text.to_string())),
                delivered: counters.delivered,
                bounced: counters.bounced,
                deferrals: counters.deferred,
                waits_for: obstacle.text,
                limited_by: obstacle.directive,
                limited_by_vmta: obstacle.of_vmta,
                waits_until: obstacle.until.map(|at| calendar(now, at)),
            });
        }
        for connection in self.connections.iter() {
            if let Some(&place) = places.get(&connection.queue) {
                states[place].in_flight += connection.in_hand() as u64;
            }
        }
        states
    }

    fn jobs(&self) -> Vec<JobState> {
        self.submissions
            .jobs()
            .map(|(job, counts)| JobState {
                job: job.clone(),
                waiting: counts.waiting,
                bytes: counts.bytes,
                delivered: counts.delivered,
                bounced: counts.bounced,
                deferrals: counts.deferrals,
            })
            .collect()
    }

    /// Pauses or resumes the queues that match, and those that come to match later.
    fn pause(&mut self, now: Now, pattern: &QueuePattern, paused: bool) -> u64 {
        self.pauses.retain(|(p, _)| p != pattern);
        self.pauses.push((pattern.clone(), paused));
        let mut concerned = 0;
        for key in 0..self.queues.len() as u32 {
            if pattern.matches(self.queues[key].queue.name()) {
                self.queues[key].queue.set_paused(paused);
                // Who is left stays; the cause is found again when it goes on.
                self.giving_up.remove(&key);
                // Whoever resumes a queue without its route wants it delivered as configured now.
                if !paused {
                    self.regain_route(key);
                }
                concerned += 1;
                self.turn(now, key);
            }
        }
        concerned
    }

    /// Settles the waiting recipients that match; those in a connection's hands right now are left alone.
    fn delete(&mut self, now: Now, selection: &Selection, quiet: bool) -> u64 {
        let mut deleted = 0;
        for key in 0..self.queues.len() as u32 {
            if selection.queue.as_ref().is_some_and(|p| !p.matches(self.queues[key].queue.name())) {
                continue;
            }
            let waiting: Vec<u32> = self.queues[key].queue.iter(&self.slots).collect();
            let mut chosen = hashbrown::HashSet::new();
            for slot in waiting {
                if self.is_selected(slot, selection) {
                    chosen.insert(self.slots[slot].row());
                }
            }
            if chosen.is_empty() {
                continue;
            }
            let taken = self.queues[key].queue.split(&mut self.slots, |slot| chosen.contains(&slot.row()));
            let taken = self.keys_of(taken);
            deleted += taken.len() as u64;
            let said =
                Said { status: "5.0.0 (deleted by administrator)".to_owned(), diagnostic: String::new() };
            let fate = Fate::failed(Disposition::Deleted { quiet }, said);
            self.settle_unattempted(now, key, &taken, &fate);
            self.turn(now, key);
        }
        deleted
    }

    fn is_selected(&self, slot: u32, selection: &Selection) -> bool {
        let submission = self.slots[slot].submission;
        if selection.job.as_ref().is_some_and(|job| **job != **self.submissions.job(submission)) {
            return false;
        }
        if selection.sender.is_some() || selection.envid.is_some() {
            let at = self.submissions.at(submission);
            let Some(header) =
                self.segments.record(at).ok().and_then(|r| codec::decode_submission(at, &r).ok())
            else {
                return false;
            };
            let sender = selection.sender.as_ref().is_none_or(|wanted| {
                let row = self.stored_row(slot);
                row.is_some_and(|row| row.sender(&header).is_some_and(|s| s.eq_ignore_ascii_case(wanted)))
            });
            if !sender || selection.envid.as_ref().is_some_and(|e| *e != header.envid) {
                return false;
            }
        }
        let Some(wanted) = &selection.recipient else { return true };
        self.stored_row(slot).is_some_and(|row| row.address().is_some_and(|a| a.eq_ignore_ascii_case(wanted)))
    }

    /// Recipients with this address, waiting or in flight.
    fn find(&self, now: Now, address: &str, limit: usize) -> Vec<Found> {
        let domain = address.rsplit_once('@').map_or(address, |(_, domain)| domain).to_ascii_lowercase();
        let mut found = Vec::new();
        for (key, entry) in self.queues.iter().enumerate().filter(|(_, e)| *e.queue.name().domain == *domain)
        {
            let is_it = |slot: u32| {
                let row = self.stored_row(slot);
                row.is_some_and(|row| row.address().is_some_and(|a| a.eq_ignore_ascii_case(address)))
            };
            self.find_in(now, key as u32, entry, limit, &is_it, &mut found);
        }
        found
    }

    /// Recipients of these submissions; only that of one row, if it is given.
    fn find_of(&self, now: Now, of: &[Location], row: Option<u64>, limit: usize) -> Vec<Found> {
        let mut found = Vec::new();
        for (key, entry) in self.queues.iter().enumerate() {
            let is_it = |slot: u32| {
                of.contains(&self.submissions.at(self.slots[slot].submission))
                    && row.is_none_or(|row| self.stored_row(slot).is_some_and(|stored| stored.number == row))
            };
            self.find_in(now, key as u32, entry, limit, &is_it, &mut found);
        }
        found
    }

    fn find_in(
        &self,
        now: Now,
        key: u32,
        entry: &Entry,
        limit: usize,
        is_it: &dyn Fn(u32) -> bool,
        found: &mut Vec<Found>,
    ) {
        let in_flight = self
            .connections
            .iter()
            .filter(|c| c.queue == key)
            .flat_map(|c| c.transactions.iter().flat_map(|t| t.recipients.iter()))
            .map(|r| (r.slot, None));
        let waiting = entry.queue.iter(&self.slots).enumerate().map(|(ahead, slot)| (slot, Some(ahead)));
        for (key, ahead) in in_flight.chain(waiting) {
            if found.len() >= limit {
                return;
            }
            let slot = &self.slots[key];
            if !is_it(key) {
                continue;
            }
            let Some(row) = self.stored_row(key) else { continue };
            let Some(recipient) = row.address() else { continue };
            let waits = slot.due() > now.mono;
            found.push(Found {
                recipient: recipient.to_owned(),
                queue: entry.queue.name().clone(),
                job: self.submissions.job(slot.submission).clone(),
                accepted_at: self.submissions.accepted_at(slot.submission),
                attempts: slot.attempts,
                due: waits.then(|| calendar(now, slot.due())),
                by_schedule: waits && self.submissions.terms(slot.submission).schedule.is_some(),
                ahead: ahead.filter(|_| !waits).map(|ahead| ahead as u64),
                in_flight: ahead.is_none(),
            });
        }
    }
}

/// The calendar time at which the monotonic clock will show `at`.
fn calendar(now: Now, at: crate::base::Time) -> Wall {
    Wall(now.wall.0 + at.since(now.mono).as_millis() as i64)
}
