//! What was injected and what came of it, summed over seeds: without it nobody could tell what a clean run has seen.

use super::disk::DiskCounts;
use super::net::NetCounts;
use super::site::SiteCounts;
use super::world::{World, WorldCounts};
use std::collections::BTreeMap;
use std::fmt;

/// Counts by name, in the order of the report.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub seeds: u64,
    counts: BTreeMap<(usize, &'static str), u64>,
}

impl Totals {
    pub(super) fn of(world: &World) -> Totals {
        let WorldCounts {
            events,
            lives,
            kills,
            power_cuts,
            failed_logs,
            restarts,
            full_starts,
            recovered,
            submissions,
            refused,
            clock_jumps,
            orders,
            dns_failures,
        } = world.counts;
        let NetCounts { connections, refused: not_taken, unanswered, cut, bytes } = world.net;
        let SiteCounts {
            taken,
            refused_421,
            refused_4xx,
            refused_5xx,
            dropped,
            silent,
            slow,
            nonsense,
            in_doubt,
        } = world.site_counts;
        let DiskCounts { writes, syncs, failed, torn, full, recycled } = world.ground.disk.counts();
        let recipients = world.audit.recipients.values();
        let ends = recipients.clone().filter(|r| r.outcomes.iter().any(|d| d.is_final())).count() as u64;
        let repeats = recipients.map(|r| r.taken.len().saturating_sub(1) as u64).sum();
        let named = [
            ("events", events),
            ("lives of the engine", lives),
            ("kills", kills),
            ("power cuts", power_cuts),
            ("failed logs", failed_logs),
            ("restarts in order", restarts),
            ("starts without room", full_starts),
            ("recipients recovered", recovered),
            ("submissions", submissions),
            ("submissions refused for now", refused),
            ("recipients with an end", ends),
            ("messages taken by receivers", taken),
            ("recipients sent to twice, explained", repeats),
            ("clock jumps", clock_jumps),
            ("operator's orders", orders),
            ("DNS failures", dns_failures),
            ("connections", connections),
            ("connections refused", not_taken),
            ("connections unanswered", unanswered),
            ("connections cut at a byte", cut),
            ("bytes sent", bytes),
            ("421", refused_421),
            ("4xx", refused_4xx),
            ("5xx", refused_5xx),
            ("connections dropped by receivers", dropped),
            ("receivers fallen silent", silent),
            ("slow replies", slow),
            ("replies that are nonsense", nonsense),
            ("messages taken without a reply", in_doubt),
            ("writes", writes),
            ("syncs", syncs),
            ("writes and syncs failed", failed),
            ("files torn", torn),
            ("allocations without room", full),
            ("segments recycled", recycled),
        ];
        let counts = named.into_iter().enumerate().map(|(n, (name, count))| ((n, name), count)).collect();
        Totals { seeds: 1, counts }
    }

    pub fn add(&mut self, other: &Totals) {
        self.seeds += other.seeds;
        for (key, count) in &other.counts {
            *self.counts.entry(*key).or_default() += count;
        }
    }

    pub fn get(&self, name: &str) -> u64 {
        self.counts.iter().find(|((_, n), _)| *n == name).map_or(0, |(_, count)| *count)
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12} seeds", self.seeds)?;
        for ((_, name), count) in &self.counts {
            writeln!(f, "{count:>12} {name}")?;
        }
        Ok(())
    }
}
