//! The columns of one accounting file, and writing records into them (reference 2.7 `record-fields`, 4.2, 4.3).

use super::csv::{LINE_END, push_cell, push_number};
use super::field::{Field, KNOWN, RecordType, Types};
use super::record::Record;
use super::stamp::Stamp;
use crate::base::Wall;
use thiserror::Error;

/// Words in one `record-fields` list.
const MAX_WORDS: usize = 500;
/// Length of a `header_X` name, as of a header field's (RFC 5322 2.1.1 bounds the line).
const MAX_HEADER_NAME: usize = 200;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    #[error("records: `{0}` is no record type; write d, b, t, tq, r, rb, rs or f")]
    UnknownType(String),
    #[error("record-fields {record}: `{word}` is no field{}", nearest.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownField { record: &'static str, word: String, nearest: Option<&'static str> },
    #[error("record-fields {record}: records of this type have no field `{field}`")]
    NotOfType { record: &'static str, field: &'static str },
    #[error("record-fields {record}: field `type` cannot be left out")]
    TypeNeeded { record: &'static str },
    #[error(
        "record-fields {record}: `{word}` needs a header name after `header_`, at most {MAX_HEADER_NAME} characters"
    )]
    HeaderName { record: &'static str, word: String },
    #[error("record-fields {record}: more than {MAX_WORDS} words")]
    TooLong { record: &'static str },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Known(Field),
    /// `header_X`: a column of its own; its value is not captured yet and stays empty.
    Header,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    source: Source,
    /// Types that fill the column; the others leave it empty.
    types: Types,
}

/// The columns of a file and how it writes its values.
#[derive(Debug, Clone)]
pub struct Layout {
    columns: Vec<Column>,
    types: Types,
    iso_times: bool,
    user_string: String,
    notes: Vec<String>,
}

impl Layout {
    /// Makes the columns for the record types in `records` (codes or long names; empty means `d b`).
    /// `record_fields` holds pairs of type and field list as configured.
    pub fn new<S: AsRef<str>>(
        records: &[S],
        record_fields: &[(S, S)],
        iso_times: bool,
        user_string: &str,
    ) -> Result<Layout, LayoutError> {
        let mut notes = Vec::new();
        let mut types = Types::NONE;
        for name in records.iter().map(AsRef::as_ref) {
            match RecordType::parse(name) {
                Some(t) => types = types.with(t),
                None if RecordType::is_from_reports(name) => {
                    notes.push(format!("records {name}: no lines of this type are written yet"));
                }
                None => return Err(LayoutError::UnknownType(name.to_owned())),
            }
        }
        if records.is_empty() {
            types = Types::of(&[RecordType::Delivery, RecordType::Bounce]);
        }
        let mut columns: Vec<Column> = Vec::new();
        for t in RecordType::ALL.into_iter().filter(|t| types.has(*t)) {
            // The last list given for a type counts, as with every directive given twice.
            let list = record_fields
                .iter()
                .rev()
                .find(|(name, _)| RecordType::parse(name.as_ref()) == Some(t))
                .map_or("*", |(_, list)| list.as_ref());
            add_type(&mut columns, t, list, &mut notes)?;
        }
        for (name, _) in record_fields {
            let name = name.as_ref();
            if RecordType::parse(name).is_none() && !RecordType::is_from_reports(name) {
                return Err(LayoutError::UnknownType(name.to_owned()));
            }
        }
        let only_receipts = types == Types::of(&[RecordType::Receipt]);
        columns.sort_by_key(|c| rank(&c.source, only_receipts));
        Ok(Layout { columns, types, iso_times, user_string: user_string.to_owned(), notes })
    }

    /// What was asked for and has no effect yet, for the start-up report.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether the file holds lines of this type.
    pub fn takes(&self, t: RecordType) -> bool {
        self.types.has(t)
    }

    /// Appends the first line of the file.
    pub fn push_header(&self, out: &mut Vec<u8>) {
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            push_cell(out, &column.name);
        }
        out.extend_from_slice(LINE_END);
    }

    /// Appends the line for `record`. Allocates nothing beyond the growth of `out`.
    pub fn push_line(&self, record: &Record<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            if let (Source::Known(field), true) = (&column.source, column.types.has(record.kind)) {
                self.push_value(*field, record, stamp, out);
            }
        }
        out.extend_from_slice(LINE_END);
    }

    fn push_time(&self, at: Wall, stamp: &mut Stamp, out: &mut Vec<u8>) {
        if self.iso_times {
            stamp.push_local(out, at);
        } else {
            Stamp::push_unix(out, at);
        }
    }

    fn push_value(&self, field: Field, record: &Record<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
        let submission = record.submission;
        let attempt = record.attempt;
        let queued = submission.map(|s| Wall(s.accepted_at));
        let text = match field {
            Field::Type => record.kind.code(),
            Field::TimeLogged => return self.push_time(record.logged, stamp, out),
            Field::TimeQueued => return queued.map_or((), |at| self.push_time(at, stamp, out)),
            Field::TotalSecondsQueued => {
                return queued.map_or((), |at| push_number(out, (record.logged.0 - at.0).max(0) / 1000));
            }
            Field::DlvSize if record.kind == RecordType::Delivery => {
                return push_number(out, i64::from(record.size));
            }
            Field::DlvSize | Field::TimeFirstAttempt => "",
            Field::Orcpt => record.orcpt,
            Field::Rcpt => record.rcpt,
            Field::DsnAction => record.action(),
            Field::DsnStatus => record.status,
            Field::DsnDiag => record.diagnostic,
            Field::BounceCat => record.category,
            Field::Vmta => record.vmta,
            Field::UserString => &self.user_string,
            Field::Orig => record.orig.unwrap_or(submission.map_or("", |s| &s.sender)),
            Field::SrcType => submission.map_or("", |s| &s.source_type),
            Field::SrcMta => submission.map_or("", |s| &s.source_mta),
            Field::JobId => submission.map_or("", |s| &s.job),
            Field::EnvId => submission.map_or("", |s| &s.envid),
            Field::RcvSmtpUser => submission.map_or("", |s| &s.smtp_user),
            Field::RcvSourceIp => submission.map_or("", |s| &s.received_from_ip),
            Field::RcvDestinationIp => submission.map_or("", |s| &s.received_on_ip),
            Field::DsnMta => attempt.map_or("", |a| &a.mta),
            Field::DlvType => attempt.map_or("", |a| &a.delivery_type),
            Field::DlvSourceIp => attempt.map_or("", |a| &a.source_ip),
            Field::DlvDestinationIp => attempt.map_or("", |a| &a.destination_ip),
            Field::DlvEsmtpAvailable => attempt.map_or("", |a| &a.esmtp),
            Field::Queue => attempt.map_or("", |a| &a.queue),
            Field::VmtaPool => attempt.map_or("", |a| &a.vmta_pool),
            Field::DlvTlsProtocol => attempt.map_or("", |a| &a.tls_protocol),
            Field::DlvTlsCipher => attempt.map_or("", |a| &a.tls_cipher),
        };
        push_cell(out, text);
    }
}

/// Position of a column: as in the table, `header_` columns before those only `r` has; a file of nothing but
/// `r` keeps that type's own order, with the addresses before `vmta` (4.2).
fn rank(source: &Source, only_receipts: bool) -> u32 {
    match source {
        Source::Known(Field::RcvSourceIp | Field::RcvDestinationIp) if only_receipts => {
            Field::SrcMta as u32 * 2 + 1
        }
        Source::Header => Field::UserString as u32 * 2 + 1,
        Source::Known(field) => *field as u32 * 2,
    }
}

/// Adds to `columns` what `list` selects for `t`.
fn add_type(
    columns: &mut Vec<Column>,
    t: RecordType,
    list: &str,
    notes: &mut Vec<String>,
) -> Result<(), LayoutError> {
    let record = t.code();
    let words: Vec<&str> =
        list.split([',', ' ', '\t']).filter(|w| !w.is_empty()).take(MAX_WORDS + 1).collect();
    if words.len() > MAX_WORDS {
        return Err(LayoutError::TooLong { record });
    }
    // A list of nothing but exclusions takes them from the default set.
    let all = words.iter().all(|w| w.starts_with('!')) || words.contains(&"*");
    let mut chosen: Vec<Field> = Vec::with_capacity(KNOWN.len());
    if all {
        chosen.extend(KNOWN.iter().filter(|k| k.default.has(t)).map(|k| k.field));
    } else {
        chosen.push(Field::Type);
    }
    for word in words.into_iter().filter(|w| *w != "*") {
        let (leave_out, name) = word.strip_prefix('!').map_or((false, word), |name| (true, name));
        if name.get(..7).is_some_and(|p| p.eq_ignore_ascii_case("header_")) {
            if !leave_out && t != RecordType::TransientQueue {
                add_header(columns, t, name)?;
                notes.push(format!(
                    "record-fields {record} {name}: the column is written, its values are not captured yet"
                ));
            }
            continue;
        }
        let Some(known) = Field::find(name) else {
            let nearest = nearest(name);
            return Err(LayoutError::UnknownField { record, word: name.to_owned(), nearest });
        };
        if !known.types.has(t) {
            return Err(LayoutError::NotOfType { record, field: known.name });
        }
        if leave_out && known.field == Field::Type {
            return Err(LayoutError::TypeNeeded { record });
        }
        if leave_out {
            chosen.retain(|f| *f != known.field);
        } else if !chosen.contains(&known.field) {
            chosen.push(known.field);
        }
        if !leave_out && known.field == Field::TimeFirstAttempt {
            notes.push(format!(
                "record-fields {record} timeFirstAttempt: the column is written, its values are not kept yet"
            ));
        }
    }
    for field in chosen {
        let source = Source::Known(field);
        match columns.iter_mut().find(|c| c.source == source) {
            Some(column) => column.types = column.types.with(t),
            None => columns.push(Column {
                name: KNOWN[field as usize].name.to_owned(),
                source,
                types: Types::of(&[t]),
            }),
        }
    }
    Ok(())
}

/// A `header_X` column; names that differ only in case are columns of their own (4.2).
fn add_header(columns: &mut Vec<Column>, t: RecordType, word: &str) -> Result<(), LayoutError> {
    let name = &word[7..];
    if name.is_empty() || name.len() > MAX_HEADER_NAME {
        return Err(LayoutError::HeaderName { record: t.code(), word: word.chars().take(80).collect() });
    }
    match columns.iter_mut().find(|c| c.source == Source::Header && c.name[7..] == *name) {
        Some(column) => column.types = column.types.with(t),
        None => columns.push(Column {
            name: format!("header_{name}"),
            source: Source::Header,
            types: Types::of(&[t]),
        }),
    }
    Ok(())
}

/// The field whose name shares the longest beginning with `word`, when that is at least three letters.
fn nearest(word: &str) -> Option<&'static str> {
    let common =
        |name: &str| name.bytes().zip(word.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    KNOWN
        .iter()
        .map(|k| (common(k.name), k.name))
        .max_by_key(|(n, _)| *n)
        .filter(|(n, _)| *n >= 3)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
