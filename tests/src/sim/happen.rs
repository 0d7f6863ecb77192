//! What happens to the engine: bytes and answers that arrive, clients, troubles, the operator, calm.

use super::audit::Known;
use super::dns::DnsIll;
use super::import;
use super::life::Life;
use super::net::Event;
use super::peer::Meaning;
use super::plan::{Door, Trouble};
use super::post::{News, Refusal};
use super::world::{End, World, shown};
use posthaste::daemon::profiles::ConfigProfiles;
use posthaste::io::reactor::Message;
use posthaste::shard::{Input, QueuePattern, Selection, ShardRequest};
use posthaste::spool::record::{Control, Draft, Group};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long a client waits before it tries again.
const AGAIN: Duration = Duration::from_secs(60);
/// How long a stop waits for transactions in flight.
const DRAIN: Duration = Duration::from_secs(30);

impl World {
    /// One event; the life may end with it.
    pub fn happen(&mut self, life: &mut Life, event: Event) -> Option<End> {
        match event {
            Event::Syn(id) => self.arrive(id),
            Event::Connected(id) => self.connected(life, id),
            Event::Writable(id) => self.write(life, id),
            Event::ToPeer(id, bytes) => self.receive(id, &bytes),
            Event::ToEngine(id, bytes, means) => self.deliver(life, id, &bytes, means),
            Event::PeerGone(id) => self.peer_gone(id),
            Event::EngineGone(id, kind) => self.engine_gone(life, id, kind),
            Event::Answer(of, shard, answer) => {
                if of == self.life_number {
                    self.note(|| format!("DNS of {}: {:?}", answer.destination, answer.route), [6, 0]);
                    self.input(life, shard, Input::Answered(answer));
                }
            }
            Event::Work(work) => self.offer(life, work),
            Event::Trouble(n) => {
                let trouble = self.plan.troubles[n].1.clone();
                self.note(|| format!("trouble: {trouble:?}"), [7, n as u64]);
                if !self.calm {
                    return self.trouble(life, &trouble);
                }
            }
            Event::Resume(pattern) => self.pause(life, &pattern, false),
            Event::Calm => self.become_calm(life),
            Event::DiskWell => self.disk_well(),
            Event::Crash(_) if self.calm => {}
            Event::Crash(true) => return Some(End::PowerCut),
            Event::Crash(false) => return Some(End::Killed),
        }
        None
    }

    /// An event while no engine runs.
    pub fn happen_alone(&mut self, event: Event) {
        let now = self.ground.clock.now();
        self.audit.now = now;
        match event {
            Event::Syn(_) | Event::Connected(_) | Event::Writable(_) | Event::Answer(..) => {}
            Event::ToEngine(..) | Event::EngineGone(..) | Event::Crash(_) => {}
            Event::ToPeer(id, bytes) => self.receive(id, &bytes),
            Event::PeerGone(id) => self.peer_gone(id),
            Event::Work(work) => self.agenda.add(now + AGAIN, Event::Work(work)),
            Event::Trouble(n) => self.agenda.add(now + Duration::from_secs(1), Event::Trouble(n)),
            Event::Resume(pattern) => {
                self.agenda.add(now + Duration::from_secs(1), Event::Resume(pattern));
            }
            Event::Calm => self.agenda.add(now + Duration::from_secs(1), Event::Calm),
            Event::DiskWell => self.disk_well(),
        }
    }

    fn disk_well(&mut self) {
        self.ground.disk.set_room(None);
        self.ground.disk.set_latency(2);
        self.ground.disk.set_reads_fail(false);
        self.ground.post.stir();
    }

    fn connected(&mut self, life: &mut Life, id: u64) {
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.held) else { return };
        wire.connected = true;
        let (shard, connection) = (wire.shard, wire.connection);
        let local = wire.from.unwrap_or([10, 0, 0, 1].into());
        self.input(life, shard, Input::Connected { connection, local });
    }

    fn deliver(&mut self, life: &mut Life, id: u64, bytes: &[u8], means: Vec<Meaning>) {
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.held) else { return };
        let (shard, connection) = (wire.shard, wire.connection);
        self.note(|| format!("wire {id}: < {}", shown(bytes)), [8, id]);
        if bytes.is_empty() {
            return;
        }
        for means in means {
            match means {
                Meaning::Taken(number) => self.audit.heard(number),
                Meaning::PutOff(address) => self.audit.put_off(&address),
            }
        }
        self.input(life, shard, Input::Received { connection, bytes });
    }

    fn engine_gone(&mut self, life: &mut Life, id: u64, kind: std::io::ErrorKind) {
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.held) else { return };
        let (shard, connection) = (wire.shard, wire.connection);
        self.note(|| format!("wire {id}: {kind}"), [9, id]);
        self.audit.lost(id);
        self.input(life, shard, Input::Closed { connection, cause: kind.into() });
    }

    // ---- Clients.

    fn offer(&mut self, life: &mut Life, number: usize) {
        let now = self.ground.clock.now();
        if self.waiting[number] || self.settled[number] {
            return;
        }
        if self.stopping.is_some() {
            return self.agenda.add(now + AGAIN, Event::Work(number));
        }
        let work = self.plan.works[number].clone();
        let began = life.imports.get(&import::identity(number)).cloned();
        self.counts.submissions += 1;
        self.waiting[number] = true;
        self.audit.offered(number);
        self.note(
            || format!("work {number} is offered ({:?}, {} recipients)", work.door, work.recipients.len()),
            [10, number as u64],
        );
        let (post, wall) = (Rc::clone(&self.ground.post), self.ground.clock.wall());
        self.ground.post.spawn(import::submit(life.intake.clone(), post, work, wall, began));
    }

    pub fn told(&mut self, number: usize, answer: Result<(), Refusal>) {
        self.waiting[number] = false;
        self.note(|| format!("work {number}: {answer:?}"), [11, u64::from(answer.is_ok())]);
        match answer {
            Ok(()) => {
                self.audit.acknowledged(number);
                self.settled[number] = true;
            }
            Err(refusal) => {
                self.counts.refused += 1;
                // A file or campaign that went in by parts goes on where it stopped; a client begins anew.
                let by_parts = self.plan.works[number].door == Door::Campaign;
                let full = refusal.text.contains("low on space");
                if !by_parts {
                    self.audit.refused_work(number, !full);
                }
                if refusal.transient {
                    self.agenda.add(self.ground.clock.now() + AGAIN, Event::Work(number));
                } else {
                    self.audit
                        .breach("takes mail", format!("work {number} is refused for good: {}", refusal.text));
                    self.settled[number] = true;
                }
            }
        }
    }

    /// The engine has come back: who waited for an answer acts as such a client does.
    pub fn clients_after(&mut self, life: &Life) {
        if self.calm {
            self.resume_all(life);
        }
        for number in 0..self.plan.works.len() {
            let door = self.plan.works[number].door;
            let done = life.done.contains(&import::identity(number));
            if done && !self.settled[number] {
                // The file is known to be stored, and is removed.
                if self.audit.works[number].known != Known::Acknowledged {
                    self.audit.acknowledged(number);
                }
                self.settled[number] = true;
                let identity = import::identity(number);
                let storage = life.storage.clone();
                self.ground.post.spawn(async move {
                    let drafts = vec![Draft::Control(Control::PickupForgotten { identity })];
                    // Where it cannot be noted, the next start notes it.
                    let _ = storage.submit_async(Group { drafts }).await.await;
                });
            } else if self.waiting[number] {
                if door == Door::Smtp {
                    // It saw the connection break and does not know; this one leaves it at that.
                    self.settled[number] = true;
                } else {
                    self.agenda.add(self.ground.clock.now() + Duration::from_secs(1), Event::Work(number));
                }
            }
            self.waiting[number] = false;
        }
    }

    // ---- Troubles and the operator.

    fn trouble(&mut self, life: &mut Life, trouble: &Trouble) -> Option<End> {
        let now = self.ground.clock.now();
        let disk = self.ground.disk.clone();
        match trouble {
            Trouble::Site(domain, ill, time) => self.sites[*domain].ills.push((*ill, now + *time)),
            Trouble::Dns(domain, time) => {
                let ills = [DnsIll::ServFail, DnsIll::Timeout, DnsIll::NoAddresses];
                let ill = *self.rng.choice(ills.iter()).expect("not empty");
                self.dns_ills[*domain] = (ill, now + *time);
            }
            Trouble::SlowDisk(ms, time) => {
                disk.set_latency(*ms);
                self.agenda.add(now + *time, Event::DiskWell);
            }
            Trouble::HungDisk(time) => disk.hang_next_sync(*time),
            Trouble::FullDisk(more, time) => {
                disk.set_room(Some(*more));
                self.ground.post.stir();
                self.agenda.add(now + *time, Event::DiskWell);
            }
            Trouble::UnreadableDisk(time) => {
                disk.set_reads_fail(true);
                self.agenda.add(now + *time, Event::DiskWell);
            }
            Trouble::Clock(seconds) => {
                self.counts.clock_jumps += 1;
                self.audit.jumps.push(*seconds);
                self.ground.clock.skew.set(self.ground.clock.skew.get() + seconds * 1000);
                self.ask(life, &ShardRequest::Status);
            }
            Trouble::Kill => return Some(End::Killed),
            Trouble::PowerCut => return Some(End::PowerCut),
            Trouble::Restart => self.begin_stop(life),
            order => self.order(life, order),
        }
        None
    }

    fn order(&mut self, life: &mut Life, order: &Trouble) {
        self.counts.orders += 1;
        match order {
            Trouble::Pause(pattern, paused) => self.pause(life, pattern, *paused),
            Trouble::DeleteJob(job) => {
                let selection = Selection { job: Some(job.clone()), ..Selection::default() };
                self.audit.deleted(|work| work.job == *job);
                self.ask(life, &ShardRequest::Delete { selection, quiet: false });
            }
            Trouble::DeleteDomain(domain) => {
                let name = self.plan.domains[*domain].name.clone();
                let queue = Some(QueuePattern::parse(&name));
                let selection = Selection { queue, ..Selection::default() };
                let at = format!("@{name}");
                self.audit.deleted(|work| work.recipients.iter().any(|address| address.ends_with(&at)));
                self.ask(life, &ShardRequest::Delete { selection, quiet: true });
            }
            _ => {
                for shard in 0..life.shards.len() {
                    let profiles = Box::new(ConfigProfiles::new(self.ground.configured.clone()));
                    self.input(life, shard, Input::Profiles(profiles));
                }
            }
        }
    }

    /// The order is stored first, then carried out.
    fn pause(&mut self, life: &Life, pattern: &str, paused: bool) {
        if !paused {
            // It may be stored although the engine goes down before anybody hears of it.
            self.audit.paused(pattern, false);
        }
        let (storage, owners) = (life.storage.clone(), life.intake.owners.clone());
        let (post, pattern) = (Rc::clone(&self.ground.post), pattern.to_owned());
        self.ground.post.spawn(async move {
            let control = Control::QueuePaused { queue: pattern.clone(), paused };
            let group = Group { drafts: vec![Draft::Control(control)] };
            let stored = storage.submit_async(group).await.await.is_ok();
            let queue = QueuePattern::parse(&pattern);
            let asked = stored && owners.ask(&ShardRequest::Pause { queue, paused }).await.is_ok();
            post.send(News::Paused { pattern, paused, done: asked });
        });
    }

    fn ask(&mut self, life: &mut Life, request: &ShardRequest) {
        for shard in 0..life.shards.len() {
            let now = life.now(&self.ground.clock);
            life.shards[shard].request(now, request.clone());
            self.drain_outputs(life, shard);
        }
    }

    fn begin_stop(&mut self, life: &mut Life) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(self.ground.clock.now());
        self.agenda.add(self.ground.clock.now() + DRAIN, Event::DiskWell);
        life.intake.stopping.store(true, Relaxed);
        for shard in 0..life.shards.len() {
            let (done, _) = tokio::sync::oneshot::channel();
            self.ground.post.send(News::Message(shard, Message::Drain(done)));
        }
    }

    /// Once nothing is in flight any more (or it takes too long), the log is ended.
    pub fn stop_when_drained(&mut self, life: &mut Life) {
        let Some(since) = self.stopping else { return };
        let drained = life.shards.iter().all(|shard| shard.is_drained())
            && life.unsettled.iter().all(|batches| batches.is_empty());
        if drained || self.ground.clock.now() >= since + DRAIN {
            life.storage.clone().stop();
        }
    }

    /// No more faults: from now on everything must come to its end.
    pub fn become_calm(&mut self, life: &mut Life) {
        self.note(|| "calm".to_owned(), [12, 0]);
        self.calm = true;
        // Somebody puts the clock right; the engine asks its shards every second.
        self.ground.clock.skew.set(0);
        self.ask(life, &ShardRequest::Status);
        self.ground.disk.calm();
        self.ground.post.stir();
        for site in &mut self.sites {
            site.calm = true;
        }
        self.resume_all(life);
    }

    fn resume_all(&mut self, life: &Life) {
        let plan = Rc::clone(&self.plan);
        for (_, trouble) in &plan.troubles {
            if let Trouble::Pause(pattern, true) = trouble {
                self.pause(life, pattern, false);
            }
        }
    }
}
