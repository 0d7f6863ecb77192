//! What an import costs: rows read, checked, deduplicated and made durable, and the memory it takes.

use std::fs;
use std::io;
use std::time::Duration;

use clap::Args;

use super::{BackEnd, load, only, sink};
use crate::campaign::Campaign;
use crate::clock::now_us;
use crate::cpu::Memory;
use crate::ground::Ground;
use crate::people::People;
use crate::wait::until;

const PATIENCE: Duration = Duration::from_secs(300);

/// Rows a second of a campaign's import, and the memory and disk it takes
#[derive(Clone, Debug, Args)]
pub struct Plan {
    #[arg(long, default_value_t = 1_000_000)]
    pub rows: u64,
    /// Domains, each a queue
    #[arg(long, default_value_t = 12)]
    pub queues: u32,
    /// Both unless told
    #[arg(long, value_enum)]
    pub runtime: Option<BackEnd>,
    #[arg(long, default_value_t = 1)]
    pub repeat: u32,
}

/// One import.
#[derive(Clone, Debug)]
pub struct Measured {
    pub back_end: String,
    pub rows: u64,
    pub bytes: u64,
    pub took: Duration,
    pub cpu_us: f64,
    pub grown: u64,
    pub grown_at_peak: u64,
    pub stored: u64,
    /// From the rename to the first delivery, where there was one.
    pub first_delivery: Option<Duration>,
}

pub fn run(plan: &Plan) -> io::Result<()> {
    for back_end in BackEnd::chosen(plan.runtime) {
        for _ in 0..plan.repeat {
            for deliver in [false, true] {
                let before = load();
                let m = once(plan, back_end, deliver)?;
                println!("{}", m.told(&before));
            }
        }
    }
    Ok(())
}

/// One import: alone, with every queue paused; or with `deliver` into a sink that takes everything.
pub fn once(plan: &Plan, back_end: BackEnd, deliver: bool) -> io::Result<Measured> {
    let mut ground = Ground::new()?;
    ground.runtime = back_end.name();
    let (site, addr) = sink()?;
    ground.route("*", addr, "  max-smtp-out 20");
    let engine = ground.start()?;
    if !deliver {
        engine.pause("*/*")?;
    }
    let campaign = Campaign::new("measured", People::dealt(1, plan.queues), plan.rows);
    let staged = campaign.stage(&ground)?;
    let bytes = fs::metadata(staged.join("recipients.csv"))?.len();
    let report = ground.path("reports").join("measured.report.json");

    let (cpu, memory, spool) = (engine.cpu()?, engine.memory()?, engine.status()?.spool);
    Memory::forget_peak(engine.pid())?;
    let begun = now_us();
    campaign.hand_in(&ground, &staged)?;
    until(PATIENCE, || report.is_file().then_some(()))
        .map_err(|waited| io::Error::new(io::ErrorKind::TimedOut, format!("no report after {waited:?}")))?;
    let took = Duration::from_micros(now_us() - begun);
    let (cpu, after) = (engine.cpu()? - cpu, engine.memory()?);
    let status = engine.status()?;
    let seen = only(&site.stats());
    if !deliver && status.smtp_queues.rcpts != plan.rows {
        let told = format!("{} of {} rows wait", status.smtp_queues.rcpts, plan.rows);
        return Err(io::Error::other(told));
    }
    Ok(Measured {
        back_end: status.spool.back_end,
        rows: plan.rows,
        bytes,
        took,
        cpu_us: cpu.per_message(plan.rows),
        grown: after.rss.saturating_sub(memory.rss),
        grown_at_peak: after.peak.saturating_sub(memory.rss),
        stored: status.spool.bytes_written - spool.bytes_written,
        first_delivery: (seen.first_us > 0)
            .then(|| Duration::from_micros(seen.first_us.saturating_sub(begun))),
    })
}

impl Measured {
    fn told(&self, load: &str) -> String {
        let rows = self.rows as f64;
        let how = match self.first_delivery {
            None => "queues paused".to_string(),
            Some(after) => format!("delivering, the first after {after:.2?}"),
        };
        format!(
            "import: {} rows of {:.1} bytes, {how}, back end {}, load before {load}\n  \
             {:.0} rows a second ({:.2?}), {:.2} CPU-us a row\n  \
             resident memory {:+.1} bytes a row, {:+.1} at the peak; {:.3} bytes stored for a byte of rows",
            self.rows,
            self.bytes as f64 / rows,
            self.back_end,
            rows / self.took.as_secs_f64(),
            self.took,
            self.cpu_us,
            self.grown as f64 / rows,
            self.grown_at_peak as f64 / rows,
            self.stored as f64 / self.bytes as f64
        )
    }
}
