//! Recipients that bounce without a try, more of them than there is room for: no more are in hand than that, and nobody is lost.

use super::delivery::world;
use super::spool::{Mail, TestProfiles, profile};
use super::world::{Dial, World};
use crate::mail::row::REFUSED_FIELD;
use crate::route::RouteError;
use crate::shard::{Input, QueuePattern, ShardRequest};
use crate::smtp::dsn::ROW_FIELDS;
use crate::spool::record::Disposition::{Bounced, Delivered, Expired};
use crate::spool::record::Reports;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const FAILURE: Reports = Reports { failure: true, delay: false, success: false, full: false };

fn reported(mail: Mail) -> Mail {
    Mail { reports: FAILURE, ..mail }
}

/// `gone.example` does not exist; reports are not made by themselves.
fn without_a_domain() -> World {
    let profiles = TestProfiles::new(profile("[10.0.0.1]")).with("gone.example", profile(""));
    let mut world = World::new(profiles);
    let gone = RouteError {
        permanent: true,
        status: "5.1.2",
        text: "no such domain".into(),
        ttl: HOUR,
        no_mx: false,
    };
    world.dns.insert("gone.example".into(), Err(gone));
    world.reports_open = Some(0);
    world
}

fn in_hand(world: &World) -> usize {
    let open = world.reports_open.expect("counted");
    assert!((512..640).contains(&open), "{open}");
    open
}

#[test]
fn a_queue_that_bounces_as_a_whole_takes_its_time() {
    let mut world = without_a_domain();
    world.submit(&reported(Mail::many(4000, "gone.example")));
    world.run(Duration::from_secs(5));
    let open = in_hand(&world);
    let status = world.status();
    assert_eq!((status.waiting as usize, status.bounced as usize), (4000 - open, open), "the rest is seen");
    while world.make_report() {}
    assert_eq!((world.count(Bounced), world.reported.len(), world.status().waiting), (4000, 4000, 0));
    world.finish();
}

#[test]
fn other_mail_goes_its_way_meanwhile() {
    let mut world = without_a_domain();
    world.submit(&reported(Mail::many(4000, "gone.example")));
    world.run(Duration::from_secs(5));
    in_hand(&world);
    world.submit(&reported(Mail::many(50, "b.example")));
    world.run(Duration::from_secs(5));
    assert_eq!(world.count(Delivered), 50);
}

#[test]
fn a_pause_a_new_configuration_and_a_stop_leave_the_rest_where_it_is() {
    let mut world = without_a_domain();
    world.submit(&reported(Mail::many(4000, "gone.example")));
    world.run(Duration::from_secs(5));
    let open = in_hand(&world);
    let queue = QueuePattern::parse("gone.example/*");
    world.request(ShardRequest::Pause { queue: queue.clone(), paused: true });
    while world.make_report() {}
    assert_eq!(world.count(Bounced), open);
    world.request(ShardRequest::Pause { queue, paused: false });
    world.run(Duration::from_secs(5));
    let open = open + in_hand(&world);

    world.input(Input::Profiles(Box::new(TestProfiles::new(profile("[10.0.0.1]")))));
    while world.make_report() {}
    world.run(Duration::from_secs(60));
    assert_eq!((world.count(Bounced), world.count(Delivered)), (open, 4000 - open), "it has a route now");

    let mut world = without_a_domain();
    world.submit(&reported(Mail::many(4000, "gone.example")));
    world.run(Duration::from_secs(5));
    let open = in_hand(&world);
    world.input(Input::Drain);
    while world.make_report() {}
    world.run(Duration::from_secs(1));
    assert!(world.shard.is_drained());
    assert_eq!((world.count(Bounced), world.status().waiting as usize), (open, 4000 - open));
}

#[test]
fn whoever_was_refused_as_he_came_waits_too() {
    let mut world = world(|_| {});
    world.reports_open = Some(0);
    for n in 0..1000 {
        let row =
            |name| (format!("{name}{n}@a.example"), ["", "", "550 5.7.1 no"].map(str::to_owned).to_vec());
        world.submit(&Mail {
            reports: FAILURE,
            rows: vec![row("a"), row("b")],
            fields: [ROW_FIELDS[0], ROW_FIELDS[1], REFUSED_FIELD].map(str::to_owned).to_vec(),
            ..Mail::to(&[])
        });
    }
    in_hand(&world);
    while world.make_report() {}
    world.finish();
    assert_eq!((world.count(Bounced), world.reported.len()), (2000, 2000));
}

#[test]
fn mail_that_is_too_old_waits_too() {
    let mut world = world(|settings| settings.bounce_after = HOUR);
    world.dial = Box::new(|_| Dial::Refuse);
    world.reports_open = Some(0);
    for n in 0..40 {
        world.submit(&reported(Mail::many(100, &format!("d{n}.example"))));
    }
    world.run(3 * HOUR);
    in_hand(&world);
    while world.count(Expired) < 4000 {
        while world.make_report() {}
        assert!(world.step(world.now.mono + HOUR), "{}", world.count(Expired));
    }
    assert_eq!(world.reported.len(), 4000);
}

/// The same bound for outcomes of which nobody is told, while the log takes none.
#[test]
fn the_log_comes_first() {
    let mut world = without_a_domain();
    world.room = false;
    world.submit(&Mail::many(20_000, "gone.example"));
    world.run(Duration::from_secs(5));
    let left = world.status().waiting;
    assert!((15_000..16_000).contains(&left), "{left}");
    world.give_room();
    world.finish();
    assert_eq!(world.count(Bounced), 20_000);
}
