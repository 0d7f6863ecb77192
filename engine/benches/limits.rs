//! What it costs to ask whether the next message may go: a rate limit, the timer wheel.
//!
//! Goals (performance, part A and section 7): scheduling the next message among 1M queues takes at most 300 ns. The
//! prototypes' figures stand beside it: 2.5 ns for a rate asked again and again, 27 ns for one of a million at random, 162 ns
//! for taking the next of a million timers and setting it again.

use criterion::{Criterion, criterion_group, criterion_main};
use posthaste::base::{Time, Wheel};
use posthaste::limit::{Gcra, Rate};
use std::hint::black_box;
use std::time::Duration;

const QUEUES: u32 = 1_000_000;

fn rate(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit/rate");
    let (mut hot, mut now) = (Gcra::new(Rate::per_second(1_000_000), 1), 1_000_000);
    group.bench_function("hot", |b| {
        b.iter(|| {
            now += 2;
            hot.ask(black_box(Time(now)), 1).is_ok()
        });
    });
    let mut cells = vec![Gcra::new(Rate::per_second(100), 1); QUEUES as usize];
    let mut random = fastrand::Rng::with_seed(7);
    group.bench_function("of 1M at random", |b| {
        b.iter(|| {
            now += 2;
            cells[random.u32(..QUEUES) as usize].ask(black_box(Time(now)), 1).is_ok()
        });
    });
    group.finish();
}

fn wheel(c: &mut Criterion) {
    let mut wheel = Wheel::new();
    let mut random = fastrand::Rng::with_seed(7);
    for queue in 0..QUEUES {
        wheel.set(queue, Time::from_millis(random.u64(1..60_000)));
    }
    let (mut due, mut now) = (Vec::new(), Time::ZERO);
    c.bench_function("queue/next of 1M timers, set again", |b| {
        b.iter(|| {
            while due.is_empty() {
                now = wheel.next().expect("a timer");
                wheel.expire(now, |queue| due.push(queue));
            }
            let queue = due.pop().expect("not empty");
            wheel.set(queue, now + Duration::from_millis(random.u64(1..60_000)));
            queue
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = rate, wheel
}
criterion_main!(benches);
