//! Rows of a CSV file. `csv-core` parses straight into the batch; this file adds what it does not know: exact line
//! numbers, a bound on the length of a row, and the comparison with the header row.

use super::batch::{Batch, MAX_ROW};
use super::fault::Fault;
use super::table::{MAX_COLUMNS, Start, TableError, fill};
use csv_core::ReadRecordResult;
use std::io::BufRead;

/// A CSV file after its header row.
pub struct CsvRows<R> {
    input: Start<R>,
    /// Boxed for its table of states.
    core: Box<csv_core::Reader>,
    columns: Vec<String>,
    /// Ends of the cells of the row being read, relative to its start; as long as the longest row so far.
    ends: Vec<usize>,
    finished: bool,
}

/// A row as it lies in the batch.
struct Found {
    start: usize,
    cells: usize,
    line: u64,
    lines: u64,
}

impl<R: BufRead> CsvRows<R> {
    pub(super) fn open(input: Start<R>) -> Result<CsvRows<R>, TableError> {
        let core = Box::new(csv_core::Reader::new());
        let mut rows = CsvRows { input, core, columns: Vec::new(), ends: vec![0; 64], finished: false };
        let mut header = Batch::new();
        let found = rows.next(&mut header)?.ok_or(TableError::EmptyCsv)?;
        if found.cells > MAX_COLUMNS {
            return Err(TableError::HeaderColumns { have: found.cells });
        }
        header.close_row(found.line, found.start, &rows.ends[..found.cells], None);
        for cell in header.rows().flat_map(|row| row.cells()) {
            let column = rows.columns.len() + 1;
            let name = std::str::from_utf8(cell).map_err(|_| TableError::HeaderUtf8 { column })?;
            rows.columns.push(name.trim().to_owned());
        }
        Ok(rows)
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Appends the next row to `batch`; false at the end of the file.
    pub(super) fn read_row(&mut self, batch: &mut Batch) -> Result<bool, TableError> {
        let Some(found) = self.next(batch)? else { return Ok(false) };
        let (have, want) = (found.cells, self.columns.len());
        let fault = (have != want).then_some(Fault::Columns { have, want, lines: found.lines });
        batch.close_row(found.line, found.start, &self.ends[..found.cells], fault);
        Ok(true)
    }

    fn next(&mut self, batch: &mut Batch) -> Result<Option<Found>, TableError> {
        if self.finished {
            return Ok(None);
        }
        let start = batch.used();
        let mut cells = 0;
        let mut last = 0;
        let at_end = loop {
            let input = fill(&mut self.input)?;
            let (result, read, wrote, ended) =
                self.core.read_record(input, batch.room(), &mut self.ends[cells..]);
            let at_end = input.is_empty();
            last = if read > 0 { input[read - 1] } else { last };
            self.input.consume(read);
            batch.wrote(wrote);
            cells += ended;
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull => {}
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => break at_end,
                ReadRecordResult::End => {
                    self.finished = true;
                    return Ok(None);
                }
            }
            // Between two cells there is a comma.
            if batch.used() - start + cells > MAX_ROW {
                let inside = memchr::memchr_iter(b'\n', batch.written_since(start)).count();
                return Err(TableError::RowTooLong { line: self.core.line() - inside as u64 });
            }
        };
        // The parser counts line feeds as it passes them. It stops behind the one that ends a row, and before it
        // when a CR ended the row already; so count back from here.
        let inside = memchr::memchr_iter(b'\n', batch.written_since(start)).count() as u64;
        let line = self.core.line() - inside - u64::from(last == b'\n' && !at_end);
        Ok(Some(Found { start, cells, line, lines: inside + 1 }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{Format, Table};
    use super::*;
    use proptest::prelude::*;

    type Read = Vec<(u64, Vec<String>, Option<Fault>)>;

    fn read(csv: &[u8]) -> Result<(Vec<String>, Read), TableError> {
        // A small buffer puts every kind of byte at its edge.
        let mut table = Table::open(Format::Csv, std::io::BufReader::with_capacity(2, csv))?;
        let mut batch = Batch::new();
        let mut rows = Vec::new();
        while table.read(&mut batch)? {
            rows.extend(batch.rows().map(|row| {
                let cells = row.cells().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect();
                (row.line, cells, row.fault.cloned())
            }));
        }
        Ok((table.columns().to_vec(), rows))
    }

    fn row(line: u64, cells: &[&str]) -> (u64, Vec<String>, Option<Fault>) {
        (line, cells.iter().map(|cell| (*cell).to_owned()).collect(), None)
    }

    #[test]
    fn line_ends_and_byte_order_mark_do_not_matter() {
        let expected = [row(2, &["a@x.example", "A"]), row(3, &["b@x.example", "B"])];
        for csv in [
            "email,name\na@x.example,A\nb@x.example,B\n",
            "email,name\r\na@x.example,A\r\nb@x.example,B\r\n",
            "email,name\r\na@x.example,A\nb@x.example,B",
            "\u{feff}email,name\na@x.example,A\nb@x.example,B\n",
            "\u{feff}\u{feff}email,name\na@x.example,A\nb@x.example,B\n",
            "\u{feff}email , name\r\na@x.example,\"A\"\r\n\"b@x.example\",B",
        ] {
            let (columns, rows) = read(csv.as_bytes()).unwrap();
            assert_eq!(columns, ["email", "name"], "{csv:?}");
            assert_eq!(rows, expected, "{csv:?}");
        }
    }

    #[test]
    fn a_quoted_value_may_hold_line_ends_commas_and_quotes() {
        let (_, rows) =
            read(b"email,note\r\na@x.example,\"one\r\ntwo, \"\"three\"\"\"\r\n\r\nb@x.example,four\r\n")
                .unwrap();
        assert_eq!(
            rows,
            [row(2, &["a@x.example", "one\r\ntwo, \"three\""]), row(5, &["b@x.example", "four"])]
        );
    }

    #[test]
    fn a_row_with_another_number_of_columns_is_refused_with_its_line() {
        let (_, rows) =
            read(b"email,name\na@x.example\n\nb@x.example,B,C\nc@x.example,\"C\nd\"\"\",D,\n").unwrap();
        let faults: Vec<_> = rows.iter().map(|(line, _, fault)| (*line, fault.clone())).collect();
        assert_eq!(faults[0], (2, Some(Fault::Columns { have: 1, want: 2, lines: 1 })));
        assert_eq!(faults[1], (4, Some(Fault::Columns { have: 3, want: 2, lines: 1 })));
        assert_eq!(faults[2], (5, Some(Fault::Columns { have: 4, want: 2, lines: 2 })));
        assert_eq!(rows.len(), 3);
    }

    #[test]
    fn an_empty_file_has_no_header_row() {
        assert!(matches!(read(b""), Err(TableError::EmptyCsv)));
        assert!(matches!(read(b"\n\r\n\n"), Err(TableError::EmptyCsv)));
        assert!(matches!(read(b"\xef\xbb\xbf"), Err(TableError::EmptyCsv)));
        let (columns, rows) = read(b"email\n").unwrap();
        assert_eq!((columns.len(), rows.len()), (1, 0));
    }

    #[test]
    fn a_file_in_another_encoding_is_named_as_such() {
        assert!(matches!(read(b"\xff\xfee\0m\0"), Err(TableError::Utf16)));
        assert!(matches!(
            read(b"email,pr\xe9nom\na@x.example,b\n"),
            Err(TableError::HeaderUtf8 { column: 2 })
        ));
    }

    #[test]
    fn a_quote_that_is_never_closed_is_found_before_it_fills_the_memory() {
        let mut csv = b"email,name\na@x.example,A\nb@x.example,\"B\n".to_vec();
        while csv.len() < 3 * MAX_ROW {
            csv.extend_from_slice(b"c@x.example,C\n");
        }
        let mut table = Table::open(Format::Csv, csv.as_slice()).unwrap();
        let error = table.read(&mut Batch::new()).unwrap_err();
        assert!(matches!(error, TableError::RowTooLong { line: 3 }), "{error}");
        let commas = [b"email\n".as_slice(), &vec![b','; 2 * MAX_ROW]].concat();
        let mut table = Table::open(Format::Csv, commas.as_slice()).unwrap();
        assert!(matches!(table.read(&mut Batch::new()), Err(TableError::RowTooLong { line: 2 })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(csv in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok((columns, rows)) = read(&csv) {
                let lines = csv.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
                let mut previous = 0;
                for (line, cells, fault) in rows {
                    prop_assert!(line >= previous && line <= lines);
                    prop_assert!(cells.len() == columns.len() || fault.is_some());
                    previous = line;
                }
            }
        }

        #[test]
        fn written_rows_come_back_on_their_lines(
            rows in prop::collection::vec(prop::collection::vec("[a-c,\"\n\r ]{0,6}", 3), 0..12),
            crlf in any::<bool>(),
        ) {
            let end = if crlf { "\r\n" } else { "\n" };
            let mut csv = format!("a,b,c{end}");
            let mut expected = Vec::new();
            for cells in rows {
                let line = csv.matches('\n').count() as u64 + 1;
                let quoted: Vec<_> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
                csv += &(quoted.join(",") + end);
                expected.push((line, cells, None));
            }
            prop_assert_eq!(read(csv.as_bytes()).unwrap().1, expected);
        }
    }
}
