//! How long a message takes: to its `250`, and to the next hop.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use clap::Args;

use super::{BackEnd, load};
use crate::ground::Ground;
use crate::site::{DoorConfig, LedgerMode, Persona, Site, SiteConfig};
use crate::source::{self, Load, SourceConfig};
use crate::wait::until;

const PATIENCE: Duration = Duration::from_secs(120);

/// Time from the final dot to the `250`, and to the next hop
#[derive(Clone, Debug, Args)]
pub struct Plan {
    /// Messages of each kind
    #[arg(long, default_value_t = 3000)]
    pub messages: u64,
    /// Octets of a message
    #[arg(long, default_value_t = 2048)]
    pub size: usize,
    /// Messages a second while the way to the next hop is measured
    #[arg(long, default_value_t = 300)]
    pub rate: u32,
    /// Both unless told
    #[arg(long, value_enum)]
    pub runtime: Option<BackEnd>,
}

/// Microseconds, in order.
#[derive(Clone, Debug)]
pub struct Times(Vec<u64>);

impl Times {
    pub(super) fn new(mut all: Vec<u64>) -> Times {
        all.sort_unstable();
        Times(all)
    }

    /// What this share of them (0.0 to 1.0) stayed within.
    pub fn within(&self, share: f64) -> u64 {
        let at = (self.0.len().saturating_sub(1) as f64 * share).round() as usize;
        self.0.get(at).copied().unwrap_or(0)
    }

    fn told(&self) -> String {
        format!("median {} us, 99 % within {} us", self.within(0.5), self.within(0.99))
    }
}

/// Both kinds.
#[derive(Clone, Debug)]
pub struct Measured {
    pub back_end: String,
    pub acknowledged: Times,
    pub delivered: Times,
}

pub fn run(plan: &Plan) -> io::Result<()> {
    for back_end in BackEnd::chosen(plan.runtime) {
        let before = load();
        let measured = once(plan, back_end)?;
        println!(
            "latency: {} messages of {} octets, back end {}, load before {before}",
            plan.messages, plan.size, measured.back_end
        );
        println!("  final dot to 250, one connection, one at a time: {}", measured.acknowledged.told());
        println!(
            "  final dot to delivered, 4 connections, {} a second: {}",
            plan.rate,
            measured.delivered.told()
        );
    }
    Ok(())
}

pub fn once(plan: &Plan, back_end: BackEnd) -> io::Result<Measured> {
    let doors = vec![DoorConfig::new("sink", Persona::Fast)];
    let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Entries, ..SiteConfig::default() })?;
    let mut ground = Ground::new()?;
    ground.runtime = back_end.name();
    ground.route("*", site.addr("sink"), "  max-smtp-out 20");
    let engine = ground.start()?;
    let load = |name: &str| Load {
        messages: plan.messages,
        name: name.into(),
        size: plan.size,
        domains: vec!["d.example".into()],
        ..Load::default()
    };
    let one = SourceConfig { sessions: 1, ..SourceConfig::new(ground.listen, load("alone")) };
    let alone = source::start(one)?.join();
    engine.wait_until_empty(PATIENCE);
    let four = SourceConfig {
        sessions: 4,
        rate: Some(plan.rate),
        ..SourceConfig::new(ground.listen, load("steady"))
    };
    let steady = source::start(four)?.join();
    let wanted = (alone.acked.len() + steady.acked.len()) as u64;
    until(PATIENCE, || (site.stats().messages() >= wanted).then_some(())).map_err(|waited| {
        io::Error::new(io::ErrorKind::TimedOut, format!("not all delivered after {waited:?}"))
    })?;
    let back_end = engine.status()?.spool.back_end;
    engine.stop()?;
    let arrived: HashMap<String, u64> =
        site.ledger().deliveries.into_iter().map(|d| (d.id, d.at_us)).collect();
    let sent = load("steady");
    let delivered = steady.acked.iter().filter_map(|a| {
        let dot = a.at_us - u64::from(a.latency_us);
        Some(arrived.get(&sent.ledger_id(a.id))?.saturating_sub(dot))
    });
    Ok(Measured {
        back_end,
        acknowledged: Times::new(alone.acked.iter().map(|a| u64::from(a.latency_us)).collect()),
        delivered: Times::new(delivered.collect()),
    })
}
