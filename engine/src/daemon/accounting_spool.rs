//! The spool's log as accounting reads it.

use super::accounting_log::{Entry, Log, RowFields, RowText};
use crate::io::storage::Storage;
use crate::mail::row::row_view;
use crate::spool::SpoolError;
use crate::spool::codec::{decode_outcomes, decode_submission};
use crate::spool::frame::Kind;
use crate::spool::reader::LogReader;
use crate::spool::record::{Location, Submission};
use crate::spool::rows::RowsView;
use crate::spool::segments::RecordRef;
use std::sync::Arc;

/// Reads the log of a running spool.
pub struct SpoolLog {
    storage: Storage,
    reader: LogReader,
    /// The `Rows` record last looked into: receipts, and often outcomes, ask for its rows one after another.
    rows: Option<RecordRef>,
}

impl SpoolLog {
    pub fn new(storage: Storage) -> SpoolLog {
        let reader = LogReader::new(Arc::clone(storage.segments()), Location::START);
        SpoolLog { storage, reader, rows: None }
    }

    fn rows_at(&mut self, record: Location) -> Option<RowsView<'_>> {
        if self.rows.as_ref().is_none_or(|rows| rows.at != record) {
            match self.storage.segments().record(record) {
                Ok(found) => self.rows = Some(found),
                Err(e) => {
                    self.rows = None;
                    tracing::warn!("accounting: a line without its recipient: {e}");
                }
            }
        }
        RowsView::new(self.rows.as_deref()?)
    }
}

impl Log for SpoolLog {
    fn seek(&mut self, at: Location) {
        self.rows = None;
        self.reader = LogReader::new(Arc::clone(self.storage.segments()), at);
    }

    fn position(&self) -> Location {
        self.reader.at()
    }

    fn next(&mut self, rows: bool) -> Result<Option<Entry>, SpoolError> {
        while let Some(record) = self.reader.next()? {
            match record.kind {
                Kind::Outcomes => match decode_outcomes(record.at, &record) {
                    Ok(batch) => return Ok(Some(Entry::Outcomes(batch))),
                    Err(e) => tracing::error!("accounting: outcomes without lines: {e}"),
                },
                Kind::Rows if rows => match RowsView::new(&record) {
                    // Their receipts were told of when they were accepted.
                    Some(view) if view.carried => {}
                    Some(view) => {
                        let entry = Entry::Rows {
                            at: record.at,
                            submission: view.submission,
                            rows: view.len() as u32,
                        };
                        self.rows = Some(record);
                        return Ok(Some(entry));
                    }
                    None => {
                        tracing::error!(at = %record.at, "accounting: receipts without lines: damaged rows");
                    }
                },
                _ => {}
            }
        }
        // Nothing is held while waiting, so that segments can be recycled.
        self.rows = None;
        Ok(None)
    }

    fn submission(&mut self, at: Location) -> Option<Arc<Submission>> {
        let found = self.storage.segments().record(at).and_then(|record| decode_submission(at, &record));
        match found {
            Ok(submission) => Some(Arc::new(submission)),
            Err(e) => {
                tracing::warn!("accounting: lines without their submission: {e}");
                None
            }
        }
    }

    fn row(&mut self, record: Location, index: u16, fields: RowFields, into: &mut RowText) {
        into.clear();
        let Some(view) = self.rows_at(record) else { return };
        let index = usize::from(index);
        into.vmta.push_str(view.vmta(index).unwrap_or_default());
        let Some(row) = view.row(index).and_then(|bytes| row_view(bytes).ok()) else { return };
        into.address.push_str(row.address);
        let value = |field: Option<usize>| field.and_then(|field| row.value(field)).unwrap_or_default();
        into.orcpt.push_str(value(fields.orcpt));
        into.sender.push_str(value(fields.sender));
    }

    fn consumed(&mut self, at: Location) {
        self.storage.set_accounting_cursor(at);
    }
}
