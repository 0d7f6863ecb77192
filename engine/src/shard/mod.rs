//! A shard: queues, their limits, timers and connections, composed into one machine without I/O.
//!
//! [`Shard::handle`] takes what has happened and the time; [`Shard::poll_output`] is drained afterwards, always to the
//! end; [`Shard::next_wake`] says when to give it [`Input::Wake`]. Bytes to send are fetched with
//! [`Shard::outgoing`] and acknowledged with [`Shard::sent`]. The same machine runs under sockets (`io::reactor`) and in a
//! simulation.

mod adaptive;
mod admit;
mod backoff;
mod connection;
mod contents;
mod disabled;
mod dispatch;
mod drive;
mod entries;
mod exchange;
mod moves;
mod notice;
mod held;
mod leaving;
mod give_up;
mod obstacle;
mod operate;
mod outcomes;
mod per_source;
mod profile;
mod refused;
mod reports;
mod request;
mod said;
mod settle;
mod sites;
mod steer;
mod submissions;
mod targets;
#[cfg(test)]
mod tests;
mod turn;
mod yielding;

pub use admit::{Admit, AdmitRow, owner};
pub use exchange::{ConnectionId, Input, Output};
pub use notice::Notice;
pub use profile::{BackoffProfile, Delivery, Profiles, QueueProfile, Reroutes, VmtaProfile};
pub use reports::Report;
pub use request::{
    AdaptiveState, BackoffState, DisabledState, Found, JobState, NewProfiles, QueuePattern, QueueState,
    Selection, ShardReply, ShardRequest, ShardStatus, Unreached,
};
pub use steer::{Course, DisableSource, ModeChange, ReplyRules, Steer};
pub use yielding::Wish;

use crate::base::{Now, Time, Wall, Wheel};
use crate::limit::{Shared, Told};
use crate::mail::content::Content;
use crate::mail::schedule::Opening;
use crate::mail::verp::VerpKeys;
use crate::queue::{Expiry, Queue, QueueName, Slot, Slots, Taken};
use crate::route;
use crate::spool::record::{Location, RowRef, Said};
use crate::spool::segments::Segments;
use connection::Connections;
use contents::Contents;
use entries::{Entries, Entry};
use held::Held;
use outcomes::{HIGH_WATER, OutcomeBuffer};
use reports::Delays;
use sites::Sites;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use submissions::Submissions;

/// DNS questions a shard has out at once.
const MOST_LOOKUPS: usize = 256;

/// What a shard is made with.
#[derive(Debug)]
pub struct Settings {
    pub profiles: Box<dyn Profiles>,
    pub segments: Arc<Segments>,
    pub routes: Arc<route::RoutePolicy>,
    /// Which of the shards this one is.
    pub number: u32,
    /// What the shards count together.
    pub shared: Arc<Shared>,
    /// Pauses and resumes of the operator in their order; of those that name a queue the last counts.
    pub pauses: Vec<(QueuePattern, bool)>,
    /// Queues whose mail was held before the start because a reload had taken their route away (F39).
    pub routes_lost: BTreeSet<QueueName>,
    /// For signed return paths.
    pub verp: Arc<VerpKeys>,
}

/// See the module's text.
pub struct Shard {
    profiles: Box<dyn Profiles>,
    segments: Arc<Segments>,
    routes: route::table::Table,
    number: u32,
    shared: Arc<Shared>,
    pauses: Vec<(QueuePattern, bool)>,
    /// Until the mail of before the start is back in its queues.
    routes_lost: BTreeSet<QueueName>,
    verp: Arc<VerpKeys>,
    slots: Slots,
    queues: Entries,
    submissions: Submissions,
    contents: Contents,
    connections: Connections,
    sites: Sites,
    expiry: Expiry,
    queue_timers: Wheel,
    connection_timers: Wheel,
    outcomes: OutcomeBuffer,
    /// Storage has no room for outcomes: nothing new is started.
    outcomes_held: bool,
    /// Reports being made.
    reports_open: usize,
    delays: Delays,
    /// Queues whose recipients are given up as there is room for it, and why.
    giving_up: BTreeMap<u32, Said>,
    /// Recipients that bounce as they come, and have to wait for it.
    refused: VecDeque<Admit>,
    /// Queues that had to wait for it. In order, as all sets here whose order decides: one story has one course.
    backed_up: BTreeSet<u32>,
    outputs: VecDeque<Output>,
    status: ShardStatus,
    /// What the latest queue failed with.
    failure: Arc<str>,
    draining: bool,
    /// Numbers transactions.
    tokens: u64,
    /// Queues that wait for what others have.
    held: Held,
    /// Buffers that are used again.
    taken: Taken,
    bodies: Vec<Vec<u8>>,
    due: Vec<u32>,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard")
            .field("status", &self.status)
            .field("draining", &self.draining)
            .finish_non_exhaustive()
    }
}

/// A stop that took too long ends with connections open: their grants come home all the same.
impl Drop for Shard {
    fn drop(&mut self) {
        for key in self.connections.keys() {
            if let Some(connection) = self.connections.remove(key) {
                self.queues[connection.queue].disconnected(connection.from, connection.grant);
                self.shared.places.give_back(self.number, &connection.places, &mut Told::new());
            }
        }
    }
}

impl Shard {
    pub fn new(now: Now, settings: Settings) -> Shard {
        Shard {
            profiles: settings.profiles,
            segments: settings.segments,
            routes: route::table::Table::new(settings.routes, MOST_LOOKUPS),
            number: settings.number,
            shared: settings.shared,
            pauses: settings.pauses,
            routes_lost: settings.routes_lost,
            verp: settings.verp,
            slots: Slots::new(),
            queues: Entries::default(),
            submissions: Submissions::default(),
            contents: Contents::default(),
            connections: Connections::default(),
            sites: Sites::default(),
            expiry: Expiry::new(now),
            queue_timers: Wheel::new(),
            connection_timers: Wheel::new(),
            outcomes: OutcomeBuffer::default(),
            outcomes_held: false,
            reports_open: 0,
            delays: Delays::default(),
            giving_up: BTreeMap::new(),
            refused: VecDeque::new(),
            backed_up: BTreeSet::new(),
            outputs: VecDeque::new(),
            status: ShardStatus::default(),
            failure: Arc::default(),
            draining: false,
            tokens: 0,
            held: Held::default(),
            taken: Taken::default(),
            bodies: Vec::new(),
            due: Vec::new(),
        }
    }

    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        // Before anything is found too old: a jump of the clock must not make it so (F32).
        self.look_at_clock(now);
        match input {
            Input::Received { connection, bytes } => self.received(now, connection, bytes),
            Input::Admit(admit) => self.admit(now, admit),
            Input::Connected { connection, local } => self.connected(now, connection, local),
            Input::Closed { connection, cause } => self.socket_closed(now, connection, &cause),
            Input::Answered(answered) => self.answered(now, answered),
            Input::Content { at, bytes } => self.content(now, at, bytes.as_deref()),
            Input::Nudged(place) => self.held.told.push(place),
            Input::Asked(wish) => self.yield_place(now, &wish),
            Input::Reported => self.reports_open -= 1,
            Input::Profiles(profiles) => {
                self.configure(now, profiles);
            }
            Input::Drain => self.drain(now),
            Input::Wake => {}
        }
        if !self.held.told.is_empty() {
            self.wake_held(now);
        }
        if self.held.ask_at <= now.mono {
            self.ask_for_places(now);
        }
        if self.held.again <= now.mono {
            self.wake_rated(now);
        }
        if self.next_timer().is_some_and(|at| at <= now.mono) {
            self.expire_timers(now);
        }
        if self.delays.next().is_some_and(|at| at <= now.mono) {
            self.report_delays(now);
        }
        if !self.outcomes_held && self.outcomes.due().is_some_and(|at| at <= now.mono) {
            // One at a time: storage may have no room for a second one.
            self.outputs.push_back(Output::Settle(self.outcomes.take()));
        }
        self.go_on_giving_up(now);
        if !self.outcomes_back_up() {
            for queue in std::mem::take(&mut self.backed_up) {
                self.queue_timers.set(queue, now.mono);
            }
        }
    }

    /// The log comes first: while it does not take outcomes, no transaction starts that would bring more (R6).
    fn outcomes_back_up(&self) -> bool {
        self.outcomes_held || self.outcomes.len() >= HIGH_WATER || self.reports_open >= reports::MOST
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to give [`Input::Wake`].
    pub fn next_wake(&self) -> Option<Time> {
        let outcomes = self.outcomes.due().filter(|_| !self.outcomes_held);
        let delays = self.delays.next().filter(|_| self.reports_open < reports::MOST);
        let held = Some(self.held.again.min(self.held.ask_at)).filter(|at| *at < Time::NEVER);
        self.next_timer().into_iter().chain(outcomes).chain(delays).chain(held).min()
    }

    fn next_timer(&self) -> Option<Time> {
        self.queue_timers.next().into_iter().chain(self.connection_timers.next()).min()
    }

    /// The bytes a connection has to send; what is sent is to be taken from the front and told by [`Shard::sent`]. With the
    /// last of them sent there may be more: the next piece of a long message.
    pub fn outgoing(&mut self, id: ConnectionId) -> Option<&mut Vec<u8>> {
        self.connections.get(id).map(|c| c.client.output())
    }

    pub fn sent(&mut self, now: Now, id: ConnectionId, bytes: usize) {
        let Some(connection) = self.connections.get(id) else { return };
        connection.client.sent(now, bytes);
        if let Some(token) = connection.client.wants_content() {
            self.give_body(now, connection::key(id), token);
        }
    }

    /// Storage has no room for outcomes (`true`), or has again.
    pub fn hold_outcomes(&mut self, held: bool) {
        self.outcomes_held = held;
    }

    /// After [`Input::Drain`]: no connection is left and every outcome is handed over.
    pub fn is_drained(&self) -> bool {
        let told = self.outcomes.is_empty() && self.outputs.is_empty() && self.reports_open == 0;
        self.draining && self.connections.len() == 0 && told
    }

    fn admit(&mut self, now: Now, admit: Admit) {
        if admit.refused {
            return self.refused.push_back(admit);
        }
        let submission = self.submissions.admit(&admit);
        let class = self.submissions.class(submission);
        if let Some((at, bytes)) = admit.content {
            self.keep_content(now, at, &bytes);
        }
        let scheduled = match admit.schedule.at(now.wall) {
            Opening::From(start) => start,
            Opening::Open | Opening::Over => Wall(0),
        };
        let start = admit.start_at.max(scheduled).since(now.wall);
        let mut queues: Vec<u32> = Vec::with_capacity(admit.queues.len());
        for name in admit.queues {
            queues.push(self.queue_key(name));
        }
        for row in admit.rows {
            let place = RowRef {
                record: admit.record,
                ordinal: admit.first_ordinal + u32::from(row.index),
                index: row.index,
            };
            let mut slot = Slot::new(place, submission);
            slot.attempts = row.attempts;
            // Who was tried before a restart had begun already, whatever the calendar says now.
            if row.attempts == 0 && !start.is_zero() {
                slot.set_due(now.mono + start);
            }
            let slot = self.slots.insert(slot);
            let entry = &mut self.queues[queues[row.queue as usize]];
            entry.bytes += u64::from(admit.size);
            entry.queue.push(&mut self.slots, slot, class, now.mono);
            self.watch_delay(now, queues[row.queue as usize], slot);
        }
        for queue in queues {
            self.turn(now, queue);
        }
    }

    /// Keeps a content that has just been accepted, if there is room for it.
    fn keep_content(&mut self, now: Now, at: Location, bytes: &[u8]) {
        if !self.contents.has_room(bytes.len()) || self.contents.get(at, now.mono).is_some() {
            return;
        }
        if let Ok(content) = Content::decode(bytes) {
            self.contents.insert(at, content, bytes.len(), now.mono);
        }
    }

    fn content(&mut self, now: Now, at: Location, bytes: Option<&[u8]>) {
        match bytes.map(Content::decode) {
            Some(Ok(content)) => {
                self.contents.insert(at, content, bytes.map_or(0, <[u8]>::len), now.mono);
            }
            Some(Err(_)) | None => self.contents.set_unreadable(at, now.mono),
        }
        let waiting = self.contents.arrived(at);
        self.content_loaded(now, waiting);
    }

    fn queue_key(&mut self, name: QueueName) -> u32 {
        if let Some(key) = self.queues.find(&name) {
            // Mail that comes into an empty queue was never meant for the route that is gone.
            if !self.queues[key].has_mail() {
                self.regain_route(key);
            }
            return key;
        }
        let lost = self.routes_lost.contains(&name);
        let profile = self.profiles.queue(&name.domain, &name.vmta);
        let vmta = self.profiles.vmta(&name.vmta);
        let paused =
            self.pauses.iter().rev().find(|(p, _)| p.matches(&name)).is_some_and(|(_, paused)| *paused);
        // One copy of the VMTA's name for all of its queues.
        let shared = vmta.as_ref().map(|vmta| &vmta.name).filter(|shared| **shared == name.vmta);
        let name = QueueName { vmta: shared.unwrap_or(&name.vmta).clone(), domain: name.domain };
        let mut queue = Queue::new(name, profile.scheduling.clone());
        queue.set_paused(paused);
        queue.set_wide(self.number, self.wide(vmta.as_deref()));
        let mut entry = Entry::new(queue, profile, vmta);
        entry.set_reroutes(self.profiles.reroutes(entry.queue.name()));
        entry.route_gone = lost && entry.goes_by_mx();
        self.queues.push(entry)
    }

    /// The mail of a queue goes as configured now, whatever it was queued for.
    fn regain_route(&mut self, queue: u32) {
        let entry = &mut self.queues[queue];
        if std::mem::take(&mut entry.route_gone) {
            let name = entry.queue.name().clone();
            self.outputs.push_back(Output::RouteRegained(name));
        }
    }

    /// All mail of before the start is in its queues: those that have none, or a route again, are held no longer.
    fn recovered(&mut self) {
        let held = |name: &QueueName| self.queues.find(name).is_some_and(|key| self.queues[key].route_gone);
        let over: Vec<QueueName> = self.routes_lost.iter().filter(|name| !held(name)).cloned().collect();
        self.routes_lost.clear();
        self.outputs.extend(over.into_iter().map(Output::RouteRegained));
    }

    fn configure(&mut self, now: Now, profiles: Box<dyn Profiles>) -> Unreached {
        self.profiles = profiles;
        self.release_held(now);
        // Whether they are still to be given up is found out anew.
        self.giving_up.clear();
        let mut unreached = Unreached::default();
        for key in 0..self.queues.len() as u32 {
            let entry = &mut self.queues[key];
            let name = entry.queue.name().clone();
            let profile = self.profiles.queue(&name.domain, &name.vmta);
            let gone_before = entry.route_gone;
            let kept = entry.configure(profile, self.profiles.vmta(&name.vmta));
            entry.set_reroutes(self.profiles.reroutes(&name));
            let wide = self.wide(self.queues[key].vmta.as_deref());
            let entry = &mut self.queues[key];
            entry.queue.set_wide(self.number, wide);
            match (gone_before, entry.route_gone) {
                (false, true) => unreached.routes_lost.push(name),
                (true, false) => self.outputs.push_back(Output::RouteRegained(name)),
                _ => {}
            }
            unreached.held += u64::from(kept.held);
            unreached.keep_type += u64::from(kept.delivery);
            self.turn(now, key);
        }
        unreached
    }
}
