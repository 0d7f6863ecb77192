//! What accounting needs of the log: its entries in order, and the rows and submissions they speak of.

use crate::smtp::dsn::ROW_FIELDS;
use crate::spool::SpoolError;
use crate::spool::record::{Location, OutcomeBatch, Submission};
use std::sync::Arc;

/// An entry of the log that may make lines.
#[derive(Debug)]
pub enum Entry {
    /// Outcomes and queue failures: `d`, `b`, `t`, `tq`.
    Outcomes(OutcomeBatch),
    /// Accepted recipients: `r`. Only given when asked for.
    Rows { at: Location, submission: Location, rows: u32 },
}

/// The numbers of values in a submission's rows that lines say.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowFields {
    pub orcpt: Option<usize>,
    /// Rows have envelope senders of their own.
    pub sender: Option<usize>,
}

impl RowFields {
    pub fn of(submission: &Submission) -> RowFields {
        let orcpt = submission.fields.iter().position(|name| name == ROW_FIELDS[1]);
        RowFields { orcpt, sender: submission.sender_field() }
    }
}

/// What lines say of a row.
#[derive(Debug, Default)]
pub struct RowText {
    pub address: String,
    pub vmta: String,
    pub orcpt: String,
    pub sender: String,
}

impl RowText {
    pub fn clear(&mut self) {
        self.address.clear();
        self.vmta.clear();
        self.orcpt.clear();
        self.sender.clear();
    }
}

/// The log as a stream, read up to its durable end (reliability R6).
pub trait Log {
    /// Goes to the record at `at`, or to the first one kept after it.
    fn seek(&mut self, at: Location);
    /// Where the next entry will be looked for.
    fn position(&self) -> Location;
    /// The next entry, or `None` at the durable end; damaged records are passed over and reported.
    /// `rows` says whether [`Entry::Rows`] are wanted.
    fn next(&mut self, rows: bool) -> Result<Option<Entry>, SpoolError>;
    /// The submission at `at`; `None` when its record is damaged.
    fn submission(&mut self, at: Location) -> Option<Arc<Submission>>;
    /// Puts what a row says into the buffers; leaves them empty when the record is damaged. `fields`: which of its values
    /// are something that lines say.
    fn row(&mut self, record: Location, index: u16, fields: RowFields, into: &mut RowText);
    /// Says that no record before `at` is needed any longer.
    fn consumed(&mut self, at: Location);
}
