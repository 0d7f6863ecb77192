//! A queue that adapts against receivers whose limits it does not know.

use super::adaptive::{Adaptive, AdaptiveTerms, Level, Refusal};
use super::settings::QueueSettings;
use crate::base::{Now, Time, Wall};
use crate::limit::{Gcra, Rate};
use std::collections::VecDeque;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// How a receiver counts what it lets pass.
#[derive(Clone, Copy, Debug)]
enum Counts {
    /// In any minute.
    AnyMinute,
    /// In minutes of the clock.
    ClockMinutes,
    /// A bucket of that many that fills at the rate.
    Bucket(f64),
}

struct Receiver {
    cap: f64,
    counts: Counts,
    taken: VecDeque<Time>,
    minute: u64,
    in_minute: f64,
    filled: (Time, f64),
}

impl Receiver {
    fn new(cap: u32, counts: Counts) -> Receiver {
        let filled = (Time::ZERO, if let Counts::Bucket(size) = counts { size } else { 0.0 });
        Receiver { cap: f64::from(cap), counts, taken: VecDeque::new(), minute: 0, in_minute: 0.0, filled }
    }

    fn takes(&mut self, now: Time) -> bool {
        match self.counts {
            Counts::AnyMinute => {
                while self.taken.front().is_some_and(|at| now.since(*at) >= MINUTE) {
                    self.taken.pop_front();
                }
                let room = (self.taken.len() as f64) < self.cap;
                room.then(|| self.taken.push_back(now));
                room
            }
            Counts::ClockMinutes => {
                let minute = now.0 / 60_000_000;
                if std::mem::replace(&mut self.minute, minute) != minute {
                    self.in_minute = 0.0;
                }
                let room = self.in_minute < self.cap;
                self.in_minute += f64::from(u8::from(room));
                room
            }
            Counts::Bucket(size) => {
                let more = now.since(self.filled.0).as_secs_f64() * self.cap / 60.0;
                self.filled = (now, (self.filled.1 + more).min(size));
                let room = self.filled.1 >= 1.0;
                self.filled.1 -= f64::from(u8::from(room));
                room
            }
        }
    }
}

/// A queue that always has mail.
struct Sender {
    adaptive: Adaptive,
    base: QueueSettings,
    gcra: Option<Gcra>,
    now: Time,
    accepted: u64,
    refused: u64,
    at_floor: u64,
}

impl Sender {
    fn new(most: Option<Rate>) -> Sender {
        let floor = Rate { count: 1, per: MINUTE };
        let terms = AdaptiveTerms { floor, step_up_interval: 5 * MINUTE };
        Sender {
            adaptive: Adaptive::new(terms),
            base: QueueSettings { max_msg_rate: most, ..QueueSettings::default() },
            gcra: most.map(|rate| Gcra::new(rate, 1)),
            now: Time::ZERO,
            accepted: 0,
            refused: 0,
            at_floor: 0,
        }
    }

    fn level(&self) -> Level {
        self.adaptive.level()
    }

    /// Sends for so long; whether the settings ever allowed more than is configured.
    fn run(&mut self, receiver: &mut Receiver, time: Duration) {
        let end = self.now + time;
        (self.accepted, self.refused) = (0, 0);
        while self.now < end {
            match self.gcra.as_mut().map_or(Ok(()), |gcra| gcra.ask(self.now, 1)) {
                Err(until) => self.now = until,
                Ok(()) => self.attempt(receiver.takes(self.now)),
            }
            // As fast as the machine and the way are.
            self.now = self.now + Duration::from_millis(2);
        }
    }

    fn attempt(&mut self, taken: bool) {
        let now = Now { mono: self.now, wall: Wall(self.now.as_millis() as i64) };
        let open = self.level().connections.unwrap_or(self.base.max_smtp_out);
        let changed = if taken {
            self.accepted += 1;
            self.adaptive.accepted(now, &self.base, open, 1).is_some()
        } else {
            self.refused += 1;
            let refusal = self.adaptive.refused(now, &self.base, open, "421 too fast");
            self.at_floor += u64::from(refusal == Refusal::AtFloor);
            matches!(refusal, Refusal::Eased(_))
        };
        if changed {
            let eased = self.adaptive.applied(&self.base).unwrap_or_else(|| self.base.clone());
            let rate = eased.max_msg_rate.expect("a rate, once it was eased");
            assert!(
                self.base.max_msg_rate.is_none_or(|most| {
                    f64::from(rate.count) / rate.per.as_secs_f64()
                        <= f64::from(most.count) / most.per.as_secs_f64()
                }),
                "{rate} is more than is configured"
            );
            assert!((1..=self.base.max_smtp_out).contains(&eased.max_smtp_out));
            match &mut self.gcra {
                Some(gcra) => gcra.set(rate, 1),
                None => self.gcra = Some(Gcra::new(rate, 1)),
            }
        }
    }
}

fn per_minute(count: u32) -> Rate {
    Rate { count, per: MINUTE }
}

fn settles(cap: u32, counts: Counts, most: Option<Rate>) {
    let mut receiver = Receiver::new(cap, counts);
    let mut sender = Sender::new(most);
    sender.run(&mut receiver, 3 * 60 * MINUTE);
    sender.run(&mut receiver, 5 * 60 * MINUTE);
    let of_cap = sender.accepted as f64 / 300.0 / f64::from(cap);
    let refused = sender.refused as f64 / sender.accepted as f64;
    let story = format!("{of_cap:.2} of {cap}/m {counts:?}, {refused:.4} refused, {:?}", sender.level());
    println!("{story}");
    assert!((0.7..=1.0).contains(&of_cap) && refused < 0.01, "{story}");
    assert_eq!(sender.at_floor, 0, "{story}");
    // Let through more, it climbs.
    let mut receiver = Receiver::new(cap * 4, counts);
    sender.run(&mut receiver, 5 * 60 * MINUTE);
    sender.run(&mut receiver, 60 * MINUTE);
    let most = most.map_or(cap * 4, |most| most.count.min(cap * 4));
    let of_cap = sender.accepted as f64 / 60.0 / f64::from(most);
    assert!((0.7..=1.001).contains(&of_cap), "{of_cap:.2} of {most}/m, {:?}", sender.level());
}

#[test]
fn it_settles_close_below_what_is_let_pass_and_climbs_when_that_is_more() {
    for cap in [10, 100, 1000] {
        for counts in [Counts::AnyMinute, Counts::ClockMinutes, Counts::Bucket(f64::from(cap) / 4.0)] {
            for most in [None, Some(per_minute(cap * 10)), Some(per_minute(cap * 2))] {
                settles(cap, counts, most);
            }
        }
    }
}

fn at(seconds: u64) -> Now {
    Now { mono: Time::from_millis(seconds * 1000), wall: Wall::from_secs(seconds as i64) }
}

#[test]
fn a_burst_of_refusals_is_one_step() {
    let base = QueueSettings { max_msg_rate: Some(per_minute(1000)), ..QueueSettings::default() };
    let terms = AdaptiveTerms { floor: per_minute(100), step_up_interval: 5 * MINUTE };
    let mut adaptive = Adaptive::new(terms);
    let mut refused = |second| adaptive.refused(at(second), &base, 8, "421 slow down");
    let Refusal::Eased(step) = refused(100) else { panic!("not eased") };
    assert_eq!(step.to, Level { rate: Some(per_minute(500)), connections: Some(4) });
    assert_eq!(step.to.to_string(), "500/m, 4 connections");
    assert_eq!((refused(100), refused(159)), (Refusal::Heard, Refusal::Heard));
    let Refusal::Eased(step) = refused(160) else { panic!("not eased") };
    assert_eq!(step.to, Level { rate: Some(per_minute(250)), connections: Some(2) });
    assert!(matches!(refused(220), Refusal::Eased(_)) && matches!(refused(280), Refusal::Eased(_)));
    assert_eq!(refused(340), Refusal::AtFloor);
    assert_eq!(adaptive.level(), Level { rate: Some(per_minute(100)), connections: Some(1) });
    assert_eq!(adaptive.steps().count(), 4);
    assert!(adaptive.lift(at(400), "the operator said so").is_some() && !adaptive.is_eased());
    assert_eq!(adaptive.applied(&base), None);
}

#[test]
fn without_mail_there_is_no_step_up() {
    let base = QueueSettings { max_msg_rate: Some(per_minute(100)), ..QueueSettings::default() };
    let terms = AdaptiveTerms { floor: per_minute(1), step_up_interval: 5 * MINUTE };
    let mut adaptive = Adaptive::new(terms);
    assert!(matches!(adaptive.refused(at(0), &base, 1, "421"), Refusal::Eased(_)));
    for minute in 1..=60 {
        assert_eq!(adaptive.accepted(at(minute * 60), &base, 0, 10), None, "at {minute}");
    }
    for minute in 61..=70 {
        adaptive.accepted(at(minute * 60), &base, 0, 48);
    }
    let level = adaptive.level();
    assert!(level.rate.is_some_and(|rate| rate.count > 50), "{level}");
    let step = adaptive.steps().next().expect("a step");
    assert!(!step.down && step.cause.contains("240 recipients were accepted in 5 minutes"), "{}", step.cause);
}
