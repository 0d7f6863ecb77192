//! What the log costs without its disk: a relayed message of 2 KiB into it, a batch of outcomes, and the recovery of a
//! segment.
//!
//! Goals (performance): spool, schedule and accounting together stay within 1 us of CPU per campaign message (section 9);
//! after a restart with 1M queued the first delivery leaves within 2 s.

mod parts;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use parts::spool;
use std::time::Duration;

fn log(c: &mut Criterion) {
    let (mut append, mut outcomes, mut recovery) = (spool::append(), spool::outcomes(), spool::recovery());
    c.bench_function("spool/one group of 2 KiB", |b| b.iter(&mut append));
    let mut group = c.benchmark_group("spool");
    group.throughput(Throughput::Elements(100));
    group.bench_function("a batch of 100 outcomes", |b| b.iter(&mut outcomes));
    group.throughput(Throughput::Bytes(4 << 20));
    group.bench_function("recovery of 4 MiB", |b| b.iter(&mut recovery));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = log
}
criterion_main!(benches);
