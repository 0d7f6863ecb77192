//! The auditor over all receivers: what the engine has open at a time and what leaves a virtual MTA, which no receiver
//! sees as a whole; and the bytes they took.

use super::audit::Auditor;
use std::net::IpAddr;
use std::time::Duration;

impl Auditor {
    /// The engine has a connection more.
    pub fn dialled(&mut self, wire: u64, from: Option<IpAddr>) {
        let of = |ip| self.plan.vmtas.iter().position(|vmta| vmta.sources.iter().any(|(own, _)| *own == ip));
        self.dialled.insert(wire, from.and_then(of));
        let open = self.dialled.len();
        if open > self.plan.total as usize {
            let text = format!("{open} connections in all, at most {}", self.plan.total);
            self.breach("total-max-smtp-out", text);
        }
        let Some(vmta) = self.dialled[&wire] else { return };
        let open = self.dialled.values().filter(|of| **of == Some(vmta)).count();
        let vmta = &self.plan.vmtas[vmta];
        if let Some(most) = vmta.max_smtp_out.filter(|most| open > *most as usize) {
            let text = format!("{open} connections of {}, at most {most}", vmta.name);
            self.breach("max-smtp-out of a virtual MTA", text);
        }
    }

    pub fn hung_up(&mut self, wire: u64) {
        self.dialled.remove(&wire);
    }

    /// A receiver took so many bytes.
    pub fn took_bytes(&mut self, now: Duration, wire: u64, bytes: usize) {
        let Some(key) = self.wires.get(&wire).map(|file| file.queue) else { return };
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
        }
        found.into_iter().for_each(|(name, of, text)| self.breach(name, format!("{of}: {text}")));
        self.queues.values_mut().for_each(|queue| queue.bytes.clear());
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
