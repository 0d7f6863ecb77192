//! A day of a large campaign without faults: what the simulator can do in bulk.

use super::plan::{Domain, Door, Limits, Manners, Plan, Vmta, Work, Zone};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Domains that the recipients are spread over.
const DOMAINS: usize = 12;
const DAY: Duration = Duration::from_secs(86_400);

impl Plan {
    /// One campaign to so many recipients, at rates that make it last most of a day.
    pub fn day(recipients: usize) -> Plan {
        // One in twenty minutes is to spare.
        let a_minute = (recipients / DOMAINS / 1368 + 1) as u32;
        let domains: Vec<Domain> = (0..DOMAINS).map(|n| domain(n, a_minute)).collect();
        let address = |n: usize| format!("r0x{n}@{}", domains[n % DOMAINS].name);
        let campaign = Work {
            id: 0,
            at: Duration::from_secs(1),
            door: Door::Campaign,
            vmta: "v1".to_owned(),
            job: "day".to_owned(),
            recipients: (0..recipients).map(address).collect(),
            message: Vec::new(),
            start_at: None,
        };
        let source = (IpAddr::from([10, 1, 0, 1]), "v1.sender.example".to_owned());
        let mut plan = Plan {
            seed: 0,
            config: String::new(),
            domains,
            vmtas: vec![Vmta { name: "v1".to_owned(), sources: vec![source], ..Vmta::default() }],
            pools: Vec::new(),
            total: 100,
            works: vec![campaign],
            troubles: Vec::new(),
            disk: BTreeMap::new(),
            acceptances: BTreeMap::new(),
            calm: DAY,
            shards: vec![2],
            segment_size: 32 << 20,
            spare: 3,
            commit_deadline: Duration::from_secs(60),
        };
        plan.config = plan.text();
        plan
    }
}

fn domain(n: usize, a_minute: u32) -> Domain {
    let limits = Limits {
        max_smtp_out: 4,
        msg_rate: Some((a_minute, Duration::from_secs(60))),
        connect_rate: None,
        volume_rate: None,
        from_source: None,
        source_rate: None,
        to_host: None,
        to_address: None,
        msg_per_connection: 0,
        rcpt_per_message: 1,
        retry_recipients_after: Duration::from_secs(600),
        bounce_after: 4 * DAY,
        backoff: None,
    };
    let manners = Manners {
        latency: Duration::from_millis(20 + 10 * n as u64),
        pipelining: true,
        chunking: false,
        no_ehlo: false,
        connections: 1000,
        rate: 0,
        greylist: None,
        unknown: 2,
        full: 0,
        chaos: 0,
    };
    let directives = format!(
        " max-smtp-out 4\n max-msg-rate {a_minute}/m\n max-rcpt-per-message 1\n retry-recipients-after 10m\n \
         bounce-after 4d\n connection-idle-timeout 60s\n use-starttls no\n smtp-hosts [8.{n}.0.1]\n"
    );
    let zone = Zone::Fixed(IpAddr::from([8, n as u8, 0, 1]));
    Domain { name: format!("d{n}.example"), zone, limits, manners, directives }
}
