//! A queue of a forecast with its connections.

use super::result::{Cause, Outlook};
use crate::base::Time;
use crate::limit::{ConnectionGrant, Hold, Needs, Place, Shared};
use crate::queue::{Gate, PerSource, Queue, QueueName, WaitReason};
use crate::route::choose::Sources;
use crate::shard::{QueueProfile, VmtaProfile};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A connection that stands, or is being made.
#[derive(Debug)]
pub struct Line {
    pub lane: u32,
    pub from: Option<IpAddr>,
    pub grant: ConnectionGrant,
    pub hold: Hold,
    pub messages: u32,
    /// Recipients of the message under way.
    pub batch: Vec<u32>,
}

#[derive(Debug)]
pub struct Lane {
    pub queue: Queue,
    pub profile: Arc<QueueProfile>,
    pub vmta: Arc<VmtaProfile>,
    pub sources: Sources,
    pub outlook: Outlook,
    /// Connections that wait for something to send.
    pub idle: Vec<u32>,
    /// Connections that have not come to their first message.
    pub connecting: u32,
    /// What it stands in the row for.
    pub lacks: Option<(Place, u32)>,
    /// Stands in the row for a rate of its virtual MTA.
    pub rated: bool,
    /// When it has its next turn.
    pub wake: Time,
    cause: Option<Cause>,
    since: Time,
}

impl Lane {
    pub fn new(name: QueueName, profile: Arc<QueueProfile>, vmta: Arc<VmtaProfile>, shared: &Shared) -> Lane {
        let mut queue = Queue::new(name, profile.scheduling.clone());
        queue.set_wide(0, shared.wide(&vmta.name, vmta.max_msg_rate, vmta.max_data_volume_rate));
        let mut sources = Sources::new(vmta.sources.clone());
        let addresses = vmta.sources.iter().map(|host| host.address);
        let largest = profile.scheduling.recipients_per_message();
        sources.limits = PerSource::new(&profile.per_source, largest, addresses, None);
        Lane {
            queue,
            profile,
            vmta,
            sources,
            outlook: Outlook::default(),
            idle: Vec::new(),
            connecting: 0,
            lacks: None,
            rated: false,
            wake: Time::NEVER,
            cause: None,
            since: Time::ZERO,
        }
    }

    /// What a connection counts for beside its queue. Which host it leads to is not known here.
    pub fn hold(&self, total: u32) -> Hold {
        let mut needs = Needs::new();
        needs.push((Place::Total, total));
        if let Some(limit) = self.vmta.max_smtp_out {
            needs.push((Place::Vmta(self.vmta.name.clone()), limit));
        }
        Hold { needs, rank: self.queue.rank(), interruptible: false }
    }

    /// The address that the next connection comes from: of any family.
    pub fn source(&mut self) -> Option<Option<IpAddr>> {
        let first = self.sources.hosts().first().and_then(|host| host.address);
        let like = first.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        self.sources.next_for(like).map(|host| host.address)
    }

    /// Whether a message may leave over a connection from this address.
    pub fn gate(&self, from: Option<IpAddr>, now: Time) -> Gate {
        match (self.queue.gate(now), &self.sources.limits) {
            (Gate::Go, Some(limits)) => limits.message_gate(from, now),
            (gate, _) => gate,
        }
    }

    /// Notes what its mail waits for from now on.
    pub fn note(&mut self, now: Time) {
        if let Some(cause) = self.cause.take() {
            self.outlook.waited(&cause, self.queue.waiting().max(1), now.since(self.since));
        }
        self.since = now;
        self.cause = (self.queue.waiting() > 0).then(|| self.waits_for(now));
    }

    fn waits_for(&mut self, now: Time) -> Cause {
        if let Some((place, limit)) = &self.lacks {
            return Cause::Place(place.clone(), *limit);
        }
        let wait = match self.queue.connection_gate(now) {
            Gate::Wait(wait) => Some(wait),
            Gate::Go => self.sources.look(now),
        };
        match wait {
            // One that has just become due is about to be taken.
            Some(wait) if wait.reason != WaitReason::NoRecipients => Cause::Queue(wait.reason),
            _ => Cause::Receivers,
        }
    }
}
