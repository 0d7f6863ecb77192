//! What each source address counts beside its queue (`source-ip-max-*`): every call here also does what the queue does.

use super::Shard;
use super::entries::Entry;
use crate::base::{Now, Time};
use crate::limit::ConnectionGrant;
use crate::queue::{Charge, Gate, PerSource, Wait};
use std::net::IpAddr;

/// What a message counts for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Charged {
    queue: Charge,
    /// Bytes, where the volume of its source address is limited.
    source: Option<u64>,
}

impl Entry {
    /// Takes the limits of its profile; what was counted stays counted.
    pub fn limit_sources(&mut self, old: Option<&PerSource>) {
        let addresses = self.sources.hosts().iter().map(|host| host.address);
        let largest = self.profile.scheduling.recipients_per_message();
        let limits = PerSource::new(&self.profile.per_source, largest, addresses, old);
        self.sources.limits = limits;
    }

    /// Takes the right to open a connection from this address.
    pub fn connect(&mut self, from: Option<IpAddr>, now: Time) -> Result<ConnectionGrant, Wait> {
        let grant = self.queue.connect(now)?;
        if let Some(limits) = &mut self.sources.limits {
            limits.connected(from, now);
        }
        Ok(grant)
    }

    pub fn disconnected(&mut self, from: Option<IpAddr>, grant: ConnectionGrant) {
        self.queue.disconnected(grant);
        if let Some(limits) = &mut self.sources.limits {
            limits.disconnected(from);
        }
    }

    /// Whether a message may leave over an open connection from this address.
    pub fn gate_from(&self, from: Option<IpAddr>, now: Time) -> Gate {
        match (self.queue.gate(now), &self.sources.limits) {
            (Gate::Go, Some(limits)) => limits.message_gate(from, now),
            (gate, _) => gate,
        }
    }

    /// Recipients one transaction from this address may have.
    pub fn batch_from(&self, from: Option<IpAddr>) -> u32 {
        let limits = self.sources.limits.as_ref();
        self.queue.batch().min(limits.map_or(u32::MAX, |limits| limits.largest(from)))
    }

    /// `n` recipients, whom the queue has counted, leave from this address.
    pub fn took(&mut self, from: Option<IpAddr>, now: Time, n: u32) {
        if let Some(limits) = &mut self.sources.limits {
            limits.take_messages(from, now, n);
        }
    }

    /// `n` recipients taken at `granted` never reached the receiver.
    pub fn give_back(&mut self, from: Option<IpAddr>, granted: Time, n: u32) {
        self.queue.give_back(granted, n);
        if let Some(limits) = &mut self.sources.limits {
            limits.give_back_messages(from, granted, n);
        }
    }

    /// Counts the bytes of a message that is about to be sent; `None`: not now.
    pub fn begin(&mut self, from: Option<IpAddr>, now: Time, bytes: u64) -> Option<Charged> {
        let source = self.sources.limits.as_mut().and_then(|limits| limits.begin(from, now, bytes));
        if source == Some(false) {
            return None;
        }
        let source = source.map(|_| bytes);
        let queue = self.queue.begin(now, bytes);
        if queue.is_none() {
            self.ended(from, now, Charged { source, ..Charged::default() }, false);
        }
        Some(Charged { queue: queue?, source })
    }

    /// A message has arrived, or has not.
    pub fn ended(&mut self, from: Option<IpAddr>, now: Time, charged: Charged, delivered: bool) {
        self.queue.ended(now, charged.queue, delivered);
        if let (Some(bytes), Some(limits)) = (charged.source, &mut self.sources.limits) {
            limits.ended(from, now, bytes, delivered);
        }
    }
}

impl Shard {
    /// A connection of the queue that waits for something to send, and may send.
    pub(super) fn next_idle(&mut self, now: Now, queue: u32) -> Option<u32> {
        let entry = &mut self.queues[queue];
        let Some(limits) = &entry.sources.limits else { return entry.next_idle() };
        let idle = entry.work()?.idle.iter();
        let mut from =
            idle.map(|&key| (key, self.connections.at(key).and_then(|connection| connection.from)));
        let at = from.position(|(_, from)| limits.message_gate(from, now.mono) == Gate::Go)?;
        entry.work_mut().idle.remove(at)
    }
}
