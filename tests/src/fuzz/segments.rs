//! Recovery of segments that a stranger has had his hands on: nothing is invented without the nonce, what was not touched
//! comes back, and what was lost is told.

use std::collections::BTreeMap;

use posthaste::mail::row::put_value;
use posthaste::spool::header::{DATA_START, SEGMENT_MIN, SegmentHeader};
use posthaste::spool::ledger::Ledger;
use posthaste::spool::log::Log;
use posthaste::spool::record::{
    Disposition, Draft, Group, Location, Outcome, OutcomeBatch, Place, Ref, RowRef, RowsDraft, Submission,
};
use posthaste::spool::recover::{Damage, Files, Recovery, WaitingRows, recover};

use super::input::Input;

const NUMBER: u32 = 7;
/// The file: shorter than its header says, so that little has to be read.
const LENGTH: usize = 64 << 10;

struct Segment {
    header: SegmentHeader,
    bytes: Vec<u8>,
    read: usize,
}

impl Files for Segment {
    fn read(&mut self, segment: u32, from: u64, len: usize) -> Result<Vec<u8>, String> {
        if segment != NUMBER {
            return Err("no such file".into());
        }
        let from = usize::try_from(from).map_err(|e| e.to_string())?.min(self.bytes.len());
        let found = &self.bytes[from..(from + len).min(self.bytes.len())];
        self.read += found.len();
        Ok(found.to_vec())
    }
}

impl Segment {
    fn new(nonce: [u8; 16]) -> Segment {
        let header = SegmentHeader { number: NUMBER, size: SEGMENT_MIN, nonce };
        let mut bytes = header.encode();
        bytes.resize(LENGTH, 0);
        Segment { header, bytes, read: 0 }
    }

    fn recover(&mut self) -> Recovery {
        self.read = 0;
        let headers = BTreeMap::from([(NUMBER, self.header)]);
        let recovery = recover(&headers, &[], self);
        assert!(self.read <= 5 * LENGTH, "{} bytes read of {LENGTH}", self.read);
        let twice = |damage: &Damage| recovery.damage.iter().filter(|other| *other == damage).count() > 1;
        assert!(!recovery.damage.iter().any(twice), "told twice: {:?}", recovery.damage);
        recovery
    }
}

/// What was told besides that the file is short.
fn damage(recovery: &Recovery) -> Vec<&Damage> {
    recovery.damage.iter().filter(|damage| !matches!(damage, Damage::Short { .. })).collect()
}

pub fn recovery(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() { foreign(input.rest()) } else { touched(input) }
}

/// The whole segment is a stranger's, who does not know the nonce.
fn foreign(bytes: &[u8]) {
    let mut segment = Segment::new(*b"nobody knows it.");
    for (to, from) in segment.bytes[DATA_START..].iter_mut().zip(bytes.iter().cycle()) {
        *to = *from;
    }
    let recovery = segment.recover();
    assert_eq!((recovery.records, recovery.rows.len(), recovery.ledger.live_rows()), (0, 0, 0));
    assert!(!damage(&recovery).into_iter().any(Damage::is_loss), "{:?}", recovery.damage);
}

/// Records of a real log, and which bytes hold them.
struct Written {
    segment: Segment,
    rows: Vec<WaitingRows>,
    /// Each with the end of the commit it belongs to.
    ends: Vec<usize>,
    settled: Vec<(u32, u32)>,
    end: usize,
}

/// A segment that was touched: bytes overwritten, blocks copied elsewhere, the end cut off.
fn touched(mut input: Input<'_>) {
    let mut written = write(&mut input);
    let intact = written.segment.recover();
    assert_eq!(damage(&intact), Vec::<&Damage>::new());
    assert_eq!(intact.rows, expected(&written));

    let before = written.segment.bytes.clone();
    deface(&mut written.segment.bytes, &mut input);
    let recovery = written.segment.recover();
    let again = written.segment.recover();
    assert_eq!((&recovery.rows, &recovery.damage), (&again.rows, &again.damage), "recovery only reads");

    // Nothing invented: every record with waiting rows is one that was written, as it was written.
    for rows in &recovery.rows {
        assert!(written.rows.contains(rows), "{rows:?} was never written");
    }
    assert!(recovery.records <= intact.records);
    let changed = |from: usize, to: usize| before[from..to] != written.segment.bytes[from..to];
    if !changed(DATA_START, written.end) {
        assert_eq!((&recovery.rows, &recovery.damage), (&intact.rows, &intact.damage));
        return;
    }
    // Every record before the last vouched place is there, or its loss is told.
    let told = damage(&recovery).into_iter().any(Damage::is_loss);
    let missing = intact.rows.iter().filter(|rows| !recovery.rows.contains(rows)).count();
    let torn = recovery.damage.iter().any(|damage| matches!(damage, Damage::Torn { .. }));
    // Where the commit that vouches is damaged as well, what it vouched for is a write like one that was never done (R5).
    let vouched_for =
        written.ends.last().is_some_and(|end| *end < written.end && !changed(*end, written.end));
    assert!(missing == 0 || told || torn || !vouched_for, "{missing} records lost without a word");
}

fn expected(written: &Written) -> Vec<WaitingRows> {
    let waits = |rows: &&WaitingRows| {
        (rows.first_ordinal..rows.first_ordinal + rows.count).any(|o| !written.settled.contains(&(NUMBER, o)))
    };
    written.rows.iter().filter(waits).copied().collect()
}

/// A few commits, as the engine writes them.
fn write(input: &mut Input<'_>) -> Written {
    let segment = Segment::new([input.byte(); 16]);
    let mut log = Log::new(Ledger::default(), segment.header);
    let mut written =
        Written { segment, rows: Vec::new(), ends: Vec::new(), settled: Vec::new(), end: DATA_START };
    for _ in 0..=input.below(4) {
        for _ in 0..=input.below(3) {
            let count = 1 + input.below(20) as u32;
            let content = vec![input.byte(); input.below(200)];
            let places = log.append(group(count, content)).expect("room").places;
            let [_, Place { at: submission, .. }, Place { at, first_ordinal }] = places[..] else {
                unreachable!()
            };
            written.rows.push(WaitingRows { at, submission, first_ordinal, count });
        }
        if input.flag() {
            settle(&mut log, &mut written, input.byte().into());
        }
        commit(&mut log, &mut written);
        written.ends.resize(written.rows.len(), written.end);
    }
    // Vouches for the last commit, as after a second of idleness.
    if input.flag() && log.vouch() {
        commit(&mut log, &mut written);
    }
    written
}

fn group(count: u32, content: Vec<u8>) -> Group {
    let mut rows = RowsDraft { vmtas: vec![String::new()], ..RowsDraft::default() };
    for _ in 0..count {
        put_value(&mut rows.bytes, "jim@site.example");
        rows.ends.push(rows.bytes.len() as u32);
        rows.vmta.push(0);
    }
    let drafts = vec![
        Draft::Content(content.into()),
        Draft::Accepted { submission: Submission::default(), content: Ref::Here(0) },
        Draft::Rows { submission: Ref::Here(1), rows },
    ];
    Group { drafts }
}

fn settle(log: &mut Log, written: &mut Written, pick: usize) {
    let rows = written.rows[pick % written.rows.len()];
    let outcome = |index: u32| Outcome {
        row: RowRef { record: rows.at, ordinal: rows.first_ordinal + index, index: index as u16 },
        submission: rows.submission,
        disposition: Disposition::Delivered,
        at: 0,
        attempt: 0,
        said: 0,
        size: 0,
        attempts: 1,
    };
    let outcomes = (0..rows.count).map(outcome).collect();
    log.append_outcomes(&OutcomeBatch { outcomes, ..OutcomeBatch::default() }).expect("room");
    written.settled.extend((0..rows.count).map(|index| (NUMBER, rows.first_ordinal + index)));
}

fn commit(log: &mut Log, written: &mut Written) {
    let Some(write) = log.take_write() else { return };
    let at = write.offset as usize;
    written.end = at + write.blocks.len();
    written.segment.bytes[at..written.end].copy_from_slice(write.blocks.as_slice());
    log.written(write.end);
    log.synced();
    assert_eq!(log.durable(), Location { segment: NUMBER, offset8: (written.end / 8) as u32 });
}

fn deface(bytes: &mut Vec<u8>, input: &mut Input<'_>) {
    while !input.is_empty() {
        let at = DATA_START + input.number() as usize % (LENGTH - DATA_START);
        match input.below(4) {
            0 => {
                for (to, from) in bytes.iter_mut().skip(at).zip(input.text()) {
                    *to = *from;
                }
            }
            1 => {
                // A whole block, or a frame, at another place.
                let from = DATA_START + input.number() as usize % (LENGTH - DATA_START);
                let (from, at) = (from & !7, at & !7);
                let len = (8 << input.below(10)).min(LENGTH - from.max(at));
                let copied: Vec<u8> = bytes.iter().skip(from).take(len).copied().collect();
                bytes.iter_mut().skip(at).zip(copied).for_each(|(to, from)| *to = from);
            }
            2 => bytes.truncate(at),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << input.below(8)),
        }
    }
    bytes.resize(LENGTH, 0);
}
