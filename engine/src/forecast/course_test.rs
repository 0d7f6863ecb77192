//! A course takes the time that the limits and the receivers make it take.

use super::*;
use crate::base::{Time, Wall};
use crate::limit::{Rate, VolumeRate};
use crate::mail::priority::Priority;
use crate::mail::schedule::Schedule;
use crate::queue::{QueueName, QueueSettings};
use crate::route::choose::SourceHost;
use crate::shard::{QueueProfile, VmtaProfile};
use jiff::tz::TimeZone;
use std::sync::Arc;
use std::time::Duration;

const START: Wall = Wall::from_secs(1_800_000_000);
const FAST: Receivers =
    Receivers { round_trip: Duration::from_millis(1), message: Duration::from_millis(4), deferred: 0 };

fn profile(settings: QueueSettings) -> Arc<QueueProfile> {
    Arc::new(QueueProfile { scheduling: settings.into(), ..QueueProfile::default() })
}

fn vmta(change: impl FnOnce(&mut VmtaProfile)) -> Arc<VmtaProfile> {
    let source = SourceHost { address: "192.0.2.1".parse().ok(), helo: "v1.example".into() };
    let mut vmta = VmtaProfile::new("v1".into(), [source].into());
    change(&mut vmta);
    Arc::new(vmta)
}

fn name(domain: &str) -> QueueName {
    QueueName { domain: domain.into(), vmta: "v1".into() }
}

fn mail(lane: u32, recipients: u32) -> Arrival {
    Arrival {
        at: Time::ZERO,
        lane,
        recipients,
        priority: Priority::default(),
        schedule: Arc::default(),
        size: 1000,
        together: false,
    }
}

/// When the last of `recipients` of one queue is delivered, in seconds, and what they waited for.
fn alone(settings: QueueSettings, recipients: u32) -> (f64, String) {
    let mut course = Course::new(START, u32::MAX, FAST);
    let lane = course.queue(name("a.example"), profile(settings), vmta(|_| {}));
    course.arrive(mail(lane, recipients));
    let outlook = course.run().remove(0);
    assert_eq!((outlook.delivered, outlook.left), (u64::from(recipients), 0));
    let cause = outlook.cause().map(ToString::to_string).unwrap_or_default();
    (outlook.last.expect("delivered").since(Time::ZERO).as_secs_f64(), cause)
}

fn near(seconds: f64, expected: f64) -> bool {
    (seconds - expected).abs() <= expected * 0.02
}

#[test]
fn a_rate_takes_its_time() {
    let rate = Some(Rate::per_second(50));
    let (took, cause) = alone(QueueSettings { max_msg_rate: rate, ..QueueSettings::default() }, 5000);
    assert!(near(took, 100.0), "{took}");
    assert_eq!(cause, "message rate limit reached (max-msg-rate 50/s)");
}

#[test]
fn connections_take_theirs() {
    let (took, cause) = alone(QueueSettings { max_smtp_out: 4, ..QueueSettings::default() }, 40_000);
    // 5 ms a message over each of the four.
    assert!(near(took, 50.0), "{took}");
    assert_eq!(cause, "all connections are in use (max-smtp-out 4)");
    let few = QueueSettings { max_smtp_out: 1, max_msg_per_connection: 1, ..QueueSettings::default() };
    // And 3 ms for each connection, which every message has of its own.
    assert!(near(alone(few, 1000).0, 8.0));
}

#[test]
fn a_volume_takes_its_time() {
    let volume = Some(VolumeRate { bytes: 100_000, per: Duration::from_secs(1) });
    let (took, cause) =
        alone(QueueSettings { max_data_volume_rate: volume, ..QueueSettings::default() }, 3000);
    assert!((28.0..32.0).contains(&took), "{took}");
    assert!(cause.contains("max-data-volume-rate"), "{cause}");
}

#[test]
fn queues_share_what_their_virtual_mta_may() {
    for (change, cause) in [
        (
            (|vmta: &mut VmtaProfile| vmta.max_msg_rate = Some(Rate::per_second(100)))
                as fn(&mut VmtaProfile),
            "max-smtp-msg-rate 100/s",
        ),
        (|vmta| vmta.max_smtp_out = Some(1), "max-smtp-out 1 of virtual-mta v1"),
    ] {
        let mut course = Course::new(START, u32::MAX, FAST);
        let vmta = vmta(change);
        for domain in ["a.example", "b.example", "c.example"] {
            let lane = course.queue(name(domain), profile(QueueSettings::default()), vmta.clone());
            course.arrive(mail(lane, 1000));
        }
        let mut all = Outlook::default();
        course.run().into_iter().for_each(|outlook| all.add(outlook));
        let took = all.last.expect("delivered").since(Time::ZERO).as_secs_f64();
        let expected = if vmta.max_smtp_out.is_some() { 15.0 } else { 30.0 };
        assert!(near(took, expected), "{took} of {expected}");
        assert!(all.cause().expect("a cause").to_string().contains(cause), "{:?}", all.cause());
    }
}

#[test]
fn the_more_important_queue_is_first() {
    let mut course = Course::new(START, 1, FAST);
    let once = QueueSettings { max_msg_per_connection: 10, ..QueueSettings::default() };
    let low = course.queue(name("a.example"), profile(once.clone()), vmta(|_| {}));
    let high = course.queue(name("b.example"), profile(QueueSettings { priority: 90, ..once }), vmta(|_| {}));
    course.arrive(mail(low, 1000));
    course.arrive(mail(high, 1000));
    let outlooks = course.run();
    assert!(outlooks[1].last < outlooks[0].last);
    assert!(outlooks[1].last.expect("delivered").since(Time::ZERO) < Duration::from_secs(7));
}

#[test]
fn mail_waits_for_its_hours_and_what_is_too_old_is_given_up() {
    let window = |from: &str, to: &str| format!("2027-01-15 {from}:00/2027-01-15 {to}:00");
    let schedule = |text: &str| Arc::new(Schedule::parse(text, &TimeZone::UTC).expect("a schedule"));
    // START is 2027-01-15 08:00 UTC.
    let run = |schedule: Arc<Schedule>, recipients: u32| {
        let mut course = Course::new(START, u32::MAX, FAST);
        let rate = Some(Rate::per_second(1));
        let settings = QueueSettings { max_msg_rate: rate, ..QueueSettings::default() };
        let lane = course.queue(name("a.example"), profile(settings), vmta(|_| {}));
        course.arrive(Arrival { schedule, ..mail(lane, recipients) });
        course.run().remove(0)
    };
    let later = run(schedule(&window("09:00", "10:00")), 10);
    assert!(later.first.expect("delivered").since(Time::ZERO) >= Duration::from_secs(3600));
    let late = run(schedule(&window("08:00", "08:01")), 100);
    assert!((59..=62).contains(&late.delivered) && late.delivered + late.expired == 100, "{late:?}");
}

#[test]
fn what_is_put_off_comes_again() {
    let mut course = Course::new(START, u32::MAX, Receivers { deferred: 100, ..FAST });
    let lane = course.queue(name("a.example"), profile(QueueSettings::default()), vmta(|_| {}));
    course.arrive(mail(lane, 1000));
    let mut outlook = course.run().remove(0);
    assert_eq!((outlook.delivered, outlook.deferred), (1000, 111));
    assert!(outlook.percentile(50).expect("waits") < 1000);
    assert!(outlook.percentile(99).expect("waits") >= 600_000, "a retry after ten minutes");
    assert!(outlook.percentile(100).expect("waits") >= 1_200_000, "and another one");
}

#[test]
fn a_paused_queue_keeps_its_mail() {
    let mut course = Course::new(START, u32::MAX, FAST);
    let lane = course.queue(name("a.example"), profile(QueueSettings::default()), vmta(|_| {}));
    course.lane(lane).set_paused(true);
    course.arrive(mail(lane, 10));
    let outlook = course.run().remove(0);
    assert_eq!((outlook.delivered, outlook.left), (0, 10));
}
