//! The auditor over all receivers: what the engine has open at a time and what leaves a virtual MTA, which no receiver
//! sees as a whole; and the bytes they took.

use super::audit::Auditor;
use super::plan::Zone;
use std::net::IpAddr;
use std::time::Duration;

/// A connection as the engine has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialled {
    vmta: Option<usize>,
    from: Option<IpAddr>,
    domain: usize,
    to: IpAddr,
}

impl Auditor {
    /// The engine has a connection more, to an address of a domain.
    pub fn dialled(&mut self, wire: u64, from: Option<IpAddr>, (domain, to): (usize, IpAddr)) {
        let of = |ip| self.plan.vmtas.iter().position(|vmta| vmta.sources.iter().any(|(own, _)| *own == ip));
        let new = Dialled { vmta: from.and_then(of), from, domain, to };
        self.dialled.insert(wire, new);
        let plan = std::rc::Rc::clone(&self.plan);
        let zone = plan.domains.get(domain).map(|domain| &domain.zone);
        let host = |to: IpAddr| match zone {
            Some(Zone::Mx(hosts)) => hosts.iter().position(|(_, _, addresses)| addresses.contains(&to)),
            _ => None,
        };
        let count = |like: &dyn Fn(&Dialled) -> bool| self.dialled.values().filter(|one| like(one)).count();
        let from_here = |one: &Dialled| one.domain == domain && one.from == from;
        let limits = plan.domains.get(domain).map(|domain| &domain.limits);
        let checks = [
            ("total-max-smtp-out", Some(plan.total), count(&|_| true)),
            (
                "max-smtp-out of a virtual MTA",
                new.vmta.and_then(|vmta| plan.vmtas[vmta].max_smtp_out),
                count(&|one| one.vmta == new.vmta),
            ),
            ("source-ip-max-smtp-out", limits.and_then(|limits| limits.from_source), count(&from_here)),
            (
                "mx-connection-limit",
                limits.and_then(|limits| limits.to_host).filter(|_| host(to).is_some()),
                count(&|one| from_here(one) && host(one.to) == host(to)),
            ),
            (
                "ip-connection-limit",
                limits.and_then(|limits| limits.to_address),
                count(&|one| from_here(one) && one.to == to),
            ),
        ];
        for (name, most, open) in checks {
            if let Some(most) = most.filter(|most| open > *most as usize) {
                self.breach(name, format!("{open} connections with {new:?}, at most {most}"));
            }
        }
    }

    pub fn hung_up(&mut self, wire: u64) {
        self.dialled.remove(&wire);
    }

    /// A receiver took so many bytes.
    pub fn took_bytes(&mut self, now: Duration, wire: u64, bytes: usize) {
        let file = self.wires.get(&wire).filter(|file| file.life == self.life);
        let Some(key) = file.map(|file| file.queue) else { return };
        self.queues.entry(key).or_default().bytes.push((now, bytes as u64));
    }

    /// The rates of virtual MTAs and the volumes of the present life.
    pub(super) fn check_wide(&mut self) {
        let plan = std::rc::Rc::clone(&self.plan);
        let mut found = Vec::new();
        for (of, vmta) in plan.vmtas.iter().enumerate() {
            let queues = || self.queues.iter().filter(|(key, _)| key.1 == of);
            if let Some((most, per)) = vmta.msg_rate {
                // When the engine sent it, whatever the way.
                let sent = |(domain, at): (usize, Duration)| {
                    (at.saturating_sub(plan.domains[domain].manners.latency), 1)
                };
                let attempts = queues().flat_map(|(key, queue)| queue.attempts.iter().map(|at| (key.0, *at)));
                let events = attempts.map(sent).collect();
                if let Some(text) = too_many(events, u64::from(most) + 1, per - JITTER) {
                    found.push(("max-smtp-msg-rate", vmta.name.clone(), text));
                }
            }
            if let Some((most, per)) = vmta.volume_rate {
                let events = queues().flat_map(|(_, queue)| queue.bytes.iter().copied()).collect();
                if let Some(text) = too_many(events, most, per) {
                    found.push(("max-smtp-data-volume-rate", vmta.name.clone(), text));
                }
            }
        }
        for (key, queue) in &self.queues {
            if let Some((most, per)) = self.limits(*key).volume_rate
                && let Some(text) = too_many(queue.bytes.clone(), most, per)
            {
                found.push(("max-data-volume-rate", self.queue_name(*key), text));
            }
            let Some((most, per)) = self.limits(*key).source_rate else { continue };
            for (source, (ip, _)) in plan.vmtas[key.1].sources.iter().enumerate() {
                let sent = queue.sent.iter().filter(|(from, _)| *from == source);
                let events = sent.map(|(_, at)| (*at, 1)).collect();
                if let Some(text) = too_many(events, u64::from(most) + 1, per - JITTER) {
                    let of = format!("{} from {ip}", self.queue_name(*key));
                    found.push(("source-ip-max-msg-rate", of, text));
                }
            }
        }
        found.into_iter().for_each(|(name, of, text)| self.breach(name, format!("{of}: {text}")));
        for queue in self.queues.values_mut() {
            queue.bytes.clear();
            queue.sent.clear();
        }
    }
}

/// What narrow pipes may add to the way of a command.
const JITTER: Duration = Duration::from_secs(1);

/// A window with more than `most`, if it is more than one event.
fn too_many(mut events: Vec<(Duration, u64)>, most: u64, per: Duration) -> Option<String> {
    events.sort_unstable();
    (0..events.len()).find_map(|first| {
        let window = events[first..].iter().take_while(|(at, _)| *at <= events[first].0 + per);
        let (sum, count) = window.fold((0, 0), |(sum, count), (_, n)| (sum + n, count + 1));
        (sum > most && count > 1)
            .then(|| format!("{sum} within {per:?} from {:?}, at most {most}", events[first].0))
    })
}

#[cfg(test)]
#[path = "audit_wide_tests.rs"]
mod tests;
