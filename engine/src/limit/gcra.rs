//! A rate limit that is exact as the receiver counts: **in any window of the length `per`, wherever it begins, at most
//! `count + 1` recipients**, while at least 97 % of the rate is used by a queue that always has mail and asks up to
//! 2 ms late.
//!
//! The generic cell rate algorithm (ITU-T I.371) keeps one number, the theoretical arrival time *tat*. A grant for n
//! recipients at t needs `t >= tat - tolerance` and sets `tat = max(t, tat) + n * interval`. If grants of n1..nk fall
//! into one window, then `(n1 + .. + n(k-1)) * interval <= per + tolerance`, so the window holds at most
//! `(per + tolerance) / interval + nk` recipients. With a largest grant of N, and
//!
//! - `interval = per * (1 + e) / (count - (N - 1))` and `tolerance <= e * per`, e = 1 %,
//!
//! that is at most `count + 1`. N is held to 1/64 of the count, so it costs 1.6 % of the rate at most, and nothing
//! where N is one. The tolerance lets a late question catch up: 2 ms of lateness (or half an interval, up to 20 ms)
//! lose nothing.

use crate::base::Time;
use std::fmt;
use std::time::Duration;

/// The margin e as a divisor: 1/100.
const MARGIN: u64 = 100;
/// Lateness of timers that must not cost anything.
const LATENESS_NS: u64 = 2_000_000;
/// More than this no question comes late; a slow rate needs no more to catch up.
const MOST_TOLERANCE_NS: u64 = 20_000_000;

/// So many in any window of that length. A count of zero grants nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    /// More than zero.
    pub per: Duration,
}

impl Rate {
    pub const fn per_second(count: u32) -> Rate {
        Rate { count, per: Duration::from_secs(1) }
    }

    pub const fn per_hour(count: u32) -> Rate {
        Rate { count, per: Duration::from_secs(3600) }
    }
}

/// In the words of the configuration: `100/s`, `5000/h`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per.as_secs() {
            1 => write!(f, "{}/s", self.count),
            60 => write!(f, "{}/m", self.count),
            3600 => write!(f, "{}/h", self.count),
            86_400 => write!(f, "{}/d", self.count),
            _ => write!(f, "{}/{:?}", self.count, self.per),
        }
    }
}

/// One limited rate. 48 bytes, no allocation.
#[derive(Clone, Debug)]
pub struct Gcra {
    /// Nanoseconds between single grants; `u64::MAX` for a rate of nothing.
    interval: u64,
    /// Nanoseconds a grant may come before its time.
    tolerance: u64,
    /// Theoretical arrival time of the next one, nanoseconds since the engine started.
    tat: u64,
    /// When the latest grants were given and for how many recipients in all: what can still be given back.
    latest: Time,
    latest_count: u32,
    largest: u32,
}

impl Gcra {
    /// A limit of `rate`, for grants of up to `largest` recipients at once (less where that is more than 1/64 of the
    /// rate's count; see [`Gcra::largest`]).
    pub fn new(rate: Rate, largest: u32) -> Gcra {
        let per = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX / 2).max(1);
        let largest = largest.clamp(1, (rate.count / 64).max(1));
        let interval = match rate.count {
            0 => u64::MAX,
            count => {
                let stretched = u128::from(per) * u128::from(MARGIN + 1);
                let grants = u128::from(count - (largest - 1)) * u128::from(MARGIN);
                u64::try_from(stretched.div_ceil(grants)).unwrap_or(u64::MAX)
            }
        };
        let tolerance = (per / MARGIN).min(LATENESS_NS.max((interval / 2).min(MOST_TOLERANCE_NS)));
        Gcra { interval, tolerance, tat: 0, latest: Time::ZERO, latest_count: 0, largest }
    }

    /// The most recipients one grant may be for.
    pub fn largest(&self) -> u32 {
        self.largest
    }

    /// Takes a new rate without forgetting what was granted under the old one.
    pub fn set(&mut self, rate: Rate, largest: u32) {
        let Gcra { tat, latest, .. } = *self;
        // What was granted before is counted by the new interval no longer, only by the old: give nothing back.
        *self = Gcra { tat, latest, ..Gcra::new(rate, largest) };
    }

    /// When [`Gcra::ask`] says yes: `Err` holds the time to ask again.
    pub fn look(&self, now: Time) -> Result<(), Time> {
        if self.interval == u64::MAX {
            return Err(Time::NEVER);
        }
        let earliest = self.earliest();
        if now >= earliest { Ok(()) } else { Err(earliest) }
    }

    /// Since when there is something to grant, or when there will be.
    pub(super) fn earliest(&self) -> Time {
        Time(self.tat.saturating_sub(self.tolerance).div_ceil(1000))
    }

    /// How many the rate gives in `time`; one at least.
    pub(super) fn within(&self, time: Duration) -> u64 {
        (u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / self.interval).max(1)
    }

    /// Asks for a grant for `n` recipients, at most [`Gcra::largest`]; `Err` holds the time to ask again.
    pub fn ask(&mut self, now: Time, n: u32) -> Result<(), Time> {
        debug_assert!(n <= self.largest, "{n} recipients asked for at once, at most {} may be", self.largest);
        self.look(now)?;
        let from = self.tat.max(now.0.saturating_mul(1000));
        self.tat = from.saturating_add(self.interval.saturating_mul(u64::from(n)));
        if self.latest != now {
            (self.latest, self.latest_count) = (now, 0);
        }
        self.latest_count = self.latest_count.saturating_add(n);
        Ok(())
    }

    /// Gives back a grant of `n` recipients, given at `granted`, that were never attempted. Only the latest grants can
    /// be given back: later ones have taken the place of older ones already, and counting those once more would exceed
    /// the limit. What is lost then is one interval at most.
    pub fn give_back(&mut self, granted: Time, n: u32) {
        if granted == self.latest && n <= self.latest_count {
            self.latest_count -= n;
            self.tat = self.tat.saturating_sub(self.interval.saturating_mul(u64::from(n)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// The most recipients in any closed window of the length `per`.
    fn most_in_a_window(grants: &[(Time, u32)], per: Duration) -> u64 {
        let mut window: VecDeque<(Time, u32)> = VecDeque::new();
        let (mut sum, mut most) = (0, 0);
        for &(at, n) in grants {
            window.push_back((at, n));
            sum += u64::from(n);
            while window.front().is_some_and(|first| first.0 + per < at) {
                sum -= window.pop_front().map_or(0, |first| u64::from(first.1));
            }
            most = most.max(sum);
        }
        most
    }

    /// Always has mail, asks when told, `late` microseconds late, for `sizes` recipients in turn.
    fn greedy(gcra: &mut Gcra, start: Time, end: Time, late: &[u64], sizes: &[u32]) -> Vec<(Time, u32)> {
        let mut grants = Vec::new();
        let mut now = start;
        let mut late = late.iter().cycle();
        let mut sizes = sizes.iter().cycle();
        while now < end {
            let n = (*sizes.next().expect("sizes")).min(gcra.largest());
            match gcra.ask(now, n) {
                Ok(()) => grants.push((now, n)),
                Err(at) => {
                    assert!(at > now, "asked again at {at:?}, now is {now:?}");
                    now = Time(at.0 + late.next().expect("late"));
                }
            }
        }
        grants
    }

    fn rates() -> impl Strategy<Value = Rate> {
        prop_oneof![
            (1u32..50_000, Just(1u64)),
            (1u32..5_000, Just(60)),
            (1u32..50_000, Just(3600)),
            (1u32..50_000, Just(86_400)),
        ]
        .prop_map(|(count, secs)| Rate { count, per: Duration::from_secs(secs) })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn never_more_than_one_over_and_97_percent_used(
            rate in rates(),
            start in 0u64..10_000_000_000,
            late in prop::collection::vec(0u64..=2_000, 1..30),
            sizes in prop::collection::vec(1u32..1_000, 1..20),
            largest in prop_oneof![Just(1u32), 1u32..2_000],
        ) {
            let mut gcra = Gcra::new(rate, largest);
            // Enough windows to see the steady state, few enough grants to be quick.
            let windows = (20_000 / u64::from(rate.count)).clamp(3, 200);
            let start = Time(start);
            let end = start + rate.per * windows as u32;
            let grants = greedy(&mut gcra, start, end, &late, &sizes);
            let most = most_in_a_window(&grants, rate.per);
            prop_assert!(most <= u64::from(rate.count) + 1, "{most} in a window of {rate}");
            let total: u64 = grants.iter().map(|grant| u64::from(grant.1)).sum();
            let permitted = u64::from(rate.count) * windows;
            prop_assert!(total * 100 >= permitted * 97, "{total} of {permitted} used at {rate}, largest {}", gcra.largest());
        }

        /// Whatever is asked for, given back, and when: what was used stays within the limit.
        #[test]
        fn giving_back_never_exceeds_the_limit(
            count in 1u32..300,
            steps in prop::collection::vec((0u64..40_000, 1u32..5, 0u8..4), 1..600),
        ) {
            let rate = Rate::per_second(count);
            let mut gcra = Gcra::new(rate, 4);
            let mut used: Vec<(Time, u32)> = Vec::new();
            let mut now = Time::ZERO;
            for (pause, n, what) in steps {
                now = Time(now.0 + pause);
                let n = n.min(gcra.largest());
                if what > 0 {
                    if gcra.ask(now, n).is_ok() {
                        used.push((now, n));
                    }
                } else if let Some((at, n)) = used.pop() {
                    gcra.give_back(at, n);
                }
            }
            prop_assert!(most_in_a_window(&used, rate.per) <= u64::from(count) + 1);
        }
    }

    #[test]
    fn a_slow_grant_given_back_is_there_at_once() {
        let mut gcra = Gcra::new(Rate::per_hour(1), 1);
        let now = Time::from_millis(5);
        assert_eq!(gcra.ask(now, 1), Ok(()));
        let again = gcra.ask(Time::from_millis(6), 1).expect_err("one an hour");
        assert!(again > Time::from_millis(3_590_000), "{again:?}");
        gcra.give_back(now, 1);
        assert_eq!(gcra.ask(Time::from_millis(7), 1), Ok(()));
    }

    #[test]
    fn a_rate_of_nothing_grants_nothing() {
        assert_eq!(Gcra::new(Rate::per_second(0), 1).ask(Time::from_millis(1), 1), Err(Time::NEVER));
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let mut gcra = Gcra::new(Rate::per_second(10), 1);
        let grants = greedy(&mut gcra, Time::from_millis(100_000), Time::from_millis(101_000), &[0], &[1]);
        assert!(grants.len() <= 11, "{}", grants.len());
    }

    #[test]
    fn a_change_of_rate_forgets_nothing() {
        let mut gcra = Gcra::new(Rate::per_hour(1), 1);
        assert_eq!(gcra.ask(Time::ZERO, 1), Ok(()));
        gcra.set(Rate::per_hour(60), 1);
        assert!(gcra.ask(Time::from_millis(60_000), 1).is_err());
    }

    #[test]
    fn cells_are_small() {
        assert!(size_of::<Gcra>() <= 48, "{}", size_of::<Gcra>());
    }
}
