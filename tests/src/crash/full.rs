//! The disk fills up while mail comes in, and is freed again: new mail is put off with 452, what was taken goes on, what
//! happened to it is recorded, and mail is taken again within seconds of the space (F09-F11, R7).

use std::io;
use std::time::{Duration, Instant};

use super::Options;
use super::disk::Disk;
use super::traffic::{Plan, Traffic};
use super::verdict::{Times, Verdict};
use bench::ground::Ground;

/// Until the first 452, and until everything waiting is delivered.
const PATIENCE: Duration = Duration::from_secs(60);
/// F11.
const BACK_WITHIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

pub fn run(options: &Options) -> io::Result<Verdict> {
    let disk = Disk::new(options.fs, 400)?;
    let mut ground = Ground::on(disk.path())?;
    ground.runtime = options.runtime.name();
    ground.add("segment-size 4M");
    let mut traffic = Traffic::start(ground, &Plan { sessions: options.sessions, ..Plan::default() })?;
    let mut random = fastrand::Rng::with_seed(options.seed);
    let mut verdict = Verdict::new("full");
    let mut back = Times::default();
    let mut engine = traffic.engine()?;
    for cycle in options.each_cycle() {
        traffic.pass(options.moment(&mut random))?;
        let before = traffic.replies(452).0;
        if !options.control {
            disk.fill()?;
        }
        let refused = pass_until(&mut traffic, |traffic| traffic.replies(452).0 > before)?;
        let (_, text) = traffic.replies(452);
        if refused.is_none() || !text.starts_with("4.3.1") {
            verdict
                .broken
                .add(format!("the disk is full, and mail was not put off with 452 4.3.1: {text:?}"));
        }
        if pass_until(&mut traffic, |traffic| {
            engine.status().is_ok_and(|s| s.smtp_queues.rcpts == 0) || traffic.acked() == 0
        })?
        .is_none()
        {
            verdict.broken.add("what was taken is not delivered while the disk is full");
        }
        // Every other time the engine ends meanwhile: it has to start on the full disk, and nothing goes out again.
        if cycle % 2 == 1 {
            std::thread::sleep(Duration::from_millis(300));
            engine.kill()?;
            engine = traffic.engine()?;
        }
        let (acked, freed) = (traffic.acked(), Instant::now());
        if !options.control {
            disk.free()?;
        }
        match pass_until(&mut traffic, |traffic| traffic.acked() > acked)? {
            Some(()) => back.add(freed.elapsed()),
            None => verdict.broken.add("no mail is taken although there is space"),
        }
        if freed.elapsed() > BACK_WITHIN {
            verdict.broken.add(format!("mail is taken again {:?} after there was space", freed.elapsed()));
        }
        verdict.cycles += 1;
        options.progress(&verdict, traffic.acked());
    }
    verdict.also("replies 452", traffic.replies(452).0);
    verdict.also("taken again after, median, ms", back.median());
    verdict.also("taken again after, max, ms", back.max());
    traffic.hush();
    engine.stop()?;
    traffic.close(&mut verdict, false)?;
    Ok(verdict)
}

/// Lets mail flow until it is so; `None` when it never is.
fn pass_until(traffic: &mut Traffic, so: impl Fn(&Traffic) -> bool) -> io::Result<Option<()>> {
    let begun = Instant::now();
    while !so(traffic) {
        if begun.elapsed() > PATIENCE {
            return Ok(None);
        }
        traffic.pass(LOOK)?;
    }
    Ok(Some(()))
}
