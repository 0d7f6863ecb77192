//! What was injected and what came of it, summed over seeds: without it nobody could tell what a clean run has seen.

use super::world::World;
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
        let (w, n, s) = (&world.counts, &world.net, &world.site_counts);
        let disk = world.ground.disk.counts();
        let recipients = world.audit.recipients.values();
        let ends = recipients.clone().filter(|r| r.outcomes.iter().any(|d| d.is_final())).count() as u64;
        let repeats = recipients.map(|r| r.taken.len().saturating_sub(1) as u64).sum();
        let named = [
            ("events", w.events),
            ("lives of the engine", w.lives),
            ("kills", w.kills),
            ("power cuts", w.power_cuts),
            ("failed logs", w.failed_logs),
            ("restarts in order", w.restarts),
            ("starts without room", w.full_starts),
            ("recipients recovered", w.recovered),
            ("submissions", w.submissions),
            ("submissions refused for now", w.refused),
            ("recipients with an end", ends),
            ("messages taken by receivers", s.taken),
            ("recipients sent to twice, explained", repeats),
            ("clock jumps", w.clock_jumps),
            ("operator's orders", w.orders),
            ("DNS failures", w.dns_failures),
            ("queues in backoff", w.backoffs),
            ("adaptive steps down", w.steps[0]),
            ("adaptive steps up", w.steps[1]),
            ("connections", n.connections),
            ("connections refused", n.refused),
            ("connections unanswered", n.unanswered),
            ("connections cut at a byte", n.cut),
            ("bytes sent", n.bytes),
            ("421", s.refused_421),
            ("4xx", s.refused_4xx),
            ("5xx", s.refused_5xx),
            ("connections dropped by receivers", s.dropped),
            ("receivers fallen silent", s.silent),
            ("slow replies", s.slow),
            ("replies that are nonsense", s.nonsense),
            ("messages taken without a reply", s.in_doubt),
            ("writes", disk.writes),
            ("syncs", disk.syncs),
            ("writes and syncs failed", disk.failed),
            ("files torn", disk.torn),
            ("allocations without room", disk.full),
            ("segments recycled", disk.recycled),
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
