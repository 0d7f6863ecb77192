//! What is told after an import: `NAME.report.json`, and `NAME.rejected.csv` with the rows that were refused.

use super::batch::RawRow;
use super::fault::Fault;
use super::progress::Counts;
use crate::base::Wall;
use serde::Serialize;
use std::io::{self, Write};

/// Faults that the report itself lists; all are in the file of rejected rows.
pub const FIRST_ERRORS: usize = 20;

/// The report of an import. Field by field what `NAME.report.json` holds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the campaign's directory without `.campaign`.
    pub campaign: String,
    pub job: String,
    /// The submission's number in hexadecimal, as in the Message-IDs.
    pub submission: String,
    /// When the import began and ended, RFC 3339 in UTC.
    pub started: String,
    pub finished: String,
    #[serde(flatten)]
    pub counts: Counts,
    /// The faults of the first rejected rows.
    pub first_errors: Vec<ReportedError>,
    /// Name of the file with all rejected rows, when there are any.
    pub rejected_file: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportedError {
    pub line: u64,
    pub reason: String,
}

impl Report {
    /// A report with nothing counted yet.
    pub fn new(campaign: &str, job: &str, submission: u64, started: Wall) -> Report {
        Report {
            campaign: campaign.to_owned(),
            job: job.to_owned(),
            submission: format!("{submission:x}"),
            started: rfc3339(started),
            finished: String::new(),
            counts: Counts::default(),
            first_errors: Vec::new(),
            rejected_file: None,
        }
    }

    /// Notes a refused row.
    pub fn note(&mut self, line: u64, fault: &Fault) {
        if self.first_errors.len() < FIRST_ERRORS {
            self.first_errors.push(ReportedError { line, reason: fault.to_string() });
        }
    }

    /// Notes the end.
    pub fn finish(&mut self, counts: Counts, finished: Wall, rejected_file: &str) {
        self.counts = counts;
        self.finished = rfc3339(finished);
        self.rejected_file = (counts.rejected > 0).then(|| rejected_file.to_owned());
    }

    /// The text of the file.
    pub fn json(&self) -> String {
        let mut text =
            serde_json::to_string_pretty(self).expect("a report holds nothing but text and numbers");
        text.push('\n');
        text
    }
}

fn rfc3339(at: Wall) -> String {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_string()
}

/// Writes `NAME.rejected.csv`: `line,reason` and the columns of the recipients file. A row that could not be taken
/// apart (a JSON line) stands whole in the third column.
pub struct RejectedRows<W: Write> {
    csv: csv::Writer<W>,
    header: Vec<String>,
    started: bool,
}

impl<W: Write> RejectedRows<W> {
    /// Writes nothing before the first row.
    pub fn new(out: W, columns: &[String]) -> RejectedRows<W> {
        let mut header = vec!["line".to_owned(), "reason".to_owned()];
        header.extend_from_slice(columns);
        // Rows are as long as they were found, not as long as the header.
        let csv = csv::WriterBuilder::new().flexible(true).from_writer(out);
        RejectedRows { csv, header, started: false }
    }

    /// Appends a row with the bytes it had, whatever they are.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, row: &RawRow<'_>, fault: &Fault) -> io::Result<()> {
        if !std::mem::replace(&mut self.started, true) {
            self.csv.write_record(&self.header)?;
        }
        self.csv.write_field(row.line.to_string())?;
        self.csv.write_field(fault.to_string())?;
        for cell in row.cells() {
            self.csv.write_field(cell)?;
        }
        self.csv.write_record(None::<&[u8]>)?;
        Ok(())
    }

    /// Writes out what is buffered and gives the file back; none when no row was refused.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<Option<W>> {
        let out = self.csv.into_inner().map_err(csv::IntoInnerError::into_error)?;
        Ok(self.started.then_some(out))
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::Batch;
    use super::super::table::{Format, Table};
    use super::*;

    #[test]
    fn the_report_tells_counts_times_and_the_first_faults() {
        let mut report = Report::new("spring", "spring-2026", 0xabc, Wall(1_796_115_600_000));
        for line in 2..100 {
            report.note(line, &Fault::Nul { field: "name".into() });
        }
        let counts = Counts { read: 100, accepted: 1, duplicates: 1, rejected: 98 };
        report.finish(counts, Wall(1_796_115_601_500), "spring.rejected.csv");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["submission"], "abc");
        assert_eq!(
            (&json["read"], &json["duplicates"], &json["rejected"]),
            (&100.into(), &1.into(), &98.into())
        );
        assert_eq!(
            (&json["started"], &json["finished"]),
            (&"2026-12-01T09:00:00Z".into(), &"2026-12-01T09:00:01.5Z".into())
        );
        assert_eq!(json["first_errors"].as_array().unwrap().len(), FIRST_ERRORS);
        assert_eq!(json["first_errors"][0]["line"], 2);
        assert_eq!(json["rejected_file"], "spring.rejected.csv");
        report.finish(Counts::default(), Wall(0), "spring.rejected.csv");
        assert!(report.json().contains("\"rejected_file\": null"));
    }

    #[test]
    fn rejected_rows_are_written_as_they_were_with_line_and_reason() {
        let csv = b"email,name\nx@,\"a,\"\"b\"\" \xff\"\nshort\n".as_slice();
        let mut table = Table::open(Format::Csv, csv).unwrap();
        let mut batch = Batch::new();
        table.read(&mut batch).unwrap();
        let mut rejected = RejectedRows::new(Vec::new(), table.columns());
        for row in batch.rows() {
            let fault = row.fault.cloned().unwrap_or(Fault::Utf8 { field: "name".into(), at: 6 });
            rejected.write(&row, &fault).unwrap();
        }
        let expected =
            b"line,reason,email,name\n2,field `name` is not UTF-8 at byte 6,x@,\"a,\"\"b\"\" \xff\"\n\
            3,has 1 columns where the header row has 2,short\n";
        assert_eq!(rejected.finish().unwrap().unwrap(), expected);
        assert_eq!(RejectedRows::new(Vec::new(), table.columns()).finish().unwrap(), None);
    }
}
