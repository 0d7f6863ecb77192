//! How long the engine was kept waiting for a processor. On a busy machine that comes on top of the time that an outcome
//! takes from the reply to the log.

use std::collections::{HashMap, VecDeque};
use std::fs;

use bench::clock::now_us;

/// What lies further back delays nothing any more.
const MEMORY_US: u64 = 1_000_000;
const EVERY_US: u64 = 50_000;

/// Watches the threads of one engine.
#[derive(Debug)]
pub struct Starved {
    pid: u32,
    /// For each look, the time that each thread had waited until then, in nanoseconds.
    looks: VecDeque<(u64, HashMap<String, u64>)>,
}

impl Starved {
    pub fn new(pid: u32) -> Starved {
        Starved { pid, looks: VecDeque::new() }
    }

    pub fn look(&mut self) {
        let now = now_us();
        if self.looks.back().is_some_and(|(at, _)| now < at + EVERY_US) {
            return;
        }
        while self.looks.len() > 1 && self.looks[1].0 + MEMORY_US < now {
            self.looks.pop_front();
        }
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return };
        let waited = tasks.flatten().filter_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            Some((name.trim().to_string(), stat.split_whitespace().nth(1)?.parse().ok()?))
        });
        self.looks.push_back((now, waited.collect()));
    }

    /// Microseconds that an outcome's way, a reactor and the spool, has waited of late.
    pub fn waited_us(&self) -> u64 {
        let (Some((_, first)), Some((_, last))) = (self.looks.front(), self.looks.back()) else { return 0 };
        let grown = |name: &str| last.get(name).map_or(0, |ns| ns - first.get(name).unwrap_or(&0).min(ns));
        let reactor = last.keys().filter(|name| name.starts_with("reactor")).map(|name| grown(name)).max();
        (reactor.unwrap_or(0) + grown("spool")) / 1000
    }
}
