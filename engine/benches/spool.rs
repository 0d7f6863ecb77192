//! What the log costs without a disk: a message stored, recipients of a campaign stored and settled, and reading a
//! segment after a stop.
//!
//! Goals (performance, part A and section 9): spool, schedule and accounting together stay within 1 us of CPU per
//! campaign message; a restart with 1M queued recipients delivers within 2 s.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use posthaste::spool::frame::Key;
use posthaste::spool::header::SegmentHeader;
use posthaste::spool::ledger::Ledger;
use posthaste::spool::log::{Log, Room};
use posthaste::spool::record::{
    Committed, Disposition, Draft, Group, Outcome, OutcomeBatch, Place, Ref, RowRef, RowsDraft, Submission,
};
use posthaste::spool::scan::scan;
use std::hint::black_box;
use std::time::Duration;

const SEGMENT: u32 = 64 << 20;
const RECIPIENTS: u32 = 100;

fn header(number: u32) -> SegmentHeader {
    SegmentHeader { number, size: SEGMENT, nonce: [number as u8; 16] }
}

/// A log whose writes go nowhere.
struct Stored {
    log: Log,
    segments: u32,
}

impl Stored {
    fn new() -> Stored {
        Stored { log: Log::new(Ledger::default(), header(1)), segments: 1 }
    }

    fn commit(&mut self) {
        if let Some(write) = self.log.take_write() {
            black_box(write.blocks.as_slice());
            self.log.written(write.end);
            self.log.synced();
        }
    }

    fn make_room(&mut self, bytes: usize) {
        if self.log.room(bytes) == Room::AfterRoll {
            self.commit();
            self.segments += 1;
            self.log.roll(header(self.segments));
        }
    }

    fn append(&mut self, group: Group) -> Committed {
        self.make_room(Log::group_bound(&group));
        self.log.append(group).expect("room")
    }

    fn settle(&mut self, rows: Place, submission: Place) {
        let outcome = |index: u32| Outcome {
            row: RowRef { record: rows.at, ordinal: rows.first_ordinal + index, index: index as u16 },
            submission: submission.at,
            disposition: Disposition::Delivered,
            at: 1_790_000_000_000,
            attempt: 0,
            said: 0,
            size: 2048,
            attempts: 1,
        };
        let batch =
            OutcomeBatch { outcomes: (0..RECIPIENTS).map(outcome).collect(), ..OutcomeBatch::default() };
        self.make_room(Log::outcomes_bound(&batch));
        self.log.append_outcomes(&batch).expect("room");
    }
}

fn rows(count: u32) -> RowsDraft {
    let mut rows = RowsDraft { vmtas: vec!["mta0".into()], ..RowsDraft::default() };
    for n in 0..count {
        let row = format!("user{n:07}@mail.example");
        rows.bytes.push(row.len() as u8);
        rows.bytes.extend_from_slice(row.as_bytes());
        rows.ends.push(rows.bytes.len() as u32);
        rows.vmta.push(0);
    }
    rows
}

fn message(content: &[u8]) -> Group {
    let accepted = Draft::Accepted { submission: Submission::default(), content: Ref::Here(0) };
    let rows = Draft::Rows { submission: Ref::Here(1), rows: rows(1) };
    Group { drafts: vec![Draft::Content(content.to_vec().into()), accepted, rows] }
}

fn messages(c: &mut Criterion) {
    let (mut stored, content, mut waiting) = (Stored::new(), vec![b'x'; 2048], 0);
    c.bench_function("spool/a message of 2 KiB, ten a commit", |b| {
        b.iter(|| {
            stored.append(message(&content));
            waiting += 1;
            if waiting % 10 == 0 {
                stored.commit();
            }
        });
    });
}

fn campaign(c: &mut Criterion) {
    let mut stored = Stored::new();
    let submission = stored.append(message(b"the template")).places[1];
    let draft = rows(RECIPIENTS);
    let mut group = c.benchmark_group("spool");
    group.throughput(Throughput::Elements(RECIPIENTS.into()));
    group.bench_function("100 recipients of a campaign, stored and settled", |b| {
        b.iter(|| {
            let rows = Draft::Rows { submission: Ref::At(submission.at), rows: draft.clone() };
            let rows = stored.append(Group { drafts: vec![rows] }).places[0];
            stored.commit();
            stored.settle(rows, submission);
            stored.commit();
        });
    });
    group.finish();
}

fn reading(c: &mut Criterion) {
    let mut log = Log::new(Ledger::default(), header(1));
    let mut bytes = header(1).encode();
    for _ in 0..400 {
        log.append(message(&[b'x'; 2048])).expect("room");
        let write = log.take_write().expect("a commit");
        bytes.extend_from_slice(write.blocks.as_slice());
        log.written(write.end);
        log.synced();
    }
    let key = Key::new(1, header(1).nonce);
    let mut group = c.benchmark_group("spool");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("400 commits of a segment, judged", |b| {
        b.iter(|| {
            let judged = scan(&key, black_box(&bytes)).judge(0, false);
            assert_eq!(judged.end, bytes.len());
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = messages, campaign, reading
}
criterion_main!(benches);
