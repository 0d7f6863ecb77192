//! Queues that ease themselves, as the operator sees them.

use std::process::Command;
use std::time::Duration;

use bench::engine::Engine;
use bench::ground::{Ground, engine_program};
use bench::site::{Behaviour, DoorConfig, LedgerMode, Site, SiteConfig, SiteHandle};
use bench::wait::until;
use serde_json::{Value, json};
use tests::peer::Peer;

const PATIENCE: Duration = Duration::from_secs(60);

/// Takes one message a second.
fn site() -> SiteHandle {
    let mut behaviour = Behaviour { max_rate: Some(1), ..Behaviour::default() };
    behaviour.wording.rate = "421 4.7.28 too fast".into();
    let doors = vec![DoorConfig::with("site", behaviour)];
    Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() })
        .expect("loopback")
}

fn ground(site: &SiteHandle, directives: &str) -> Ground {
    let mut ground = Ground::new().expect("a directory");
    ground.add("<smtp-pattern-list slow>\n  reply /too fast/ mode=backoff\n</smtp-pattern-list>");
    let directives = format!("  smtp-pattern-list slow\n{directives}");
    ground.route("site.example", site.addr("site"), &directives);
    ground
}

fn submit(ground: &Ground, letters: usize) {
    let mut peer = Peer::connect(ground.listen).expect("the engine greets");
    assert!(peer.say("EHLO me.example").expect("a reply").starts_with("250 "));
    for n in 0..letters {
        let to = format!("letter{n}@site.example");
        assert!(
            peer.send("<x@s.example>", &[&to], "Subject: x\n\nText\n").expect("a reply").starts_with("250 ")
        );
    }
}

fn row(engine: &Engine) -> Value {
    let queues = engine.ask(&json!({"request": "queues", "pattern": "site.example"})).expect("it answers");
    queues["rows"][0].clone()
}

/// What the program prints.
fn told(ground: &Ground, words: &[&str]) -> String {
    let mut command = Command::new(engine_program().expect("the program is built"));
    command.arg("--config").arg(ground.path("config")).args(words);
    let output = command.output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_queue_eases_itself_and_shows_how() {
    let site = site();
    let ground = ground(
        &site,
        "  max-msg-rate 50/s\n  max-smtp-out 8\n  adaptive-rate yes\n  adaptive-rate-floor 20/m\n  \
         adaptive-rate-step-up-interval 10s\n  retry-recipients-after 1s\n  retry-after 1s",
    );
    let engine = ground.start().expect("the engine starts");
    submit(&ground, 60);
    let eased = until(PATIENCE, || Some(row(&engine)).filter(|row| row["adaptive"]["eased"] == true));
    let eased = eased.unwrap_or_else(|_| panic!("not eased: {}", row(&engine)));
    assert_eq!(eased["mode"], "normal", "it is not in backoff");
    let first = eased["adaptive"]["steps"].as_array().and_then(|steps| steps.last()).expect("a step");
    let cause = first["cause"].as_str().expect("a cause");
    assert!(cause.starts_with("421 4.7.28 too fast fits /too fast/ of "), "{cause}");
    let listed = told(&ground, &["show", "queues", "--mode=adaptive"]);
    assert!(listed.contains("site.example/{default}") && listed.contains("adaptive"), "{listed}");
    let why = told(&ground, &["why", "site.example"]);
    assert!(why.contains("mode          adaptive") && why.contains("step down"), "{why}");
    assert!(why.contains("adaptive-rate-floor"), "{why}");
    assert!(engine.log_tail().contains("eases down to "), "{}", engine.log_tail());
    assert!(
        told(&ground, &["set", "queue", "--mode=adaptive", "site.example"]).contains("adaptive-rate yes")
    );
    assert!(told(&ground, &["set", "queue", "--mode=normal", "site.example/*"]).contains("1 queue(s)"));
    let lifted = row(&engine);
    let latest = &lifted["adaptive"]["steps"][0];
    assert!(latest["cause"] == "the operator said so" || lifted["adaptive"]["eased"] == true, "{lifted}");
    engine.stop().expect("it can be waited for");
}

#[test]
fn refused_at_its_floor_it_enters_backoff() {
    let site = site();
    let ground = ground(
        &site,
        "  adaptive-rate yes\n  adaptive-rate-floor 50/s\n  adaptive-rate-step-up-interval 10s\n  max-smtp-out 2\n  \
         retry-recipients-after 1s\n  retry-after 1s\n  backoff-max-msg-rate 10/m",
    );
    let engine = ground.start().expect("the engine starts");
    submit(&ground, 60);
    let found = until(PATIENCE, || Some(row(&engine)).filter(|row| row["mode"] == "backoff"));
    let found = found.unwrap_or_else(|_| panic!("not in backoff: {}", row(&engine)));
    assert_eq!(found["adaptive"]["eased"], true, "{found}");
    engine.stop().expect("it can be waited for");
}
