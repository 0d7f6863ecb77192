//! The warm-up of one cold virtual MTA at one domain: so many recipients a day, more from day to day.
//!
//! Counts outlast a restart by reservation: what may be given is written down before it is given, a tenth of the day's limit
//! at a time. After a crash all that was reserved counts as given, so that no day ever gets more than its limit.

use serde::{Deserialize, Serialize};

/// A day of the calendar, counted from the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Day(pub i32);

/// What a cold virtual MTA has been given of a domain's mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Warming {
    /// The day of the first recipient.
    pub first: Day,
    /// The day that the counts are of.
    pub day: Day,
    /// Its place in the list of daily limits.
    pub step: usize,
    pub given: u64,
    /// What is written down as given; less than `given` only until it is written again.
    pub reserved: u64,
}

impl Warming {
    pub fn begin(today: Day) -> Warming {
        Warming { first: today, day: today, ..Warming::default() }
    }

    /// Goes on to `today`. A clock that was set back changes nothing: the later day goes on.
    pub fn turn(&mut self, today: Day, limits: &[u64]) {
        if today <= self.day {
            return;
        }
        let passed = today.0.abs_diff(self.day.0) as usize;
        self.step = self.step.saturating_add(passed).min(limits.len().saturating_sub(1));
        (self.day, self.given, self.reserved) = (today, 0, 0);
    }

    /// Recipients that the day may have.
    pub fn limit(&self, limits: &[u64]) -> u64 {
        limits.get(self.step).or(limits.last()).copied().unwrap_or(0)
    }

    /// Whether the day may have another one.
    pub fn has_room(&self, limits: &[u64]) -> bool {
        self.given < self.limit(limits)
    }

    /// Raises what is reserved to what has been given and some more; whether that has to be written.
    pub fn reserve(&mut self, limits: &[u64]) -> bool {
        if self.given <= self.reserved {
            return false;
        }
        let limit = self.limit(limits);
        self.reserved = self.given.max(self.given.saturating_add(limit / 10).min(limit));
        true
    }

    /// As it is read after a start: what was reserved may have been given.
    pub fn resumed(self) -> Warming {
        Warming { given: self.reserved, ..self }
    }

    /// As it is written at the end, when nothing more is given.
    pub fn settled(self) -> Warming {
        Warming { reserved: self.given, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_place_in_the_list_and_the_last_one_stays() {
        let limits = [50, 100, 200];
        let mut warming = Warming::begin(Day(10));
        let mut limit_on = |day| {
            warming.turn(Day(day), &limits);
            (warming.limit(&limits), warming.step)
        };
        assert_eq!([10, 11, 12, 13, 20].map(&mut limit_on), [(50, 0), (100, 1), (200, 2), (200, 2), (200, 2)]);
        assert_eq!(Warming::begin(Day(1)).limit(&[]), 0);
    }

    #[test]
    fn a_clock_that_was_set_back_gives_no_second_share() {
        let mut warming = Warming { given: 7, reserved: 7, ..Warming::begin(Day(10)) };
        warming.turn(Day(9), &[10]);
        assert_eq!((warming.day, warming.given), (Day(10), 7));
    }

    #[test]
    fn a_tenth_of_the_day_is_reserved_at_a_time_and_never_more_than_the_day() {
        let limits = [100];
        let mut warming = Warming { given: 1, ..Warming::begin(Day(1)) };
        assert!(warming.reserve(&limits));
        assert_eq!(warming.reserved, 11);
        warming.given = 11;
        assert!(!warming.reserve(&limits));
        warming.given = 95;
        assert!(warming.reserve(&limits));
        assert_eq!(warming.resumed().given, 100);
        assert_eq!(warming.settled().reserved, 95);
    }
}
