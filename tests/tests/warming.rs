//! Warm-up: a cold virtual MTA has its share of each day, whichever way the mail comes in, and over restarts; the rest goes by
//! the warm one. The calendar is turned by the time zone that the engine is started in.

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, SystemTime};

use bench::campaign::Campaign;
use bench::engine::Engine;
use bench::ground::{Ground, engine_program};
use bench::http::Http;
use bench::people::People;
use bench::site::{Behaviour, Fate, FateRule, Persona, SiteHandle};
use bench::wait::until;
use serde_json::{Value, json};
use tests::peer::Peer;
use tests::submission::site;

const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Two virtual MTAs, the warm one the default of all ways in, with these limits of the cold one.
fn ground(site: &SiteHandle, limits: &str) -> Ground {
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), &format!("max-cold-virtual-mta-msg {limits}"));
    ground.vmta("cold", [127, 0, 90, 2].into()).add(
        "<virtual-mta warm>\n  smtp-source-host 127.0.90.1 warm.sender.example\n  cold-virtual-mta cold\n</virtual-mta>",
    );
    for source in ["127.0.0.0/8", "{pickup}", "{transmissions-api}"] {
        ground
            .add(&format!("<source {source}>\n  default-virtual-mta warm\n  allow-mailmerge yes\n</source>"));
    }
    ground
}

/// Starts the engine where it is noon, on the day that these tests begin with or (1) the next: clocks on earth differ by no more.
fn start(ground: &Ground, days: i64) -> Engine {
    let seconds = SystemTime::UNIX_EPOCH.elapsed().expect("after the epoch").as_secs() as i64;
    let west = (seconds / 3600 - 12).rem_euclid(24) - 24 * days;
    let mut launcher = Command::new("env");
    launcher.arg(format!("TZ=NOON{west}"));
    ground.start_through(launcher).expect("the engine starts")
}

fn client(ground: &Ground) -> Peer {
    let mut peer = Peer::connect(ground.listen).expect("the engine greets");
    assert!(peer.say("EHLO me.example").expect("a reply").starts_with("250 "));
    peer
}

fn send(ground: &Ground, names: impl Iterator<Item = String>) {
    let mut peer = client(ground);
    for name in names {
        let said = peer.send("<x@s.example>", &[&format!("{name}@site.example")], "Subject: x\n\nText\n");
        assert!(said.expect("a reply").starts_with("250 "));
    }
}

/// Who had his mail from the cold one, in order, once so many have theirs.
fn from_cold(site: &SiteHandle, engine: &Engine, all: u64) -> Vec<String> {
    let arrived = || {
        let ledger = site.ledger();
        let known: HashSet<&str> = ledger.deliveries.iter().map(|d| d.recipient.as_str()).collect();
        known.len() as u64
    };
    until(PATIENCE, || (arrived() >= all).then_some(())).unwrap_or_else(|_| panic!("{} of {all}", arrived()));
    engine.wait_until_empty(PATIENCE);
    let ledger = site.ledger();
    let cold = ledger.deliveries.iter().filter(|d| d.source.to_string() == "127.0.90.2");
    let mut cold: Vec<String> = cold.map(|d| d.recipient.clone()).collect();
    cold.sort_unstable();
    // After a crash one may have it twice, by the same way.
    cold.dedup();
    cold
}

#[test]
fn mail_of_every_way_in_counts() {
    let site = site();
    let mut ground = ground(&site, "7/d");
    let free = TcpListener::bind((ground.listen.ip(), 0)).and_then(|l| l.local_addr()).expect("a port");
    ground.add(&format!(
        "<transmissions-api>\n  api-key {KEY}\n</transmissions-api>\n\
         <transmissions-api-listener {free}>\n</transmissions-api-listener>"
    ));
    let engine = start(&ground, 0);
    let mut peer = client(&ground);
    let two = ["smtp1@site.example", "smtp2@site.example"];
    let said = peer.send("<x@s.example>", &two, "Subject: x\n\nText\n");
    assert!(said.expect("a reply").starts_with("250 "));
    for line in ["XMRG FROM:<b@s.example>", "RCPT TO:<merged@site.example>"] {
        assert!(peer.say(line).expect("a reply").starts_with("250"), "{line}");
    }
    assert!(peer.say("XPRT 1 LAST").expect("a reply").starts_with("354"));
    let said = peer.say("From: x@s.example\r\nSubject: x\r\n\r\nText\r\n.");
    assert!(said.expect("a reply").starts_with("250"));
    let file = b"x-sender: a@s.example\nx-receiver: pickup@site.example\nFrom: a@s.example\n\nText\n";
    ground.pick_up("one", file).expect("the pickup directory takes it");
    assert_eq!(from_cold(&site, &engine, 4).len(), 4);

    let body = json!({
        "envelope_sender": "a@s.example",
        "recipients": [{ "email": "http@site.example" }],
        "content": "From: a@s.example\nSubject: x\n\nText\n",
    });
    let mut http = Http::connect(free, KEY).expect("it is served");
    let answer = http.post("/api/inject/v1", &[], body.to_string().as_bytes()).expect("an answer");
    assert_eq!(answer.body["success_count"], 1, "{:?}", answer.body);
    let mut campaign = Campaign::new("spring", People::new(3, &[("site.example", 1)]), 4);
    campaign.virtual_mta = "warm".into();
    campaign.drop_into(&ground).expect("the pickup directory takes it");
    let cold = from_cold(&site, &engine, 9);
    assert_eq!(cold.len(), 7, "{cold:?}");
    for name in ["smtp1", "smtp2", "merged", "pickup", "http"] {
        assert!(cold.contains(&format!("{name}@site.example")), "{name}: {cold:?}");
    }
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn a_day_has_its_share_once_over_a_crash_and_a_restart_and_the_next_day_has_more() {
    let site = site();
    let ground = ground(&site, "20/d,30/d");
    let engine = start(&ground, 0);
    send(&ground, (0..5).map(|n| format!("first{n:02}")));
    assert_eq!(from_cold(&site, &engine, 5).len(), 5);
    engine.kill().expect("killed");

    // One was reserved beyond the five, and nobody can know that it was not used.
    let engine = start(&ground, 0);
    send(&ground, (0..30).map(|n| format!("second{n:02}")));
    let cold = from_cold(&site, &engine, 35);
    assert_eq!(cold.len(), 5 + 14, "{cold:?}");
    assert_eq!(cold.last().map(String::as_str), Some("second13@site.example"));
    assert!(engine.stop().expect("it can be waited for").success());

    let engine = start(&ground, 0);
    send(&ground, (0..3).map(|n| format!("third{n}")));
    assert_eq!(from_cold(&site, &engine, 38).len(), 19);
    assert!(engine.stop().expect("it can be waited for").success());

    let engine = start(&ground, 1);
    send(&ground, (0..40).map(|n| format!("tomorrow{n:02}")));
    assert_eq!(from_cold(&site, &engine, 78).len(), 19 + 30);
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn without_its_file_a_used_spool_gives_nothing_until_midnight() {
    let site = site();
    let ground = ground(&site, "20/d");
    let engine = start(&ground, 0);
    send(&ground, (0..5).map(|n| format!("first{n}")));
    assert_eq!(from_cold(&site, &engine, 5).len(), 5);
    assert!(engine.stop().expect("it can be waited for").success());

    fs::remove_file(ground.path("spool").join("warming")).expect("it is there");
    let engine = start(&ground, 0);
    send(&ground, (0..20).map(|n| format!("second{n:02}")));
    assert_eq!(from_cold(&site, &engine, 25).len(), 5);
    assert!(engine.log_tail().contains("given nothing until midnight"), "{}", engine.log_tail());
    assert!(engine.stop().expect("it can be waited for").success());

    let engine = start(&ground, 1);
    send(&ground, (0..21).map(|n| format!("tomorrow{n:02}")));
    assert_eq!(from_cold(&site, &engine, 46).len(), 25);
    assert!(engine.stop().expect("it can be waited for").success());
}

/// What a command prints.
fn told(ground: &Ground, words: &[&str]) -> String {
    let output = Command::new(engine_program().expect("the program is built"))
        .arg("--control")
        .arg(ground.path("control"))
        .args(words)
        .output()
        .expect("the command runs");
    String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr)
}

/// The one warm-up, in the form for machines.
fn row(ground: &Ground) -> Value {
    let listing: Value = serde_json::from_str(&told(ground, &["--json", "show", "warming"])).expect("JSON");
    assert_eq!(listing["total"], 1, "{listing}");
    listing["rows"][0].clone()
}

/// The second number of the list is in effect, and of its recipients so many are refused: the step of the next day, its limit, and
/// what is said of it.
fn after(gone: usize) -> (Value, Value, String) {
    let site = site();
    let refused = FateRule { prefix: "gone".into(), share: 1.0, fate: Fate::Unknown };
    site.behave("site", &Behaviour { fates: vec![refused], ..Persona::Fast.behaviour() });
    let ladder = "cold-virtual-mta-hold-above 5%\ncold-virtual-mta-lower-above 50%";
    let ground = ground(&site, &format!("5/d,10/d,15/d,20/d\n{ladder}"));
    let engine = start(&ground, 0);
    let set = told(&ground, &["set", "warming", "cold", "site.example", "--day=2"]);
    assert_eq!(set, "cold at site.example: step 2 of 4, 0 of 10 today\n");
    send(&ground, (0..gone).map(|n| format!("gone{n}")).chain((gone..12).map(|n| format!("good{n:02}"))));
    assert_eq!(from_cold(&site, &engine, 12 - gone as u64).len(), 10 - gone);
    assert!(engine.stop().expect("it can be waited for").success());

    let engine = start(&ground, 1);
    send(&ground, (0..30).map(|n| format!("tomorrow{n:02}")));
    let cold = from_cold(&site, &engine, 42 - gone as u64).len() - (10 - gone);
    let row = row(&ground);
    assert_eq!((&row["given"], &row["day"]), (&json!(cold), &json!(2)), "{row}");
    assert!(engine.stop().expect("it can be waited for").success());
    let said = format!("{}: {}", row["state"], row["why"]).replace('"', "");
    (row["step"].clone(), row["limit"].clone(), said)
}

#[test]
fn a_day_has_to_earn_the_next_number() {
    let said = |why: &str| why.to_owned();
    assert_eq!(after(0), (json!(3), json!(15), said("raised: 0 of 10 attempts failed the day before")));
    let held = said("held: 1 of 10 attempts failed the day before, above 5%");
    assert_eq!(after(1), (json!(2), json!(10), held));
    let lowered = said("lowered: 6 of 10 attempts failed the day before, above 50%");
    assert_eq!(after(6), (json!(1), json!(5), lowered));
}

#[test]
fn the_operator_sees_holds_and_sets_it() {
    let site = site();
    let ground = ground(&site, "10/d,15/d,20/d");
    let engine = start(&ground, 0);
    assert!(told(&ground, &["show", "warming"]).contains("0 warm-up(s)."));
    let unknown = told(&ground, &["set", "warming", "cold", "site.example", "--hold"]);
    assert!(unknown.contains("cold has had no mail for site.example yet"), "{unknown}");
    let not_cold = told(&ground, &["set", "warming", "warm", "site.example", "--day=2"]);
    assert!(not_cold.contains("no virtual MTA has `cold-virtual-mta warm`"), "{not_cold}");
    send(&ground, (0..4).map(|n| format!("first{n}")));
    let table = told(&ground, &["show", "warming"]);
    let line = table.lines().find(|line| line.contains("site.example")).unwrap_or_default();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells[..5], ["cold", "site.example", "1", "1/3", "4/10"], "{table}");
    let held = told(&ground, &["set", "warming", "cold", "site.example", "--hold"]);
    assert_eq!(held, "cold at site.example: step 1 of 3, 4 of 10 today, held\n");
    assert!(engine.stop().expect("it can be waited for").success());

    let engine = start(&ground, 1);
    assert_eq!(row(&ground)["step"], 1);
    assert_eq!((&row(&ground)["day"], &row(&ground)["state"]), (&json!(2), &json!("held")));
    let too_far = told(&ground, &["set", "warming", "cold", "site.example", "--day=4"]);
    assert!(too_far.contains("max-cold-virtual-mta-msg has 3 day(s) here"), "{too_far}");
    let set = told(&ground, &["set", "warming", "cold", "SITE.example", "--day=3"]);
    assert_eq!(set, "cold at site.example: step 3 of 3, 0 of 20 today, held\n");
    let released = told(&ground, &["set", "warming", "cold", "site.example", "--release"]);
    assert_eq!(released, "cold at site.example: step 3 of 3, 0 of 20 today\n");
    // What was ordered outlasts a crash.
    engine.kill().expect("killed");
    let engine = start(&ground, 1);
    send(&ground, (0..30).map(|n| format!("second{n:02}")));
    assert_eq!(from_cold(&site, &engine, 34).len(), 4 + 20);
    assert_eq!((&row(&ground)["given"], &row(&ground)["state"]), (&json!(20), &json!("set")));
    assert!(engine.stop().expect("it can be waited for").success());
}
