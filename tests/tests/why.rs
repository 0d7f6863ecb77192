//! `why` and `explain` as an operator reads them: what is waited for, where that was said, when it is over.

use std::process::Command;
use std::time::Duration;

use bench::engine::Engine;
use bench::ground::{Ground, engine_program};
use bench::site::{Behaviour, DoorConfig, LedgerMode, Persona, Site, SiteConfig, SiteHandle};
use bench::wait::until;
use serde_json::{Value, json};
use tests::peer::Peer;

const PATIENCE: Duration = Duration::from_secs(60);

fn site() -> SiteHandle {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() })
        .expect("loopback")
}

/// The number of the line of the configuration that begins so.
fn line(ground: &Ground, begins: &str) -> usize {
    let text = ground.text();
    1 + text.lines().position(|line| line.trim_start().starts_with(begins)).expect(begins)
}

fn submit(ground: &Ground, to: &str, header: &str) {
    let mut peer = Peer::connect(ground.listen).expect("the engine greets");
    assert!(peer.say("EHLO me.example").expect("a reply").starts_with("250 "));
    let said = peer.send("<x@s.example>", &[to], &format!("{header}Subject: x\n\nText\n"));
    assert!(said.expect("a reply").starts_with("250 "));
}

fn told(ground: &Ground, words: &[&str]) -> String {
    let mut command = Command::new(engine_program().expect("the program is built"));
    command.arg("--config").arg(ground.path("config")).args(words);
    let output = command.output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn why(engine: &Engine, what: &str) -> Value {
    engine.ask(&json!({"request": "why", "what": what})).expect("it answers")
}

/// A queue that lets one recipient an hour go, with `count` more in it.
fn slow(site: &SiteHandle, count: usize) -> (Ground, Engine) {
    let mut ground = Ground::new().expect("a directory");
    ground.add("total-max-smtp-out 77");
    ground.route("site.example", site.addr("site"), "  max-msg-rate 1/h\n  max-smtp-out 3");
    let engine = ground.start().expect("the engine starts");
    submit(&ground, "first@site.example", "");
    engine.wait_until_empty(PATIENCE);
    for n in 0..count {
        submit(
            &ground,
            &format!("next{n}@site.example"),
            &format!("Message-ID: <letter-{n}@shop.example>\n"),
        );
    }
    (ground, engine)
}

#[test]
fn the_limit_its_line_and_the_time_are_told() {
    let site = site();
    let (ground, engine) = slow(&site, 5);
    let origin = format!("{}:{}", ground.path("config").display(), line(&ground, "max-msg-rate 1/h"));
    let report = why(&engine, "next3@site.example");
    let summary = report["summary"].as_str().expect("a summary");
    assert!(summary.contains("message rate limit reached (max-msg-rate 1/h)"), "{summary}");
    assert!(summary.ends_with(&format!("{origin}.")), "{summary} without {origin}");
    assert_eq!(report["queues"][0]["limited_by"]["directive"], "max-msg-rate");
    let recipient = &report["recipients"][0];
    assert_eq!((&recipient["state"], &recipient["estimate"]["ahead"]), (&json!("in line"), &json!(3)));
    let status = engine.ask(&json!({"request": "status"})).expect("it answers");
    let now = status["now"].as_i64().expect("a time");
    let hours = (recipient["estimate"]["at"].as_i64().expect("a time") - now) as f64 / 3_600_000.0;
    assert!((3.9..4.1).contains(&hours), "the first after an hour, it after four: {hours}");
    let rests_on = recipient["estimate"]["rests_on"].as_str().expect("words");
    assert!(rests_on.contains("max-msg-rate 1/h of the queue") && rests_on.contains(&origin), "{rests_on}");
    let text = told(&ground, &["why", "site.example"]);
    assert!(text.contains(&format!("  by            max-msg-rate 1/h, {origin}\n")), "{text}");
    assert!(
        text.contains("  expected      all gone at ") && text.contains("5 recipients from then on"),
        "{text}"
    );
    engine.ask(&json!({"request": "pause-queue", "queue": "site.example"})).expect("it pauses");
    let report = why(&engine, "site.example");
    assert!(report["summary"].as_str().is_some_and(|s| s.contains("queue is paused")), "{report}");
    assert_eq!(report["queues"][0]["estimate"]["rests_on"], "not before the queue is resumed");
    engine.stop().expect("it can be waited for");
}

#[test]
fn a_limit_that_queues_share_is_told_with_its_own_line() {
    // It takes half a minute for each reply, so that its connection stays.
    let behaviour = Behaviour { delay_ms: 30_000, ..Behaviour::default() };
    let doors = vec![DoorConfig::with("site", behaviour)];
    let site = Site::start(SiteConfig { doors, ..SiteConfig::default() }).expect("loopback");
    let mut ground = Ground::new().expect("a directory");
    ground
        .add("<virtual-mta v1>\n  smtp-source-host 127.0.0.1 v1.s.example\n  max-smtp-out 1\n</virtual-mta>");
    ground.add("<source 127.0.0.0/8>\n  default-virtual-mta v1\n</source>");
    ground.route("first.example", site.addr("site"), "");
    ground.route("second.example", site.addr("site"), "  max-smtp-out 9");
    let engine = ground.start().expect("the engine starts");
    submit(&ground, "a@first.example", "");
    until(PATIENCE, || (why(&engine, "first.example")["queues"][0]["row"]["connections"] == 1).then_some(()))
        .expect("it has the connection");
    submit(&ground, "b@second.example", "");
    let held = until(PATIENCE, || {
        let report = why(&engine, "b@second.example");
        (report["queues"][0]["limited_by"]["directive"] == "max-smtp-out").then_some(report)
    });
    let held = held.unwrap_or_else(|_| panic!("not held: {}", why(&engine, "b@second.example")));
    let origin = format!("{}:{}", ground.path("config").display(), line(&ground, "max-smtp-out 1"));
    assert_eq!(held["queues"][0]["limited_by"]["origin"], origin, "the virtual MTA's, not the queue's 9");
    let summary = held["summary"].as_str().expect("a summary");
    assert!(summary.contains("all connections are in use (max-smtp-out 1 of virtual-mta v1)"), "{summary}");
    let rests_on = held["recipients"][0]["estimate"]["rests_on"].as_str().expect("words");
    assert!(!rests_on.is_empty(), "{held}");
    engine.kill().expect("it ends");
}

#[test]
fn a_message_is_found_by_its_message_id_and_by_its_number() {
    let site = site();
    let (ground, engine) = slow(&site, 3);
    for what in ["<letter-1@shop.example>", "letter-1@shop.example"] {
        let report = why(&engine, what);
        let recipients = report["recipients"].as_array().expect("recipients");
        assert_eq!(recipients.len(), 1, "{what}: {report}");
        assert_eq!(recipients[0]["address"], "next1@site.example");
        assert_eq!(report["queues"][0]["row"]["name"], "site.example/{default}");
    }
    let none = why(&engine, "<letter-9@shop.example>");
    let summary = none["summary"].as_str().expect("a summary");
    assert!(
        summary.starts_with("No recipient of a message <letter-9@shop.example> is waiting."),
        "{summary}"
    );
    // One of ours is named by the number of its submission and of its row.
    ground
        .pick_up(
            "own",
            b"XACK OFF\nXMRG FROM:<x@s.example>\nRCPT TO:<own@site.example>\nXPRT 1 LAST\nFrom: x@s.example\nSubject: y\n\nText\n.\n",
        )
        .expect("a pickup file");
    until(PATIENCE, || (why(&engine, "own@site.example")["recipients"].as_array()?.len() == 1).then_some(()))
        .expect("it is queued");
    let its = |report: &Value| report["recipients"][0]["address"] == "own@site.example";
    let number = (0..200_u64)
        .map(|n| format!("{:x}", ((1 + n % 4) << 32) + n / 4))
        .find(|number| its(&why(&engine, number)));
    let number = number.expect("the number of its submission");
    assert!(its(&why(&engine, &format!("<{number}.0@mail.sender.example>"))), "row 0 of {number}");
    assert_eq!(why(&engine, &format!("<{number}.7@mail.sender.example>"))["recipients"], json!([]));
    let text = told(&ground, &["why", "<letter-0@shop.example>"]);
    assert!(text.contains("Recipient next0@site.example\n  state         in line\n"), "{text}");
    engine.stop().expect("it can be waited for");
}

#[test]
fn explain_tells_the_ceiling_and_what_the_running_engine_says() {
    let site = site();
    let (ground, engine) = slow(&site, 1);
    let config = ground.path("config");
    let of = |begins| format!("{}:{}", config.display(), line(&ground, begins));
    let (rate, connections) = (of("max-msg-rate"), of("max-smtp-out 3"));
    let ceiling = format!("1/h (max-msg-rate 1/h, {rate}); 3 connections (max-smtp-out 3, {connections})");
    let text = told(&ground, &["explain", "site.example"]);
    assert!(text.contains(&format!("Ceiling as configured: {ceiling}\n")), "{text}");
    assert!(text.contains("The running engine\n  mode          normal\n"), "{text}");
    assert!(text.contains(&of("total-max-smtp-out")) && text.contains("the whole engine"), "{text}");
    assert!(told(&ground, &["explain", "x.example"]).contains("has had no mail for this queue"));
    assert!(told(&ground, &["set", "queue", "--mode=backoff", "site.example"]).contains("1 queue(s)"));
    let text = told(&ground, &["explain", "site.example"]);
    assert!(
        text.contains("  mode          backoff since ") && text.contains("the operator said so"),
        "{text}"
    );
    engine.stop().expect("it can be waited for");
    let text = told(&ground, &["explain", "site.example"]);
    assert!(text.contains("No engine is running here") && text.contains(&ceiling), "{text}");
}
