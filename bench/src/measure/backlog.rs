//! What mail that waits costs: memory for each recipient and queue, CPU time while nothing is due, and how soon after a
//! restart the first of it leaves.

use std::io;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::{BackEnd, load, only, sink};
use crate::campaign::{Campaign, set_start};
use crate::clock::now_us;
use crate::ground::Ground;
use crate::people::People;
use crate::wait::until;

const PATIENCE: Duration = Duration::from_secs(600);
/// Rows a second that an import does at the very least, to set the time at which the mail is due.
const SLOW: u64 = 100_000;

/// Memory, idle CPU and restart of an engine with much mail waiting
#[derive(Clone, Debug, Args)]
pub struct Plan {
    #[arg(long, default_value_t = 1_000_000)]
    pub recipients: u64,
    /// Queues they are spread over: one run for each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1000, 1_000_000])]
    pub queues: Vec<u32>,
    /// Seconds over which the idle engine is watched
    #[arg(long, default_value_t = 10)]
    pub idle: u64,
    /// Both unless told
    #[arg(long, value_enum)]
    pub runtime: Option<BackEnd>,
}

/// One backlog.
#[derive(Clone, Debug)]
pub struct Measured {
    pub back_end: String,
    pub queues: u64,
    pub recipients: u64,
    /// Resident memory of the engine before the mail came, and with it.
    pub empty: u64,
    pub full: u64,
    pub import: Duration,
    /// Share of one core.
    pub idle: f64,
    /// From the start of the process.
    pub first_delivery: Duration,
    pub after_restart: u64,
}

pub fn run(plan: &Plan) -> io::Result<()> {
    for back_end in BackEnd::chosen(plan.runtime) {
        for queues in &plan.queues {
            let before = load();
            println!("{}", once(plan, back_end, *queues)?.told(&before));
        }
    }
    Ok(())
}

/// Mail that is due later is taken; the engine is watched, stopped, and started again when the mail is due.
pub fn once(plan: &Plan, back_end: BackEnd, queues: u32) -> io::Result<Measured> {
    let mut ground = Ground::new()?;
    ground.runtime = back_end.name();
    let (site, addr) = sink()?;
    ground.route("*", addr, "  max-smtp-out 20");
    let engine = ground.start()?;
    let campaign = Campaign::new("measured", People::dealt(1, queues), plan.recipients);
    let staged = campaign.stage(&ground)?;
    let due = SystemTime::now() + Duration::from_secs(plan.recipients / SLOW + plan.idle + 10);
    set_start(&staged, due)?;
    let empty = engine.memory()?.rss;
    let begun = now_us();
    campaign.hand_in(&ground, &staged)?;
    let waiting = until(PATIENCE, || {
        let status = engine.status().ok()?;
        (status.smtp_queues.rcpts == plan.recipients).then_some(status)
    });
    let status = waiting.map_err(|waited| {
        io::Error::new(io::ErrorKind::TimedOut, format!("not all rows wait after {waited:?}"))
    })?;
    let import = Duration::from_micros(now_us() - begun);

    let (cpu, since) = (engine.cpu()?, now_us());
    std::thread::sleep(Duration::from_secs(plan.idle));
    let idle = (engine.cpu()? - cpu).total().as_secs_f64() * 1e6 / (now_us() - since) as f64;
    let full = engine.memory()?.rss;
    engine.stop()?;
    let early = only(&site.stats()).messages;
    if early > 0 {
        return Err(io::Error::other(format!("{early} messages left before they were due")));
    }

    std::thread::sleep(due.duration_since(SystemTime::now()).unwrap_or_default());
    let begun = now_us();
    let engine = ground.start()?;
    let first = until(PATIENCE, || {
        let first = only(&site.stats()).first_us;
        (first > 0).then_some(first)
    });
    let first = first.map_err(|waited| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no delivery within {waited:?} of the restart"))
    })?;
    let after_restart = engine.memory()?.peak;
    engine.kill()?;
    Ok(Measured {
        back_end: status.spool.back_end,
        queues: status.smtp_queues.domains,
        recipients: plan.recipients,
        empty,
        full,
        import,
        idle,
        first_delivery: Duration::from_micros(first.saturating_sub(begun)),
        after_restart,
    })
}

impl Measured {
    fn told(&self, load: &str) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        format!(
            "backlog: {} recipients in {} queues, back end {}, load before {load}\n  \
             taken in {:.2?}; resident memory {:.1} MiB empty, {:.1} MiB with them: {:.1} bytes a recipient\n  \
             idle: {:.2} % of a core\n  \
             restart: first delivery {:.2?} after the process began, {:.1} MiB resident at most",
            self.recipients,
            self.queues,
            self.back_end,
            self.import,
            mib(self.empty),
            mib(self.full),
            (self.full.saturating_sub(self.empty)) as f64 / self.recipients as f64,
            self.idle * 100.0,
            self.first_delivery,
            mib(self.after_restart)
        )
    }
}
