//! Writes and syncs that fail: the engine ends with its own exit status, believes no second sync, tells those who wait to
//! come again, and the next start has everything that was acknowledged (F13, F14, R2).
//!
//! Three ways in turn: a system call that fails once (blocking back end only), a disk that goes away under the file
//! system, and a file system that was promised more space than there is below it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use bench::clock::now_us;
use posthaste::spool::error::EXIT_LOG_FAILED;

use super::Options;
use super::disk::{Disk, Fs};
use super::inject::{self, Tamper};
use super::traffic::{Plan, Traffic};
use super::verdict::Verdict;
use bench::engine::Engine;
use bench::ground::Ground;

/// The engine looks at its log a few times a second.
const END_WITHIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);
const COMMIT_INTERVAL: Duration = Duration::from_millis(50);
/// What can fail, and how.
const FAILURES: [(&str, &str); 4] =
    [("fdatasync", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC"), ("fdatasync", "ENOSPC")];
/// MiB promised, and MiB there are.
const THIN: (u64, u64) = (400, 150);

pub fn run(options: &Options) -> io::Result<Verdict> {
    let disk = Disk::thin(Fs::Ext4, THIN.0, THIN.1)?;
    let mut ground = Ground::on(disk.path())?;
    ground.runtime = options.runtime.name();
    ground.add("segment-size 4M");
    let mut traffic = Traffic::start(ground, &Plan { sessions: options.sessions, ..Plan::default() })?;
    traffic.commit_interval(COMMIT_INTERVAL);
    let mut run =
        Run { disk, random: fastrand::Rng::with_seed(options.seed), verdict: Verdict::new("eio"), ends: 0 };
    // What io_uring does are no system calls, and cannot be tampered with.
    let ways: &[Way] = match options.runtime.name() {
        "blocking" => &[Run::call, Run::gone, Run::thin],
        _ => &[Run::gone, Run::thin],
    };
    for cycle in options.each_cycle() {
        ways[cycle as usize % ways.len()](&mut run, &mut traffic, options)?;
        run.verdict.cycles += 1;
        options.progress(&run.verdict, traffic.acked());
    }
    let Run { mut verdict, ends, disk, .. } = run;
    verdict.also("ended by itself with 74", ends);
    verdict.also("replies 451", traffic.replies(451).0);
    verdict.also("replies 452", traffic.replies(452).0);
    if ends > 0 && traffic.replies(451).0 == 0 {
        verdict.broken.add("nobody who waited was told 451");
    }
    traffic.close(&mut verdict, false)?;
    drop(disk);
    Ok(verdict)
}

/// A way to make it fail.
type Way = fn(&mut Run, &mut Traffic, &Options) -> io::Result<()>;

struct Run {
    disk: Disk,
    random: fastrand::Rng,
    verdict: Verdict,
    /// Engines that ended as they have to.
    ends: u64,
}

impl Run {
    /// A call fails once, and the next would succeed.
    fn call(&mut self, traffic: &mut Traffic, options: &Options) -> io::Result<()> {
        let (call, error) = FAILURES[self.random.usize(0..FAILURES.len())];
        let tamper = Tamper::Fail { call, error, nth: self.random.u32(3..120) };
        let trace = traffic.ground.path("trace");
        let mut engine = if options.control {
            traffic.engine()?
        } else {
            let command = inject::launcher(&tamper, &trace)?;
            match traffic.ground.start_through(command) {
                Ok(engine) => engine,
                // It failed so early that the engine never got ready.
                Err(e) if e.to_string().contains("exit status: 74") => return Ok(()),
                Err(e) => return Err(e),
            }
        };
        let ended = wait(&mut engine, traffic, Duration::from_millis(options.alive * 2))?;
        let (failed, believed) = if options.control { (true, false) } else { spool_failed(&trace)? };
        if believed {
            self.verdict.broken.add(format!("{tamper:?}: synced again after the failure"));
        }
        if failed {
            self.has_to_have_ended(ended, &format!("{tamper:?}"));
        }
        end(engine, traffic)
    }

    /// The disk is gone: every call on it fails from now on.
    fn gone(&mut self, traffic: &mut Traffic, options: &Options) -> io::Result<()> {
        let mut engine = traffic.engine()?;
        traffic.pass(options.moment(&mut self.random))?;
        traffic.look();
        if !options.control {
            traffic.ended(self.disk.cut()?);
        }
        let ended = wait(&mut engine, traffic, END_WITHIN)?;
        self.has_to_have_ended(ended, "the disk is gone");
        end(engine, traffic)?;
        self.disk.remount()?;
        traffic.look_after_cut();
        Ok(())
    }

    /// There is nothing below for what is written now. Either mail is put off, or the log fails; it never goes on as if
    /// all were well.
    fn thin(&mut self, traffic: &mut Traffic, options: &Options) -> io::Result<()> {
        let mut engine = traffic.engine()?;
        traffic.pass(options.moment(&mut self.random))?;
        traffic.look();
        if !options.control {
            self.disk.fill()?;
        }
        let ended = wait(&mut engine, traffic, Duration::from_millis(options.alive * 2))?;
        if ended.is_some() {
            self.has_to_have_ended(ended, "nothing below the file system");
        }
        traffic.look();
        // What the file system could not write is gone as with a cut.
        let cut = self.disk.cut();
        end(engine, traffic)?;
        if !options.control {
            self.disk.free()?;
        }
        self.disk.remount()?;
        traffic.look_after_cut();
        cut.map(|at| traffic.ended(at))
    }

    fn has_to_have_ended(&mut self, ended: Option<ExitStatus>, why: &str) {
        match ended.map(|status| status.code()) {
            Some(Some(code)) if code == i32::from(EXIT_LOG_FAILED) => self.ends += 1,
            Some(code) => self.verdict.broken.add(format!("{why}: ended with {code:?}, not with 74")),
            None => self.verdict.broken.add(format!("{why}: the engine goes on")),
        }
    }
}

/// Lets mail flow until the engine ends by itself or the time is over.
fn wait(engine: &mut Engine, traffic: &mut Traffic, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    let mut alive = now_us();
    loop {
        if let Some(status) = engine.ended()? {
            traffic.ended((alive, now_us()));
            return Ok(Some(status));
        }
        if begun.elapsed() > patience {
            return Ok(None);
        }
        alive = now_us();
        traffic.pass(LOOK)?;
    }
}

fn end(engine: Engine, traffic: &mut Traffic) -> io::Result<()> {
    let at = engine.kill()?;
    traffic.ended((at, at));
    Ok(())
}

/// From the trace: whether a call on a segment was made to fail, and whether one was synced after that.
fn spool_failed(trace: &Path) -> io::Result<(bool, bool)> {
    let text = fs::read_to_string(trace)?;
    let mut failed: Option<&str> = None;
    let mut believed = false;
    for line in text.lines() {
        let segment =
            line.split_once("/spool/").and_then(|(_, rest)| rest.split_once(".seg")).map(|(name, _)| name);
        let Some(segment) = segment else { continue };
        if line.contains("(INJECTED)") {
            failed = Some(segment);
        } else if failed == Some(segment) && line.contains("fdatasync(") && line.ends_with("= 0") {
            believed = true;
        }
    }
    Ok((failed.is_some(), believed))
}
