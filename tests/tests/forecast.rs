//! `forecast` and `replay` as an operator calls them, and a real run beside them.

use bench::campaign::Campaign;
use bench::ground::{Ground, engine_program};
use bench::people::People;
use bench::site::{DoorConfig, Persona, Site, SiteConfig};
use bench::wait::until;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn posthaste(config: &Path, words: &[&str]) -> String {
    let program = engine_program().expect("the engine is built");
    let output = Command::new(program).arg("--config").arg(config).args(words).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(config: &Path, words: &[&str]) -> Value {
    let words: Vec<&str> = ["--json"].iter().chain(words).copied().collect();
    serde_json::from_str(&posthaste(config, &words)).expect("JSON")
}

fn written(ground: &Ground) -> PathBuf {
    let config = ground.path("forecast.conf");
    std::fs::write(&config, ground.text()).expect("a file");
    config
}

#[test]
fn a_campaign_takes_the_time_that_was_forecast() {
    let site = Site::start(SiteConfig {
        doors: vec![DoorConfig::new("site", Persona::Fast)],
        ..SiteConfig::default()
    })
    .expect("loopback");
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "  max-msg-rate 50/s");
    let config = written(&ground);
    let campaign = Campaign::new("rated", People::new(5, &[("site.example", 1)]), 300);
    let staged = campaign.stage(&ground).expect("a campaign");
    let staged_path = staged.to_str().expect("text").to_owned();
    let of_loopback = ["forecast", &staged_path, "--round-trip", "1", "--message-time", "1"];
    let told = json(&config, &of_loopback);
    let provider = &told["providers"][0];
    assert_eq!(
        (&provider["provider"], &provider["recipients"], &provider["delivered"]),
        (&"site.example".into(), &300.into(), &300.into()),
        "{told}"
    );
    assert_eq!(provider["limitedBy"], "message rate limit reached (max-msg-rate 50/s)");
    assert!(provider["origin"].as_str().is_some_and(|at| at.contains("forecast.conf:")), "{told}");
    let text = posthaste(&config, &of_loopback);
    assert!(text.contains("300 of 300 recipients delivered by "), "{text}");
    let time = |name: &str| provider[name].as_i64().expect("a time");
    let forecast = (time("last") - time("first")) as f64 / 1000.0;

    let engine = ground.start().expect("the engine starts");
    campaign.hand_in(&ground, &staged).expect("the pickup directory takes it");
    until(PATIENCE, || (site.stats().recipients() >= 300).then_some(())).expect("all is delivered");
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    let total = &site.stats().doors[0].total;
    let took = total.last_us.saturating_sub(total.first_us) as f64 / 1e6;
    println!("{took:.2} s, and {forecast:.2} s were forecast");
    // A machine that is busy may be slow; too fast it cannot be.
    assert!(took >= forecast * 0.9 && took <= forecast * 3.0, "{took} s, and {forecast} s were forecast");

    let acct = std::fs::read_dir(ground.path("acct")).expect("accounting files");
    let file = acct.filter_map(Result::ok).map(|entry| entry.path()).find(|path| path.is_file());
    let file = file.expect("one").to_str().expect("text").to_owned();
    let replayed = json(&config, &["replay", &file]);
    let provider = &replayed["providers"][0];
    assert_eq!((&provider["provider"], &provider["recipients"]), (&"site.example".into(), &300.into()));
    assert!(provider["now"]["p99"].as_u64().is_some_and(|millis| millis > 5_000), "{replayed}");
}

#[test]
fn what_waits_in_the_engine_has_a_forecast() {
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", ([127, 0, 0, 1], 9).into(), "  max-msg-rate 10/s\n  retry-after 1h");
    let config = written(&ground);
    let campaign = Campaign::new("waits", People::new(5, &[("site.example", 1)]), 100);
    let engine = ground.start().expect("the engine starts");
    engine.pause("site.example/*").expect("it answers");
    campaign.drop_into(&ground).expect("the pickup directory takes it");
    until(PATIENCE, || (engine.status().ok()?.smtp_queues.rcpts == 100).then_some(()))
        .expect("it is taken in");
    let told = json(&config, &["forecast", "--now"]);
    assert_eq!(told["providers"][0]["left"], 100, "the queue is paused: {told}");
    engine.resume("site.example/*").expect("it answers");
    let told = json(&config, &["forecast", "--now"]);
    assert_eq!(told["providers"][0]["delivered"], 100, "{told}");
    drop(engine);
    let refused = Command::new(engine_program().expect("built"))
        .arg("--config")
        .arg(&config)
        .args(["forecast", "--now"])
        .output()
        .expect("it runs");
    assert_eq!(refused.status.code(), Some(2), "no engine answers");
}
