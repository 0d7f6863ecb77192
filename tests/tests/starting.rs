//! How an engine can be told to start on a spool that is not what it was: `run --hold` (F22) and `run --strict` (F18).

use std::fs;
use std::process::Command;
use std::time::Duration;

use bench::engine::Engine;
use bench::ground::Ground;
use bench::site::{DoorConfig, LedgerMode, Persona, Site, SiteConfig, SiteHandle};
use bench::source::{self, Load, SourceConfig};
use bench::wait::until;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

fn site() -> SiteHandle {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    Site::start(SiteConfig { doors, ledger: LedgerMode::Entries, ..SiteConfig::default() }).expect("loopback")
}

/// An engine that is down, with five messages for the site in its spool that would go as soon as it is up.
fn down_with_five(site: &SiteHandle) -> Ground {
    let mut ground = Ground::new().expect("a directory");
    let nowhere = "<domain site.example>\n  smtp-hosts [127.0.0.1]:1\n</domain>\n";
    let engine = ground.start_with(&(ground.text() + nowhere)).expect("the engine starts");
    let load = Load { messages: 5, domains: vec!["site.example".into()], ..Load::default() };
    let report = source::start(SourceConfig::new(ground.listen, load)).expect("a thread").join();
    assert_eq!(report.acked.len(), 5, "{:?}", report.replies);
    assert!(engine.stop().expect("it can be waited for").success());
    ground.route("site.example", site.addr("site"), "");
    ground
}

/// `run --config FILE OPTION`.
fn start_with_option(ground: &Ground, option: &str) -> std::io::Result<Engine> {
    let mut launcher = Command::new("sh");
    launcher.args(["-c", &format!("exec \"$@\" {option}"), "start"]);
    ground.start_through(launcher)
}

#[test]
fn a_spool_can_be_held_until_somebody_has_looked() {
    let site = site();
    let ground = down_with_five(&site);
    let engine = start_with_option(&ground, "--hold").expect("the engine starts");
    assert_eq!(engine.status().expect("it answers").smtp_queues.rcpts, 5);
    let reply = engine.ask(&json!({"request": "queues", "pattern": "site.example"})).expect("it answers");
    assert_eq!(reply["rows"][0]["waiting_for"], "queue is paused");
    engine.kill().expect("it can be killed");
    let engine = ground.start().expect("the engine starts");
    assert_eq!(site.stats().recipients(), 0, "it is still held");
    engine.resume("*").expect("resumed");
    until(PATIENCE, || (site.stats().recipients() == 5).then_some(())).expect("it is delivered");
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn a_damaged_spool_is_started_with_unless_it_was_to_be_whole() {
    let site = site();
    let ground = down_with_five(&site);
    let content = b"From: ";
    let mut segments =
        fs::read_dir(ground.path("spool")).expect("a spool").map(|e| e.expect("an entry").path());
    let (path, mut bytes, at) = segments
        .find_map(|path| {
            let bytes = fs::read(&path).ok()?;
            let at = bytes.windows(content.len()).position(|window| window == content)?;
            Some((path, bytes, at))
        })
        .expect("a message");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("written");

    let refused = start_with_option(&ground, "--strict").expect_err("it is damaged").to_string();
    assert!(
        refused.contains("are damaged; records there are lost") && refused.contains("--strict"),
        "{refused}"
    );
    let engine = ground.start().expect("the engine starts with the rest");
    until(PATIENCE, || (site.stats().recipients() == 4).then_some(())).expect("the others are delivered");
    assert!(engine.stop().expect("it can be waited for").success());
}
