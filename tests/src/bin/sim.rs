//! `sim SEED`, `sim --trace SEED`, `sim --runs N [--from SEED]`, `sim --day [RECIPIENTS]`: the simulator. Ends with 0 when every promise was kept, with
//! 1 when one was broken, with 2 when it was not understood.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;
use tests::sim::plan::Plan;
use tests::sim::{self, Story};

const USAGE: &str =
    "usage: sim SEED | sim --trace SEED | sim --runs N [--from SEED] | sim --day [RECIPIENTS]";
/// Events printed of a failing seed.
const LAST: usize = 60;

enum Asked {
    One(u64),
    Trace(u64),
    Runs { count: u64, from: u64 },
    Day(usize),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match parse(&arguments) {
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Some(Asked::One(seed)) => one(seed),
        Some(Asked::Trace(seed)) => {
            let story = sim::run(seed, true);
            story.trace.iter().for_each(|line| println!("{line}"));
            report(&story)
        }
        Some(Asked::Runs { count, from }) => runs(count, from),
        Some(Asked::Day(recipients)) => day(recipients),
    }
}

fn parse(arguments: &[String]) -> Option<Asked> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--trace", seed] => seed.parse().ok().map(Asked::Trace),
        ["--day"] => Some(Asked::Day(1_000_000)),
        ["--day", recipients] => recipients.parse().ok().map(Asked::Day),
        ["--runs", count] => count.parse().ok().map(|count| Asked::Runs { count, from: 1 }),
        ["--runs", count, "--from", from] => {
            Some(Asked::Runs { count: count.parse().ok()?, from: from.parse().ok()? })
        }
        [seed] => seed.parse().ok().map(Asked::One),
        _ => None,
    }
}

fn one(seed: u64) -> ExitCode {
    let story = sim::run(seed, false);
    print!("{}", story.totals);
    report(&story)
}

fn report(story: &Story) -> ExitCode {
    if story.breaches.is_empty() {
        return ExitCode::SUCCESS;
    }
    print!("{}", sim::failure(story, LAST));
    ExitCode::from(1)
}

/// A day of a campaign to so many recipients.
fn day(recipients: usize) -> ExitCode {
    let begun = Instant::now();
    let story = sim::run_plan(Rc::new(Plan::day(recipients)), false);
    print!("{}", story.totals);
    for breach in &story.breaches {
        println!("{} broken at {:?}: {}", breach.promise, breach.at, breach.text);
    }
    let (hours, taken) = (story.lasted.as_secs_f64() / 3600.0, begun.elapsed().as_secs_f64());
    println!("{recipients} recipients, {hours:.1} h in {taken:.1} s");
    ExitCode::from(u8::from(!story.breaches.is_empty()))
}

fn runs(count: u64, from: u64) -> ExitCode {
    let begun = Instant::now();
    let seeds: Vec<u64> = (from..from.saturating_add(count)).collect();
    let (totals, failed) = sim::run_all(&seeds, |story| print!("{}", sim::failure(story, LAST)));
    print!("{totals}");
    println!("{count} seeds from {from}, {failed} failed, in {:.1} s", begun.elapsed().as_secs_f64());
    ExitCode::from(u8::from(failed > 0))
}
