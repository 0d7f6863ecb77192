//! Jobs with recipients in one queue.

use super::site::reply;
use super::spool::{Mail, TestProfiles, profile};
use super::world::World;
use crate::queue::QueueSettings;
use std::time::Duration;

fn one_connection(recipients: u32) -> World {
    let settings =
        QueueSettings { max_smtp_out: 1, max_rcpt_per_message: recipients, ..QueueSettings::default() };
    let mut profile = profile("[10.0.0.1]");
    profile.scheduling = settings.into();
    World::new(TestProfiles::new(profile))
}

fn job(name: &str, count: usize) -> Mail {
    let addresses: Vec<String> = (0..count).map(|n| format!("{name}{n}@d.example")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    Mail { job: name.into(), cold: true, ..Mail::to(&addresses) }
}

/// Transactions before the last recipient of the job had his message, and who came before him.
fn taken_before_the_end_of(world: &World, name: &str) -> usize {
    let last =
        world.site.taken.iter().rposition(|taken| taken.recipients.iter().any(|to| to.starts_with(name)));
    last.expect("some of the job arrived") + 1
}

#[test]
fn a_new_job_does_not_wait_for_a_long_one() {
    let mut world = one_connection(1);
    world.submit(&job("long", 5_000));
    world.run(Duration::from_millis(100));
    let before = world.site.taken.len();
    assert!((1..4_000).contains(&before), "{before} of the long one have gone");
    world.submit(&job("short", 50));
    world.submit(&job("other", 50));
    world.run(Duration::from_secs(600));
    assert_eq!(world.site.taken.len(), 5_100);
    // Three take turns, and what was on its way when they came is before them.
    for name in ["short", "other"] {
        let waited = taken_before_the_end_of(&world, name) - before;
        assert!(waited <= 3 * 50 + 20, "{name} was through after {waited}");
    }
}

#[test]
fn what_a_receiver_hands_back_keeps_no_job_waiting() {
    // A receiver that takes ten recipients where it is given a hundred.
    let mut world = one_connection(100);
    let mut recipients = 0;
    world.answer(move |ask| {
        recipients = match ask.verb {
            "RCPT" => recipients + 1,
            _ => 0,
        };
        if recipients > 10 { reply("452 4.5.3 too many recipients") } else { ask.well() }
    });
    world.submit(&job("long", 2_000));
    world.submit(&job("short", 50));
    world.run(Duration::from_secs(600));
    let recipients: usize = world.site.taken.iter().map(|taken| taken.recipients.len()).sum();
    assert_eq!(recipients, 2_050);
    assert!(taken_before_the_end_of(&world, "short") <= 30);
}
