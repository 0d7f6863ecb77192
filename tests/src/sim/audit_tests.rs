//! The auditor can fail: each kind of violation, told to it by hand, is a broken promise, and the same story without it
//! is none.

use super::audit::Auditor;
use super::plan::{Domain, Door, Limits, Manners, Plan, Vmta, Work, Zone};
use super::steering::BackoffLimits;
use super::verdict::AtEnd;
use super::world::START;
use posthaste::spool::record::Disposition::{Bounced, Deferred, Deleted, Delivered, Expired, InDoubt};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

const ADDRESS: &str = "r0x0@d0.example";
const SECOND: Duration = Duration::from_secs(1);

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn plan() -> Plan {
    let limits = Limits {
        max_smtp_out: 2,
        msg_rate: Some((2, SECOND)),
        connect_rate: Some((3, SECOND)),
        volume_rate: None,
        from_source: None,
        source_rate: None,
        to_host: None,
        to_address: None,
        msg_per_connection: 4,
        rcpt_per_message: 2,
        retry_recipients_after: 60 * SECOND,
        bounce_after: 1000 * SECOND,
        backoff: Some(BackoffLimits {
            max_smtp_out: 1,
            msg_rate: (1, SECOND),
            connect_rate: (1, SECOND),
            lasts: 60 * SECOND,
            adaptive: true,
        }),
    };
    let manners = Manners {
        latency: Duration::from_millis(1),
        pipelining: false,
        chunking: false,
        no_ehlo: false,
        connections: 9,
        rate: 0,
        greylist: None,
        unknown: 0,
        full: 0,
        chaos: 0,
    };
    let zone = Zone::Fixed(ip("8.0.0.1"));
    let domain = Domain { name: "d0.example".into(), zone, limits, manners, directives: String::new() };
    let vmta = |n: u8| Vmta {
        name: format!("v{n}"),
        sources: vec![(ip(&format!("10.{n}.0.1")), format!("v{n}.sender.example"))],
        ..Vmta::default()
    };
    let work = |id: usize| Work {
        id,
        at: Duration::ZERO,
        door: Door::Smtp,
        vmta: "v1".into(),
        job: "job".into(),
        recipients: vec![format!("r{id}x0@d0.example"), format!("r{id}x1@d0.example")],
        message: b"Subject: x\r\n\r\nbody\r\n".to_vec(),
        start_at: None,
    };
    Plan {
        seed: 0,
        config: String::new(),
        domains: vec![domain],
        vmtas: vec![vmta(1), vmta(2)],
        pools: Vec::new(),
        total: 3,
        works: vec![work(0)],
        troubles: Vec::new(),
        disk: BTreeMap::new(),
        acceptances: BTreeMap::new(),
        calm: Duration::ZERO,
        shards: vec![1],
        segment_size: 4 << 20,
        spare: 3,
        commit_deadline: Duration::from_secs(60),
    }
}

/// An auditor that has heard of one acknowledged submission.
fn auditor() -> Auditor {
    let mut audit = Auditor::new(Rc::new(plan()));
    audit.offered(0);
    audit.acknowledged(0);
    audit
}

fn message() -> Vec<u8> {
    b"Received: from x\r\n\tby y\r\nSubject: x\r\n\r\nbody\r\n".to_vec()
}

fn connect(audit: &mut Auditor, wire: u64) {
    audit.dialled(wire, Some(ip("10.1.0.1")), (0, ip("8.0.0.1")));
    audit.connect(wire, Some(ip("10.1.0.1")), 0);
    audit.opened(wire);
    audit.hello(wire, "v1.sender.example");
}

fn attempt(audit: &mut Auditor, wire: u64, addresses: &[&str]) {
    audit.transaction(audit.now, wire);
    addresses.iter().for_each(|address| audit.recipient(audit.now, wire, address));
}

fn take(audit: &mut Auditor, wire: u64, addresses: &[&str]) -> u64 {
    attempt(audit, wire, addresses);
    let addresses: Vec<String> = addresses.iter().map(|a| (*a).to_owned()).collect();
    audit.taken(audit.now, wire, &addresses, &message())
}

fn hang_up(audit: &mut Auditor, wire: u64) {
    audit.lost(wire);
    audit.hung_up(wire);
    audit.closed(wire);
}

/// Both recipients are delivered, with the lines that follow from it.
fn deliver(audit: &mut Auditor) -> AtEnd {
    connect(audit, 1);
    let number = take(audit, 1, &[ADDRESS, "r0x1@d0.example"]);
    audit.heard(number);
    hang_up(audit, 1);
    audit.outcome(ADDRESS, Delivered, audit.wall);
    audit.outcome("r0x1@d0.example", Delivered, audit.wall);
    lines(&[('d', ADDRESS), ('d', "r0x1@d0.example")])
}

fn lines(lines: &[(char, &str)]) -> AtEnd {
    let mut end = AtEnd::default();
    for (kind, address) in lines {
        *end.lines.entry((*kind, (*address).to_owned())).or_default() += 1;
    }
    end
}

/// The promises that were broken, each once.
fn broken(audit: &Auditor) -> Vec<&'static str> {
    let mut promises: Vec<&str> = audit.breaches.iter().map(|breach| breach.promise).collect();
    promises.dedup();
    promises
}

#[test]
fn a_story_in_order_breaks_nothing() {
    let mut audit = auditor();
    let end = deliver(&mut audit);
    audit.finish(&end);
    assert_eq!(audit.breaches, []);
}

#[test]
fn an_acknowledged_recipient_without_an_end_is_lost() {
    let mut audit = auditor();
    audit.finish(&AtEnd::default());
    assert_eq!(broken(&audit), ["no loss"]);
}

#[test]
fn two_ends_are_one_too_many() {
    let mut audit = auditor();
    let mut end = deliver(&mut audit);
    audit.outcome(ADDRESS, Delivered, 0);
    *end.lines.get_mut(&('d', ADDRESS.to_owned())).expect("there") += 1;
    audit.finish(&end);
    assert_eq!(broken(&audit), ["one end"]);
}

#[test]
fn an_attempt_after_the_end_is_seen() {
    let mut audit = auditor();
    deliver(&mut audit);
    audit.now += 100 * SECOND;
    connect(&mut audit, 2);
    attempt(&mut audit, 2, &[ADDRESS]);
    assert_eq!(broken(&audit), ["one end"]);
}

#[test]
fn altered_bytes_are_seen() {
    let altered: [&[u8]; 4] = [
        b"Subject: x\r\n\r\nbody!\r\n",
        b"Subject: x\r\n\r\nbod",
        b"Subject: y\r\n\r\nbody\r\n",
        b"X-Added: z\r\nSubject: x\r\n\r\nbody\r\n",
    ];
    for message in altered {
        let mut audit = auditor();
        connect(&mut audit, 1);
        attempt(&mut audit, 1, &[ADDRESS]);
        audit.taken(audit.now, 1, &[ADDRESS.to_owned()], message);
        assert_eq!(broken(&audit), ["unaltered"], "{}", String::from_utf8_lossy(message));
    }
}

#[test]
fn a_second_rendering_that_differs_is_seen() {
    let mut audit = auditor();
    connect(&mut audit, 1);
    take(&mut audit, 1, &[ADDRESS]);
    attempt(&mut audit, 1, &[ADDRESS]);
    audit.taken(audit.now, 1, &[ADDRESS.to_owned()], b"Received: z\r\nSubject: x\r\n\r\nbody\r\n");
    assert_eq!(broken(&audit), ["unaltered"]);
}

#[test]
fn phantoms_are_seen() {
    let mut audit = auditor();
    connect(&mut audit, 1);
    attempt(&mut audit, 1, &["nobody@d0.example"]);
    assert_eq!(broken(&audit), ["no phantom"]);

    let mut audit = Auditor::new(Rc::new(plan()));
    connect(&mut audit, 1);
    attempt(&mut audit, 1, &[ADDRESS]);
    assert_eq!(broken(&audit), ["no phantom"], "never offered");

    audit.breaches.clear();
    audit.offered(0);
    audit.refused_work(0, false);
    attempt(&mut audit, 1, &[ADDRESS]);
    assert_eq!(broken(&audit), ["no phantom"], "refused");
}

#[test]
fn a_delivery_that_no_receiver_knows_of_is_seen() {
    let mut audit = auditor();
    audit.outcome(ADDRESS, Delivered, 0);
    audit.outcome("r0x1@d0.example", Delivered, 0);
    audit.finish(&lines(&[('d', ADDRESS), ('d', "r0x1@d0.example")]));
    assert_eq!(broken(&audit), ["true ends"]);
}

#[test]
fn a_bounce_that_no_receiver_asked_for_is_seen() {
    let mut audit = auditor();
    audit.outcome(ADDRESS, Bounced, 0);
    assert_eq!(broken(&audit), ["no loss"]);
    let mut audit = auditor();
    audit.refused(ADDRESS);
    audit.outcome(ADDRESS, Bounced, 0);
    assert_eq!(audit.breaches, []);
}

#[test]
fn a_deletion_that_nobody_asked_for_is_seen() {
    let mut audit = auditor();
    audit.outcome(ADDRESS, Deleted { quiet: true }, 0);
    assert_eq!(broken(&audit), ["no loss"]);
    let mut audit = auditor();
    audit.deleted(|work| work.id == 0);
    audit.outcome(ADDRESS, Deleted { quiet: true }, 0);
    assert_eq!(audit.breaches, []);
}

#[test]
fn expiry_comes_neither_early_nor_late() {
    let mut audit = auditor();
    audit.outcome(ADDRESS, Expired, 999_000);
    assert_eq!(broken(&audit), ["bounce-after"]);
    let mut audit = auditor();
    audit.outcome(ADDRESS, Expired, 1_000_000);
    assert_eq!(audit.breaches, []);
    (audit.now, audit.wall) = (1010 * SECOND, 1_010_000);
    connect(&mut audit, 1);
    attempt(&mut audit, 1, &["r0x1@d0.example"]);
    assert_eq!(broken(&audit), ["bounce-after"]);
}

#[test]
fn the_age_of_mail_counts_from_its_start() {
    let late = |at: i64| {
        let mut audit = auditor();
        let mut plan = plan();
        plan.works[0].start_at = Some(500 * SECOND);
        audit.plan = Rc::new(plan);
        audit.outcome(ADDRESS, Expired, START.0 + at * 1000);
        audit
    };
    assert_eq!(broken(&late(1499)), ["bounce-after"]);
    assert_eq!(late(1500).breaches, []);
}

#[test]
fn a_repeat_needs_a_reason() {
    // Heard, and sent again.
    let mut audit = auditor();
    deliver(&mut audit);
    connect(&mut audit, 2);
    take(&mut audit, 2, &[ADDRESS]);
    audit.finish(&lines(&[('d', ADDRESS), ('d', "r0x1@d0.example")]));
    assert!(broken(&audit).contains(&"no repeats"), "{:?}", audit.breaches);

    // Not heard, and not in doubt in the log.
    for (doubt, wanted) in [(Deferred, vec!["in doubt"]), (InDoubt, vec![])] {
        let mut audit = auditor();
        connect(&mut audit, 1);
        take(&mut audit, 1, &[ADDRESS]);
        hang_up(&mut audit, 1);
        audit.outcome(ADDRESS, doubt, 0);
        audit.now += 100 * SECOND;
        let mut end = deliver_rest(&mut audit);
        end.lines.insert(('t', ADDRESS.to_owned()), 1);
        audit.finish(&end);
        assert_eq!(broken(&audit), wanted, "{:?}", audit.breaches);
    }
}

fn deliver_rest(audit: &mut Auditor) -> AtEnd {
    connect(audit, 7);
    let number = take(audit, 7, &[ADDRESS, "r0x1@d0.example"]);
    audit.heard(number);
    hang_up(audit, 7);
    audit.outcome(ADDRESS, Delivered, 0);
    audit.outcome("r0x1@d0.example", Delivered, 0);
    lines(&[('d', ADDRESS), ('d', "r0x1@d0.example")])
}

#[test]
fn a_crash_explains_only_what_came_right_before_it() {
    for (recorded, wanted) in [(4, vec![]), (6, vec!["no repeats"])] {
        let mut audit = auditor();
        audit.now = 5 * SECOND;
        connect(&mut audit, 1);
        let number = take(&mut audit, 1, &[ADDRESS]);
        audit.heard(number);
        audit.now = 10 * SECOND;
        audit.life_ended(recorded * SECOND, true);
        hang_up(&mut audit, 1);
        audit.now = 20 * SECOND;
        let end = deliver_rest(&mut audit);
        audit.finish(&end);
        assert_eq!(broken(&audit), wanted, "{:?}", audit.breaches);
    }
}

#[test]
fn connections_are_counted_at_a_time() {
    let mut audit = auditor();
    for wire in 0..2 {
        connect(&mut audit, wire);
    }
    assert_eq!(audit.breaches, []);
    connect(&mut audit, 2);
    assert_eq!(broken(&audit), ["max-smtp-out"]);
    audit.dialled(3, None, (0, ip("8.0.0.1")));
    assert_eq!(broken(&audit), ["max-smtp-out", "total-max-smtp-out"]);
}

#[test]
fn rates_are_counted_in_every_window() {
    for (pause, wanted) in [(600, vec![]), (400, vec!["max-msg-rate"])] {
        let mut audit = auditor();
        connect(&mut audit, 1);
        for _ in 0..4 {
            attempt(&mut audit, 1, &[ADDRESS]);
            audit.now += Duration::from_millis(pause * 5 / 6);
        }
        audit.life_ended(audit.now, false);
        assert_eq!(broken(&audit), wanted, "{pause}");
    }
    let mut audit = auditor();
    for wire in 0..5 {
        connect(&mut audit, wire);
        hang_up(&mut audit, wire);
    }
    audit.life_ended(audit.now, false);
    assert_eq!(broken(&audit), ["max-connect-rate"]);
}

#[test]
fn what_a_connection_carries_is_counted() {
    let mut audit = auditor();
    connect(&mut audit, 1);
    attempt(&mut audit, 1, &[ADDRESS, "r0x1@d0.example", ADDRESS]);
    assert_eq!(broken(&audit), ["max-rcpt-per-message"]);
    audit.breaches.clear();
    for _ in 0..4 {
        audit.transaction(audit.now, 1);
    }
    assert_eq!(broken(&audit), ["max-msg-per-connection"]);
}

#[test]
fn nothing_leaves_from_a_wrong_address() {
    let mut audit = auditor();
    audit.connect(1, Some(ip("10.9.9.9")), 0);
    assert_eq!(broken(&audit), ["own addresses"], "an address of nobody");
    let mut audit = auditor();
    audit.connect(1, None, 0);
    assert_eq!(broken(&audit), ["own addresses"], "the system's choice");
    let mut audit = auditor();
    audit.connect(1, Some(ip("10.2.0.1")), 0);
    audit.hello(1, "v2.sender.example");
    attempt(&mut audit, 1, &[ADDRESS]);
    assert_eq!(broken(&audit), ["own addresses"], "another VMTA's");
    let mut audit = auditor();
    audit.connect(1, Some(ip("10.1.0.1")), 0);
    audit.hello(1, "v2.sender.example");
    assert_eq!(broken(&audit), ["own addresses"], "another name");
}

#[test]
fn a_retry_waits_its_time() {
    for (wait, wanted) in [(59, vec!["retry-recipients-after"]), (60, vec![])] {
        let mut audit = auditor();
        connect(&mut audit, 1);
        attempt(&mut audit, 1, &[ADDRESS]);
        audit.put_off(ADDRESS);
        audit.now += wait * SECOND;
        attempt(&mut audit, 1, &[ADDRESS]);
        assert_eq!(broken(&audit), wanted);
    }
}

#[test]
fn a_paused_queue_is_left_alone() {
    let mut audit = auditor();
    audit.paused("d0.example/v1", true);
    audit.now += SECOND;
    connect(&mut audit, 1);
    assert_eq!(broken(&audit), ["pause"]);
    audit.breaches.clear();
    audit.paused("d0.example/v1", false);
    connect(&mut audit, 2);
    assert_eq!(audit.breaches, []);
}

#[test]
fn half_a_submission_is_seen() {
    let mut audit = Auditor::new(Rc::new(plan()));
    audit.offered(0);
    audit.life_ended(audit.now, true);
    audit.refused(ADDRESS);
    audit.outcome(ADDRESS, Bounced, 0);
    audit.finish(&lines(&[('b', ADDRESS)]));
    assert_eq!(broken(&audit), ["all or nothing"]);
}

#[test]
fn lines_and_log_must_agree() {
    let mut audit = auditor();
    let mut end = deliver(&mut audit);
    end.lines.remove(&('d', ADDRESS.to_owned()));
    audit.finish(&end);
    assert_eq!(broken(&audit), ["accounting"]);
    let mut audit = auditor();
    let mut end = deliver(&mut audit);
    end.lines.insert(('t', ADDRESS.to_owned()), 1);
    audit.finish(&end);
    assert_eq!(broken(&audit), ["accounting"]);
}

#[test]
fn what_is_left_at_the_end_is_seen() {
    type Leave = fn(&mut AtEnd);
    let left: [(Leave, &str); 5] = [
        (|end| end.waiting = 1, "liveness"),
        (|end| end.live_rows = 1, "liveness"),
        (|end| end.connections = 1, "every grant comes home"),
        (|end| end.shared = 1, "every grant comes home"),
        (|end| end.segments = 100, "reclaim"),
    ];
    for (leave, promise) in left {
        let mut audit = auditor();
        let mut end = deliver(&mut audit);
        leave(&mut end);
        audit.finish(&end);
        assert_eq!(broken(&audit), [promise]);
    }
}

#[test]
fn limits_of_backoff_hold_while_it_lasts() {
    let mut audit = auditor();
    connect(&mut audit, 1);
    audit.mode("d0.example/v1", true);
    for _ in 0..2 {
        take(&mut audit, 1, &["r0x1@d0.example"]);
    }
    audit.now += SECOND;
    connect(&mut audit, 2);
    assert_eq!(broken(&audit), ["backoff-max-smtp-out"]);
    take(&mut audit, 2, &["r0x1@d0.example", ADDRESS]);
    attempt(&mut audit, 2, &[ADDRESS]);
    audit.now += 50 * SECOND;
    audit.mode("d0.example/v1", false);
    assert_eq!(broken(&audit)[1..], ["backoff", "backoff-max-msg-rate"]);
}
