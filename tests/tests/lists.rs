//! Lists: which virtual MTA a message goes through by its sender, recipients and headers, and who gets no mail at all; by
//! SMTP, the pickup directory and HTTP.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use bench::engine::Engine;
use bench::ground::Ground;
use bench::http::Http;
use bench::site::{Behaviour, DoorConfig, Fate, LedgerMode, Persona, Site, SiteConfig, SiteHandle};
use bench::wait::until;
use serde_json::json;
use tests::peer::Peer;
use tests::submission::site;

const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A ground with virtual MTAs `a`, `b` and `c` on 127.0.91.1 to 3, further lines for each of its sources, and where it
/// serves HTTP.
fn ground(site: &SiteHandle, source: &str) -> (Ground, SocketAddr) {
    let mut ground = Ground::new().expect("a directory");
    for (name, last) in [("a", 1), ("b", 2), ("c", 3)] {
        ground.vmta(name, [127, 0, 91, last].into());
    }
    ground.route("site.example", site.addr("site"), "");
    let free = TcpListener::bind((ground.listen.ip(), 0)).and_then(|listener| listener.local_addr());
    let http = free.expect("a free port");
    ground.add(&format!(
        "<transmissions-api>\n  api-key {KEY}\n</transmissions-api>\n\
         <transmissions-api-listener {http}>\n</transmissions-api-listener>\n\
         <source {{transmissions-api}}>\n{source}\n</source>\n\
         <source {{pickup}}>\n{source}\n</source>\n<source 127.0.0.0/8>\n{source}\n</source>"
    ));
    (ground, http)
}

fn peer(ground: &Ground) -> Peer {
    let mut peer = Peer::connect(ground.listen).expect("the engine greets");
    assert!(peer.say("EHLO me.example").expect("a reply").starts_with("250 "));
    peer
}

/// The last number of the address that each recipient's mail came from.
fn sources(site: &SiteHandle, engine: Engine, deliveries: u64) -> BTreeMap<String, u8> {
    until(PATIENCE, || (site.stats().recipients() >= deliveries).then_some(()))
        .unwrap_or_else(|_| panic!("{} of {deliveries} deliveries", site.stats().recipients()));
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    let ledger = site.ledger();
    assert_eq!(ledger.deliveries.len() as u64, deliveries);
    let of = |ip: std::net::IpAddr| ip.to_string().rsplit('.').next().and_then(|n| n.parse().ok());
    ledger.deliveries.iter().map(|d| (d.recipient.clone(), of(d.source).unwrap_or(0))).collect()
}

#[test]
fn a_pattern_list_chooses_the_virtual_mta_on_every_way_in() {
    let site = site();
    let (mut ground, http) = ground(&site, "  pattern-list choose\n  default-virtual-mta c");
    ground.add(
        "<pattern-list choose>\n  mail-from /^news@/ virtual-mta=a\n  rcpt-to /^vip/ virtual-mta=b\n  \
         header Subject /offer/ call-to:offers\n</pattern-list>\n\
         <pattern-list offers>\n  header X-Tier /gold/ virtual-mta=b\n  * virtual-mta=a\n</pattern-list>",
    );
    let engine = ground.start().expect("the engine starts");
    let mut client = peer(&ground);
    for (from, to, message) in [
        ("<news@s.example>", "by-sender@site.example", "Subject: x\n\nText\n"),
        ("<x@s.example>", "vip.smtp@site.example", "Subject: x\n\nText\n"),
        ("<x@s.example>", "gold@site.example", "Subject: an offer\nX-Tier: gold\n\nText\n"),
        ("<x@s.example>", "offer@site.example", "Subject: an\n offer\n\nText\n"),
        ("<x@s.example>", "default@site.example", "Subject: x\n\nText\n"),
        ("<news@s.example>", "header@site.example", "X-Virtual-MTA: c\nSubject: x\n\nText\n"),
    ] {
        let said = client.send(from, &[to], message).expect("a reply");
        assert!(said.starts_with("250 "), "{to}: {said}");
    }
    let file = b"x-sender: x@s.example\nx-receiver: vip.pickup@site.example\nFrom: x@s.example\n\nText\n";
    ground.pick_up("one", file).expect("the pickup directory takes it");
    let message = "From: x@s.example\nSubject: offer\n\nText\n";
    let transmission = json!({
        "return_path": "x@s.example",
        "recipients": [{"address": "transmission@site.example"}],
        "content": {"email_rfc822": message},
    });
    let injection = json!({
        "envelope_sender": "x@s.example",
        "content": {"subject": "Hello", "from": {"email": "x@s.example"}, "text_body": "{{ email }}"},
        "recipients": [{"email": "vip.inject@site.example"}, {"email": "inject@site.example"}],
    });
    for (path, body) in [("/api/v1/transmissions", transmission), ("/api/inject/v1", injection)] {
        let mut client = Http::connect(http, KEY).expect("it is served");
        let answer = client.post(path, &[], body.to_string().as_bytes()).expect("an answer");
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    }
    let expected = [
        ("by-sender", 1),
        ("vip.smtp", 2),
        ("gold", 2),
        ("offer", 1),
        ("default", 3),
        ("header", 3),
        ("vip.pickup", 2),
        ("transmission", 1),
        ("vip.inject", 2),
        ("inject", 3),
    ];
    let expected: BTreeMap<String, u8> =
        expected.into_iter().map(|(name, vmta)| (format!("{name}@site.example"), vmta)).collect();
    assert_eq!(sources(&site, engine, expected.len() as u64), expected);
}

#[test]
fn who_is_suppressed_gets_nothing_on_any_way_in() {
    let site = site();
    let (mut ground, http) = ground(&site, "  suppression-lists unsubscribed,closed");
    fs::write(ground.path("unsubscribed"), "# by request\nJim@site.example\n\nann\n").expect("written");
    ground.add(
        "<address-list unsubscribed>\n  address-file unsubscribed\n</address-list>\n\
         <address-list closed>\n  address /^test[0-9]+@/\n  domain gone.example\n</address-list>",
    );
    let engine = ground.start().expect("the engine starts");
    let mut client = peer(&ground);
    assert!(client.say("MAIL FROM:<x@s.example>").expect("a reply").starts_with("250 "));
    for (to, list) in [
        ("jim@SITE.example", "unsubscribed"),
        ("Ann@any.example", "unsubscribed"),
        ("test7@site.example", "closed"),
        ("x@gone.example", "closed"),
    ] {
        let said = client.say(&format!("RCPT TO:<{to}>")).expect("a reply");
        assert_eq!(said, format!("550 5.7.1 recipient is in suppression list \"{list}\""), "{to}");
    }
    assert!(client.say("RSET").expect("a reply").starts_with("250 "));
    let said = client.send("<x@s.example>", &["smtp@site.example"], "Subject: x\n\nText\n").expect("a reply");
    assert!(said.starts_with("250 "), "{said}");

    let file =
        b"x-sender: x@s.example\nx-receiver: ok@site.example\nx-receiver: jim@site.example\nFrom: x@s.example\n\nText\n";
    ground.pick_up("one", file).expect("the pickup directory takes it");
    let reason = ground.path("bad").join("one.reason");
    let reason = until(PATIENCE, || fs::read_to_string(&reason).ok().filter(|text| !text.is_empty()));
    let told = reason.expect("a reason");
    assert!(
        told.starts_with(
            "one: line 3: recipient is in suppression list \"unsubscribed\": <jim@site.example>\n"
        ),
        "{told}"
    );

    let transmission = json!({
        "return_path": "x@s.example",
        "recipients": [{"address": "transmission@site.example"}, {"address": "jim@site.example"}],
        "content": {"email_rfc822": "From: x@s.example\n\nText\n"},
    });
    let injection = json!({
        "envelope_sender": "x@s.example",
        "content": {"subject": "Hello", "from": {"email": "x@s.example"}, "text_body": "x"},
        "recipients": [{"email": "inject@site.example"}, {"email": "x@gone.example"}],
    });
    let mut http = Http::connect(http, KEY).expect("it is served");
    let mut post = |path: &str, body: &serde_json::Value| {
        let answer = http.post(path, &[], body.to_string().as_bytes()).expect("an answer");
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.body
    };
    let answer = post("/api/v1/transmissions", &transmission);
    let expected = json!({"results": {"total_accepted_recipients": 1, "total_rejected_recipients": 1}});
    assert_eq!(answer, expected);
    let answer = post("/api/inject/v1", &injection);
    assert_eq!(answer["failed_recipients"], json!(["x@gone.example"]));
    assert_eq!(answer["errors"], json!(["x@gone.example: recipient is in suppression list \"closed\""]));

    let reached: Vec<String> = sources(&site, engine, 3).into_keys().collect();
    assert_eq!(reached, ["inject@site.example", "smtp@site.example", "transmission@site.example"]);
}

#[test]
fn copies_go_to_the_archive_and_messages_say_what_they_went_through() {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() })
        .expect("loopback");
    let source = "  bcc archive@site.example\n  add-x-virtual-mta-header yes\n  default-virtual-mta b";
    let (ground, _) = ground(&site, source);
    let engine = ground.start().expect("the engine starts");
    let message = "X-Virtual-MTA: a\nSubject: x\n\nText\n";
    let said = peer(&ground).send("<x@s.example>", &["ann@site.example"], message).expect("a reply");
    assert!(said.starts_with("250 "), "{said}");
    let file = b"x-sender: x@s.example\nx-receiver: bob@site.example\nFrom: x@s.example\n\nText\n";
    ground.pick_up("one", file).expect("the pickup directory takes it");
    until(PATIENCE, || (site.stats().recipients() >= 4).then_some(())).expect("copies are delivered too");
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    let ledger = site.ledger();
    let mut seen: Vec<(&str, String)> = ledger
        .deliveries
        .iter()
        .map(|d| {
            let text = String::from_utf8_lossy(d.message.as_deref().unwrap_or_default()).into_owned();
            assert!(!text.contains("archive@"), "{text}");
            let named = text.lines().filter(|l| l.starts_with("X-Virtual-MTA:")).collect::<Vec<_>>();
            (d.recipient.as_str(), named.join("|"))
        })
        .collect();
    seen.sort();
    let of = |name: &str| format!("X-Virtual-MTA: {name}");
    let expected = [
        ("ann@site.example", of("a")),
        ("archive@site.example", of("a")),
        ("archive@site.example", of("b")),
        ("bob@site.example", of("b")),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_copy_that_fails_is_not_reported_to_the_sender() {
    let doors = vec![DoorConfig::with("site", Behaviour::default().with_fate("no", Fate::Unknown))];
    let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() })
        .expect("loopback");
    let (ground, _) = ground(&site, "  bcc no.archive@site.example\n  suppress-local-dsn no");
    let engine = ground.start().expect("the engine starts");
    let to = ["ann@site.example", "no.bob@site.example"];
    let said = peer(&ground).send("<x@site.example>", &to, "Subject: x\n\nText\n").expect("a reply");
    assert!(said.starts_with("250 "), "{said}");
    until(PATIENCE, || (site.stats().recipients() >= 2).then_some(())).expect("the message and a report");
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    let ledger = site.ledger();
    let reports: Vec<String> = ledger
        .deliveries
        .iter()
        .filter(|d| d.recipient == "x@site.example")
        .map(|d| String::from_utf8_lossy(d.message.as_deref().unwrap_or_default()).into_owned())
        .collect();
    assert_eq!((ledger.deliveries.len(), reports.len()), (2, 1));
    assert!(reports[0].contains("no.bob@") && !reports[0].contains("no.archive@"), "{}", reports[0]);
}

#[test]
fn connections_that_are_open_heed_the_lists_of_a_reload() {
    let site = site();
    let (mut ground, _) = ground(&site, "  suppression-lists unsubscribed");
    fs::write(ground.path("unsubscribed"), "jim@site.example\n").expect("written");
    ground.add("<address-list unsubscribed>\n  address-file unsubscribed\n</address-list>");
    let engine = ground.start().expect("the engine starts");
    let mut client = peer(&ground);
    assert!(client.say("MAIL FROM:<x@s.example>").expect("a reply").starts_with("250 "));
    let mut said = |who: &str| client.say(&format!("RCPT TO:<{who}@site.example>")).expect("a reply");
    assert!(said("jim").starts_with("550 5.7.1 ") && said("eve").starts_with("250 "));
    fs::write(ground.path("unsubscribed"), "eve@site.example\n").expect("written");
    let reloaded = engine.ask(&json!({"request": "reload"}));
    assert!(said("eve").starts_with("550 5.7.1 "), "{reloaded:?}");
    assert!(said("jim").starts_with("250 "));
    fs::write(ground.path("unsubscribed"), "eve eve\n").expect("written");
    let reloaded = engine.ask(&json!({"request": "reload"}));
    assert!(format!("{reloaded:?}").contains("line 1"), "{reloaded:?}");
    assert!(said("eve").starts_with("550 5.7.1 "), "what was in effect stays");
    assert!(engine.stop().expect("it can be waited for").success());
}
