//! When a recipient is too old: `bounce-after`, and what a jump of the calendar clock does to it (F32).

use super::slot::Slot;
use crate::base::{Now, Time, Wall};
use crate::mail::schedule::{Opening, Schedule};
use std::time::Duration;

/// A step of the calendar clock against the monotonic one that is a jump and not drift or slewing.
const JUMP_MS: i64 = 5_000;

const TO_SET_IT_RIGHT: Duration = Duration::from_secs(3600);

/// Tells ages. Age is a calendar matter, it goes on while the engine is down; so a clock set 40 days ahead would make
/// everything too old at once. Therefore a recipient that was accepted before the last jump is not expired until it has
/// been tried after it.
#[derive(Debug)]
pub struct Expiry {
    /// Calendar minus monotonic time, in milliseconds, when last observed.
    offset: i64,
    /// When the clock last jumped, in the time after the jump.
    jumped: Option<Now>,
}

fn offset(now: Now) -> i64 {
    now.wall.0.saturating_sub(i64::try_from(now.mono.as_millis()).unwrap_or(i64::MAX))
}

impl Expiry {
    pub fn new(now: Now) -> Expiry {
        Expiry { offset: offset(now), jumped: None }
    }

    /// Compares the two clocks; to be called once per turn of the event loop. Returns by how many milliseconds the
    /// calendar jumped, forward or back, if it did.
    pub fn observe(&mut self, now: Now) -> Option<i64> {
        let offset = offset(now);
        let step = offset.saturating_sub(self.offset);
        self.offset = offset;
        if step.saturating_abs() < JUMP_MS {
            return None;
        }
        self.jumped = Some(now);
        Some(step)
    }

    /// Whether a recipient whose time began at `begins` and last tried at `tried` (`None`: never, or not known) is to be
    /// given up.
    pub fn is_expired(&self, now: Now, begins: Wall, tried: Option<Time>, bounce_after: Duration) -> bool {
        let age = now.wall.0.saturating_sub(begins.0);
        if age <= i64::try_from(bounce_after.as_millis()).unwrap_or(i64::MAX) {
            return false;
        }
        match self.jumped {
            Some(jump) if begins < jump.wall => tried.is_some_and(|tried| tried >= jump.mono),
            _ => true,
        }
    }
}

/// What its submission says of when a recipient may go.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// When it was accepted, or is to start: its age counts from here.
    pub begins: Wall,
    /// Where it says anything, it counts instead of `bounce-after` (reference 6.2).
    pub schedule: Option<&'a Schedule>,
}

/// Whose turn it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    Later(Time),
    TooOld,
}

/// Who of a queue's recipients may go, and who is to be given up.
#[derive(Debug)]
pub struct Calendar<'a, T> {
    pub expiry: &'a Expiry,
    /// What a submission says.
    pub terms: T,
    /// The age that none may reach: `bounce-after`, or less.
    pub life: Duration,
}

impl<'a, T: Fn(u32) -> Terms<'a>> Calendar<'_, T> {
    pub(super) fn turn(&self, now: Now, slot: &Slot, tried: Option<Time>) -> Turn {
        let terms = (self.terms)(slot.submission);
        if let Some(schedule) = terms.schedule {
            return self.scheduled(now, terms.begins, schedule);
        }
        match self.expiry.is_expired(now, terms.begins, tried, self.life) {
            true => Turn::TooOld,
            false => Turn::Now,
        }
    }

    pub(super) fn is_too_old(&self, now: Now, slot: &Slot, tried: Option<Time>) -> bool {
        self.turn(now, slot, tried) == Turn::TooOld
    }

    /// A clock that has jumped past the end of all times has an hour to be set right.
    fn scheduled(&self, now: Now, begins: Wall, schedule: &Schedule) -> Turn {
        match schedule.at(now.wall) {
            Opening::Open => Turn::Now,
            Opening::From(start) => Turn::Later(now.mono + start.since(now.wall)),
            Opening::Over => match self.expiry.jumped {
                Some(jump) if begins < jump.wall && now.mono < jump.mono + TO_SET_IT_RIGHT => {
                    Turn::Later(jump.mono + TO_SET_IT_RIGHT)
                }
                _ => Turn::TooOld,
            },
        }
    }
}

/// When a waiting recipient was last tried, as far as its slot tells.
pub(super) fn tried(slot: &Slot, retry_recipients_after: Duration) -> Option<Time> {
    (slot.attempts > 0).then(|| slot.due() - retry_recipients_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;
    const LIFE: Duration = Duration::from_secs(4 * 86_400);

    fn now(mono_ms: u64, wall_ms: i64) -> Now {
        Now { mono: Time::from_millis(mono_ms), wall: Wall(wall_ms) }
    }

    #[test]
    fn age_counts_the_time_before_the_start() {
        let expiry = Expiry::new(now(0, 100 * DAY_MS));
        let at = now(1000, 100 * DAY_MS + 1000);
        assert!(expiry.is_expired(at, Wall(95 * DAY_MS), None, LIFE));
        assert!(!expiry.is_expired(at, Wall(97 * DAY_MS), None, LIFE));
    }

    #[test]
    fn drift_is_no_jump() {
        let mut expiry = Expiry::new(now(0, 0));
        for turn in 1..1000u64 {
            assert_eq!(expiry.observe(now(turn * 1000, turn as i64 * 1010)), None);
        }
    }

    #[test]
    fn forty_days_ahead_expire_nothing_untried() {
        let mut expiry = Expiry::new(now(0, 0));
        let accepted = Wall(1000);
        assert_eq!(expiry.observe(now(5_000, 40 * DAY_MS + 5_000)), Some(40 * DAY_MS));
        let later = now(10_000, 40 * DAY_MS + 10_000);
        assert_eq!(expiry.observe(later), None);
        assert!(!expiry.is_expired(later, accepted, None, LIFE));
        assert!(!expiry.is_expired(later, accepted, Some(Time::from_millis(4_000)), LIFE));
        assert!(expiry.is_expired(later, accepted, Some(Time::from_millis(6_000)), LIFE));
        // What came after the jump has an honest age.
        let after = Wall(40 * DAY_MS + 6_000);
        assert!(expiry.is_expired(now(9, 45 * DAY_MS), after, None, LIFE));
    }

    #[test]
    fn a_clock_set_back_expires_nothing() {
        let mut expiry = Expiry::new(now(0, 4000 * DAY_MS));
        assert!(expiry.observe(now(1, 0)).is_some_and(|step| step < 0));
        assert!(!expiry.is_expired(now(2, 1), Wall(4000 * DAY_MS), None, LIFE));
    }
}
