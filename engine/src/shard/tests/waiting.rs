//! Times: start, retry, expiry, and a calendar that jumps.

use super::delivery::world;
use super::site::reply;
use super::spool::{Mail, TestProfiles, profile};
use super::world::{Dial, START, World};
use crate::base::{Time, Wall};
use crate::limit::Rate;
use crate::mail::priority::Priority;
use crate::mail::schedule::Schedule;
use crate::queue::QueueSettings;
use crate::route::RouteError;
use crate::shard::{QueuePattern, ShardRequest};
use crate::spool::record::Disposition::{Deferred, Delivered, Expired};
use jiff::tz::TimeZone;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn mail_waits_for_its_start() {
    let mut world = world(|_| {});
    world.submit(&Mail { start_at: Wall(START.0 + 3_600_000), ..Mail::many(3, "a.example") });
    world.submit(&Mail::to(&["now@a.example"]));
    world.run(3599 * SECOND);
    assert_eq!(world.site.reached(), ["now@a.example"]);
    world.finish();
    let first = world.site.taken[1].at;
    assert!(first >= Time::from_millis(3_601_000) && first < Time::from_millis(3_602_000), "{first:?}");
    assert_eq!(world.count(Delivered), 4);
}

#[test]
fn a_start_date_follows_the_calendar() {
    let mut world = world(|_| {});
    // Accepted while the calendar is ten days late.
    world.submit(&Mail { start_at: Wall(START.0 + 10 * 86_400_000), ..Mail::many(3, "a.example") });
    world.run(SECOND);
    world.set_clock(10 * DAY - 60 * SECOND);
    world.input(crate::shard::Input::Wake);
    world.run(50 * SECOND);
    assert_eq!(world.count(Delivered), 0);
    world.run(20 * SECOND);
    assert_eq!(world.count(Delivered), 3);
}

#[test]
fn who_starts_late_is_not_old_when_he_starts() {
    let mut world = world(|settings| settings.bounce_after = DAY);
    world.submit(&Mail { start_at: Wall(START.0 + 10 * 86_400_000), ..Mail::many(3, "a.example") });
    world.finish();
    assert_eq!((world.count(Expired), world.count(Delivered)), (0, 3));
}

#[test]
fn a_schedule_is_kept_to_whatever_the_queue_is_busy_with() {
    let mut world = world(|settings| {
        settings.max_msg_rate = Some(Rate::per_second(1));
        settings.bounce_after = 60 * SECOND;
    });
    let at = |second| {
        let at = jiff::Timestamp::from_second(START.as_secs() + second).expect("a time");
        at.strftime("%F %T").to_string()
    };
    let times = format!("{}/{}, {}/{}", at(600), at(1200), at(1800), at(2100));
    let schedule = Schedule::parse(&times, &TimeZone::UTC).expect("a schedule");
    world.submit(&Mail { schedule, ..Mail::many(1000, "a.example") });
    world.submit(&Mail::to(&["now@a.example"]));
    world.finish();
    // The clock of the world is a second ahead.
    let taken = |from: u64, to: u64| {
        let within = |at: Time| (from + 1..to + 1).contains(&(at.as_millis() / 1000));
        world.site.taken.iter().filter(|taken| within(taken.at)).count()
    };
    assert_eq!((taken(0, 600), taken(1201, 1800), taken(2101, 100_000)), (1, 0, 0));
    let (first, second) = (taken(600, 1201), taken(1800, 2101));
    assert!(first >= 590 && second >= 290, "{first} {second}");
    assert_eq!(world.count(Delivered) + world.count(Expired), 1001);
    let last = world.seen.iter().rfind(|seen| seen.disposition == Expired).expect("somebody too late");
    assert_eq!(last.diagnostic, "no time of its schedule is left");
}

#[test]
fn the_urgent_overtakes_what_waits_for_the_same_domain() {
    let mut world = world(|settings| settings.max_msg_rate = Some(Rate::per_second(1)));
    world.submit(&Mail::many(100, "a.example"));
    world.run(10 * SECOND);
    world.submit(&Mail { priority: Priority::new(90), ..Mail::to(&["code@a.example"]) });
    world.submit(&Mail { priority: Priority::new(10), ..Mail::to(&["digest@a.example"]) });
    world.finish();
    let place = |who: &str| world.site.taken.iter().position(|taken| taken.recipients == [who]);
    let code = place("code@a.example").expect("delivered");
    assert!((10..=13).contains(&code), "{code}");
    assert_eq!(place("digest@a.example"), Some(101));
}

#[test]
fn no_recipient_is_tried_before_its_time() {
    let mut world = world(|settings| settings.retry_recipients_after = 1800 * SECOND);
    let mut heard: Vec<(String, Time)> = Vec::new();
    world.answer(move |ask| {
        if ask.verb != "RCPT" {
            return ask.well();
        }
        let before = heard.iter().rev().find(|(line, _)| line == ask.line);
        assert!(before.is_none_or(|(_, at)| ask.now.since(*at) >= 1800 * SECOND), "{}", ask.line);
        heard.push((ask.line.to_owned(), ask.now));
        if heard.iter().filter(|(line, _)| line == ask.line).count() < 3 {
            reply("451 later")
        } else {
            ask.well()
        }
    });
    for n in 0..20 {
        world.submit(
            &Mail::many(10, &format!("n{}.example", n % 3).replace("n0", &format!("z{n}"))).numbered(n),
        );
        world.run(97 * SECOND);
    }
    world.finish();
    assert_eq!((world.count(Deferred), world.count(Delivered)), (400, 200));
}

impl Mail {
    /// With addresses that no other submission has.
    fn numbered(mut self, n: usize) -> Mail {
        self.rows.iter_mut().for_each(|(address, _)| *address = format!("n{n}-{address}"));
        self
    }
}

#[test]
fn what_is_refused_for_too_long_expires() {
    let mut world = world(|settings| settings.bounce_after = DAY);
    world.answer(|ask| if ask.verb == "RCPT" { reply("451 later") } else { ask.well() });
    world.submit(&Mail::to(&["a@a.example"]));
    world.finish();
    let story = world.story("a@a.example");
    assert_eq!((story.last(), story.len()), (Some(&Expired), 145));
    let last = world.seen.last().expect("an end");
    assert_eq!(
        (last.status.as_str(), last.diagnostic.as_str()),
        ("4.4.7 (delivery time expired)", "smtp;451 later")
    );
}

#[test]
fn mail_expires_in_a_queue_that_never_connects() {
    for dns in [true, false] {
        let mut usual = profile(if dns { "" } else { "[10.0.0.1]" });
        usual.scheduling = QueueSettings { bounce_after: DAY, ..QueueSettings::default() }.into();
        let mut world = World::new(TestProfiles::new(usual));
        let text = "no answer".to_owned();
        world.dns.insert(
            "a.example".into(),
            Err(RouteError { permanent: false, status: "4.4.3", text, ttl: SECOND, no_mx: false }),
        );
        world.dial = Box::new(|_| Dial::Refuse);
        world.submit(&Mail::many(500, "a.example"));
        world.run(DAY - SECOND);
        assert!(world.seen.is_empty());
        world.finish();
        assert_eq!(world.count(Expired), 500);
        assert!(world.now.mono < Time::ZERO + DAY + 1300 * SECOND, "{:?}", world.now.mono);
        assert!(!world.seen[0].diagnostic.is_empty(), "says why it could not be delivered");
    }
}

#[test]
fn mail_expires_in_a_paused_queue_and_behind_what_always_goes_first() {
    let mut world = world(|settings| {
        settings.bounce_after = DAY;
        settings.max_msg_rate = Some(Rate::per_hour(10));
    });
    world.request(ShardRequest::Pause { queue: QueuePattern::parse("b.example/*"), paused: true });
    world.submit(&Mail::many(5, "b.example"));
    world.submit(&Mail { priority: Priority::new(1), ..Mail::to(&["last@a.example"]) });
    for hour in 0..30 {
        let addresses: Vec<String> = (0..10).map(|n| format!("h{hour}n{n}@a.example")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        world.submit(&Mail { priority: Priority::new(90), ..Mail::to(&addresses) });
        world.run(3600 * SECOND);
    }
    let expired: Vec<&str> =
        world.seen.iter().filter(|seen| seen.disposition == Expired).map(|seen| &*seen.address).collect();
    assert_eq!(expired.len(), 6, "{expired:?}");
    assert!(expired.contains(&"last@a.example"));
    let late = world.seen.iter().filter(|seen| seen.disposition == Expired).map(|seen| seen.recorded).max();
    assert!(late < Some(Time::ZERO + DAY + 2 * 3600 * SECOND), "{late:?}");
}

#[test]
fn a_calendar_forty_days_ahead_expires_nobody_untried() {
    let mut world = world(|_| {});
    world.dial = Box::new(|_| Dial::Refuse);
    world.submit(&Mail::many(10, "a.example"));
    world.submit(&Mail { start_at: Wall(START.0 + 50_000), ..Mail::to(&["future@b.example"]) });
    world.run(SECOND);
    world.set_clock(40 * DAY);
    world.dial = Box::new(|_| Dial::Accept);
    // The first that is heard after the jump is mail, not the clock.
    world.submit(&Mail::to(&["new@a.example"]));
    world.finish();
    assert_eq!((world.count(Expired), world.count(Delivered)), (0, 12));
}

#[test]
fn an_answer_right_after_the_jump_expires_nobody() {
    let mut world = world(|settings| {
        settings.max_smtp_out = 1;
        settings.max_rcpt_per_message = 1;
    });
    world.submit(&Mail::many(50, "a.example"));
    while world.site.taken.len() < 5 {
        world.step(Time::NEVER);
    }
    world.set_clock(40 * DAY);
    world.finish();
    assert_eq!((world.count(Expired), world.count(Delivered)), (0, 50));
}

#[test]
fn a_calendar_set_back_stops_nothing() {
    let mut world = world(|_| {});
    world.answer(
        |ask| if ask.verb == "RCPT" && ask.connection == 0 { reply("451 later") } else { ask.well() },
    );
    world.submit(&Mail::many(10, "a.example"));
    world.run(SECOND);
    world.set_clock(Duration::ZERO);
    world.finish();
    assert_eq!((world.count(Deferred), world.count(Delivered)), (10, 10));
}
