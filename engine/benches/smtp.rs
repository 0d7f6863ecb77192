//! What the SMTP state machines cost per 2 KiB message, without sockets, and how fast dots are stuffed and undone.
//!
//! Goals (performance, part A) are for the whole: a relayed message takes at most 60 us of CPU, a campaign message 16 us.
//! Of what the prototypes took, 1 to 2 us were spent outside the kernel (section 2).

use criterion::{Criterion, criterion_group, criterion_main};
use posthaste::base::{Now, Time, Wall};
use posthaste::smtp::client::{Client, ClientOptions, Event, Transaction};
use posthaste::smtp::server::{Relay, ServerEvent, ServerOptions, Session};
use posthaste::smtp::{dot::DotWriter, undot::DotReader};
use std::{hint::black_box, time::Duration};

const NOW: Now = Now { mono: Time::from_millis(1000), wall: Wall::from_secs(1_790_000_000) };

fn message(size: usize) -> Vec<u8> {
    let line = "The quick brown fox jumps over the lazy dog and then some more words.\r\n";
    (line.repeat(size / line.len()) + "end\r\n").into_bytes()
}

fn transaction() -> Transaction {
    Transaction {
        sender: "bounce-123@news.example".into(),
        recipients: ["somebody.or.other@provider.example".to_owned()].into_iter().collect(),
        size: 2048,
        ..Transaction::default()
    }
}

/// Hands in `replies`, starts a transaction whenever one is wanted; gives how many were finished.
fn turn(client: &mut Client, body: &[u8], replies: &[u8]) -> u32 {
    let mut finished = 0;
    client.handle_bytes(NOW, replies);
    while let Some(event) = client.poll_event() {
        match event {
            Event::WantTransaction => client.start(NOW, transaction()),
            Event::NeedBody { .. } => client.body(NOW, body),
            Event::Finished { .. } => finished += 1,
            _ => {}
        }
    }
    let bytes = black_box(client.output()).len();
    client.output().clear();
    client.sent(NOW, bytes);
    finished
}

fn client(c: &mut Criterion) {
    let body = message(2048);
    let mut client = Client::new(ClientOptions::new("me.example"), NOW);
    // The first message goes alone; from the second on, the successor's commands follow the content.
    let (ehlo, data) = ("250-mx\r\n250-SIZE 10000000\r\n250 PIPELINING\r\n", "250 a\r\n250 b\r\n354 go\r\n");
    for replies in ["220 mx\r\n", ehlo, data, "250 ok\r\n", data] {
        turn(&mut client, &body, replies.as_bytes());
    }
    let replies = b"250 2.0.0 Ok: queued as 4F1A2B3C\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n";
    c.bench_function("smtp/client, a message in one round trip", |b| {
        b.iter(|| assert_eq!(turn(&mut client, &body, black_box(replies)), 1));
    });
}

fn server(c: &mut Criterion) {
    let options = ServerOptions { relay: Relay::Open, ..ServerOptions::new("mx.test") };
    let mut session = Session::new(options, NOW, 1);
    session.handle_bytes(NOW, b"EHLO me.test\r\n");
    let commands = b"MAIL FROM:<bounce@news.example> SIZE=2048\r\nRCPT TO:<somebody@a.example>\r\nDATA\r\n";
    let content = [message(2048).as_slice(), b".\r\n"].concat();
    c.bench_function("smtp/server, a message", |b| {
        b.iter(|| {
            session.output().clear();
            session.handle_bytes(NOW, black_box(commands));
            session.handle_bytes(NOW, black_box(&content));
            assert!(matches!(session.poll_event(), Some(ServerEvent::Message(..))));
            session.accepted(NOW, "4F1A2B3C");
        });
    });
}

fn dots(c: &mut Criterion) {
    let body = message(64 << 10);
    let (mut wire, mut out) = (Vec::with_capacity(1 << 17), Vec::with_capacity(1 << 17));
    c.bench_function("smtp/dots of 64 KiB stuffed", |b| {
        b.iter(|| {
            wire.clear();
            let mut writer = DotWriter::default();
            writer.write(black_box(&body), &mut wire);
            writer.finish(&mut wire);
        });
    });
    c.bench_function("smtp/dots of 64 KiB undone", |b| {
        b.iter(|| (out.clear(), DotReader::default().read(black_box(&wire), &mut out)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = client, server, dots
}
criterion_main!(benches);
