//! A door: one behaviour at one or more addresses, with all it remembers about who came through. What is decided
//! here is decided from the seed and the recipient, so that it comes out the same on every try.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::behaviour::{Behaviour, Fate, Stage, What};
use super::ledger::{Delivery, Ledger, LedgerMode};
use super::stats::{DoorStats, Tally};
use crate::draw;

/// The memory of a door. Shared by its connections, all on one thread, and by whoever asks for the counts.
#[derive(Debug)]
pub struct Door {
    pub name: String,
    pub addrs: Vec<SocketAddr>,
    pub behaviour: Arc<Behaviour>,
    pub ledger_mode: LedgerMode,
    pub ledger: Ledger,
    seed: u64,
    started_us: u64,
    total: Tally,
    sources: Vec<(IpAddr, Tally)>,
    source_index: HashMap<IpAddr, usize>,
    /// First sight of each greylisted triplet.
    grey: HashMap<u64, u64>,
    /// Tries of recipients whose fate is transient.
    tries: HashMap<u64, u32>,
    faults_used: Vec<u32>,
    number: u64,
}

/// Index of a source address within its door.
pub type SourceIndex = usize;

/// What a limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Free,
    Storm,
    Connections,
    Rate,
}

impl Door {
    pub fn new(name: &str, behaviour: Behaviour, seed: u64, ledger_mode: LedgerMode, now: u64) -> Door {
        Door {
            name: name.into(),
            addrs: Vec::new(),
            faults_used: vec![0; behaviour.faults.len()],
            behaviour: Arc::new(behaviour),
            ledger_mode,
            ledger: Ledger::default(),
            seed,
            started_us: now,
            total: Tally::default(),
            sources: Vec::new(),
            source_index: HashMap::new(),
            grey: HashMap::new(),
            tries: HashMap::new(),
            number: 0,
        }
    }

    /// Replaces the behaviour from now on; connections keep the one they came under. What is remembered stays.
    pub fn behave(&mut self, behaviour: Behaviour) {
        self.faults_used = vec![0; behaviour.faults.len()];
        self.behaviour = Arc::new(behaviour);
    }

    /// A number for the next reply or connection.
    pub fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// A connection comes in.
    pub fn arrive(&mut self, ip: IpAddr, now: u64) -> (SourceIndex, Limit) {
        let index = *self.source_index.entry(ip).or_insert_with(|| {
            self.sources.push((ip, Tally::default()));
            self.sources.len() - 1
        });
        self.total.arrive(now);
        let tally = &mut self.sources[index].1;
        tally.arrive(now);
        let over = self.behaviour.max_connections.is_some_and(|max| tally.counts.connections_now > max);
        let limit = match (self.stormy(now), over) {
            (true, _) => Limit::Storm,
            (false, true) => Limit::Connections,
            (false, false) => Limit::Free,
        };
        if limit != Limit::Free {
            self.tally(index, |t| t.counts.connections_refused += 1);
        }
        (index, limit)
    }

    /// A connection is gone, or about to be.
    pub fn leave(&mut self, source: SourceIndex) {
        self.tally(source, Tally::leave);
    }

    /// A MAIL command comes in; whether its message may be.
    pub fn mail(&mut self, source: SourceIndex, now: u64) -> Limit {
        self.tally(source, |t| {
            t.mails.add(now);
            t.counts.mails += 1;
        });
        if self.stormy(now) {
            return Limit::Storm;
        }
        match self.behaviour.max_rate {
            Some(max) if self.sources[source].1.dots.inside(now) >= u64::from(max) => Limit::Rate,
            _ => Limit::Free,
        }
    }

    /// A final dot comes in.
    pub fn dot(&mut self, source: SourceIndex, now: u64) {
        self.tally(source, |t| t.dots.add(now));
    }

    /// Notes something in the counts of the source and of the door.
    pub fn tally(&mut self, source: SourceIndex, mut note: impl FnMut(&mut Tally)) {
        note(&mut self.total);
        note(&mut self.sources[source].1);
    }

    /// Enters a delivery into the ledger.
    pub fn enter(&mut self, delivery: Delivery) {
        self.ledger.deliveries.push(delivery);
    }

    pub fn stormy(&self, now: u64) -> bool {
        self.behaviour.storm.is_some_and(|s| s.blows(now.saturating_sub(self.started_us)))
    }

    /// Whether greylisting still holds this triplet off.
    pub fn grey(&mut self, ip: IpAddr, from: &str, to: &str, now: u64) -> bool {
        let Some(wait) = self.behaviour.greylist() else { return false };
        let triplet =
            draw::hash(draw::hash(draw::hash(1, ip.to_string().as_bytes()), from.as_bytes()), to.as_bytes());
        let first = *self.grey.entry(triplet).or_insert(now);
        // The first try is always deferred, even with no waiting time at all.
        first == now || now < first + u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)
    }

    /// What becomes of a recipient, if anything but acceptance.
    pub fn fate(&mut self, to: &str) -> Option<Fate> {
        if self.behaviour.fates.is_empty() {
            return None;
        }
        let drawn = draw::unit(draw::hash(self.seed, to.as_bytes()));
        let mut reached = 0.0;
        let behaviour = self.behaviour.clone();
        let rule = behaviour.fates.iter().find(|rule| {
            if rule.prefix.is_empty() {
                reached += rule.share;
                return drawn < reached;
            }
            let begins = to.get(..rule.prefix.len()).is_some_and(|p| p.eq_ignore_ascii_case(&rule.prefix));
            begins && drawn < rule.share
        })?;
        if let Fate::Transient(tries) = rule.fate {
            let tried = self.tries.entry(draw::hash(self.seed, to.as_bytes())).or_insert(0);
            *tried += 1;
            return (*tried <= tries).then(|| rule.fate.clone());
        }
        Some(rule.fate.clone())
    }

    /// The fault that strikes at `stage`, if one does. `about` is what the share is drawn from.
    pub fn fault(&mut self, stage: Stage, about: &[u8]) -> Option<What> {
        if self.behaviour.faults.is_empty() {
            return None;
        }
        let behaviour = self.behaviour.clone();
        for (i, fault) in behaviour.faults.iter().enumerate() {
            let spent = fault.times.is_some_and(|times| self.faults_used[i] >= times);
            if fault.stage != stage || spent {
                continue;
            }
            if fault.share >= 1.0 || draw::unit(draw::hash(self.seed ^ 0xfa17, about)) < fault.share {
                self.faults_used[i] += 1;
                return Some(fault.what.clone());
            }
        }
        None
    }

    /// Whether a fault may strike in the middle of content, so that the common case need not ask.
    pub fn may_fail_in_body(&self) -> bool {
        self.behaviour.faults.iter().any(|f| f.stage == Stage::Body)
    }

    pub fn stats(&self) -> DoorStats {
        DoorStats {
            name: self.name.clone(),
            addrs: self.addrs.clone(),
            total: self.total.told(),
            sources: self.sources.iter().map(|(ip, t)| (*ip, t.told())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::behaviour::FateRule;
    use std::net::Ipv4Addr;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

    fn door(behaviour: Behaviour) -> Door {
        Door::new("test", behaviour, 42, LedgerMode::Off, 0)
    }

    #[test]
    fn greylisting_defers_first_and_accepts_after_the_wait() {
        let mut d = door(Behaviour { greylist_ms: Some(1000), ..Behaviour::default() });
        assert!(d.grey(IP, "a@x", "b@y", 10));
        assert!(d.grey(IP, "a@x", "b@y", 999_000));
        assert!(d.grey(IP, "a@x", "other@y", 999_000), "each triplet has its own wait");
        assert!(!d.grey(IP, "a@x", "b@y", 1_000_010));
    }

    #[test]
    fn a_recipients_fate_is_the_same_on_each_try() {
        let rules = vec![
            FateRule { prefix: "full".into(), share: 1.0, fate: Fate::Full },
            FateRule { prefix: String::new(), share: 0.5, fate: Fate::Unknown },
        ];
        let mut d = door(Behaviour { fates: rules, ..Behaviour::default() });
        assert_eq!(d.fate("Full.house@y"), Some(Fate::Full));
        let first: Vec<_> = (0..100).map(|i| d.fate(&format!("u{i}@y"))).collect();
        let again: Vec<_> = (0..100).map(|i| d.fate(&format!("u{i}@y"))).collect();
        assert_eq!(first, again);
        assert!((30..70).contains(&first.iter().flatten().count()));
    }

    #[test]
    fn a_transient_recipient_is_accepted_after_so_many_tries() {
        let mut d = door(Behaviour::default().with_fate("later", Fate::Transient(2)));
        let tries: Vec<bool> = (0..4).map(|_| d.fate("later@y").is_some()).collect();
        assert_eq!(tries, [true, true, false, false]);
    }

    #[test]
    fn the_connection_over_the_limit_is_refused_and_counted() {
        let mut d = door(Behaviour { max_connections: Some(1), ..Behaviour::default() });
        let (source, first) = d.arrive(IP, 5);
        assert_eq!(first, Limit::Free);
        assert_eq!(d.arrive(IP, 6), (source, Limit::Connections));
        d.leave(source);
        d.leave(source);
        assert_eq!(d.arrive(IP, 7).1, Limit::Free);
        let total = d.stats().total;
        assert_eq!((total.connections_max, total.connections_refused, total.connections_now), (2, 1, 1));
    }
}
