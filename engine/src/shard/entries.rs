//! The queues of a shard with what belongs to each beside its schedule: configuration, connections, next hops.

use super::profile::{QueueProfile, VmtaProfile};
use super::targets::Next;
use crate::base::Time;
use crate::queue::{Queue, QueueName};
use crate::route::Destination;
use crate::route::choose::Sources;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

#[derive(Debug)]
pub struct Entry {
    pub queue: Queue,
    pub profile: Arc<QueueProfile>,
    /// None while the configuration has no such VMTA: the mail is held (F39).
    pub vmta: Option<Arc<VmtaProfile>>,
    /// Bytes of the messages of all who have not left it, each counted for each recipient.
    pub bytes: u64,
    /// Connections that wait for something to send.
    pub idle: VecDeque<u32>,
    /// Connections that have not come to their first message.
    pub connecting: u32,
    /// No further connections before this, because one was refused while others work.
    pub hold_until: Option<Time>,
    pub destination: Destination,
    pub sources: Sources,
    /// Counts plans, so that hosts of equal preference take turns.
    pub turn: u32,
    /// The endpoint after one that has just failed.
    pub next: Option<Next>,
    /// Waits for an answer from DNS.
    pub resolving: bool,
}

impl Entry {
    /// Takes a new configuration; open connections keep the old one until they close.
    pub fn configure(&mut self, profile: Arc<QueueProfile>, vmta: Option<Arc<VmtaProfile>>) {
        self.queue.set_settings(profile.scheduling.clone());
        self.destination = destination(&self.queue, &profile);
        self.sources = sources(vmta.as_deref());
        self.next = None;
        self.profile = profile;
        self.vmta = vmta;
    }

    pub fn new(queue: Queue, profile: Arc<QueueProfile>, vmta: Option<Arc<VmtaProfile>>) -> Entry {
        let (destination, sources) = (destination(&queue, &profile), sources(vmta.as_deref()));
        Entry {
            queue,
            profile,
            vmta,
            bytes: 0,
            destination,
            sources,
            turn: 0,
            next: None,
            idle: VecDeque::new(),
            connecting: 0,
            hold_until: None,
            resolving: false,
        }
    }
}

fn destination(queue: &Queue, profile: &QueueProfile) -> Destination {
    match &profile.hosts {
        Some(hosts) => Destination::Hosts(hosts.clone()),
        None => Destination::domain(&queue.name().domain),
    }
}

fn sources(vmta: Option<&VmtaProfile>) -> Sources {
    Sources::new(vmta.map(|v| v.sources.clone()).unwrap_or_default())
}

/// All queues of a shard, under dense keys that last. The names are not stored a second time to find them by.
#[derive(Debug, Default)]
pub struct Entries {
    all: Vec<Entry>,
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Entries {
    pub fn find(&self, name: &QueueName) -> Option<u32> {
        let same = |key: &u32| self.all[*key as usize].queue.name() == name;
        self.by_name.find(self.hasher.hash_one(name), same).copied()
    }

    /// Adds a queue whose name none has yet.
    pub fn push(&mut self, entry: Entry) -> u32 {
        let Entries { all, by_name, hasher } = self;
        let (key, hash) = (all.len() as u32, hasher.hash_one(entry.queue.name()));
        all.push(entry);
        by_name.insert_unique(hash, key, |key| hasher.hash_one(all[*key as usize].queue.name()));
        key
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.all.iter()
    }
}

impl Index<u32> for Entries {
    type Output = Entry;
    fn index(&self, key: u32) -> &Entry {
        &self.all[key as usize]
    }
}

impl IndexMut<u32> for Entries {
    fn index_mut(&mut self, key: u32) -> &mut Entry {
        &mut self.all[key as usize]
    }
}
