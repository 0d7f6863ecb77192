//! What a forecast says of one queue.

use crate::base::Time;
use crate::limit::Place;
use crate::queue::WaitReason;
use std::fmt;
use std::time::Duration;

/// What mail waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// A limit of its queue, its retry, its schedule.
    Queue(WaitReason),
    /// A limit on connections over many queues.
    Place(Place, u32),
    /// Nothing: every connection that is worth having is at work.
    Receivers,
}

impl Cause {
    /// The directive that it is about, and the virtual MTA where it is one of all its queues.
    pub fn directive(&self) -> Option<(&'static str, bool)> {
        match self {
            Cause::Queue(reason) => {
                let directive = Some(reason.directive()).filter(|name| !name.is_empty())?;
                Some((directive, reason.of_vmta().is_some()))
            }
            Cause::Place(place, _) => Some((place.directive(), matches!(place, Place::Vmta(_)))),
            Cause::Receivers => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Queue(reason) => reason.fmt(f),
            Cause::Place(place, limit) => {
                write!(f, "all connections are in use ({} {limit} {place})", place.directive())
            }
            Cause::Receivers => f.write_str("the time that receivers take"),
        }
    }
}

/// What becomes of a queue's mail.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    pub recipients: u64,
    pub delivered: u64,
    /// Too old before they could be delivered.
    pub expired: u64,
    /// Attempts that were put off.
    pub deferred: u64,
    /// The first and the last delivery.
    pub first: Option<Time>,
    pub last: Option<Time>,
    /// From arrival to delivery, in milliseconds, in no order.
    pub waits: Vec<u32>,
    /// Recipients still there at the end of all that can happen: their queue is paused.
    pub left: u64,
    /// Recipients times the time they have waited for it.
    causes: Vec<(Cause, f64)>,
}

impl Outlook {
    pub(super) fn waited(&mut self, cause: &Cause, recipients: u32, time: Duration) {
        let weight = f64::from(recipients) * time.as_secs_f64();
        match self.causes.iter_mut().find(|(known, _)| known == cause) {
            Some((_, sum)) => *sum += weight,
            None => self.causes.push((cause.clone(), weight)),
        }
    }

    /// What most of the waiting was for.
    pub fn cause(&self) -> Option<&Cause> {
        self.causes.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(cause, _)| cause)
    }

    /// Takes in what is said of another queue.
    pub fn add(&mut self, other: Outlook) {
        self.recipients += other.recipients;
        self.delivered += other.delivered;
        self.expired += other.expired;
        self.deferred += other.deferred;
        self.left += other.left;
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.into_iter().chain(other.last).max();
        self.waits.extend(other.waits);
        for (cause, weight) in other.causes {
            match self.causes.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, sum)) => *sum += weight,
                None => self.causes.push((cause, weight)),
            }
        }
    }

    /// The wait that so many of a hundred do not exceed, in milliseconds; none without deliveries.
    pub fn percentile(&mut self, percent: usize) -> Option<u32> {
        let at = (self.waits.len() * percent).div_ceil(100).checked_sub(1)?;
        Some(*self.waits.select_nth_unstable(at).1)
    }
}
