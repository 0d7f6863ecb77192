//! The warm-up of one cold virtual MTA at one domain: so many recipients a day, more from day to day.
//!
//! Counts outlast a restart by reservation: what may be given is written down before it is given, a tenth of the day's limit
//! at a time. After a crash all that was reserved counts as given, so that no day ever gets more than its limit.

use serde::{Deserialize, Serialize};

/// A day of the calendar, counted from the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Day(pub i32);

/// What the configuration says of a warm-up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms<'a> {
    /// Recipients of the first day, of the second, and so on; the last one stays.
    pub limits: &'a [u64],
    /// Percent of attempts that fail on a day, above which the next one has no more.
    pub hold_above: Option<u32>,
    /// And above which it has less.
    pub lower_above: Option<u32>,
}

/// What became of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Outcomes {
    pub delivered: u64,
    pub deferred: u64,
    pub bounced: u64,
}

impl Outcomes {
    pub fn all(&self) -> u64 {
        self.delivered + self.deferred + self.bounced
    }

    fn are_above(&self, percent: Option<u32>) -> bool {
        let failed = u128::from(self.deferred + self.bounced);
        percent.is_some_and(|percent| failed * 100 > u128::from(self.all()) * u128::from(percent))
    }

    pub fn add(&mut self, other: Outcomes) {
        self.delivered += other.delivered;
        self.deferred += other.deferred;
        self.bounced += other.bounced;
    }
}

/// How the day came by its step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Course {
    /// It is the first.
    #[default]
    Begun,
    Raised,
    /// Too much failed before.
    Held,
    Lowered,
    /// Nothing was tried before, so that nothing is known.
    Untried,
    /// The operator holds it.
    Kept,
    /// The operator has set it.
    Set,
}

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
    pub course: Course,
    /// The operator holds the step where it is.
    pub kept: bool,
    /// Of the day.
    pub outcomes: Outcomes,
    /// Of the day before it, which it was judged by.
    pub before: Outcomes,
    /// Since then: for a day that has not begun here.
    pub later: Outcomes,
}

impl Warming {
    pub fn begin(today: Day) -> Warming {
        Warming { first: today, day: today, ..Warming::default() }
    }

    /// Goes on to `today`. A clock that was set back changes nothing: the later day goes on.
    pub fn turn(&mut self, today: Day, terms: &Terms<'_>) {
        if today <= self.day {
            return;
        }
        let passed = today.0.abs_diff(self.day.0) as usize;
        let judged = terms.hold_above.is_some() || terms.lower_above.is_some();
        let (step, course) = match self.outcomes {
            _ if self.kept => (self.step, Course::Kept),
            _ if !judged => (self.step.saturating_add(passed), Course::Raised),
            before if before.all() == 0 => (self.step, Course::Untried),
            before if before.are_above(terms.lower_above) => (self.step.saturating_sub(1), Course::Lowered),
            before if before.are_above(terms.hold_above) => (self.step, Course::Held),
            _ => (self.step.saturating_add(1), Course::Raised),
        };
        self.step = step.min(terms.limits.len().saturating_sub(1));
        self.course = course;
        (self.before, self.outcomes) = (self.outcomes, std::mem::take(&mut self.later));
        (self.day, self.given, self.reserved) = (today, 0, 0);
    }

    /// Counts what became of attempts `today`.
    pub fn note(&mut self, today: Day, outcomes: Outcomes) {
        if today <= self.day { self.outcomes.add(outcomes) } else { self.later.add(outcomes) }
    }

    /// Recipients that the day may have.
    pub fn limit(&self, terms: &Terms<'_>) -> u64 {
        terms.limits.get(self.step).or(terms.limits.last()).copied().unwrap_or(0)
    }

    /// Whether the day may have another one.
    pub fn has_room(&self, terms: &Terms<'_>) -> bool {
        self.given < self.limit(terms)
    }

    /// Raises what is reserved to what has been given and some more, within the day's limit; whether that has to be written.
    pub fn reserve(&mut self, limit: u64) -> bool {
        if self.given <= self.reserved {
            return false;
        }
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
#[path = "warming_test.rs"]
mod test;
