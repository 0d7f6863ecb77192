//! How long a message waits while a campaign has all connections: one of a queue of higher priority, one of an equal
//! queue, and one of another job in the campaign's own queue.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use clap::Args;

use super::latency::Times;
use super::load;
use crate::campaign::Campaign;
use crate::ground::Ground;
use crate::people::People;
use crate::site::{Behaviour, DoorConfig, LedgerMode, Site, SiteConfig};
use crate::source::{self, Load, SourceConfig, SourceReport};
use crate::wait::until;

const PATIENCE: Duration = Duration::from_secs(120);

/// The streams, each of a message at a time: name, domain and `queue-priority`.
const STREAMS: [(&str, &str, u32); 3] =
    [("urgent", "urgent.example", 90), ("equal", "equal.example", 50), ("other-job", "news.example", 50)];

/// What a message waits for while a campaign has all connections
#[derive(Clone, Debug, Args)]
pub struct Plan {
    /// Recipients of the campaign, which is not waited for
    #[arg(long, default_value_t = 200_000)]
    pub recipients: u64,
    /// Outgoing connections in all
    #[arg(long, default_value_t = 4)]
    pub connections: u32,
    /// Milliseconds before each reply of the receiver
    #[arg(long, default_value_t = 50)]
    pub delay: u64,
    /// Messages of each stream
    #[arg(long, default_value_t = 60)]
    pub messages: u64,
    /// Of each stream in a second
    #[arg(long, default_value_t = 1)]
    pub rate: u32,
}

/// From the final dot to the receiver, by stream.
#[derive(Clone, Debug)]
pub struct Measured {
    pub waits: Vec<(&'static str, Times)>,
    /// Of the campaign, from the first to the last message of the streams.
    pub campaign: u64,
    /// Recipients that had their message twice.
    pub twice: usize,
    /// The most connections at a time that the receiver saw.
    pub connections: u32,
}

pub fn run(plan: &Plan) -> io::Result<()> {
    let before = load();
    let measured = once(plan)?;
    println!(
        "priority: campaign of {}, {} connections, {} ms a reply, {} a second of each stream, load before {before}",
        plan.recipients, plan.connections, plan.delay, plan.rate
    );
    for (name, waits) in &measured.waits {
        let ms = |share| waits.within(share) / 1000;
        println!("  {name}: median {} ms, 99 % within {} ms, all within {} ms", ms(0.5), ms(0.99), ms(1.0));
    }
    println!(
        "  campaign meanwhile: {} messages over at most {} connections; twice: {}",
        measured.campaign, measured.connections, measured.twice
    );
    Ok(())
}

pub fn once(plan: &Plan) -> io::Result<Measured> {
    let slow = Behaviour { delay_ms: plan.delay, ..Behaviour::default() };
    let doors = vec![DoorConfig::with("site", slow)];
    let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Entries, ..SiteConfig::default() })?;
    let mut ground = Ground::new()?;
    ground.add(&format!("total-max-smtp-out {}", plan.connections));
    for (_, domain, priority) in STREAMS {
        let directives = format!("  queue-priority {priority}\n  max-smtp-out {}", plan.connections);
        ground.route(domain, site.addr("site"), &directives);
    }
    let engine = ground.start()?;
    Campaign::new("campaign", People::new(1, &[("news.example", 1)]), plan.recipients).drop_into(&ground)?;
    let late =
        |what: &str, waited| io::Error::new(io::ErrorKind::TimedOut, format!("{what} after {waited:?}"));
    // Nearly all of it waits, and it has all connections.
    let waiting = || engine.status().ok().filter(|s| s.smtp_queues.rcpts * 10 >= plan.recipients * 9);
    until(PATIENCE, waiting).map_err(|waited| late("the campaign does not wait", waited))?;
    let busy = || (site.stats().doors[0].total.connections_now >= plan.connections).then_some(());
    until(PATIENCE, busy).map_err(|waited| late("not all connections are in use", waited))?;

    let before = site.stats().messages();
    let started: io::Result<Vec<_>> = STREAMS
        .iter()
        .map(|(name, domain, _)| {
            let load = stream(plan, name, domain);
            let one =
                SourceConfig { sessions: 1, rate: Some(plan.rate), ..SourceConfig::new(ground.listen, load) };
            source::start(one)
        })
        .collect();
    let sent: Vec<SourceReport> = started?.into_iter().map(|source| source.join()).collect();
    let wanted: usize = sent.iter().map(|report| report.acked.len()).sum();
    let arrived = || {
        let ledger = site.ledger();
        let of_streams = ledger.deliveries.iter().filter(|d| !d.id.starts_with("campaign")).count();
        (of_streams >= wanted).then_some(ledger)
    };
    let ledger = until(PATIENCE, arrived).map_err(|waited| late("not all delivered", waited))?;
    let connections = site.stats().doors[0].total.connections_max;
    engine.stop()?;

    let at: HashMap<&str, u64> = ledger.deliveries.iter().map(|d| (d.id.as_str(), d.at_us)).collect();
    let waits = STREAMS.iter().zip(&sent).map(|((name, domain, _), report)| {
        let load = stream(plan, name, domain);
        let waits = report.acked.iter().filter_map(|ack| {
            let dot = ack.at_us - u64::from(ack.latency_us);
            Some(at.get(load.ledger_id(ack.id).as_str())?.saturating_sub(dot))
        });
        (*name, Times::new(waits.collect()))
    });
    Ok(Measured {
        waits: waits.collect(),
        campaign: ledger.deliveries.len() as u64 - before - wanted as u64,
        twice: ledger.duplicates().len(),
        connections,
    })
}

/// A job of its own.
fn stream(plan: &Plan, name: &str, domain: &str) -> Load {
    Load {
        messages: plan.messages,
        name: name.into(),
        size: 1024,
        domains: vec![domain.into()],
        headers: vec![format!("x-job: {name}")],
        ..Load::default()
    }
}
