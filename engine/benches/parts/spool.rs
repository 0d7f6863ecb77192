//! Records on their way into the log and back, without the disk.

use super::smtp::message;
use posthaste::mail::row::put_value;
use posthaste::spool::header::{SEGMENT_MIN, SegmentHeader};
use posthaste::spool::ledger::Ledger;
use posthaste::spool::log::{Log, Room};
use posthaste::spool::record::{
    Attempt, Disposition, Draft, Group, Location, Outcome, OutcomeBatch, Ref, RowRef, RowsDraft, Said,
    Submission,
};
use posthaste::spool::recover::{Files, recover};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

fn header(number: u32) -> SegmentHeader {
    SegmentHeader { number, size: SEGMENT_MIN, nonce: [7; 16] }
}

/// A relayed message of 2 KiB as intake hands it over.
fn group(content: &Arc<[u8]>) -> Group {
    let mut rows = RowsDraft { vmtas: vec![String::new()], vmta: vec![0], ..RowsDraft::default() };
    put_value(&mut rows.bytes, "somebody.or.other@provider.example");
    rows.ends.push(rows.bytes.len() as u32);
    let submission = Submission {
        id: 7,
        sender: "bounce-123@news.example".into(),
        source_type: "smtp".into(),
        source_mta: "injector.example (192.0.2.7)".into(),
        received_from_ip: "192.0.2.7".into(),
        received_on_ip: "192.0.2.1".into(),
        size: 2048,
        ..Submission::default()
    };
    let drafts = vec![
        Draft::Content(Arc::clone(content)),
        Draft::Accepted { submission, content: Ref::Here(0) },
        Draft::Rows { submission: Ref::Here(1), rows },
    ];
    Group { drafts }
}

/// Ends the commit as if the disk had taken it at once.
fn commit(log: &mut Log, mut write: impl FnMut(u64, &[u8])) {
    if let Some(done) = log.take_write() {
        write(done.offset, done.blocks.as_slice());
        log.written(done.end);
        log.synced();
    }
}

fn next_segment(log: &mut Log, number: &mut u32) {
    commit(log, |_, bytes| {
        black_box(bytes.len());
    });
    let old = *number;
    *number += 1;
    log.roll(header(*number));
    log.retire(old);
}

/// One group, and the commit of every twentieth.
pub fn append() -> impl FnMut() {
    let content: Arc<[u8]> = message(2048).into();
    let (mut log, mut number, mut groups) = (Log::new(Ledger::default(), header(1)), 1, 0);
    move || {
        let group = group(&content);
        if log.room(Log::group_bound(&group)) == Room::AfterRoll {
            next_segment(&mut log, &mut number);
        }
        log.append(group).expect("room");
        groups += 1;
        if groups % 20 == 0 {
            commit(&mut log, |_, bytes| {
                black_box(bytes.len());
            });
        }
    }
}

/// A batch of a hundred outcomes of one connection.
pub fn outcomes() -> impl FnMut() {
    let outcome = |n: u32| Outcome {
        row: RowRef { record: Location { segment: 1, offset8: 2000 + n }, ordinal: n, index: 0 },
        submission: Location { segment: 1, offset8: 1500 },
        disposition: Disposition::Delivered,
        at: 1_793_275_200_000,
        attempt: 0,
        said: 0,
        size: 2048,
        attempts: 1,
    };
    let attempt = Attempt { queue: "a.example/vmta1".into(), vmta: "vmta1".into(), ..Attempt::default() };
    let said = Said { status: "2.0.0 (success)".into(), diagnostic: "smtp;250 ok".into() };
    let batch = OutcomeBatch {
        attempts: vec![attempt],
        said: vec![said],
        outcomes: (0..100).map(outcome).collect(),
        queue_failures: Vec::new(),
    };
    let (mut log, mut number) = (Log::new(Ledger::default(), header(1)), 1);
    move || {
        if log.room(Log::outcomes_bound(&batch)) == Room::AfterRoll {
            next_segment(&mut log, &mut number);
        }
        log.append_outcomes(black_box(&batch)).expect("room");
        commit(&mut log, |_, bytes| {
            black_box(bytes.len());
        });
    }
}

struct OneFile(Vec<u8>);

impl Files for OneFile {
    fn read(&mut self, _: u32, from: u64, len: usize) -> Result<Vec<u8>, String> {
        let from = (from as usize).min(self.0.len());
        Ok(self.0[from..(from + len).min(self.0.len())].to_vec())
    }
}

/// The recovery of a full segment of 4 MiB of relayed messages.
pub fn recovery() -> impl FnMut() {
    let content: Arc<[u8]> = message(2048).into();
    let mut log = Log::new(Ledger::default(), header(1));
    let mut bytes = header(1).encode();
    bytes.resize(SEGMENT_MIN as usize, 0);
    let mut groups = 0;
    while log.room(Log::group_bound(&group(&content))) != Room::AfterRoll {
        log.append(group(&content)).expect("room");
        groups += 1;
        if groups % 20 == 0 {
            commit(&mut log, |at, written| {
                let end = at as usize + written.len();
                bytes[at as usize..end].copy_from_slice(written);
            });
        }
    }
    let (headers, mut files) = (BTreeMap::from([(1, header(1))]), OneFile(bytes));
    move || {
        let recovery = recover(black_box(&headers), &[], &mut files);
        assert_eq!(recovery.rows.len(), groups / 20 * 20);
    }
}
