//! A rate that several shards share: as exact as [`Gcra`], since it is one, and each shard has its turn.

use super::turns::{TURN, Turns};
use super::{Gcra, Rate};
use crate::base::Time;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub struct SharedRate {
    cell: Mutex<Cell>,
}

#[derive(Debug)]
struct Cell {
    rate: Rate,
    gcra: Gcra,
    turns: Turns,
}

impl SharedRate {
    /// See [`Gcra::new`].
    pub fn new(rate: Rate, largest: u32) -> SharedRate {
        SharedRate {
            cell: Mutex::new(Cell { rate, gcra: Gcra::new(rate, largest), turns: Turns::default() }),
        }
    }

    /// Takes a new rate without forgetting what was granted under the old one.
    pub fn set(&self, rate: Rate, largest: u32) {
        let mut cell = self.lock();
        if cell.0.rate != rate {
            cell.0.rate = rate;
            cell.0.gcra.set(rate, largest);
        }
    }

    /// To look and to ask in one step, with nobody between. Held for the taking of one batch.
    pub fn lock(&self) -> Locked<'_> {
        // Nothing panics while it is held.
        Locked(self.cell.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A [`SharedRate`] that nobody else takes from.
#[derive(Debug)]
pub struct Locked<'a>(MutexGuard<'a, Cell>);

impl Locked<'_> {
    pub fn rate(&self) -> Rate {
        self.0.rate
    }

    /// See [`Gcra::largest`].
    pub fn largest(&self) -> u32 {
        self.0.gcra.largest()
    }

    /// When [`Locked::ask`] says yes: `Err` holds the time to ask again.
    pub fn look(&self, shard: u32, now: Time) -> Result<(), Time> {
        self.0.gcra.look(now)?;
        self.0.turns.look(shard, now, self.0.gcra.earliest())
    }

    /// Counts `n` recipients; [`Locked::look`] has said yes.
    pub fn take(&mut self, shard: u32, now: Time, n: u32) {
        let granted = self.0.gcra.ask(now, n);
        debug_assert!(granted.is_ok(), "a rate was taken from without looking");
        let most = self.0.gcra.within(TURN);
        self.0.turns.took(shard, now, u64::from(n), most);
    }

    pub fn give_back(&mut self, granted: Time, n: u32) {
        self.0.gcra.give_back(granted, n);
    }

    /// `shard` was refused, and comes again.
    pub fn join(&mut self, shard: u32, now: Time) {
        self.0.turns.join(shard, now);
    }

    /// Nobody of `shard` waits for it any more.
    pub fn leave(&mut self, shard: u32, now: Time) {
        self.0.turns.leave(shard, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    /// Shards that always want more, ask when they are told and are up to `late` microseconds late: what each was granted.
    fn greedy(rate: Rate, shards: u32, end: Time, late: &[u64], sizes: &[u32]) -> Vec<(Time, u32, u32)> {
        let shared = SharedRate::new(rate, 10);
        let mut grants = Vec::new();
        let mut late = late.iter().cycle();
        let mut sizes = sizes.iter().cycle();
        let mut next = vec![Time::ZERO; shards as usize];
        while let Some(shard) = (0..shards).min_by_key(|shard| next[*shard as usize]) {
            let now = next[shard as usize];
            if now >= end {
                break;
            }
            let mut locked = shared.lock();
            next[shard as usize] = match locked.look(shard, now) {
                Ok(()) => {
                    let n = (*sizes.next().expect("sizes")).min(locked.largest());
                    locked.take(shard, now, n);
                    grants.push((now, shard, n));
                    now
                }
                Err(at) => {
                    assert!(at > now, "asked again at {at:?}, now is {now:?}");
                    locked.join(shard, now);
                    Time(at.0 + late.next().expect("late"))
                }
            };
        }
        grants
    }

    fn most_in_a_window(grants: &[(Time, u32, u32)], per: Duration) -> u64 {
        let (mut first, mut sum, mut most) = (0, 0, 0);
        for &(at, _, n) in grants {
            sum += u64::from(n);
            while grants[first].0 + per < at {
                sum -= u64::from(grants[first].2);
                first += 1;
            }
            most = most.max(sum);
        }
        most
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]

        #[test]
        fn never_more_than_one_over_nearly_all_used_and_none_starves(
            (count, secs) in prop_oneof![(1u32..30_000, Just(1u64)), (1u32..5_000, Just(60)), (1u32..500, Just(3600))],
            shards in 1u32..6,
            late in prop::collection::vec(0u64..=1_000, 1..30),
            sizes in prop::collection::vec(1u32..12, 1..20),
        ) {
            let rate = Rate { count, per: Duration::from_secs(secs) };
            let windows = (10_000 / u64::from(count)).clamp(2, 60);
            let end = Time::ZERO + rate.per * windows as u32;
            let grants = greedy(rate, shards, end, &late, &sizes);
            let most = most_in_a_window(&grants, rate.per);
            prop_assert!(most <= u64::from(count) + 1, "{most} in a window of {rate}");
            let total: u64 = grants.iter().map(|grant| u64::from(grant.2)).sum();
            let permitted = u64::from(count) * windows;
            prop_assert!(total * 100 >= permitted * 97, "{total} of {permitted} used at {rate} by {shards}");
            let share = |shard| grants.iter().filter(|g| g.1 == shard).map(|g| u64::from(g.2)).sum::<u64>();
            let least = (0..shards).map(share).min().unwrap_or(0);
            prop_assert!(least * u64::from(shards) * 4 + 100 >= total, "{least} of {total} at {rate} by {shards}");
        }
    }

    #[test]
    fn who_does_not_come_holds_nobody_up() {
        let shared = SharedRate::new(Rate::per_second(1), 1);
        let start = Time::from_millis(10);
        shared.lock().take(0, start, 1);
        let earliest = shared.lock().look(1, start).expect_err("one a second");
        shared.lock().join(1, start);
        shared.lock().join(2, start);
        let until = shared.lock().look(2, earliest).expect_err("the other one's turn");
        assert_eq!(until, earliest + Duration::from_millis(1));
        assert_eq!(shared.lock().look(2, until), Ok(()));
        shared.lock().leave(1, earliest);
        assert_eq!(shared.lock().look(2, earliest), Ok(()));
    }
}
