//! The queues of a shard with what belongs to each beside its schedule: configuration, connections, next hops.

use super::backoff::Backoff;
use super::profile::{Delivery, QueueProfile, Reroutes, VmtaProfile};
use super::targets::Next;
use crate::base::Time;
use crate::limit::Place;
use crate::queue::{Adaptive, Queue, QueueName, QueueSettings};
use crate::route::Destination;
use crate::route::choose::Sources;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub struct Entry {
    pub queue: Queue,
    pub profile: Arc<QueueProfile>,
    /// None while the configuration has no such VMTA: the mail is held (F39).
    pub vmta: Option<Arc<VmtaProfile>>,
    /// `None` in normal mode.
    /// Few have any.
    reroutes: Option<Box<Reroutes>>,
    pub backoff: Option<Box<Backoff>>,
    /// Where `adaptive-rate` is on.
    pub adaptive: Option<Box<Adaptive>>,
    /// Bytes of the messages of all who have not left it, each counted for each recipient.
    pub bytes: u64,
    pub sources: Sources,
    /// When to look for mail that has become too old without anybody being taken.
    pub look: Time,
    /// Counts plans, so that hosts of equal preference take turns.
    pub turn: u32,
    /// Boxed, because few of a million queues have connections at a time.
    work: Option<Box<Work>>,
    /// The route last looked up goes by A and AAAA records, for want of MX records.
    pub no_mx: bool,
    /// Waits for an answer from DNS.
    pub resolving: bool,
    /// Stands in the row of queues that `total-max-smtp-out` has left no connection.
    pub short: bool,
    /// A reload took its explicit next hops away while it had mail: that mail is held, and not sent by MX (F39).
    pub route_gone: bool,
}

/// What a million queues take a million times.
const _: () = assert!(size_of::<Entry>() <= 312);

/// What belongs to the connections of a queue, and to those it is about to make.
#[derive(Debug, Default)]
pub struct Work {
    /// Connections that wait for something to send.
    pub idle: VecDeque<u32>,
    /// Connections that have not come to their first message.
    pub connecting: u32,
    /// Connections that will ask for a further message with the one they are about to send.
    pub coming: u32,
    /// Those who wait are left to these until then.
    pub left_until: Option<Time>,
    /// No further connections before this, because one was refused while others work.
    pub hold_until: Option<Time>,
    /// What it could not have a connection of, and stands in the row for.
    pub lacks: Option<(Place, u32)>,
    /// Stands in the row for a rate of its virtual MTA.
    pub rated: bool,
    /// The endpoint after one that has just failed.
    pub next: Option<Next>,
    /// Connections that have nothing more to do and are about to close.
    pub parting: u32,
    /// Hosts that are left alone until then (`skip-mx`).
    skipped: Vec<(Arc<str>, Time)>,
}

impl Work {
    fn is_over(&self, now: Time) -> bool {
        self.idle.is_empty()
            && self.connecting + self.coming == 0
            && self.next.is_none()
            && self.lacks.is_none()
            && !self.rated
            && self.hold_until.is_none_or(|until| until <= now)
            && self.skipped.iter().all(|(_, until)| *until <= now)
    }

    /// Leaves a host alone for so long; false where it is already.
    pub fn skip(&mut self, host: Arc<str>, now: Time, wait: Duration) -> bool {
        self.skipped.retain(|(_, until)| *until > now);
        let new = !self.skips(&host, now);
        if new {
            self.skipped.push((host, now + wait));
        }
        new
    }

    pub fn skips(&self, host: &str, now: Time) -> bool {
        self.skipped.iter().any(|(skipped, until)| **skipped == *host && *until > now)
    }

    /// No host is left: the queue waits as a whole, and begins with all of them.
    pub fn skip_none(&mut self) {
        self.skipped.clear();
    }
}

/// What a new configuration cannot change about a queue that has mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// It cannot send: its virtual MTA or its route is gone.
    pub held: bool,
    /// It keeps its `type`.
    pub delivery: bool,
}

impl Entry {
    /// Whether anybody waits in it or is in the hands of one of its connections.
    pub fn has_mail(&self) -> bool {
        self.queue.waiting() > 0 || self.bytes > 0
    }

    /// Nothing may leave, for want of a virtual MTA or a route (F39).
    pub fn is_held(&self) -> bool {
        self.vmta.is_none() || self.route_gone
    }

    /// The age at which its mail is given up for want of MX records (`bounce-upon-no-mx`).
    pub fn life_without_mx(&self) -> Option<Duration> {
        self.profile.bounce_upon_no_mx.filter(|age| self.no_mx && *age < self.queue.settings().bounce_after)
    }

    /// The age at which its mail is given up, whatever the reason.
    pub fn life(&self) -> Duration {
        self.life_without_mx().unwrap_or(self.queue.settings().bounce_after)
    }

    /// What there is of [`Work`].
    pub fn work(&self) -> Option<&Work> {
        self.work.as_deref()
    }

    pub fn work_mut(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    pub fn some_work(&mut self) -> Option<&mut Work> {
        self.work.as_deref_mut()
    }

    pub fn next_idle(&mut self) -> Option<u32> {
        self.work.as_mut()?.idle.pop_front()
    }

    /// Whether it waits for a connection of all, or of its virtual MTA: nothing else needs to be tried.
    pub fn waits_in_row(&self) -> bool {
        matches!(self.stands_for(), Some(Place::Total | Place::Vmta(_)))
    }

    /// The place whose row it stands in.
    pub fn stands_for(&self) -> Option<&Place> {
        if self.short { Some(&Place::Total) } else { self.lacking().map(|(place, _)| place) }
    }

    fn lacking(&self) -> Option<&(Place, u32)> {
        self.work()?.lacks.as_ref()
    }

    /// It stands in no row any more.
    pub fn lacks_nothing(&mut self) {
        self.short = false;
        if let Some(work) = &mut self.work {
            work.lacks = None;
        }
    }

    /// The limit that leaves it no connection, in words.
    pub fn lacks(&self) -> String {
        self.lacking().map_or_else(String::new, |(place, limit)| {
            format!("all connections are in use ({} {limit} {place})", place.directive())
        })
    }

    /// Lets [`Work`] go once nothing of it is left.
    pub fn rest(&mut self, now: Time) {
        self.work.take_if(|work| work.is_over(now) && self.queue.connections() == 0);
    }

    /// Changes its mode, and with it the settings that count.
    pub fn set_backoff(&mut self, backoff: Option<Backoff>) {
        self.backoff = backoff.map(Box::new);
        self.queue.set_mode(self.in_force());
    }

    /// The settings that count at present, by its mode and as far as it has eased itself.
    fn in_force(&self) -> Arc<QueueSettings> {
        let QueueProfile { scheduling, backoff, .. } = &*self.profile;
        let settings = if self.backoff.is_some() { &backoff.scheduling } else { scheduling };
        let eased = self.adaptive.as_ref().and_then(|adaptive| adaptive.applied(settings));
        eased.map_or_else(|| settings.clone(), Arc::new)
    }

    /// Takes what it has eased itself to.
    pub fn adapt(&mut self) {
        self.queue.set_settings(self.in_force());
    }

    fn set_adaptive(&mut self) {
        let Some(terms) = self.profile.adaptive else { return self.adaptive = None };
        match &mut self.adaptive {
            Some(adaptive) => adaptive.set_terms(terms),
            None => self.adaptive = Some(Box::new(Adaptive::new(terms))),
        }
    }

    pub fn set_reroutes(&mut self, reroutes: Reroutes) {
        self.reroutes = (reroutes != Reroutes::default()).then(|| Box::new(reroutes));
    }

    /// The queue that has its mail at present instead.
    pub fn rerouted(&self) -> Option<QueueName> {
        let reroutes = self.reroutes.as_deref()?;
        let members = match self.backoff {
            Some(_) if reroutes.always.is_empty() => &reroutes.in_backoff,
            _ => &reroutes.always,
        };
        let vmta = members.get(self.turn as usize % members.len().max(1))?.clone();
        Some(QueueName { domain: self.queue.name().domain.clone(), vmta })
    }

    /// When backoff ends by itself.
    pub fn backoff_until(&self) -> Option<Time> {
        self.backoff.as_ref()?.until(self.profile.backoff.to_normal_after)
    }

    /// Whether it has more connections than it may, those that are about to close left aside.
    pub fn has_too_many_connections(&self) -> bool {
        let parting = self.work().map_or(0, |work| work.parting);
        self.queue.connections().saturating_sub(parting) > self.queue.settings().max_smtp_out
    }

    /// What its next hops are looked up by.
    pub fn destination(&self) -> Destination {
        match &self.profile.hosts {
            Some(hosts) => Destination::Hosts(hosts.clone()),
            None => Destination::of(&self.queue.name().domain),
        }
    }

    /// Whether its next hops are looked for in DNS.
    pub fn goes_by_mx(&self) -> bool {
        self.profile.hosts.is_none() && self.profile.delivery == Delivery::Smtp
    }

    /// Takes a new configuration; open connections keep the old one until they close.
    pub fn configure(&mut self, mut profile: Arc<QueueProfile>, vmta: Option<Arc<VmtaProfile>>) -> Kept {
        let has_mail = self.has_mail();
        let delivery = has_mail && profile.delivery != self.profile.delivery;
        if delivery {
            profile = Arc::new(QueueProfile { delivery: self.profile.delivery, ..(*profile).clone() });
        }
        let lost = self.route_gone || self.profile.hosts.is_some();
        self.no_mx = false;
        let old = std::mem::replace(&mut self.sources, sources(vmta.as_deref()));
        self.sources.disabled = old.disabled;
        if let Some(work) = &mut self.work {
            work.next = None;
        }
        self.profile = profile;
        self.set_adaptive();
        self.adapt();
        self.limit_sources(old.limits.as_deref());
        self.route_gone = has_mail && lost && self.goes_by_mx();
        self.vmta = vmta;
        Kept { held: has_mail && self.is_held(), delivery }
    }

    pub fn new(queue: Queue, profile: Arc<QueueProfile>, vmta: Option<Arc<VmtaProfile>>) -> Entry {
        let sources = sources(vmta.as_deref());
        let mut entry = Entry {
            queue,
            profile,
            vmta,
            backoff: None,
            bytes: 0,
            look: Time::ZERO,
            sources,
            turn: 0,
            work: None,
            no_mx: false,
            resolving: false,
            route_gone: false,
            reroutes: None,
            short: false,
            adaptive: None,
        };
        entry.set_adaptive();
        entry.limit_sources(None);
        entry
    }
}

fn sources(vmta: Option<&VmtaProfile>) -> Sources {
    Sources::new(vmta.map(|v| v.sources.clone()).unwrap_or_default())
}

/// Queues in a page.
const PAGE: usize = 256;

fn at(pages: &[Vec<Entry>], key: u32) -> &Entry {
    &pages[key as usize / PAGE][key as usize % PAGE]
}

/// All queues of a shard, under dense keys that last. The names are not stored a second time to find them by.
#[derive(Debug, Default)]
pub struct Entries {
    /// In pages that never move: one growing array would at times hold a million queues twice.
    pages: Vec<Vec<Entry>>,
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Entries {
    pub fn find(&self, name: &QueueName) -> Option<u32> {
        let same = |key: &u32| self[*key].queue.name() == name;
        self.by_name.find(self.hasher.hash_one(name), same).copied()
    }

    /// Adds a queue whose name none has yet.
    pub fn push(&mut self, entry: Entry) -> u32 {
        let (key, hash) = (self.len() as u32, self.hasher.hash_one(entry.queue.name()));
        match self.pages.last_mut().filter(|page| page.len() < PAGE) {
            Some(page) => page.push(entry),
            None => self.pages.push(vec![entry]),
        }
        let Entries { pages, by_name, hasher } = self;
        let hash_of = |key: &u32| hasher.hash_one(at(pages, *key).queue.name());
        by_name.insert_unique(hash, key, hash_of);
        key
    }

    pub fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.len())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.pages.iter().flatten()
    }
}

impl Index<u32> for Entries {
    type Output = Entry;
    fn index(&self, key: u32) -> &Entry {
        at(&self.pages, key)
    }
}

impl IndexMut<u32> for Entries {
    fn index_mut(&mut self, key: u32) -> &mut Entry {
        &mut self.pages[key as usize / PAGE][key as usize % PAGE]
    }
}
