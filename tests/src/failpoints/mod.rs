//! Walks failpoints: an engine is started again and again on the same ground, each time armed to die at another
//! point, while mail comes in by SMTP, through the pickup directory and as campaigns, and goes out to sites that
//! accept, put off, refuse or break off. Afterwards one that is not armed delivers what is left, and the books are
//! closed: what was sent, what was received, and what the accounting files say.

mod books;
mod traffic;

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bench::clock::now_us;
use bench::people::People;
use rustix::process::Signal;
use serde_json::json;

use bench::campaign::Campaign;
use bench::engine::Engine;
use bench::ground::Ground;
use bench::wait::until;
use books::Books;
use traffic::{Traffic, drop_files};

/// How long a point may take to be reached.
const PATIENCE: Duration = Duration::from_secs(30);
/// An engine that fails or panics may deliver until it is gone; an end stands for so much time around it.
const STEP_US: usize = 100_000;
/// Rows of a campaign: several groups.
const ROWS: u64 = 2500;

/// What has to happen so that the point is reached; mail flows anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Mail,
    Campaign,
    /// `rotate acct`, again and again.
    Rotation,
    /// SIGTERM to an engine that is ready.
    Stop,
    /// Another size of segments than before.
    Resize,
}

/// What an engine does when it has reached its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Dies as by SIGKILL.
    Killed,
    /// Aborts, after a panic.
    Aborted,
    /// Ends by itself with this exit status.
    Exits(i32),
    /// Goes on; then it is killed.
    GoesOn,
}

/// A point, at which time of reaching it something is done there, and what comes of it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub point: &'static str,
    pub at: u32,
    pub need: Need,
    pub action: &'static str,
    pub end: End,
}

/// The engine dies there.
pub const fn case(point: &'static str, at: u32) -> Case {
    Case { point, at, need: Need::Mail, action: "abort", end: End::Killed }
}

/// The same, if something else happens.
pub const fn needs(need: Need, point: &'static str, at: u32) -> Case {
    Case { need, ..case(point, at) }
}

/// Something else is done there.
pub const fn does(action: &'static str, point: &'static str, at: u32, end: End) -> Case {
    Case { action, end, ..case(point, at) }
}

/// Lets an engine die at each point in turn.
///
/// # Panics
/// When a point is not reached, or anything that was acknowledged is lost, altered or doubled without excuse.
pub fn walk(cases: &[Case], runtime: &'static str) {
    let site = traffic::site().expect("loopback");
    let campaigns = campaigns(cases);
    let mut ground = traffic::ground(&site, campaigns.len()).expect("a directory");
    ground.runtime = runtime;
    let traffic = Traffic::start(&ground).expect("loopback");
    let (over, dropped) = (AtomicBool::new(false), AtomicU64::new(0));
    let kills = std::thread::scope(|scope| {
        scope.spawn(|| drop_files(&ground, &traffic.picks, &over, &dropped));
        let mut coming = campaigns.iter();
        let deaths = cases.iter().map(|case| {
            if case.need == Need::Campaign {
                let campaign = coming.next().expect("there is one for each that needs one");
                campaign.drop_into(&ground).map_err(|e| e.to_string())?;
            }
            die_at(case, &ground)
        });
        let deaths: Result<Vec<Vec<u64>>, String> = deaths.collect();
        over.store(true, Ordering::Relaxed);
        traffic.stop();
        deaths
    });
    let kills = kills.unwrap_or_else(|why| panic!("{why}")).concat();
    let last = ground.start().expect("an engine that is not armed starts");
    let picks = (traffic.picks.clone(), dropped.into_inner());
    let reports = traffic.join();
    until(PATIENCE, || (ground.waiting_files() + importing(&ground) == 0).then_some(()))
        .expect("what was dropped into the pickup directory is taken");
    last.wait_until_empty(PATIENCE * 2);
    assert!(last.stop().expect("it can be waited for").success());
    Books { ground: &ground, ledger: site.ledger(), kills, picks }.close(&reports, &campaigns);
}

fn campaigns(cases: &[Case]) -> Vec<Campaign> {
    let many = cases.iter().filter(|case| case.need == Need::Campaign).count();
    let campaign = |n: usize| {
        let people = People::new(n as u64, &[(&format!("c{n}.example"), 1)]);
        Campaign::new(&format!("c{n}"), people, ROWS)
    };
    (0..many).map(campaign).collect()
}

/// Campaigns whose import has not ended.
fn importing(ground: &Ground) -> usize {
    fs::read_dir(ground.path("pickup").join(".importing")).map_or(0, Iterator::count)
}

/// Starts an engine that is to die at a point, and waits until it has: when that was, in microseconds; several moments, if
/// it took its time.
fn die_at(case: &Case, ground: &Ground) -> Result<Vec<u64>, String> {
    let told = |e: io::Error| format!("{case:?}: {e}");
    let mut text = ground.text();
    if case.need == Need::Resize {
        text = text.replace("segment-size 4M", "segment-size 8M");
    }
    let armed = format!("{}={}@{}", case.point, case.action, case.at);
    let said = output(ground).len();
    let mut engine = ground.spawn_with(&text, "POSTHASTE_FAIL", &armed).map_err(told)?;
    if case.need == Need::Stop {
        engine.ready(ground.listen).map_err(told)?;
        engine.signal(Signal::TERM).map_err(told)?;
    }
    let ended = until(PATIENCE, || {
        if case.need == Need::Rotation {
            // Not every engine is there to be asked, or lives to answer.
            let _ = engine.ask(&json!({"request": "rotate-acct"}));
        }
        match engine.ended() {
            Ok(None) if case.end == End::GoesOn && death(ground, case, said).is_some() => Some(Ok(None)),
            ended => ended.transpose().map(|status| status.map(Some)),
        }
    });
    let bad = |why: &str, engine: &Engine| Err(format!("{case:?}: {why}\n{}", engine.log_tail()));
    let status = match ended {
        Err(_) => return bad("not reached", &engine),
        Ok(status) => status.map_err(told)?,
    };
    let end = match status {
        None => {
            let answers = until(PATIENCE, || engine.status().ok());
            if answers.is_err() {
                return bad("it does not answer any longer", &engine);
            }
            return engine.kill().map(|at| vec![at]).map_err(told);
        }
        Some(status) if status.signal() == Some(Signal::KILL.as_raw()) => End::Killed,
        Some(status) if status.signal() == Some(Signal::ABORT.as_raw()) => End::Aborted,
        Some(status) => End::Exits(status.code().unwrap_or(-1)),
    };
    match death(ground, case, said) {
        _ if end != case.end => bad(&format!("{end:?}"), &engine),
        None => bad("it ended for another reason", &engine),
        Some(at) if end == End::Killed => Ok(vec![at]),
        Some(at) => Ok((at..now_us()).step_by(STEP_US).collect()),
    }
}

/// What all engines on this ground have written to standard output and error.
fn output(ground: &Ground) -> String {
    String::from_utf8_lossy(&fs::read(ground.path("output")).unwrap_or_default()).into_owned()
}

/// When the point was reached, which the engine says (`failpoint NAME ACTION MICROSECONDS`).
fn death(ground: &Ground, case: &Case, from: usize) -> Option<u64> {
    let output = output(ground);
    let last = output.get(from..)?.lines().rfind(|line| line.starts_with("failpoint "))?;
    let mut words = last.split(' ').skip(1);
    (words.next()? == case.point).then(|| words.last()?.parse().ok())?
}
