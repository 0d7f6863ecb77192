//! What each source address of a queue may do (`source-ip-max-*`, reference 2.5). Few queues limit it.

use super::gate::{Gate, SourceLimit, Wait, WaitReason};
use super::rates::Rates;
use super::settings::QueueSettings;
use crate::base::Time;
use crate::limit::{Rate, VolumeRate};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};

/// The limits by network. Of several networks that have an address the smallest one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRules {
    /// `source-ip-max-smtp-out`
    pub max_smtp_out: Vec<(IpNet, u32)>,
    /// `source-ip-max-connect-rate`
    pub max_connect_rate: Vec<(IpNet, Option<Rate>)>,
    /// `source-ip-max-msg-rate`
    pub max_msg_rate: Vec<(IpNet, Option<Rate>)>,
    /// `source-ip-max-data-volume-rate`
    pub max_data_volume_rate: Vec<(IpNet, Option<VolumeRate>)>,
}

impl SourceRules {
    fn of(&self, address: Option<IpAddr>) -> QueueSettings {
        // What the system chooses is known to be in no smaller network than all of them.
        let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        QueueSettings {
            max_smtp_out: smallest(&self.max_smtp_out, address).unwrap_or(u32::MAX),
            max_connect_rate: smallest(&self.max_connect_rate, address).flatten(),
            max_msg_rate: smallest(&self.max_msg_rate, address).flatten(),
            max_data_volume_rate: smallest(&self.max_data_volume_rate, address).flatten(),
            ..QueueSettings::default()
        }
    }
}

fn smallest<T: Copy>(rules: &[(IpNet, T)], address: IpAddr) -> Option<T> {
    let fits = rules.iter().filter(|(network, _)| network.contains(&address));
    fits.max_by_key(|(network, _)| network.prefix_len()).map(|(_, limit)| *limit)
}

/// The counts of all source addresses of one queue.
#[derive(Clone, Debug)]
pub struct PerSource(Vec<Counts>);

#[derive(Clone, Debug)]
struct Counts {
    address: Option<IpAddr>,
    max_smtp_out: u32,
    open: u32,
    rates: Option<Box<Rates>>,
    /// As it was when the queue looked.
    full: bool,
}

impl Counts {
    fn message_gate(&self, now: Time) -> Gate {
        self.rates.as_ref().map_or(Gate::Go, |rates| rates.message_gate(now))
    }

    fn connection_gate(&self, now: Time) -> Gate {
        if self.open >= self.max_smtp_out {
            return Gate::wait(None, WaitReason::MaxSmtpOut(self.max_smtp_out));
        }
        // A connection that may carry nothing yet is not worth opening.
        match (self.message_gate(now), &self.rates) {
            (Gate::Go, Some(rates)) => rates.connect_gate(now),
            (gate, _) => gate,
        }
    }

    fn waits(&self, gate: Gate) -> Option<Wait> {
        let wait = gate.open().err()?;
        let limit = match wait.reason {
            WaitReason::MaxSmtpOut(limit) => SourceLimit::SmtpOut(limit),
            WaitReason::MaxConnectRate(rate) => SourceLimit::ConnectRate(rate),
            WaitReason::MaxDataVolumeRate(rate) => SourceLimit::DataVolumeRate(rate),
            WaitReason::MaxMsgRate(rate) => SourceLimit::MsgRate(rate),
            _ => return Some(wait),
        };
        Some(Wait { reason: WaitReason::OfSource(limit), ..wait })
    }
}

impl PerSource {
    /// The counts of `addresses`, going on from `old` ones; `None` where nothing is limited. A transaction has at most
    /// `largest` recipients.
    pub fn new(
        rules: &SourceRules,
        largest: u32,
        addresses: impl Iterator<Item = Option<IpAddr>>,
        old: Option<&PerSource>,
    ) -> Option<Box<PerSource>> {
        if *rules == SourceRules::default() {
            return None;
        }
        let counts = addresses.map(|address| {
            let old = old.and_then(|old| old.0.iter().find(|counts| counts.address == address));
            let settings = QueueSettings { max_rcpt_per_message: largest, ..rules.of(address) };
            Counts {
                address,
                max_smtp_out: settings.max_smtp_out,
                open: old.map_or(0, |old| old.open),
                rates: Rates::new(&settings, old.and_then(|old| old.rates.as_deref())),
                full: false,
            }
        });
        Some(Box::new(PerSource(counts.collect())))
    }

    fn of(&self, address: Option<IpAddr>) -> Option<&Counts> {
        self.0.iter().find(|counts| counts.address == address)
    }

    fn rates_of(&mut self, address: Option<IpAddr>) -> Option<&mut Rates> {
        self.0.iter_mut().find(|counts| counts.address == address)?.rates.as_deref_mut()
    }

    /// Notes which addresses may have no connection now.
    pub fn look(&mut self, now: Time) {
        for counts in &mut self.0 {
            counts.full = counts.connection_gate(now) != Gate::Go;
        }
    }

    /// Forgets what was noted: it is old by the next turn.
    pub fn looked(&mut self) {
        self.0.iter_mut().for_each(|counts| counts.full = false);
    }

    pub fn is_full(&self, address: Option<IpAddr>) -> bool {
        self.of(address).is_some_and(|counts| counts.full)
    }

    /// Whether a message may leave from it.
    pub fn message_gate(&self, address: Option<IpAddr>, now: Time) -> Gate {
        self.of(address).map_or(Gate::Go, |counts| counts.message_gate(now))
    }

    /// What keeps the address from another connection.
    pub fn waits(&self, address: Option<IpAddr>, now: Time) -> Option<Wait> {
        let counts = self.of(address)?;
        counts.waits(counts.connection_gate(now))
    }

    /// When one of those that may do nothing now may do something again.
    pub fn next(&self, now: Time) -> Option<Time> {
        let until = |counts: &Counts| {
            let gates = [counts.message_gate(now), counts.connection_gate(now)];
            gates.into_iter().filter_map(|gate| gate.open().err()?.until).min()
        };
        self.0.iter().filter_map(until).min()
    }

    pub fn connected(&mut self, address: Option<IpAddr>, now: Time) {
        if let Some(counts) = self.0.iter_mut().find(|counts| counts.address == address) {
            counts.open += 1;
            if let Some(rates) = &mut counts.rates {
                rates.take_connect(now);
            }
        }
    }

    pub fn disconnected(&mut self, address: Option<IpAddr>) {
        if let Some(counts) = self.0.iter_mut().find(|counts| counts.address == address) {
            // Where the limit came with a reload, those open before were not counted.
            counts.open = counts.open.saturating_sub(1);
        }
    }

    /// Recipients one transaction may take.
    pub fn largest(&self, address: Option<IpAddr>) -> u32 {
        let rates = self.of(address).and_then(|counts| counts.rates.as_ref());
        rates.map_or(u32::MAX, |rates| rates.largest())
    }

    /// Counts `n` recipients; the gate has been asked.
    pub fn take_messages(&mut self, address: Option<IpAddr>, now: Time, n: u32) {
        if let Some(rates) = self.rates_of(address) {
            rates.take_messages(now, n);
        }
    }

    pub fn give_back_messages(&mut self, address: Option<IpAddr>, granted: Time, n: u32) {
        if let Some(rates) = self.rates_of(address) {
            rates.give_back_messages(granted, n);
        }
    }

    /// Whether its volume is limited, and whether the message may begin.
    pub fn begin(&mut self, address: Option<IpAddr>, now: Time, bytes: u64) -> Option<bool> {
        self.rates_of(address)?.begin(now, bytes)
    }

    pub fn ended(&mut self, address: Option<IpAddr>, now: Time, bytes: u64, delivered: bool) {
        if let Some(rates) = self.rates_of(address) {
            rates.ended(now, bytes, delivered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const A: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    const B: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)));

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn counts(rules: &SourceRules, old: Option<&PerSource>) -> PerSource {
        *PerSource::new(rules, 100, [A, B].into_iter(), old).expect("limits")
    }

    #[test]
    fn the_smallest_network_that_has_the_address_counts() {
        let max_smtp_out = vec![(net("192.0.2.1/32"), 1), (net("0.0.0.0/0"), 7), (net("192.0.2.0/24"), 3)];
        let rules = SourceRules { max_smtp_out, ..SourceRules::default() };
        assert_eq!([A, B, None].map(|address| rules.of(address).max_smtp_out), [1, 7, 7]);
    }

    #[test]
    fn an_address_is_full_and_the_other_is_not() {
        let now = Time::ZERO + Duration::from_secs(5);
        let rules = SourceRules { max_smtp_out: vec![(net("192.0.2.0/24"), 1)], ..SourceRules::default() };
        let mut counts = counts(&rules, None);
        counts.connected(A, now);
        counts.connected(B, now);
        counts.look(now);
        assert_eq!([A, B].map(|address| counts.is_full(address)), [true, false]);
        let wait = counts.waits(A, now).expect("waits");
        assert_eq!((wait.until, wait.reason), (None, WaitReason::OfSource(SourceLimit::SmtpOut(1))));
        counts.disconnected(A);
        counts.look(now);
        assert!(!counts.is_full(A));
    }

    #[test]
    fn each_has_a_rate_of_its_own_that_a_reload_does_not_reset() {
        let now = Time::ZERO + Duration::from_secs(5);
        let rate = Rate { count: 2, per: Duration::from_secs(60) };
        let rules =
            SourceRules { max_msg_rate: vec![(net("0.0.0.0/0"), Some(rate))], ..SourceRules::default() };
        let mut first = counts(&rules, None);
        assert_eq!(first.message_gate(A, now), Gate::Go);
        first.take_messages(A, now, 1);
        let second = counts(&rules, Some(&first));
        assert!(second.message_gate(A, now) != Gate::Go);
        assert_eq!(second.message_gate(B, now), Gate::Go);
        let next = second.next(now).expect("a time");
        assert_eq!(second.message_gate(A, next), Gate::Go);
        // A connection could carry nothing.
        let waits = second.waits(A, now).expect("waits");
        assert_eq!(
            (waits.until, waits.reason),
            (Some(next), WaitReason::OfSource(SourceLimit::MsgRate(rate)))
        );
    }
}
