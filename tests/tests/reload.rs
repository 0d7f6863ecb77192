//! `reload` on a running engine: what is wrong changes nothing (F38), what is right is in effect at once, mail that has
//! lost its virtual MTA or route is held (F39), and a storm of reloads costs neither memory nor sessions (F40).

use std::fs;
use std::io;
use std::process::Command;
use std::time::Duration;

use bench::engine::Engine;
use bench::ground::{Ground, engine_program};
use bench::site::{DoorConfig, LedgerMode, Persona, Site, SiteConfig, SiteHandle};
use bench::source::{self, Load, SourceConfig};
use bench::wait::until;
use serde_json::{Value, json};
use tests::peer::Peer;

const PATIENCE: Duration = Duration::from_secs(60);

fn site() -> SiteHandle {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    Site::start(SiteConfig { doors, ledger: LedgerMode::Entries, ..SiteConfig::default() }).expect("loopback")
}

/// The ground's configuration with more lines, as the engine's file.
fn write(ground: &Ground, more: &str) {
    fs::write(ground.path("config"), ground.text() + more).expect("the configuration is written");
}

fn reload(engine: &Engine) -> io::Result<Value> {
    engine.ask(&json!({"request": "reload"}))
}

/// What a queue waits for, in words.
fn waits_for(engine: &Engine, queue: &str) -> String {
    let reply = engine.ask(&json!({"request": "queues", "pattern": queue})).expect("it answers");
    reply["rows"][0]["waiting_for"].as_str().unwrap_or_default().to_owned()
}

fn send(ground: &Ground, count: u64, header: &str) -> source::SourceReport {
    let load = Load {
        messages: count,
        domains: vec!["site.example".into()],
        headers: vec![header.into()],
        ..Load::default()
    };
    let report = source::start(SourceConfig::new(ground.listen, load)).expect("a thread").join();
    assert_eq!((report.acked.len() as u64, report.broken), (count, 0), "{:?}", report.replies);
    report
}

#[test]
fn a_faulty_file_changes_nothing_and_says_where_it_is_wrong() {
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "");
    let engine = ground.start().expect("the engine starts");
    let mut session = Peer::connect(ground.listen).expect("the engine greets");
    for line in ["EHLO peer.example", "MAIL FROM:<a@peer.example>"] {
        assert!(session.say(line).expect("a reply").starts_with("250 "), "{line}");
    }

    write(&ground, "<domain site.example>\n  smtp-hosts [127.0.0.1]:1\n  max-smtp-uot 3\n</domain>\n");
    let wrong = ground.text().lines().count() + 3;
    let told = Command::new(engine_program().expect("the engine's program"))
        .args(["--config", &ground.path("config").to_string_lossy(), "--control"])
        .args([&ground.path("control").into_os_string(), &"reload".into()])
        .output()
        .expect("the command runs");
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(told.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("/config:{wrong}:3")) && said.contains("did you mean `max-smtp-out`?"),
        "{said}"
    );
    let status = engine.ask(&json!({"request": "status"})).expect("it answers");
    assert_eq!((&status["failed_reloads"], &status["reloads"]), (&json!(1), &json!(0)));
    assert!(status["alarms"].to_string().contains("the last reload failed"), "{}", status["alarms"]);

    // The session that was open goes on, by the route that was and is configured.
    assert!(session.say("RCPT TO:<b@site.example>").expect("a reply").starts_with("250 "));
    assert!(session.say("DATA").expect("a reply").starts_with("354 "));
    assert!(session.say("Subject: s\r\n\r\nbody\r\n.").expect("a reply").starts_with("250 "));
    until(PATIENCE, || (site.stats().recipients() == 1).then_some(())).expect("it is delivered");

    write(&ground, "");
    let report = reload(&engine).expect("it is right again");
    assert_eq!((&report["changes"], &report["restart"]), (&json!([]), &json!([])));
    let status = engine.ask(&json!({"request": "status"})).expect("it answers");
    assert_eq!(
        (&status["failed_reloads"], &status["reloads"], &status["alarms"]),
        (&json!(1), &json!(1), &json!([]))
    );
    assert!(session.say("QUIT").expect("a reply").starts_with("221 "));
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn limits_and_clients_follow_at_once_and_what_cannot_is_told() {
    let site = site();
    let ground = Ground::new().expect("a directory");
    let engine = ground.start().expect("the engine starts");
    let hop = site.addr("site");
    let domain = |directives: &str| {
        format!("<domain site.example>\n  smtp-hosts [{}]:{}\n{directives}</domain>\n", hop.ip(), hop.port())
    };
    write(&ground, &domain("  max-msg-rate 1/d\n"));
    reload(&engine).expect("it is right");
    send(&ground, 20, "x-job: slow");
    until(PATIENCE, || (site.stats().recipients() == 1).then_some(())).expect("one a day");
    until(PATIENCE, || waits_for(&engine, "site.example").contains("max-msg-rate").then_some(()))
        .expect("limited");

    let closed = "<source 127.0.0.1>\n  smtp-service no\n</source>\nthreads 7\n";
    write(&ground, &(domain("") + closed));
    let report = reload(&engine).expect("it is right");
    until(PATIENCE, || (site.stats().recipients() == 20).then_some(())).expect("the limit is gone");
    let changes = report["changes"].to_string();
    assert!(
        changes.contains("queues of site.example") && changes.contains("max-msg-rate: 1/d -> unlimited"),
        "{changes}"
    );
    assert!(report["restart"].to_string().contains("threads: not set -> 7"), "{report}");
    let refused = Peer::connect(ground.listen).map(|_| ());
    assert!(refused.is_err_and(|e| e.to_string().contains("521")), "new clients are refused");

    // Without the line that asked for it nothing waits for a restart any more.
    write(&ground, &domain(""));
    assert_eq!(reload(&engine).expect("it is right")["restart"], json!([]));
    send(&ground, 1, "x-job: again");
    until(PATIENCE, || (site.stats().recipients() == 21).then_some(())).expect("clients are served again");
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn mail_that_lost_its_virtual_mta_or_route_is_held_until_it_is_back() {
    let site = site();
    let ground = Ground::new().expect("a directory");
    let engine = ground.start().expect("the engine starts");
    let hop = site.addr("site");
    let route = format!("<domain site.example>\n  smtp-hosts [{}]:{}\n</domain>\n", hop.ip(), hop.port());
    let vmta = "<virtual-mta leaving>\n  smtp-source-host 127.0.91.1 leaving.example\n</virtual-mta>\n";
    write(&ground, &format!("{route}{vmta}"));
    reload(&engine).expect("it is right");
    engine.pause("site.example/leaving").expect("paused");
    send(&ground, 5, "x-virtual-mta: leaving");

    write(&ground, &route);
    let report = reload(&engine).expect("it is right");
    assert_eq!(report["held"], 1, "{report}");
    assert!(
        report["changes"].to_string().contains("<virtual-mta leaving>: is gone; mail queued for it is held"),
        "{report}"
    );
    engine.resume("site.example/leaving").expect("resumed");
    let why = waits_for(&engine, "site.example/leaving");
    assert!(why.contains("leaving is not in the configuration"), "{why}");

    write(&ground, vmta);
    assert_eq!(reload(&engine).expect("it is right")["held"], 1, "now it lacks its route");
    let why = waits_for(&engine, "site.example/leaving");
    assert!(why.contains("its route was taken out of the configuration"), "{why}");
    assert_eq!(site.stats().recipients(), 0, "held mail was sent");

    write(&ground, &format!("{route}{vmta}"));
    assert_eq!(reload(&engine).expect("it is right")["held"], 0);
    until(PATIENCE, || (site.stats().recipients() == 5).then_some(())).expect("it is delivered");
    engine.wait_until_empty(PATIENCE);
    let sources: Vec<String> = site.ledger().deliveries.iter().map(|d| d.source.to_string()).collect();
    assert_eq!(sources, ["127.0.91.1"; 5], "by nobody else's address");
    assert!(engine.stop().expect("it can be waited for").success());
}

/// A stop, or a kill, and another start with `text`.
fn start_again(ground: &Ground, engine: Engine, text: &str, kill: bool) -> Engine {
    if kill {
        engine.kill().expect("it can be killed");
    } else {
        assert!(engine.stop().expect("it can be waited for").success());
    }
    ground.start_with(text).expect("the engine starts again")
}

#[test]
fn held_mail_is_held_over_a_restart_too() {
    let site = site();
    let ground = Ground::new().expect("a directory");
    let hop = site.addr("site");
    let route = format!("<domain site.example>\n  smtp-hosts [{}]:{}\n</domain>\n", hop.ip(), hop.port());
    let vmta = "<virtual-mta leaving>\n  smtp-source-host 127.0.91.1 leaving.example\n</virtual-mta>\n";
    let engine = ground.start_with(&(ground.text() + &route + vmta)).expect("the engine starts");
    engine.pause("site.example").expect("paused");
    send(&ground, 5, "x-virtual-mta: leaving");
    send(&ground, 5, "x-job: by-default");
    write(&ground, "");
    assert_eq!(reload(&engine).expect("it is right")["held"], 2);

    let mut engine = engine;
    for kill in [true, false] {
        engine = start_again(&ground, engine, &ground.text(), kill);
        let why = waits_for(&engine, "site.example/leaving");
        assert!(why.contains("leaving is not in the configuration"), "{why}");
        let why = waits_for(&engine, "site.example/{default}");
        assert!(why.contains("its route was taken out of the configuration"), "{why}");
    }
    // With its route back in the file it goes, and that it was held is forgotten.
    engine = start_again(&ground, engine, &(ground.text() + &route + vmta), false);
    engine.resume("site.example").expect("resumed");
    until(PATIENCE, || (site.stats().recipients() == 10).then_some(())).expect("it is delivered");
    engine.wait_until_empty(PATIENCE);
    engine.pause("site.example").expect("paused");
    send(&ground, 1, "x-job: later");
    engine = start_again(&ground, engine, &ground.text(), false);
    assert_eq!(waits_for(&engine, "site.example/{default}"), "queue is paused");
    assert!(engine.stop().expect("it can be waited for").success());
}

/// Reloads again and again, two files in turn, while mail passes through and a session stays open. Its heap in the
/// second and in the last tenth of the reloads, on average, KiB: single figures depend on what the allocator has just given back.
fn storm(reloads: u32) -> (u64, u64) {
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "  max-msg-rate 500/s");
    let many: String = (0..200)
        .map(|i| format!("<domain d{i}.example>\n  max-smtp-out {}\n</domain>\n", 1 + i % 9))
        .collect();
    let engine = ground.start().expect("the engine starts");
    let mut session = Peer::connect(ground.listen).expect("the engine greets");
    assert!(session.say("EHLO peer.example").expect("a reply").starts_with("250 "));
    let load = Load { messages: 2000, domains: vec!["site.example".into()], ..Load::default() };
    let config = SourceConfig { rate: Some(400), ..SourceConfig::new(ground.listen, load) };
    let sending = source::start(config).expect("a thread");
    let mut heap = Vec::new();
    for i in 0..reloads {
        write(&ground, if i % 2 == 0 { &many } else { "" });
        reload(&engine).expect("it is right");
        heap.push(engine.memory().expect("of a process").anon >> 10);
    }
    let tenth = heap.len() / 10;
    let mean = |part: &[u64]| part.iter().sum::<u64>() / part.len() as u64;
    let (early, late) = (mean(&heap[tenth..2 * tenth]), mean(&heap[9 * tenth..]));
    let report = sending.join();
    assert_eq!((report.acked.len(), report.broken), (2000, 0), "{:?}", report.replies);
    assert!(session.say("NOOP").expect("the session is still there").starts_with("250 "));
    until(PATIENCE, || (site.stats().recipients() == 2000).then_some(())).expect("all is delivered");
    let most = site.stats().door("site").map_or(0, |d| d.total.messages_max_per_second);
    assert!(most <= 600, "{most} in a second at 500/s: the rate was forgotten");
    assert!(engine.stop().expect("it can be waited for").success());
    (early, late)
}

#[test]
fn a_storm_of_reloads_costs_neither_sessions_nor_memory() {
    let (early, late) = storm(100);
    // A short storm while mail passes: only a leak of whole configurations would show.
    assert!(late < early + 30 * 1024, "{early} KiB became {late} KiB");
}

/// The whole of it: as many as 10 a second make in 10 minutes. `cargo test -p tests --test reload -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes"]
fn six_thousand_reloads_leave_memory_flat() {
    let (early, late) = storm(6000);
    println!("heap from the 600th reload on: {early} KiB; from the 5400th on: {late} KiB");
    // A kilobyte a reload that stays would be 5 MB.
    assert!(late <= early + 4096, "{early} KiB became {late} KiB");
}
