//! Domains whose mail goes to the same MX hosts share a queue, by `<mx-rollup-list>`; others are sent there by `queue-to`.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use bench::ground::Ground;
use bench::wait::until;
use tests::accounting;
use tests::dns::{NameServer, Zone};
use tests::peer::Peer;
use tests::submission::site;

const PATIENCE: Duration = Duration::from_secs(60);

/// One message to ten recipients of each domain.
fn send(ground: &Ground, domains: &[&str], number: u32) {
    let mut peer = Peer::connect(ground.listen).expect("the engine greets");
    assert!(peer.say("EHLO me.example").expect("a reply").starts_with("250 "));
    for domain in domains {
        let recipients: Vec<String> = (0..10).map(|n| format!("r{number}x{n}@{domain}")).collect();
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let said = peer.send("<x@s.example>", &recipients, "Subject: x\n\nText\n").expect("a reply");
        assert!(said.starts_with("250 "), "{said}");
    }
}

#[test]
fn mail_of_one_provider_waits_in_one_queue() {
    let dns = Ipv4Addr::new(127, 0, 94, 53);
    let shared = ["one.example", "two.example", "three.example"];
    let tenants = ["four.example", "five.example"];
    let mut zone =
        Zone::default().a("mx.shared.example", Ipv4Addr::LOCALHOST).a("mx.far.example", Ipv4Addr::LOCALHOST);
    for domain in shared {
        zone = zone.mx(domain, 10, "mx.shared.example").mx(domain, 20, "mx.far.example");
    }
    for domain in tenants {
        let host = format!("{}.mx.tenants.example", domain.replace('.', "-"));
        zone = zone.mx(domain, 5, &host).a(&host, Ipv4Addr::new(127, 0, 0, 1));
    }
    let zone = zone.mx("six.example", 10, "mx.shared.example").mx("seven.example", 10, "mx.far.example");
    let _server = match NameServer::start(dns, zone) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            return eprintln!("skipped: port 53 takes root");
        }
        server => server.expect("it listens"),
    };
    let site = site();
    let port = site.addr("site").port();
    let mut ground = Ground::new().expect("a directory");
    ground.add(&format!(
        "name-server {dns}\nallow-destination 127.0.0.0/8\n\
         <mx-rollup-list>\n  mx mx.shared.example shared.rollup\n  mx *.mx.tenants.example tenants.rollup rollup-by-ip\n</mx-rollup-list>\n\
         <domain *>\n  default-smtp-port {port}\n</domain>\n\
         <domain shared.rollup>\n  max-smtp-out 1\n</domain>\n<domain tenants.rollup>\n  max-smtp-out 2\n</domain>\n\
         <domain six.example>\n  disable-mx-rollup yes\n</domain>\n<domain eight.example>\n  queue-to seven.example\n</domain>"
    ));
    let engine = ground.start().expect("the engine starts");
    let all = [
        "one.example",
        "two.example",
        "three.example",
        "four.example",
        "five.example",
        "six.example",
        "seven.example",
        "eight.example",
    ];
    send(&ground, &all, 0);
    until(PATIENCE, || (site.stats().recipients() >= 80).then_some(())).expect("all are delivered");
    // By now it is known where they belong; a restart must find out again.
    engine.pause("*/*").expect("paused");
    send(&ground, &all, 1);
    engine.kill().expect("killed");
    let engine = ground.start().expect("it starts again");
    engine.resume("*/*").expect("resumed");
    until(PATIENCE, || (site.stats().recipients() >= 160).then_some(())).expect("all are delivered");
    assert!(engine.stop().expect("it can be waited for").success());

    let lines = accounting::read(&ground.path("acct")).expect("accounting files");
    let mut queues: BTreeMap<&str, u32> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["type"] == "d") {
        *queues.entry(&line["queue"]).or_default() += 1;
    }
    let expected = [
        ("127-0-0-1.tenants.rollup/{default}", 40),
        ("seven.example/{default}", 40),
        ("shared.rollup/{default}", 60),
        ("six.example/{default}", 20),
    ];
    assert_eq!(queues, BTreeMap::from(expected));
    assert_eq!(site.stats().recipients(), 160, "nobody twice");
}
