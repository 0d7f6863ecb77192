//! What one recipient costs in `mail`: merging a 2 KiB template with a row, and checking an address.
//!
//! Goals (performance, part A) are for the whole: a campaign message takes at most 16 us of CPU, rendering included; an
//! import of 1,000,000 rows a second on two cores leaves 2,000 ns of CPU to a row, checking its address included. A
//! template with statements runs in the full minijinja; whoever writes one pays for it.

mod parts;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use parts::mail::{self, Kind};
use std::time::Duration;

fn render(c: &mut Criterion) {
    let mut group = c.benchmark_group("mail/render");
    for (label, kind) in [
        ("fields", Kind::Fields),
        ("fields, one long line", Kind::OneLongLine),
        ("statements", Kind::Statements),
    ] {
        let mut render = mail::render(kind);
        group.bench_function(label, |b| b.iter(&mut render));
    }
    group.finish();
}

fn address(c: &mut Criterion) {
    let mut check = mail::addresses();
    let mut group = c.benchmark_group("mail/address");
    group.throughput(Throughput::Elements(mail::ADDRESSES));
    group.bench_function("check 1000", |b| b.iter(&mut check));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = render, address
}
criterion_main!(benches);
