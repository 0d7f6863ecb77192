//! Hosts that cannot be reached, names that cannot be resolved, and sessions that do not come about.

use super::site::{Say, reply};
use super::spool::{Mail, TestProfiles, profile};
use super::world::{Dial, START, World};
use crate::base::{Time, Wall};
use crate::queue::QueueSettings;
use crate::route::{Route, RouteError, RouteHost};
use crate::smtp::client::StartTls;
use crate::spool::record::Disposition::{Bounced, Deferred, Delivered};
use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

fn world(hosts: &str) -> World {
    let mut usual = profile(hosts);
    let retry_after = vec![Duration::from_secs(300), Duration::from_secs(900)];
    usual.scheduling = QueueSettings { retry_after, ..QueueSettings::default() }.into();
    World::new(TestProfiles::new(usual))
}

fn to(text: &str) -> SocketAddr {
    text.parse().expect(text)
}

fn dialled(world: &World) -> Vec<String> {
    world.site.connects.iter().map(|(_, to, _)| to.ip().to_string()).collect()
}

#[test]
fn a_refused_connection_leads_to_the_next_host() {
    let mut world = world("[10.0.0.1];[10.0.0.2]");
    world.dial = Box::new(|at| if at == to("10.0.0.1:25") { Dial::Refuse } else { Dial::Accept });
    world.submit(&Mail::to(&["a@a.example"]));
    world.finish();
    assert_eq!(dialled(&world), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(world.story("a@a.example"), [Delivered]);
    assert!(world.now.mono < Time::from_millis(10_000));
    assert!(world.site.connects.iter().all(|(_, _, from)| *from == "10.1.0.1".parse().ok()));
}

#[test]
fn after_the_last_host_the_queue_waits_and_recovers() {
    let mut world = world("[10.0.0.1];[10.0.0.2]");
    let up = Rc::new(Cell::new(false));
    let is_up = up.clone();
    world.dial = Box::new(move |_| if is_up.get() { Dial::Accept } else { Dial::Refuse });
    world.submit(&Mail::many(100, "a.example"));
    world.run(Duration::from_secs(1300));
    // Tries at 0, 300 and 1200 s; the queue begins with the best host each time and asks no more of it than it has to.
    let tries: Vec<u64> = world.site.connects.iter().map(|(at, ..)| at.as_millis() / 1000 - 1).collect();
    for (from, until) in [(0, 1), (300, 302), (1200, 1203)] {
        assert!(tries.iter().any(|at| (from..until).contains(at)), "{tries:?}");
    }
    assert!(tries.iter().all(|at| [0, 1, 300, 301, 1200, 1201, 1202].contains(at)), "{tries:?}");
    let second = world.site.connects.iter().find(|(at, ..)| at.as_millis() > 200_000).expect("a second try");
    assert_eq!(second.1, to("10.0.0.1:25"), "the best host again");
    assert!(world.seen.is_empty(), "no recipient was tried");
    up.set(true);
    world.finish();
    assert_eq!(world.count(Delivered), 100);
}

#[test]
fn all_connections_find_the_host_that_works() {
    let mut world = world("[10.0.0.1];[10.0.0.2]");
    world.dial = Box::new(|at| if at == to("10.0.0.1:25") { Dial::Refuse } else { Dial::Accept });
    world.answer(|ask| if ask.verb == "EHLO" { reply("250 mx") } else { ask.well() });
    world.submit(&Mail::many(1000, "a.example"));
    world.run(Duration::from_millis(100));
    assert_eq!(world.peaks.get(&to("10.0.0.2:25")), Some(&20), "max-smtp-out");
    world.finish();
    assert_eq!(world.count(Delivered), 1000);
}

#[test]
fn a_host_that_does_not_answer_is_given_up_after_connect_timeout() {
    let mut world = world("[10.0.0.1];[10.0.0.2]");
    world.dial = Box::new(|at| if at == to("10.0.0.1:25") { Dial::Hang } else { Dial::Accept });
    world.submit(&Mail::to(&["a@a.example"]));
    world.finish();
    assert_eq!(world.site.connects[1].0.since(world.site.connects[0].0), Duration::from_secs(120));
    assert_eq!(world.story("a@a.example"), [Delivered]);
}

#[test]
fn a_host_that_never_greets_is_given_up() {
    let mut world = world("[10.0.0.1];[10.0.0.2]");
    world.answer(|ask| if ask.to == to("10.0.0.1:25") { Say::Silence } else { ask.well() });
    world.submit(&Mail::to(&["a@a.example"]));
    world.finish();
    assert_eq!(dialled(&world), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(world.story("a@a.example"), [Delivered]);
}

fn error(permanent: bool, status: &'static str) -> Result<Route, RouteError> {
    let (text, ttl) = ("no route".into(), Duration::from_secs(60));
    Err(RouteError { permanent, status, text, ttl, no_mx: false })
}

fn found() -> Result<Route, RouteError> {
    let host = RouteHost {
        name: "mx.a.example".into(),
        preference: 10,
        port: None,
        addresses: vec![[203, 0, 113, 5].into()],
    };
    Ok(Route { hosts: vec![host], ttl: Duration::from_secs(3600), no_mx: false, mx: Vec::new() })
}

#[test]
fn mail_waits_while_dns_fails() {
    let mut world = world("");
    world.dns.insert("a.example".into(), error(false, "4.4.3"));
    world.submit(&Mail::many(5, "a.example"));
    world.run(Duration::from_secs(200));
    assert!(world.seen.is_empty() && world.site.connects.is_empty());
    assert!(!world.queue_failures.is_empty() && world.lookups <= 4, "{} look-ups", world.lookups);
    world.dns.insert("a.example".into(), found());
    world.finish();
    assert_eq!((world.count(Delivered), dialled(&world)), (5, vec!["203.0.113.5".to_owned()]));
}

#[test]
fn a_domain_that_takes_no_mail_bounces() {
    let mut world = world("");
    world.dns.insert("a.example".into(), error(true, "5.1.10"));
    world.submit(&Mail::many(5000, "a.example"));
    world.finish();
    assert_eq!((world.count(Bounced), world.site.connects.len(), world.lookups), (5000, 0, 1));
    assert!(world.seen[0].status.starts_with("5.1.10"), "{}", world.seen[0].status);
}

/// A domain whose mail goes by its address, for want of MX records.
fn without_mx(bounce_upon_no_mx: Option<Duration>) -> World {
    let mut usual = profile("");
    usual.bounce_upon_no_mx = bounce_upon_no_mx;
    let mut world = World::new(TestProfiles::new(usual));
    world.dns.insert("a.example".into(), found().map(|route| Route { no_mx: true, ..route }));
    world
}

#[test]
fn a_domain_without_mx_bounces_at_once_only_where_told_to() {
    let mut world = without_mx(None);
    world.submit(&Mail::many(5, "a.example"));
    world.finish();
    assert_eq!(world.count(Delivered), 5);
    let fails = error(false, "4.4.4").map_err(|error| RouteError { no_mx: true, ..error });
    let exists = found().map(|route| Route { no_mx: true, ..route });
    for route in [exists, fails] {
        let mut world = without_mx(Some(Duration::ZERO));
        world.dns.insert("a.example".into(), route);
        world.submit(&Mail::many(5, "a.example"));
        world.run(Duration::from_secs(1));
        assert_eq!((world.count(Bounced), world.site.connects.len()), (5, 0));
        let (status, why) = (&world.seen[0].status, &world.seen[0].diagnostic);
        assert!(status.starts_with("5.4.4 ") && why == "a.example has no MX record", "{status} {why}");
        world.finish();
    }
    let mut world = without_mx(Some(Duration::ZERO));
    world.dns.insert("a.example".into(), found());
    world.submit(&Mail::many(5, "a.example"));
    world.finish();
    assert_eq!(world.count(Delivered), 5, "it has MX records");
}

#[test]
fn a_domain_without_mx_is_tried_by_its_address_until_its_mail_is_too_old() {
    let hour = Duration::from_secs(3600);
    let mut world = without_mx(Some(hour));
    world.dial = Box::new(|_| Dial::Refuse);
    world.submit(&Mail::to(&["a@a.example"]));
    world.run(hour - Duration::from_secs(60));
    assert!(world.seen.is_empty() && world.site.connects.len() > 3, "tried meanwhile");
    world.submit(&Mail::to(&["b@a.example"]));
    world.run(Duration::from_secs(1200));
    assert_eq!((world.story("a@a.example"), world.story("b@a.example")), (vec![Bounced], vec![]));
    let (status, why) = (&world.seen[0].status, &world.seen[0].diagnostic);
    assert!(status.starts_with("5.4.4 ") && why == "a.example has no MX record", "{status} {why}");
    world.dial = Box::new(|_| Dial::Accept);
    world.finish();
    assert_eq!(world.story("b@a.example"), [Delivered]);
}

#[test]
fn mail_that_is_refused_for_now_by_a_domain_without_mx_bounces_at_its_age_too() {
    let mut world = without_mx(Some(Duration::from_secs(3600)));
    world.answer(|ask| if ask.verb == "RCPT" { reply("451 later") } else { ask.well() });
    world.submit(&Mail::to(&["a@a.example"]));
    world.finish();
    assert_eq!(world.story("a@a.example").last(), Some(&Bounced));
    assert!(world.now.mono < Time::from_millis(4_300_000), "{:?}", world.now.mono);
}

#[test]
fn failing_starttls_falls_back_to_clear_once() {
    for broken in [reply("454 4.7.0 TLS not available"), Say::Drop, reply("220 go")] {
        let mut usual = profile("[10.0.0.1]");
        usual.starttls = StartTls::Opportunistic;
        let mut world = World::new(TestProfiles::new(usual));
        world.answer(move |ask| match ask.verb {
            "EHLO" => reply("250-mx\r\n250-STARTTLS\r\n250 PIPELINING"),
            "STARTTLS" => broken.clone(),
            "TLS" => Say::Drop,
            _ => ask.well(),
        });
        world.submit(&Mail::to(&["a@a.example"]));
        world.run(Duration::from_secs(1));
        assert_eq!((world.story("a@a.example"), world.site.connects.len()), (vec![Delivered], 2));
        world.submit(&Mail::to(&["b@a.example"]));
        world.run(Duration::from_secs(1));
        assert_eq!((world.site.reached().len(), world.site.connects.len()), (2, 3), "remembered");
        world.finish();
    }
}

#[test]
fn required_starttls_is_never_given_up() {
    let mut usual = profile("[10.0.0.1]");
    usual.starttls = StartTls::Required;
    usual.scheduling =
        QueueSettings { bounce_after: Duration::from_secs(3600), ..QueueSettings::default() }.into();
    let mut world = World::new(TestProfiles::new(usual));
    world.submit(&Mail::to(&["a@a.example"]));
    world.finish();
    assert!(world.site.commands.iter().all(|verb| verb == "EHLO"), "{:?}", world.site.commands);
    assert!(world.site.taken.is_empty());
}

#[test]
fn a_refused_connection_while_others_work_holds_their_number() {
    let mut world = world("[10.0.0.1]");
    // Two connections are welcome; further ones hear 421.
    world.answer(|ask| match ask.verb {
        "GREETING" if ask.connection >= 2 => Say::Last("421 4.7.0 too many connections".into()),
        _ => ask.well(),
    });
    world.submit(&Mail::many(4000, "a.example"));
    world.finish();
    assert_eq!((world.count(Delivered), world.count(Deferred)), (4000, 0));
    assert!(world.site.connects.len() <= 20, "{} connections", world.site.connects.len());
}

#[test]
fn a_site_that_works_slowly_is_not_hammered_with_connections() {
    let mut usual = profile("[10.0.0.1]");
    usual.scheduling =
        QueueSettings { max_msg_rate: Some(crate::limit::Rate::per_second(1)), ..QueueSettings::default() }
            .into();
    let mut world = World::new(TestProfiles::new(usual));
    world.answer(|ask| match ask.verb {
        "GREETING" if ask.connection >= 1 => Say::Last("421 4.7.0 too many connections".into()),
        _ => ask.well(),
    });
    world.submit(&Mail::many(300, "a.example"));
    world.finish();
    assert_eq!(world.count(Delivered), 300);
    // One burst of max-smtp-out, then one at a time.
    assert!(world.site.connects.len() <= 20 + 300 / 60, "{} connections", world.site.connects.len());
}

#[test]
fn a_5xx_greeting_does_not_bounce_unless_told_to() {
    for strict in [false, true] {
        let mut usual = profile("[10.0.0.1]");
        usual.verdict.bounce_upon_5xx_greeting = strict;
        let mut world = World::new(TestProfiles::new(usual));
        world.answer(|ask| match (ask.verb, ask.connection) {
            ("GREETING", 0) => Say::Last("554 5.7.1 no service".into()),
            _ => ask.well(),
        });
        world.submit(&Mail::to(&["a@a.example"]));
        world.finish();
        assert_eq!(world.story("a@a.example"), [if strict { Bounced } else { Delivered }]);
    }
}

#[test]
fn a_dead_host_is_not_tried_first_by_every_connection() {
    let mut world = world("[10.0.0.1];[10.0.0.2]");
    world.dial = Box::new(|at| if at == to("10.0.0.1:25") { Dial::Refuse } else { Dial::Accept });
    for n in 0..20 {
        world.submit(&Mail::to(&[&format!("u{n}@a.example")]));
        world.run(Duration::from_secs(10));
    }
    assert_eq!(world.count(Delivered), 20);
    let dead = dialled(&world).iter().filter(|to| *to == "10.0.0.1").count();
    assert_eq!(dead, 1, "{:?}", dialled(&world));
    world.run(Duration::from_secs(300));
    world.submit(&Mail::to(&["late@a.example"]));
    world.finish();
    assert_eq!(dialled(&world).iter().filter(|to| *to == "10.0.0.1").count(), 2, "it is looked at again");
}

#[test]
fn a_host_that_ends_every_connection_at_its_first_mail_makes_its_queue_wait() {
    for say in [Say::Last("421 4.3.2 closing".into()), Say::Drop] {
        let mut usual = profile("[10.0.0.1]");
        let retry_after = vec![Duration::from_secs(300), Duration::from_secs(900)];
        usual.scheduling =
            QueueSettings { retry_after, max_rcpt_per_message: 1, ..QueueSettings::default() }.into();
        let mut world = World::new(TestProfiles::new(usual));
        let ends = Rc::new(Cell::new(true));
        let still = ends.clone();
        world.answer(move |ask| if ask.verb == "MAIL" && still.get() { say.clone() } else { ask.well() });
        world.submit(&Mail::many(1000, "a.example"));
        world.run(Duration::from_secs(1300));
        // Tries at 0, 300 and 1200 s, of a few connections each.
        assert!(world.count(Deferred) < 100, "{} recipients were put off", world.count(Deferred));
        assert!(world.site.connects.len() < 100, "{} connections", world.site.connects.len());
        assert!(!world.queue_failures.is_empty());
        ends.set(false);
        world.finish();
        assert_eq!(world.count(Delivered), 1000);
    }
}

/// Domains whose MX host is mx.a.example share a queue.
fn rolled_up() -> World {
    let mut profiles = TestProfiles::new(profile("")).with("a.rollup", profile("[10.0.0.1]"));
    profiles.rollup = Some(("mx.a.example", "a.rollup"));
    let mut world = World::new(profiles);
    let by_mx = found().map(|route| Route { mx: vec!["mx.a.example".into()], ..route });
    world.dns.insert("b.example".into(), by_mx.clone());
    world.dns.insert("a.example".into(), by_mx);
    world
        .dns
        .insert("c.example".into(), found().map(|route| Route { mx: vec!["mx.c.example".into()], ..route }));
    world
}

#[test]
fn domains_with_the_same_hosts_share_a_queue() {
    let mut world = rolled_up();
    for domain in ["a.example", "b.example", "c.example"] {
        world.submit(&Mail::many(500, domain));
    }
    world.finish();
    assert_eq!(world.count(Delivered), 1500);
    let mut by_queue: HashMap<String, usize> = HashMap::new();
    world.seen.iter().for_each(|seen| *by_queue.entry(seen.queue.clone()).or_default() += 1);
    assert_eq!(by_queue, HashMap::from([("a.rollup/v1".into(), 1000), ("c.example/v1".into(), 500)]));
}

#[test]
fn who_is_put_off_moves_when_his_time_has_come() {
    let mut world = rolled_up();
    world.submit(&Mail { start_at: Wall(START.0 + 3_600_000), ..Mail::many(10, "a.example") });
    world.submit(&Mail::to(&["x@a.example"]));
    world.run(Duration::from_secs(60));
    assert_eq!(world.count(Delivered), 1);
    world.finish();
    assert_eq!(world.count(Delivered), 11);
    assert!(world.seen.iter().all(|seen| seen.queue == "a.rollup/v1"));
}
