//! The world around the engine: its clock, its agenda, and the one loop in which everything happens in order.

use super::audit::Auditor;
use super::dns::{self, DnsIll};
use super::life::{Follower, Ground, Life};
use super::net::{Agenda, Event, NetCounts, Wire};
use super::plan::Plan;
use super::post::News;
use super::site::{Site, SiteCounts};
use posthaste::base::{Now, Time, Wall};
use posthaste::io::reactor::Message;
use posthaste::route::{Answer, Query};
use posthaste::shard::{ConnectionId, Input, Notice, Output};
use posthaste::spool::record::Control;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// The calendar when a world begins.
pub const START: Wall = Wall::from_secs(1_790_000_000);

/// The two clocks.
pub struct Clock {
    base: tokio::time::Instant,
    /// Milliseconds by which somebody has set the calendar.
    pub skew: Cell<i64>,
}

impl Clock {
    pub fn new() -> Clock {
        Clock { base: tokio::time::Instant::now(), skew: Cell::new(0) }
    }

    pub fn now(&self) -> Duration {
        self.base.elapsed()
    }

    /// When this instant is, in the world's time.
    pub fn at(&self, instant: tokio::time::Instant) -> Duration {
        instant.saturating_duration_since(self.base)
    }

    pub fn instant(&self, at: Duration) -> tokio::time::Instant {
        self.base + at
    }

    pub fn wall(&self) -> Wall {
        Wall(START.0 + self.now().as_millis() as i64 + self.skew.get())
    }

    /// As an engine sees it whose monotonic clock began at `epoch`.
    pub fn engine_now(&self, epoch: Duration) -> Now {
        Now { mono: Time((self.now() - epoch).as_micros() as u64), wall: self.wall() }
    }
}

/// What was injected and what came of it, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorldCounts {
    pub events: u64,
    pub lives: u64,
    pub kills: u64,
    pub power_cuts: u64,
    pub failed_logs: u64,
    pub restarts: u64,
    pub full_starts: u64,
    pub recovered: u64,
    pub submissions: u64,
    pub refused: u64,
    pub clock_jumps: u64,
    pub orders: u64,
    pub dns_failures: u64,
    pub backoffs: u64,
    pub steps: [u64; 2],
}

/// Why a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Killed,
    PowerCut,
    LogFailed,
    Stopped,
    /// Everything is over.
    Rest,
}

pub struct World {
    pub plan: Rc<Plan>,
    pub ground: Ground,
    pub audit: Auditor,
    pub agenda: Agenda,
    pub sites: Vec<Site>,
    pub wires: BTreeMap<u64, Wire>,
    pub connections: BTreeMap<(usize, ConnectionId), u64>,
    pub last_wire: u64,
    pub life_number: usize,
    pub rng: fastrand::Rng,
    pub follower: Follower,
    pub counts: WorldCounts,
    pub net: NetCounts,
    pub site_counts: SiteCounts,
    pub dns_ills: Vec<(DnsIll, Duration)>,
    pub calm: bool,
    /// Since when the engine is being stopped.
    pub stopping: Option<Duration>,
    /// Works that have had their final answer, or need none.
    pub settled: Vec<bool>,
    /// Works whose client is waiting for an answer.
    pub waiting: Vec<bool>,
    pub trace: Option<Vec<String>>,
    /// Folds everything that happens into one number: equal for equal seeds.
    pub hash: u64,
}

impl World {
    pub fn new(plan: Rc<Plan>, ground: Ground, mut rng: fastrand::Rng) -> World {
        let sites = plan.domains.iter().map(|domain| Site::new(domain.manners.clone(), rng.fork())).collect();
        let mut agenda = Agenda::default();
        for work in &plan.works {
            agenda.add(work.at, Event::Work(work.id));
        }
        for (n, (at, _)) in plan.troubles.iter().enumerate() {
            agenda.add(*at, Event::Trouble(n));
        }
        agenda.add(plan.calm, Event::Calm);
        World {
            audit: Auditor::new(Rc::clone(&plan)),
            agenda,
            sites,
            wires: BTreeMap::new(),
            connections: BTreeMap::new(),
            last_wire: 0,
            life_number: 0,
            rng,
            follower: Follower::new(),
            counts: WorldCounts::default(),
            net: NetCounts::default(),
            site_counts: SiteCounts::default(),
            dns_ills: vec![(DnsIll::ServFail, Duration::ZERO); plan.domains.len()],
            calm: false,
            stopping: None,
            settled: vec![false; plan.works.len()],
            waiting: vec![false; plan.works.len()],
            trace: None,
            hash: 0xcbf2_9ce4_8422_2325,
            plan,
            ground,
        }
    }

    /// Notes what happens.
    pub fn note(&mut self, text: impl FnOnce() -> String, numbers: [u64; 2]) {
        for n in [numbers[0], numbers[1], self.ground.clock.now().as_micros() as u64] {
            self.hash = (self.hash ^ n).wrapping_mul(0x100_0000_01b3);
        }
        if let Some(trace) = &mut self.trace {
            let at = self.ground.clock.now();
            trace.push(format!("{:>12.3} {}", at.as_secs_f64(), text()));
        }
    }

    fn set_now(&mut self) {
        self.audit.now = self.ground.clock.now();
        self.audit.wall = self.ground.clock.wall().0;
    }

    /// Runs the engine until its life ends.
    pub async fn live(&mut self, life: &mut Life) -> End {
        for shard in 0..life.shards.len() {
            self.drain_outputs(life, shard);
        }
        loop {
            self.set_now();
            if let Some(end) = self.turn(life) {
                return end;
            }
            let now = self.ground.clock.now();
            let mut due = [self.agenda.next(), life.next_wake()].into_iter().flatten().min();
            if life.unsettled.iter().any(|batches| !batches.is_empty()) {
                let again = now + Duration::from_millis(5);
                due = Some(due.map_or(again, |due| due.min(again)));
            }
            if due.is_some_and(|due| due <= now) {
                continue;
            }
            let post = Rc::clone(&self.ground.post);
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(self.ground.clock.instant(due)).await,
                    // Nothing is left but what tasks may bring; a minute later nothing will come.
                    None => tokio::time::sleep(Duration::from_secs(60)).await,
                }
            };
            tokio::select! {
                biased;
                () = post.arrived() => {}
                () = sleep => if due.is_none() && self.is_at_rest() { return End::Rest },
            }
        }
    }

    fn is_at_rest(&self) -> bool {
        // A disk that hangs may do so for longer than nothing else has happened.
        let busy = self.ground.disk.is_busy();
        self.calm && !busy && self.agenda.is_empty() && self.settled.iter().all(|settled| *settled)
    }

    /// Everything that is to happen now.
    fn turn(&mut self, life: &mut Life) -> Option<End> {
        let segments = life.storage.segments().clone();
        self.follower.follow(&segments, &mut self.audit);
        if let Some(power) = self.ground.post.crashed() {
            return Some(if power { End::PowerCut } else { End::Killed });
        }
        while let Some(news) = self.ground.post.take() {
            match news {
                News::Message(shard, message) => self.message(life, shard, message),
                News::Told { work, answer } => self.told(work, answer),
                News::Paused { pattern, paused, done } => {
                    // What was not stored in time may come true at the next start; then nothing is demanded.
                    self.audit.paused(&pattern, paused && done);
                    if !paused && !done {
                        self.agenda
                            .add(self.ground.clock.now() + Duration::from_secs(5), Event::Resume(pattern));
                    }
                }
                News::Panicked(words) => self.audit.breach("no panic", words),
                News::LogFailed(why) => {
                    self.note(|| format!("the log failed: {why}"), [1, 0]);
                    return Some(End::LogFailed);
                }
                News::Stopped => return Some(End::Stopped),
            }
        }
        for shard in 0..life.shards.len() {
            if !life.unsettled[shard].is_empty() {
                life.offer_unsettled(shard);
            }
        }
        let now = self.ground.clock.now();
        while let Some(event) = self.agenda.pop(now) {
            self.counts.events += 1;
            if let Some(end) = self.happen(life, event) {
                return Some(end);
            }
        }
        let epoch = life.epoch;
        for shard in 0..life.shards.len() {
            let due = |at: Time| epoch + Duration::from_micros(at.0) <= now;
            if life.shards[shard].next_wake().is_some_and(due) {
                self.input(life, shard, Input::Wake);
            }
        }
        self.stop_when_drained(life);
        None
    }

    fn message(&mut self, life: &mut Life, shard: usize, message: Message) {
        match message {
            Message::Admit(batch) => {
                batch.into_iter().for_each(|admit| self.input(life, shard, Input::Admit(admit)));
            }
            Message::Content(at, bytes) => self.input(life, shard, Input::Content { at, bytes }),
            Message::Answer(answer) => self.input(life, shard, Input::Answered(answer)),
            Message::Request(request, reply) => {
                let now = life.now(&self.ground.clock);
                // Whoever asked may be gone.
                let _ = reply.send(life.shards[shard].request(now, request));
                self.drain_outputs(life, shard);
            }
            Message::Nudged(place) => self.input(life, shard, Input::Nudged(place)),
            Message::Asked(wish) => self.input(life, shard, Input::Asked(wish)),
            Message::Reported => self.input(life, shard, Input::Reported),
            Message::Drain(_) => self.input(life, shard, Input::Drain),
            // Sessions of clients: there are none here.
            Message::Begin(_) => {}
        }
    }

    pub fn input(&mut self, life: &mut Life, shard: usize, input: Input<'_>) {
        let now = life.now(&self.ground.clock);
        life.shards[shard].handle(now, input);
        self.drain_outputs(life, shard);
    }

    pub fn drain_outputs(&mut self, life: &mut Life, shard: usize) {
        while let Some(output) = life.shards[shard].poll_output() {
            self.carry_out(life, shard, output);
        }
    }

    fn carry_out(&mut self, life: &mut Life, shard: usize, output: Output) {
        let now = self.ground.clock.now();
        match output {
            Output::Connect { connection, from, to } => self.connect(shard, connection, from, to),
            Output::Send { connection } => {
                if let Some(&id) = self.connections.get(&(shard, connection))
                    && let Some(wire) = self.wires.get_mut(&id).filter(|wire| !wire.writing)
                {
                    wire.writing = true;
                    self.agenda.add(now, Event::Writable(id));
                }
            }
            Output::Close { connection } => self.close(shard, connection),
            Output::Resolve(query) => self.resolve(life, shard, query),
            Output::Move(admits) => {
                for admit in admits {
                    let (owner, post) = (admit.owner(life.shards.len()), &self.ground.post);
                    post.send(News::Message(owner, Message::Admit(vec![admit])));
                }
            }

            Output::Notice(notice) => {
                self.note(|| format!("shard {shard}: {notice}"), [7, 0]);
                match *notice {
                    Notice::Mode { queue, backoff, .. } => {
                        self.counts.backoffs += u64::from(backoff);
                        self.audit.mode(&queue.to_string(), backoff);
                    }
                    Notice::Adapted { queue, step } => {
                        self.counts.steps[usize::from(!step.down)] += 1;
                        self.audit.adapted(&queue.to_string(), &step);
                    }
                    Notice::Source { .. } => {}
                }
            }

            Output::Nudge { shard, place } => {
                self.ground.post.send(News::Message(shard as usize, Message::Nudged(place)));
            }
            Output::Ask { shard, wish } => {
                self.ground.post.send(News::Message(shard as usize, Message::Asked(wish)));
            }
            Output::RouteRegained(queue) => {
                life.storage.note(Control::RouteLost { queue: queue.to_string(), lost: false });
            }
            Output::Load(at) => {
                let (storage, post) = (life.storage.clone(), Rc::clone(&self.ground.post));
                self.ground.post.spawn(async move {
                    let bytes = storage.read(at).await.ok();
                    post.send(News::Message(shard, Message::Content(at, bytes)));
                });
            }
            Output::Report(report) => panic!("nobody here asks for reports: {report:?}"),
            Output::Settle(batch) => {
                self.note(
                    || format!("shard {shard} settles {}", batch.outcomes.len()),
                    [2, batch.outcomes.len() as u64],
                );
                life.unsettled[shard].push_back(batch);
                life.offer_unsettled(shard);
            }
        }
    }

    // ---- DNS.

    fn resolve(&mut self, life: &Life, shard: usize, query: Query) {
        let now = self.ground.clock.now();
        let domain = dns::domain_of(&self.plan, &query);
        let ill = domain.map(|d| self.dns_ills[d]).filter(|(_, until)| !self.calm && *until > now);
        let ill = ill.map(|(ill, _)| ill);
        self.counts.dns_failures += u64::from(ill.is_some());
        let route = dns::resolve(&self.plan, &life.policy, &query, ill);
        if route.as_ref().is_err_and(|error| error.permanent)
            && let Some(domain) = domain
        {
            self.audit.no_mail[domain] = true;
        }
        let most = if ill == Some(DnsIll::Timeout) { 60_000 } else { 300 };
        let at = now + Duration::from_millis(self.rng.u64(..most));
        let answer = Answer { destination: query.destination, route };
        self.agenda.add(at, Event::Answer(self.life_number, shard, answer));
    }
}

/// Bytes of a dialogue, for people.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).escape_debug().to_string();
    if bytes.len() > 120 { format!("{text} .. ({} bytes)", bytes.len()) } else { text }
}
