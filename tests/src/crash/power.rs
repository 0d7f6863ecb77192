//! The power goes: a file system of our own is shut down under the engine, what was only in memory is gone, and the
//! engine starts again on what the device has (F05-F07).
//!
//! Metadata and buffered writes that were not synced are lost with the cut. Writes that went around the page cache
//! are on the device at once; that a device may keep those back as well is not shown here.

use std::io;
use std::time::Duration;

use super::Options;
use super::disk::Disk;
use super::inject::{self, Tamper};
use super::traffic::{Plan, Traffic};
use super::verdict::Verdict;
use bench::ground::Ground;

/// Outcomes are synced so often at least.
const COMMIT_INTERVAL: Duration = Duration::from_millis(50);

pub fn run(options: &Options) -> io::Result<Verdict> {
    let disk = Disk::new(options.fs, 768)?;
    let mut ground = Ground::on(disk.path())?;
    // The lying calls are those of the blocking back end.
    ground.runtime = if options.control { "blocking" } else { options.runtime.name() };
    // Small segments, so that cuts hit their making and recycling too.
    ground.add("segment-size 4M");
    let mut traffic = Traffic::start(ground, &Plan { sessions: options.sessions, ..Plan::default() })?;
    traffic.commit_interval(COMMIT_INTERVAL);
    let mut random = fastrand::Rng::with_seed(options.seed);
    let mut verdict = Verdict::new(&format!("power, {:?}, {}", options.fs, traffic.ground.runtime));
    for cycle in options.each_cycle() {
        traffic.pick_up(cycle % 2 == 1);
        let engine = if options.control {
            let command = inject::launcher(&Tamper::LyingSync, &traffic.ground.path("trace"))?;
            match traffic.ground.start_through(command) {
                Ok(engine) => engine,
                // What it is to start with was never written: that is loss, and enough of it.
                Err(e) if cycle > 0 => {
                    verdict.broken.add(format!("no start: {e}"));
                    return Ok(verdict);
                }
                Err(e) => return Err(e),
            }
        } else {
            traffic.engine()?
        };
        traffic.pass(options.moment(&mut random))?;
        traffic.look();
        traffic.ended(disk.cut()?);
        engine.kill()?;
        disk.remount()?;
        traffic.look_after_cut();
        verdict.cycles += 1;
        options.progress(&verdict, traffic.acked());
    }
    traffic.close(&mut verdict, false)?;
    Ok(verdict)
}
