//! Carrying the last rows of a nearly empty segment forward, so that its file can be used again: they are written once
//! more, with what they need, in one group that also says that the old ones no longer count.
//!
//! What to carry is decided by the ledger ([`Plan`]); reading it takes a while and is done away from the log
//! ([`gather`]); the log takes the result only if nothing has happened to those rows meanwhile.

use super::codec;
use super::error::SpoolError;
use super::frame::Kind;
use super::record::{
    Control, Disposition, Draft, Group, Location, OutcomeBatch, Place, Ref, RowRef, RowsDraft, TriedRow,
};
use super::rows::RowsView;
use std::collections::HashMap;

/// A submission or content in one of this many newest segments is referred to instead of copied: those are in use for
/// a while anyway.
const RECENT: u32 = 4;

/// A segment to be emptied.
#[derive(Clone, Debug)]
pub struct Plan {
    pub segment: u32,
    /// The segment being written.
    pub active: u32,
    /// The last outcome about the segment; a later one makes the plan out of date.
    pub last_outcome: Location,
    /// One bit per row.
    pub settled: Vec<u64>,
    /// Records that say what was tried: for rows of this segment, or in this segment for any row.
    pub tries: Vec<Location>,
}

impl Plan {
    fn is_live(&self, ordinal: u32) -> bool {
        self.settled.get(ordinal as usize / 64).is_some_and(|word| word & (1 << (ordinal % 64)) == 0)
    }
}

/// A record as it is read for carrying.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it lies now; elsewhere than asked for when it was carried before.
    pub at: Location,
    pub kind: Kind,
    pub first_ordinal: u32,
    pub bytes: Vec<u8>,
}

/// Where records are read from.
pub trait Records {
    /// The record at `at`, or the newest copy of it.
    fn read(&self, at: Location) -> Result<Found, SpoolError>;
    /// The `Rows` records of a segment with rows whose ordinal is `wanted`, in order.
    fn rows_of(&self, segment: u32, wanted: &dyn Fn(u32) -> bool) -> Result<Vec<Found>, SpoolError>;
}

/// What is to be written for a [`Plan`].
#[derive(Clone, Debug)]
pub struct Forward {
    pub plan: Plan,
    drafts: Vec<Draft>,
    /// Records that a draft replaces.
    moved: Vec<(Location, usize)>,
    /// For the drafts' rows (segment 0, and the draft's index as offset) and for rows elsewhere.
    tried: HashMap<RowRef, TriedRow>,
}

/// Where a record has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub to: Place,
    /// Of `Rows`: the submission they belong to now.
    pub submission: Location,
}

impl Forward {
    /// The group to append, without what was tried for rows that are settled by now.
    pub fn group(&self, is_live: impl Fn(RowRef) -> bool) -> Group {
        let mut drafts = self.drafts.clone();
        let rows = self.tried.values().filter(|tried| tried.row.record.segment == 0 || is_live(tried.row));
        let rows: Vec<TriedRow> = rows.copied().collect();
        if !rows.is_empty() {
            drafts.push(Draft::Control(Control::Tried { rows }));
        }
        drafts.push(Draft::Control(Control::Carried { segment: self.plan.segment }));
        Group { drafts }
    }

    /// Where the carried records have gone, once the group has its places.
    pub fn moved(&self, places: &[Place]) -> Vec<(Location, Moved)> {
        let moved = |&(from, draft): &(Location, usize)| {
            let submission = match &self.drafts[draft] {
                Draft::Rows { submission: Ref::Here(at), .. } => places[*at].at,
                Draft::Rows { submission: Ref::At(at), .. } => *at,
                _ => Location::START,
            };
            (from, Moved { to: places[draft], submission })
        };
        self.moved.iter().map(moved).collect()
    }
}

/// Reads what the plan needs.
///
/// # Errors
/// When a record cannot be read: then the segment stays.
pub fn gather(plan: Plan, records: &impl Records) -> Result<Forward, SpoolError> {
    let rows = records.rows_of(plan.segment, &|ordinal| plan.is_live(ordinal))?;
    let forward = Forward { plan, drafts: Vec::new(), moved: Vec::new(), tried: HashMap::new() };
    let mut run = Run { records, forward, copies: HashMap::new(), carried: HashMap::new() };
    for found in &rows {
        run.rows(found)?;
    }
    for at in std::mem::take(&mut run.forward.plan.tries) {
        run.tries(at)?;
    }
    Ok(run.forward)
}

struct Run<'r, R> {
    records: &'r R,
    forward: Forward,
    /// Submissions and contents met before.
    copies: HashMap<Location, Ref>,
    /// The draft that replaces a `Rows` record.
    carried: HashMap<Location, usize>,
}

impl<R: Records> Run<'_, R> {
    /// Carries the live rows of a record. Rows keep their index, which numbers them, so settled ones leave a gap.
    fn rows(&mut self, found: &Found) -> Result<(), SpoolError> {
        let view = RowsView::new(&found.bytes).ok_or_else(|| damaged(found.at))?;
        let live = |index: usize| self.forward.plan.is_live(found.first_ordinal + index as u32);
        let Some(last) = (0..view.len()).rfind(|index| live(*index)) else { return Ok(()) };
        let mut rows = RowsDraft { first_row: view.first_row, carried: true, ..RowsDraft::default() };
        for index in 0..=last {
            let mut name = 0;
            if live(index) {
                let (row, vmta) = view.row(index).zip(view.vmta(index)).ok_or_else(|| damaged(found.at))?;
                rows.bytes.extend_from_slice(row);
                name = rows.vmtas.iter().position(|known| known == vmta).unwrap_or_else(|| {
                    rows.vmtas.push(vmta.to_owned());
                    rows.vmtas.len() - 1
                });
            }
            rows.vmta.push(name as u8);
            rows.ends.push(rows.bytes.len() as u32);
        }
        let submission = self.submission(view.submission)?;
        let draft = self.push(found.at, Draft::Rows { submission, rows });
        self.carried.insert(found.at, draft);
        Ok(())
    }

    fn submission(&mut self, named: Location) -> Result<Ref, SpoolError> {
        if let Some(known) = self.copies.get(&named) {
            return Ok(*known);
        }
        let found = self.records.read(named)?;
        let submission = if self.stays(found.at) {
            Ref::At(found.at)
        } else {
            let submission = codec::decode_submission(found.at, &found.bytes)?;
            let content = self.content(submission.content)?;
            self.copy(named, found.at, Draft::Accepted { submission, content })
        };
        self.copies.insert(named, submission);
        Ok(submission)
    }

    fn content(&mut self, named: Location) -> Result<Ref, SpoolError> {
        if let Some(known) = self.copies.get(&named) {
            return Ok(*known);
        }
        let found = self.records.read(named)?;
        let content = match self.stays(found.at) {
            true => Ref::At(found.at),
            false if found.kind == Kind::Content => {
                self.copy(named, found.at, Draft::Content(found.bytes.into()))
            }
            false => return Err(damaged(found.at)),
        };
        self.copies.insert(named, content);
        Ok(content)
    }

    fn stays(&self, at: Location) -> bool {
        at.segment != self.forward.plan.segment
            && at.segment.saturating_add(RECENT) >= self.forward.plan.active
    }

    /// Adds a copy of the record at `at`, which some know as `named`.
    fn copy(&mut self, named: Location, at: Location, draft: Draft) -> Ref {
        let draft = self.push(at, draft);
        if named != at {
            self.forward.moved.push((named, draft));
        }
        Ref::Here(draft)
    }

    fn push(&mut self, from: Location, draft: Draft) -> usize {
        self.forward.drafts.push(draft);
        let index = self.forward.drafts.len() - 1;
        self.forward.moved.push((from, index));
        index
    }

    /// Takes over what a record says was tried.
    fn tries(&mut self, at: Location) -> Result<(), SpoolError> {
        let found = self.records.read(at)?;
        let tried = match found.kind {
            Kind::Outcomes => tried_in(&codec::decode_outcomes(at, &found.bytes)?),
            _ => match codec::decode_control(at, &found.bytes)? {
                Control::Tried { rows } => rows,
                _ => return Err(damaged(at)),
            },
        };
        for mut tried in tried {
            if tried.row.record.segment == self.forward.plan.segment {
                let draft = self.carried.get(&tried.row.record);
                let (Some(&draft), true) = (draft, self.forward.plan.is_live(tried.row.ordinal)) else {
                    continue;
                };
                tried.row.record = Location { segment: 0, offset8: draft as u32 };
                tried.row.ordinal = 0;
            } else if at.segment != self.forward.plan.segment {
                continue;
            }
            let known = self.forward.tried.entry(tried.row).or_insert(tried);
            if known.attempts < tried.attempts {
                *known = tried;
            }
        }
        Ok(())
    }
}

/// What outcomes say of rows that still wait.
pub fn tried_in(batch: &OutcomeBatch) -> Vec<TriedRow> {
    let open = batch.outcomes.iter().filter(|outcome| !outcome.disposition.is_final());
    open.map(|outcome| TriedRow {
        row: outcome.row,
        attempts: outcome.attempts,
        last_at: outcome.at,
        in_doubt: outcome.disposition == Disposition::InDoubt,
    })
    .collect()
}

fn damaged(at: Location) -> SpoolError {
    SpoolError::Damaged { at, why: "it is not what the records that name it say".into() }
}

/// Where carried records have gone, for those who know them by their old places: the queues' owners never learn of it.
#[derive(Debug, Default)]
pub struct Moves {
    moved: HashMap<Location, Moved>,
}

impl Moves {
    pub fn add(&mut self, moved: Vec<(Location, Moved)>) {
        let moved: HashMap<Location, Moved> = moved.into_iter().collect();
        for known in self.moved.values_mut() {
            if let Some(again) = moved.get(&known.to.at) {
                *known = *again;
            }
        }
        self.moved.extend(moved);
    }

    /// A segment is out of use: nobody can want what lay there.
    pub fn retired(&mut self, segment: u32) {
        self.moved.retain(|_, moved| moved.to.at.segment != segment);
    }

    pub fn get(&self, at: Location) -> Option<Moved> {
        self.moved.get(&at).copied()
    }

    /// Makes outcomes speak of the rows where they are now.
    pub fn translate(&self, batch: &mut OutcomeBatch) {
        if self.moved.is_empty() {
            return;
        }
        for outcome in &mut batch.outcomes {
            if let Some(moved) = self.moved.get(&outcome.row.record) {
                outcome.row.record = moved.to.at;
                outcome.row.ordinal = moved.to.first_ordinal + u32::from(outcome.row.index);
                outcome.submission = moved.submission;
            }
        }
    }
}
