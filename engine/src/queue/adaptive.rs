//! A ceiling that follows what the receiver lets pass (`adaptive-rate`, our own): it is eased by half when a reply asks
//! for less, and climbs back in steps while mail flows and nobody objects.
//!
//! Rate and connections are searched for apart, and only the one that binds is raised, so that a refusal says which one
//! was too much. What was refused is remembered: the climb halves what is left up to it, stays an eighth below, and looks
//! beyond only after [`HOLD`] quiet intervals. Thus it settles between 7/8 and all of what is let pass.

use super::settings::QueueSettings;
use crate::base::{Now, Time, Wall};
use crate::limit::Rate;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Quiet intervals close below what was refused before more is tried again.
const HOLD: u32 = 8;
/// Steps that are remembered for display.
const STEPS: usize = 8;
/// Recipients accepted in a minute that say how fast the queue was.
const MEANINGFUL: u64 = 8;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR_NS: u128 = 3_600_000_000_000;

/// What the configuration says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveTerms {
    /// `adaptive-rate-floor`: never less than this.
    pub floor: Rate,
    /// `adaptive-rate-step-up-interval`: quiet time with mail before a step up; a fifth of it is the least between two
    /// steps down.
    pub step_up_interval: Duration,
}

/// A rate and a number of connections. `None` is as configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    pub rate: Option<Rate>,
    pub connections: Option<u32>,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate {
            Some(rate) => write!(f, "{rate}, ")?,
            None => f.write_str("the configured rate, ")?,
        }
        match self.connections {
            Some(1) => f.write_str("1 connection"),
            Some(count) => write!(f, "{count} connections"),
            None => f.write_str("the configured connections"),
        }
    }
}

/// A change of level, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub at: Wall,
    pub down: bool,
    pub to: Level,
    pub cause: String,
}

/// What a refusal comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Eased(Step),
    /// It is of the burst that has led to the last step.
    Heard,
    /// There is nothing left to ease.
    AtFloor,
}

/// The search for one bound.
#[derive(Clone, Debug)]
struct Climb {
    now: u64,
    /// The last that was kept up for an interval without a refusal.
    good: u64,
    refused: Option<u64>,
    /// The next step in eighths of what is; doubles while nothing is refused.
    stride: u64,
    held: u32,
}

impl Climb {
    fn new(now: u64) -> Climb {
        Climb { now, good: now, refused: None, stride: 1, held: 0 }
    }

    fn halve(&mut self, floor: u64) {
        self.refused = Some(self.now);
        self.now = (self.now / 2).max(floor).min(self.now);
        (self.good, self.stride, self.held) = (self.now, 1, 0);
    }

    /// What was tried last was too much.
    fn fall_back(&mut self) {
        self.refused = Some(self.now);
        (self.now, self.stride, self.held) = (self.good, 1, 0);
    }

    /// What to try next, if it is time to.
    fn next(&mut self, ceiling: u64) -> Option<u64> {
        if let Some(refused) = self.refused {
            let left = refused.saturating_sub(self.now);
            if left > (refused / 8).max(1) {
                return Some((self.now + left / 2).min(ceiling));
            }
            self.held += 1;
            if self.held < HOLD {
                return None;
            }
            (self.refused, self.stride, self.held) = (None, 1, 0);
        }
        let next = self.now.saturating_add((self.now / 8 * self.stride).max(1));
        self.stride = (self.stride * 2).min(8);
        Some(next.min(ceiling))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Rate,
    Connections,
}

/// Recipients accepted lately.
#[derive(Clone, Copy, Debug, Default)]
struct LastMinute {
    from: Time,
    now: u64,
    before: u64,
}

impl LastMinute {
    fn turn(&mut self, now: Time) {
        let passed = now.since(self.from);
        if passed >= MINUTE {
            self.before = if passed < 2 * MINUTE { self.now } else { 0 };
            (self.from, self.now) = (now, 0);
        }
    }

    fn count(&mut self, now: Time) -> u64 {
        self.turn(now);
        let left = MINUTE.saturating_sub(now.since(self.from)).as_millis() as u64;
        self.now + self.before * left / MINUTE.as_millis() as u64
    }
}

/// The state of one queue.
#[derive(Clone, Debug)]
pub struct Adaptive {
    terms: AdaptiveTerms,
    /// Recipients an hour; `None` as configured.
    rate: Option<Climb>,
    connections: Option<Climb>,
    /// The one that was raised and has not stood an interval yet.
    tried: Option<Bound>,
    /// Since when nothing was refused, and recipients accepted since.
    quiet_since: Time,
    sent: u64,
    eased_at: Option<Time>,
    minute: LastMinute,
    steps: VecDeque<Step>,
}

impl Adaptive {
    pub fn new(terms: AdaptiveTerms) -> Adaptive {
        Adaptive {
            terms,
            rate: None,
            connections: None,
            tried: None,
            quiet_since: Time::ZERO,
            sent: 0,
            eased_at: None,
            minute: LastMinute::default(),
            steps: VecDeque::new(),
        }
    }

    pub fn set_terms(&mut self, terms: AdaptiveTerms) {
        self.terms = terms;
    }

    /// Everything as configured again; `None` where it was.
    pub fn lift(&mut self, now: Now, cause: &str) -> Option<Step> {
        if !self.is_eased() {
            return None;
        }
        (self.rate, self.connections, self.tried, self.eased_at) = (None, None, None, None);
        Some(self.note(now, false, cause.to_owned()))
    }

    pub fn is_eased(&self) -> bool {
        self.rate.is_some() || self.connections.is_some()
    }

    pub fn level(&self) -> Level {
        Level {
            rate: self.rate.as_ref().map(|climb| rate(climb.now)),
            connections: self.connections.as_ref().map(|climb| climb.now as u32),
        }
    }

    /// The latest first.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().rev()
    }

    /// `base`, eased. Never more than `base` allows.
    pub fn applied(&self, base: &QueueSettings) -> Option<QueueSettings> {
        let Level { rate, connections } = self.level();
        if rate.is_none() && connections.is_none() {
            return None;
        }
        let mut eased = base.clone();
        if let Some(rate) = rate
            && base.max_msg_rate.is_none_or(|most| per_hour(rate) < per_hour(most))
        {
            eased.max_msg_rate = Some(rate);
        }
        eased.max_smtp_out = base.max_smtp_out.min(connections.unwrap_or(u32::MAX));
        Some(eased)
    }

    /// A reply asks for less, while `open` connections are open. `base` is what is configured.
    pub fn refused(&mut self, now: Now, base: &QueueSettings, open: u32, cause: &str) -> Refusal {
        (self.quiet_since, self.sent) = (now.mono, 0);
        let cool_down = self.terms.step_up_interval / 5;
        if self.eased_at.is_some_and(|at| now.mono.since(at) < cool_down) {
            return Refusal::Heard;
        }
        let floor = per_hour(self.terms.floor).max(1);
        match self.tried.take() {
            Some(Bound::Rate) => self.rate.iter_mut().for_each(Climb::fall_back),
            Some(Bound::Connections) => self.connections.iter_mut().for_each(Climb::fall_back),
            None => {
                let rate_left = self.rate.as_ref().is_none_or(|climb| climb.now > floor);
                let connections_left = self.connections.as_ref().is_none_or(|climb| climb.now > 1);
                if !rate_left && !connections_left {
                    return Refusal::AtFloor;
                }
                self.ease(now.mono, base, open, floor);
            }
        }
        self.eased_at = Some(now.mono);
        Refusal::Eased(self.note(now, true, cause.to_owned()))
    }

    fn ease(&mut self, now: Time, base: &QueueSettings, open: u32, floor: u64) {
        match &mut self.rate {
            Some(climb) => climb.halve(floor),
            None => {
                // As fast as it was, where that can be told. Whether so much is too much is not known.
                let measured = self.minute.count(now);
                let measured =
                    (measured >= MEANINGFUL || base.max_msg_rate.is_none()).then_some(measured * 60);
                let most = base.max_msg_rate.map_or(u64::MAX, per_hour);
                let from = measured.unwrap_or(u64::MAX).min(most);
                self.rate = Some(Climb::new((from / 2).max(floor).min(most)));
            }
        }
        match &mut self.connections {
            Some(climb) => climb.halve(1),
            None => {
                let from = u64::from(open.min(base.max_smtp_out));
                self.connections = Some(Climb::new((from / 2).max(1)));
            }
        }
    }

    /// The receiver has accepted `count` recipients. Time for a step up? What keeps the queue from sending more is raised:
    /// its rate if it is kept up, or else its connections if all are in use.
    pub fn accepted(&mut self, now: Now, base: &QueueSettings, open: u32, count: u32) -> Option<Step> {
        self.minute.turn(now.mono);
        self.minute.now += u64::from(count);
        if !self.is_eased() {
            return None;
        }
        self.sent += u64::from(count);
        let quiet = now.mono.since(self.quiet_since);
        if quiet < self.terms.step_up_interval {
            return None;
        }
        let sent = std::mem::take(&mut self.sent);
        self.quiet_since = now.mono;
        let rate = self.rate.as_ref();
        let keeps_up =
            |rate: &Climb| u128::from(sent) * HOUR_NS * 10 >= u128::from(rate.now) * quiet.as_nanos() * 7;
        let bound = match &self.connections {
            _ if rate.is_some_and(keeps_up) => Bound::Rate,
            Some(connections) if u64::from(open) >= connections.now => Bound::Connections,
            // More would change nothing.
            _ => return None,
        };
        self.tried = None;
        let ceiling = ceiling(bound, base);
        let slot = self.slot(bound);
        let climb = slot.as_mut()?;
        climb.good = climb.now;
        if climb.now >= ceiling {
            *slot = None;
            return None;
        }
        climb.now = climb.next(ceiling)?;
        self.tried = Some(bound);
        let minutes = quiet.as_secs_f64() / 60.0;
        let cause = format!("{sent} recipients were accepted in {minutes:.0} minutes without a refusal");
        Some(self.note(now, false, cause))
    }

    fn slot(&mut self, bound: Bound) -> &mut Option<Climb> {
        match bound {
            Bound::Rate => &mut self.rate,
            Bound::Connections => &mut self.connections,
        }
    }

    fn note(&mut self, now: Now, down: bool, cause: String) -> Step {
        let step = Step { at: now.wall, down, to: self.level(), cause };
        if self.steps.len() == STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back(step.clone());
        step
    }
}

fn ceiling(bound: Bound, base: &QueueSettings) -> u64 {
    match bound {
        Bound::Rate => base.max_msg_rate.map_or(u64::MAX, per_hour),
        Bound::Connections => u64::from(base.max_smtp_out),
    }
}

fn per_hour(rate: Rate) -> u64 {
    let hourly = u128::from(rate.count) * HOUR_NS / rate.per.as_nanos().max(1);
    u64::try_from(hourly).unwrap_or(u64::MAX)
}

/// In a unit that makes it smooth, and legible. Rounded down.
fn rate(per_hour: u64) -> Rate {
    let (count, seconds) = match per_hour {
        360_000.. => (per_hour / 3600, 1),
        600.. => (per_hour / 60, 60),
        _ => (per_hour, 3600),
    };
    Rate { count: u32::try_from(count).unwrap_or(u32::MAX), per: Duration::from_secs(seconds) }
}
