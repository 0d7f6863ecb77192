//! What the operator does: pause and resume, delete, reload, drain.

use super::delivery::world;
use super::site::{Say, reply};
use super::spool::{Mail, TestProfiles, profile};
use super::world::World;
use crate::limit::Rate;
use crate::queue::QueueName;
use crate::queue::QueueSettings;
use crate::route::RouteError;
use crate::shard::{
    Delivery, Input, NewProfiles, QueuePattern, QueueProfile, Selection, ShardReply, ShardRequest, Unreached,
};
use crate::spool::record::Disposition::{Deferred, Deleted, Delivered};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn pause(world: &mut World, queue: &str, paused: bool) -> u64 {
    match world.request(ShardRequest::Pause { queue: QueuePattern::parse(queue), paused }) {
        ShardReply::Count(count) => count,
        other => panic!("not a count: {other:?}"),
    }
}

fn delete(world: &mut World, selection: Selection) -> u64 {
    match world.request(ShardRequest::Delete { selection, quiet: false }) {
        ShardReply::Count(count) => count,
        other => panic!("not a count: {other:?}"),
    }
}

fn waits_for(world: &mut World) -> String {
    match world.request(ShardRequest::Queues) {
        ShardReply::Queues(queues) => queues[0].waits_for.clone(),
        other => panic!("not queues: {other:?}"),
    }
}

#[test]
fn a_paused_queue_sends_nothing_until_it_is_resumed() {
    let mut world = world(|_| {});
    world.submit(&Mail::to(&["a@a.example"]));
    world.run(SECOND);
    assert_eq!(pause(&mut world, "a.example/v1", true), 1);
    world.submit(&Mail::to(&["b@a.example", "c@b.example"]));
    world.run(100 * SECOND);
    assert_eq!(world.site.reached(), ["a@a.example", "c@b.example"]);
    assert_eq!((waits_for(&mut world).as_str(), world.status().waiting), ("queue is paused", 1));
    pause(&mut world, "a.example/v1", false);
    world.finish();
    assert_eq!(world.site.reached().len(), 3);
}

#[test]
fn of_pauses_and_resumes_that_name_a_queue_the_last_counts() {
    let mut world = world(|_| {});
    pause(&mut world, "*", true);
    pause(&mut world, "a.example", false);
    world.submit(&Mail::to(&["a@a.example", "b@b.example"]));
    world.run(100 * SECOND);
    assert_eq!(world.site.reached(), ["a@a.example"], "queues that come later too");
    pause(&mut world, "c.example", true);
    pause(&mut world, "*", false);
    world.submit(&Mail::to(&["c@c.example"]));
    world.finish();
    assert_eq!(world.site.reached().len(), 3);
}

#[test]
fn what_waits_is_told_by_domain_and_bytes() {
    let mut world = world(|_| {});
    pause(&mut world, "*", true);
    world.submit(&Mail::to(&["a@a.example", "b@a.example", "c@b.example"]));
    let waiting = |world: &mut World| match world.request(ShardRequest::Waiting) {
        ShardReply::Waiting { bytes, domains } => (bytes, domains),
        other => panic!("not what waits: {other:?}"),
    };
    let (bytes, domains) = waiting(&mut world);
    let queues = match world.request(ShardRequest::Queues) {
        ShardReply::Queues(queues) => queues,
        other => panic!("not queues: {other:?}"),
    };
    assert_eq!((domains.len(), world.status().waiting), (2, 3));
    assert!(bytes > 0 && domains[0] != domains[1], "{bytes} {domains:?}");
    assert_eq!(bytes, queues.iter().map(|q| q.bytes).sum::<u64>());
    pause(&mut world, "*", false);
    world.finish();
    assert_eq!(waiting(&mut world), (0, Vec::new()));
}

#[test]
fn a_pause_in_mid_flight_ends_after_the_transactions_under_way() {
    let mut world = world(|settings| settings.max_rcpt_per_message = 1);
    world.submit(&Mail::many(200, "a.example"));
    world.run(Duration::from_millis(5));
    pause(&mut world, "*", true);
    let before = world.status();
    world.run(100 * SECOND);
    let after = world.status();
    assert!(after.delivered > 0 && after.delivered <= before.delivered + 40, "{after:?}");
    assert_eq!((after.connections, after.waiting + after.delivered), (0, 200));
    pause(&mut world, "*", false);
    world.finish();
    assert_eq!(world.count(Delivered), 200);
}

#[test]
fn delete_takes_what_is_selected_and_no_more() {
    let mut world = world(|_| {});
    pause(&mut world, "*", true);
    world.submit(&Mail::many(3, "a.example"));
    world.submit(&Mail {
        job: "other".into(),
        sender: "x@y.example".into(),
        ..Mail::to(&["o@a.example", "o@b.example"])
    });
    world.submit(&Mail::to(&["later@b.example"]));
    let by_job = Selection {
        job: Some("other".into()),
        queue: Some(QueuePattern::parse("b.example")),
        ..Selection::default()
    };
    assert_eq!(delete(&mut world, by_job), 1);
    let by_recipient = Selection { recipient: Some("U1@a.example".into()), ..Selection::default() };
    assert_eq!(delete(&mut world, by_recipient), 1);
    let by_sender = Selection { sender: Some("x@y.example".into()), ..Selection::default() };
    assert_eq!(delete(&mut world, by_sender.clone()), 1);
    let text = "From: x@sender.example\r\n\r\n[value]\r\n";
    let rows = [("own@a.example", "X@y.example", "1"), ("other@a.example", "z@y.example", "2")];
    world.submit(&Mail { sender: "x@y.example".into(), ..Mail::merged(text, &rows) });
    assert_eq!(delete(&mut world, by_sender), 1, "what counts is the sender of the row");
    world.run(SECOND);
    let gone = Deleted { quiet: false };
    for address in ["o@b.example", "u1@a.example", "o@a.example", "own@a.example"] {
        assert_eq!(world.story(address), [gone], "{address}");
    }
    pause(&mut world, "*", false);
    world.finish();
    assert_eq!(world.site.reached(), ["later@b.example", "other@a.example", "u0@a.example", "u2@a.example"]);
}

#[test]
fn those_put_off_are_deleted_too() {
    let mut world = world(|_| {});
    world.answer(|ask| if ask.verb == "RCPT" { reply("450 later") } else { ask.well() });
    world.submit(&Mail::many(5, "a.example"));
    world.run(SECOND);
    assert_eq!(world.count(Deferred), 5);
    assert_eq!(delete(&mut world, Selection { job: Some("job".into()), ..Selection::default() }), 5);
    world.finish();
    assert_eq!(world.count(Deleted { quiet: false }), 5);
}

#[test]
fn mail_of_a_virtual_mta_that_is_not_there_is_held() {
    let mut world = world(|settings| settings.bounce_after = Duration::from_secs(10 * 86_400));
    world.submit(&Mail { vmta: "v9".into(), ..Mail::to(&["a@a.example"]) });
    world.run(86_400 * SECOND);
    assert!(world.seen.is_empty() && world.site.connects.is_empty());
    assert!(waits_for(&mut world).contains("v9"));
    let mut profiles = TestProfiles::new(profile("[10.0.0.1]"));
    let mut vmta = (*profiles.vmtas[0]).clone();
    vmta.name = "v9".into();
    profiles.vmtas.push(vmta.into());
    world.input(Input::Profiles(Box::new(profiles)));
    world.finish();
    assert_eq!(world.story("a@a.example"), [Delivered]);
}

#[test]
fn a_reload_that_removes_the_virtual_mta_holds_its_mail_even_on_open_connections() {
    let mut usual = profile("[10.0.0.1]");
    usual.idle_timeout = 60 * SECOND;
    let mut profiles = TestProfiles::new(usual);
    let mut world = World::new(profiles.clone());
    world.submit(&Mail::to(&["a@a.example"]));
    world.run(SECOND);
    let vmtas = std::mem::take(&mut profiles.vmtas);
    world.input(Input::Profiles(Box::new(profiles.clone())));
    world.submit(&Mail::to(&["b@a.example"]));
    world.run(10 * SECOND);
    assert_eq!(world.site.reached(), ["a@a.example"]);
    profiles.vmtas = vmtas;
    world.input(Input::Profiles(Box::new(profiles)));
    world.finish();
    assert_eq!(world.site.reached(), ["a@a.example", "b@a.example"]);
}

fn configure(world: &mut World, profiles: &TestProfiles) -> Unreached {
    let profiles = profiles.clone();
    match world.request(ShardRequest::Configure(NewProfiles::new(move || Box::new(profiles.clone())))) {
        ShardReply::Configured(unreached) => unreached,
        other => panic!("not configured: {other:?}"),
    }
}

#[test]
fn a_reload_that_removes_the_route_holds_the_mail_that_was_queued_for_it() {
    let routed = TestProfiles::new(profile("[10.0.0.1]"));
    let by_mx = TestProfiles::new(profile(""));
    let mut world = World::new(routed.clone());
    pause(&mut world, "*", true);
    world.submit(&Mail::to(&["a@a.example", "b@b.example"]));
    let lost = configure(&mut world, &by_mx);
    assert_eq!((lost.held, lost.routes_lost.len()), (2, 2));
    assert_eq!(configure(&mut world, &by_mx).held, 2, "a second reload changes nothing");
    assert!(world.regained.is_empty());
    assert_eq!(configure(&mut world, &routed).held, 0);
    assert_eq!(world.regained, ["a.example/v1", "b.example/v1"]);
    pause(&mut world, "*", false);
    world.finish();
    assert_eq!(world.site.reached(), ["a@a.example", "b@b.example"]);
}

#[test]
fn held_mail_waits_with_its_reason_and_asks_no_name_server_until_the_queue_is_resumed() {
    let mut world = World::new(TestProfiles::new(profile("[10.0.0.1]")));
    world.answer(|ask| if ask.verb == "RCPT" { reply("450 later") } else { ask.well() });
    world.submit(&Mail::to(&["a@a.example"]));
    world.run(SECOND);
    assert_eq!(world.count(Deferred), 1);
    assert_eq!(configure(&mut world, &TestProfiles::new(profile(""))).held, 1);
    let connects = world.site.connects.len();
    world.run(40 * 86_400 * SECOND);
    assert_eq!(
        (world.site.connects.len(), world.status().bounced),
        (connects, 0),
        "neither sent nor bounced"
    );
    assert!(waits_for(&mut world).contains("its route was taken out"), "{}", waits_for(&mut world));
    assert_eq!(world.lookups, 0);
    let text = "no answer".to_owned();
    let error = RouteError { permanent: false, status: "4.4.3", text, ttl: SECOND, no_mx: false };
    world.dns.insert("a.example".into(), Err(error));
    pause(&mut world, "a.example/v1", false);
    world.run(SECOND);
    assert_eq!(world.lookups, 1, "resumed, it goes by MX");
    assert_eq!(world.regained, ["a.example/v1"]);
}

#[test]
fn mail_that_comes_after_the_reload_into_an_empty_queue_is_not_held() {
    let mut world = World::new(TestProfiles::new(profile("[10.0.0.1]")));
    pause(&mut world, "*", true);
    world.submit(&Mail::to(&["a@a.example"]));
    configure(&mut world, &TestProfiles::new(profile("")));
    let all = Selection { queue: Some(QueuePattern::parse("a.example")), ..Selection::default() };
    assert_eq!(delete(&mut world, all), 1);
    world.submit(&Mail::to(&["b@a.example"]));
    assert_eq!(waits_for(&mut world), "queue is paused");
    assert_eq!(world.regained, ["a.example/v1"]);
}

#[test]
fn mail_that_was_held_before_the_start_is_held_after_it() {
    let lost = ["a.example", "b.example", "c.example"].map(|domain| QueueName::new(domain, "v1"));
    let mut world = World::after_a_start(TestProfiles::new(profile("")), lost.into());
    world.submit(&Mail::to(&["a@a.example", "b@a.example"]));
    world.submit(&Mail::to(&["c@a.example", "b@b.example"]));
    world.request(ShardRequest::Recovered);
    assert_eq!(world.regained, ["c.example/v1"], "it has no mail");
    world.run(3600 * SECOND);
    assert!(waits_for(&mut world).contains("its route was taken out"), "{}", waits_for(&mut world));
    assert_eq!(world.lookups, 0);
    configure(&mut world, &TestProfiles::new(profile("[10.0.0.1]")));
    world.finish();
    let mut reached = world.site.reached();
    reached.sort();
    assert_eq!(reached, ["a@a.example", "b@a.example", "b@b.example", "c@a.example"]);
    // What comes after the start into a queue without mail is not held.
    let mut world =
        World::after_a_start(TestProfiles::new(profile("")), [QueueName::new("a.example", "v1")].into());
    world.request(ShardRequest::Recovered);
    let text = "no answer".to_owned();
    let error = RouteError { permanent: false, status: "4.4.3", text, ttl: SECOND, no_mx: false };
    world.dns.insert("a.example".into(), Err(error));
    world.submit(&Mail::to(&["a@a.example"]));
    world.run(SECOND);
    assert_eq!(world.lookups, 1);
}

#[test]
fn a_queue_with_mail_keeps_its_type() {
    let mut world = world(|_| {});
    pause(&mut world, "*", true);
    world.submit(&Mail::to(&["a@a.example"]));
    let discard = QueueProfile { delivery: Delivery::Discard, ..profile("[10.0.0.1]") };
    let profiles = TestProfiles::new(discard);
    assert_eq!(configure(&mut world, &profiles), Unreached { keep_type: 1, ..Unreached::default() });
    world.submit(&Mail::to(&["b@b.example"]));
    pause(&mut world, "*", false);
    world.finish();
    assert_eq!(world.site.reached(), ["a@a.example"]);
    assert_eq!(world.story("b@b.example"), [Delivered]);
}

#[test]
fn a_storm_of_reloads_forgets_no_rate() {
    let mut usual = profile("[10.0.0.1]");
    let rate = Rate { count: 10, per: 60 * SECOND };
    usual.scheduling = QueueSettings { max_msg_rate: Some(rate), ..QueueSettings::default() }.into();
    let profiles = TestProfiles::new(usual);
    let mut world = World::new(profiles.clone());
    world.submit(&Mail::many(100, "a.example"));
    for _ in 0..600 {
        world.run(SECOND / 10);
        configure(&mut world, &profiles);
    }
    // The burst, and what a minute gives back.
    let delivered = world.status().delivered;
    assert!((10..=20).contains(&delivered), "{delivered} in a minute at 10/m");
    delete(&mut world, Selection { queue: Some(QueuePattern::all()), ..Selection::default() });
    world.finish();
}

#[test]
fn a_reload_changes_limits_and_hosts() {
    let mut world = world(|settings| settings.max_smtp_out = 1);
    pause(&mut world, "*", true);
    world.submit(&Mail { rows: Mail::many(900, "a.example").rows, ..Mail::to(&[]) });
    let mut usual = profile("[10.0.0.2]:2525");
    usual.scheduling =
        QueueSettings { max_smtp_out: 4, max_rcpt_per_message: 1, ..QueueSettings::default() }.into();
    world.input(Input::Profiles(Box::new(TestProfiles::new(usual))));
    pause(&mut world, "*", false);
    world.finish();
    let at = "10.0.0.2:2525".parse().expect("an address");
    assert_eq!((world.peaks.len(), world.peaks.get(&at)), (1, Some(&4)));
    assert_eq!(world.count(Delivered), 900);
}

#[test]
fn a_drain_finishes_what_is_in_flight_and_starts_nothing() {
    for steps in [0, 3, 10, 30, 60, 200] {
        let mut world = world(|settings| settings.max_rcpt_per_message = 1);
        world.submit(&Mail::many(200, "a.example"));
        for _ in 0..steps {
            world.step(crate::base::Time::NEVER);
        }
        world.input(Input::Drain);
        world.submit(&Mail::to(&["new@a.example"]));
        let mails = world.site.commands.iter().filter(|verb| *verb == "MAIL").count();
        world.run(10 * SECOND);
        assert!(world.shard.is_drained(), "after {steps} steps: {:?}", world.status());
        let after = world.site.commands.iter().filter(|verb| *verb == "MAIL").count();
        assert!(after <= mails + 20, "{mails} before, {after} after");
        assert_eq!(world.count(Delivered), world.site.reached().len());
        assert_eq!((world.seen.len() as u64 + world.status().waiting, world.open.len()), (201, 0));
    }
}

#[test]
fn a_drain_waits_for_a_slow_answer_but_not_for_ever() {
    let mut world = world(|_| {});
    world.answer(|ask| if ask.verb == "DOT" { Say::Silence } else { ask.well() });
    world.submit(&Mail::to(&["a@a.example"]));
    world.run(SECOND);
    world.input(Input::Drain);
    world.run(60 * SECOND);
    assert!(!world.shard.is_drained());
    world.run(600 * SECOND);
    assert!(world.shard.is_drained());
    assert_eq!(world.story("a@a.example").len(), 1);
}
