//! What a receiver may say or do to a transaction, and what becomes of its recipients.

use super::delivery::world;
use super::site::{Ask, Say, reply};
use super::spool::Mail;
use super::world::World;
use crate::base::Time;
use crate::spool::record::Disposition::{self, Bounced, Deferred, Delivered, InDoubt};
use std::time::Duration;

const RETRY: Duration = Duration::from_secs(600);

/// Answers `with` the first time `verb` comes, and well afterwards.
fn once(verb: &'static str, with: Say) -> impl FnMut(&Ask<'_>) -> Say + 'static {
    let mut with = Some(with);
    move |ask| if ask.verb == verb { with.take().unwrap_or_else(|| ask.well()) } else { ask.well() }
}

/// One recipient, and a receiver that behaves so the first time.
fn told(verb: &'static str, with: Say) -> World {
    let mut world = world(|_| {});
    world.answer(once(verb, with));
    world.submit(&Mail::to(&["a@a.example"]));
    world.finish();
    world
}

fn recorded(world: &World, disposition: Disposition) -> Time {
    world.seen.iter().find(|s| s.disposition == disposition).expect("recorded").recorded
}

#[test]
fn a_4xx_waits_retry_recipients_after() {
    for verb in ["MAIL", "RCPT", "DATA", "DOT"] {
        let world = told(verb, reply("451 4.7.1 not now"));
        assert_eq!(world.story("a@a.example"), [Deferred, Delivered], "{verb}");
        let waited = recorded(&world, Delivered).since(recorded(&world, Deferred));
        assert!(waited >= RETRY && waited < RETRY + Duration::from_secs(1), "{verb}: {waited:?}");
        assert_eq!(world.seen[0].status, "4.7.1 (delivery not authorized)", "{verb}");
        assert_eq!(world.seen.iter().map(|s| s.attempts).collect::<Vec<_>>(), [1, 2], "{verb}");
        assert!(world.queue_failures.is_empty(), "{verb}");
    }
}

#[test]
fn a_5xx_bounces() {
    for verb in ["MAIL", "RCPT", "DATA", "DOT"] {
        let world = told(verb, reply("550 5.1.1 no such user"));
        assert_eq!(world.story("a@a.example"), [Bounced], "{verb}");
        assert!(world.seen[0].diagnostic.contains("550 5.1.1 no such user"), "{verb}");
        assert!(world.site.taken.is_empty());
    }
}

#[test]
fn each_recipient_of_a_transaction_has_its_own_answer() {
    let mut world = world(|_| {});
    let mut first = true;
    world.answer(move |ask| match ask.verb {
        "RCPT" if ask.line.contains("no@") => reply("550 no such user"),
        "RCPT" if ask.line.contains("later@") && std::mem::take(&mut first) => reply("450 busy"),
        _ => ask.well(),
    });
    world.submit(&Mail::to(&["a@a.example", "no@a.example", "later@a.example", "b@a.example"]));
    world.finish();
    assert_eq!(world.story("a@a.example"), [Delivered]);
    assert_eq!(world.story("b@a.example"), [Delivered]);
    assert_eq!(world.story("no@a.example"), [Bounced]);
    assert_eq!(world.story("later@a.example"), [Deferred, Delivered]);
    assert_eq!(world.site.reached(), ["a@a.example", "b@a.example", "later@a.example"]);
}

#[test]
fn too_many_recipients_follow_at_once_and_unpenalised() {
    let mut world = world(|settings| settings.max_smtp_out = 1);
    let mut accepted = 0;
    world.answer(move |ask| match ask.verb {
        "MAIL" => {
            accepted = 0;
            ask.well()
        }
        "RCPT" if accepted == 3 => reply("452 4.5.3 too many recipients"),
        "RCPT" => {
            accepted += 1;
            ask.well()
        }
        _ => ask.well(),
    });
    world.submit(&Mail::many(10, "a.example"));
    world.run(Duration::from_secs(5));
    assert_eq!(world.count(Delivered), 10);
    assert_eq!(world.seen.len(), 10, "nobody is deferred");
    let sizes: Vec<usize> = world.site.taken.iter().map(|t| t.recipients.len()).collect();
    assert_eq!(sizes, [3, 3, 3, 1]);
    world.finish();
}

#[test]
fn a_421_ends_the_connection_and_defers() {
    for verb in ["MAIL", "RCPT", "DATA", "DOT"] {
        let world = told(verb, Say::Last("421 4.3.2 closing".into()));
        assert_eq!(world.story("a@a.example"), [Deferred, Delivered], "{verb}");
        assert_eq!(world.site.connects.len(), 2, "{verb}");
        assert_eq!(world.site.taken.len(), 1, "{verb}");
    }
    for verb in ["GREETING", "EHLO"] {
        let world = told(verb, Say::Last("421 4.3.2 closing".into()));
        assert_eq!(world.story("a@a.example"), [Delivered], "{verb}: nobody was tried");
        assert_eq!((world.site.connects.len(), world.queue_failures.len()), (2, 1), "{verb}");
        let wait = world.site.connects[1].0.since(world.site.connects[0].0);
        assert!(wait >= RETRY, "{verb}: {wait:?}");
    }
}

#[test]
fn a_lost_connection_before_the_final_dot_is_not_in_doubt() {
    for (verb, say) in [
        ("MAIL", Say::Drop),
        ("RCPT", Say::Drop),
        ("DATA", Say::Drop),
        ("DATA", Say::Choke("354 go on".into(), 20)),
    ] {
        let world = told(verb, say);
        assert_eq!(world.story("a@a.example"), [Deferred, Delivered], "{verb}");
        assert_eq!(world.site.taken.len(), 1, "{verb}");
    }
}

#[test]
fn a_lost_connection_after_the_final_dot_is_in_doubt_and_recorded_before_the_retry() {
    for say in [Say::Drop, Say::Silence] {
        let world = told("DOT", say);
        assert_eq!(world.story("a@a.example"), [InDoubt, Delivered]);
        let retried = world.site.connects[1].0;
        assert!(recorded(&world, InDoubt) + RETRY <= retried + Duration::from_millis(11));
    }
}

#[test]
fn what_was_pipelined_behind_a_lost_message_is_untried() {
    let mut world = world(|settings| {
        settings.max_rcpt_per_message = 1;
        settings.max_smtp_out = 1;
    });
    let mut dots = 0;
    world.answer(move |ask| {
        dots += usize::from(ask.verb == "DOT");
        if ask.verb == "DOT" && dots == 3 { Say::Drop } else { ask.well() }
    });
    world.submit(&Mail::many(8, "a.example"));
    world.finish();
    assert_eq!((world.count(Delivered), world.count(InDoubt), world.count(Deferred)), (8, 1, 0));
    assert_eq!(world.story("u2@a.example"), [InDoubt, Delivered]);
}

#[test]
fn max_errors_per_connection_ends_it() {
    let mut usual = super::spool::profile("[10.0.0.1]");
    usual.max_errors_per_connection = Some(2);
    let mut settings = crate::queue::QueueSettings::default();
    (settings.max_smtp_out, settings.max_rcpt_per_message) = (1, 1);
    usual.scheduling = settings.into();
    let mut world = World::new(super::spool::TestProfiles::new(usual));
    world.answer(|ask| match ask.verb {
        "RCPT" => reply("550 no"),
        _ => ask.well(),
    });
    world.submit(&Mail::many(6, "a.example"));
    world.finish();
    assert_eq!((world.count(Bounced), world.site.connects.len()), (6, 3));
}
