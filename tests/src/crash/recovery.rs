//! SIGKILL while the engine recovers, again and again before it is done: in the end stands what one undisturbed
//! recovery would have given (F02).

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Options;
use super::spool::{self, Row};
use super::traffic::{Plan, Traffic};
use super::verdict::Verdict;
use bench::ground::Ground;
use bench::wait::until;

/// Messages that wait, and rows of the campaign whose import is interrupted; fewer where the cycles are few.
const MESSAGES: u64 = 12_000;
const ROWS: u64 = 20_000;
const FULL_SIZE: u32 = 100;
const EVERYTHING: &str = "*/*";
const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(options: &Options) -> io::Result<Verdict> {
    let mut ground = Ground::new()?;
    ground.runtime = options.runtime.name();
    ground.add("segment-size 8M");
    let share =
        |all: u64| all * u64::from(options.cycles.clamp(FULL_SIZE / 5, FULL_SIZE)) / u64::from(FULL_SIZE);
    let (messages, rows) = (share(MESSAGES), share(ROWS));
    let plan = Plan { sessions: options.sessions, limit: Some(messages), pickup: false, ..Plan::default() };
    let mut traffic = Traffic::start(ground, &plan)?;
    let mut verdict = Verdict::new("recovery");
    fill(&mut traffic, rows, options)?;
    let spool = traffic.ground.path("spool");
    let before = spool::waiting(&spool)?;
    verdict.also("recipients waiting at the crash", before.len() as u64);

    let undisturbed = kill_recoveries(&mut traffic, options, &mut verdict)?;
    verdict.also("an undisturbed recovery, ms", u64::try_from(undisturbed.as_millis()).unwrap_or(0));

    let engine = traffic.engine()?;
    until(PATIENCE, || traffic.is_all_taken().then_some(()))
        .map_err(|waited| io::Error::other(format!("the import has not ended after {waited:?}")))?;
    engine.stop()?;
    let mut after = spool::waiting(&spool)?;
    if options.control {
        after.pop();
    }
    compare(&before, &after, rows, &mut verdict);
    let files = std::fs::read_dir(&spool)?.count();
    verdict.also("files in the spool at the end", files as u64);

    let engine = traffic.engine()?;
    engine.resume(EVERYTHING)?;
    engine.stop()?;
    traffic.close(&mut verdict, options.control)?;
    Ok(verdict)
}

/// Some mail is delivered, more waits, a campaign is being imported: then comes the first kill.
fn fill(traffic: &mut Traffic, rows: u64, options: &Options) -> io::Result<()> {
    let engine = traffic.engine()?;
    traffic.pass(Duration::from_millis(options.alive.min(500)))?;
    engine.pause(EVERYTHING)?;
    let taken = until(PATIENCE, || traffic.is_all_taken().then_some(()));
    taken.map_err(|waited| io::Error::other(format!("still sending after {waited:?}")))?;
    // Nothing is on its way out when the kills begin, so that no second copy has an excuse.
    until(PATIENCE, || engine.status().is_ok_and(|s| s.connections_out.active == 0).then_some(()))
        .map_err(|waited| io::Error::other(format!("still delivering after {waited:?}")))?;
    traffic.drop_campaign(rows)?;
    // Taken from the pickup directory, and far from done.
    until(PATIENCE, || (traffic.ground.waiting_files() == 0).then_some(()))
        .map_err(|waited| io::Error::other(format!("no import after {waited:?}")))?;
    engine.kill()?;
    Ok(())
}

/// Kills so many recoveries; how long one takes that is left alone.
fn kill_recoveries(traffic: &mut Traffic, options: &Options, verdict: &mut Verdict) -> io::Result<Duration> {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let begun = Instant::now();
    traffic.engine()?.kill()?;
    let whole = begun.elapsed();
    let mut unready = 0;
    for _ in options.each_cycle() {
        let engine = traffic.ground.spawn()?;
        let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
        std::thread::sleep(Duration::from_micros(random.u64(500..micros.max(1000))));
        unready += u64::from(TcpStream::connect(traffic.ground.listen).is_err());
        engine.kill()?;
        verdict.cycles += 1;
        options.progress(verdict, traffic.acked());
    }
    verdict.also("killed before it took mail", unready);
    Ok(whole)
}

/// What waited at the crash waits at the end, tried as often, once each; what the import has added comes on top.
fn compare(before: &[Row], after: &[Row], wanted: u64, verdict: &mut Verdict) {
    let sealed = |row: &&Row| !row.address.ends_with("@campaign.example");
    let state = |row: &Row| (row.address.clone(), row.virtual_mta.clone(), row.attempts, row.submission.id);
    let old: Vec<_> = before.iter().filter(sealed).map(state).collect();
    let new: Vec<_> = after.iter().filter(sealed).map(state).collect();
    if old != new {
        let gone = old.iter().filter(|row| new.binary_search(row).is_err()).count();
        let come = new.iter().filter(|row| old.binary_search(row).is_err()).count();
        let told = format!(
            "{} recipients waited and {} do: {gone} gone or changed, {come} new",
            old.len(),
            new.len()
        );
        verdict.broken.add(told);
    }
    let mut rows: Vec<_> = after.iter().filter(|row| !sealed(row)).map(|row| &row.address).collect();
    let all = rows.len();
    rows.dedup();
    if rows.len() as u64 != wanted || all as u64 != wanted {
        verdict
            .broken
            .add(format!("{all} rows of the campaign wait, {} different ones of {wanted}", rows.len()));
    }
}
