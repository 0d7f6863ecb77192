//! Messages that leave as others than they came, by every way in: senders rewritten (`rewrite-list`), headers from files
//! (`include-headers-from`), a Date of the delivery (`date-header-time`), headers taken out (`remove-header`).

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use bench::ground::Ground;
use bench::http::Http;
use bench::site::ledger::{self, header};
use bench::site::{DoorConfig, LedgerMode, Persona, Site, SiteConfig, SiteHandle};
use bench::wait::until;
use serde_json::json;
use tests::accounting;
use tests::peer::Peer;
use tests::submission::site_with_messages;

const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "0123456789abcdef0123456789abcdef";
const LISTS: &str = "<rewrite-list house>\n  mail-from *@old.example *@bounce.new.example\n  \
    from-domain [*.]old.example new.example\n</rewrite-list>\n\
    <rewrite-list brand>\n  mail-from *@* bounce@brand.example\n  from-domain * brand.example\n</rewrite-list>";

/// A ground with `source` in every `<source>`, and where it serves HTTP.
fn ground(site: &SiteHandle, source: &str) -> (Ground, SocketAddr) {
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "");
    let free = TcpListener::bind((ground.listen.ip(), 0)).and_then(|listener| listener.local_addr());
    let http = free.expect("a free port");
    ground.add(&format!(
        "<transmissions-api>\n  api-key {KEY}\n</transmissions-api>\n\
         <transmissions-api-listener {http}>\n</transmissions-api-listener>"
    ));
    for name in ["127.0.0.0/8", "{pickup}", "{transmissions-api}"] {
        ground.add(&format!("<source {name}>\n  allow-mailmerge yes\n{source}\n</source>"));
    }
    (ground, http)
}

fn client(ground: &Ground) -> Peer {
    let mut peer = Peer::connect(ground.listen).expect("the engine greets");
    assert!(peer.say("EHLO me.example").expect("a reply").starts_with("250 "));
    peer
}

fn send(peer: &mut Peer, sender: &str, recipients: &[&str], message: &str) {
    let said = peer.send(sender, recipients, message).expect("a reply");
    assert!(said.starts_with("250 "), "{said}");
}

/// Sends `merge1` and `merge2`, the first of whom has a sender of his own.
fn merge(peer: &mut Peer) {
    for (line, code) in [
        ("XMRG FROM:<ann@old.example> VERP", "250"),
        ("XDFN domain=old.example *from=own@old.example", "250"),
        ("RCPT TO:<merge1@site.example>", "250"),
        ("XDFN domain=kept.example", "250"),
        ("RCPT TO:<merge2@site.example>", "250"),
        ("XPRT 1 LAST", "354"),
        ("From: Ann <ann@[domain]>\r\nSubject: x\r\n\r\ntext\r\n.", "250"),
    ] {
        let said = peer.say(line).expect("a reply");
        assert!(said.starts_with(code), "{line}: {said}");
    }
}

/// A campaign to `camp1` and `camp2`.
fn campaign(ground: &Ground) {
    let staged = ground.path("staging").join("camp");
    fs::create_dir(&staged).expect("staged");
    for (name, text) in [
        (
            "campaign.toml",
            "job = \"j\"\nenvelope-sender = \"ann@old.example\"\ntemplate = \"t.eml\"\nrecipients = \"r.csv\"\n",
        ),
        ("t.eml", "From: Ann <ann@{{ domain }}>\nSubject: x\n\ntext\n"),
        ("r.csv", "email,domain\ncamp1@site.example,old.example\ncamp2@site.example,kept.example\n"),
    ] {
        fs::write(staged.join(name), text).expect("written");
    }
    fs::rename(staged, ground.path("pickup").join("camp.campaign")).expect("dropped");
}

fn inject(http: SocketAddr, to: &str) {
    let body = json!({
        "envelope_sender": "ann@old.example",
        "recipients": [{"email": to}],
        "content": {"text_body": "text", "from": {"email": "ann@old.example"}, "subject": "x"},
    });
    let mut client = Http::connect(http, KEY).expect("it is served");
    let answer = client.post("/api/inject/v1", &[], body.to_string().as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// What each recipient has received, and from whom.
fn received(site: &SiteHandle, count: u64) -> HashMap<String, (String, Vec<u8>)> {
    until(PATIENCE, || (site.stats().recipients() >= count).then_some(())).expect("all is delivered");
    let one = |delivery: &ledger::Delivery| {
        let message = delivery.message.clone().expect("kept");
        (delivery.recipient.clone(), (delivery.sender.clone(), message))
    };
    site.ledger().deliveries.iter().map(one).collect()
}

/// A header's value; empty where it is not there.
fn value(message: &[u8], name: &str) -> String {
    header(ledger::split(message).0, name).unwrap_or_default().to_owned()
}

#[test]
fn senders_are_rewritten_on_every_way_in() {
    let site = site_with_messages();
    let (mut ground, http) = ground(&site, "  rewrite-list house");
    ground.vmta("plain", Ipv4Addr::new(127, 0, 78, 1));
    ground.add(LISTS);
    ground.add(
        "<virtual-mta branded>\n  smtp-source-host 127.0.78.2 b.sender.example\n  rewrite-list brand\n</virtual-mta>\n\
         <virtual-mta-pool both>\n  virtual-mta plain\n  virtual-mta branded\n</virtual-mta-pool>",
    );
    let engine = ground.start().expect("the engine starts");
    let mut peer = client(&ground);
    let message = "From: Ann <ann@mail.old.example>\nSubject: x\n\ntext\n";
    send(&mut peer, "<ann@old.example>", &["smtp@site.example"], message);
    send(&mut peer, "<ann@old.example> VERP", &["verp@site.example"], message);
    let pool = format!("X-Virtual-MTA: both\n{message}");
    send(&mut peer, "<ann@old.example>", &["pool1@site.example", "pool2@site.example"], &pool);
    merge(&mut peer);
    let file = format!("x-sender: ann@old.example\nx-receiver: file@site.example\n{message}");
    ground.pick_up("file", file.as_bytes()).expect("dropped");
    campaign(&ground);
    inject(http, "http@site.example");
    let mail = received(&site, 10);
    let of = |name: &str| {
        let (sender, message) = &mail[&format!("{name}@site.example")];
        (sender.as_str(), value(message, "From"))
    };
    let house = ("ann@bounce.new.example", "Ann <ann@new.example>".to_owned());
    for name in ["smtp", "file", "camp1"] {
        assert_eq!(of(name), house, "{name}");
    }
    assert_eq!(of("verp"), ("ann-verp=site.example@bounce.new.example", house.1.clone()));
    assert_eq!(of("merge1"), ("own-merge1=site.example@bounce.new.example", house.1.clone()));
    let kept = "Ann <ann@kept.example>".to_owned();
    assert_eq!(of("merge2"), ("ann-merge2=site.example@bounce.new.example", kept.clone()));
    assert_eq!(of("camp2"), ("ann@bounce.new.example", kept));
    assert_eq!(of("http"), ("ann@bounce.new.example", "ann@new.example".to_owned()));
    // Each member of a pool by its own list.
    let mut pool = [of("pool1"), of("pool2")];
    pool.sort();
    assert_eq!(pool, [house, ("bounce@brand.example", "Ann <ann@brand.example>".to_owned())]);
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    // Accounting knows senders as they came.
    let records = accounting::read(&ground.path("acct")).expect("accounting");
    let origins: Vec<&str> = records.iter().map(|record| record["orig"].as_str()).collect();
    assert!(origins.iter().all(|origin| origin.ends_with("@old.example")), "{origins:?}");
}

#[test]
fn a_report_goes_where_bounces_from_elsewhere_would() {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() })
        .expect("loopback");
    let lists = "  rewrite-list own\n  suppress-local-dsn no\n  accept-invalid-recipients yes";
    let (mut ground, _) = ground(&site, lists);
    ground.add("<rewrite-list own>\n  mail-from *@old.example *@site.example\n  mail-from *@quiet.example <>\n</rewrite-list>");
    let engine = ground.start().expect("the engine starts");
    let mut peer = client(&ground);
    for sender in ["<ann@quiet.example>", "<ann@old.example>"] {
        send(&mut peer, sender, &["no address@site.example"], "Subject: x\n\ntext\n");
    }
    let mail = received(&site, 1);
    assert_eq!(mail.keys().collect::<Vec<_>>(), ["ann@site.example"]);
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    assert_eq!(site.stats().recipients(), 1, "whom nobody can answer is told nothing");
    let bounces = accounting::read(&ground.path("acct")).expect("accounting");
    assert_eq!(bounces.iter().filter(|record| record["type"] == "b").count(), 2);
}

#[test]
fn headers_come_from_files_and_go_by_the_domain() {
    let site = site_with_messages();
    let (mut ground, http) =
        ground(&site, "  add-date-header yes\n  date-header-time delivery\n  add-message-id-header yes");
    ground.route("clean.example", site.addr("site"), "  remove-header X-Trace,x-all");
    for (name, text) in [("all", "X-All: 1\n"), ("own", "X-Own: 1\nList-Help:\n <https://h.example/>\n")] {
        fs::write(ground.path(name), text).expect("written");
    }
    let (all, own) = (ground.path("all"), ground.path("own"));
    ground.add(&format!(
        "host-id 7\ninclude-headers-from {}\n\
         <virtual-mta own>\n  smtp-source-host 127.0.78.3 o.sender.example\n  include-headers-from {}\n</virtual-mta>",
        all.display(),
        own.display()
    ));
    let engine = ground.start().expect("the engine starts");
    engine.pause("*/*").expect("paused");
    let mut peer = client(&ground);
    let message = "X-Virtual-MTA: own\nFrom: a@x.example\nX-Trace: 1\n\nX-Trace: text\n";
    send(&mut peer, "<a@x.example>", &["smtp@site.example"], message);
    send(&mut peer, "<a@x.example>", &["smtp@clean.example"], message);
    merge(&mut peer);
    campaign(&ground);
    inject(http, "http@site.example");
    until(PATIENCE, || (ground.waiting_files() == 0).then_some(())).expect("the campaign is taken");
    // A time that tells reception and delivery apart.
    let accepted = jiff::Timestamp::now().as_second();
    until(PATIENCE, || (jiff::Timestamp::now().as_second() > accepted).then_some(())).expect("time goes on");
    engine.resume("*/*").expect("resumed");
    let mail = received(&site, 7);
    let of = |to: &str| mail[to].1.as_slice();
    for to in ["smtp@site.example", "smtp@clean.example", "camp1@site.example", "http@site.example"] {
        let date = value(of(to), "Date");
        let date = jiff::fmt::rfc2822::parse(&date).unwrap_or_else(|e| panic!("{to}: {date:?}: {e}"));
        assert!(date.timestamp().as_second() > accepted, "{to}: {date}");
    }
    assert_eq!(value(of("merge1@site.example"), "Date"), "", "none is added to merged messages");
    for (to, message) in mail.iter().map(|(to, (_, message))| (to, message.as_slice())) {
        let id = value(message, "Message-ID");
        let left = id.strip_prefix('<').and_then(|id| id.strip_suffix("@mail.sender.example>"));
        let left = left.unwrap_or_else(|| panic!("{to}: {id}"));
        assert!(left.ends_with("-7") || left.contains("-7."), "{to}: {id}");
        assert_eq!(value(message, "X-All"), if to.ends_with("@clean.example") { "" } else { "1" }, "{to}");
    }
    let text = |to: &str| String::from_utf8(of(to).to_vec()).expect("text");
    let smtp = text("smtp@site.example");
    let (trace, rest) = smtp.split_once("\r\nX-All: 1\r\n").expect("it is there");
    assert!(
        trace.starts_with("Received: from me.example") && trace.lines().all(|l| !l.starts_with("From")),
        "{smtp}"
    );
    assert!(rest.starts_with("X-Own: 1\r\nList-Help:\r\n <https://h.example/>\r\nDate: "), "{smtp}");
    assert!(rest.contains("X-Trace: 1\r\n"), "{smtp}");
    let clean = text("smtp@clean.example");
    let (head, body) = clean.split_once("\r\n\r\n").expect("a body");
    assert!(!head.contains("X-Trace") && head.contains("X-Own: 1"), "{clean}");
    assert_eq!(body, "X-Trace: text\r\n");
    assert!(text("camp1@site.example").starts_with("X-All: 1\r\nDate: "));
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn a_file_of_headers_is_read_again_by_a_reload_or_the_old_one_stays() {
    let site = site_with_messages();
    let (mut ground, _) = ground(&site, "");
    let file = ground.path("headers");
    fs::write(&file, "X-All: first\n").expect("written");
    ground.add(&format!("include-headers-from {}", file.display()));
    let engine = ground.start().expect("the engine starts");
    let mut peer = client(&ground);
    let mut sent = |to: &str, count| {
        send(&mut peer, "<a@x.example>", &[to], "Subject: x\n\ntext\n");
        value(&received(&site, count)[to].1, "X-All")
    };
    assert_eq!(sent("one@site.example", 1), "first");
    fs::write(&file, "X-All: second\n\nnot a header\n").expect("written");
    let refused = engine.ask(&json!({"request": "reload"})).expect_err("the file is wrong").to_string();
    assert!(refused.contains("line 2: the line is empty, which would end the header"), "{refused}");
    assert_eq!(sent("two@site.example", 2), "first");
    fs::write(&file, "X-All: third\n").expect("written");
    engine.ask(&json!({"request": "reload"})).expect("reloaded");
    assert_eq!(sent("three@site.example", 3), "third");
    assert!(engine.stop().expect("it can be waited for").success());
}
