//! The mode of a queue: entered by replies, kept to, and left again.

use super::site::{Ask, Say, reply};
use super::spool::{Mail, TestProfiles, profile};
use super::world::World;
use crate::base::Time;
use crate::limit::Rate;
use crate::queue::QueueSettings;
use crate::shard::request::BackoffState;
use crate::shard::{
    BackoffProfile, Course, DisableSource, Input, ModeChange, QueuePattern, QueueProfile, QueueState,
    ReplyRules, ShardReply, ShardRequest, Steer,
};
use crate::spool::record::Disposition::{Deferred, Delivered};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub const SECOND: Duration = Duration::from_secs(1);

/// Lines of a pattern list: what a reply contains, and what that asks for.
#[derive(Debug)]
pub struct Lines(pub Vec<(&'static str, Steer)>);

impl ReplyRules for Lines {
    fn steer(&self, reply: &str) -> Option<Steer> {
        assert!(
            reply >= "4" || self.may_end_backoff(),
            "a reply that refuses nothing was looked at: {reply}"
        );
        let line = self.0.iter().find(|(text, _)| reply.contains(text));
        line.map(|(text, steer)| Steer { rule: format!("/{text}/"), ..steer.clone() })
    }

    fn may_end_backoff(&self) -> bool {
        self.0.iter().any(|(_, steer)| steer.mode == Some(ModeChange::Normal))
    }
}

pub fn backoff() -> Steer {
    Steer { mode: Some(ModeChange::Backoff(None)), ..Steer::default() }
}

pub fn course(course: Course) -> Steer {
    Steer { course, ..Steer::default() }
}

pub fn disable(reenable_after: Option<Duration>) -> Steer {
    Steer { disable_source: Some(DisableSource { reenable_after }), ..Steer::default() }
}

/// To `hosts`, with one recipient a message and these lines; in backoff one connection, a message a second and a retry
/// after 1,000 s instead of 100.
pub fn steered(hosts: &str, lines: Vec<(&'static str, Steer)>) -> QueueProfile {
    let settings = QueueSettings {
        max_rcpt_per_message: 1,
        retry_after: vec![100 * SECOND],
        retry_recipients_after: 10 * SECOND,
        ..QueueSettings::default()
    };
    let slow = QueueSettings {
        max_smtp_out: 1,
        max_msg_rate: Some(Rate::per_second(1)),
        retry_after: vec![1000 * SECOND],
        ..settings.clone()
    };
    QueueProfile {
        scheduling: settings.into(),
        backoff: BackoffProfile { scheduling: slow.into(), ..BackoffProfile::default() },
        replies: Some(Arc::new(Lines(lines))),
        ..profile(hosts)
    }
}

pub fn queue(world: &mut World) -> QueueState {
    match world.request(ShardRequest::Queues) {
        ShardReply::Queues(mut queues) => queues.remove(0),
        other => panic!("not queues: {other:?}"),
    }
}

fn mode(world: &mut World) -> Option<BackoffState> {
    queue(world).backoff
}

/// The receiver says "slow down" to the first `refused` of MAIL and takes everything else.
fn slow_down(refused: usize) -> impl FnMut(&Ask<'_>) -> Say {
    let mut seen = 0;
    move |ask| {
        seen += usize::from(ask.verb == "MAIL");
        match ask.verb == "MAIL" && seen <= refused {
            true => reply("451 4.7.0 slow down"),
            false => ask.well(),
        }
    }
}

fn most_in(window: Duration, times: &[Time]) -> usize {
    let inside = |from: usize| times[from..].iter().take_while(|at| at.since(times[from]) < window).count();
    (0..times.len()).map(inside).max().unwrap_or(0)
}

#[test]
fn a_reply_leads_to_backoff_and_its_limits_hold() {
    let mut world = World::new(TestProfiles::new(steered("[10.0.0.1]", vec![("slow down", backoff())])));
    world.answer(slow_down(1));
    world.submit(&Mail::many(300, "a.example"));
    world.run(SECOND);
    let state = mode(&mut world).expect("backoff");
    assert_eq!((state.reason.as_str(), state.until), ("451 4.7.0 slow down fits /slow down/", None));
    assert_eq!(world.notices, [format!("queue a.example/v1 enters backoff: {}", state.reason)]);
    world.run(9 * SECOND);
    assert_eq!(world.status().connections, 1, "those that were open have gone");
    let begun = world.now.mono;
    world.run(60 * SECOND);
    let times: Vec<Time> = world.site.recipients.iter().map(|(at, _)| *at).filter(|at| *at > begun).collect();
    assert!(times.len() >= 57 && most_in(SECOND, &times) <= 2, "{} in a minute", times.len());
    world.finish();
    assert!(mode(&mut world).is_some(), "it does not end by itself");
    assert_eq!(world.count(Delivered), 300);
}

#[test]
fn without_a_line_that_fits_nothing_changes() {
    let mut world = World::new(TestProfiles::new(steered("[10.0.0.1]", vec![("go away", backoff())])));
    world.answer(slow_down(3));
    world.submit(&Mail::many(100, "a.example"));
    world.finish();
    assert_eq!((mode(&mut world), world.notices.len()), (None, 0));
    assert_eq!((world.count(Delivered), world.count(Deferred)), (100, 3));
}

#[test]
fn every_stage_is_listened_to() {
    for (verb, text) in [
        ("GREETING", "421 4.7.0 slow down"),
        ("GREETING", "554 5.7.1 slow down"),
        ("EHLO", "421 4.7.0 slow down"),
        ("MAIL", "421 4.7.0 slow down"),
        ("RCPT", "450 4.7.0 slow down"),
        ("RCPT", "550 5.7.0 slow down"),
        ("DATA", "451 4.7.0 slow down"),
        ("DOT", "554 5.7.0 slow down"),
    ] {
        let mut world = World::new(TestProfiles::new(steered("[10.0.0.1]", vec![("slow down", backoff())])));
        world.answer(move |ask| if ask.verb == verb { reply(text) } else { ask.well() });
        world.submit(&Mail::to(&["a@a.example"]));
        world.run(SECOND);
        assert!(mode(&mut world).is_some(), "{text} to {verb}");
        assert_eq!(world.notices.len(), 1, "{text} to {verb}");
    }
}

#[test]
fn backoff_ends_when_its_time_is_over() {
    let own = Steer { mode: Some(ModeChange::Backoff(Some(30 * SECOND))), ..Steer::default() };
    for (steer, lasts) in [(backoff(), 60), (own, 30)] {
        let mut usual = steered("[10.0.0.1]", vec![("slow down", steer)]);
        usual.backoff.to_normal_after = Some(60 * SECOND);
        let mut world = World::new(TestProfiles::new(usual));
        world.answer(slow_down(1));
        world.submit(&Mail::to(&["a@a.example"]));
        world.run((lasts - 1) * SECOND);
        let state = mode(&mut world).expect("backoff");
        assert_eq!(state.until.map(|until| (until.0 - state.since.0) / 1000), Some(lasts as i64));
        world.run(2 * SECOND);
        assert_eq!(mode(&mut world), None);
        assert!(world.notices[1].contains("leaves backoff"), "{:?}", world.notices);
    }
}

#[test]
fn a_delivery_ends_backoff_unless_it_had_begun_before() {
    let mut usual = steered("[10.0.0.1]", vec![("slow down", backoff())]);
    usual.backoff.to_normal_after_delivery = true;
    let mut stopped = usual.clone();
    let nothing = Some(Rate::per_second(0));
    stopped.backoff.scheduling =
        QueueSettings { max_msg_rate: nothing, ..(*usual.backoff.scheduling).clone() }.into();
    let mut world = World::new(TestProfiles::new(stopped));
    // Others are on their way when the first is refused.
    world.answer(slow_down(1));
    world.submit(&Mail::many(100, "a.example"));
    world.run(SECOND / 2);
    assert!(world.count(Delivered) > 0 && mode(&mut world).is_some(), "{:?}", world.seen);
    world.input(Input::Profiles(Box::new(TestProfiles::new(usual))));
    world.run(20 * SECOND);
    assert_eq!(mode(&mut world), None);
    assert!(world.notices[1].contains("backoff-to-normal-after-delivery"), "{:?}", world.notices);
    world.finish();
}

#[test]
fn a_reply_may_end_backoff() {
    let normal = Steer { mode: Some(ModeChange::Normal), ..Steer::default() };
    let lines = vec![("slow down", backoff()), ("taken", normal)];
    let mut world = World::new(TestProfiles::new(steered("[10.0.0.1]", lines)));
    world.answer(slow_down(1));
    world.submit(&Mail::to(&["a@a.example"]));
    world.run(SECOND);
    assert!(mode(&mut world).is_some());
    world.submit(&Mail::to(&["b@a.example"]));
    world.run(SECOND);
    assert_eq!(mode(&mut world), None);
    assert!(
        world.notices[1].ends_with("leaves backoff: 250 2.0.0 taken fits /taken/"),
        "{:?}",
        world.notices
    );
}

#[test]
fn the_mode_lasts_over_a_reload_and_takes_new_settings() {
    let usual = steered("[10.0.0.1]", vec![("slow down", backoff())]);
    let mut world = World::new(TestProfiles::new(usual.clone()));
    world.answer(slow_down(1));
    world.submit(&Mail::many(200, "a.example"));
    world.run(5 * SECOND);
    let mut faster = usual;
    let slow = (*faster.backoff.scheduling).clone();
    faster.backoff.scheduling = QueueSettings { max_msg_rate: Some(Rate::per_second(10)), ..slow }.into();
    faster.backoff.to_normal_after = Some(15 * SECOND);
    world.input(Input::Profiles(Box::new(TestProfiles::new(faster))));
    let before = world.status().delivered;
    world.run(5 * SECOND);
    let delivered = world.status().delivered - before;
    assert!((45..=51).contains(&delivered) && mode(&mut world).is_some(), "{delivered} in 5 s at 10/s");
    world.run(6 * SECOND);
    assert_eq!(mode(&mut world), None, "15 s after it began");
    world.finish();
    assert_eq!(world.count(Delivered), 200);
}

#[test]
fn defer_queue_waits_as_backoff_says_whatever_is_delivered_meanwhile() {
    let defer = Steer { defer_queue: true, ..backoff() };
    let mut world = World::new(TestProfiles::new(steered("[10.0.0.1]", vec![("slow down", defer)])));
    let refusing = Rc::new(Cell::new(true));
    let refuses = refusing.clone();
    world.answer(move |ask| match ask.verb == "MAIL" && ask.connection == 0 && refuses.get() {
        true => reply("451 4.7.0 slow down"),
        false => ask.well(),
    });
    world.submit(&Mail::many(100, "a.example"));
    world.run(SECOND);
    let delivered = world.status().delivered;
    assert!((1..60).contains(&delivered), "others were on their way: {delivered}");
    let waits = queue(&mut world).waits_for;
    assert!(waits.starts_with("queue awaits its retry, as a reply asked (defer-queue)"), "{waits}");
    refusing.set(false);
    world.run(990 * SECOND);
    assert_eq!(world.status().delivered, delivered);
    world.run(20 * SECOND);
    assert!(world.status().delivered > delivered);
    assert_eq!(world.queue_failures.len(), 1, "{:?}", world.queue_failures);
    world.finish();
}

#[test]
fn the_operator_sets_the_mode() {
    let mut world = World::new(TestProfiles::new(steered("[10.0.0.1]", Vec::new())));
    world.submit(&Mail::to(&["a@a.example", "b@b.example"]));
    world.run(SECOND);
    let set = |world: &mut World, backoff| match world
        .request(ShardRequest::SetMode { queue: QueuePattern::parse("a.example"), backoff })
    {
        ShardReply::Count(count) => count,
        other => panic!("not a count: {other:?}"),
    };
    assert_eq!(set(&mut world, true), 1);
    assert_eq!(mode(&mut world).map(|state| state.reason), Some("the operator said so".to_owned()));
    assert_eq!(set(&mut world, false), 1);
    assert_eq!((mode(&mut world), world.notices.len()), (None, 2));
}
