//! What the pure machines cost, printed. Run with optimisation:
//! `cargo test --release -p posthaste --lib speed -- --ignored --nocapture`.

use super::client::*;
use super::dot::DotWriter;
use super::undot::DotReader;
use crate::base::{Now, Time, Wall};
use smallvec::smallvec;
use std::hint::black_box;
use std::time::Instant;

const NOW: Now = Now { mono: Time::from_millis(1000), wall: Wall::from_secs(1_790_000_000) };
const ROUNDS: u64 = 20_000;

/// The least of several runs, in nanoseconds for one of `rounds`: other work on the machine only adds.
fn least(rounds: u64, mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..15 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_nanos() as f64 / rounds as f64);
    }
    best
}

fn message(size: usize) -> Vec<u8> {
    let line = b"The quick brown fox jumps over the lazy dog and then some more words.\r\n";
    let mut text: Vec<u8> = line.iter().copied().cycle().take(size / line.len() * line.len()).collect();
    text.extend_from_slice(b"end\r\n");
    text
}

fn transaction(token: u64) -> Transaction {
    Transaction {
        token,
        sender: "bounce-123@news.example".into(),
        recipients: smallvec!["somebody.or.other@provider.example".to_owned()],
        size: 2048,
        ..Transaction::default()
    }
}

/// Hands in `replies` time and again; starts a transaction whenever one is wanted.
fn deliver(client: &mut Client, body: &[u8], replies: &[u8], rounds: u64) -> u64 {
    let mut delivered = 0;
    for _ in 0..rounds {
        client.handle_bytes(NOW, replies);
        while let Some(event) = client.poll_event() {
            match event {
                Event::WantTransaction => client.start(NOW, transaction(1)),
                Event::NeedBody { .. } => client.body(NOW, body),
                Event::Finished { .. } => delivered += 1,
                _ => {}
            }
        }
        let bytes = black_box(client.output()).len();
        client.output().clear();
        client.sent(NOW, bytes);
    }
    delivered
}

#[test]
#[ignore = "prints times"]
fn client_message() {
    let body = message(2048);
    let mut client = Client::new(ClientOptions::new("me.example"), NOW);
    let opening =
        ["220 mx\r\n", "250-mx\r\n250-SIZE 10000000\r\n250 PIPELINING\r\n", "250 a\r\n250 b\r\n354 go\r\n"];
    // The first message goes alone; from the second on, the successor's commands follow the content.
    for replies in opening.into_iter().chain(["250 ok\r\n", "250 a\r\n250 b\r\n354 go\r\n"]) {
        deliver(&mut client, &body, replies.as_bytes(), 1);
    }
    let replies = b"250 2.0.0 Ok: queued as 4F1A2B3C\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n";
    let mut delivered = 0;
    let ns = least(ROUNDS, || delivered = deliver(&mut client, &body, replies, ROUNDS));
    assert_eq!(delivered, ROUNDS);
    println!("client, 2 KiB message, one round trip: {ns:.0} ns");
}

#[test]
#[ignore = "prints times"]
fn dots() {
    let body = message(64 << 10);
    let mut wire = Vec::with_capacity(1 << 20);
    let ns = least(100, || {
        for _ in 0..100 {
            wire.clear();
            let mut writer = DotWriter::default();
            writer.write(black_box(&body), &mut wire);
            writer.finish(&mut wire);
        }
    });
    println!("dot-stuffing: {:.2} GB/s", body.len() as f64 / ns);
    let mut out = Vec::with_capacity(1 << 20);
    let ns = least(100, || {
        for _ in 0..100 {
            out.clear();
            DotReader::default().read(black_box(&wire), &mut out);
        }
    });
    println!("dots undone: {:.2} GB/s", wire.len() as f64 / ns);
}
