//! The queues of a shard with what belongs to each beside its schedule: configuration, connections, next hops.

use super::profile::{QueueProfile, VmtaProfile};
use super::targets::Targets;
use crate::base::Time;
use crate::queue::Queue;
use std::collections::VecDeque;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

#[derive(Debug)]
pub struct Entry {
    pub queue: Queue,
    pub profile: Arc<QueueProfile>,
    /// None while the configuration has no such VMTA: the mail is held (F39).
    pub vmta: Option<Arc<VmtaProfile>>,
    /// Connections that wait for something to send.
    pub idle: VecDeque<u32>,
    /// Connections that have not come to their first message.
    pub connecting: u32,
    /// No further connections before this, because one was refused while others work.
    pub hold_until: Option<Time>,
    pub targets: Targets,
    /// Waits for an answer from DNS.
    pub resolving: bool,
}

impl Entry {
    pub fn new(queue: Queue, profile: Arc<QueueProfile>, vmta: Option<Arc<VmtaProfile>>) -> Entry {
        Entry {
            queue,
            profile,
            vmta,
            idle: VecDeque::new(),
            connecting: 0,
            hold_until: None,
            targets: Targets::default(),
            resolving: false,
        }
    }
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
