//! Storage that is slow, full or damaged.

use super::delivery::world;
use super::site::{Say, reply};
use super::spool::Mail;
use crate::base::{Time, Wall};
use crate::mail::priority::Priority;
use crate::shard::Input;
use crate::spool::record::Disposition::{Bounced, Deferred, Delivered, Expired};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn cold(mail: Mail) -> Mail {
    Mail { cold: true, ..mail }
}

#[test]
fn a_cold_content_is_read_once_and_then_sent() {
    let mut world = world(|settings| settings.max_rcpt_per_message = 1);
    world.submit(&cold(Mail::many(100, "a.example")));
    world.finish();
    assert_eq!(world.count(Delivered), 100);
}

#[test]
fn connections_wait_for_a_slow_read() {
    let mut world = world(|_| {});
    world.reads = false;
    world.submit(&cold(Mail::many(30, "a.example")));
    world.run(10 * SECOND);
    assert_eq!((world.unread.len(), world.site.taken.len()), (1, 0), "asked for once");
    assert!(world.status().connections > 0);
    world.read(true);
    world.run(SECOND);
    assert_eq!(world.count(Delivered), 30);
    world.finish();
}

#[test]
fn a_read_may_come_after_the_connection_is_gone() {
    let mut world = world(|settings| settings.max_smtp_out = 1);
    world.reads = false;
    world.submit(&cold(Mail::to(&["a@a.example"])));
    // The session is given up before the content comes, more than once.
    world.run(2000 * SECOND);
    assert_eq!(world.unread.len(), 1);
    assert!(world.site.connects.len() <= 2000 / 240, "{} connections", world.site.connects.len());
    world.read(true);
    world.finish();
    assert_eq!(world.story("a@a.example"), [Delivered]);
}

#[test]
fn a_host_that_closes_meanwhile_is_not_asked_again_and_again() {
    let mut world = world(|_| {});
    world.reads = false;
    world.answer(|ask| match (ask.verb, ask.connection) {
        ("EHLO", 0..10) => Say::Last("250 mx".into()),
        _ => ask.well(),
    });
    world.submit(&cold(Mail::to(&["a@a.example"])));
    world.run(10 * SECOND);
    assert_eq!((world.site.connects.len(), world.unread.len()), (1, 1));
    world.read(true);
    world.finish();
    assert_eq!(world.story("a@a.example").last(), Some(&Delivered));
}

#[test]
fn an_unreadable_content_is_put_off_and_everybody_else_goes_on() {
    let mut world = world(|settings| settings.bounce_after = 3600 * SECOND);
    world.reads = false;
    world.submit(&cold(Mail::many(20, "a.example")));
    world.submit(&Mail::to(&["fine@a.example"]));
    world.run(SECOND);
    world.read(false);
    world.run(5 * SECOND);
    assert_eq!((world.count(Deferred), world.story("fine@a.example")), (20, vec![Delivered]));
    assert!(world.seen.iter().any(|s| s.status.starts_with("4.3.0") && s.diagnostic.contains("damaged")));
    // It stays so: every further look ends the same way, and the recipients in the end.
    for _ in 0..30 {
        world.run(300 * SECOND);
        while !world.unread.is_empty() {
            world.read(false);
        }
    }
    world.finish();
    assert_eq!(world.count(Expired), 20);
}

#[test]
fn an_unreadable_content_is_not_laid_to_one_who_has_just_become_due() {
    let mut world = world(|settings| settings.max_smtp_out = 1);
    let later = Wall(world.now.wall.0 + 5000);
    world.reads = false;
    world.submit(&Mail { start_at: later, priority: Priority::new(90), ..Mail::to(&["fine@a.example"]) });
    world.submit(&cold(Mail::to(&["damaged@a.example"])));
    world.run(SECOND);
    world.pass(world.now.mono + 5 * SECOND);
    world.read(false);
    world.run(10 * SECOND);
    assert_eq!(
        (world.story("damaged@a.example"), world.story("fine@a.example")),
        (vec![Deferred], vec![Delivered])
    );
}

#[test]
fn an_unreadable_content_is_looked_at_again_after_a_while() {
    let mut world = world(|_| {});
    world.reads = false;
    world.submit(&cold(Mail::many(20, "a.example")));
    world.run(SECOND);
    world.read(false);
    world.run(5 * SECOND);
    assert_eq!(world.count(Deferred), 20);
    world.reads = true;
    world.finish();
    assert_eq!(world.count(Delivered), 20);
}

#[test]
fn nothing_new_starts_while_the_log_has_no_room() {
    let mut world = world(|settings| {
        settings.max_rcpt_per_message = 1;
        settings.max_smtp_out = 4;
    });
    world.room = false;
    world.submit(&Mail::many(300, "a.example"));
    world.run(60 * SECOND);
    let (mails, connects) = (world.site.taken.len(), world.site.connects.len());
    assert!((1..200).contains(&mails), "{mails}");
    world.submit(&Mail::many(10, "b.example"));
    world.run(10 * SECOND);
    assert_eq!((world.site.taken.len(), world.site.connects.len(), world.seen.len()), (mails, connects, 0));
    world.give_room();
    world.run(60 * SECOND);
    assert_eq!(world.count(Delivered), 310);
    world.finish();
}

#[test]
fn a_drain_while_the_log_has_no_room_loses_no_outcome() {
    let mut world = world(|settings| settings.max_rcpt_per_message = 1);
    world.room = false;
    world.submit(&Mail::many(300, "a.example"));
    world.run(Duration::from_millis(40));
    world.input(Input::Drain);
    world.run(10 * SECOND);
    assert!(!world.shard.is_drained());
    world.give_room();
    world.run(SECOND);
    assert!(world.shard.is_drained());
    assert_eq!(world.count(Delivered), world.site.taken.len());
}

#[test]
fn a_queue_that_bounces_as_a_whole_comes_in_batches() {
    let mut world = world(|_| {});
    world.answer(|ask| if ask.verb == "RCPT" { reply("550 no") } else { ask.well() });
    for n in 0..20 {
        world.submit(&Mail::many(1000, &format!("n{n}.example")));
    }
    world.finish();
    assert_eq!(world.count(Bounced), 20_000);
    assert!(world.now.mono < Time::from_millis(100_000));
}
