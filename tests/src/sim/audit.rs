//! The auditor: stands outside, hears what was promised to clients, what the receivers saw and what the log says, and holds
//! the engine to its promises. It shares no code with the engine but the names of dispositions.

use super::audit_wide::Dialled;
use super::plan::{Limits, Plan};
use super::world::START;
use posthaste::spool::record::Disposition;
use std::collections::BTreeMap;
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
    /// Calendar time when it was first offered, milliseconds, and when last.
    pub offered: Option<i64>,
    pub offered_last: Option<i64>,
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
    pub(super) put_off: Option<Duration>,
    /// A receiver refused it for good.
    pub refused: bool,
    /// The end is durable since then.
    pub(super) ended: Option<Duration>,
    /// A sum of the bytes received last.
    pub(super) received: Option<u64>,
}

/// A message that a receiver took.
#[derive(Clone, Debug)]
pub struct Taken {
    pub at: Duration,
    pub(super) life: usize,
    pub(super) wire: u64,
    /// When the engine read the reply, or learned that none will come.
    pub heard: Option<Duration>,
    pub lost: Option<Duration>,
    /// The engine went down so soon after it that its record may be gone.
    pub excused: bool,
}

/// One queue as its receiver sees it.
#[derive(Debug, Default)]
pub struct QueueFile {
    pub(super) open: u32,
    /// Recipients attempted and connections made, in the present life.
    pub(super) attempts: Vec<Duration>,
    /// The same with the source addresses they came from.
    pub(super) sent: Vec<(usize, Duration)>,
    pub(super) bytes: Vec<(Duration, u64)>,
    pub(super) connects: Vec<Duration>,
    /// A receiver refused the sender for good.
    pub sender_refused: bool,
    pub(super) paused: Option<Duration>,
    /// In backoff since then.
    pub(super) backoff: Option<Duration>,
    /// Recipients attempted in the present backoff, by transactions that were begun in it.
    pub(super) slow_attempts: Vec<Duration>,
    /// Connections made in it.
    pub(super) slow_connects: Vec<Duration>,
}

#[derive(Debug)]
pub(super) struct Wire {
    /// Domain and VMTA.
    pub(super) queue: (usize, usize),
    pub(super) source: usize,
    pub(super) open: bool,
    pub(super) transaction: Duration,
    pub(super) messages: u32,
    pub(super) recipients: u32,
    pub(super) since_pause: u32,
    /// Transactions since its queue is in backoff; `None` where it was made since.
    pub(super) since_backoff: Option<u32>,
    /// In which life it was made: what arrives after a crash counts for no rate.
    pub(super) life: usize,
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
    pub(super) wires: BTreeMap<u64, Wire>,
    pub(super) dialled: BTreeMap<u64, Dialled>,
    pub(super) life: usize,
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
            dialled: BTreeMap::new(),
            life: 0,
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
        file.offered_last = Some(wall);
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

    /// The last order about a queue counts, whatever patterns others were given by.
    pub fn paused(&mut self, pattern: &str, paused: bool) {
        let plan = Rc::clone(&self.plan);
        for (d, domain) in plan.domains.iter().enumerate() {
            for (v, vmta) in plan.vmtas.iter().enumerate() {
                let names = ["*".to_owned(), domain.name.clone(), format!("{}/{}", domain.name, vmta.name)];
                if !names.iter().any(|name| name == pattern) {
                    continue;
                }
                let now = self.now;
                let file = self.queues.entry((d, v)).or_default();
                file.paused = paused.then(|| file.paused.unwrap_or(now));
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
        for key in self.queues.keys().copied().collect::<Vec<_>>() {
            self.backoff_over(key);
        }
        for file in self.recipients.values_mut() {
            file.put_off = None;
        }
        self.life += 1;
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
                let age = at - self.begins(file.work, work.offered.unwrap_or(at));
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

    /// When the age of what was offered then begins to count.
    pub(super) fn begins(&self, work: usize, offered: i64) -> i64 {
        let start = self.plan.works[work].start_at.map(|at| START.0 + at.as_millis() as i64);
        start.map_or(offered, |start| start.max(offered))
    }

    pub(super) fn limits(&self, key: (usize, usize)) -> &Limits {
        &self.plan.domains[key.0].limits
    }

    pub fn queue_name(&self, key: (usize, usize)) -> String {
        format!("{}/{}", self.plan.domains[key.0].name, self.plan.vmtas[key.1].name)
    }

    /// The rates of the present life, as the receivers counted them.
    fn check_rates(&mut self) {
        self.check_wide();
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
        self.dialled.len() as u32 + self.queues.values().map(|queue| queue.open).sum::<u32>()
    }
}

pub(super) fn state_doubled(work: &WorkFile) -> u32 {
    work.doubled + u32::from(work.ambiguous)
}
