//! Mail comes in over SMTP and goes out over SMTP: each message that was acknowledged arrives once, unchanged, on
//! both storage back ends and where io_uring is refused.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use bench::campaign::Campaign;
use bench::ground::{Ground, programs};
use bench::people::People;
use bench::site::ledger::Delivery;
use bench::site::{DoorConfig, LedgerMode, Persona, Site, SiteConfig};
use bench::source::{self, Load, SourceConfig};
use bench::wait::until;
use tests::peer::Peer;

const PATIENCE: Duration = Duration::from_secs(60);

/// Relays `messages` with two recipients each and closes the account. The storage back end that was in use.
fn relay(runtime: &'static str, refuse_uring: bool, messages: u64) -> String {
    let doors = vec![DoorConfig::new("a", Persona::Fast), DoorConfig::new("b", Persona::Generic)];
    let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Entries, ..SiteConfig::default() })
        .expect("loopback");
    // The generic site would refuse and put off; here all is to arrive.
    site.behave("b", &Persona::Fast.behaviour());
    let mut ground = Ground::new().expect("a directory");
    ground.runtime = runtime;
    ground.route("a.example", site.addr("a"), "").route("b.example", site.addr("b"), "");

    let engine = if refuse_uring {
        ground.start_through(Command::new(programs().expect("our own path").join("without-uring")))
    } else {
        ground.start()
    }
    .expect("the engine starts");
    let load = Load {
        messages,
        recipients_per_message: 2,
        domains: vec!["a.example".into(), "b.example".into()],
        ..Load::default()
    };
    let report = source::start(SourceConfig::new(ground.listen, load.clone())).expect("a thread").join();
    assert_eq!((report.acked.len() as u64, report.broken), (messages, 0), "{:?}", report.replies);
    until(PATIENCE, || (site.stats().recipients() >= messages * 2).then_some(())).expect("all is delivered");
    engine.wait_until_empty(PATIENCE);
    let back_end = engine.status().expect("it answers").spool.back_end;
    assert!(engine.stop().expect("it can be waited for").success());

    let ledger = site.ledger();
    assert_eq!(ledger.deliveries.len() as u64, messages * 2);
    assert!(ledger.deliveries.iter().all(|d| d.bare_line_ends == 0));
    let received: HashMap<_, _> =
        ledger.deliveries.iter().map(|d| ((d.recipient.as_str(), d.id.as_str()), d.body_hash)).collect();
    for id in load.ids() {
        for k in 0..2 {
            let (rcpt, ledger_id) = (load.recipient(id, k), load.ledger_id(id));
            assert_eq!(
                received.get(&(rcpt.as_str(), ledger_id.as_str())),
                Some(&load.body_hash(id)),
                "{rcpt}"
            );
        }
    }
    back_end
}

#[test]
fn with_the_blocking_back_end() {
    assert_eq!(relay("blocking", false, 1000), "blocking");
}

#[test]
fn with_whatever_the_kernel_allows() {
    let back_end = relay("auto", false, 1000);
    assert!(["uring", "blocking"].contains(&back_end.as_str()), "{back_end}");
}

#[test]
fn where_io_uring_is_refused_it_falls_back_by_itself() {
    assert_eq!(relay("auto", true, 500), "blocking");
}

#[test]
fn the_envelope_headers_are_obeyed_and_do_not_go_out() {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() })
        .expect("loopback");
    let mut ground = Ground::new().expect("a directory");
    ground.vmta("special", [127, 0, 89, 1].into()).route("site.example", site.addr("site"), "");
    let engine = ground.start().expect("the engine starts");

    let mut peer = Peer::connect(ground.listen).expect("the engine greets");
    for line in ["EHLO peer.example", "MAIL FROM:<a@peer.example>", "RCPT TO:<b@site.example>"] {
        assert!(peer.say(line).expect("a reply").starts_with("250 "), "{line}");
    }
    assert!(peer.say("DATA").expect("a reply").starts_with("354 "));
    let message = "x-virtual-mta: special\r\nx-job: spring\r\nx-envid: e-1\r\nSubject: s\r\n\r\n..body\r\n.";
    assert!(peer.say(message).expect("a reply").starts_with("250 2."));
    until(PATIENCE, || (site.stats().recipients() == 1).then_some(())).expect("it is delivered");
    engine.wait_until_empty(PATIENCE);
    engine.stop().expect("it can be waited for");

    let ledger = site.ledger();
    let delivery = &ledger.deliveries[0];
    let text = String::from_utf8_lossy(delivery.message.as_deref().unwrap_or_default()).into_owned();
    assert!(text.ends_with("\r\n\r\n.body\r\n"), "{text}");
    assert!(
        !text.to_lowercase().contains("x-virtual-mta") && !text.to_lowercase().contains("x-job"),
        "{text}"
    );
    assert_eq!(delivery.source.to_string(), "127.0.89.1");
    let lines = tests::accounting::read(&ground.path("acct")).expect("accounting files");
    let line = lines.iter().find(|l| l["type"] == "d").expect("a delivery");
    assert_eq!(
        (line["jobId"].as_str(), line["envId"].as_str(), line["vmta"].as_str()),
        ("spring", "e-1", "special")
    );
}

#[test]
fn a_domain_of_one_label_gets_the_suffix_on_every_way_in() {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Entries, ..SiteConfig::default() })
        .expect("loopback");
    let mut ground = Ground::new().expect("a directory");
    ground.add("domain-suffix corp.example\n").route("site.corp.example", site.addr("site"), "");
    let engine = ground.start().expect("the engine starts");

    let mut peer = Peer::connect(ground.listen).expect("the engine greets");
    assert!(peer.say("EHLO peer.example").expect("a reply").starts_with("250 "));
    let said = peer.send("<a@web>", &["smtp@site"], "Subject: s\n\nText\n").expect("a reply");
    assert!(said.starts_with("250 2."), "{said}");
    let file = b"x-sender: a@web\nx-receiver: pickup@site\nFrom: a@b.example\n\nText\n";
    ground.pick_up("one", file).expect("the pickup directory takes it");
    let people = People::new(3, &[("site", 1)]);
    let campaign = Campaign::new("spring", people.clone(), 1);
    campaign.drop_into(&ground).expect("the pickup directory takes it");
    until(PATIENCE, || (site.stats().recipients() >= 3).then_some(())).expect("all is delivered");
    engine.wait_until_empty(PATIENCE);
    engine.stop().expect("it can be waited for");

    let ledger = site.ledger();
    let seen = |d: &Delivery| format!("{} to {}", d.sender, d.recipient);
    let mut seen: Vec<String> = ledger.deliveries.iter().map(seen).collect();
    seen.sort();
    let campaign = format!("bounce@news.example to {}.corp.example", people.nth(0).address());
    let from = "a@web.corp.example to";
    let mut wanted =
        [format!("{from} smtp@site.corp.example"), format!("{from} pickup@site.corp.example"), campaign];
    wanted.sort();
    assert_eq!(seen, wanted);
}
