//! The auditor: stands outside, hears what was promised to clients, what the receivers saw and what the log says, and holds
//! the engine to its promises. It shares no code with the engine but the names of dispositions.

use super::plan::{Limits, Plan, Vmta};
use posthaste::spool::record::Disposition;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    pub at: Duration,
    pub promise: &'static str,
    pub text: String,
}

/// What the submitter of a work knows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    #[default]
    NotOffered,
    /// No answer yet, or none will come.
    Open,
    Acknowledged,
    Refused,
}

#[derive(Clone, Debug, Default)]
pub struct WorkFile {
    pub known: Known,
    /// Calendar time when it was first offered, milliseconds.
    pub offered: Option<i64>,
    /// Refusals after which the engine may have kept it nevertheless: it went down before it could say otherwise.
    pub doubled: u32,
    pub ambiguous: bool,
    pub deleted: bool,
}

#[derive(Clone, Debug, Default)]
pub struct RecipientFile {
    pub work: usize,
    pub number: usize,
    pub domain: usize,
    /// Messages taken by the receivers, by number.
    pub taken: Vec<u64>,
    pub outcomes: Vec<Disposition>,
    /// When the receiver put this one off last, in the present life.
    put_off: Option<Duration>,
    /// A receiver refused it for good.
    pub refused: bool,
    /// The end is durable since then.
    ended: Option<Duration>,
    /// Bytes received last.
    received: Option<Vec<u8>>,
}

/// A message that a receiver took.
#[derive(Clone, Debug)]
pub struct Taken {
    pub at: Duration,
    life: usize,
    wire: u64,
    /// When the engine read the reply, or learned that none will come.
    pub heard: Option<Duration>,
    pub lost: Option<Duration>,
    /// The engine went down so soon after it that its record may be gone.
    pub excused: bool,
}

/// One queue as its receiver sees it.
#[derive(Debug, Default)]
pub struct QueueFile {
    open: u32,
    /// Recipients attempted and connections made, in the present life.
    attempts: Vec<Duration>,
    connects: Vec<Duration>,
    /// A receiver refused the sender for good.
    pub sender_refused: bool,
    paused: Option<Duration>,
}

#[derive(Debug)]
struct Wire {
    /// Domain and VMTA.
    queue: (usize, usize),
    source: usize,
    connected: Duration,
    open: bool,
    transaction: Duration,
    messages: u32,
    recipients: u32,
    since_pause: u32,
}

pub struct Auditor {
    pub plan: Rc<Plan>,
    pub now: Duration,
    /// Milliseconds since 1970, as the engine sees the calendar.
    pub wall: i64,
    /// When somebody set the clock.
    pub jumps: Vec<i64>,
    pub works: Vec<WorkFile>,
    pub recipients: BTreeMap<String, RecipientFile>,
    pub taken: Vec<Taken>,
    pub queues: BTreeMap<(usize, usize), QueueFile>,
    /// Domains of which DNS has said that they take no mail.
    pub no_mail: Vec<bool>,
    pub breaches: Vec<Breach>,
    wires: BTreeMap<u64, Wire>,
    open: u32,
    life: usize,
    paused: BTreeMap<String, Duration>,
}

impl Auditor {
    pub fn new(plan: Rc<Plan>) -> Auditor {
        let mut recipients = BTreeMap::new();
        for work in &plan.works {
            for (number, address) in work.recipients.iter().enumerate() {
                let domain = address.rsplit('@').next().unwrap_or_default();
                let domain = plan.domains.iter().position(|d| d.name == domain).unwrap_or(usize::MAX);
                let file = RecipientFile { work: work.id, number, domain, ..RecipientFile::default() };
                recipients.insert(address.clone(), file);
            }
        }
        Auditor {
            now: Duration::ZERO,
            wall: 0,
            jumps: Vec::new(),
            works: vec![WorkFile::default(); plan.works.len()],
            recipients,
            taken: Vec::new(),
            queues: BTreeMap::new(),
            no_mail: vec![false; plan.domains.len()],
            breaches: Vec::new(),
            wires: BTreeMap::new(),
            open: 0,
            life: 0,
            paused: BTreeMap::new(),
            plan,
        }
    }

    pub fn breach(&mut self, promise: &'static str, text: String) {
        if self.breaches.len() < 50 {
            self.breaches.push(Breach { at: self.now, promise, text });
        }
    }

    // ---- The clients.

    pub fn offered(&mut self, work: usize) {
        let wall = self.wall;
        let file = &mut self.works[work];
        file.offered.get_or_insert(wall);
        file.known = Known::Open;
    }

    pub fn acknowledged(&mut self, work: usize) {
        if self.works[work].known == Known::Acknowledged {
            self.breach("one answer", format!("work {work} was acknowledged twice"));
        }
        self.works[work].known = Known::Acknowledged;
    }

    /// `ambiguous`: the commit may have reached the disk all the same, if the engine goes down now.
    pub fn refused_work(&mut self, work: usize, ambiguous: bool) {
        let file = &mut self.works[work];
        file.known = Known::Refused;
        file.ambiguous |= ambiguous;
    }

    /// The operator deletes recipients that are waiting.
    pub fn deleted(&mut self, of: impl Fn(&super::plan::Work) -> bool) {
        for work in self.plan.works.iter().filter(|work| of(work)) {
            self.works[work.id].deleted = true;
        }
    }

    pub fn paused(&mut self, pattern: &str, paused: bool) {
        if paused {
            self.paused.insert(pattern.to_owned(), self.now);
        } else {
            self.paused.remove(pattern);
        }
        let plan = Rc::clone(&self.plan);
        for (d, domain) in plan.domains.iter().enumerate() {
            for (v, vmta) in plan.vmtas.iter().enumerate() {
                let names = ["*".to_owned(), domain.name.clone(), format!("{}/{}", domain.name, vmta.name)];
                let since = self.paused.iter().filter(|(p, _)| names.contains(p)).map(|(_, at)| *at).max();
                let file = self.queues.entry((d, v)).or_default();
                file.paused = match (file.paused, since) {
                    (Some(before), Some(_)) => Some(before),
                    (_, since) => since,
                };
            }
        }
        self.wires.values_mut().for_each(|wire| wire.since_pause = 0);
    }

    // ---- The engine's lives.

    /// The engine went down. What it learned after `recorded` may not have reached the disk.
    pub fn life_ended(&mut self, recorded: Duration, crashed: bool) {
        for taken in self.taken.iter_mut().filter(|taken| taken.life == self.life) {
            taken.excused |= taken.heard.or(taken.lost).is_none_or(|at| crashed && at >= recorded);
        }
        for work in self.works.iter_mut().filter(|work| crashed && work.ambiguous) {
            (work.ambiguous, work.doubled) = (false, work.doubled + 1);
        }
        self.check_rates();
        for file in self.recipients.values_mut() {
            file.put_off = None;
        }
        self.life += 1;
    }

    // ---- The receivers.

    /// A connection attempt arrives (or would arrive, where nobody listens).
    pub fn connect(&mut self, wire: u64, from: Option<IpAddr>, domain: usize) {
        let source = |vmta: &Vmta| vmta.sources.iter().position(|(ip, _)| Some(*ip) == from);
        let found = self.plan.vmtas.iter().enumerate().find_map(|(v, vmta)| Some((v, source(vmta)?)));
        let Some((vmta, source)) = found else {
            return self.breach("own addresses", format!("a connection from {from:?}, no VMTA's address"));
        };
        let queue = self.queues.entry((domain, vmta)).or_default();
        queue.connects.push(self.now);
        let paused = queue.paused;
        let latency = self.plan.domains[domain].manners.latency;
        if let Some(since) = paused.filter(|since| self.now > *since + latency) {
            let name = &self.plan.domains[domain].name;
            self.breach(
                "pause",
                format!("a connection to {name} although its queue is paused since {since:?}"),
            );
        }
        let wire_file = Wire {
            queue: (domain, vmta),
            source,
            connected: self.now,
            open: false,
            transaction: Duration::ZERO,
            messages: 0,
            recipients: 0,
            since_pause: 0,
        };
        self.wires.insert(wire, wire_file);
    }

    pub fn opened(&mut self, wire: u64) {
        let Some(file) = self.wires.get_mut(&wire) else { return };
        file.open = true;
        let key = file.queue;
        let queue = self.queues.entry(key).or_default();
        queue.open += 1;
        let (open, most) = (queue.open, self.limits(key).max_smtp_out);
        if open > most {
            let name = self.queue_name(key);
            self.breach("max-smtp-out", format!("{open} connections at a time to {name}, at most {most}"));
        }
    }

    /// The engine has a connection more, or so many less: no receiver sees all of them.
    pub fn dialled(&mut self) {
        self.open += 1;
        if self.open > self.plan.total {
            let text = format!("{} connections in all, at most {}", self.open, self.plan.total);
            self.breach("total-max-smtp-out", text);
        }
    }

    pub fn hung_up(&mut self, connections: u32) {
        self.open -= connections;
    }

    pub fn closed(&mut self, wire: u64) {
        let Some(file) = self.wires.remove(&wire).filter(|file| file.open) else { return };
        self.queues.entry(file.queue).or_default().open -= 1;
    }

    pub fn hello(&mut self, wire: u64, name: &str) {
        let Some(file) = self.wires.get(&wire) else { return };
        let (ip, right) = &self.plan.vmtas[file.queue.1].sources[file.source];
        if name != right {
            let text = format!("{ip} said HELO {name:?}, its name is {right:?}");
            self.breach("own addresses", text);
        }
    }

    /// A transaction begins (MAIL).
    pub fn transaction(&mut self, now: Duration, wire: u64) {
        let Some(file) = self.wires.get_mut(&wire) else { return };
        (file.transaction, file.recipients) = (now, 0);
        file.messages += 1;
        file.since_pause += 1;
        let (key, messages, since_pause) = (file.queue, file.messages, file.since_pause);
        let most = self.limits(key).msg_per_connection;
        if most > 0 && messages > most {
            let name = self.queue_name(key);
            let text = format!("{messages} messages over one connection to {name}, at most {most}");
            self.breach("max-msg-per-connection", text);
        }
        // One may be under way, and one handed to the connection behind it.
        let latency = self.plan.domains[key.0].manners.latency;
        let paused = self.queues.entry(key).or_default().paused;
        if since_pause > 3 && paused.is_some_and(|since| now > since + latency) {
            let name = self.queue_name(key);
            self.breach("pause", format!("transactions go on to {name} although it is paused"));
        }
    }

    /// A recipient is attempted (RCPT).
    pub fn recipient(&mut self, now: Duration, wire: u64, address: &str) {
        let Some(file) = self.wires.get_mut(&wire) else { return };
        file.recipients += 1;
        let (key, count, begun) = (file.queue, file.recipients, file.transaction);
        let limits = self.limits(key).clone();
        if limits.rcpt_per_message > 0 && count > limits.rcpt_per_message {
            let text = format!("{count} recipients in a message, at most {}", limits.rcpt_per_message);
            self.breach("max-rcpt-per-message", text);
        }
        self.queues.entry(key).or_default().attempts.push(begun);
        self.check_attempt(now, key, begun, &limits, address);
    }

    fn check_attempt(
        &mut self,
        now: Duration,
        key: (usize, usize),
        begun: Duration,
        limits: &Limits,
        address: &str,
    ) {
        let Some(file) = self.recipients.get(address).cloned() else {
            return self.breach("no phantom", format!("{address} is attempted and was never submitted"));
        };
        let plan = Rc::clone(&self.plan);
        let work = &plan.works[file.work];
        if file.domain != key.0 {
            self.breach("right host", format!("{address} is attempted at {}", plan.domains[key.0].name));
        }
        let vmta = &plan.vmtas[key.1].name;
        if !plan.members(&work.vmta).iter().any(|member| member.name == *vmta) {
            self.breach("own addresses", format!("{address} of {} leaves from {vmta}", work.vmta));
        }
        let state = &self.works[file.work];
        match state.known {
            Known::NotOffered => {
                self.breach("no phantom", format!("{address} is attempted before it was offered"));
            }
            Known::Refused if !state.ambiguous && state.doubled == 0 => {
                self.breach("no phantom", format!("{address} is attempted although it was refused"));
            }
            _ => {}
        }
        if let Some(at) = file.ended.filter(|at| begun > *at + Duration::from_secs(1))
            && state_doubled(&self.works[file.work]) == 0
        {
            self.breach(
                "one end",
                format!("{address} is attempted although its end is recorded since {at:?}"),
            );
        }
        if let Some(at) = file.put_off.filter(|at| begun < *at + limits.retry_recipients_after) {
            let text = format!("{address} is attempted {:?} after it was put off", begun.saturating_sub(at));
            self.breach("retry-recipients-after", text);
        }
        self.check_age(now, begun, limits, &file, address);
    }

    fn check_age(
        &mut self,
        now: Duration,
        begun: Duration,
        limits: &Limits,
        file: &RecipientFile,
        address: &str,
    ) {
        if !self.jumps.is_empty() {
            return;
        }
        let Some(offered) = self.works[file.work].offered else { return };
        let ago = i64::try_from((now - begun).as_millis()).unwrap_or(0);
        let age = self.wall - ago - offered;
        if age > i64::try_from(limits.bounce_after.as_millis()).unwrap_or(i64::MAX) + 5_000 {
            self.breach("bounce-after", format!("{address} is attempted at the age of {} s", age / 1000));
        }
        let start = self.plan.works[file.work].start_at;
        if let Some(start) = start.filter(|start| begun < *start) {
            self.breach("start-at", format!("{address} is attempted {:?} too early", start - begun));
        }
    }

    /// The engine has read that a receiver put a recipient off for its own sake.
    pub fn put_off(&mut self, address: &str) {
        let now = self.now;
        if let Some(file) = self.recipients.get_mut(address) {
            file.put_off = Some(now);
        }
    }

    /// A receiver refused a recipient for good.
    pub fn refused(&mut self, address: &str) {
        if let Some(file) = self.recipients.get_mut(address) {
            file.refused = true;
        }
    }

    pub fn refused_sender(&mut self, wire: u64) {
        if let Some(file) = self.wires.get(&wire) {
            self.queues.entry(file.queue).or_default().sender_refused = true;
        }
    }

    /// A receiver took a message; returns its number.
    pub fn taken(&mut self, now: Duration, wire: u64, recipients: &[String], message: &[u8]) -> u64 {
        let number = self.taken.len() as u64;
        let taken = Taken { at: now, life: self.life, wire, heard: None, lost: None, excused: false };
        self.taken.push(taken);
        for address in recipients {
            let Some(file) = self.recipients.get_mut(address) else { continue };
            file.taken.push(number);
            let (work, row) = (file.work, file.number);
            // Two copies of a submission are two messages.
            let another = file.received.as_ref().is_some_and(|before| before != message);
            if another && self.works[work].doubled == 0 {
                self.breach("unaltered", format!("{address} got two renderings"));
            }
            if let Err(why) = super::content::check(&self.plan.works[work], row, message) {
                self.breach("unaltered", format!("{address}: {why}"));
            }
            if let Some(file) = self.recipients.get_mut(address).filter(|_| message.len() < 10_000) {
                file.received = Some(message.to_vec());
            }
        }
        number
    }

    /// The engine has read the reply that takes over message `number`.
    pub fn heard(&mut self, number: u64) {
        self.taken[number as usize].heard = Some(self.now);
    }

    /// The engine has learned that the connection is gone, or has closed it.
    pub fn lost(&mut self, wire: u64) {
        for taken in self.taken.iter_mut().rev().take(200).filter(|taken| taken.wire == wire) {
            taken.lost.get_or_insert(self.now);
        }
    }

    // ---- The log.

    /// A durable outcome, in the order of the log.
    pub fn outcome(&mut self, address: &str, disposition: Disposition, at: i64) {
        let now = self.now;
        let Some(file) = self.recipients.get_mut(address) else {
            return self.breach("no phantom", format!("an outcome of {address}, which was never submitted"));
        };
        file.outcomes.push(disposition);
        if !disposition.is_final() {
            return;
        }
        file.ended.get_or_insert(now);
        let (file, before) = (file.clone(), file.outcomes.iter().filter(|d| d.is_final()).count());
        let work = self.works[file.work].clone();
        if before > 1 + work.doubled as usize {
            self.breach("one end", format!("{address} has ended {before} times: {:?}", file.outcomes));
        }
        match disposition {
            Disposition::Bounced => self.check_bounce(address, &file),
            Disposition::Deleted { .. } if !work.deleted => {
                self.breach("no loss", format!("{address} was deleted, and nobody asked for it"));
            }
            Disposition::Expired if self.jumps.is_empty() => {
                let age = at - work.offered.unwrap_or(at);
                let least = self.plan.domains[file.domain].limits.bounce_after;
                if age < i64::try_from(least.as_millis()).unwrap_or(0) {
                    self.breach("bounce-after", format!("{address} expired at the age of {} s", age / 1000));
                }
            }
            _ => {}
        }
    }

    fn check_bounce(&mut self, address: &str, file: &RecipientFile) {
        let sender = self.queues.iter().any(|(key, queue)| key.0 == file.domain && queue.sender_refused);
        if !file.refused && !sender && !self.no_mail[file.domain] {
            self.breach("no loss", format!("{address} bounced, and no receiver refused it"));
        }
    }

    // ---- What several of these need.

    fn limits(&self, key: (usize, usize)) -> &Limits {
        &self.plan.domains[key.0].limits
    }

    pub fn queue_name(&self, key: (usize, usize)) -> String {
        format!("{}/{}", self.plan.domains[key.0].name, self.plan.vmtas[key.1].name)
    }

    /// The rates of the present life, as the receivers counted them.
    fn check_rates(&mut self) {
        let mut found = Vec::new();
        for (key, queue) in &mut self.queues {
            let limits = &self.plan.domains[key.0].limits;
            for (name, rate, times) in [
                ("max-msg-rate", limits.msg_rate, &mut queue.attempts),
                ("max-connect-rate", limits.connect_rate, &mut queue.connects),
            ] {
                let mut times = std::mem::take(times);
                times.sort_unstable();
                let Some((most, per)) = rate else { continue };
                // One more than the limit, as the limiter documents.
                let width = most as usize + 1;
                if let Some(window) = times.windows(width + 1).find(|w| w[width] - w[0] <= per) {
                    found.push((name, *key, width + 1, window[0], per));
                }
            }
        }
        for (name, key, count, from, per) in found {
            let queue = self.queue_name(key);
            self.breach(name, format!("{count} to {queue} within {per:?} from {from:?}"));
        }
    }

    pub fn open_connections(&self) -> u32 {
        self.open + self.queues.values().map(|queue| queue.open).sum::<u32>()
    }

    /// When a connection attempt arrived.
    pub fn connected_at(&self, wire: u64) -> Option<Duration> {
        self.wires.get(&wire).map(|wire| wire.connected)
    }
}

fn state_doubled(work: &WorkFile) -> u32 {
    work.doubled + u32::from(work.ambiguous)
}
