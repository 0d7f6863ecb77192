//! One shard with its surroundings: a clock that is stepped from event to event, sockets, DNS and storage in RAM.

use super::site::{Ask, Peer, Reaction, Say, Site};
use super::spool::{Mail, Spool, TestProfiles, verp_keys};
use crate::base::{Now, Time, Wall};
use crate::limit::{Place, Shared};
use crate::queue::QueueName;
use crate::route::{Answer, Query, Route, RouteError, RoutePolicy};
use crate::shard::{
    ConnectionId, Input, Output, Report, Settings, Shard, ShardReply, ShardRequest, ShardStatus, Wish,
};
use crate::spool::record::{Disposition, Location, OutcomeBatch};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const LATENCY: Duration = Duration::from_millis(1);
pub const START: Wall = Wall::from_secs(1_790_000_000);

/// What happens to an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dial {
    Accept,
    Refuse,
    Hang,
}

/// One recorded outcome.
#[derive(Clone, Debug)]
pub struct Seen {
    pub address: String,
    pub queue: String,
    pub disposition: Disposition,
    pub status: String,
    pub diagnostic: String,
    pub recorded: Time,
    pub attempts: u16,
}

/// What is on its way to the shard.
enum Happening {
    Connected(ConnectionId),
    Bytes(ConnectionId, Vec<u8>),
    Closed(ConnectionId, io::ErrorKind),
    Answered(Answer),
    Content(Location, Option<Arc<[u8]>>),
}

pub struct World {
    pub now: Now,
    pub shard: Shard,
    pub spool: Spool,
    pub site: Site,
    pub dial: Box<dyn FnMut(SocketAddr) -> Dial>,
    pub dns: HashMap<String, Result<Route, RouteError>>,
    pub lookups: usize,
    pub seen: Vec<Seen>,
    /// Texts of failures of whole queues.
    pub queue_failures: Vec<String>,
    /// Most connections at a time, by destination.
    pub peaks: HashMap<SocketAddr, usize>,
    /// Most bytes that a connection had to send.
    pub most_outgoing: usize,
    /// Storage answers reads of contents.
    pub reads: bool,
    pub unread: Vec<Location>,
    /// Reports that may be due.
    pub reported: Vec<Report>,
    /// Those of [`World::reported`] that are still to be made; `None`: each is made at once.
    pub reports_open: Option<usize>,
    /// Queues that are no longer held for want of their route.
    pub regained: Vec<String>,
    /// What an operator would hear of.
    pub notices: Vec<String>,
    /// What other shards are to be told.
    pub nudges: Vec<(u32, Place)>,
    /// What it asks other shards for.
    pub wishes: Vec<(u32, Wish)>,
    /// Storage takes outcomes.
    pub room: bool,
    unsettled: Option<OutcomeBatch>,
    peers: BTreeMap<ConnectionId, Peer>,
    /// Connections that the shard has asked for and not closed.
    pub open: BTreeMap<ConnectionId, SocketAddr>,
    happenings: BTreeMap<(Time, u64), Happening>,
    steps: u64,
    ended: HashSet<String>,
    /// Milliseconds by which the calendar clock has been set.
    skew: i64,
}

impl World {
    pub fn new(profiles: TestProfiles) -> World {
        World::sharing(profiles, Arc::default())
    }

    /// With queues whose mail was held before the start because they had lost their route.
    pub fn after_a_start(profiles: TestProfiles, routes_lost: BTreeSet<QueueName>) -> World {
        World::made(profiles, (0, Arc::default()), routes_lost)
    }

    pub fn sharing(profiles: TestProfiles, shared: Arc<Shared>) -> World {
        World::made(profiles, (0, shared), BTreeSet::new())
    }

    /// Shards of one engine.
    pub fn shards(profiles: &TestProfiles, count: u32, shared: &Arc<Shared>) -> Vec<World> {
        let one = |number| World::made(profiles.clone(), (number, shared.clone()), BTreeSet::new());
        (0..count).map(one).collect()
    }

    fn made(
        profiles: TestProfiles,
        (number, shared): (u32, Arc<Shared>),
        routes_lost: BTreeSet<QueueName>,
    ) -> World {
        let now = Now { mono: Time::from_millis(1000), wall: START };
        let spool = Spool::new();
        let settings = Settings {
            profiles: Box::new(profiles),
            segments: spool.segments.clone(),
            routes: Arc::new(RoutePolicy::default()),
            number,
            shared,
            pauses: Vec::new(),
            routes_lost,
            verp: Arc::new(verp_keys()),
        };
        World {
            now,
            shard: Shard::new(now, settings),
            spool,
            site: Site::new(),
            dial: Box::new(|_| Dial::Accept),
            dns: HashMap::new(),
            lookups: 0,
            seen: Vec::new(),
            queue_failures: Vec::new(),
            peaks: HashMap::new(),
            most_outgoing: 0,
            reads: true,
            unread: Vec::new(),
            reported: Vec::new(),
            reports_open: None,
            regained: Vec::new(),
            notices: Vec::new(),
            nudges: Vec::new(),
            wishes: Vec::new(),
            room: true,
            unsettled: None,
            peers: BTreeMap::new(),
            open: BTreeMap::new(),
            happenings: BTreeMap::new(),
            steps: 0,
            ended: HashSet::new(),
            skew: 0,
        }
    }

    pub fn answer(&mut self, answer: impl FnMut(&Ask<'_>) -> Say + 'static) {
        self.site.answer = Box::new(answer);
    }

    pub fn submit(&mut self, mail: &Mail) {
        let admit = self.spool.store(mail, self.now.wall);
        self.input(Input::Admit(admit));
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.shard.handle(self.now, input);
        self.carry_out();
    }

    pub fn request(&mut self, request: ShardRequest) -> ShardReply {
        let reply = self.shard.request(self.now, request);
        self.carry_out();
        reply
    }

    pub fn status(&mut self) -> ShardStatus {
        match self.request(ShardRequest::Status) {
            ShardReply::Status(status) => status,
            other => panic!("not a status: {other:?}"),
        }
    }

    /// Goes on for `time`.
    pub fn run(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while self.step(until) {}
        self.pass(until);
    }

    /// Goes on until every recipient has its outcome and no connection is left.
    pub fn finish(&mut self) {
        let until = self.now.mono + Duration::from_secs(30 * 86_400);
        loop {
            let status = self.status();
            if status.waiting == 0 && status.connections == 0 && self.shard.next_wake().is_none() {
                return;
            }
            if !self.step(until) {
                let queues = self.request(ShardRequest::Queues);
                panic!("mail is stuck at {:?}: {queues:?}", self.now.mono);
            }
        }
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Time> {
        let first = self.happenings.first_key_value().map(|((at, _), _)| *at);
        self.shard.next_wake().into_iter().chain(first).min()
    }

    /// One event or wake that comes no later than `until`; false if there is none.
    pub fn step(&mut self, until: Time) -> bool {
        let first = self.happenings.first_key_value().map(|((at, _), _)| *at);
        let Some(at) = self.next().filter(|at| *at <= until) else { return false };
        self.steps += 1;
        assert!(self.steps < 1_000_000, "no end at {:?}: {:?}", self.now.mono, self.seen.last());
        self.pass(at);
        match first.filter(|first| *first <= at) {
            Some(_) => {
                let (_, happening) = self.happenings.pop_first().expect("just seen");
                self.happen(happening);
            }
            None => self.input(Input::Wake),
        }
        true
    }

    /// Both clocks go on.
    pub fn pass(&mut self, to: Time) {
        self.now.mono = self.now.mono.max(to);
        self.now.wall.0 = START.0 + self.now.mono.as_millis() as i64 - 1000 + self.skew;
    }

    /// Somebody sets the calendar clock.
    pub fn set_clock(&mut self, by: Duration) {
        self.skew += by.as_millis() as i64;
        self.pass(self.now.mono);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connected(id) if self.open.contains_key(&id) => {
                let mut peer = Peer::new((id.0 >> 32) as usize - 1, self.open[&id]);
                let reaction = self.site.greet(&mut peer, self.now.mono);
                self.peers.insert(id, peer);
                let local = [10, 1, 0, 1].into();
                self.input(Input::Connected { connection: id, local });
                self.react(id, reaction);
            }
            Happening::Connected(_) => {}
            Happening::Bytes(connection, bytes) => {
                self.input(Input::Received { connection, bytes: &bytes });
            }
            Happening::Closed(connection, kind) => {
                self.input(Input::Closed { connection, cause: kind.into() });
            }
            Happening::Answered(answer) => self.input(Input::Answered(answer)),
            Happening::Content(at, bytes) => self.input(Input::Content { at, bytes }),
        }
    }

    fn later(&mut self, happening: Happening) {
        self.steps += 1;
        self.happenings.insert((self.now.mono + LATENCY, self.steps), happening);
    }

    fn react(&mut self, id: ConnectionId, reaction: Reaction) {
        if !reaction.replies.is_empty() {
            self.later(Happening::Bytes(id, reaction.replies));
        }
        if reaction.closed {
            self.peers.remove(&id);
            self.later(Happening::Closed(id, io::ErrorKind::UnexpectedEof));
        }
    }

    pub fn carry_out(&mut self) {
        while let Some(output) = self.shard.poll_output() {
            match output {
                Output::Connect { connection, from, to } => self.connect(connection, from, to),
                Output::Send { connection } => self.send(connection),
                Output::Close { connection } => {
                    self.open.remove(&connection).expect("closed once");
                    self.peers.remove(&connection);
                }
                Output::Resolve(query) => self.resolve(query),
                Output::Load(at) if self.reads => {
                    let bytes = self.spool.contents.get(&at).cloned();
                    self.later(Happening::Content(at, bytes));
                }
                Output::Report(report) => {
                    if let Some(batch) = report.batch() {
                        self.settle(&batch);
                    }
                    self.reported.push(*report);
                    match &mut self.reports_open {
                        None => self.shard.handle(self.now, Input::Reported),
                        Some(open) => *open += 1,
                    }
                }
                Output::Move(admits) => {
                    admits.into_iter().for_each(|admit| self.shard.handle(self.now, Input::Admit(admit)));
                }
                Output::Notice(notice) => self.notices.push(notice.to_string()),
                Output::Nudge { shard, place } => self.nudges.push((shard, place)),
                Output::Ask { shard, wish } => self.wishes.push((shard, wish)),
                Output::RouteRegained(name) => self.regained.push(name.to_string()),
                Output::Load(at) => self.unread.push(at),
                Output::Settle(batch) if self.room => self.settle(&batch),
                Output::Settle(batch) => {
                    assert!(self.unsettled.replace(batch).is_none(), "a batch while storage has no room");
                    self.shard.hold_outcomes(true);
                }
            }
        }
    }

    fn connect(&mut self, id: ConnectionId, from: Option<std::net::IpAddr>, to: SocketAddr) {
        self.site.connects.push((self.now.mono, to, from));
        self.open.insert(id, to);
        let open = self.open.values().filter(|at| **at == to).count();
        let peak = self.peaks.entry(to).or_default();
        *peak = open.max(*peak);
        match (self.dial)(to) {
            Dial::Accept => self.later(Happening::Connected(id)),
            Dial::Refuse => self.later(Happening::Closed(id, io::ErrorKind::ConnectionRefused)),
            Dial::Hang => {}
        }
    }

    fn send(&mut self, id: ConnectionId) {
        while let Some(bytes) = self.shard.outgoing(id).filter(|bytes| !bytes.is_empty()) {
            self.most_outgoing = self.most_outgoing.max(bytes.len());
            let Some(peer) = self.peers.get_mut(&id) else { return bytes.clear() };
            let most = peer.choke.unwrap_or(usize::MAX).min(bytes.len());
            let sent: Vec<u8> = bytes.drain(..most).collect();
            self.shard.sent(self.now, id, most);
            if peer.choke.is_some() {
                return self.react(id, Reaction { closed: true, ..Reaction::default() });
            }
            let reaction = self.site.feed(peer, self.now.mono, &sent);
            self.react(id, reaction);
        }
    }

    fn resolve(&mut self, query: Query) {
        self.lookups += 1;
        let name = query.destination.to_string();
        let route = self.dns.get(&name).cloned().unwrap_or_else(|| panic!("DNS of {name} is not set up"));
        self.later(Happening::Answered(Answer { destination: query.destination, route }));
    }

    fn settle(&mut self, batch: &OutcomeBatch) {
        assert!(batch.outcomes.len() + batch.queue_failures.len() <= 4096, "a batch has bounds");
        for outcome in &batch.outcomes {
            let said = &batch.said[outcome.said as usize];
            let seen = Seen {
                address: self.spool.address(outcome.row),
                queue: batch.attempts[outcome.attempt as usize].queue.clone(),
                disposition: outcome.disposition,
                status: said.status.clone(),
                diagnostic: said.diagnostic.clone(),
                recorded: self.now.mono,
                attempts: outcome.attempts,
            };
            if outcome.disposition.is_final() {
                assert!(self.ended.insert(seen.address.clone()), "a second end: {seen:?}");
            }
            self.seen.push(seen);
        }
        let failures = batch.queue_failures.iter().map(|f| batch.said[f.said as usize].status.clone());
        self.queue_failures.extend(failures);
    }

    /// Storage has room for outcomes again.
    pub fn give_room(&mut self) {
        self.room = true;
        if let Some(batch) = self.unsettled.take() {
            self.settle(&batch);
        }
        self.shard.hold_outcomes(false);
        self.input(Input::Wake);
    }

    /// Makes one of the reports that are open.
    pub fn make_report(&mut self) -> bool {
        let Some(left) = self.reports_open.and_then(|open| open.checked_sub(1)) else { return false };
        self.reports_open = Some(left);
        self.input(Input::Reported);
        true
    }

    /// Answers a read that was left open.
    pub fn read(&mut self, bytes: bool) {
        let at = self.unread.remove(0);
        let bytes = self.spool.contents.get(&at).filter(|_| bytes).cloned();
        self.input(Input::Content { at, bytes });
    }

    /// The dispositions recorded for an address, in order.
    pub fn story(&self, address: &str) -> Vec<Disposition> {
        self.seen.iter().filter(|s| s.address == address).map(|s| s.disposition).collect()
    }

    pub fn count(&self, disposition: Disposition) -> usize {
        self.seen.iter().filter(|s| s.disposition == disposition).count()
    }
}
