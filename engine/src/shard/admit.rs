//! What crosses from intake to the owners of queues: recipients that are on stable storage.

use crate::base::Wall;
use crate::mail::priority::Priority;
use crate::mail::schedule::Schedule;
use crate::queue::QueueName;
use crate::spool::record::{Location, Reports};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::sync::Arc;

/// Which of `shards` owns a queue. The key is fixed: an owner changes only with the number of shards.
pub fn owner(domain: &str, vmta: &str, shards: usize) -> usize {
    let mut hasher = SipHasher13::new_with_keys(0x706f_7374, 0x6861_7374);
    hasher.write(domain.as_bytes());
    hasher.write_u8(b'/');
    hasher.write(vmta.as_bytes());
    (hasher.finish() % shards as u64) as usize
}

/// A number for a domain, the same on every shard.
pub(super) fn domain_hash(domain: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x706f_7374, 0x646f_6d61);
    hasher.write(domain.as_bytes());
    hasher.finish()
}

/// One recipient of an [`Admit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmitRow {
    /// Index within the `Rows` record.
    pub index: u16,
    /// Attempts made before a restart.
    pub attempts: u16,
    /// Index into [`Admit::queues`].
    pub queue: u32,
}

/// Recipients of one `Rows` record that belong to queues of one shard.
#[derive(Clone, Debug)]
pub struct Admit {
    pub submission: Location,
    /// Bytes of the message, or the best estimate.
    pub size: u32,
    pub accepted_at: Wall,
    pub start_at: Wall,
    pub schedule: Schedule,
    pub priority: Priority,
    pub reports: Reports,
    /// The recipients bounce at once: the last value of each row says why.
    pub refused: bool,
    pub job: Arc<str>,
    pub record: Location,
    pub first_ordinal: u32,
    pub queues: Vec<QueueName>,
    pub rows: Vec<AdmitRow>,
    /// The content in its stored form, when it has just been accepted and is still at hand.
    pub content: Option<(Location, Arc<[u8]>)>,
}

impl Admit {
    /// Which of `shards` its queues belong to.
    pub fn owner(&self, shards: usize) -> usize {
        self.queues.first().map_or(0, |queue| owner(&queue.domain, &queue.vmta, shards))
    }
}
