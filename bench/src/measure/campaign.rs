//! What a campaign costs: rows read, made durable, rendered, delivered to a sink that takes everything, accounted.

use std::fmt::Write as _;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use clap::Args;

use super::lines::Lines;
use super::{BackEnd, load, start};
use crate::campaign::Campaign;
use crate::cpu::{self, CpuTime};
use crate::ground::Ground;
use crate::people::People;
use crate::site::{Counts, DoorConfig, Persona, Site, SiteConfig};

const PATIENCE: Duration = Duration::from_secs(300);

/// CPU-microseconds a message of a campaign to a fast sink, accounting included
#[derive(Clone, Debug, Args)]
pub struct Plan {
    #[arg(long, default_value_t = 300_000)]
    pub messages: u64,
    /// Octets of the body, about
    #[arg(long, default_value_t = 2048)]
    pub size: usize,
    /// Domains, each a queue
    #[arg(long, default_value_t = 12)]
    pub queues: u32,
    /// Connections of each queue
    #[arg(long, default_value_t = 20)]
    pub connections: u32,
    /// Round trips a message, 1 or 2; both unless told
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub round_trips: Option<u8>,
    /// Both unless told
    #[arg(long, value_enum)]
    pub runtime: Option<BackEnd>,
    /// Shards; one per core unless told
    #[arg(long)]
    pub threads: Option<u32>,
    /// Runs the engine on this CPU alone and the sink on the others: shows the rate of one core
    #[arg(long)]
    pub cpu: Option<usize>,
    /// Runs of each kind
    #[arg(long, default_value_t = 1)]
    pub repeat: u32,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Measured {
    pub back_end: String,
    pub messages: u64,
    /// All threads, from before the campaign came to its last accounting line.
    pub cpu: CpuTime,
    /// Of the threads that live all the time.
    pub threads: Vec<(String, Duration)>,
    /// Of the sink's thread.
    pub sink: Duration,
    /// As the sink saw it.
    pub seen: Counts,
    /// From the rename into the pickup directory to the last delivery.
    pub took: Duration,
    pub syncs: u64,
    pub bytes_stored: u64,
}

/// Runs everything asked for and prints it.
pub fn run(plan: &Plan) -> io::Result<()> {
    let trips = plan.round_trips.map_or_else(|| vec![1, 2], |one| vec![one]);
    for back_end in BackEnd::chosen(plan.runtime) {
        for trips in &trips {
            for _ in 0..plan.repeat {
                let before = load();
                let measured = once(plan, back_end, *trips)?;
                print!("{}", measured.told(*trips, plan.size, &before));
            }
        }
    }
    Ok(())
}

/// One campaign through one engine.
pub fn once(plan: &Plan, back_end: BackEnd, trips: u8) -> io::Result<Measured> {
    let mut ground = Ground::new()?;
    ground.runtime = back_end.name();
    if let Some(threads) = plan.threads {
        ground.add(&format!("threads {threads}"));
    }
    // The engine first: the sink's thread then starts where this program has been put.
    let addr = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let people = People::dealt(1, plan.queues);
    for name in people.domains() {
        let across = if trips == 1 { "yes" } else { "no" };
        let told = format!("  max-smtp-out {}\n  pipeline-across-data {across}", plan.connections);
        ground.route(name, addr, &told);
    }
    let engine = start(&ground, plan.cpu)?;
    let doors = vec![DoorConfig::new("sink", Persona::Fast).at(addr)];
    let site = Site::start(SiteConfig { doors, ..SiteConfig::default() })?;

    let mut campaign = Campaign::new("measured", people, plan.messages);
    campaign.size = plan.size;
    let staged = campaign.stage(&ground)?;
    let mut lines = Lines::of(&ground.path("acct"));

    let (cpu, threads, spool) = (engine.cpu()?, cpu::threads(engine.pid())?, engine.status()?.spool);
    let begun = crate::clock::now_us();
    campaign.hand_in(&ground, &staged)?;
    lines.reach(plan.messages, PATIENCE)?;
    let (cpu, threads) = (engine.cpu()? - cpu, since(&threads, cpu::threads(engine.pid())?));
    let sink = cpu::threads(std::process::id())?.into_iter().find(|t| t.0 == "site-0").unwrap_or_default().1;
    engine.wait_until_empty(PATIENCE);
    let after = engine.status()?.spool;
    engine.stop()?;
    let seen = site.stop().doors.remove(0).total;
    if seen.messages != plan.messages {
        return Err(io::Error::other(format!("{} of {} messages came", seen.messages, plan.messages)));
    }
    Ok(Measured {
        back_end: after.back_end,
        messages: plan.messages,
        cpu,
        threads,
        sink,
        took: Duration::from_micros(seen.last_us.saturating_sub(begun)),
        seen,
        syncs: after.syncs - spool.syncs,
        bytes_stored: after.bytes_written - spool.bytes_written,
    })
}

/// What each thread has used since `before`; those of one name together.
fn since(before: &[(String, Duration)], after: Vec<(String, Duration)>) -> Vec<(String, Duration)> {
    let mut sums: Vec<(String, Duration)> = Vec::new();
    for (name, time) in after {
        match sums.iter_mut().find(|s| s.0 == name) {
            Some(sum) => sum.1 += time,
            None => sums.push((name, time)),
        }
    }
    for (name, time) in before {
        if let Some(sum) = sums.iter_mut().find(|s| s.0 == *name) {
            sum.1 = sum.1.saturating_sub(*time);
        }
    }
    sums
}

impl Measured {
    fn per_message(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.messages as f64
    }

    fn told(&self, trips: u8, size: usize, load: &str) -> String {
        let mut told = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            told,
            "campaign: {} messages, body {size}, round trips {trips}, back end {}, load before {load}",
            self.messages, self.back_end
        );
        let _ = writeln!(
            told,
            "  CPU {:.2} us a message (user {:.2}, system {:.2})",
            self.cpu.per_message(self.messages),
            self.cpu.user_us as f64 / self.messages as f64,
            self.cpu.system_us as f64 / self.messages as f64
        );
        let mut threads: Vec<_> = self.threads.iter().map(|t| (self.per_message(t.1), &t.0)).collect();
        threads.sort_by(|a, b| b.0.total_cmp(&a.0));
        let threads: Vec<String> =
            threads.iter().filter(|t| t.0 >= 0.01).map(|(us, name)| format!("{name} {us:.2}")).collect();
        let _ = writeln!(told, "    of it: {}", threads.join(", "));
        let _ = writeln!(
            told,
            "  {:.0} messages a second over {:.2?} from the file to the last delivery; {:.0} between first and last; \
             sink {:.2} us a message, {} connections",
            self.messages as f64 / self.took.as_secs_f64(),
            self.took,
            self.seen.rate(),
            self.per_message(self.sink),
            self.seen.connections
        );
        let _ = writeln!(
            told,
            "  {} syncs, {:.0} messages each; {:.1} bytes stored a message",
            self.syncs,
            self.messages as f64 / self.syncs.max(1) as f64,
            self.bytes_stored as f64 / self.messages as f64
        );
        told
    }
}
