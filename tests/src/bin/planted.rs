//! Shows that the tests can fail: builds the engine with the bugs of `posthaste::base::planted`, lets each of them live in turn
//! under the layer that has to find it, and prints what came of it. Ends well if all are found, and the same layers find
//! nothing where no bug is alive.
//!
//! `cargo run -p tests --bin planted`

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use bench::ground::Ground;
use bench::site::{DoorConfig, Persona, Site, SiteConfig};
use bench::source::{self, Load, SourceConfig};
use bench::wait::until;
use tests::cargo;
use tests::strace::Strace;
use tests::trace::{self, Checker};
use tests::trace_names::{self, NameChecker};

/// How long a layer may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// What has to find a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    /// A test of the engine's own, by name.
    Unit(&'static str),
    /// The order of write, sync and 250 in a trace of system calls.
    Order,
    /// The order of a segment's name, the directory's sync and the first write in such a trace.
    Names,
}

const BUGS: [(&str, Layer); 10] = [
    ("ack-before-sync", Layer::Order),
    ("skip-directory-sync", Layer::Names),
    ("believe-second-sync", Layer::Unit("a_failed_sync_is_not_tried_again_and_nothing_more_is_taken")),
    ("no-checksum", Layer::Unit("a_flipped_bit_costs_only_its_record")),
    ("drop-last-record", Layer::Unit("what_is_acknowledged_is_there_after_a_restart")),
    ("reuse-nonce", Layer::Unit("no_two_segments_share_a_nonce")),
    ("lose-outcome-on-full-disk", Layer::Unit("low_space_refuses_submissions_and_takes_outcomes")),
    ("csv-before-outcome", Layer::Unit("nobody_reads_an_outcome_that_is_not_durable")),
    (
        "retry-without-in-doubt",
        Layer::Unit("a_lost_connection_after_the_final_dot_is_in_doubt_and_recorded_before_the_retry"),
    ),
    ("bare-lf-ends-data", Layer::Unit("smtp::server")),
];

/// The programs that hold the bugs.
struct Built {
    engine: PathBuf,
    tests: PathBuf,
}

/// Builds with the feature `planted`; the program is the one that cargo names last.
fn build(arguments: &[&str]) -> io::Result<PathBuf> {
    let programs = cargo::build(&[arguments, &["--features", "planted"]].concat())?;
    programs
        .into_iter()
        .last()
        .map(|(_, path)| path)
        .ok_or_else(|| io::Error::other("cargo has built no program"))
}

/// Whether a layer is content, and its own words if it is not.
type Finding = Result<(), String>;

impl Layer {
    fn name(self) -> String {
        match self {
            Layer::Unit(test) => format!("test {test}"),
            Layer::Order => "trace: write, sync, 250".into(),
            Layer::Names => "trace: name, directory sync, write".into(),
        }
    }

    /// Runs in a process of its own, since a bug may make it hang or die.
    fn run(self, built: &Built, bug: &str) -> io::Result<Finding> {
        let mut command = match self {
            Layer::Unit(test) => {
                let mut command = Command::new(&built.tests);
                command.args([test, "--test-threads=2"]);
                command
            }
            Layer::Order | Layer::Names => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(if self == Layer::Order { "order" } else { "names" });
                command
            }
        };
        let told = tempfile::NamedTempFile::new()?;
        command.env("POSTHASTE_PLANT", bug).env("POSTHASTE_ENGINE", &built.engine).env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(told.reopen()?).stderr(told.reopen()?);
        let mut child = command.spawn()?;
        let ended = until(PATIENCE, || child.try_wait().transpose());
        let text = fs::read_to_string(told.path())?;
        match ended {
            Ok(Ok(status)) if status.success() && !text.contains("running 0 tests") => Ok(Ok(())),
            Ok(Ok(_)) => Ok(Err(words(&text))),
            Ok(Err(e)) => Err(e),
            Err(waited) => {
                child.kill()?;
                child.wait()?;
                Err(io::Error::other(format!("{}: no end after {waited:?}", self.name())))
            }
        }
    }
}

/// What a layer says first about what it has found.
fn words(text: &str) -> String {
    let mut lines = text.lines().map(str::trim);
    let found = lines.find(|line| line.contains("panicked at") || line.starts_with("found: "));
    match found {
        Some(line) if line.starts_with("found: ") => line["found: ".len()..].into(),
        Some(_) => lines.next().unwrap_or_default().into(),
        None => text.lines().last().unwrap_or_default().into(),
    }
}

/// Sends so many messages, of so many bytes, through an engine under strace, and hands the trace to `check`.
fn traced(
    (messages, size): (u64, usize),
    (calls, bytes): (&str, usize),
    check: impl FnOnce(&Path, &Ground) -> io::Result<()>,
) -> io::Result<()> {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    let site = Site::start(SiteConfig { doors, ..SiteConfig::default() })?;
    let mut ground = Ground::new()?;
    ground.runtime = "blocking";
    ground.add("segment-size 4M").route("site.example", site.addr("site"), "");
    let engine = ground.start()?;
    let file = ground.path("trace");
    let strace = Strace::attach(&engine, calls, bytes, &file)?;
    let load = Load { messages, name: "traced".into(), size, ..Load::default() };
    let mut config = SourceConfig::new(ground.listen, load);
    config.sessions = 1;
    let report = source::start(config)?.join();
    engine.wait_until_empty(PATIENCE);
    strace.end()?;
    engine.stop()?;
    if report.acked.len() as u64 != messages {
        return Err(io::Error::other(format!("{} of {messages} acknowledged", report.acked.len())));
    }
    check(&file, &ground)
}

fn lines(file: &Path, mut each: impl FnMut(&str)) -> io::Result<()> {
    for line in BufReader::new(File::open(file)?).lines() {
        each(&line?);
    }
    Ok(())
}

fn verdict(proven: u64, least: u64, violations: &[String]) -> io::Result<()> {
    match violations.first() {
        Some(first) => Err(io::Error::other(format!("{} times, first: {first}", violations.len()))),
        None if proven < least => Err(io::Error::other(format!("{proven} proven, {least} expected"))),
        None => Ok(()),
    }
}

fn order() -> io::Result<()> {
    traced((100, 2000), (trace::CALLS, trace::BUFFER), |file, ground| {
        let mut checker = Checker::new(ground.listen);
        lines(file, |line| checker.line(line))?;
        let proof = checker.proof();
        verdict(proof.proven, 100, &proof.violations)
    })
}

fn names() -> io::Result<()> {
    // Three segments of mail; of what is written nothing but the place matters.
    traced((300, 40_000), (trace_names::CALLS, 256), |file, _| {
        let mut checker = NameChecker::default();
        lines(file, |line| checker.line(line))?;
        verdict(checker.proven, 4, &checker.violations)
    })
}

fn all() -> io::Result<bool> {
    let built = Built {
        engine: build(&["build", "-p", "tests", "--bin", "planted-engine"])?,
        tests: build(&["test", "-p", "posthaste", "--lib", "--no-run"])?,
    };
    let mut content = BTreeMap::new();
    let mut found = 0;
    println!("| bug | layer | without | with it | what it says |\n|---|---|---|---|---|");
    for (bug, layer) in BUGS {
        let without = match content.entry(layer) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(layer.run(&built, "")?),
        };
        let with = layer.run(&built, bug)?;
        let caught = without.is_ok() && with.is_err();
        found += usize::from(caught);
        let said = without.as_ref().err().or(with.as_ref().err()).cloned().unwrap_or_default();
        println!(
            "| {bug} | {} | {} | {} | {said} |",
            layer.name(),
            if without.is_ok() { "content" } else { "NOT content" },
            if caught { "caught" } else { "NOT caught" },
        );
    }
    println!("\n{found} of {} caught", BUGS.len());
    Ok(found == BUGS.len())
}

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        None => all(),
        Some("order") => order().map(|()| true),
        Some("names") => names().map(|()| true),
        Some(other) => Err(io::Error::other(format!("{other:?} is neither order nor names"))),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("found: {e}");
            ExitCode::from(2)
        }
    }
}
