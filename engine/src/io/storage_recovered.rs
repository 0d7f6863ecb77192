//! What a start finds in the spool, to be handed to the queues' owners.

use crate::queue::QueueName;
use crate::spool::SpoolError;
use crate::spool::codec;
use crate::spool::frame::Kind;
use crate::spool::ledger::{Import, Ledger};
use crate::spool::record::{Location, RowRef, Submission};
use crate::spool::recover::{Damage, Recovery, Tried, WaitingRows};
use crate::spool::rows::RowsView;
use crate::spool::segments::Segments;
use std::collections::HashMap;
use std::sync::Arc;

/// Submission headers kept decoded while rows are handed out.
const SUBMISSIONS: usize = 4096;

/// The state of the spool at the moment it was opened.
pub struct Recovered {
    recovery: Recovery,
    ledger: Ledger,
    segments: Arc<Segments>,
}

/// A `Rows` record with rows that wait.
pub struct LiveRows<'a> {
    pub submission_at: Location,
    pub submission: &'a Arc<Submission>,
    pub at: Location,
    pub first_ordinal: u32,
    pub rows: RowsView<'a>,
    recovered: &'a Recovered,
}

impl LiveRows<'_> {
    /// The rows that wait, with what was tried for them.
    pub fn live(&self) -> impl Iterator<Item = (RowRef, Option<Tried>)> + '_ {
        let (segment, tried) = (self.at.segment, &self.recovered.recovery.tried);
        let rows = (0..self.rows.len() as u32).map(|index| (index, self.first_ordinal + index));
        let live = rows.filter(move |&(_, ordinal)| self.recovered.ledger.is_live(segment, ordinal));
        live.map(move |(index, ordinal)| {
            let row = RowRef { record: self.at, ordinal, index: index as u16 };
            (row, tried.get(&(segment, ordinal)).copied())
        })
    }
}

impl Recovered {
    pub fn new(recovery: Recovery, ledger: Ledger, segments: Arc<Segments>) -> Recovered {
        Recovered { recovery, ledger, segments }
    }

    /// Calls `each` for every `Rows` record with rows that wait, in log order, and returns the records whose
    /// submission cannot be read: they stay in the spool, undelivered, for the operator.
    pub fn each_live(&self, mut each: impl FnMut(&LiveRows<'_>)) -> Vec<(Location, SpoolError)> {
        let mut submissions: HashMap<Location, Arc<Submission>> = HashMap::new();
        let mut orphans = Vec::new();
        for waiting in &self.recovery.rows {
            if let Err(error) = self.one(waiting, &mut submissions, &mut each) {
                orphans.push((waiting.at, error));
            }
        }
        orphans
    }

    fn one(
        &self,
        waiting: &WaitingRows,
        submissions: &mut HashMap<Location, Arc<Submission>>,
        each: &mut impl FnMut(&LiveRows<'_>),
    ) -> Result<(), SpoolError> {
        if !submissions.contains_key(&waiting.submission) {
            let submission = self.submission(waiting.submission)?;
            if submissions.len() >= SUBMISSIONS {
                submissions.clear();
            }
            submissions.insert(waiting.submission, Arc::new(submission));
        }
        let submission = &submissions[&waiting.submission];
        let record = self.segments.record(waiting.at)?;
        let damaged = || SpoolError::Damaged { at: waiting.at, why: "its lengths do not add up".into() };
        let rows = RowsView::new(&record).ok_or_else(damaged)?;
        each(&LiveRows {
            submission_at: waiting.submission,
            submission,
            at: waiting.at,
            first_ordinal: waiting.first_ordinal,
            rows,
            recovered: self,
        });
        Ok(())
    }

    /// The header at `at`, provided that its content can be read as well.
    fn submission(&self, at: Location) -> Result<Submission, SpoolError> {
        let record = self.segments.record(at)?;
        if record.kind != Kind::Accepted {
            return Err(SpoolError::NotFound { at, why: "the record is not a submission" });
        }
        let submission = codec::decode_submission(at, &record)?;
        self.segments.record(submission.content)?;
        Ok(submission)
    }

    /// Recipients that wait.
    pub fn live_rows(&self) -> u64 {
        self.ledger.live_rows()
    }

    /// Recipients whose last attempt ended in doubt (R11).
    pub fn in_doubt(&self) -> u64 {
        self.recovery.tried.values().filter(|tried| tried.in_doubt).count() as u64
    }

    /// Campaigns whose import has begun and not ended, by identity.
    pub fn imports(&self) -> impl Iterator<Item = (&str, &Import)> {
        self.ledger.imports()
    }

    /// Pickup identities that must not be injected again (F26).
    pub fn pickup_done(&self) -> impl Iterator<Item = &str> {
        self.ledger.done()
    }

    /// Queues whose mail is held because a reload took their route away (F39).
    pub fn routes_lost(&self) -> impl Iterator<Item = QueueName> {
        let name = |queue: &str| queue.split_once('/').map(|(domain, vmta)| QueueName::new(domain, vmta));
        self.ledger.routes_lost().filter_map(name)
    }

    /// Pauses and resumes of the operator in their order; of those that name a queue the last counts.
    pub fn pauses(&self) -> impl Iterator<Item = (&str, bool)> {
        self.ledger.pauses()
    }

    pub fn damage(&self) -> &[Damage] {
        &self.recovery.damage
    }

    /// Records read.
    pub fn records(&self) -> u64 {
        self.recovery.records
    }
}
