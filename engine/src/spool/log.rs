//! The log being written, without the writing: drafts go in, blocks to write come out.
//!
//! A *commit* is everything that was queued, framed back to back, a [`Commit`] frame, and zeros to the next block
//! boundary. Every block is written exactly once, so a torn write cannot damage what was synced before it.
//! The shell writes what [`Log::take_write`] returns, calls [`Log::written`], syncs, calls [`Log::synced`] and only
//! then acknowledges (R1). After any failure it calls [`Log::fail`] and the log takes nothing more (R2).

use super::block::Blocks;
use super::codec;
use super::error::SpoolError;
use super::frame::{COMMIT_LEN, Commit, FRAME, Key, Kind};
use super::header::{BLOCK, DATA_START, SegmentHeader};
use super::ledger::Ledger;
use super::record::{
    Committed, Control, Draft, Group, Location, Outcome, OutcomeBatch, Place, Ref, RowsDraft,
};
use super::rows;

/// What a commit adds to its frames at most, in bytes.
const COMMIT_ROOM: usize = FRAME + COMMIT_LEN + BLOCK;

/// Whether a record of a given size can be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Here,
    /// After what is building has been written and synced, and the log has moved to the next segment.
    AfterRoll,
    Never,
}

/// Blocks to write at `offset` of `segment`.
#[derive(Debug)]
pub struct Write {
    pub segment: u32,
    /// In bytes; a multiple of the block size, as is the length of `blocks`.
    pub offset: u64,
    pub blocks: Blocks,
    /// Where the log ends once this is written.
    pub end: Location,
}

#[derive(Debug)]
pub struct Log {
    ledger: Ledger,
    key: Key,
    /// Size of the active segment in bytes.
    size: usize,
    /// Offset in bytes of the first block that is neither written nor building.
    at: usize,
    next_ordinal: u32,
    building: Blocks,
    /// Where in `building` the present commit began.
    commit_start: usize,
    frames: u32,
    written: Location,
    durable: Location,
    /// The durable location that the last commit stated.
    vouched: Location,
    /// Where the last commit that holds records ends.
    filled: Location,
    failed: Option<String>,
}

impl Log {
    /// Continues after `ledger` in a fresh segment; what was recovered must be durable. The first commit is
    /// already waiting in [`Log::take_write`].
    pub fn new(ledger: Ledger, first: SegmentHeader) -> Log {
        let start = Location { segment: first.number, offset8: (DATA_START / 8) as u32 };
        let mut log = Log {
            ledger,
            key: Key::new(first.number, first.nonce),
            size: first.size as usize,
            at: DATA_START,
            next_ordinal: 0,
            building: Blocks::default(),
            commit_start: 0,
            frames: 0,
            written: start,
            durable: start,
            vouched: start,
            filled: start,
            failed: None,
        };
        log.begin(first);
        log
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The segment being written.
    pub fn segment(&self) -> u32 {
        self.key.segment
    }

    /// Everything before this is on stable storage.
    pub fn durable(&self) -> Location {
        self.durable
    }

    /// Where the log ends; beyond [`Log::durable`] while something is not synced.
    pub fn end(&self) -> Location {
        self.written
    }

    /// Bytes waiting for [`Log::take_write`].
    pub fn building(&self) -> usize {
        self.building.len()
    }

    /// Upper bound in bytes of what a group takes in the log.
    pub fn group_bound(group: &Group) -> usize {
        let payload = |draft: &Draft| match draft {
            Draft::Content(bytes) => bytes.len(),
            Draft::Accepted { submission, .. } => codec::submission_bound(submission),
            Draft::Rows { rows, .. } => rows::stored_len(rows),
            Draft::Outcomes(batch) => codec::outcomes_bound(batch),
            Draft::Control(control) => codec::control_bound(control),
        };
        group.drafts.iter().map(|draft| FRAME + 8 + payload(draft)).sum()
    }

    /// Upper bound in bytes of what a batch of outcomes takes in the log.
    pub fn outcomes_bound(batch: &OutcomeBatch) -> usize {
        FRAME + 8 + codec::outcomes_bound(batch)
    }

    /// The largest group that ever fits, in bytes.
    pub fn limit(&self) -> usize {
        let manifest = codec::control_bound(&Control::Segments { live: Vec::new() });
        let segments = 8 * (self.ledger.segment_count() + 8);
        self.size - DATA_START - (manifest + segments + 2 * COMMIT_ROOM).next_multiple_of(BLOCK)
    }

    /// The largest group, in bytes, by which it is worth while to free a segment.
    pub fn forward_limit(&self) -> usize {
        self.limit().min(self.size / 4)
    }

    pub fn room(&self, bound: usize) -> Room {
        let used = self.at + self.building.len().next_multiple_of(BLOCK);
        if used + bound + COMMIT_ROOM <= self.size {
            Room::Here
        } else if bound <= self.limit() {
            Room::AfterRoll
        } else {
            Room::Never
        }
    }

    /// Makes room for `bytes` more in the write being built, so that it is allocated once.
    pub fn expect(&mut self, bytes: usize) {
        if self.building.is_empty() {
            self.building = Blocks::with_capacity(bytes + 2 * BLOCK);
        }
    }

    /// Appends a group for which there is [`Room::Here`]. Its places are valid once the commit is durable.
    pub fn append(&mut self, group: Group) -> Result<Committed, SpoolError> {
        self.ready(Log::group_bound(&group))?;
        check(&group)?;
        self.check_references(&group)?;
        let before = (self.building.len(), self.frames, self.next_ordinal);
        match self.put_group(group) {
            Ok((places, effects)) => {
                effects.into_iter().for_each(|effect| effect.apply(&mut self.ledger));
                Ok(Committed { places })
            }
            Err(error) => {
                self.building.truncate(before.0);
                (self.frames, self.next_ordinal) = (before.1, before.2);
                Err(error)
            }
        }
    }

    /// Appends outcomes for which there is [`Room::Here`].
    pub fn append_outcomes(&mut self, batch: &OutcomeBatch) -> Result<Location, SpoolError> {
        self.ready(Log::outcomes_bound(batch))?;
        let bytes = codec::encode_outcomes(batch).map_err(|why| encoding(&why))?;
        let at = self.put(Kind::Outcomes, true, 0, |out| out.push(&bytes));
        self.ledger.outcomes(at, &batch.outcomes);
        Ok(at)
    }

    /// Records that a group is not to be delivered after all (R10). `committed` is what [`Log::append`] returned,
    /// `counts` the rows of each of its records.
    pub fn abort(&mut self, committed: &Committed, counts: &[u32]) -> Result<(), SpoolError> {
        let records = committed.places.iter().map(|place| place.at).collect();
        let done = self.append(Group { drafts: vec![Draft::Control(Control::Aborted { records })] })?;
        for (place, &count) in committed.places.iter().zip(counts).filter(|(_, count)| **count > 0) {
            self.ledger.abort_rows(done.places[0].at, place.at, place.first_ordinal, count);
        }
        Ok(())
    }

    /// Whether [`Log::vouch`] would add a commit.
    pub fn wants_vouching(&self) -> bool {
        let idle = self.failed.is_none() && self.building.is_empty() && self.at + BLOCK <= self.size;
        idle && self.filled <= self.durable && self.vouched < self.filled
    }

    /// Adds an empty commit when what is durable has not been vouched for by a later one: without it, damage to
    /// the last commit before a stop looks like a torn tail (R5). True when there is something to write.
    pub fn vouch(&mut self) -> bool {
        if self.wants_vouching() {
            self.expect(BLOCK);
            self.seal();
            return true;
        }
        false
    }

    /// Ends the commit and hands out the blocks to write; `None` when nothing was appended.
    pub fn take_write(&mut self) -> Option<Write> {
        if self.failed.is_some() || self.building.is_empty() {
            return None;
        }
        if self.frames > 0 {
            self.seal();
        }
        let blocks = std::mem::take(&mut self.building).finish();
        self.commit_start = 0;
        let offset = self.at as u64;
        self.at += blocks.len();
        let end = Location { segment: self.key.segment, offset8: (self.at / 8) as u32 };
        Some(Write { segment: self.key.segment, offset, blocks, end })
    }

    /// The write that ended at `end` has succeeded.
    pub fn written(&mut self, end: Location) {
        self.written = end;
    }

    /// A sync that began after the last [`Log::written`] has succeeded.
    pub fn synced(&mut self) {
        self.durable = self.written;
    }

    /// A write or sync has failed: nothing is retried (R2).
    pub fn fail(&mut self, why: String) {
        self.failed.get_or_insert(why);
        self.building = Blocks::default();
    }

    /// Moves to a fresh segment. Everything written must be durable and nothing may be building.
    pub fn roll(&mut self, fresh: SegmentHeader) {
        debug_assert!(self.building.is_empty() && self.durable == self.written);
        self.ledger.end_segment(self.key.segment, self.written.offset8);
        self.begin(fresh);
    }

    fn begin(&mut self, fresh: SegmentHeader) {
        self.ledger.open_segment(fresh.number);
        self.key = Key::new(fresh.number, fresh.nonce);
        (self.size, self.at, self.next_ordinal) = (fresh.size as usize, DATA_START, 0);
        self.expect(64 << 10);
        let manifest = Control::Segments { live: self.ledger.ends() };
        // A list of integers always serialises: there is memory, or the process has already been ended.
        let bytes = codec::encode_control(&manifest).expect("a manifest of integers serialises");
        self.put(Kind::Control, true, 0, |out| out.push(&bytes));
        self.seal();
    }

    /// Leaves a segment alone until `segments` more were filled.
    pub fn leave(&mut self, segment: u32, segments: u32) {
        self.ledger.leave(segment, self.key.segment + segments);
    }

    /// Forgets a segment whose `Retired` record is durable.
    pub fn retire(&mut self, segment: u32) {
        self.ledger.retire(segment);
    }

    fn ready(&mut self, bound: usize) -> Result<(), SpoolError> {
        if let Some(why) = &self.failed {
            return Err(SpoolError::Failed { why: why.clone() });
        }
        if self.room(bound) != Room::Here {
            return Err(SpoolError::TooBig { size: bound as u64, limit: self.limit() as u64 });
        }
        self.expect(bound);
        Ok(())
    }

    /// Refuses references into segments that are no longer in use: what they name may be gone.
    fn check_references(&self, group: &Group) -> Result<(), SpoolError> {
        for (index, draft) in group.drafts.iter().enumerate() {
            let named = match draft {
                Draft::Accepted { content: Ref::At(at), .. }
                | Draft::Rows { submission: Ref::At(at), .. } => *at,
                Draft::Control(Control::ImportProgress { submission, .. }) if submission.segment != 0 => {
                    *submission
                }
                _ => continue,
            };
            if !self.ledger.knows(named.segment) {
                return Err(SpoolError::Draft {
                    index,
                    why: "it names a record in a segment that is no longer in use",
                });
            }
        }
        Ok(())
    }

    fn put(
        &mut self,
        kind: Kind,
        ends_group: bool,
        ordinal: u32,
        fill: impl FnOnce(&mut Blocks),
    ) -> Location {
        self.frames += 1;
        self.key.put(&mut self.building, self.at, kind, ends_group, ordinal, fill)
    }

    fn put_group(&mut self, group: Group) -> Result<(Vec<Place>, Vec<Effect>), SpoolError> {
        let last = group.drafts.len() - 1;
        let mut places: Vec<Place> = Vec::with_capacity(group.drafts.len());
        let mut effects = Vec::with_capacity(group.drafts.len());
        for (index, draft) in group.drafts.into_iter().enumerate() {
            let ends = index == last;
            let place = |reference: Ref| match reference {
                Ref::Here(index) => places[index].at,
                Ref::At(at) => at,
            };
            let mut first_ordinal = 0;
            let at = match draft {
                Draft::Content(bytes) => self.put(Kind::Content, ends, 0, |out| out.push(&bytes)),
                Draft::Accepted { mut submission, content } => {
                    submission.content = place(content);
                    let bytes = codec::encode_submission(&submission).map_err(|why| encoding(&why))?;
                    let at = self.put(Kind::Accepted, ends, 0, |out| out.push(&bytes));
                    effects.push(Effect::Accepted { at, content: submission.content });
                    at
                }
                Draft::Rows { submission, rows } => {
                    let submission = place(submission);
                    let count = rows.ends.len() as u32;
                    first_ordinal = self.next_ordinal;
                    self.next_ordinal += count;
                    let gaps = gaps(&rows, first_ordinal);
                    let at =
                        self.put(Kind::Rows, ends, first_ordinal, |out| rows::encode(&rows, submission, out));
                    effects.push(Effect::Rows { at, submission, first_ordinal, count, gaps });
                    at
                }
                Draft::Outcomes(batch) => {
                    let bytes = codec::encode_outcomes(&batch).map_err(|why| encoding(&why))?;
                    let at = self.put(Kind::Outcomes, ends, 0, |out| out.push(&bytes));
                    effects.push(Effect::Outcomes { at, outcomes: batch.outcomes });
                    at
                }
                Draft::Control(mut control) => {
                    match &mut control {
                        Control::ImportProgress { submission, .. } if submission.segment == 0 => {
                            *submission = place(Ref::Here(submission.offset8 as usize));
                        }
                        Control::Tried { rows } => {
                            for row in rows.iter_mut().map(|tried| &mut tried.row) {
                                if row.record.segment == 0 {
                                    let place = places[row.record.offset8 as usize];
                                    row.record = place.at;
                                    row.ordinal = place.first_ordinal + u32::from(row.index);
                                }
                            }
                        }
                        _ => {}
                    }
                    let bytes = codec::encode_control(&control).map_err(|why| encoding(&why))?;
                    let at = self.put(Kind::Control, ends, 0, |out| out.push(&bytes));
                    effects.push(Effect::Control { at, control });
                    at
                }
            };
            places.push(Place { at, first_ordinal });
        }
        Ok((places, effects))
    }

    /// Closes the present commit with its frame and pads it to whole blocks.
    fn seal(&mut self) {
        let start8 = ((self.at + self.commit_start) / 8) as u32;
        let commit = Commit { start8, frames: self.frames, durable: self.durable }.encode();
        self.key.put(&mut self.building, self.at, Kind::Commit, true, 0, |out| out.push(&commit));
        self.building.pad(BLOCK);
        if self.frames > 0 {
            let end = self.at + self.building.len();
            self.filled = Location { segment: self.key.segment, offset8: (end / 8) as u32 };
        }
        (self.commit_start, self.frames, self.vouched) = (self.building.len(), 0, self.durable);
    }
}

/// What a record changes in the ledger, kept back until the whole group is encoded.
enum Effect {
    Accepted { at: Location, content: Location },
    Rows { at: Location, submission: Location, first_ordinal: u32, count: u32, gaps: Vec<u32> },
    Outcomes { at: Location, outcomes: Vec<Outcome> },
    Control { at: Location, control: Control },
}

impl Effect {
    fn apply(self, ledger: &mut Ledger) {
        match self {
            Effect::Accepted { at, content } => ledger.accepted(at, content),
            Effect::Rows { at, submission, first_ordinal, count, gaps } => {
                ledger.rows(at, submission, first_ordinal, count);
                ledger.gaps(at.segment, gaps);
            }
            Effect::Outcomes { at, outcomes } => ledger.outcomes(at, &outcomes),
            Effect::Control { at, control } => ledger.control(at, &control),
        }
    }
}

/// Ordinals of the rows of a carried record that were settled before.
fn gaps(rows: &RowsDraft, first_ordinal: u32) -> Vec<u32> {
    if !rows.carried {
        return Vec::new();
    }
    let starts = std::iter::once(0).chain(rows.ends.iter().copied());
    let empty = starts.zip(&rows.ends).zip(first_ordinal..).filter(|((start, end), _)| start == *end);
    empty.map(|(_, ordinal)| ordinal).collect()
}

/// Refuses a group whose references or rows do not add up, before any byte of it is framed.
fn check(group: &Group) -> Result<(), SpoolError> {
    let bad = |index: usize, why: &'static str| Err(SpoolError::Draft { index, why });
    if group.drafts.is_empty() {
        return bad(0, "a group needs at least one draft");
    }
    let is = |index: usize, before: usize, wanted: fn(&Draft) -> bool| {
        index < before && group.drafts.get(index).is_some_and(wanted)
    };
    for (index, draft) in group.drafts.iter().enumerate() {
        match draft {
            Draft::Accepted { content: Ref::Here(at), .. }
                if !is(*at, index, |d| matches!(d, Draft::Content(_))) =>
            {
                return bad(index, "its content must be an earlier Content draft of the group");
            }
            Draft::Rows { submission: Ref::Here(at), .. }
                if !is(*at, index, |d| matches!(d, Draft::Accepted { .. })) =>
            {
                return bad(index, "its submission must be an earlier Accepted draft of the group");
            }
            Draft::Control(Control::Tried { rows })
                if rows.iter().map(|tried| tried.row.record).any(|record| {
                    record.segment == 0
                        && !is(record.offset8 as usize, index, |d| matches!(d, Draft::Rows { .. }))
                }) =>
            {
                return bad(index, "its rows must be those of an earlier Rows draft of the group");
            }
            Draft::Control(Control::ImportProgress { submission, .. })
                if submission.segment == 0
                    && !is(submission.offset8 as usize, index, |d| matches!(d, Draft::Accepted { .. })) =>
            {
                return bad(index, "its submission must be an earlier Accepted draft of the group");
            }
            Draft::Rows { rows, .. } => {
                if let Some(why) = rows::fault(rows) {
                    return bad(index, why);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn encoding(why: &str) -> SpoolError {
    SpoolError::Failed { why: format!("a record could not be serialised: {why}") }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
