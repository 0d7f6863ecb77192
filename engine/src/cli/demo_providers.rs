//! The six mailbox providers of the demonstration: who is simulated where, and how Posthaste is configured for each.

use super::demo::SummaryRow;
use bench::people::People;
use bench::site::{Behaviour, DoorConfig, DoorStats, Fate, Persona, Site, SiteConfig, SiteHandle};
use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Virtual MTAs of the demonstration: name, source address, HELO name.
pub const VMTAS: [(&str, Ipv4Addr, &str); 3] = [
    ("news-1", Ipv4Addr::new(127, 0, 0, 11), "mta1.news.example"),
    ("news-2", Ipv4Addr::new(127, 0, 0, 12), "mta2.news.example"),
    ("news-3", Ipv4Addr::new(127, 0, 0, 13), "mta3.news.example"),
];
/// The pool they are in.
pub const POOL: &str = "news";

/// Decides who the recipients are and what becomes of each.
const SEED: u64 = 2026;

/// A provider and the limits that Posthaste keeps towards it. Limits hold for each queue `domain/vmta`, so that the
/// provider sees three times as much over all source addresses.
#[derive(Clone, Copy, Debug)]
pub struct Provider {
    pub name: &'static str,
    pub domain: &'static str,
    persona: Persona,
    /// Recipients of a hundred.
    share: u32,
    /// `max-smtp-out`
    connections: u32,
    /// `max-msg-rate`, per second.
    rate: u32,
    /// `max-msg-per-connection`; 0 is no limit.
    per_connection: u32,
    /// `retry-recipients-after`, seconds.
    retry: u32,
}

/// The rates are such that 100,000 recipients take about a minute, Orange being the slowest, as it is.
pub const PROVIDERS: [Provider; 6] = [
    provider("Gmail", "gmail.example", Persona::Gmail, 42).limits(10, 350).retry(2),
    provider("Yahoo", "yahoo.example", Persona::Yahoo, 18).limits(6, 150).per_connection(50).retry(3),
    provider("Microsoft", "outlook.example", Persona::Microsoft, 20).limits(8, 200).retry(3),
    provider("Orange", "orange.example", Persona::Orange, 4).limits(2, 25).per_connection(100).retry(3),
    provider("GMX", "gmx.example", Persona::Gmx, 9).limits(4, 80).per_connection(200).retry(2),
    // Greylisted for three seconds; the first attempts count for the rate as well.
    provider("others", "smallhost.example", Persona::Generic, 7).limits(5, 120).retry(4),
];

const fn provider(name: &'static str, domain: &'static str, persona: Persona, share: u32) -> Provider {
    Provider { name, domain, persona, share, connections: 1, rate: 1, per_connection: 0, retry: 1 }
}

impl Provider {
    const fn limits(self, connections: u32, rate: u32) -> Provider {
        Provider { connections, rate, ..self }
    }

    const fn per_connection(self, per_connection: u32) -> Provider {
        Provider { per_connection, ..self }
    }

    const fn retry(self, retry: u32) -> Provider {
        Provider { retry, ..self }
    }

    fn behaviour(&self) -> Behaviour {
        let mut behaviour = self.persona.behaviour();
        let full = behaviour.wording.full.replace("552", "550");
        for rule in &mut behaviour.fates {
            // 552 to RCPT means "later" (RFC 5321 4.5.3.1.10), and a mailbox that stays full would be tried until
            // `bounce-after`, long after everybody has stopped watching.
            if rule.fate == Fate::Full {
                rule.fate = Fate::Reply(full.clone());
            }
        }
        behaviour
    }

    /// What the configuration says about it.
    pub fn directives(&self, at: SocketAddr) -> String {
        let mut text = format!("<domain {}>\n    smtp-hosts [{}]:{}\n", self.domain, at.ip(), at.port());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    max-smtp-out {}\n    max-msg-rate {}/s", self.connections, self.rate);
        if self.per_connection > 0 {
            let _ = writeln!(text, "    max-msg-per-connection {}", self.per_connection);
        }
        let _ = writeln!(text, "    retry-after 2s\n    retry-recipients-after {}s\n</domain>", self.retry);
        text
    }
}

/// Starts the providers, each on an address of its own and a free port.
pub fn start_site() -> io::Result<SiteHandle> {
    let door = |(i, provider): (usize, &Provider)| {
        let at = SocketAddr::from(([127, 0, 1, i as u8 + 1], 0));
        DoorConfig::with(provider.domain, provider.behaviour()).at(at)
    };
    let doors = PROVIDERS.iter().enumerate().map(door).collect();
    Site::start(SiteConfig { doors, seed: SEED, threads: 2, ..SiteConfig::default() })
}

/// The recipients.
pub fn people() -> People {
    let shares: Vec<(&str, u32)> = PROVIDERS.iter().map(|p| (p.domain, p.share)).collect();
    People::new(SEED, &shares)
}

/// The provider's side of the summary: what it counted, and the limits.
pub fn seen(provider: &Provider, stats: &DoorStats) -> SummaryRow {
    let (mut connections, mut peak) = (0, 0);
    for source in stats.sources.values() {
        connections = connections.max(u64::from(source.connections_max));
        peak = peak.max(source.mails_max_per_second);
    }
    SummaryRow {
        connections: (connections, u64::from(provider.connections)),
        peak: (peak, u64::from(provider.rate)),
        took: Duration::from_micros(stats.total.last_us.saturating_sub(stats.total.first_us)),
        ..SummaryRow::default()
    }
}
