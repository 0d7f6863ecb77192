//! Rows of a JSON Lines file: one object per line. The keys of the first object are the columns; later objects may
//! have more, which are not looked at, and may lack those that the campaign does not use.

use super::batch::{Batch, MAX_ROW};
use super::fault::Fault;
use super::table::{MAX_COLUMNS, Start, TableError, fill};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::io::BufRead;

/// A JSON Lines file whose first object has named the columns.
pub struct JsonlRows<R> {
    input: Start<R>,
    columns: Vec<String>,
    required: Vec<bool>,
    /// The line being read.
    text: Vec<u8>,
    /// Number of that line.
    line: u64,
    /// The first object is still in `text`.
    first: bool,
}

enum Line {
    End,
    Blank,
    Full,
}

impl<R: BufRead> JsonlRows<R> {
    pub(super) fn open(input: Start<R>) -> Result<JsonlRows<R>, TableError> {
        let (columns, required, text) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = JsonlRows { input, columns, required, text, line: 0, first: true };
        loop {
            match rows.read_line()? {
                Line::End => return Err(TableError::EmptyJsonl),
                Line::Blank => continue,
                Line::Full => {}
            }
            rows.columns = first_keys(&rows.text)
                .map_err(|fault| TableError::FirstRow { line: rows.line, reason: fault.to_string() })?;
            rows.required = vec![false; rows.columns.len()];
            return Ok(rows);
        }
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) fn require(&mut self, columns: impl IntoIterator<Item = usize>) {
        for column in columns {
            self.required[column] = true;
        }
    }

    /// Appends the next row to `batch`; false at the end of the file. A line that is no row at all becomes one cell.
    pub(super) fn read_row(&mut self, batch: &mut Batch) -> Result<bool, TableError> {
        let found = if std::mem::take(&mut self.first) { Line::Full } else { self.read_line()? };
        match found {
            Line::End => return Ok(false),
            Line::Blank => {}
            Line::Full => match cells(&self.text, &self.columns, &self.required) {
                Ok(cells) => {
                    for cell in &cells {
                        batch.push_cell(cell.as_deref().unwrap_or_default().as_bytes());
                    }
                    batch.mark(self.line, None);
                }
                Err(fault) => {
                    batch.push_cell(self.text.trim_ascii());
                    batch.mark(self.line, Some(fault));
                }
            },
        }
        Ok(true)
    }

    /// Reads a line into `text`.
    fn read_line(&mut self) -> Result<Line, TableError> {
        self.text.clear();
        loop {
            let bytes = fill(&mut self.input)?;
            let ended = memchr::memchr(b'\n', bytes);
            let taken = ended.map_or(bytes.len(), |at| at + 1);
            self.line += u64::from(self.text.is_empty() && taken > 0);
            if self.text.len() + taken > MAX_ROW {
                return Err(TableError::RowTooLong { line: self.line });
            }
            self.text.extend_from_slice(&bytes[..taken]);
            self.input.consume(taken);
            if ended.is_some() || taken == 0 {
                break;
            }
        }
        Ok(match self.text.trim_ascii() {
            _ if self.text.is_empty() => Line::End,
            [] => Line::Blank,
            _ => Line::Full,
        })
    }
}

fn json_fault(error: &serde_json::Error) -> Fault {
    // The line number that serde_json adds is always 1 here and would mislead.
    let text = error.to_string();
    let reason = match text.rfind(" at line ") {
        Some(at) => format!("{} at column {}", &text[..at], error.column()),
        None => text,
    };
    Fault::Json { reason }
}

fn as_text(line: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(line).map_err(|error| Fault::JsonUtf8 { at: error.valid_up_to() })
}

fn first_keys(line: &[u8]) -> Result<Vec<String>, Fault> {
    let mut json = serde_json::Deserializer::from_str(as_text(line)?);
    let keys = json.deserialize_map(Keys).and_then(|keys| json.end().map(|()| keys));
    let keys = keys.map_err(|error| json_fault(&error))?;
    if let Some(again) = keys.iter().enumerate().find(|(at, key)| keys[..*at].contains(key)) {
        return Err(Fault::Repeated { field: again.1.clone() });
    }
    Ok(keys)
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut keys = Vec::new();
        while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if keys.len() == MAX_COLUMNS {
                return Err(A::Error::custom(format_args!("more than {MAX_COLUMNS} fields")));
            }
            keys.push(key);
        }
        Ok(keys)
    }
}

/// The values of the object in `line` in the order of `columns`. Allocates one vector, and a string for each value
/// with escapes.
fn cells<'a>(
    line: &'a [u8],
    columns: &[String],
    required: &[bool],
) -> Result<Vec<Option<Cow<'a, str>>>, Fault> {
    let mut json = serde_json::Deserializer::from_str(as_text(line)?);
    let mut fault = None;
    let seed = Cells { columns, required, fault: &mut fault };
    let cells = seed.deserialize(&mut json).and_then(|cells| json.end().map(|()| cells));
    let cells = cells.map_err(|error| json_fault(&error))?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    match cells.iter().zip(required).position(|(cell, required)| *required && cell.is_none()) {
        Some(column) => Err(Fault::Missing { field: columns[column].clone() }),
        None => Ok(cells),
    }
}

struct Cells<'c> {
    columns: &'c [String],
    required: &'c [bool],
    fault: &'c mut Option<Fault>,
}

impl<'de> DeserializeSeed<'de> for Cells<'_> {
    type Value = Vec<Option<Cow<'de, str>>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Cells<'_> {
    type Value = Vec<Option<Cow<'de, str>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut cells = vec![None; self.columns.len()];
        let mut next = 0;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            // Objects of one file have their keys in one order: look where the next one should be first.
            let column = match self.columns.get(next) {
                Some(name) if *name == key => Some(next),
                _ => self.columns.iter().position(|name| *name == key),
            };
            let Some(column) = column else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            next = column + 1;
            let raw = map.next_value::<&RawValue>()?.get();
            let field = || self.columns[column].clone();
            if self.required[column] && cells[column].is_some() {
                *self.fault = Some(Fault::Repeated { field: field() });
            }
            cells[column] = Some(match raw.as_bytes().first() {
                Some(b'"') => serde_json::from_str(raw).map_err(A::Error::custom).map(Text::into_inner)?,
                Some(b'{' | b'[') if self.required[column] => {
                    *self.fault = Some(Fault::Nested { field: field() });
                    Cow::Borrowed("")
                }
                Some(b'n') => Cow::Borrowed(""),
                // Numbers are shown as they were written, not as a float would show them.
                _ => Cow::Borrowed(raw),
            });
        }
        Ok(cells)
    }
}

/// A string that borrows where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Text<'a> {
    fn into_inner(self) -> Cow<'a, str> {
        self.0
    }
}

#[cfg(test)]
#[path = "jsonl_rows_test.rs"]
mod test;
