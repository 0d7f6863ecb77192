//! What is remembered of a receiving host, by address: extensions it offers and does not master, and that it does not
//! answer at all.

use crate::base::Time;
use crate::smtp::client::{ClientOptions, Retreat, StartTls};
use hashbrown::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a retreat lasts (S16).
const MEMORY: Duration = Duration::from_secs(3600);
/// How long other hosts are tried before one that did not answer (RFC 5321 5.1 leaves it open).
const DEAD: Duration = Duration::from_secs(300);
/// Hosts remembered; beyond it the memory starts afresh (a hostile DNS must not fill it).
const MOST: usize = 100_000;

#[derive(Clone, Copy, Debug)]
struct Site {
    no_pipelining: Time,
    not_across_data: Time,
    no_chunking: Time,
    in_clear: Time,
    dead: Time,
}

const NOTHING: Site = Site {
    no_pipelining: Time::ZERO,
    not_across_data: Time::ZERO,
    no_chunking: Time::ZERO,
    in_clear: Time::ZERO,
    dead: Time::ZERO,
};

#[derive(Debug, Default)]
pub struct Sites {
    sites: HashMap<SocketAddr, Site>,
}

impl Sites {
    fn entry(&mut self, at: SocketAddr) -> &mut Site {
        if self.sites.len() >= MOST {
            self.sites.clear();
        }
        self.sites.entry(at).or_insert(NOTHING)
    }

    pub fn retreat(&mut self, at: SocketAddr, retreat: Retreat, now: Time) {
        let site = self.entry(at);
        let until = now + MEMORY;
        match retreat {
            Retreat::AcrossData => site.not_across_data = until,
            Retreat::Pipelining => site.no_pipelining = until,
            Retreat::Chunking => site.no_chunking = until,
        }
    }

    /// TLS failed where it was opportunistic: the next connection is made without (S21).
    pub fn clear_only(&mut self, at: SocketAddr, now: Time) {
        self.entry(at).in_clear = now + MEMORY;
    }

    /// No connection could be made.
    pub fn dead(&mut self, at: SocketAddr, now: Time) {
        self.entry(at).dead = now + DEAD;
    }

    /// A connection was made.
    pub fn answers(&mut self, at: SocketAddr) {
        if let Some(site) = self.sites.get_mut(&at) {
            site.dead = Time::ZERO;
        }
    }

    pub fn is_dead(&self, at: SocketAddr, now: Time) -> bool {
        self.sites.get(&at).is_some_and(|site| site.dead > now)
    }

    /// Takes out of `options` what the host has shown not to master.
    pub fn restrain(&self, at: SocketAddr, now: Time, options: &mut ClientOptions) {
        let Some(site) = self.sites.get(&at) else { return };
        options.ignore_pipelining |= site.no_pipelining > now;
        options.pipeline_across_data &= site.not_across_data <= now;
        options.ignore_chunking |= site.no_chunking > now;
        if site.in_clear > now && !options.starttls.is_required() {
            options.starttls = StartTls::Off;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retreat_lasts_an_hour_and_is_the_host_s_alone() {
        let mut sites = Sites::default();
        let (one, other) = ("192.0.2.1:25".parse().unwrap(), "192.0.2.2:25".parse().unwrap());
        sites.retreat(one, Retreat::Pipelining, Time::ZERO);
        let restrained = |at, now| {
            let mut options = ClientOptions::new("helo.example");
            sites.restrain(at, now, &mut options);
            options.ignore_pipelining
        };
        assert!(restrained(one, Time::from_millis(3_599_999)));
        assert!(!restrained(one, Time::from_millis(3_600_000)));
        assert!(!restrained(other, Time::ZERO));
    }

    #[test]
    fn a_dead_host_is_dead_for_a_while_or_until_it_answers() {
        let mut sites = Sites::default();
        let at = "192.0.2.1:25".parse().unwrap();
        assert!(!sites.is_dead(at, Time::ZERO));
        sites.dead(at, Time::ZERO);
        assert!(sites.is_dead(at, Time::from_millis(299_999)));
        assert!(!sites.is_dead(at, Time::from_millis(300_000)));
        sites.answers(at);
        assert!(!sites.is_dead(at, Time::ZERO));
    }

    #[test]
    fn clear_text_is_never_used_where_tls_is_required() {
        let mut sites = Sites::default();
        let at = "192.0.2.1:25".parse().unwrap();
        sites.clear_only(at, Time::ZERO);
        for (before, after) in
            [(StartTls::Opportunistic, StartTls::Off), (StartTls::Required, StartTls::Required)]
        {
            let mut options = ClientOptions { starttls: before, ..ClientOptions::new("helo.example") };
            sites.restrain(at, Time::from_millis(1), &mut options);
            assert_eq!(options.starttls, after);
        }
    }
}
