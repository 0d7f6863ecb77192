//! Replies that ask for less: with the profiles of the program, and as the operator sees and steers it.

use std::time::Duration;

use bench::engine::Engine;
use bench::ground::Ground;
use bench::site::{Behaviour, Delivery, DoorConfig, LedgerMode, Persona, Site, SiteConfig, SiteHandle};
use bench::wait::until;
use serde_json::{Value, json};
use tests::peer::Peer;

const PATIENCE: Duration = Duration::from_secs(60);

/// A site that lets one message in and refuses further ones in the same second with this reply; and one for the operators.
fn site(reply: &'static str) -> SiteHandle {
    let mut behaviour = Behaviour { max_rate: Some(1), ..Behaviour::default() };
    behaviour.wording.rate = reply.into();
    let doors = vec![DoorConfig::with("site", behaviour), DoorConfig::new("ops", Persona::Fast)];
    Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() })
        .expect("loopback")
}

fn submit(ground: &Ground, domain: &str, letters: usize) {
    let mut peer = Peer::connect(ground.listen).expect("the engine greets");
    assert!(peer.say("EHLO me.example").expect("a reply").starts_with("250 "));
    for n in 0..letters {
        let said = peer.send("<x@s.example>", &[&format!("letter{n}@{domain}")], "Subject: x\n\nText\n");
        assert!(said.expect("a reply").starts_with("250 "));
    }
}

/// What the operators were told.
fn subjects(site: &SiteHandle) -> Vec<String> {
    let to_ops = site.ledger().deliveries.into_iter().filter(|letter| letter.recipient == "ops@ops.example");
    let text = |letter: Delivery| String::from_utf8(letter.message.unwrap_or_default()).expect("text");
    let subject =
        |text: String| text.lines().find_map(|line| Some(line.strip_prefix("Subject: ")?.to_owned()));
    to_ops.map(text).filter_map(subject).collect()
}

fn queue(engine: &Engine, name: &str) -> Value {
    let queues = engine.ask(&json!({"request": "queues", "pattern": name})).expect("it answers");
    queues["rows"][0].clone()
}

#[test]
fn a_providers_reply_leads_to_backoff_with_the_programs_profiles() {
    // S003 of the corpus of replies.
    let site = site(
        "421 4.7.28 [{ip}] Our system has detected an unusual rate of unsolicited mail originating from your IP \
         address. To protect our users from spam, mail sent from your IP address has been temporarily rate limited.",
    );
    let mut ground = Ground::new().expect("a directory");
    ground.add("include builtin:providers");
    ground.route("gmail.com", site.addr("site"), "");
    let engine = ground.start().expect("the engine starts");
    submit(&ground, "gmail.com", 20);
    let row = until(PATIENCE, || Some(queue(&engine, "gmail.com")).filter(|row| row["mode"] == "backoff"));
    let row = row.expect("backoff");
    let reason = row["backoff"]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("421 4.7.28 ") && reason.contains(" of builtin:providers:"), "{reason}");
    let (since, end) = (row["backoff"]["since"].as_i64(), row["backoff"]["until"].as_i64());
    // To the second: the two clocks are read apart.
    assert_eq!(end.zip(since).map(|(end, since)| (end - since + 500) / 1000), Some(2 * 3600), "{row}");
    let why = engine.ask(&json!({"request": "why", "what": "gmail.com"})).expect("it answers");
    let settings = why["queues"][0]["settings"].as_array().expect("settings");
    let value = |name: &str| settings.iter().find(|s| s["directive"] == name).map(|s| s["value"].clone());
    assert_eq!(value("backoff-max-msg-rate"), Some(json!("60/m")), "{why}");
    assert_eq!(value("smtp-pattern-list"), Some(json!("provider-google")));
    assert!(engine.log_tail().contains("enters backoff: 421 4.7.28"), "{}", engine.log_tail());
    engine.stop().expect("it can be waited for");
}

#[test]
fn the_operator_ends_backoff_and_takes_source_addresses_out() {
    let site = site("451 4.7.1 slow down");
    let mut ground = Ground::new().expect("a directory");
    ground
        .add("<smtp-pattern-list slow>\n  reply /slow down/ mode=backoff,defer-queue\n</smtp-pattern-list>");
    ground.vmta("v1", [127, 0, 0, 1].into());
    ground.add("<source 127.0.0.0/8>\n  default-virtual-mta v1\n</source>");
    ground.route(
        "site.example",
        site.addr("site"),
        "  smtp-pattern-list slow\n  backoff-retry-after 1h\n  \
         backoff-notify ops@ops.example\n  disabled-source-ip-notify ops@ops.example",
    );
    ground.route("ops.example", site.addr("ops"), "");
    let engine = ground.start().expect("the engine starts");
    submit(&ground, "site.example", 20);
    until(PATIENCE, || (queue(&engine, "site.example")["mode"] == "backoff").then_some(())).expect("backoff");
    let set =
        |mode: &str| engine.ask(&json!({"request": "set-mode", "queue": "site.example/*", "mode": mode}));
    assert_eq!(set("normal").expect("it answers")["message"], "1 queue(s) set to normal.");
    let row = queue(&engine, "site.example");
    assert_eq!(row["mode"], "normal");
    assert!(row["waiting_for"].as_str().is_some_and(|why| why.contains("defer-queue")), "it waits: {row}");
    let source = |order: &str| {
        engine.ask(
            &json!({"request": order, "queue": "site.example", "address": "127.0.0.1", "reenable_after": 60}),
        )
    };
    assert_eq!(
        source("disable-source").expect("it answers")["message"],
        "127.0.0.1 disabled for 1 queue(s)."
    );
    assert!(source("disable-source").is_err(), "it is disabled already");
    assert_eq!(queue(&engine, "site.example")["waiting_for"], "all its source addresses are disabled");
    let listed = engine.ask(&json!({"request": "disabled-sources", "queue": ""})).expect("it answers");
    let row = &listed["rows"][0];
    assert_eq!(
        (&row["queue"], &row["address"]),
        (&json!("site.example/v1"), &json!("127.0.0.1")),
        "{listed}"
    );
    assert_eq!(source("enable-source").expect("it answers")["message"], "127.0.0.1 enabled for 1 queue(s).");
    let none = engine.ask(&json!({"request": "set-mode", "queue": "no.example", "mode": "backoff"}));
    let told = none.expect_err("there is none").to_string();
    assert!(told.contains("there is no queue no.example"), "{told}");
    let told = until(PATIENCE, || Some(subjects(&site)).filter(|told| told.len() == 4)).expect("mails");
    let queue = "site.example/v1";
    let expected = [
        format!("{queue} is in backoff"),
        format!("{queue} is no longer in backoff"),
        format!("all source addresses of {queue} are disabled"),
        format!("a source address of {queue} is enabled again"),
    ];
    assert!(expected.iter().all(|subject| told.contains(subject)), "{told:?}");
    engine.stop().expect("it can be waited for");
}
