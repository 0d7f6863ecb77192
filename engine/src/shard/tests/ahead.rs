//! Who waits for a busy connection, and for how long.

use super::site::Say;
use super::spool::{Mail, TestProfiles, profile};
use super::world::World;
use crate::queue::QueueSettings;
use std::sync::Arc;
use std::time::Duration;

/// A world with two connections that have carried mail and have nothing to do.
fn two_idle() -> World {
    let mut usual = profile("[10.0.0.1]");
    usual.idle_timeout = Duration::from_secs(300);
    let settings = QueueSettings { max_rcpt_per_message: 1, max_smtp_out: 2, ..QueueSettings::default() };
    usual.scheduling = Arc::new(settings);
    let mut world = World::new(TestProfiles::new(usual));
    world.submit(&Mail::many(16, "a.example"));
    world.run(Duration::from_secs(10));
    assert_eq!((world.site.reached().len(), world.status().connections), (16, 2));
    world.site.taken.clear();
    world
}

#[test]
fn a_message_is_left_to_the_connection_that_is_about_to_send() {
    let mut world = two_idle();
    world.submit(&Mail::to(&["x@a.example"]));
    world.submit(&Mail::to(&["y@a.example"]));
    world.run(Duration::from_secs(1));
    let over: Vec<usize> = world.site.taken.iter().map(|t| t.connection).collect();
    assert!(over.len() == 2 && over[0] == over[1], "{over:?}");
    // Of three, no connection can be left more than one.
    world.site.taken.clear();
    for to in ["1@a.example", "2@a.example", "3@a.example"] {
        world.submit(&Mail::to(&[to]));
    }
    world.run(Duration::from_secs(1));
    let over: Vec<usize> = world.site.taken.iter().map(|t| t.connection).collect();
    assert!(over.len() == 3 && over.contains(&0) && over.contains(&1), "{over:?}");
    world.finish();
}

#[test]
fn nobody_is_left_to_a_connection_that_hangs() {
    let mut world = two_idle();
    let mut asked = 0;
    world.answer(move |ask| {
        asked += u32::from(ask.verb == "DATA");
        if ask.verb == "DATA" && asked == 1 { Say::Silence } else { ask.well() }
    });
    let begun = world.now.mono;
    world.submit(&Mail::to(&["x@a.example"]));
    world.submit(&Mail::to(&["y@a.example"]));
    world.run(Duration::from_secs(1));
    assert_eq!(world.site.reached(), ["y@a.example"]);
    assert!(world.site.taken[0].at.since(begun) < Duration::from_millis(20), "{:?}", world.site.taken[0].at);
    world.finish();
}
