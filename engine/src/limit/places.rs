//! Connections counted over all shards, by what they have in common: all of them, their virtual MTA, or host and source
//! address. Taken all together or not at all. Who finds none free stands in a row of shards, and what is given back belongs
//! to the first of it: none has to ask again and again. The row goes by `queue-priority`; who may have to give up a
//! connection for another one is found in [`Places::victim`].

use super::row::{QueuePriority, Rank, Row};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What has a limited number of connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// `total-max-smtp-out`
    Total,
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
            Place::Total => "total-max-smtp-out",
            Place::Vmta(_) => "max-smtp-out",
            Place::Host { .. } => "mx-connection-limit",
            Place::Address { .. } => "ip-connection-limit",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Total => f.write_str("of all queues"),
            Place::Vmta(name) => write!(f, "of virtual-mta {name}"),
            Place::Host { name, from } => write!(f, "to {name} from {from}"),
            Place::Address { to, from } => write!(f, "to {to} from {from}"),
        }
    }
}

/// What one connection needs, each with its limit.
pub type Needs = SmallVec<[(Place, u32); 2]>;

/// What one connection has taken, and for whom.
#[derive(Clone, Debug)]
pub struct Hold {
    pub needs: Needs,
    pub rank: Rank,
    /// `allow-priority-interruption`: it may have to part for another one.
    pub interruptible: bool,
}

/// Shards that have been given what they stood in a row for, and do not know it yet.
pub type Told = Vec<(u32, Place)>;

#[derive(Debug, Default)]
struct Cell {
    limit: u32,
    open: u32,
    /// Given to shards that have not come for it yet.
    promised: SmallVec<[u32; 2]>,
    /// Shards, each once and by the best that it has; nobody stands here while there is room.
    waiting: Row<u32>,
    /// Open ones that may be interrupted, by priority and shard.
    interruptible: BTreeMap<(QueuePriority, u32), u32>,
}

impl Cell {
    fn room(&self) -> bool {
        (self.open as usize) + self.promised.len() < self.limit as usize
    }

    /// Gives what is free to those who wait.
    fn pass_on(&mut self, place: &Place, told: &mut Told) {
        while self.room()
            && let Some(shard) = self.waiting.pop()
        {
            self.promised.push(shard);
            told.push((shard, place.clone()));
        }
    }

    fn promise_to(&self, shard: u32) -> Option<usize> {
        self.promised.iter().position(|&to| to == shard)
    }

    fn wait(&mut self, shard: u32, rank: Rank) {
        if self.waiting.rank_of(shard).is_none_or(|before| before < rank) {
            self.waiting.remove(shard);
            self.waiting.push(rank, shard);
        }
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
    pub fn take(&self, shard: u32, wanted: &Hold, told: &mut Told) -> Result<(), usize> {
        let needs = &wanted.needs;
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
                None => {
                    cell.open += 1;
                    if wanted.interruptible {
                        *cell.interruptible.entry((wanted.rank.priority, shard)).or_default() += 1;
                    }
                }
                Some(lacking) if lacking == index => cell.wait(shard, wanted.rank),
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

    /// A connection of `shard` is over.
    pub fn give_back(&self, shard: u32, held: &Hold, told: &mut Told) {
        let mut cells = self.cells();
        for (place, _) in &held.needs {
            let Some(cell) = cells.get_mut(place) else {
                debug_assert!(false, "a connection was given back that was not taken: {place:?}");
                continue;
            };
            cell.open -= 1;
            if held.interruptible
                && let Some(count) = cell.interruptible.get_mut(&(held.rank.priority, shard))
            {
                *count -= 1;
                if *count == 0 {
                    cell.interruptible.remove(&(held.rank.priority, shard));
                }
            }
            cell.pass_on(place, told);
            if cell.is_over() {
                cells.remove(place);
            }
        }
    }

    /// `shard` has somebody of this rank who waits for it. True: there is room.
    pub fn join(&self, shard: u32, rank: Rank, place: &Place) -> bool {
        let mut cells = self.cells();
        let Some(cell) = cells.get_mut(place) else { return true };
        if cell.room() || cell.promise_to(shard).is_some() {
            return true;
        }
        cell.wait(shard, rank);
        false
    }

    /// Nobody of `shard` waits for it any more.
    pub fn leave(&self, shard: u32, place: &Place, told: &mut Told) {
        let mut cells = self.cells();
        let Some(cell) = cells.get_mut(place) else { return };
        cell.waiting.remove(shard);
        cell.promised.retain(|to| *to != shard);
        cell.pass_on(place, told);
        if cell.is_over() {
            cells.remove(place);
        }
    }

    /// Whether somebody waits for what a connection has taken.
    pub fn is_wanted(&self, places: &[(Place, u32)]) -> bool {
        let cells = self.cells();
        places.iter().any(|(place, _)| cells.get(place).is_some_and(|cell| !cell.waiting.is_empty()))
    }

    /// The shard that is to give up a connection for one of this priority: the one that has the least important of those
    /// that may be interrupted, and of several the one that has the most; `None` if all are more important.
    pub fn victim(&self, priority: QueuePriority, place: &Place) -> Option<u32> {
        let cells = self.cells();
        let cell = cells.get(place).filter(|cell| !cell.room())?;
        let ((lowest, _), _) = cell.interruptible.first_key_value()?;
        let of_lowest = cell.interruptible.range((*lowest, 0)..=(*lowest, u32::MAX));
        let most = of_lowest.max_by_key(|(_, count)| **count)?;
        (*lowest <= priority).then_some(most.0.1)
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

    fn hold(needs: &[(Place, u32)]) -> Hold {
        Hold { needs: needs.iter().cloned().collect(), rank: Rank::new(50, 0), interruptible: true }
    }

    fn shards(told: &Told) -> Vec<u32> {
        told.iter().map(|(shard, _)| *shard).collect()
    }

    #[test]
    fn what_is_given_back_is_for_the_shard_that_waits_longest() {
        let (places, mut told) = (Places::default(), Told::new());
        let needs = hold(&[vmta(1)]);
        assert_eq!(places.take(0, &needs, &mut told), Ok(()));
        assert_eq!(places.take(1, &needs, &mut told), Err(0));
        assert_eq!(places.take(2, &needs, &mut told), Err(0));
        places.give_back(0, &needs, &mut told);
        assert_eq!(shards(&told), [1]);
        // The one that had it is not faster than the one that is told.
        assert_eq!(places.take(0, &needs, &mut told), Err(0));
        assert_eq!(places.take(1, &needs, &mut told), Ok(()));
        told.clear();
        places.give_back(1, &needs, &mut told);
        assert_eq!(shards(&told), [2]);
        // It needs none any more.
        told.clear();
        places.leave(2, &needs.needs[0].0, &mut told);
        assert_eq!(shards(&told), [0]);
        assert_eq!(places.take(0, &needs, &mut told), Ok(()));
        places.give_back(0, &needs, &mut told);
        assert!(places.is_empty());
    }

    #[test]
    fn all_or_none() {
        let (places, mut told) = (Places::default(), Told::new());
        assert_eq!(places.take(0, &hold(&[host(1)]), &mut told), Ok(()));
        assert_eq!(places.take(1, &hold(&[vmta(5), host(1)]), &mut told), Err(1));
        assert_eq!((places.open(&vmta(5).0), places.open(&host(1).0)), (0, 1));
    }

    #[test]
    fn a_raised_limit_is_told_to_those_who_wait() {
        let (places, mut told) = (Places::default(), Told::new());
        assert_eq!(places.take(0, &hold(&[vmta(1)]), &mut told), Ok(()));
        assert_eq!(places.take(1, &hold(&[vmta(1)]), &mut told), Err(0));
        assert_eq!(places.take(2, &hold(&[vmta(3)]), &mut told), Ok(()));
        assert_eq!(shards(&told), [1]);
        // A lowered one waits until enough are closed.
        assert_eq!(places.take(3, &hold(&[vmta(1)]), &mut told), Err(0));
    }

    #[test]
    fn the_more_important_one_is_first_and_finds_who_is_least() {
        let (places, mut told) = (Places::default(), Told::new());
        let of = |priority| Hold { rank: Rank::new(priority, 0), ..hold(&[vmta(3)]) };
        for (shard, priority) in [(0, 50), (1, 50), (1, 50)] {
            places.take(shard, &of(priority), &mut told).expect("room");
        }
        let place = &vmta(3).0;
        assert_eq!(places.take(2, &of(20), &mut told), Err(0));
        assert_eq!(places.take(3, &of(90), &mut told), Err(0));
        assert_eq!([20, 50, 90].map(|priority| places.victim(priority, place)), [None, Some(1), Some(1)]);
        places.give_back(0, &of(50), &mut told);
        assert_eq!(shards(&told), [3]);
        // It is kept for that one.
        assert_eq!(places.take(2, &of(20), &mut told), Err(0));
        places.take(3, &of(90), &mut told).expect("promised");
        told.clear();
        places.give_back(3, &of(90), &mut told);
        assert_eq!(shards(&told), [2]);
        places.take(2, &of(20), &mut told).expect("promised");
        assert_eq!(places.victim(50, place), Some(2));
        let unmoved = Hold { interruptible: false, ..of(0) };
        places.give_back(2, &of(20), &mut told);
        places.take(2, &unmoved, &mut told).expect("room");
        assert_eq!(places.victim(20, place), None);
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
            let needs = hold(&[vmta(limits.0), host(limits.1)]);
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
                    places.give_back(shard, &needs, &mut told);
                    want(shard, &mut open, &mut waiting, &mut told);
                }
            }
        }
    }
}
