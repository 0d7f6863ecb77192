//! The measurements, one noun a file. Each starts an engine of its own on ground of its own, watches it from outside, and
//! prints what it saw beside the load of the machine: figures taken on a busy machine are upper bounds.

pub mod backlog;
pub mod campaign;
pub mod http;
pub mod import;
pub mod intake;
pub mod latency;
pub mod lines;
pub mod peers;
pub mod priority;
pub mod scale;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::Command;

use clap::ValueEnum;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::engine::Engine;
use crate::ground::Ground;
use crate::site::{Counts, DoorConfig, Persona, Site, SiteConfig, SiteHandle, SiteStats};

/// How the engine is to write its spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackEnd {
    Uring,
    Blocking,
}

impl BackEnd {
    pub const BOTH: [BackEnd; 2] = [BackEnd::Uring, BackEnd::Blocking];

    /// The value of the directive `runtime`.
    pub fn name(self) -> &'static str {
        match self {
            BackEnd::Uring => "uring",
            BackEnd::Blocking => "blocking",
        }
    }

    /// What was asked for, or both.
    pub fn chosen(asked: Option<BackEnd>) -> Vec<BackEnd> {
        asked.map_or_else(|| BackEnd::BOTH.to_vec(), |one| vec![one])
    }
}

/// Starts the engine, on the CPU `cpu` alone if there is one; this program, and so the receiving sites that it starts
/// from then on, keeps to the others.
pub fn start(ground: &Ground, cpu: Option<usize>) -> io::Result<Engine> {
    let Some(cpu) = cpu else { return ground.start() };
    let mut others = CpuSet::new();
    (0..CpuSet::MAX_CPU).filter(|c| *c != cpu).for_each(|c| others.set(c));
    sched_setaffinity(None, &others)?;
    let mut launcher = Command::new("taskset");
    launcher.args(["--cpu-list", &cpu.to_string()]);
    ground.start_through(launcher)
}

/// A site that takes everything, and where it is.
pub fn sink() -> io::Result<(SiteHandle, SocketAddr)> {
    let doors = vec![DoorConfig::new("sink", Persona::Fast)];
    let site = Site::start(SiteConfig { doors, ..SiteConfig::default() })?;
    let addr = site.addr("sink");
    Ok((site, addr))
}

/// What a site with one door has counted.
pub fn only(stats: &SiteStats) -> Counts {
    stats.doors.first().map(|d| d.total.clone()).unwrap_or_default()
}

/// Processor, cores, memory, kernel.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        line.map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let memory: u64 = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores ({processor}), {} GiB, Linux {}", memory >> 20, kernel.trim())
}

/// The three load averages.
pub fn load() -> String {
    let told = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    told.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
