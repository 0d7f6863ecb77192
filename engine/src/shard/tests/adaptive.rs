//! Queues that ease themselves: what replies make of their limits, and how they come back.

use super::backoff::{Lines, SECOND, backoff, queue, steered};
use super::site::{Ask, Say, reply};
use super::spool::{Mail, TestProfiles};
use super::world::World;
use crate::base::Time;
use crate::limit::Rate;
use crate::queue::{AdaptiveTerms, QueueSettings};
use crate::shard::{QueuePattern, QueueProfile, ShardRequest};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const PER_MINUTE: Rate = Rate { count: 1200, per: MINUTE };

fn adaptive(floor: u32) -> QueueProfile {
    let profile = steered("[10.0.0.1]", vec![("too fast", backoff())]);
    let scheduling =
        QueueSettings { max_msg_rate: Some(PER_MINUTE), max_smtp_out: 4, ..(*profile.scheduling).clone() };
    let terms = AdaptiveTerms { floor: Rate { count: floor, per: MINUTE }, step_up_interval: 2 * MINUTE };
    QueueProfile { scheduling: scheduling.into(), adaptive: Some(terms), ..profile }
}

/// Takes `cap` messages in any minute and says `421 too fast` to the rest.
fn capped(cap: Rc<RefCell<usize>>) -> impl FnMut(&Ask<'_>) -> Say {
    let mut taken: VecDeque<Time> = VecDeque::new();
    move |ask| {
        if ask.verb != "MAIL" {
            return ask.well();
        }
        while taken.front().is_some_and(|at| ask.now.since(*at) >= MINUTE) {
            taken.pop_front();
        }
        if taken.len() >= *cap.borrow() {
            return reply("421 4.7.0 too fast");
        }
        taken.push_back(ask.now);
        ask.well()
    }
}

fn between(world: &World, from: Time, to: Time) -> usize {
    world.site.recipients.iter().filter(|(at, _)| (from..to).contains(at)).count()
}

#[test]
fn a_queue_settles_below_a_hidden_limit_and_climbs_when_it_is_raised() {
    let mut world = World::new(TestProfiles::new(adaptive(1)));
    let cap = Rc::new(RefCell::new(120));
    world.answer(capped(cap.clone()));
    world.submit(&Mail::many(60_000, "a.example"));
    world.run(SECOND * 90);
    let state = queue(&mut world);
    assert_eq!(state.backoff, None, "it eases itself instead");
    let adaptive = state.adaptive.expect("it adapts");
    let first = adaptive.steps.last().expect("a step");
    assert!(adaptive.eased && first.down && first.cause.contains("421 4.7.0 too fast"), "{first:?}");
    assert!(world.notices[0].starts_with("queue a.example/v1 eases down to "), "{}", world.notices[0]);
    world.run(MINUTE * 60);
    let from = world.now.mono;
    world.run(MINUTE * 60);
    let taken = between(&world, from, world.now.mono);
    assert!((84 * 60..=120 * 60).contains(&taken), "{taken} in an hour, at most 120 a minute");
    *cap.borrow_mut() = 600;
    world.run(MINUTE * 45);
    let from = world.now.mono;
    world.run(MINUTE * 10);
    let taken = between(&world, from, world.now.mono);
    assert!(taken >= 4200, "{taken} in 10 minutes, at most 600 a minute");
}

#[test]
fn what_is_refused_at_the_floor_leads_to_backoff_and_the_operator_lifts_it() {
    let mut world = World::new(TestProfiles::new(adaptive(400)));
    world.answer(capped(Rc::new(RefCell::new(0))));
    world.submit(&Mail::many(5000, "a.example"));
    world.run(MINUTE * 10);
    let state = queue(&mut world);
    assert!(state.backoff.is_some_and(|backoff| backoff.reason.contains("421 4.7.0 too fast")));
    let level = state.adaptive.expect("it adapts").level;
    assert_eq!((level.rate, level.connections), (Some(Rate { count: 400, per: MINUTE }), Some(1)));
    let queue_name = QueuePattern::parse("a.example/v1");
    world.request(ShardRequest::SetMode { queue: queue_name, backoff: false });
    let state = queue(&mut world);
    assert!(state.backoff.is_none() && !state.adaptive.as_ref().expect("it adapts").eased);
    assert_eq!(state.adaptive.expect("it adapts").steps[0].cause, "the operator said so");
}

#[test]
fn a_queue_without_it_enters_backoff_as_ever() {
    let profile = QueueProfile {
        replies: Some(Arc::new(Lines(vec![("too fast", backoff())]))),
        adaptive: None,
        ..adaptive(1)
    };
    let mut world = World::new(TestProfiles::new(profile));
    world.answer(capped(Rc::new(RefCell::new(0))));
    world.submit(&Mail::many(10, "a.example"));
    world.run(SECOND);
    let state = queue(&mut world);
    assert!(state.backoff.is_some() && state.adaptive.is_none());
}
