//! Connections counted over all owners together: `total-max-smtp-out`, `max-smtp-out` of a VMTA. Taken one by one from an
//! atomic; against the 60 us that a connection costs that is nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A limit that several threads share. Clones are the same limit.
#[derive(Clone, Debug)]
pub struct SharedConnections(Arc<Cells>);

#[derive(Debug)]
struct Cells {
    limit: AtomicU32,
    open: AtomicU32,
}

/// The right to have one connection open; goes back when dropped.
#[derive(Debug)]
#[must_use = "dropping a grant gives it back"]
pub struct SharedGrant(Arc<Cells>);

impl Drop for SharedGrant {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl SharedConnections {
    /// `u32::MAX` is unlimited.
    pub fn new(limit: u32) -> SharedConnections {
        SharedConnections(Arc::new(Cells { limit: AtomicU32::new(limit), open: AtomicU32::new(0) }))
    }

    pub fn take(&self) -> Option<SharedGrant> {
        let limit = self.0.limit.load(Relaxed);
        let more = |open| (open < limit).then_some(open + 1);
        // Relaxed, because the number guards nothing but itself.
        self.0.open.fetch_update(Relaxed, Relaxed, more).ok().map(|_| SharedGrant(Arc::clone(&self.0)))
    }

    /// Takes effect for new connections.
    pub fn set_limit(&self, limit: u32) {
        self.0.limit.store(limit, Relaxed);
    }

    /// Connections open now.
    pub fn open(&self) -> u32 {
        self.0.open.load(Relaxed)
    }

    pub fn limit(&self) -> u32 {
        self.0.limit.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_together_never_exceed_it() {
        let total = SharedConnections::new(7);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let grants: Vec<SharedGrant> = std::iter::from_fn(|| total.take()).collect();
                        assert!(grants.len() <= 7 && total.open() <= 7);
                    }
                });
            }
        });
        assert_eq!(total.open(), 0);
    }

    #[test]
    fn a_lowered_limit_waits_for_connections_to_close() {
        let total = SharedConnections::new(2);
        let (first, second) = (total.take(), total.take());
        total.set_limit(1);
        drop(first);
        assert!(total.take().is_none());
        drop(second);
        assert!(total.take().is_some());
    }
}
