//! Connections counted over all shards, by what they have in common: their virtual MTA, or host and source address. Taken
//! all together or not at all. Who finds none free stands in a row of shards, and what is given back belongs to the first
//! of it: none starves, and none has to ask again and again.

use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What has a limited number of connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// `max-smtp-out` of a virtual MTA.
    Vmta(Arc<str>),
    /// `mx-connection-limit`: a host by name, from one address.
    Host { name: Arc<str>, from: IpAddr },
    /// `ip-connection-limit`: a host by address, from one address.
    Address { to: IpAddr, from: IpAddr },
}

/// `max-smtp-out 5 of virtual-mta v1`, with the limit between the two.
impl Place {
    pub fn directive(&self) -> &'static str {
        match self {
            Place::Vmta(_) => "max-smtp-out",
            Place::Host { .. } => "mx-connection-limit",
            Place::Address { .. } => "ip-connection-limit",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Vmta(name) => write!(f, "of virtual-mta {name}"),
            Place::Host { name, from } => write!(f, "to {name} from {from}"),
            Place::Address { to, from } => write!(f, "to {to} from {from}"),
        }
    }
}

/// What one connection needs, each with its limit.
pub type Needs = SmallVec<[(Place, u32); 1]>;

/// Shards that have been given what they stood in a row for, and do not know it yet.
pub type Told = Vec<(u32, Place)>;

#[derive(Debug, Default)]
struct Cell {
    limit: u32,
    open: u32,
    /// Given to shards that have not come for it yet.
    promised: SmallVec<[u32; 2]>,
    /// Shards in the order in which they came, each once; nobody stands here while there is room.
    waiting: VecDeque<u32>,
}

impl Cell {
    fn room(&self) -> bool {
        (self.open as usize) + self.promised.len() < self.limit as usize
    }

    /// Gives what is free to those who wait.
    fn pass_on(&mut self, place: &Place, told: &mut Told) {
        while self.room()
            && let Some(shard) = self.waiting.pop_front()
        {
            self.promised.push(shard);
            told.push((shard, place.clone()));
        }
    }

    fn promise_to(&self, shard: u32) -> Option<usize> {
        self.promised.iter().position(|&to| to == shard)
    }

    fn is_over(&self) -> bool {
        self.open == 0 && self.promised.is_empty() && self.waiting.is_empty()
    }
}

/// See the module's text. One for the engine.
#[derive(Debug, Default)]
pub struct Places {
    cells: Mutex<HashMap<Place, Cell>>,
}

impl Places {
    fn cells(&self) -> MutexGuard<'_, HashMap<Place, Cell>> {
        // Nothing panics while it is held.
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of each for a connection. `Err` says which of them has none, and `shard` stands in its row now.
    pub fn take(&self, shard: u32, needs: &[(Place, u32)], told: &mut Told) -> Result<(), usize> {
        if needs.is_empty() {
            return Ok(());
        }
        let mut cells = self.cells();
        let mut lacking = None;
        for (index, (place, limit)) in needs.iter().enumerate() {
            let cell = cells.entry(place.clone()).or_default();
            if cell.limit != *limit {
                cell.limit = *limit;
                cell.pass_on(place, told);
            }
            if lacking.is_none() && !cell.room() && cell.promise_to(shard).is_none() {
                lacking = Some(index);
            }
        }
        for (index, (place, _)) in needs.iter().enumerate() {
            let Some(cell) = cells.get_mut(place) else { continue };
            let promise = cell.promise_to(shard);
            promise.map(|at| cell.promised.remove(at));
            match lacking {
                None => cell.open += 1,
                Some(lacking) if lacking == index => {
                    if !cell.waiting.contains(&shard) {
                        cell.waiting.push_back(shard);
                    }
                }
                // What it could not use is for others; whoever of this shard can still use it says so again.
                Some(_) if promise.is_some() => cell.pass_on(place, told),
                Some(_) => {}
            }
            if cell.is_over() {
                cells.remove(place);
            }
        }
        told.retain(|(to, _)| *to != shard || lacking.is_some());
        lacking.map_or(Ok(()), Err)
    }

    /// A connection is over.
    pub fn give_back(&self, places: &[(Place, u32)], told: &mut Told) {
        if places.is_empty() {
            return;
        }
        let mut cells = self.cells();
        for (place, _) in places {
            let Some(cell) = cells.get_mut(place) else {
                debug_assert!(false, "a connection was given back that was not taken: {place:?}");
                continue;
            };
            cell.open -= 1;
            cell.pass_on(place, told);
            if cell.is_over() {
                cells.remove(place);
            }
        }
    }

    /// `shard` has somebody who waits for it. True: there is room.
    pub fn join(&self, shard: u32, place: &Place) -> bool {
        let mut cells = self.cells();
        let Some(cell) = cells.get_mut(place) else { return true };
        if cell.room() || cell.promise_to(shard).is_some() {
            return true;
        }
        if !cell.waiting.contains(&shard) {
            cell.waiting.push_back(shard);
        }
        false
    }

    /// Nobody of `shard` waits for it any more.
    pub fn leave(&self, shard: u32, place: &Place, told: &mut Told) {
        let mut cells = self.cells();
        let Some(cell) = cells.get_mut(place) else { return };
        cell.waiting.retain(|waiting| *waiting != shard);
        cell.promised.retain(|to| *to != shard);
        cell.pass_on(place, told);
        if cell.is_over() {
            cells.remove(place);
        }
    }

    /// Whether somebody waits for what a connection has taken.
    pub fn is_wanted(&self, places: &[(Place, u32)]) -> bool {
        !places.is_empty() && {
            let cells = self.cells();
            places.iter().any(|(place, _)| cells.get(place).is_some_and(|cell| !cell.waiting.is_empty()))
        }
    }

    /// Connections open now.
    pub fn open(&self, place: &Place) -> u32 {
        self.cells().get(place).map_or(0, |cell| cell.open)
    }

    /// Nothing is open and nobody waits.
    pub fn is_empty(&self) -> bool {
        self.cells().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vmta(limit: u32) -> (Place, u32) {
        (Place::Vmta("v1".into()), limit)
    }

    fn host(limit: u32) -> (Place, u32) {
        (Place::Host { name: "mx.example".into(), from: [192, 0, 2, 1].into() }, limit)
    }

    fn shards(told: &Told) -> Vec<u32> {
        told.iter().map(|(shard, _)| *shard).collect()
    }

    #[test]
    fn what_is_given_back_is_for_the_shard_that_waits_longest() {
        let (places, mut told) = (Places::default(), Told::new());
        let needs = [vmta(1)];
        assert_eq!(places.take(0, &needs, &mut told), Ok(()));
        assert_eq!(places.take(1, &needs, &mut told), Err(0));
        assert_eq!(places.take(2, &needs, &mut told), Err(0));
        places.give_back(&needs, &mut told);
        assert_eq!(shards(&told), [1]);
        // The one that had it is not faster than the one that is told.
        assert_eq!(places.take(0, &needs, &mut told), Err(0));
        assert_eq!(places.take(1, &needs, &mut told), Ok(()));
        told.clear();
        places.give_back(&needs, &mut told);
        assert_eq!(shards(&told), [2]);
        // It needs none any more.
        told.clear();
        places.leave(2, &needs[0].0, &mut told);
        assert_eq!(shards(&told), [0]);
        assert_eq!(places.take(0, &needs, &mut told), Ok(()));
        places.give_back(&needs, &mut told);
        assert!(places.is_empty());
    }

    #[test]
    fn all_or_none() {
        let (places, mut told) = (Places::default(), Told::new());
        assert_eq!(places.take(0, &[host(1)], &mut told), Ok(()));
        assert_eq!(places.take(1, &[vmta(5), host(1)], &mut told), Err(1));
        assert_eq!((places.open(&vmta(5).0), places.open(&host(1).0)), (0, 1));
    }

    #[test]
    fn a_raised_limit_is_told_to_those_who_wait() {
        let (places, mut told) = (Places::default(), Told::new());
        assert_eq!(places.take(0, &[vmta(1)], &mut told), Ok(()));
        assert_eq!(places.take(1, &[vmta(1)], &mut told), Err(0));
        assert_eq!(places.take(2, &[vmta(3)], &mut told), Ok(()));
        assert_eq!(shards(&told), [1]);
        // A lowered one waits until enough are closed.
        assert_eq!(places.take(3, &[vmta(1)], &mut told), Err(0));
    }

    proptest! {
        /// Shards that want more than there is, and come when they are told: never too many, never one left free, and
        /// each has its share.
        #[test]
        fn full_and_never_too_full(
            limits in (1u32..5, 1u32..5),
            steps in prop::collection::vec((0u32..4, 0usize..8), 1..300),
        ) {
            let (places, mut told) = (Places::default(), Told::new());
            let needs = [vmta(limits.0), host(limits.1)];
            let mut open: Vec<u32> = Vec::new();
            let mut had = [0u32; 4];
            let mut waiting: Vec<u32> = Vec::new();
            // Every shard wants one from the beginning, and one more whenever it has had one.
            let mut want = |shard: u32, open: &mut Vec<u32>, waiting: &mut Vec<u32>, told: &mut Told| {
                match places.take(shard, &needs, told) {
                    Ok(()) => {
                        open.push(shard);
                        had[shard as usize] += 1;
                    }
                    Err(_) => waiting.push(shard),
                }
            };
            (0..4).for_each(|shard| want(shard, &mut open, &mut waiting, &mut told));
            for (_, which) in steps {
                while let Some((shard, _)) = told.pop() {
                    waiting.retain(|w| *w != shard);
                    want(shard, &mut open, &mut waiting, &mut told);
                }
                prop_assert!(open.len() <= limits.0.min(limits.1) as usize);
                let idle = limits.0.min(limits.1) as usize - open.len();
                prop_assert!(idle == 0 || waiting.is_empty(), "{idle} free while {waiting:?} wait");
                if !open.is_empty() {
                    let shard = open.remove(which % open.len());
                    places.give_back(&needs, &mut told);
                    want(shard, &mut open, &mut waiting, &mut told);
                }
            }
        }
    }
}
