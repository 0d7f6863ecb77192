//! `posthaste demo`, as the README has it: it runs to its summary, and the accounting file agrees.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bench::ground::{engine_program, programs};
use bench::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::accounting::{self, per_recipient};

const RECIPIENTS: u64 = 2000;
const PATIENCE: Duration = Duration::from_secs(90);

fn demo(directory: &Path, recipients: u64) -> Command {
    let mut command = Command::new(engine_program().expect("the program is built"));
    command.arg("demo").arg("--recipients").arg(recipients.to_string()).arg("--directory").arg(directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A directory on a real disk.
fn directory() -> tempfile::TempDir {
    let below = programs().expect("the build directory").join("tmp");
    std::fs::create_dir_all(&below).expect("it is writable");
    tempfile::Builder::new().prefix("demo-").tempdir_in(below).expect("it is writable")
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn it_runs_to_its_summary_and_the_accounts_agree() {
    let dir = directory();
    let output = demo(dir.path(), RECIPIENTS).output().expect("it can be run");
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("2,000 of 2,000 recipients have their outcome."), "{told}");
    assert!(told.contains("2,005 rows, 2,000 recipients, 2 duplicates dropped, 3 rejected."), "{told}");
    assert!(told.contains("= 2,000 lines"), "{told}");
    assert!(told.contains("one for each recipient accepted."), "{told}");
    assert!(told.contains("as many as there are d lines."), "{told}");

    let lines = accounting::read(&dir.path().join("accounting")).expect("accounting files");
    let (delivered, bounced) = (per_recipient(&lines, "d"), per_recipient(&lines, "b"));
    assert_eq!((delivered.len() + bounced.len()) as u64, RECIPIENTS);
    assert!(delivered.values().chain(bounced.values()).all(|n| *n == 1), "each has one end");
    assert!(!bounced.is_empty(), "some recipients do not exist");
    assert!(!per_recipient(&lines, "t").is_empty(), "some are greylisted");
    let vmtas: std::collections::HashSet<&str> =
        lines.iter().filter(|l| l["type"] == "d").map(|l| l["vmta"].as_str()).collect();
    assert_eq!(vmtas.len(), 3, "{vmtas:?}");
    let rejected =
        std::fs::read_to_string(dir.path().join("reports/demo.rejected.csv")).expect("it is there");
    assert_eq!(rejected.lines().count(), 4, "{rejected}");
}

#[test]
fn interrupted_it_says_what_was_done() {
    let dir = directory();
    let mut command = demo(dir.path(), 50_000);
    let child = command.arg("--json").spawn().expect("it can be run");
    let accounting = dir.path().join("accounting");
    until(PATIENCE, || accounting::read(&accounting).ok().filter(|l| l.len() > 100)).expect("mail leaves");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let told = text(&output);
    assert_eq!(output.status.code(), Some(130), "{told}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {told}"));
    assert_eq!(summary["interrupted"], true);
    let notes = summary["notes"].to_string();
    assert!(notes.contains("recipients have no outcome yet") && notes.contains("Spool: "), "{notes}");
    let lines = accounting::read(&accounting).expect("accounting files");
    let settled = lines.iter().filter(|l| matches!(l["type"].as_str(), "d" | "b")).count();
    assert!(settled > 0 && settled < 50_000, "{settled}");
    let providers = summary["providers"].as_array().expect("a list");
    let counted = |key: &str| providers.iter().filter_map(|p| p[key].as_u64()).sum::<u64>();
    assert_eq!(settled as u64, counted("sent") + counted("bounced"), "what is told is what is kept");
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    let dir = directory();
    std::fs::write(dir.path().join("thesis"), "years of work").expect("it is writable");
    let output = demo(dir.path(), 10).output().expect("it can be run");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("was not made by `demo`"), "{}", text(&output));
    assert!(dir.path().join("thesis").is_file());
}
