//! Who goes first, and who not before his time: priorities and schedules from the client to the receiver.

use std::time::{Duration, SystemTime};

use bench::ground::Ground;
use bench::wait::until;
use jiff::Zoned;
use jiff::tz::TimeZone;
use tests::accounting;
use tests::peer::Peer;
use tests::submission::site;

const PATIENCE: Duration = Duration::from_secs(60);

fn client(ground: &Ground) -> Peer {
    let mut peer = Peer::connect(ground.listen).expect("the engine greets");
    assert!(peer.say("EHLO me.example").expect("a reply").starts_with("250 "));
    peer
}

/// The time in `seconds`, as headers say it.
fn at(seconds: i64) -> String {
    let now = Zoned::try_from(SystemTime::now()).expect("a time").with_time_zone(TimeZone::system());
    (now + jiff::SignedDuration::from_secs(seconds)).strftime("%F %T").to_string()
}

#[test]
fn the_urgent_overtake_the_others_of_their_queue_also_after_a_restart() {
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "max-smtp-out 1\nmax-rcpt-per-message 1");
    ground.add(
        "<pattern-list urgent>\n  header Subject /code/ recipient-priority=80\n</pattern-list>\n\
         <source 127.0.0.0/8>\n  pattern-list urgent\n  allow-mailmerge yes\n</source>",
    );
    let engine = ground.start().expect("the engine starts");
    engine.pause("*/*").expect("paused");
    let mut peer = client(&ground);
    for n in 0..20 {
        let said = peer.send("<x@s.example>", &[&format!("letter{n}@site.example")], "Subject: x\n\nText\n");
        assert!(said.expect("a reply").starts_with("250 "));
    }
    let said = peer.send("<x@s.example>", &["code@site.example"], "Subject: your code\n\nText\n");
    assert!(said.expect("a reply").starts_with("250 "));
    for (line, code) in [
        ("XMRG FROM:<b@s.example>", "250"),
        ("XDFN *priority=90", "250"),
        ("RCPT TO:<merged90@site.example>", "250"),
        ("XDFN *priority=1", "250"),
        ("RCPT TO:<merged1@site.example>", "250"),
        ("XPRT 1 LAST", "354"),
        ("From: x@s.example\r\nSubject: x\r\n\r\nText\r\n.", "250"),
    ] {
        let said = peer.say(line).expect("a reply");
        assert!(said.starts_with(code), "{line}: {said}");
    }
    engine.kill().expect("killed");
    let engine = ground.start().expect("it starts again");
    engine.resume("*/*").expect("resumed");
    until(PATIENCE, || (site.stats().recipients() >= 23).then_some(())).expect("all are delivered");
    let ledger = site.ledger();
    let order: Vec<&str> = ledger.deliveries.iter().map(|delivery| delivery.recipient.as_str()).collect();
    assert_eq!(order[..2], ["merged90@site.example", "code@site.example"], "{order:?}");
    assert_eq!(order.last(), Some(&"merged1@site.example"));
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn a_message_is_delivered_in_its_times_or_not_at_all() {
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "");
    ground.add("<source 127.0.0.0/8>\n  process-x-schedule yes\n</source>");
    let engine = ground.start().expect("the engine starts");
    let mut peer = client(&ground);
    let message = |times: &str| format!("X-Schedule: {times}\nSubject: x\n\nText\n");
    let said = peer.send("<x@s.example>", &["never@site.example"], &message("tomorrow")).expect("a reply");
    assert!(said.starts_with("550 5.6.0 ") && said.contains("write START/END"), "{said}");
    let opens = SystemTime::now() + Duration::from_secs(2);
    for (to, times) in [
        ("now@site.example", format!("{}/{}", at(-60), at(600))),
        ("soon@site.example", format!("{}/{}, {}/{}", at(-60), at(-30), at(3), at(600))),
        ("late@site.example", format!("{}/{}", at(-60), at(-30))),
    ] {
        let said = peer.send("<x@s.example>", &[to], &message(&times)).expect("a reply");
        assert!(said.starts_with("250 "), "{said}");
    }
    until(PATIENCE, || (site.stats().recipients() >= 2).then_some(())).expect("two are delivered");
    assert!(SystemTime::now() >= opens, "not before its time");
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    let records = accounting::read(&ground.path("acct")).expect("accounting");
    let of = |to: &str| records.iter().find(|record| record["rcpt"] == to).expect("a record").clone();
    assert_eq!(of("now@site.example")["type"], "d");
    assert_eq!(of("soon@site.example")["type"], "d");
    let late = of("late@site.example");
    assert_eq!((&*late["type"], &*late["dsnStatus"]), ("b", "4.4.7 (delivery time expired)"));
    assert_eq!(late["dsnDiag"], "no time of its schedule is left");
}
