//! What all hosts of a domain have in common: their manners, their ills, and how they judge a recipient.

use super::plan::{Ill, Manners};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// What all hosts of a domain have in common.
#[derive(Debug)]
pub struct Site {
    pub manners: Manners,
    /// Until when it is unwell, and how.
    pub ills: Vec<(Ill, Duration)>,
    /// Nothing goes wrong any more.
    pub calm: bool,
    pub rng: fastrand::Rng,
    pub open: BTreeMap<IpAddr, u32>,
    /// Transactions of the last second.
    recent: VecDeque<Duration>,
    /// Attempts of recipients: when first, and how many.
    seen: BTreeMap<String, (Duration, u32)>,
}

/// What the hosts did, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct SiteCounts {
    pub taken: u64,
    pub refused_421: u64,
    pub refused_4xx: u64,
    pub refused_5xx: u64,
    pub dropped: u64,
    pub silent: u64,
    pub slow: u64,
    pub nonsense: u64,
    /// Taken, and the reply withheld.
    pub in_doubt: u64,
}

impl Site {
    pub fn new(manners: Manners, rng: fastrand::Rng) -> Site {
        Site {
            manners,
            ills: Vec::new(),
            calm: false,
            rng,
            open: BTreeMap::new(),
            recent: VecDeque::new(),
            seen: BTreeMap::new(),
        }
    }

    pub fn is(&self, now: Duration, ill: impl Fn(Ill) -> bool) -> bool {
        !self.calm && self.ills.iter().any(|(what, until)| *until > now && ill(*what))
    }

    pub fn slow(&self, now: Duration) -> Option<u64> {
        let slow = |&(ill, until): &(Ill, Duration)| match ill {
            Ill::Slow(ms) if until > now && !self.calm => Some(ms),
            _ => None,
        };
        self.ills.iter().find_map(slow)
    }

    /// A transaction too many for this second?
    pub fn too_fast(&mut self, now: Duration) -> bool {
        while self.recent.front().is_some_and(|at| *at + Duration::from_secs(1) < now) {
            self.recent.pop_front();
        }
        if self.manners.rate > 0 && !self.calm && self.recent.len() >= self.manners.rate as usize {
            return true;
        }
        self.recent.push_back(now);
        false
    }

    /// What this host thinks of a recipient.
    pub fn judge(&mut self, now: Duration, address: &str) -> Option<&'static str> {
        let lot =
            (address.bytes().fold(7u32, |hash, b| hash.wrapping_mul(31).wrapping_add(b.into())) >> 7) % 100;
        let seen = self.seen.entry(address.to_owned()).or_insert((now, 0));
        seen.1 += 1;
        let (unknown, full) = (u32::from(self.manners.unknown), u32::from(self.manners.full));
        if lot < unknown {
            return Some("550 5.1.1 no such user");
        }
        if self.calm {
            return None;
        }
        if self.manners.greylist.is_some_and(|wait| now < seen.0 + wait) {
            return Some("450 4.7.1 greylisted");
        }
        (lot < unknown + full && seen.1 < 4).then_some("450 4.2.2 mailbox full")
    }
}
