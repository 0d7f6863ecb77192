//! What lines of a pattern list make of the mail, of hosts and of source addresses.

use super::backoff::{SECOND, backoff, course, disable, queue, steered};
use super::site::{Say, reply};
use super::spool::{Mail, TestProfiles, profile};
use super::world::World;
use crate::route::SourceHost;
use crate::shard::{Course, Input, QueuePattern, ShardReply, ShardRequest, Steer, VmtaProfile};
use crate::spool::record::Disposition::{Bounced, Deferred, Delivered};
use std::net::IpAddr;
use std::sync::Arc;

fn dialled(world: &World) -> Vec<String> {
    world.site.connects.iter().map(|(_, to, _)| to.ip().to_string()).collect()
}

fn sources(world: &World) -> Vec<String> {
    world.site.connects.iter().filter_map(|(.., from)| from.map(|from| from.to_string())).collect()
}

#[test]
fn skip_mx_takes_mail_to_the_next_host_even_after_5xx() {
    for (verb, text) in [
        ("GREETING", "554 5.7.1 not here"),
        ("EHLO", "421 4.7.1 not here"),
        ("MAIL", "550 5.7.1 not here"),
        ("RCPT", "550 5.7.1 not here"),
        ("RCPT", "421 4.7.1 not here"),
        ("DATA", "554 5.7.1 not here"),
        ("DOT", "554 5.7.1 not here"),
    ] {
        let lines = vec![("not here", course(Course::SkipMx))];
        let mut world = World::new(TestProfiles::new(steered("[10.0.0.1];[10.0.0.2]", lines)));
        world.answer(move |ask| {
            if ask.verb == verb && ask.to.ip() == IpAddr::from([10, 0, 0, 1]) {
                reply(text)
            } else {
                ask.well()
            }
        });
        world.submit(&Mail::many(10, "a.example"));
        world.run(2 * SECOND);
        assert_eq!(world.site.reached().len(), 10, "{text} to {verb}: {:?}", world.seen);
        assert_eq!(world.count(Bounced), 0, "{text} to {verb}");
        let error = queue(&mut world).last_error.expect("an error").1;
        let host = "[10.0.0.1] (10.0.0.1)";
        let expected = format!(
            "skip of MX requested: \"{text}\" received from {host} while connected from v1.sender.example (10.1.0.1) to {host}"
        );
        assert_eq!(error, expected);
        world.finish();
    }
}

#[test]
fn a_skipped_host_is_asked_again_when_the_queue_would_have_come_back() {
    let lines = vec![("not here", course(Course::SkipMx))];
    let mut world = World::new(TestProfiles::new(steered("[10.0.0.1];[10.0.0.2]", lines)));
    world.answer(|ask| {
        if ask.verb == "GREETING" && ask.connection == 0 { reply("421 not here") } else { ask.well() }
    });
    for n in 0..3 {
        world.submit(&Mail::to(&[&format!("u{n}@a.example")]));
        world.run(60 * SECOND);
    }
    assert_eq!(dialled(&world), ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.1"]);
}

#[test]
fn with_no_host_left_the_queue_waits_and_then_begins_with_the_first() {
    let skip = Steer { defer_queue: false, ..course(Course::SkipMx) };
    let mut world = World::new(TestProfiles::new(steered("[10.0.0.1];[10.0.0.2]", vec![("not here", skip)])));
    world.answer(|ask| if ask.verb == "RCPT" { reply("550 5.7.1 not here") } else { ask.well() });
    world.submit(&Mail::to(&["a@a.example"]));
    world.run(50 * SECOND);
    assert_eq!(dialled(&world), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(world.story("a@a.example"), [Deferred, Deferred]);
    let state = queue(&mut world);
    assert!(state.retry_at.is_some() && state.waits_for.contains("retry-after"), "{state:?}");
    assert!(state.last_error.expect("an error").1.starts_with("no MX is left"));
    world.answer(|ask| ask.well());
    world.finish();
    assert_eq!(dialled(&world)[2..], ["10.0.0.1"]);
    assert_eq!(world.story("a@a.example"), [Deferred, Deferred, Delivered]);
    assert!(world.now.mono.as_millis() >= 100_000);
}

#[test]
fn in_one_line_the_queue_backs_off_skips_and_waits() {
    let all = Steer { course: Course::SkipMx, defer_queue: true, ..backoff() };
    let mut world = World::new(TestProfiles::new(steered("[10.0.0.1];[10.0.0.2]", vec![("blocked", all)])));
    world.answer(|ask| {
        if ask.verb == "GREETING" && ask.connection == 0 { reply("554 blocked") } else { ask.well() }
    });
    world.submit(&Mail::to(&["a@a.example"]));
    world.run(990 * SECOND);
    assert!(queue(&mut world).backoff.is_some());
    assert_eq!((dialled(&world).len(), world.queue_failures.len()), (1, 2), "backoff-retry-after counts");
    world.finish();
    assert_eq!(world.story("a@a.example"), [Delivered]);
}

#[test]
fn bounce_queue_gives_everybody_up_and_says_who_decided() {
    for verb in ["GREETING", "MAIL", "DOT"] {
        let lines = vec![("gone for good", course(Course::BounceQueue))];
        let mut world = World::new(TestProfiles::new(steered("[10.0.0.1]", lines)));
        world.answer(move |ask| if ask.verb == verb { reply("451 4.7.9 gone for good") } else { ask.well() });
        world.submit(&Mail::many(50, "a.example"));
        world.finish();
        assert_eq!((world.count(Bounced), world.count(Deferred)), (50, 0), "{verb}");
        let first = &world.seen[0];
        assert_eq!(first.status, "4.7.9 (SMTP reply matched bounce-queue pattern rule)");
        assert_eq!(first.diagnostic, "smtp;451 4.7.9 gone for good");
    }
}

#[test]
fn bounce_rcpt_is_for_4xx_to_rcpt_only() {
    let lines = vec![("full", course(Course::BounceRecipient))];
    let mut world = World::new(TestProfiles::new(steered("[10.0.0.1]", lines)));
    world.answer(|ask| match (ask.verb, ask.line) {
        ("RCPT", line) if line.contains("u1@") => reply("452 4.2.2 mailbox full"),
        ("RCPT", line) if line.contains("u2@") => reply("552 5.2.2 mailbox full"),
        ("RCPT", line) if line.contains("u3@") => reply("550 5.2.2 mailbox full"),
        ("DOT", _) if ask.now.as_millis() < 5000 => reply("452 4.2.2 disk full"),
        _ => ask.well(),
    });
    world.submit(&Mail::many(4, "a.example"));
    world.finish();
    let statuses = |address: &str| {
        world.seen.iter().filter(|s| s.address == address).map(|s| s.status.clone()).collect::<Vec<_>>()
    };
    assert_eq!(statuses("u1@a.example"), ["4.2.2 (SMTP reply matched bounce-rcpt pattern rule)"]);
    assert_eq!(world.story("u1@a.example"), [Bounced]);
    assert_eq!(world.story("u3@a.example"), [Bounced]);
    assert_eq!(statuses("u3@a.example"), ["5.2.2 (mailbox full)"]);
    assert_eq!(world.story("u0@a.example"), [Deferred, Delivered]);
    assert_eq!(world.story("u2@a.example")[0], Deferred, "552 to RCPT is read as 452");
}

/// Three source addresses.
fn three(usual: crate::shard::QueueProfile) -> TestProfiles {
    let mut profiles = TestProfiles::new(usual);
    let source = |n: u8| SourceHost { address: Some([10, 1, 0, n].into()), helo: "v1.sender.example".into() };
    let vmta = (*profiles.vmtas[0]).clone();
    profiles.vmtas = vec![Arc::new(VmtaProfile { sources: [1, 2, 3].map(source).into(), ..vmta })];
    profiles
}

#[test]
fn a_blocked_source_address_is_used_no_more_until_its_time_is_over() {
    let mut usual = steered("[10.0.0.1]", vec![("blocked", disable(None))]);
    usual.reenable_source_after = Some(300 * SECOND);
    let profiles = three(usual);
    let mut world = World::new(profiles.clone());
    world.answer(|ask| match ask.verb == "GREETING" && ask.connection == 0 {
        true => Say::Last("554 5.7.1 blocked".to_owned()),
        false => ask.well(),
    });
    for n in 0..6 {
        world.submit(&Mail::to(&[&format!("u{n}@a.example")]));
        world.run(20 * SECOND);
        // It lasts over a reload.
        world.input(Input::Profiles(Box::new(profiles.clone())));
    }
    assert_eq!(world.site.reached().len(), 6, "the other addresses try at once");
    assert_eq!(sources(&world).iter().filter(|from| *from == "10.1.0.1").count(), 1, "{:?}", sources(&world));
    let disabled = queue(&mut world).disabled_sources;
    assert_eq!((disabled.len(), disabled[0].address), (1, Some([10, 1, 0, 1].into())));
    assert_eq!(
        world.notices,
        ["source address 10.1.0.1 is disabled for a.example/v1: 554 5.7.1 blocked fits /blocked/"]
    );
    world.run(200 * SECOND);
    assert_eq!(world.notices[1..], ["source address 10.1.0.1 is enabled for a.example/v1: its time is over"]);
    let more: Vec<String> = (0..30).map(|n| format!("more{n}@a.example")).collect();
    world.submit(&Mail::to(&more.iter().map(String::as_str).collect::<Vec<_>>()));
    world.finish();
    assert!(sources(&world).iter().filter(|from| *from == "10.1.0.1").count() > 1);
}

#[test]
fn open_connections_of_a_disabled_address_are_used_no_more() {
    let mut world = World::new(three(steered("[10.0.0.1]", vec![("blocked", disable(None))])));
    world.answer(|ask| match ask.verb == "MAIL" && ask.connection == 3 {
        true => reply("451 4.7.1 blocked"),
        false => ask.well(),
    });
    world.submit(&Mail::many(400, "a.example"));
    world.run(SECOND / 2);
    let blocked = queue(&mut world).disabled_sources[0].address;
    let since = world.now.mono;
    let more: Vec<String> = (0..400).map(|n| format!("more{n}@a.example")).collect();
    world.submit(&Mail::to(&more.iter().map(String::as_str).collect::<Vec<_>>()));
    world.finish();
    let later = world.site.connects.iter().filter(|(at, _, from)| *at > since && *from == blocked).count();
    assert_eq!((later, world.count(Delivered)), (0, 800));
}

#[test]
fn with_no_source_address_left_the_queue_waits_for_the_operator() {
    let mut usual = steered("[10.0.0.1]", vec![("blocked", disable(None))]);
    usual.backoff.upon_all_sources_disabled = true;
    let mut world = World::new(TestProfiles::new(usual));
    world.answer(|ask| match ask.verb == "GREETING" && ask.connection == 0 {
        true => reply("421 4.7.0 blocked"),
        false => ask.well(),
    });
    world.submit(&Mail::to(&["a@a.example"]));
    world.run(20_000 * SECOND);
    assert_eq!(world.site.connects.len(), 1);
    let state = queue(&mut world);
    assert_eq!(state.waits_for, "all its source addresses are disabled");
    assert_eq!(state.backoff.map(|b| b.reason), Some("all source addresses are disabled".to_owned()));
    assert!(
        world.notices[0].ends_with("All SMTP sources for queue a.example/v1 are now disabled."),
        "{:?}",
        world.notices
    );
    let enable = |world: &mut World, address: &str| {
        let address = address.parse().expect("an address");
        match world.request(ShardRequest::EnableSource { queue: QueuePattern::all(), address }) {
            ShardReply::Count(count) => count,
            other => panic!("not a count: {other:?}"),
        }
    };
    assert_eq!((enable(&mut world, "10.1.0.9"), enable(&mut world, "10.1.0.1")), (0, 1));
    world.finish();
    assert_eq!(world.story("a@a.example"), [Delivered]);
    assert!(queue(&mut world).backoff.is_some(), "that does not end backoff");
}

#[test]
fn mail_of_a_queue_in_backoff_goes_through_another_virtual_mta_and_comes_back_with_its_end() {
    let mut profiles = TestProfiles::new(profile("[10.0.0.1]"));
    let other = VmtaProfile { name: "v2".into(), ..(*profiles.vmtas[0]).clone() };
    profiles.vmtas.push(Arc::new(other));
    profiles.backoff_reroute = Some(("v1", "v2"));
    let mut world = World::new(profiles);
    world.submit(&Mail::to(&["before@a.example"]));
    world.run(SECOND * 10);
    world.request(ShardRequest::SetMode { queue: QueuePattern::parse("a.example/v1"), backoff: true });
    world.submit(&Mail::to(&["within@a.example"]));
    world.run(SECOND * 10);
    world.request(ShardRequest::SetMode { queue: QueuePattern::parse("a.example/v1"), backoff: false });
    world.submit(&Mail::to(&["after@a.example"]));
    world.finish();
    let ways: Vec<(&str, &str)> = world.seen.iter().map(|s| (&*s.address, &*s.queue)).collect();
    let expected = [
        ("before@a.example", "a.example/v1"),
        ("within@a.example", "a.example/v2"),
        ("after@a.example", "a.example/v1"),
    ];
    assert_eq!(ways, expected);
}
