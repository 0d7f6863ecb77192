//! Damage to the files of a stopped spool: nothing altered and nothing invented goes out, a damaged record costs what
//! depends on it and nothing else, and it is reported (F15-F18, A74).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bench::site::Delivery;

use super::Options;
use super::account::key;
use super::damage::{Damage, Layout};
use super::spool::{self, Row};
use super::traffic::{Plan, Traffic};
use super::verdict::Verdict;
use bench::ground::Ground;
use bench::wait::until;

const MESSAGES: u64 = 200;
const ROWS: u64 = 120;
const EVERYTHING: &str = "*/*";
const PATIENCE: Duration = Duration::from_secs(20);

pub fn run(options: &Options) -> io::Result<Verdict> {
    let mut ground = Ground::new()?;
    ground.runtime = options.runtime.name();
    ground.add("segment-size 4M");
    let plan = Plan { sessions: options.sessions, limit: Some(MESSAGES), pickup: false, ..Plan::default() };
    let mut traffic = Traffic::start(ground, &plan)?;
    let mut verdict = Verdict::new("flip");
    fill(&mut traffic, &mut verdict)?;
    let sound = Sound::keep(&traffic)?;
    let mut random = fastrand::Rng::with_seed(options.seed);
    for _ in options.each_cycle() {
        sound.restore(&traffic.ground)?;
        let mut damage = Damage::at_random(&mut random, &sound.layout);
        damage.inflict(&traffic.ground.path("spool"))?;
        sound.try_out(&damage, &mut traffic, options.control, &mut verdict)?;
        verdict.cycles += 1;
        options.progress(&verdict, verdict.delivered);
    }
    if !verdict.is_good() {
        eprintln!("what is left of it: {}", traffic.ground.keep().display());
    }
    Ok(verdict)
}

/// Some mail is delivered, more waits, part of it of a campaign; then the engine stops in order. Every start goes on in
/// a segment of its own, so there are several.
fn fill(traffic: &mut Traffic, verdict: &mut Verdict) -> io::Result<()> {
    let failed = |what: &str| io::Error::other(what.to_string());
    let engine = traffic.engine()?;
    let delivered = || (traffic.site.stats().recipients() > MESSAGES / 10).then_some(());
    until(PATIENCE, delivered).map_err(|_| failed("nothing is delivered"))?;
    engine.pause(EVERYTHING)?;
    until(PATIENCE, || (traffic.acked() > MESSAGES / 2).then_some(()))
        .map_err(|_| failed("nothing is taken"))?;
    engine.stop()?;
    let engine = traffic.engine()?;
    traffic.drop_campaign(ROWS)?;
    until(PATIENCE, || traffic.is_all_taken().then_some(()))
        .map_err(|_| failed("not everything is taken"))?;
    traffic.settle(verdict);
    engine.stop()?;
    traffic.engine()?.stop()?;
    traffic.site.take_ledger();
    Ok(())
}

/// The spool as it was, and what is in it.
struct Sound {
    dir: PathBuf,
    layout: Layout,
    /// Waiting recipients by address, which is only one message's here.
    waiting: HashMap<String, Row>,
}

impl Sound {
    fn keep(traffic: &Traffic) -> io::Result<Sound> {
        let spool = traffic.ground.path("spool");
        let waiting = spool::waiting(&spool)?;
        let layout = Layout::read(&spool)?;
        let dir = traffic.ground.path("sound");
        fs::create_dir(&dir)?;
        for entry in fs::read_dir(&spool)? {
            let path = entry?.path();
            if path.extension().is_none_or(|e| e != "free" && e != "new") {
                fs::copy(&path, dir.join(path.file_name().unwrap_or_default()))?;
            }
        }
        let waiting = waiting.into_iter().map(|row| (row.address.clone(), row)).collect();
        Ok(Sound { dir, layout, waiting })
    }

    /// Puts it back; the accounting goes on in a new file.
    fn restore(&self, ground: &Ground) -> io::Result<()> {
        for name in ["spool", "acct"] {
            for entry in fs::read_dir(ground.path(name))? {
                fs::remove_file(entry?.path())?;
            }
        }
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            fs::copy(&path, ground.path("spool").join(path.file_name().unwrap_or_default()))?;
        }
        Ok(())
    }

    /// Starts an engine on the damaged spool and sees what it delivers.
    fn try_out(
        &self,
        damage: &Damage,
        traffic: &mut Traffic,
        spoil: bool,
        verdict: &mut Verdict,
    ) -> io::Result<()> {
        let hit = self.layout.hit_by(damage);
        let costs = |row: &Row| {
            [&row.at, &row.submission.at, &row.submission.content_at].iter().any(|at| hit.contains(*at))
        };
        let may_be_lost: HashSet<&str> =
            self.waiting.values().filter(|row| costs(row)).map(|row| row.address.as_str()).collect();
        let status = spool::verify(&traffic.ground.path("spool"))?;
        let log = fs::read(traffic.ground.path("log")).map_or(0, |log| log.len());
        let begun = traffic.site.stats().recipients();
        let engine = match traffic.engine() {
            Ok(engine) => engine,
            Err(e) => {
                verdict
                    .broken
                    .add(format!("{damage}: no start: {}", e.to_string().lines().next().unwrap_or_default()));
                return Ok(());
            }
        };
        engine.resume(EVERYTHING)?;
        let least = (self.waiting.len() - may_be_lost.len()) as u64;
        // What can be read is delivered; what cannot waits for another try, or is held.
        let all = until(PATIENCE, || {
            let queued = engine.status().ok()?.smtp_queues.rcpts;
            let received = traffic.site.stats().recipients() - begun;
            // Second copies of what was delivered before are among those received.
            (received >= least
                && queued <= may_be_lost.len() as u64
                && self.has_the_sound(traffic, &may_be_lost))
            .then_some(())
        });
        if all.is_err() {
            let (queued, received) =
                (engine.status().map(|s| s.smtp_queues), traffic.site.stats().recipients() - begun);
            verdict
                .broken
                .add(format!("{damage}: of {least} at least {received} delivered; queued: {queued:?}"));
        }
        engine.kill()?;
        let mut received = traffic.site.take_ledger().deliveries;
        if spoil {
            received.pop();
        }
        let by_log = fs::read(traffic.ground.path("log"))?.get(log..).is_some_and(|new| {
            let (new, number) = (String::from_utf8_lossy(new), damage.segment);
            new.contains(&format!("segment {number}:")) || new.contains(&format!("record {number}:"))
        });
        let torn = self.layout.is_torn_by(damage);
        let said = Reported { by_tool: status, by_log, hit: hit.len(), torn };
        self.judge(damage, &may_be_lost, &received, traffic, verdict, said);
        Ok(())
    }

    fn has_the_sound(&self, traffic: &Traffic, may_be_lost: &HashSet<&str>) -> bool {
        let ledger = traffic.site.ledger();
        let received: HashSet<&str> = ledger.deliveries.iter().map(|d| d.recipient.as_str()).collect();
        let mut sound = self.waiting.keys().filter(|address| !may_be_lost.contains(address.as_str()));
        sound.all(|address| received.contains(address.as_str()))
    }

    fn judge(
        &self,
        damage: &Damage,
        may_be_lost: &HashSet<&str>,
        received: &[Delivery],
        traffic: &Traffic,
        verdict: &mut Verdict,
        told: Reported,
    ) {
        verdict.delivered += received.len() as u64;
        let mut seen = HashSet::new();
        for delivery in received {
            let key = key(&delivery.recipient, &delivery.id);
            let sent = traffic.sent();
            match sent.owed.get(&key).or_else(|| sent.possible.get(&key)) {
                None => verdict.phantom.add(format!("{damage}: {key}")),
                Some(hash) if *hash != delivery.body_hash => verdict.altered.add(format!("{damage}: {key}")),
                Some(_) => {}
            }
            if !self.waiting.contains_key(&delivery.recipient) {
                // Delivered before: only the loss of the record that says so explains it.
                if told.hit > 0 {
                    verdict.duplicates += 1;
                } else {
                    verdict.unexplained.add(format!("{damage}: {key} was delivered before"));
                }
            } else if !seen.insert(delivery.recipient.as_str()) {
                verdict.unexplained.add(format!("{damage}: {key} twice"));
            }
        }
        let missing = self.waiting.keys().filter(|address| !seen.contains(address.as_str()));
        let (cost, collateral): (Vec<_>, Vec<_>) =
            missing.partition(|address| may_be_lost.contains(address.as_str()));
        for address in collateral {
            verdict.lost.add(format!("{damage}: {address}, whose records are sound"));
        }
        let by_tool = told.by_tool == Some(1);
        if told.hit > 0 && !told.torn && !(by_tool && told.by_log) {
            let (hit, cost, tool, log) = (told.hit, cost.len(), told.by_tool, told.by_log);
            let told = format!(
                "{damage}: {hit} records, {cost} recipients; the tool ended with {tool:?}, told in the log {log}"
            );
            verdict.broken.add(told);
        }
        verdict.count("recipients lost with their record", cost.len() as u64);
        verdict.count("times a record was hit", u64::from(told.hit > 0));
        verdict.count("times it was like a torn commit", u64::from(told.hit > 0 && told.torn));
        verdict.count("times the tool reported", u64::from(by_tool));
    }
}

/// What was said of the damage, and by whom.
#[derive(Clone, Copy)]
struct Reported {
    /// Its exit status; 1 where it found damage.
    by_tool: Option<i32>,
    by_log: bool,
    /// Records that were hit.
    hit: usize,
    /// The damage looks like a commit that was never finished.
    torn: bool,
}

/// The path of a segment.
pub fn segment(spool: &Path, number: u32) -> PathBuf {
    spool.join(format!("{number:010}.seg"))
}
