//! How many clients are served at once: in all, from one address, and of one `<source-group>`; places are kept free for
//! groups that have them reserved (reference 2.4).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What the configuration allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `total-max-smtp-in`.
    pub total: usize,
    pub groups: HashMap<Arc<str>, GroupLimits>,
}

/// What one `<source-group>` may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// `max-smtp-in`; `None` is no limit.
    pub max: Option<usize>,
    /// `reserved-smtp-in`: so many places are for nobody else.
    pub reserved: usize,
}

/// Limits over all listeners that share it.
#[derive(Debug)]
pub struct Clients {
    /// Sessions of one client address.
    max_per_client: usize,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    limits: Limits,
    /// Nobody is let in.
    shut: bool,
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    by_group: HashMap<Arc<str>, usize>,
    waiting: usize,
}

impl Clients {
    pub fn new(limits: Limits, max_per_client: usize) -> Arc<Clients> {
        let state = Mutex::new(State { limits, ..State::default() });
        Arc::new(Clients { max_per_client, state, freed: Notify::new() })
    }

    /// The state is whole after a panic elsewhere: nothing in between can fail.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// New limits; those who are above them stay.
    pub fn set_limits(&self, limits: Limits) {
        self.state().limits = limits;
        self.freed.notify_waiters();
    }

    /// Lets nobody in (`true`), or whoever there is room for; those who are in stay.
    pub fn set_shut(&self, shut: bool) {
        self.state().shut = shut;
        self.freed.notify_waiters();
    }

    /// Sessions now open.
    pub fn total(&self) -> usize {
        self.state().total
    }

    /// A place for a client at `address`, of this group, if there is one.
    pub fn admit(self: &Arc<Clients>, address: IpAddr, group: Option<&Arc<str>>) -> Option<Place> {
        let admitted = self.state().admit(address, group, self.max_per_client);
        admitted.then(|| Place { clients: self.clone(), address, group: group.cloned() })
    }

    /// A place as soon as there is one; `None` at once when as many wait already as may be served.
    pub async fn wait(self: &Arc<Clients>, address: IpAddr, group: Option<&Arc<str>>) -> Option<Place> {
        let _waiting = self.expect()?;
        loop {
            // Listened to before looking, so that a place that is freed in between is heard of.
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(place) = self.admit(address, group) {
                return Some(place);
            }
            freed.await;
        }
    }
}

impl Clients {
    /// Counts a client that has no place yet; `None` when there are as many of them already as may be served.
    pub fn expect(&self) -> Option<Waiting<'_>> {
        let mut state = self.state();
        let fits = state.waiting < state.limits.total;
        state.waiting += usize::from(fits);
        // Made only where it counts, since it is counted out again when it is dropped.
        fits.then(|| Waiting(self))
    }
}

impl State {
    fn admit(&mut self, address: IpAddr, group: Option<&Arc<str>>, max_per_client: usize) -> bool {
        let here = self.by_address.get(&address).copied().unwrap_or(0);
        if self.shut || here >= max_per_client || !self.has_room_for(group) {
            return false;
        }
        self.total += 1;
        self.by_address.insert(address, here + 1);
        if let Some(group) = group {
            *self.by_group.entry(group.clone()).or_insert(0) += 1;
        }
        true
    }

    fn has_room_for(&self, group: Option<&Arc<str>>) -> bool {
        let members = |name: &Arc<str>| self.by_group.get(name).copied().unwrap_or(0);
        if let Some(name) = group {
            let limits = self.limits.groups.get(name).copied().unwrap_or_default();
            if limits.max.is_some_and(|max| members(name) >= max) {
                return false;
            }
        }
        let others = self.limits.groups.iter().filter(|(name, _)| group != Some(*name));
        let kept: usize = others.map(|(name, limits)| limits.reserved.saturating_sub(members(name))).sum();
        self.total.saturating_add(kept) < self.limits.total
    }

    fn release(&mut self, address: IpAddr, group: Option<&Arc<str>>) {
        self.total -= 1;
        if let Some(here) = self.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                self.by_address.remove(&address);
            }
        }
        if let Some(members) = group.and_then(|group| self.by_group.get_mut(group)) {
            *members -= 1;
        }
    }
}

/// One admitted client; given back when dropped.
#[derive(Debug)]
pub struct Place {
    clients: Arc<Clients>,
    address: IpAddr,
    group: Option<Arc<str>>,
}

impl Place {
    /// The client turns out to be another one. False: there is no room for that one, and the place stays as it was.
    pub fn change(&mut self, address: IpAddr, group: Option<Arc<str>>) -> bool {
        let mut state = self.clients.state();
        state.release(self.address, self.group.as_ref());
        let changed = state.admit(address, group.as_ref(), self.clients.max_per_client);
        if changed {
            (self.address, self.group) = (address, group);
        } else {
            state.admit(self.address, self.group.as_ref(), usize::MAX);
        }
        drop(state);
        self.clients.freed.notify_waiters();
        changed
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.state().release(self.address, self.group.as_ref());
        self.clients.freed.notify_waiters();
    }
}

/// One client without a place.
pub struct Waiting<'c>(&'c Clients);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn clients(total: usize, groups: &[(&str, Option<usize>, usize)]) -> Arc<Clients> {
        let groups = groups
            .iter()
            .map(|(name, max, reserved)| (Arc::from(*name), GroupLimits { max: *max, reserved: *reserved }));
        Clients::new(Limits { total, groups: groups.collect() }, 50)
    }

    #[test]
    fn a_group_has_its_limit_and_its_reserve() {
        let clients = clients(5, &[("feeders", Some(3), 2)]);
        let feeders: Arc<str> = "feeders".into();
        let mut others: Vec<_> = (0..4).map_while(|_| clients.admit(HERE, None)).collect();
        assert_eq!(others.len(), 3, "two of five places are kept");
        let mut group: Vec<_> = (0..5).map_while(|_| clients.admit(HERE, Some(&feeders))).collect();
        assert_eq!(group.len(), 2);
        assert!(clients.admit(HERE, None).is_none());
        others.clear();
        group.extend((0..5).map_while(|_| clients.admit(HERE, Some(&feeders))));
        assert_eq!((group.len(), clients.total()), (3, 3), "its own limit holds where there is room");
        group.clear();
        assert_eq!(clients.total(), 0);
    }

    #[test]
    fn one_address_has_a_limit_of_its_own() {
        let clients = Clients::new(Limits { total: 100, ..Limits::default() }, 2);
        let places: Vec<_> = (0..3).map_while(|_| clients.admit(HERE, None)).collect();
        assert_eq!(places.len(), 2);
        assert!(clients.admit([127, 0, 0, 2].into(), None).is_some());
    }

    #[test]
    fn a_client_that_turns_out_to_be_another_is_counted_as_that_one() {
        let clients = clients(5, &[("feeders", Some(1), 0)]);
        let feeders: Arc<str> = "feeders".into();
        let mut first = clients.admit(HERE, None).expect("room");
        let mut second = clients.admit(HERE, None).expect("room");
        assert!(first.change([192, 0, 2, 1].into(), Some(feeders.clone())));
        assert!(!second.change([192, 0, 2, 2].into(), Some(feeders.clone())));
        assert_eq!(clients.total(), 2);
        drop(first);
        assert!(second.change([192, 0, 2, 2].into(), Some(feeders)));
        drop(second);
        assert_eq!(clients.total(), 0);
    }

    #[test]
    fn who_waits_gets_the_next_place() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let clients = clients(1, &[]);
            let first = clients.admit(HERE, None).expect("room");
            let wait = async { clients.wait(HERE, None).await.is_some() };
            let free = async {
                tokio::task::yield_now().await;
                assert!(clients.wait(HERE, None).await.is_none(), "no more wait than may be served");
                drop(first);
            };
            assert!(tokio::join!(wait, free).0);
            assert_eq!(clients.total(), 0);
        });
    }
}
