//! Limits as the receiver counts.

use super::delivery::world;
use super::spool::{Mail, TestProfiles, profile};
use super::world::World;
use crate::base::Time;
use crate::limit::{Hold, Place, Rank, Rate, Shared};
use crate::shard::Input;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Most events in any window of this length.
fn most_in(window: Duration, times: &[Time]) -> usize {
    let inside = |from: usize| times[from..].iter().take_while(|at| at.since(times[from]) < window).count();
    (0..times.len()).map(inside).max().unwrap_or(0)
}

fn rcpts(world: &World) -> Vec<Time> {
    world.site.recipients.iter().map(|(at, _)| *at).collect()
}

#[test]
fn max_smtp_out_is_never_exceeded() {
    let mut world = world(|settings| {
        settings.max_smtp_out = 3;
        settings.max_rcpt_per_message = 1;
        settings.max_msg_per_connection = 2;
    });
    world.submit(&Mail::many(100, "a.example"));
    world.submit(&Mail { job: "other".into(), ..Mail::many(40, "b.example") });
    world.finish();
    assert_eq!(world.site.reached().len(), 140);
    // Both queues go to the one host.
    assert_eq!(world.peaks.values().max(), Some(&6));
}

#[test]
fn max_msg_rate_is_kept_and_used() {
    for batch in [1, 50] {
        let mut world = world(|settings| {
            settings.max_msg_rate = Some(Rate::per_second(100));
            settings.max_rcpt_per_message = batch;
        });
        world.submit(&Mail::many(2000, "a.example"));
        let begun = world.now.mono;
        world.finish();
        let times = rcpts(&world);
        assert_eq!(times.len(), 2000);
        let most = most_in(Duration::from_secs(1), &times);
        assert!(most <= 101, "{most} in a second");
        let took = times[1999].since(begun).as_secs_f64();
        assert!(took * 97.0 <= 2000.0, "{took} s for 2000 at 100/s");
    }
}

#[test]
fn a_slow_rate_gives_connections_back_while_it_waits() {
    let mut world = world(|settings| settings.max_msg_rate = Some(Rate::per_hour(60)));
    world.submit(&Mail::many(5, "a.example"));
    world.run(Duration::from_secs(35));
    assert_eq!((world.site.reached().len(), world.status().connections), (1, 0));
    world.finish();
    assert_eq!(most_in(Duration::from_secs(3600), &rcpts(&world)), 5);
    let times = rcpts(&world);
    assert!(times[4].since(times[0]) >= Duration::from_secs(220));
}

#[test]
fn max_connect_rate_is_kept() {
    let mut world = world(|settings| {
        settings.max_connect_rate = Some(Rate::per_second(5));
        settings.max_msg_per_connection = 1;
        settings.max_rcpt_per_message = 1;
    });
    world.submit(&Mail::many(60, "a.example"));
    world.finish();
    let times: Vec<Time> = world.site.connects.iter().map(|(at, ..)| *at).collect();
    assert_eq!((times.len(), world.site.reached().len()), (60, 60));
    assert!(most_in(Duration::from_secs(1), &times) <= 6);
    assert!(times[59].since(times[0]) < Duration::from_secs(13));
}

#[test]
fn the_next_host_of_a_plan_survives_a_lack_of_connections() {
    let shared = Arc::new(Shared::new(1));
    let mut usual = profile("[10.0.0.1];[10.0.0.2]");
    usual.scheduling = Arc::default();
    let mut world = World::sharing(TestProfiles::new(usual), shared.clone());
    let backup: SocketAddr = "10.0.0.2:25".parse().expect("an address");
    world.dial = Box::new(
        move |to| if to == backup { super::world::Dial::Accept } else { super::world::Dial::Refuse },
    );
    world.submit(&Mail::many(1, "a.example"));
    // Another shard is the next to have the connection that the refused one gives back.
    let hold = Hold {
        needs: [(Place::Total, 1)].into_iter().collect(),
        rank: Rank::new(50, 0),
        interruptible: false,
    };
    let mut told = Vec::new();
    assert!(shared.places.take(7, &hold, &mut told).is_err());
    world.run(Duration::from_millis(100));
    assert_eq!(world.open.len(), 0);
    shared.places.take(7, &hold, &mut told).expect("promised to it");
    shared.places.give_back(7, &hold, &mut told);
    assert_eq!(told.pop(), Some((0, Place::Total)));
    world.input(Input::Nudged(Place::Total));
    world.run(Duration::from_secs(2));
    assert_eq!(world.site.reached(), ["u0@a.example"]);
    assert_eq!(world.site.connects.len(), 2, "each host once");
    world.finish();
}
