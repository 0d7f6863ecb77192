//! The spool's log as accounting reads it.

use super::accounting_log::{Entry, Log};
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

    fn row(&mut self, record: Location, index: u16, address: &mut String, vmta: &mut String) {
        address.clear();
        vmta.clear();
        let Some(view) = self.rows_at(record) else { return };
        let index = usize::from(index);
        address.push_str(view.row(index).and_then(first_value).unwrap_or_default());
        vmta.push_str(view.vmta(index).unwrap_or_default());
    }

    fn value(&mut self, record: Location, index: u16, field: usize, value: &mut String) {
        value.clear();
        let row = self.rows_at(record).and_then(|view| view.row(usize::from(index)));
        let view = row.and_then(|row| row_view(row).ok());
        value.push_str(view.and_then(|view| view.value(field)).unwrap_or_default());
    }

    fn consumed(&mut self, at: Location) {
        self.storage.set_accounting_cursor(at);
    }
}

/// The address of a row: its first value, after a LEB128 length.
fn first_value(row: &[u8]) -> Option<&str> {
    let mut length = 0usize;
    for (i, &byte) in row.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return std::str::from_utf8(row.get(i + 1..)?.get(..length)?).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::first_value;

    #[test]
    fn the_first_value_of_a_row_is_its_address() {
        assert_eq!(first_value(b"\x07a@b.net\x03Joe"), Some("a@b.net"));
        let long = "x".repeat(300);
        let mut row = vec![0xac, 0x02];
        row.extend_from_slice(long.as_bytes());
        assert_eq!(first_value(&row), Some(&long[..]));
        for damaged in [&b""[..], b"\x08a@b.net", b"\xff\xff\xff\xff\xff", b"\x01\xff"] {
            assert_eq!(first_value(damaged), None);
        }
    }
}
