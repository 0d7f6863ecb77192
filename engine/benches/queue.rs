//! What it costs to take a recipient through its queue.
//!
//! Goal (performance, part A and section 9): spool, schedule and accounting together stay within 1 us of CPU per
//! campaign message.

use criterion::{Criterion, criterion_group, criterion_main};
use posthaste::base::{Now, Time, Wall};
use posthaste::limit::Rate;
use posthaste::mail::priority::Priority;
use posthaste::queue::{Calendar, Class, Expiry, Queue, QueueName, QueueSettings, Slot, Slots, Taken, Terms};
use posthaste::spool::record::{Disposition, Location, RowRef};
use std::sync::Arc;
use std::time::Duration;

/// A recipient waits, is taken, delivered and forgotten, and the next one comes: with a thousand before it.
fn queue(c: &mut Criterion) {
    let mut group = c.benchmark_group("queue/one recipient through it");
    for (label, max_msg_rate) in [("unlimited", None), ("max-msg-rate", Some(Rate::per_second(1_000_000)))] {
        let settings = QueueSettings { max_msg_rate, ..QueueSettings::default() };
        let mut queue = Queue::new(QueueName::new("example.com", "vmta-1"), Arc::new(settings));
        let mut now = Now { mono: Time::from_millis(1000), wall: Wall::from_secs(1_000_000) };
        let (mut slots, mut taken, expiry) = (Slots::new(), Taken::default(), Expiry::new(now));
        let add = |queue: &mut Queue, slots: &mut Slots, now: Now, n: u32| {
            let row = RowRef { record: Location { segment: 1, offset8: n }, ordinal: n, index: 0 };
            let key = slots.insert(Slot::new(row, 1));
            queue.push(slots, key, Class::new(Priority::default(), 0), now.mono);
        };
        (0..1000).for_each(|n| add(&mut queue, &mut slots, now, n));
        group.bench_function(label, |b| {
            b.iter(|| {
                now.mono = Time(now.mono.0 + 2);
                let terms = |_| Terms { begins: Wall::from_secs(1_000_000), schedule: None };
                let calendar = Calendar { expiry: &expiry, terms, life: Duration::MAX };
                queue.take(&mut slots, now, 1, &calendar, &mut taken).expect("somebody may go");
                for key in taken.batch.drain(..) {
                    slots.remove(key);
                    queue.settled(Disposition::Delivered, now.mono);
                }
                add(&mut queue, &mut slots, now, 7);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = queue
}
criterion_main!(benches);
