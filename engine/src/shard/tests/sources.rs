//! Limits of each source address (`source-ip-max-*`), as the receiver counts: never exceeded, and used while mail waits.

use super::spool::{Mail, TestProfiles, profile};
use super::world::World;
use crate::base::Time;
use crate::limit::{Rate, VolumeRate};
use crate::queue::{QueueSettings, SourceRules};
use crate::route::choose::SourceHost;
use crate::shard::{Input, ShardReply, ShardRequest};
use ipnet::IpNet;
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

fn address(n: u8) -> IpAddr {
    [10, 1, 0, n].into()
}

fn all() -> IpNet {
    "10.1.0.0/24".parse().expect("a network")
}

/// A queue to one host through `sources` addresses from 10.1.0.1 on.
fn profiles(sources: u8, rules: SourceRules, settings: QueueSettings) -> TestProfiles {
    let mut usual = profile("[10.0.0.1]");
    usual.scheduling = settings.into();
    usual.per_source = rules.into();
    let mut profiles = TestProfiles::new(usual);
    let host = |n| SourceHost { address: Some(address(n)), helo: "v1.sender.example".into() };
    let vmta = Arc::get_mut(&mut profiles.vmtas[0]).expect("not shared yet");
    vmta.sources = (1..=sources).map(host).collect();
    profiles
}

fn one_by_one() -> QueueSettings {
    QueueSettings { max_rcpt_per_message: 1, ..QueueSettings::default() }
}

fn waits_for(world: &mut World) -> String {
    match world.request(ShardRequest::Queues) {
        ShardReply::Queues(queues) => queues[0].waits_for.clone(),
        other => panic!("not queues: {other:?}"),
    }
}

/// When messages arrived, by the address they came from, with their sizes.
fn arrived(world: &World) -> HashMap<IpAddr, Vec<(Time, usize)>> {
    let mut arrived: HashMap<IpAddr, Vec<(Time, usize)>> = HashMap::new();
    for taken in &world.site.taken {
        let from = world.site.connects[taken.connection].2.expect("an address");
        arrived.entry(from).or_default().push((taken.at, taken.message.len()));
    }
    arrived
}

/// The most that came in any time of this length.
fn most_in(window: Duration, events: &[(Time, usize)]) -> usize {
    let inside = |from: usize| {
        let since = events[from].0;
        events[from..].iter().take_while(|(at, _)| at.since(since) < window).map(|(_, n)| n).sum()
    };
    (0..events.len()).map(inside).max().unwrap_or(0)
}

#[test]
fn each_address_has_its_connections() {
    let limits = vec![(all(), 2), ("10.1.0.2/32".parse().expect("a network"), 1)];
    let rules = SourceRules { max_smtp_out: limits, ..SourceRules::default() };
    let mut world = World::new(profiles(2, rules, one_by_one()));
    world.submit(&Mail::many(400, "a.example"));
    world.run(Duration::from_millis(10));
    let from = |n| world.site.connects.iter().filter(|(.., from)| *from == Some(address(n))).count();
    assert_eq!((from(1), from(2), world.open.len()), (2, 1, 3));
    assert_eq!(
        waits_for(&mut world),
        "every source address is at its limit (source-ip-max-smtp-out 2)",
        "of the one that is the first to have room"
    );
    world.finish();
    assert_eq!(world.site.reached().len(), 400);
}

#[test]
fn an_address_at_its_rate_leaves_the_mail_to_the_others() {
    let slow = ("10.1.0.1/32".parse().expect("a network"), Some(Rate::per_hour(1)));
    let rules = SourceRules { max_msg_rate: vec![slow], ..SourceRules::default() };
    let mut world = World::new(profiles(2, rules, one_by_one()));
    world.submit(&Mail::many(300, "a.example"));
    world.run(Duration::from_secs(60));
    let arrived = arrived(&world);
    assert_eq!((arrived[&address(1)].len(), arrived[&address(2)].len()), (1, 299));
}

#[test]
fn a_reload_keeps_what_was_counted() {
    let rules = |count| SourceRules {
        max_msg_rate: vec![(all(), Some(Rate::per_hour(count)))],
        ..SourceRules::default()
    };
    let mut world = World::new(profiles(1, rules(10), one_by_one()));
    world.submit(&Mail::many(300, "a.example"));
    world.run(Duration::from_secs(1));
    let before = world.site.taken.len();
    world.input(Input::Profiles(Box::new(profiles(1, rules(10), one_by_one()))));
    world.run(Duration::from_secs(1));
    assert_eq!(world.site.taken.len(), before);
    world.input(Input::Profiles(Box::new(profiles(1, SourceRules::default(), one_by_one()))));
    world.run(Duration::from_secs(10));
    assert_eq!(world.site.taken.len(), 300);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rates_of_addresses_are_kept_and_used(sources in 1u8..5, per_second in 3u32..60, batch in 1u32..4) {
        let rate = Rate::per_second(per_second);
        let rules = SourceRules { max_msg_rate: vec![(all(), Some(rate))], ..SourceRules::default() };
        let settings = QueueSettings { max_rcpt_per_message: batch, ..QueueSettings::default() };
        let mut world = World::new(profiles(sources, rules, settings));
        let expected = per_second as usize * usize::from(sources) * 20;
        world.submit(&Mail::many(expected * 2, "a.example"));
        world.run(Duration::from_secs(20));
        for taken in arrived_recipients(&world).values() {
            prop_assert!(most_in(Duration::from_secs(1), taken) <= (per_second + batch) as usize);
        }
        let reached = world.site.reached().len();
        prop_assert!(reached * 100 >= expected * 97, "{reached} of {expected}");
    }

    #[test]
    fn connections_of_addresses_are_opened_no_faster(sources in 1u8..5, per_second in 1u32..20) {
        let rate = Rate::per_second(per_second);
        let rules = SourceRules { max_connect_rate: vec![(all(), Some(rate))], ..SourceRules::default() };
        let settings = QueueSettings { max_msg_per_connection: 1, ..one_by_one() };
        let mut world = World::new(profiles(sources, rules, settings));
        let expected = per_second as usize * usize::from(sources) * 20;
        world.submit(&Mail::many(expected * 2, "a.example"));
        world.run(Duration::from_secs(20));
        for n in 1..=sources {
            let connects = world.site.connects.iter().filter(|(.., from)| *from == Some(address(n)));
            let times: Vec<(Time, usize)> = connects.map(|(at, ..)| (*at, 1)).collect();
            prop_assert!(most_in(Duration::from_secs(1), &times) <= per_second as usize + 1);
        }
        let connects = world.site.connects.len();
        prop_assert!(connects * 100 >= expected * 97, "{connects} of {expected}");
    }

    #[test]
    fn volumes_of_addresses_are_kept_and_used(sources in 1u8..4, messages in 3u64..30) {
        let mail = Mail::many(2000, "a.example");
        let mut measure = World::new(profiles(1, SourceRules::default(), one_by_one()));
        measure.submit(&Mail::many(1, "a.example"));
        measure.finish();
        let size = measure.site.taken[0].message.len() as u64;
        let rate = VolumeRate { bytes: size * messages, per: Duration::from_secs(1) };
        let rules = SourceRules { max_data_volume_rate: vec![(all(), Some(rate))], ..SourceRules::default() };
        let mut world = World::new(profiles(sources, rules, one_by_one()));
        world.submit(&mail);
        world.run(Duration::from_secs(10));
        for taken in arrived(&world).values() {
            prop_assert!(most_in(Duration::from_secs(1), taken) as u64 <= rate.bytes + size);
        }
        let expected = (messages as usize * usize::from(sources) * 10).min(2000);
        let reached = world.site.reached().len();
        prop_assert!(reached * 100 >= expected * 90, "{reached} of {expected}");
    }
}

/// Recipients of messages that arrived, by the address they came from.
fn arrived_recipients(world: &World) -> HashMap<IpAddr, Vec<(Time, usize)>> {
    let mut arrived: HashMap<IpAddr, Vec<(Time, usize)>> = HashMap::new();
    for taken in &world.site.taken {
        let from = world.site.connects[taken.connection].2.expect("an address");
        arrived.entry(from).or_default().push((taken.at, taken.recipients.len()));
    }
    arrived
}
