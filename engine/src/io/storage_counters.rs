//! What the storage thread counts, readable from anywhere without stopping it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the commit latency classes are powers of two microseconds; the last class is open.
pub const LATENCY_CLASSES: usize = 28;

#[derive(Debug, Default)]
pub struct Counters {
    pub bytes_written: AtomicU64,
    pub writes: AtomicU64,
    pub syncs: AtomicU64,
    pub groups: AtomicU64,
    pub outcomes: AtomicU64,
    pub in_doubt: AtomicU64,
    pub aborted: AtomicU64,
    pub reads: AtomicU64,
    pub live_rows: AtomicU64,
    pub segments_used: AtomicU32,
    /// Prepared or ready to be prepared.
    pub segments_free: AtomicU32,
    /// No further segment can be allocated: `min_free_space` is reached or the disk is full.
    pub space_low: AtomicBool,
    pub uring: AtomicBool,
    pub direct: AtomicBool,
    latency: [AtomicU64; LATENCY_CLASSES],
}

impl Counters {
    pub fn add(&self, counter: impl Fn(&Counters) -> &AtomicU64, n: u64) {
        counter(self).fetch_add(n, Relaxed);
    }

    /// Counts the time from the begin of a write to the end of its sync.
    pub fn latency(&self, taken: Duration) {
        let micros = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
        let class = (64 - micros.leading_zeros() as usize).min(LATENCY_CLASSES - 1);
        self.latency[class].fetch_add(1, Relaxed);
    }

    pub fn latencies(&self) -> [u64; LATENCY_CLASSES] {
        std::array::from_fn(|class| self.latency[class].load(Relaxed))
    }
}
