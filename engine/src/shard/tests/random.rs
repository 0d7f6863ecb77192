//! Receivers that do anything; then calm, in which everything must come to its end.

use super::site::{Ask, Say, reply};
use super::spool::{Mail, TestProfiles, profile};
use super::world::{Dial, World};
use crate::base::Time;
use crate::limit::{Rate, Shared};
use crate::queue::QueueSettings;
use crate::shard::{Input, QueuePattern, ShardRequest};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const CALM: Time = Time::from_millis(7_200_000);

fn any_answer(random: &mut fastrand::Rng, ask: &Ask<'_>) -> Say {
    match random.u8(..200) {
        0..6 => reply("451 4.3.0 later"),
        6..10 => reply("452 4.5.3 too many"),
        10..14 => reply("550 5.1.1 no"),
        14..18 => Say::Last("421 4.3.2 closing".into()),
        18..21 => Say::Drop,
        21..23 => Say::Silence,
        23 => reply("599 nonsense"),
        24 => Say::Last("250 ok\r\n250 ok".into()),
        25..28 if ask.verb == "DATA" => Say::Choke("354 go".into(), random.usize(..100)),
        _ => ask.well(),
    }
}

fn any_settings(random: &mut fastrand::Rng) -> QueueSettings {
    QueueSettings {
        max_smtp_out: random.u32(1..6),
        max_msg_rate: random.bool().then(|| Rate::per_second(random.u32(1..50))),
        max_connect_rate: random.bool().then(|| Rate::per_second(random.u32(1..20))),
        max_msg_per_connection: random.u32(0..4),
        max_rcpt_per_message: random.u32(0..5),
        retry_after: vec![Duration::from_secs(60)],
        retry_recipients_after: Duration::from_secs(120),
        ..QueueSettings::default()
    }
}

fn story(seed: u64) -> World {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut profiles = TestProfiles::new(profile("[10.0.0.9]"));
    for n in 0..6 {
        let mut of_domain = profile(&format!("[10.0.0.{n}];[10.0.1.{n}]"));
        of_domain.scheduling = any_settings(&mut random).into();
        of_domain.pipeline_across_data = random.bool();
        of_domain.idle_timeout = Duration::from_secs(random.u64(0..3) * 20);
        profiles = profiles.with(&format!("d{n}.example"), of_domain);
    }
    let shared = Arc::new(Shared::new(random.u32(2..12)));
    let mut world = World::sharing(profiles.clone(), shared.clone());
    let mut answers = random.fork();
    world.answer(move |ask| if ask.now < CALM { any_answer(&mut answers, ask) } else { ask.well() });
    for n in 0..20 {
        let rows = (0..10).map(|i| (format!("u{n}-{i}@d{}.example", random.u8(..6)), Vec::new())).collect();
        world.submit(&Mail { rows, cold: random.bool(), job: format!("j{}", n % 3), ..Mail::to(&[]) });
        happening(&mut world, &mut random, &profiles);
        world.run(Duration::from_millis(random.u64(..400_000)));
    }
    world.request(ShardRequest::Pause { queue: QueuePattern::all(), paused: false });
    if !world.room {
        world.give_room();
    }
    world.dial = Box::new(|_| Dial::Accept);
    world.run(CALM.since(world.now.mono));
    world.finish();
    assert!(shared.places.is_empty(), "connections in all");
    world
}

/// Something that happens to the engine now and then.
fn happening(world: &mut World, random: &mut fastrand::Rng, profiles: &TestProfiles) {
    match random.u8(..8) {
        0 => {
            let mut dials = random.fork();
            world.dial = Box::new(move |_| match dials.u8(..10) {
                0..3 => Dial::Refuse,
                3 => Dial::Hang,
                _ => Dial::Accept,
            });
        }
        1 => {
            let paused = random.bool();
            world.request(ShardRequest::Pause { queue: QueuePattern::all(), paused });
        }
        2 => world.room = false,
        3 if !world.room => world.give_room(),
        4 => world.input(Input::Profiles(Box::new(profiles.clone()))),
        _ => {}
    }
}

fn check(seed: u64) {
    let mut world = story(seed);
    let status = world.status();
    assert_eq!((status.waiting, status.connections, world.open.len()), (0, 0, 0));
    let ends = world.seen.iter().filter(|s| s.disposition.is_final()).count();
    assert_eq!(ends, 200, "every recipient has one end");
    assert_eq!(status.delivered + status.bounced, 200);
    // Who is told to have got it has got it.
    let reached: std::collections::HashSet<String> = world.site.reached().into_iter().collect();
    for seen in world.seen.iter().filter(|s| s.disposition == crate::spool::record::Disposition::Delivered) {
        assert!(reached.contains(&seen.address), "{} got nothing", seen.address);
    }
    for (to, peak) in &world.peaks {
        assert!(*peak <= 5, "{peak} connections to {to}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_recipient_comes_to_one_end(seed in any::<u64>()) {
        check(seed);
    }
}
