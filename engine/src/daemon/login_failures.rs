//! Failed logins by client, for `smtp-max-auth-failure-rate`: after so many, counted from the first, nothing that the
//! client says of itself is looked at until the time is over (A24).

use crate::base::Time;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use vmta_config::Rate;

/// Clients that are remembered. Beyond that, one of them is forgotten for each new one.
const MAX_CLIENTS: usize = 65_536;

#[derive(Debug, Default)]
pub struct LoginFailures(Mutex<HashMap<IpAddr, Failed>>);

#[derive(Clone, Copy, Debug)]
struct Failed {
    first: Time,
    count: u32,
}

impl LoginFailures {
    /// Whether `client` has failed too often to be listened to.
    pub fn is_locked(&self, client: IpAddr, rate: Rate, now: Time) -> bool {
        let Rate::Per { count, per } = rate else { return false };
        let clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.get(&who(client)).is_some_and(|failed| failed.counts(per, now) && failed.count >= count)
    }

    /// `client` has failed once more.
    pub fn note(&self, client: IpAddr, rate: Rate, now: Time) {
        let Rate::Per { per, .. } = rate else { return };
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&who(client)) {
            clients.retain(|_, failed| failed.counts(per, now));
            let one = (clients.len() >= MAX_CLIENTS).then(|| clients.keys().next().copied()).flatten();
            if let Some(one) = one {
                clients.remove(&one);
            }
        }
        let failed = clients.entry(who(client)).or_insert(Failed { first: now, count: 0 });
        if !failed.counts(per, now) {
            *failed = Failed { first: now, count: 0 };
        }
        failed.count += 1;
    }
}

impl Failed {
    fn counts(self, per: Duration, now: Time) -> bool {
        now < self.first + per
    }
}

/// Whoever has one IPv6 address has the 2^64 beside it.
fn who(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::Per { count: 3, per: Duration::from_secs(60) };

    fn at(second: u64) -> Time {
        Time::from_millis(second * 1000)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn counted_from_the_first_failure() {
        let failures = LoginFailures::default();
        for second in [0, 50, 59] {
            assert!(!failures.is_locked(ip("192.0.2.1"), RATE, at(second)));
            failures.note(ip("192.0.2.1"), RATE, at(second));
        }
        assert!(failures.is_locked(ip("192.0.2.1"), RATE, at(59)));
        assert!(!failures.is_locked(ip("192.0.2.2"), RATE, at(59)));
        assert!(!failures.is_locked(ip("192.0.2.1"), Rate::Unlimited, at(59)));
        assert!(!failures.is_locked(ip("192.0.2.1"), RATE, at(60)));
        failures.note(ip("192.0.2.1"), RATE, at(60));
        assert!(!failures.is_locked(ip("192.0.2.1"), RATE, at(60)));
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let failures = LoginFailures::default();
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"] {
            failures.note(ip(host), RATE, at(0));
        }
        assert!(failures.is_locked(ip("2001:db8::4"), RATE, at(1)));
        assert!(!failures.is_locked(ip("2001:db8:0:1::1"), RATE, at(1)));
    }

    #[test]
    fn the_crowd_that_is_remembered_is_bounded() {
        let failures = LoginFailures::default();
        for n in 0..MAX_CLIENTS as u32 + 100 {
            failures.note(IpAddr::from(n.to_be_bytes()), RATE, at(0));
        }
        assert!(failures.0.lock().unwrap().len() <= MAX_CLIENTS);
    }
}
