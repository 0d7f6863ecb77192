//! What the SMTP state machines cost per 2 KiB message, without sockets, and how fast dots are stuffed and undone.
//!
//! Goals (performance, part A) are for the whole: a relayed message takes at most 60 us of CPU, a campaign message 16 us.
//! Of what the prototypes took, 1 to 2 us were spent outside the kernel (section 2).

mod parts;

use criterion::{Criterion, criterion_group, criterion_main};
use parts::smtp;
use std::time::Duration;

fn messages(c: &mut Criterion) {
    let (mut client, mut server) = (smtp::client(), smtp::server());
    c.bench_function("smtp/client, a message in one round trip", |b| b.iter(&mut client));
    c.bench_function("smtp/server, a message", |b| b.iter(&mut server));
}

fn dots(c: &mut Criterion) {
    let (mut stuffed, mut undone) = (smtp::dots_stuffed(), smtp::dots_undone());
    c.bench_function("smtp/dots of 64 KiB stuffed", |b| b.iter(&mut stuffed));
    c.bench_function("smtp/dots of 64 KiB undone", |b| b.iter(&mut undone));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = messages, dots
}
criterion_main!(benches);
