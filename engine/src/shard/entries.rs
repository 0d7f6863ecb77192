//! The queues of a shard with what belongs to each beside its schedule: configuration, connections, next hops.

use super::profile::{QueueProfile, VmtaProfile};
use super::targets::Next;
use crate::base::Time;
use crate::queue::Queue;
use crate::route::Destination;
use crate::route::choose::Sources;
use std::collections::VecDeque;
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
    /// Connections that will ask for a further message with the one they are about to send.
    pub coming: u32,
    /// Those who wait are left to these until then.
    pub left_until: Option<Time>,
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
            coming: 0,
            left_until: None,
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

#[derive(Debug, Default)]
pub struct Entries(Vec<Entry>);

impl Entries {
    pub fn push(&mut self, entry: Entry) -> u32 {
        self.0.push(entry);
        (self.0.len() - 1) as u32
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.0.iter()
    }
}

impl Index<u32> for Entries {
    type Output = Entry;
    fn index(&self, key: u32) -> &Entry {
        &self.0[key as usize]
    }
}

impl IndexMut<u32> for Entries {
    fn index_mut(&mut self, key: u32) -> &mut Entry {
        &mut self.0[key as usize]
    }
}
