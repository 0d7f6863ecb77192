//! Counted connections: `max-smtp-out` of a queue, `total-max-smtp-out`. Every grant comes home: in a debug build,
//! one that is dropped instead panics where it was lost.

/// The right to have one connection open. Goes back with [`Connections::give_back`].
#[derive(Debug)]
#[must_use = "a grant must be given back"]
pub struct ConnectionGrant(());

impl Drop for ConnectionGrant {
    fn drop(&mut self) {
        // While unwinding, the first panic is the one to read.
        debug_assert!(std::thread::panicking(), "a connection grant was dropped, not given back");
    }
}

/// How many connections may be open and how many are.
#[derive(Debug)]
pub struct Connections {
    limit: u32,
    open: u32,
}

impl Connections {
    /// `u32::MAX` is unlimited.
    pub fn new(limit: u32) -> Connections {
        Connections { limit, open: 0 }
    }

    pub fn take(&mut self) -> Option<ConnectionGrant> {
        if self.open >= self.limit {
            return None;
        }
        self.open += 1;
        Some(ConnectionGrant(()))
    }

    pub fn give_back(&mut self, grant: ConnectionGrant) {
        std::mem::forget(grant);
        debug_assert!(self.open > 0, "a connection grant was given back to the wrong limit");
        self.open = self.open.saturating_sub(1);
    }

    /// Takes effect for new connections; those above a lowered limit stay until they close.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Connections open now.
    pub fn open(&self) -> u32 {
        self.open
    }

    /// How many more may be opened.
    pub fn room(&self) -> u32 {
        self.limit.saturating_sub(self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit() {
        let mut connections = Connections::new(2);
        let first = connections.take().expect("first");
        let second = connections.take().expect("second");
        assert!(connections.take().is_none());
        connections.give_back(first);
        assert_eq!((connections.open(), connections.room()), (1, 1));
        connections.give_back(second);
    }

    #[test]
    fn a_lowered_limit_waits_for_connections_to_close() {
        let mut connections = Connections::new(3);
        let grants: Vec<ConnectionGrant> = std::iter::from_fn(|| connections.take()).collect();
        connections.set_limit(1);
        assert_eq!(connections.room(), 0);
        for (left, grant) in grants.into_iter().enumerate() {
            assert!(connections.take().is_none(), "{left}");
            connections.give_back(grant);
        }
        assert_eq!(connections.room(), 1);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "not given back")]
    fn a_lost_grant_is_found_out() {
        let mut connections = Connections::new(1);
        drop(connections.take());
    }
}
