//! From segment files back to a ledger: what is live, what was tried, what is damaged.
//!
//! Recovery only reads; running it any number of times gives the same answer (F02). What it decides becomes final
//! with the first commit of the next segment, which lists the segments that count and where each ends.

use super::codec;
use super::forward::tried_in;
use super::frame::{COMMIT_LEN, FRAME, Key, Kind};
use super::header::{DATA_START, SegmentHeader};
use super::ledger::Ledger;
use super::record::{Control, Location, SegmentEnd, TriedRow};
use super::rows::RowsView;
use super::scan::{Found, Judged, scan};
use crate::base::planted::{Bug, planted};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// Something recovery could not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Acknowledged bytes that are no longer what was written (F16).
    Range { segment: u32, from: u64, to: u64 },
    /// A record that is intact but cannot be understood.
    Record { at: Location, why: String },
    /// A segment in use whose file was cut short (F18): files have their full length from the start.
    Short { segment: u32, length: u64, size: u64 },
    /// A segment in use whose file is gone (F18).
    Missing { segment: u32, end: u64 },
    /// A segment in use that cannot be read: both copies of the header are damaged, or the device refuses.
    Unreadable { segment: u32, why: String },
    /// Writes that were never acknowledged, dropped: the ordinary trace of a power cut.
    Torn { segment: u32, from: u64 },
}

impl Damage {
    /// Whether acknowledged mail may be affected.
    pub fn is_loss(&self) -> bool {
        !matches!(self, Damage::Torn { .. })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Range { segment, from, to } => {
                write!(f, "segment {segment}: bytes {from}..{to} are damaged; records there are lost")
            }
            Damage::Record { at, why } => write!(f, "record {at}: {why}"),
            Damage::Short { segment, length, size } => {
                write!(
                    f,
                    "segment {segment}: the file ends at byte {length} of {size}; records from there on are lost"
                )
            }
            Damage::Missing { segment, end } => {
                write!(f, "segment {segment}: the file is missing; its records (bytes 0..{end}) are lost")
            }
            Damage::Unreadable { segment, why } => write!(f, "segment {segment}: not readable: {why}"),
            Damage::Torn { segment, from } => {
                write!(f, "segment {segment}: unacknowledged writes from byte {from} on were dropped")
            }
        }
    }
}

/// A `Rows` record with rows that still wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingRows {
    pub at: Location,
    pub submission: Location,
    pub first_ordinal: u32,
    pub count: u32,
}

/// What was tried for a row that still waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    pub attempts: u16,
    /// Unix milliseconds of the last attempt.
    pub last_at: i64,
    /// The last attempt ended without a reply to the final dot (R11).
    pub in_doubt: bool,
}

/// The result of a recovery.
#[derive(Debug, Default)]
pub struct Recovery {
    pub ledger: Ledger,
    pub damage: Vec<Damage>,
    /// In log order.
    pub rows: Vec<WaitingRows>,
    /// By segment and ordinal; only rows that still wait.
    pub tried: HashMap<(u32, u32), Tried>,
    /// Segments whose files hold nothing that is needed.
    pub free: Vec<u32>,
    /// Higher than any segment number ever used.
    pub next_number: u32,
    /// Records that were read.
    pub records: u64,
}

/// The files of a spool, as recovery sees them.
pub trait Files {
    /// Reads `len` bytes from byte `from`; fewer where the file is shorter.
    fn read(&mut self, segment: u32, from: u64, len: usize) -> Result<Vec<u8>, String>;
}

/// Reads the segments with these headers. `unreadable`: numbers of segment files without a readable header.
pub fn recover(
    headers: &BTreeMap<u32, SegmentHeader>,
    unreadable: &[u32],
    files: &mut dyn Files,
) -> Recovery {
    let mut run = Run { headers, files, recovery: Recovery::default(), claims: BTreeMap::new() };
    let plan = run.plan(unreadable);
    for (&number, &sealed) in &plan {
        run.segment(number, sealed, unreadable);
    }
    run.recovery.finish(headers, &plan, unreadable)
}

struct Run<'a> {
    headers: &'a BTreeMap<u32, SegmentHeader>,
    files: &'a mut dyn Files,
    recovery: Recovery,
    /// What later commits say about how far each segment was durable.
    claims: BTreeMap<u32, u32>,
}

/// Live segments, each with its end (in units of 8 bytes) where a manifest states it.
type Plan = BTreeMap<u32, Option<u32>>;

impl Run<'_> {
    /// Finds the newest manifest and from it the segments that count.
    fn plan(&mut self, unreadable: &[u32]) -> Plan {
        let mut plan = Plan::new();
        let mut newest = Vec::new();
        for (&number, header) in self.headers.iter().rev() {
            let manifest = self.manifest(header);
            let Ok(bytes) = self.files.read(number, 0, header.size as usize) else {
                plan.insert(number, None);
                continue;
            };
            let found = scan(&Key::new(number, header.nonce), &bytes);
            if bytes.len() < header.size as usize {
                // Whether something was written to it may be among what was cut off.
                plan.insert(number, None);
            }
            let used = found.claim_of(number).is_some_and(|end8| end8 as usize * 8 > DATA_START);
            for (&segment, &end8) in &found.claims {
                let claim = self.claims.entry(segment).or_default();
                *claim = (*claim).max(end8);
            }
            if manifest.is_some() || used {
                plan.insert(number, None);
                newest.push(number);
            }
            if let Some(live) = manifest {
                plan.extend(live.iter().map(|end| (end.segment, Some(end.end8))));
                break;
            }
        }
        // A newer file without a readable header may be anything: it counts as damaged, never as free.
        let last = newest.iter().max().copied().unwrap_or(0);
        plan.extend(unreadable.iter().filter(|n| **n > last).map(|n| (*n, None)));
        for number in newest {
            for retired in self.retired_in(number) {
                plan.remove(&retired);
            }
        }
        plan
    }

    /// The list of segments at the head of a segment, if that commit is complete.
    fn manifest(&mut self, header: &SegmentHeader) -> Option<Vec<SegmentEnd>> {
        let key = Key::new(header.number, header.nonce);
        let at = Location { segment: header.number, offset8: (DATA_START / 8) as u32 };
        let mut bytes = self.files.read(header.number, 0, DATA_START + (64 << 10)).ok()?;
        let closing = DATA_START + key.stride(bytes.get(DATA_START..)?, DATA_START)?;
        let end = closing + FRAME + COMMIT_LEN;
        if bytes.len() < end && end <= header.size as usize {
            bytes = self.files.read(header.number, 0, end).ok()?;
        }
        let intact = |at| key.header(&bytes, 0, at).filter(|frame| key.verify(&bytes, at, frame));
        let found = Found { at: DATA_START, header: intact(DATA_START)? };
        if found.header.kind != Kind::Control || intact(closing)?.kind != Kind::Commit {
            return None;
        }
        match codec::decode_control(at, found.payload(&bytes)) {
            Ok(Control::Segments { live }) => Some(live),
            _ => None,
        }
    }

    fn retired_in(&mut self, number: u32) -> Vec<u32> {
        let Some((bytes, judged)) = self.judged(number, None).and_then(Result::ok) else { return Vec::new() };
        let controls = judged.frames.iter().filter(|found| found.header.kind == Kind::Control);
        let decoded =
            controls.filter_map(|f| codec::decode_control(location(number, f.at), f.payload(&bytes)).ok());
        decoded
            .filter_map(|c| if let Control::Retired { segment } = c { Some(segment) } else { None })
            .collect()
    }

    /// Reads and judges a segment; `None` when it has no readable header.
    fn judged(&mut self, number: u32, sealed: Option<u32>) -> Option<Result<(Vec<u8>, Judged), String>> {
        let header = *self.headers.get(&number)?;
        let wanted = sealed.map_or(header.size as usize, |end8| end8 as usize * 8);
        let bytes = match self.files.read(number, 0, wanted.min(header.size as usize)) {
            Ok(bytes) => bytes,
            Err(why) => return Some(Err(why)),
        };
        let scan = scan(&Key::new(number, header.nonce), &bytes);
        let floor = sealed.or_else(|| self.claims.get(&number).copied()).unwrap_or(0) as usize * 8;
        // No power cut shortens a file: what said that its last records are durable was cut off, so all of them count.
        let short = bytes.len() < wanted;
        let floor = if short { floor.max(scan.end()) } else { floor };
        let judged = scan.judge(floor, sealed.is_some());
        if short {
            let (length, size) = (bytes.len() as u64, u64::from(header.size));
            let damage = Damage::Short { segment: number, length, size };
            // A segment may be judged more than once.
            if !self.recovery.damage.contains(&damage) {
                self.recovery.damage.push(damage);
            }
            self.recovery.ledger.hold(number);
        }
        Some(Ok((bytes, judged)))
    }

    fn segment(&mut self, number: u32, sealed: Option<u32>, unreadable: &[u32]) {
        self.recovery.ledger.open_segment(number);
        let (bytes, judged) = match self.judged(number, sealed) {
            Some(Ok(read)) => read,
            lost => {
                // Nothing is left of a missing file that could be kept: it is named once and then forgotten.
                let there = self.headers.contains_key(&number) || unreadable.contains(&number);
                let damage = match lost {
                    Some(Err(why)) => Damage::Unreadable { segment: number, why },
                    _ if unreadable.contains(&number) => Damage::Unreadable {
                        segment: number,
                        why: "both copies of its header are damaged".into(),
                    },
                    _ => Damage::Missing { segment: number, end: u64::from(sealed.unwrap_or(0)) * 8 },
                };
                self.recovery.damage.push(damage);
                if !there {
                    return self.recovery.ledger.retire(number);
                }
                self.recovery.ledger.hold(number);
                return self.recovery.ledger.end_segment(number, sealed.unwrap_or((DATA_START / 8) as u32));
            }
        };
        for range in &judged.damaged {
            self.recovery.ledger.hold(number);
            let (from, to) = (range.start as u64, range.end as u64);
            self.recovery.damage.push(Damage::Range { segment: number, from, to });
        }
        if judged.torn {
            self.recovery.damage.push(Damage::Torn { segment: number, from: judged.end as u64 });
        }
        let forgotten = usize::from(planted(Bug::DropLastRecord));
        for found in &judged.frames[..judged.frames.len().saturating_sub(forgotten)] {
            self.recovery.records += 1;
            if let Err(why) = self.recovery.record(location(number, found.at), *found, found.payload(&bytes))
            {
                self.recovery.ledger.hold(number);
                self.recovery.damage.push(Damage::Record { at: location(number, found.at), why });
            }
        }
        self.recovery.ledger.end_segment(number, (judged.end / 8) as u32);
    }
}

impl Recovery {
    fn record(&mut self, at: Location, found: Found, payload: &[u8]) -> Result<(), String> {
        match found.header.kind {
            Kind::Accepted => {
                let submission = codec::decode_submission(at, payload).map_err(|e| e.to_string())?;
                self.ledger.accepted(at, submission.content);
            }
            Kind::Rows => {
                let view = RowsView::new(payload).ok_or("its lengths do not add up")?;
                let (first_ordinal, count) = (found.header.ordinal, view.len() as u32);
                self.ledger.rows(at, view.submission, first_ordinal, count);
                self.ledger.gaps(at.segment, view.gaps().map(|index| first_ordinal + index));
                self.rows.push(WaitingRows { at, submission: view.submission, first_ordinal, count });
            }
            Kind::Outcomes => {
                let batch = codec::decode_outcomes(at, payload).map_err(|e| e.to_string())?;
                self.ledger.outcomes(at, &batch.outcomes);
                self.note_tried(&tried_in(&batch));
            }
            Kind::Control => {
                let control = codec::decode_control(at, payload).map_err(|e| e.to_string())?;
                self.ledger.control(at, &control);
                match control {
                    Control::Aborted { records } => self.abort(at, &records),
                    Control::Tried { rows } => self.note_tried(&rows),
                    _ => {}
                }
            }
            Kind::Content | Kind::Commit => {}
        }
        Ok(())
    }

    /// What was said again stands behind what was said later: the higher count is the later one.
    fn note_tried(&mut self, rows: &[TriedRow]) {
        for &TriedRow { row, attempts, last_at, in_doubt } in rows {
            let tried = Tried { attempts, last_at, in_doubt };
            let known = self.tried.entry((row.record.segment, row.ordinal)).or_insert(tried);
            if known.attempts <= attempts {
                *known = tried;
            }
        }
    }

    fn abort(&mut self, at: Location, records: &[Location]) {
        for record in records {
            if let Ok(index) = self.rows.binary_search_by_key(record, |rows| rows.at) {
                let rows = self.rows[index];
                self.ledger.abort_rows(at, rows.at, rows.first_ordinal, rows.count);
            }
        }
    }

    fn finish(mut self, headers: &BTreeMap<u32, SegmentHeader>, plan: &Plan, unreadable: &[u32]) -> Recovery {
        let ledger = &self.ledger;
        self.rows.retain(|rows| {
            let mut ordinals = rows.first_ordinal..rows.first_ordinal + rows.count;
            ordinals.any(|ordinal| ledger.is_live(rows.at.segment, ordinal))
        });
        self.tried.retain(|&(segment, ordinal), _| ledger.is_live(segment, ordinal));
        self.free = headers.keys().chain(unreadable).filter(|n| !plan.contains_key(n)).copied().collect();
        let numbers: BTreeSet<u32> = headers.keys().chain(plan.keys()).chain(unreadable).copied().collect();
        self.next_number = numbers.last().map_or(1, |last| last + 1);
        self
    }
}

fn location(segment: u32, at: usize) -> Location {
    Location { segment, offset8: (at / 8) as u32 }
}
