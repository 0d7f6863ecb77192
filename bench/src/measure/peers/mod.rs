//! The engine and the mail servers that Debian has, on the same work in one run: a source, the server, a sink, all on one
//! machine and at once.

mod server;
mod syncs;
mod tools;

use std::io;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::cgroup::Cgroup;
use crate::disk;
use crate::ground::programs;
use crate::mta::Kind;
use crate::wait::until;
pub(super) use server::Server;
pub use tools::Tools;

use super::{BackEnd, load};

const PATIENCE: Duration = Duration::from_secs(60);
/// Messages that find out how fast a server is, and fill its pools of processes.
const FIRST: u64 = 300;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// The source straight into the sink
    Floor,
    Uring,
    Blocking,
    Postfix,
    Exim,
    Opensmtpd,
}

impl Contender {
    const ALL: [Contender; 6] = [
        Contender::Floor,
        Contender::Postfix,
        Contender::Uring,
        Contender::Blocking,
        Contender::Exim,
        Contender::Opensmtpd,
    ];

    fn name(self) -> &'static str {
        match self {
            Contender::Floor => "no server",
            Contender::Uring => "posthaste, io_uring",
            Contender::Blocking => "posthaste, blocking",
            Contender::Postfix => "postfix",
            Contender::Exim => "exim",
            Contender::Opensmtpd => "opensmtpd",
        }
    }

    /// None for the floor, and for a server that is not there.
    fn start(self, to: std::net::SocketAddr, launcher: &[String]) -> io::Result<Option<Server>> {
        match self {
            Contender::Floor => Ok(None),
            Contender::Uring => Server::engine(BackEnd::Uring, to, launcher).map(Some),
            Contender::Blocking => Server::engine(BackEnd::Blocking, to, launcher).map(Some),
            Contender::Postfix => Server::peer(Kind::Postfix, to, launcher),
            Contender::Exim => Server::peer(Kind::Exim, to, launcher),
            Contender::Opensmtpd => Server::peer(Kind::OpenSmtpd, to, launcher),
        }
    }
}

/// The engine and the servers that Debian has, on the same work
#[derive(Clone, Debug, Args)]
pub struct Plan {
    /// Octets of a message
    #[arg(long, default_values_t = [2048, 10_240, 102_400])]
    pub size: Vec<u32>,
    #[arg(long, default_value_t = 50)]
    pub sessions: u32,
    /// About how long each server is measured
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// Postfix's source and sink, or ours; both unless told
    #[arg(long, value_enum)]
    pub tools: Option<Tools>,
    /// All unless told
    #[arg(long, value_enum)]
    pub only: Vec<Contender>,
    /// Messages for which the syncs are counted, by a trace of system calls; 0 for none
    #[arg(long, default_value_t = 500)]
    pub traced: u64,
}

/// What one of them did.
#[derive(Clone, Copy, Debug)]
struct Measured {
    who: Contender,
    messages: u64,
    /// Until the source had its last reply, and until nothing was queued any more.
    accepted: Duration,
    delivered: Duration,
    /// None for the floor.
    cost: Option<Cost>,
}

#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu_us: f64,
    peak: u64,
    /// Bytes that reached the device, by the whole machine.
    written: Option<disk::Written>,
    /// Acknowledged messages for each sync asked for.
    acks_per_sync: Option<f64>,
}

pub fn run(plan: &Plan) -> io::Result<()> {
    let dir = programs()?;
    let (median, most) = disk::sync_latency(&dir)?;
    println!("{}", super::machine());
    println!(
        "{} for the engine, {} for the others; a sync of 4 KiB takes {median:.0?} (99 %: {most:.0?})",
        disk::file_system(&dir)?,
        disk::file_system(std::path::Path::new("/tmp"))?
    );
    let wanted = |who: &Contender| plan.only.is_empty() || plan.only.contains(who);
    for tools in plan.tools.map_or_else(|| Tools::BOTH.to_vec(), |one| vec![one]) {
        for &size in &plan.size {
            let before = load();
            let mut table = Vec::new();
            for who in Contender::ALL.into_iter().filter(wanted) {
                table.extend(once(plan, tools, size, who)?);
            }
            println!("\n{size} octets, {} sessions, {}, load before {before}", plan.sessions, tools.told());
            print(&table);
        }
    }
    Ok(())
}

/// None when the server is not there.
fn once(plan: &Plan, tools: Tools, size: u32, who: Contender) -> io::Result<Option<Measured>> {
    let sink = tools.sink()?;
    let cgroup = Cgroup::new("posthaste-bench")?;
    let server = who.start(sink.addr, &cgroup.launcher())?;
    if server.is_none() && who != Contender::Floor {
        return Ok(None);
    }
    let to = server.as_ref().map_or(sink.addr, Server::addr);
    let send = |messages| tools.send(messages, plan.sessions, size, to);
    let settled = || server.as_ref().map_or(Ok(()), wait_until_empty);
    let first = Instant::now();
    send(FIRST)?;
    settled()?;
    let rate = FIRST as f64 / first.elapsed().as_secs_f64();
    let messages = ((rate * plan.seconds as f64) as u64).clamp(FIRST, 500_000);

    // What was written before is not to be counted.
    rustix::fs::sync();
    let directory = server.as_ref().map(Server::directory);
    let written = || directory.as_deref().and_then(|dir| disk::written(dir).ok().flatten());
    let (cpu, disk_before, watch) = (cgroup.cpu()?, written(), cgroup.watch());
    let begun = Instant::now();
    let accepted = send(messages)?;
    settled()?;
    let delivered = begun.elapsed();
    let cpu = cgroup.cpu()? - cpu;
    let written = disk_before.and_then(|before| Some(written()? - before));
    let peak = watch.peak();
    let of_engine = server.as_ref().and_then(|server| server.syncs(FIRST + messages));
    drop(server);
    let acks_per_sync = match (who, of_engine) {
        (_, Some(counted)) => Some(counted),
        (Contender::Floor, None) => None,
        (_, None) => syncs::traced(plan, tools, size, who)?,
    };
    let cost = Cost { cpu_us: cpu.per_message(messages), peak, written, acks_per_sync };
    let cost = (who != Contender::Floor).then_some(cost);
    Ok(Some(Measured { who, messages, accepted, delivered, cost }))
}

fn wait_until_empty(server: &Server) -> io::Result<()> {
    let empty = until(PATIENCE, || server.is_empty().then_some(()));
    empty.map_err(|waited| {
        io::Error::new(io::ErrorKind::TimedOut, format!("still mail after {waited:?}\n{}", server.log()))
    })
}

fn print(table: &[Measured]) {
    let rate = |m: &Measured| m.messages as f64 / m.delivered.as_secs_f64();
    let of = |who: Contender| table.iter().find(|m| m.who == who).map(rate);
    let against = |m: &Measured, other: Option<f64>| {
        other.map_or("-".into(), |other| format!("{:.2}", rate(m) / other))
    };
    println!(
        "{:<20} {:>8} {:>10} {:>11} {:>9} {:>9} {:>9} {:>8} {:>10} {:>8} {:>9}",
        "server",
        "messages",
        "accepted/s",
        "delivered/s",
        "x postfix",
        "x floor",
        "CPU us/m",
        "PSS MiB",
        "bytes/m",
        "flushes/m",
        "acks/sync"
    );
    for m in table {
        let share = |n: u64| n as f64 / m.messages as f64;
        let cost = m.cost;
        let cell = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        println!(
            "{:<20} {:>8} {:>10.0} {:>11.0} {:>9} {:>9} {:>9} {:>8} {:>10} {:>8} {:>9}",
            m.who.name(),
            m.messages,
            m.messages as f64 / m.accepted.as_secs_f64(),
            rate(m),
            against(m, of(Contender::Postfix)),
            against(m, of(Contender::Floor)),
            cell(cost.map(|c| format!("{:.1}", c.cpu_us))),
            cell(cost.map(|c| format!("{:.1}", c.peak as f64 / (1 << 20) as f64))),
            cell(cost.and_then(|c| c.written).map(|w| format!("{:.0}", share(w.bytes)))),
            cell(cost.and_then(|c| c.written).map(|w| format!("{:.3}", share(w.flushes)))),
            cell(cost.and_then(|c| c.acks_per_sync).map(|n| format!("{n:.2}"))),
        );
    }
}
