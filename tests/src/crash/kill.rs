//! SIGKILL in the middle of the work, again and again (F01, F26, F28).

use std::io;

use super::Options;
use super::traffic::{Plan, Traffic};
use super::verdict::Verdict;
use bench::ground::Ground;

pub fn run(options: &Options) -> io::Result<Verdict> {
    let mut ground = Ground::new()?;
    ground.runtime = options.runtime.name();
    // Small segments, so that kills hit their making and recycling too.
    ground.add("segment-size 8M");
    let mut traffic =
        Traffic::start(ground, &Plan { sessions: options.sessions, http: true, ..Plan::default() })?;
    let mut random = fastrand::Rng::with_seed(options.seed);
    let mut verdict = Verdict::new("kill");
    for _ in options.each_cycle() {
        let engine = traffic.engine()?;
        traffic.pass(options.moment(&mut random))?;
        let at = engine.kill()?;
        traffic.ended((at, at));
        verdict.cycles += 1;
        options.progress(&verdict, traffic.acked());
    }
    traffic.close(&mut verdict, options.control)?;
    Ok(verdict)
}
