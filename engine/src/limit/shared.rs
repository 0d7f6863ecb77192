//! Connections counted across shards: `total-max-smtp-out`. One atomic; a connection costs sixty microseconds, so the
//! contention does not show.

use super::Places;
use std::sync::atomic::{AtomicU32, Ordering};

/// What all shards of an engine count together, besides the total.
#[derive(Debug, Default)]
pub struct Shared {
    pub places: Places,
}

#[derive(Debug)]
pub struct SharedConnections {
    limit: AtomicU32,
    open: AtomicU32,
}

impl SharedConnections {
    /// `u32::MAX` is unlimited.
    pub fn new(limit: u32) -> SharedConnections {
        SharedConnections { limit: AtomicU32::new(limit), open: AtomicU32::new(0) }
    }

    /// Takes the right to open one connection; the sum never exceeds the limit.
    #[must_use]
    pub fn try_take(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < limit).then_some(open + 1))
            .is_ok()
    }

    pub fn give_back(&self) {
        let before = self.open.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a connection was given back that was not taken");
    }

    /// Takes effect for new connections.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// How many more may be opened.
    pub fn room(&self) -> u32 {
        self.limit.load(Ordering::Relaxed).saturating_sub(self.open())
    }

    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_never_exceeds_the_limit() {
        let total = SharedConnections::new(100);
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1000).filter(|_| total.try_take()).count())).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!((taken, total.open()), (100, 100));
        total.give_back();
        assert!(total.try_take());
        assert!(!total.try_take());
    }
}
