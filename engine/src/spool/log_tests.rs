//! The log against a model: random groups, outcomes, reclaim, rows carried forward and crashes on a disk that loses any
//! subset of what was not synced, torn at 512 or 4096 bytes (R1, R4, R5, F05-F07, F16).

use super::*;
use crate::spool::forward::Moves;
use crate::spool::header::SegmentHeader;
use crate::spool::record::{Disposition, Outcome, RowRef, RowsDraft, Submission};
use crate::spool::recover::{Damage, Files, Recovery, recover};
use crate::spool::rows::RowsView;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[path = "log_forward_tests.rs"]
mod forward;

#[path = "log_damage_tests.rs"]
mod damage;

const SIZE: usize = 96 << 10;

/// A segment file: what is on the platter, and what the operating system believes.
#[derive(Clone)]
struct File {
    header: SegmentHeader,
    durable: Vec<u8>,
    current: Vec<u8>,
}

#[derive(Clone, Default)]
struct Disk {
    files: BTreeMap<u32, File>,
    free: Vec<Vec<u8>>,
    nonces: u64,
    next: u32,
}

impl Files for Disk {
    fn read(&mut self, segment: u32, from: u64, len: usize) -> Result<Vec<u8>, String> {
        let file = self.files.get(&segment).ok_or("no file")?;
        let from = (from as usize).min(file.current.len());
        Ok(file.current[from..(from + len).min(file.current.len())].to_vec())
    }
}

impl Disk {
    /// A fresh segment in a used file where there is one: the old records are still in it.
    fn prepare(&mut self) -> SegmentHeader {
        self.nonces += 1;
        let nonce =
            u128::from(self.nonces).wrapping_mul(0x9e37_79b9_7f4a_7c15_0123_4567_89ab_cdef).to_le_bytes();
        let header = SegmentHeader { number: self.next, size: SIZE as u32, nonce };
        self.next += 1;
        let mut bytes = self.free.pop().unwrap_or_else(|| vec![0; SIZE]);
        bytes[..DATA_START].copy_from_slice(&header.encode());
        self.files.insert(header.number, File { header, durable: bytes.clone(), current: bytes });
        header
    }

    fn write(&mut self, write: &Write) {
        let file = self.files.get_mut(&write.segment).expect("a segment in use");
        let at = write.offset as usize;
        file.current[at..at + write.blocks.len()].copy_from_slice(write.blocks.as_slice());
    }

    fn sync(&mut self, segment: u32) {
        let file = self.files.get_mut(&segment).expect("a segment in use");
        file.durable.clone_from(&file.current);
    }

    /// Loses every sector of what was not synced with probability `loss` of 255.
    fn crash(&mut self, random: &mut fastrand::Rng, sector: usize, loss: u8) {
        for file in self.files.values_mut() {
            for at in (0..SIZE).step_by(sector) {
                if file.durable[at..at + sector] != file.current[at..at + sector] && random.u8(..) < loss {
                    let (durable, current) = (&file.durable, &mut file.current);
                    current[at..at + sector].copy_from_slice(&durable[at..at + sector]);
                }
            }
            file.durable.clone_from(&file.current);
        }
    }

    fn recover(&mut self) -> Recovery {
        let headers = self.files.iter().map(|(number, file)| (*number, file.header)).collect();
        recover(&headers, &[], self)
    }
}

/// A row, by the number it carries. Its place is the one it was accepted at: carrying it forward tells nobody.
#[derive(Clone, Copy)]
struct Row {
    at: RowRef,
    submission: Location,
    attempts: u16,
}

struct Model {
    disk: Disk,
    log: Log,
    next_row: u64,
    /// Acknowledged and not settled by any outcome.
    live: BTreeMap<u64, Row>,
    /// Settled by an outcome that is not durable yet.
    unsure: BTreeMap<u64, Row>,
    /// Groups not acknowledged: each is there whole, or not at all.
    open: Vec<BTreeMap<u64, Row>>,
    cursor: Location,
    moves: Moves,
    carried: usize,
    /// Attempts of live rows as of the last sync.
    durable_attempts: BTreeMap<u64, u16>,
}

impl Model {
    fn new() -> Model {
        let mut disk = Disk { next: 1, ..Disk::default() };
        let log = Log::new(Ledger::default(), disk.prepare());
        let cursor = Location::START;
        let none = BTreeMap::new();
        let (open, moves, durable_attempts) = (Vec::new(), Moves::default(), BTreeMap::new());
        Model {
            disk,
            log,
            next_row: 0,
            live: none.clone(),
            unsure: none,
            open,
            cursor,
            moves,
            carried: 0,
            durable_attempts,
        }
    }

    fn group(&mut self, rows: usize, content: usize) -> (Group, Vec<u64>) {
        let mut draft = RowsDraft { vmtas: vec![String::new()], ..RowsDraft::default() };
        let numbers: Vec<u64> = (self.next_row..self.next_row + rows as u64).collect();
        self.next_row += rows as u64;
        for number in &numbers {
            draft.vmta.push(0);
            draft.bytes.extend_from_slice(&number.to_le_bytes());
            draft.ends.push(draft.bytes.len() as u32);
        }
        let drafts = vec![
            Draft::Content(vec![7; content].into()),
            Draft::Accepted { submission: Submission::default(), content: Ref::Here(0) },
            Draft::Rows { submission: Ref::Here(1), rows: draft },
        ];
        (Group { drafts }, numbers)
    }

    fn append(&mut self, rows: usize, content: usize) {
        let (group, numbers) = self.group(rows, content);
        if self.log.room(Log::group_bound(&group)) == Room::AfterRoll {
            self.roll();
        }
        let places = self.log.append(group).expect("appended").places;
        let row = |(index, number): (usize, &u64)| {
            let ordinal = places[2].first_ordinal + index as u32;
            let at = RowRef { record: places[2].at, ordinal, index: index as u16 };
            (*number, Row { at, submission: places[1].at, attempts: 0 })
        };
        self.open.push(numbers.iter().enumerate().map(row).collect());
    }

    fn settle(&mut self, pick: usize, count: usize) {
        let picked: Vec<u64> =
            self.live.keys().skip(pick % self.live.len().max(1)).take(count).copied().collect();
        self.outcomes(&picked, Disposition::Delivered);
        for number in picked {
            let row = self.live.remove(&number).expect("picked from there");
            self.unsure.insert(number, row);
        }
    }

    fn outcomes(&mut self, numbers: &[u64], disposition: Disposition) {
        let outcome = |number: &u64| {
            let Row { at: row, submission, attempts } = self.live[number];
            let attempts = attempts + 1;
            Outcome { row, submission, disposition, at: 0, attempt: 0, said: 0, size: 0, attempts }
        };
        let outcomes = numbers.iter().map(outcome).collect();
        let mut batch = OutcomeBatch { outcomes, ..OutcomeBatch::default() };
        self.moves.translate(&mut batch);
        if self.log.room(Log::outcomes_bound(&batch)) == Room::AfterRoll {
            self.roll();
        }
        self.log.append_outcomes(&batch).expect("appended");
    }

    fn write(&mut self) {
        if let Some(write) = self.log.take_write() {
            assert_eq!(write.blocks.as_slice().as_ptr().addr() % BLOCK, 0);
            self.disk.write(&write);
            self.log.written(write.end);
        }
    }

    fn sync(&mut self) {
        self.write();
        self.disk.sync(self.log.segment());
        self.log.synced();
        self.unsure.clear();
        self.durable_attempts = self.live.iter().map(|(number, row)| (*number, row.attempts)).collect();
        for group in std::mem::take(&mut self.open) {
            self.live.extend(group);
        }
    }

    fn roll(&mut self) {
        self.sync();
        let fresh = self.disk.prepare();
        self.log.roll(fresh);
    }

    /// Retires what can be retired; `renamed`: the crash that may follow comes after the file was freed.
    fn reclaim(&mut self, renamed: bool) {
        self.cursor = self.log.durable();
        while let Some(reclaim) = self.log.ledger().reclaimable(self.cursor) {
            for control in reclaim.controls {
                let group = Group { drafts: vec![Draft::Control(control)] };
                if self.log.room(Log::group_bound(&group)) == Room::AfterRoll {
                    self.roll();
                }
                self.log.append(group).expect("appended");
            }
            self.sync();
            self.log.retire(reclaim.segment);
            self.moves.retired(reclaim.segment);
            if renamed {
                let file = self.disk.files.remove(&reclaim.segment).expect("was in use");
                self.disk.free.push(file.current);
            }
        }
    }

    fn crash(&mut self, seed: u64, sector: usize, loss: u8) {
        self.disk.crash(&mut fastrand::Rng::with_seed(seed), sector, loss);
        let recovery = self.disk.recover();
        let again = self.disk.recover();
        assert_eq!(
            (&recovery.rows, &recovery.free),
            (&again.rows, &again.free),
            "recovery is not repeatable"
        );
        let losses: Vec<&Damage> = recovery.damage.iter().filter(|damage| damage.is_loss()).collect();
        assert!(losses.is_empty(), "{losses:?}");
        self.compare(&recovery);
        for number in &recovery.free {
            let file = self.disk.files.remove(number).expect("listed");
            self.disk.free.push(file.current);
        }
        self.disk.next = recovery.next_number;
        self.log = Log::new(recovery.ledger, self.disk.prepare());
        self.moves = Moves::default();
    }

    /// Nothing acknowledged is lost, nothing settled comes back, nothing appears from nowhere, and groups are
    /// whole or absent.
    fn compare(&mut self, recovery: &Recovery) {
        let found = self.disk.rows(recovery);
        for number in self.live.keys() {
            assert!(found.contains_key(number), "row {number} was acknowledged and is lost");
        }
        let mut known: BTreeSet<u64> = self.live.keys().chain(self.unsure.keys()).copied().collect();
        for group in std::mem::take(&mut self.open) {
            let there = group.keys().filter(|number| found.contains_key(number)).count();
            assert!(there == 0 || there == group.len(), "{there} of {} rows of a group", group.len());
            known.extend(group.keys());
        }
        for (number, row) in &found {
            assert!(known.contains(number), "row {number} has come back");
            // A deferral that was not durable may be missing; one that was must not.
            let told = self.durable_attempts.get(number).copied().unwrap_or(0);
            let most = self.live.get(number).map_or(u16::MAX, |row| row.attempts);
            assert!((told..=most).contains(&row.attempts), "row {number}: {} attempts", row.attempts);
        }
        self.durable_attempts = found.iter().map(|(number, row)| (*number, row.attempts)).collect();
        self.live = found;
        self.unsure.clear();
    }
}

impl Disk {
    /// The rows that recovery says are live, by the numbers in them.
    fn rows(&self, recovery: &Recovery) -> BTreeMap<u64, Row> {
        let mut found = BTreeMap::new();
        for rows in &recovery.rows {
            let bytes = &self.files[&rows.at.segment].current[rows.at.byte_offset() as usize..];
            let len = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
            let view = RowsView::new(&bytes[FRAME..FRAME + len]).expect("a verified record");
            for index in 0..view.len() {
                let ordinal = rows.first_ordinal + index as u32;
                if recovery.ledger.is_live(rows.at.segment, ordinal) {
                    let number = view.row(index).and_then(|row| row.try_into().ok()).map(u64::from_le_bytes);
                    let at = RowRef { record: rows.at, ordinal, index: index as u16 };
                    let attempts =
                        recovery.tried.get(&(rows.at.segment, ordinal)).map_or(0, |tried| tried.attempts);
                    let row = Row { at, submission: view.submission, attempts };
                    let before = found.insert(number.expect("8 bytes"), row);
                    assert!(before.is_none(), "a row is there twice");
                }
            }
        }
        found
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append {
        rows: usize,
        content: usize,
    },
    Settle {
        pick: usize,
        count: usize,
    },
    Write,
    Sync,
    Vouch,
    Reclaim {
        renamed: bool,
    },
    Defer {
        pick: usize,
        count: usize,
    },
    /// Several at once: a segment is nearly empty only when most of it is settled.
    SettleMost,
    Forward {
        settle_meanwhile: bool,
    },
    Crash {
        seed: u64,
        sector: usize,
        loss: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1usize..40, 0usize..20_000).prop_map(|(rows, content)| Step::Append { rows, content }),
        4 => (any::<usize>(), 1usize..200).prop_map(|(pick, count)| Step::Settle { pick, count }),
        3 => Just(Step::Write),
        3 => Just(Step::Sync),
        1 => Just(Step::Vouch),
        2 => any::<bool>().prop_map(|renamed| Step::Reclaim { renamed }),
        2 => (any::<usize>(), 1usize..40).prop_map(|(pick, count)| Step::Defer { pick, count }),
        1 => Just(Step::SettleMost),
        3 => prop::bool::weighted(0.1).prop_map(|settle_meanwhile| Step::Forward { settle_meanwhile }),
        2 => (any::<u64>(), prop_oneof![Just(512), Just(4096)], any::<u8>())
            .prop_map(|(seed, sector, loss)| Step::Crash { seed, sector, loss }),
    ]
}

fn run(steps: &[Step]) {
    let mut model = Model::new();
    for step in steps {
        match *step {
            Step::Append { rows, content } => model.append(rows, content),
            Step::Settle { pick, count } => model.settle(pick, count),
            Step::Write => model.write(),
            Step::Sync => model.sync(),
            Step::Vouch => drop(model.log.vouch()),
            Step::Reclaim { renamed } => model.reclaim(renamed),
            Step::Defer { pick, count } => model.defer(pick, count),
            Step::SettleMost => model.settle(0, model.live.len() * 15 / 16),
            Step::Forward { settle_meanwhile } => model.forward(settle_meanwhile),
            Step::Crash { seed, sector, loss } => model.crash(seed, sector, loss),
        }
        assert!(model.log.ledger().live_rows() as usize >= model.live.len());
    }
    model.sync();
    model.crash(1, 512, 255);
    // Calm after the faults: everything can be settled, and then only the segment being written is needed.
    while !model.live.is_empty() {
        model.settle(0, 500);
        model.sync();
    }
    model.roll();
    model.sync();
    for _ in 0..model.log.ledger().segment_count() {
        model.forward(false);
        model.sync();
        model.reclaim(true);
    }
    assert!(model.log.ledger().segment_count() <= 3, "{:?}", model.log.ledger().ends());
}

/// `PROPTEST_CASES` for long runs.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    #[test]
    fn crashes_lose_nothing_acknowledged_and_revive_nothing_settled(steps in prop::collection::vec(step(), 1..60)) {
        run(&steps);
    }
}

#[test]
fn a_failed_log_takes_nothing_more() {
    let mut model = Model::new();
    model.append(1, 10);
    model.log.fail("sync: EIO".into());
    assert!(model.log.take_write().is_none());
    let (group, _) = model.group(1, 10);
    assert_eq!(model.log.append(group), Err(SpoolError::Failed { why: "sync: EIO".into() }));
    assert!(model.log.append_outcomes(&OutcomeBatch::default()).is_err());
    assert!(!model.log.vouch());
}

#[test]
fn an_aborted_group_is_not_delivered_after_a_restart() {
    let mut model = Model::new();
    model.append(3, 10);
    model.append(2, 10);
    let (group, numbers) = model.group(4, 10);
    let committed = model.log.append(group).expect("appended");
    model.sync();
    model.log.abort(&committed, &[0, 0, 4]).expect("recorded");
    assert_eq!(model.log.ledger().live_rows(), 5);
    model.sync();
    let recovery = model.disk.recover();
    let found = model.disk.rows(&recovery);
    assert!(numbers.iter().all(|number| !found.contains_key(number)));
    assert_eq!(found.len(), 5);
}
