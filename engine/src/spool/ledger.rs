//! What in the log is still needed: which rows are settled, and which segments may be recycled.
//!
//! The ledger knows segments, not submissions. A segment with live rows keeps the segments alive in which the
//! submissions of its rows were accepted, and those keep the segments of their contents. That is coarser than
//! counting per submission and costs no memory per message: one bit per row, and a few words per segment.

use super::forward::Plan;
use super::record::{Control, Location, Outcome, SegmentEnd};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

/// Segments that may be in use beyond those that the rows which wait would fill, before rows are carried forward.
const SPARE: usize = 8;
/// A segment is nearly empty when at most one of this many of its rows waits.
const FEW: u32 = 8;

/// A campaign whose import has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Where the latest `ImportProgress` record stands.
    pub at: Location,
    pub submission: Location,
    pub next_row: u64,
    pub state: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct Segment {
    /// Set when the log has moved on.
    end: Option<u32>,
    rows: u32,
    live: u32,
    settled: Vec<u64>,
    /// Segments in which the submissions of the rows here were accepted.
    accepted_in: BTreeSet<u32>,
    /// Segments that hold the contents of the submissions accepted here.
    content_in: BTreeSet<u32>,
    /// Segments whose rows are said to be settled by records here.
    about: BTreeSet<u32>,
    /// The last outcome about rows or submissions here; accounting must pass it first.
    last_outcome: Location,
    /// The last `SettledRows` record about this segment.
    snapshot: Location,
    /// Damaged: kept for the operator, never recycled.
    held: bool,
    /// Records here that say what was tried for rows that waited then, and the segments those rows are in.
    tries: Vec<(u32, RangeInclusive<u32>)>,
    /// What is still needed of it was said again.
    forwarded: bool,
    /// Not to be emptied before the segment with this number is being written.
    not_before: u32,
}

impl Segment {
    /// True when the row was live before.
    fn settle(&mut self, ordinal: u32) -> bool {
        let (word, bit) = (ordinal as usize / 64, 1u64 << (ordinal % 64));
        if ordinal >= self.rows || self.settled[word] & bit != 0 {
            return false;
        }
        self.settled[word] |= bit;
        self.live -= 1;
        true
    }
}

/// What has to be written before a segment may be recycled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reclaim {
    pub segment: u32,
    /// In this order; the last one is `Retired`.
    pub controls: Vec<Control>,
}

/// What the operator has said of the queues that a pattern names.
#[derive(Clone, Debug)]
struct Pause {
    queue: String,
    paused: bool,
    at: Location,
}

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    segments: BTreeMap<u32, Segment>,
    imports: HashMap<String, Import>,
    /// Pickup identities that must not be injected again.
    done: HashMap<String, Location>,
    /// What the operator paused, and what he resumed of it since: of those that name a queue the last counts.
    pauses: Vec<Pause>,
    /// Queues whose mail is held because a reload took their route away.
    routes_lost: HashMap<String, Location>,
    live: u64,
}

impl Ledger {
    pub fn open_segment(&mut self, number: u32) {
        self.segments.entry(number).or_default();
    }

    pub fn end_segment(&mut self, number: u32, end8: u32) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.end = Some(end8);
        }
    }

    /// Forgets a recycled segment.
    pub fn retire(&mut self, number: u32) {
        if let Some(segment) = self.segments.remove(&number) {
            self.live -= u64::from(segment.live);
        }
    }

    /// Keeps a damaged segment from being recycled.
    pub fn hold(&mut self, number: u32) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.held = true;
        }
    }

    pub fn accepted(&mut self, at: Location, content: Location) {
        if let Some(segment) = self.segments.get_mut(&at.segment)
            && content.segment != at.segment
        {
            segment.content_in.insert(content.segment);
        }
    }

    pub fn rows(&mut self, at: Location, submission: Location, first_ordinal: u32, count: u32) {
        let Some(segment) = self.segments.get_mut(&at.segment) else { return };
        let end = first_ordinal.saturating_add(count);
        if end > segment.rows {
            // Ordinals between belong to damaged records: no row of theirs can be delivered or settled.
            let missing = first_ordinal.saturating_sub(segment.rows);
            let lost = segment.rows..segment.rows + missing;
            segment.rows = end;
            segment.settled.resize((end as usize).div_ceil(64), 0);
            for ordinal in lost {
                segment.settled[ordinal as usize / 64] |= 1 << (ordinal % 64);
            }
            segment.live += count;
            self.live += u64::from(count);
        }
        if submission.segment != at.segment {
            segment.accepted_in.insert(submission.segment);
        }
    }

    /// Settles the rows of a carried record that were settled before: these of the segment's ordinals.
    pub fn gaps(&mut self, segment: u32, ordinals: impl IntoIterator<Item = u32>) {
        let Some(segment) = self.segments.get_mut(&segment) else { return };
        for ordinal in ordinals {
            self.live -= u64::from(segment.settle(ordinal));
        }
    }

    /// Notes the outcomes recorded at `at`.
    pub fn outcomes(&mut self, at: Location, outcomes: &[Outcome]) {
        let (mut about, mut tried) = (None, Vec::new());
        for outcome in outcomes {
            let row = outcome.row.record.segment;
            if !outcome.disposition.is_final() {
                tried.push(row);
            }
            if let Some(segment) = self.segments.get_mut(&row) {
                segment.last_outcome = at;
                if outcome.disposition.is_final() {
                    self.live -= u64::from(segment.settle(outcome.row.ordinal));
                    if about != Some(row) {
                        about = Some(row);
                        self.note_about(at.segment, row);
                    }
                }
            }
            if outcome.submission.segment != row
                && let Some(segment) = self.segments.get_mut(&outcome.submission.segment)
            {
                segment.last_outcome = at;
            }
        }
        self.note_tries(at, tried);
    }

    fn note_tries(&mut self, at: Location, about: impl IntoIterator<Item = u32>) {
        let range = about.into_iter().map(|n| n..=n);
        let range = range.reduce(|a, b| *a.start().min(b.start())..=*a.end().max(b.end()));
        if let (Some(range), Some(segment)) = (range, self.segments.get_mut(&at.segment)) {
            segment.tries.push((at.offset8, range));
        }
    }

    /// Notes the control record at `at`.
    pub fn control(&mut self, at: Location, control: &Control) {
        match control {
            Control::ImportProgress { identity, submission, next_row, state } => {
                let import =
                    Import { at, submission: *submission, next_row: *next_row, state: state.clone() };
                self.imports.insert(identity.clone(), import);
            }
            Control::PickupDone { identity } => {
                self.imports.remove(identity);
                self.done.insert(identity.clone(), at);
            }
            Control::PickupForgotten { identity } => {
                self.done.remove(identity);
            }
            Control::QueuePaused { queue, paused } => {
                self.pauses.retain(|pause| pause.queue != *queue);
                self.pauses.push(Pause { queue: queue.clone(), paused: *paused, at });
                // A resume with no pause before it is an exception to nothing.
                let idle = self.pauses.iter().take_while(|pause| !pause.paused).count();
                self.pauses.drain(..idle);
            }
            Control::RouteLost { queue, lost: true } => {
                self.routes_lost.insert(queue.clone(), at);
            }
            Control::RouteLost { queue, lost: false } => {
                self.routes_lost.remove(queue);
            }
            Control::SettledRows { segment, bits } => self.settled_rows(at, *segment, bits),
            Control::Tried { rows } => self.note_tries(at, rows.iter().map(|tried| tried.row.record.segment)),
            Control::Carried { segment: number } => {
                if let Some(segment) = self.segments.get_mut(number) {
                    segment.forwarded = true;
                    self.live -= u64::from(std::mem::take(&mut segment.live));
                    segment.settled.fill(u64::MAX);
                    self.note_about(at.segment, *number);
                }
            }
            // `Aborted` names records; whoever knows their ordinals calls `abort_rows`.
            Control::Segments { .. } | Control::Retired { .. } | Control::Aborted { .. } => {}
        }
    }

    /// Settles rows whose submitter was told that they were not accepted. `first_ordinal..+count`.
    pub fn abort_rows(&mut self, at: Location, rows: Location, first_ordinal: u32, count: u32) {
        let Some(segment) = self.segments.get_mut(&rows.segment) else { return };
        for ordinal in first_ordinal..first_ordinal.saturating_add(count) {
            self.live -= u64::from(segment.settle(ordinal));
        }
        segment.last_outcome = segment.last_outcome.max(at);
        self.note_about(at.segment, rows.segment);
    }

    fn settled_rows(&mut self, at: Location, number: u32, bits: &[u8]) {
        let Some(segment) = self.segments.get_mut(&number) else { return };
        segment.snapshot = at;
        for (byte, bits) in bits.iter().enumerate().filter(|(_, bits)| **bits != 0) {
            for bit in (0..8).filter(|bit| bits & (1 << bit) != 0) {
                self.live -= u64::from(segment.settle((byte * 8 + bit) as u32));
            }
        }
        self.note_about(at.segment, number);
    }

    fn note_about(&mut self, holder: u32, about: u32) {
        if holder != about
            && let Some(segment) = self.segments.get_mut(&holder)
        {
            segment.about.insert(about);
        }
    }

    /// Recipients that wait in the log.
    pub fn live_rows(&self) -> u64 {
        self.live
    }

    pub fn is_live(&self, segment: u32, ordinal: u32) -> bool {
        self.segments.get(&segment).is_some_and(|s| {
            ordinal < s.rows && s.settled[ordinal as usize / 64] & (1 << (ordinal % 64)) == 0
        })
    }

    pub fn knows(&self, segment: u32) -> bool {
        self.segments.contains_key(&segment)
    }

    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The segments in use, with their ends, without the one still being written.
    pub fn ends(&self) -> Vec<SegmentEnd> {
        let sealed =
            self.segments.iter().filter_map(|(&segment, s)| s.end.map(|end8| SegmentEnd { segment, end8 }));
        sealed.collect()
    }

    pub fn imports(&self) -> impl Iterator<Item = (&str, &Import)> {
        self.imports.iter().map(|(identity, import)| (identity.as_str(), import))
    }

    pub fn done(&self) -> impl Iterator<Item = &str> {
        self.done.keys().map(String::as_str)
    }

    /// Pauses and resumes in their order; of those that name a queue the last counts.
    pub fn pauses(&self) -> impl Iterator<Item = (&str, bool)> {
        self.pauses.iter().map(|pause| (pause.queue.as_str(), pause.paused))
    }

    pub fn routes_lost(&self) -> impl Iterator<Item = &str> {
        self.routes_lost.keys().map(String::as_str)
    }

    /// A segment that nothing needs any longer, given that accounting has read everything before `cursor`.
    pub fn reclaimable(&self, cursor: Location) -> Option<Reclaim> {
        let number = self.unneeded(cursor, |s| s.live == 0 && (s.forwarded || s.tries.is_empty()))?;
        Some(Reclaim { segment: number, controls: self.forward(number) })
    }

    /// The oldest segment that nothing but its own rows holds, and that is as `wanted`.
    fn unneeded(&self, cursor: Location, wanted: impl Fn(&Segment) -> bool) -> Option<u32> {
        let mut candidates = self.segments.iter().filter(|(_, s)| !s.held && wanted(s)).peekable();
        candidates.peek()?;
        let pinned = self.pinned();
        candidates.find_map(|(&number, s)| {
            let end = Location { segment: number, offset8: s.end? };
            let free = !pinned.contains(&number) && cursor >= end && cursor > s.last_outcome;
            free.then_some(number)
        })
    }

    /// Whether more segments are in use than the rows that wait account for.
    pub fn is_sparse(&self) -> bool {
        let shares = self.segments.values().filter(|s| s.rows > 0);
        let full: f64 = shares.map(|s| f64::from(s.live) / f64::from(s.rows)).sum();
        self.segments.len() > SPARE + (2.0 * full).ceil() as usize
    }

    /// A segment that could be recycled if what it still holds were said again: what was tried for rows elsewhere, and,
    /// where `rows` says so, its last few rows.
    pub fn forwardable(&self, cursor: Location, active: u32, rows: bool) -> Option<Plan> {
        let segment = self.unneeded(cursor, |s| {
            let few = rows && s.live.saturating_mul(FEW) <= s.rows;
            !s.forwarded && s.not_before <= active && (s.live == 0 || few)
        })?;
        let s = &self.segments[&segment];
        let records = self.segments.iter().flat_map(|(&holder, other)| {
            let about = other
                .tries
                .iter()
                .filter(move |(_, about)| holder == segment || (s.live > 0 && about.contains(&segment)));
            about.map(move |&(offset8, _)| Location { segment: holder, offset8 })
        });
        Some(Plan {
            segment,
            active,
            last_outcome: s.last_outcome,
            settled: s.settled.clone(),
            tries: records.collect(),
        })
    }

    /// Whether what was planned is still so.
    pub fn is_current(&self, plan: &Plan) -> bool {
        self.segments.get(&plan.segment).is_some_and(|s| s.last_outcome == plan.last_outcome)
    }

    /// Leaves a segment alone until the one with number `until` is being written.
    pub fn leave(&mut self, number: u32, until: u32) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.not_before = until;
        }
    }

    /// Segments without live rows of their own that others need.
    fn pinned(&self) -> BTreeSet<u32> {
        let mut pinned = BTreeSet::new();
        for segment in self.segments.values().filter(|s| s.live > 0) {
            pinned.extend(&segment.accepted_in);
            pinned.extend(&segment.content_in);
        }
        pinned.extend(self.imports.values().map(|import| import.submission.segment));
        let contents: Vec<u32> = pinned
            .iter()
            .filter_map(|n| self.segments.get(n))
            .flat_map(|s| s.content_in.iter().copied())
            .collect();
        pinned.extend(contents);
        pinned
    }

    /// What `number` says that is still needed, to be said again before it goes.
    fn forward(&self, number: u32) -> Vec<Control> {
        let mut controls = Vec::new();
        let Some(going) = self.segments.get(&number) else { return controls };
        for (&about, segment) in going.about.iter().filter_map(|n| self.segments.get_key_value(n)) {
            if segment.snapshot.segment <= number {
                let bits: Vec<u8> = segment.settled.iter().flat_map(|word| word.to_le_bytes()).collect();
                controls.push(Control::SettledRows { segment: about, bits });
            }
        }
        for (identity, import) in self.imports.iter().filter(|(_, import)| import.at.segment == number) {
            controls.push(Control::ImportProgress {
                identity: identity.clone(),
                submission: import.submission,
                next_row: import.next_row,
                state: import.state.clone(),
            });
        }
        let done = self.done.iter().filter(|(_, at)| at.segment == number);
        controls.extend(done.map(|(identity, _)| Control::PickupDone { identity: identity.clone() }));
        // All from the first on, since their order counts.
        let pauses = self.pauses.iter().skip_while(|pause| pause.at.segment != number);
        let again = |pause: &Pause| Control::QueuePaused { queue: pause.queue.clone(), paused: pause.paused };
        controls.extend(pauses.map(again));
        let lost = self.routes_lost.iter().filter(|(_, at)| at.segment == number);
        controls.extend(lost.map(|(queue, _)| Control::RouteLost { queue: queue.clone(), lost: true }));
        controls.push(Control::Retired { segment: number });
        controls
    }
}
