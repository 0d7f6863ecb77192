//! The pass over a recipients file before its first row: what would end an import in the middle is found here, so that a
//! campaign is imported whole or not at all. It looks at line ends and quotes only, many times as fast as a row is read.

use super::batch::MAX_ROW;
use super::compressed::{Compression, open_compressed};
use super::table::{Format, TableError, fill, skip_mark};
use std::io::{BufRead, Read};

/// Reads the file to its end: the archive is whole, every quote is closed, no row is too long. Returns the number of
/// decoded bytes, without a byte order mark.
///
/// # Errors
/// When the file is damaged, cut off, decodes to more than `limit` bytes, or cannot be taken apart into rows.
pub fn check_structure(
    input: impl Read + Send,
    compression: Compression,
    format: Format,
    limit: u64,
) -> Result<u64, TableError> {
    let mut decoded = 0;
    let broken = |error: TableError, decoded| match error {
        TableError::Read(source) if compression != Compression::Plain => {
            TableError::Damaged { decoded, source }
        }
        error => error,
    };
    let input = open_compressed(input, compression).map_err(|e| broken(e.into(), 0))?;
    let mut input = skip_mark(input).map_err(|e| broken(e, 0))?;
    let mut structure = Structure::new(format);
    loop {
        let bytes = fill(&mut input).map_err(|e| broken(e.into(), decoded))?;
        if bytes.is_empty() {
            return structure.end().map(|()| decoded);
        }
        structure.take(bytes)?;
        let read = bytes.len();
        input.consume(read);
        decoded += read as u64;
        if decoded > limit {
            return Err(TableError::Endless { limit });
        }
    }
}

/// Where the bytes taken so far end. Quotes mean what they mean to `csv-core`: one at the start of a value opens it.
struct Structure {
    format: Format,
    place: Place,
    /// The byte before.
    last: u8,
    line: u64,
    row_line: u64,
    row_bytes: usize,
}

#[derive(Clone, Copy)]
enum Place {
    Plain,
    Quoted {
        opened: u64,
    },
    /// Behind a quote in a quoted value: another one stands for itself, anything else ends the value.
    AfterQuote {
        opened: u64,
    },
}

impl Structure {
    fn new(format: Format) -> Structure {
        Structure { format, place: Place::Plain, last: b'\n', line: 1, row_line: 1, row_bytes: 0 }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), TableError> {
        while !bytes.is_empty() {
            let passed = match self.place {
                Place::Plain => self.plain(bytes)?,
                Place::Quoted { opened } => self.quoted(opened, bytes),
                Place::AfterQuote { opened } if bytes[0] == b'"' => {
                    self.place = Place::Quoted { opened };
                    self.pass(1)
                }
                Place::AfterQuote { .. } => {
                    self.place = Place::Plain;
                    0
                }
            };
            bytes = &bytes[passed..];
            self.check_row()?;
        }
        Ok(())
    }

    /// Passes over what stands outside quotes, up to the end of a row or a quote.
    fn plain(&mut self, bytes: &[u8]) -> Result<usize, TableError> {
        let found = match self.format {
            Format::Csv => memchr::memchr3(b'"', b'\n', b'\r', bytes),
            Format::Jsonl => memchr::memchr(b'\n', bytes),
        };
        let Some(at) = found else {
            self.last = bytes[bytes.len() - 1];
            return Ok(self.pass(bytes.len()));
        };
        let before = if at == 0 { self.last } else { bytes[at - 1] };
        self.last = bytes[at];
        let passed = self.pass(at + 1);
        if self.last == b'"' {
            if matches!(before, b',' | b'\n' | b'\r') {
                self.place = Place::Quoted { opened: self.line };
            }
            return Ok(passed);
        }
        self.check_row()?;
        self.line += u64::from(self.last == b'\n');
        self.row_line = self.line;
        self.row_bytes = 0;
        Ok(passed)
    }

    fn quoted(&mut self, opened: u64, bytes: &[u8]) -> usize {
        let end = memchr::memchr(b'"', bytes);
        if end.is_some() {
            self.place = Place::AfterQuote { opened };
        }
        let passed = end.map_or(bytes.len(), |at| at + 1);
        self.line += memchr::memchr_iter(b'\n', &bytes[..passed]).count() as u64;
        self.last = b'"';
        self.pass(passed)
    }

    fn pass(&mut self, bytes: usize) -> usize {
        self.row_bytes += bytes;
        bytes
    }

    fn check_row(&self) -> Result<(), TableError> {
        if self.row_bytes <= MAX_ROW {
            return Ok(());
        }
        Err(match self.place {
            Place::Plain => TableError::RowTooLong { line: self.row_line },
            Place::Quoted { opened } | Place::AfterQuote { opened } => TableError::LongQuote { line: opened },
        })
    }

    fn end(&self) -> Result<(), TableError> {
        match self.place {
            Place::Quoted { opened } => Err(TableError::OpenQuote { line: opened }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "structure_test.rs"]
mod test;
