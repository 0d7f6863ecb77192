//! What accounting needs of the log: its entries in order, and the rows and submissions they speak of.

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
    /// Puts address and VMTA of a row into the buffers; leaves them empty when the record is damaged.
    fn row(&mut self, record: Location, index: u16, address: &mut String, vmta: &mut String);
    /// Puts one value of a row into the buffer; leaves it empty when the record is damaged.
    fn value(&mut self, record: Location, index: u16, field: usize, value: &mut String);
    /// Says that no record before `at` is needed any longer.
    fn consumed(&mut self, at: Location);
}
