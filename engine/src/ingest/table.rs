//! The recipients file as a table: CSV with a header row, or one JSON object per line. Read in one pass, a batch of
//! rows at a time, so that its size does not matter.

use super::batch::{Batch, MAX_ROW};
use super::csv_rows::CsvRows;
use super::jsonl_rows::JsonlRows;
use std::io::{self, BufRead, Chain, Cursor, Read};

/// Columns a table may have.
pub const MAX_COLUMNS: usize = 1024;

/// How the recipients file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180 with a header row; LF is as good a line end as CR LF.
    Csv,
    /// One JSON object per line.
    Jsonl,
}

/// The file cannot be read as a table at all.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("the file is empty; a CSV file starts with a header row that names the columns")]
    EmptyCsv,
    #[error("the file is empty; it should hold one JSON object on each line")]
    EmptyJsonl,
    #[error("the file is UTF-16; save it as UTF-8")]
    Utf16,
    #[error("line 1: column {column} of the header row is not UTF-8; save the file as UTF-8")]
    HeaderUtf8 { column: usize },
    #[error("line 1: the header row has {have} columns; at most {MAX_COLUMNS} are allowed")]
    HeaderColumns { have: usize },
    #[error("line {line}: the first row {reason}; its names are the columns of the table")]
    FirstRow { line: u64, reason: String },
    #[error("line {line}: the row that starts here is longer than {MAX_ROW} bytes; is this the right file?")]
    RowTooLong { line: u64 },
    #[error(
        "line {line}: the quote that opens on this line is never closed; close it, and write a quote that belongs to a \
         quoted value twice"
    )]
    OpenQuote { line: u64 },
    #[error(
        "line {line}: the quote that opens on this line is not closed within {MAX_ROW} bytes; close it, and write a quote \
         that belongs to a quoted value twice"
    )]
    LongQuote { line: u64 },
    #[error(
        "the archive is damaged or cut off after {decoded} decoded bytes: {source}; compress the file again"
    )]
    Damaged { decoded: u64, source: io::Error },
    #[error("the file decodes to more than {limit} bytes")]
    Endless { limit: u64 },
    #[error("the file cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// A reader with the first bytes put back after looking for a byte order mark.
pub(super) type Start<R> = Chain<Cursor<Vec<u8>>, R>;

/// A recipients file that is being read.
pub enum Table<R> {
    Csv(CsvRows<R>),
    Jsonl(JsonlRows<R>),
}

impl<R: BufRead> Table<R> {
    /// Reads the names of the columns: the header row, or the keys of the first object. A byte order mark is skipped.
    ///
    /// # Errors
    /// When the file is empty, is not UTF-8 there, or cannot be read.
    pub fn open(format: Format, input: R) -> Result<Table<R>, TableError> {
        let input = skip_mark(input)?;
        Ok(match format {
            Format::Csv => Table::Csv(CsvRows::open(input)?),
            Format::Jsonl => Table::Jsonl(JsonlRows::open(input)?),
        })
    }

    /// Names of the columns, outer blanks removed.
    pub fn columns(&self) -> &[String] {
        match self {
            Table::Csv(rows) => rows.columns(),
            Table::Jsonl(rows) => rows.columns(),
        }
    }

    /// Says which columns every row has to have. In CSV every row has all; of a JSON object that lacks one of these,
    /// or holds an array or object there, the row is refused.
    pub fn require(&mut self, columns: impl IntoIterator<Item = usize>) {
        match self {
            Table::Csv(_) => {}
            Table::Jsonl(rows) => rows.require(columns),
        }
    }

    /// Replaces what `batch` holds by the next rows. False, and an empty batch, at the end of the file.
    ///
    /// # Errors
    /// When the file cannot be read on; rows that are only wrong in themselves come with their fault.
    pub fn read(&mut self, batch: &mut Batch) -> Result<bool, TableError> {
        batch.clear();
        match self {
            Table::Csv(rows) => while !batch.is_full() && rows.read_row(batch)? {},
            Table::Jsonl(rows) => while !batch.is_full() && rows.read_row(batch)? {},
        }
        Ok(!batch.is_empty())
    }
}

pub(super) fn skip_mark<R: BufRead>(mut input: R) -> Result<Start<R>, TableError> {
    loop {
        let mut first = Vec::with_capacity(3);
        while first.len() < 3 {
            let bytes = fill(&mut input)?;
            let take = bytes.len().min(3 - first.len());
            if take == 0 {
                break;
            }
            first.extend_from_slice(&bytes[..take]);
            input.consume(take);
        }
        match first.as_slice() {
            // Of several, the CSV reader would leave one out by itself, if a read happens to bring it whole.
            [0xef, 0xbb, 0xbf] => continue,
            [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => return Err(TableError::Utf16),
            _ => {}
        }
        return Ok(Cursor::new(first).chain(input));
    }
}

/// What is buffered, read again when a signal interrupted it; empty at the end.
pub(super) fn fill<R: BufRead>(input: &mut R) -> io::Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // Asked again because a borrow returned from inside the loop would last for all of it; the bytes are there.
    input.fill_buf()
}
