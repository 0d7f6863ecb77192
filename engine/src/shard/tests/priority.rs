//! `queue-priority`: who gets a connection where there are too few, and who gives one up.

use super::shared::Shards;
use super::site::reply;
use super::spool::{Mail, TestProfiles, profile};
use super::world::World;
use crate::base::Time;
use crate::limit::Shared;
use crate::queue::QueueSettings;
use crate::shard::QueueProfile;
use std::sync::Arc;
use std::time::Duration;

fn of(priority: u8, change: impl FnOnce(&mut QueueSettings)) -> QueueProfile {
    let mut profile = profile("[10.0.0.1]");
    let mut settings = QueueSettings { priority, max_rcpt_per_message: 1, ..QueueSettings::default() };
    change(&mut settings);
    profile.scheduling = settings.into();
    profile
}

fn newsletter(change: impl FnOnce(&mut QueueSettings)) -> TestProfiles {
    TestProfiles::new(of(50, change)).with("urgent.example", of(90, |_| {}))
}

/// Shards with `connections` in all, and a receiver that takes a while for each message.
fn slow(profiles: &TestProfiles, count: u32, connections: u32) -> Shards {
    Shards(World::shards(profiles, count, &Arc::new(Shared::new(connections))))
}

fn arrivals(shards: &Shards, domain: &str) -> Vec<Time> {
    let taken = shards.0.iter().flat_map(|world| &world.site.taken);
    let to = |recipients: &[String]| recipients.iter().any(|address| address.ends_with(domain));
    taken.filter(|taken| to(&taken.recipients)).map(|taken| taken.at).collect()
}

#[test]
fn an_important_message_does_not_wait_for_a_newsletter() {
    for (count, of_urgent) in [(1, 0), (3, 0), (3, 2)] {
        let mut shards = slow(&newsletter(|_| {}), count, 2);
        shards.0[0].submit(&Mail::many(20_000, "news.example"));
        shards.0[count as usize / 2].submit(&Mail::many(20_000, "more.example"));
        let mut waits = Vec::new();
        for n in 0..30 {
            shards.run(Duration::from_secs(1), |shards| assert!(shards.open() <= 2));
            let asked = shards.0[0].now.mono;
            let to = vec![(format!("u{n}@urgent.example"), Vec::new())];
            shards.0[of_urgent].submit(&Mail { rows: to, ..Mail::to(&[]) });
            shards.nudge();
            shards.run(Duration::from_secs(1), |_| {});
            let arrived = arrivals(&shards, "urgent.example");
            assert_eq!(arrived.len(), n + 1, "after {waits:?} of {count} shards");
            waits.push(arrived[n].since(asked));
        }
        let longest = waits.iter().max().expect("some");
        assert!(*longest < Duration::from_millis(50), "{waits:?}");
        let done = arrivals(&shards, "news.example").len() + arrivals(&shards, "more.example").len();
        assert!(done > 9_000, "the newsletter goes on: {done}");
    }
}

#[test]
fn who_may_not_be_interrupted_keeps_its_connection() {
    let mut shards = slow(&newsletter(|settings| settings.interruptible = false), 1, 1);
    shards.0[0].submit(&Mail::many(2_000, "news.example"));
    shards.run(Duration::from_millis(100), |_| {});
    shards.0[0].submit(&Mail::many(1, "urgent.example"));
    shards.run(Duration::from_secs(1), |_| {});
    assert_eq!(shards.why_of(0, 1), "all connections are in use (total-max-smtp-out 1)");
    shards.run(Duration::from_secs(60), |_| {});
    assert_eq!(shards.reached(), [2_001]);
    assert_eq!(arrivals(&shards, "urgent.example").len(), 1);
}

#[test]
fn a_message_under_way_is_finished_first_unless_that_is_allowed() {
    for at_once in [false, true] {
        let mut shards = slow(&newsletter(|settings| settings.interruptible_at_once = at_once), 1, 1);
        // A receiver that never answers DATA.
        shards.0[0].answer(|ask| match ask.verb {
            "DATA" if ask.connection == 0 => super::site::Say::Silence,
            "QUIT" => super::site::Say::Last("221 bye".to_owned()),
            _ => reply(match ask.verb {
                "GREETING" => "220 mx",
                "DATA" => "354 go on",
                _ => "250 ok",
            }),
        });
        shards.0[0].submit(&Mail::many(1, "news.example"));
        shards.run(Duration::from_millis(100), |_| {});
        shards.0[0].submit(&Mail::many(1, "urgent.example"));
        shards.run(Duration::from_secs(2), |_| {});
        assert_eq!(arrivals(&shards, "urgent.example").len(), usize::from(at_once));
        if at_once {
            // The one that was cut off goes over the next connection, at once and once.
            assert_eq!(arrivals(&shards, "news.example").len(), 1);
            assert!(shards.0[0].seen.iter().all(|seen| seen.attempts <= 1), "{:?}", shards.0[0].seen);
        }
    }
}

#[test]
fn equals_share() {
    for (count, connections) in [(1, 1), (1, 4), (3, 2)] {
        let mut shards = slow(&TestProfiles::new(of(50, |_| {})), count, connections);
        shards.0[0].submit(&Mail::many(50_000, "first.example"));
        shards.run(Duration::from_secs(1), |_| {});
        shards.0[count as usize - 1].submit(&Mail::many(50_000, "second.example"));
        let before = shards.0[0].now.mono;
        shards.run(Duration::from_secs(10), |shards| assert!(shards.open() <= connections as usize));
        let second = arrivals(&shards, "second.example");
        assert!(second[0].since(before) < Duration::from_secs(1), "the first one came {:?}", second[0]);
        let first = arrivals(&shards, "first.example").iter().filter(|at| **at >= before).count();
        let share = second.len() as f64 / (first + second.len()) as f64;
        assert!((0.35..0.65).contains(&share), "{share} of {connections} connections, {count} shards");
    }
}

#[test]
fn a_virtual_mta_s_connections_go_to_the_more_important() {
    let mut profiles = newsletter(|_| {});
    Arc::get_mut(&mut profiles.vmtas[0]).expect("not shared yet").max_smtp_out = Some(1);
    let mut shards = slow(&profiles, 2, u32::MAX);
    shards.0[0].submit(&Mail::many(5_000, "news.example"));
    shards.run(Duration::from_secs(1), |_| {});
    shards.0[1].submit(&Mail::many(1, "urgent.example"));
    shards.nudge();
    shards.run(Duration::from_millis(100), |_| {});
    assert_eq!(arrivals(&shards, "urgent.example").len(), 1);
}
