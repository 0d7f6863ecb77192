//! What an accounting line costs to write into its buffer: all default columns of a delivery, and of a bounce with its
//! category found.
//!
//! Goal (performance, section 9): spool, schedule and accounting together stay within 1 us of CPU per message.

mod parts;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use parts::acct;
use std::time::Duration;

fn line(c: &mut Criterion) {
    let (mut delivery, mut bounce) = (acct::delivery(), acct::bounce());
    let mut group = c.benchmark_group("acct/line");
    group.throughput(Throughput::Elements(1));
    group.bench_function("delivery", |b| b.iter(&mut delivery));
    group.bench_function("bounce, category included", |b| b.iter(&mut bounce));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = line
}
criterion_main!(benches);
