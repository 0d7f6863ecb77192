//! A merged message (reference 6.4) on its way to stored form: recipients are put together for whom the text and the
//! envelope are the same, the parts of each text are joined and compiled, and rows get the values their text uses.

use super::chunk::{CHUNK_BYTES, CHUNK_ROWS};
use super::domains::Domains;
use crate::mail::header::Header;
use crate::mail::merge::{Before, Meaning, MergeError, compile};
use crate::mail::row::{REFUSED_FIELD, SENDER_FIELD, put_value};
use crate::mail::{AddressError, Content, address, queue_domain};
use crate::smtp::dsn::ROW_FIELDS;
use crate::smtp::merge::Merge;
use crate::spool::record::RowsDraft;
use std::collections::HashMap;
use std::sync::Arc;

/// Different choices of parts in one message: each is stored once.
pub const MAX_TEXTS: usize = 64;
/// Bytes of all of them.
const MAX_TEXT_BYTES: usize = 64 << 20;
/// Bytes in the header section of one.
const MAX_HEADER: usize = 100 * 1024;

/// Bytes of all rows as they are stored, and what the header of a submission counts among them. A variable that few define
/// and the text uses costs a byte in every row.
const MAX_STORED: usize = 64 << 20;
const HEADER: usize = 512;

/// Why a merged message is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergedError {
    #[error("*parts of <{address}> names part {part}, which did not come")]
    NoPart { address: String, part: u16 },
    #[error("more than {MAX_TEXTS} different *parts in one message")]
    ManyTexts,
    #[error("the message is {bytes} bytes long with the parts of <{address}>; at most {max} are allowed")]
    TooLarge { address: String, bytes: usize, max: usize },
    #[error("the header section is too large")]
    LongHeader,
    #[error("too many hops, this message is looping")]
    Hops,
    #[error("with the parts of <{address}>: {error}")]
    Text { address: String, error: MergeError },
    #[error("<{address}>: {name} has a line break and stands in the header")]
    LineBreak { address: String, name: String },
    #[error("more than {MAX_STORED} bytes of recipients and values, as they would be stored")]
    ManyBytes,
    #[error("<{address}>: {error}")]
    Address { address: String, error: AddressError },
}

/// Recipients who have the same text and envelope, all but the addresses and their values. Where nothing is said, the whole
/// message's counts.
#[derive(Debug, PartialEq, Eq)]
pub struct Variant<'m> {
    /// Numbers of parts with commas between.
    pub parts: Option<&'m str>,
    pub job: Option<&'m str>,
    pub envid: Option<&'m str>,
    pub virtual_mta: Option<&'m str>,
    pub schedule: Option<&'m str>,
    pub priority: Option<&'m str>,
    /// They were taken in only to be bounced.
    pub refused: bool,
    /// Their places in the message, in order.
    pub rows: Vec<u32>,
}

/// Puts the recipients together, in the order in which the first of each came.
pub fn variants(merge: &Merge) -> Vec<Variant<'_>> {
    let named =
        ["*parts", "*jobid", "*envid", "*vmta", "*schedule", "*priority"].map(|name| merge.number(name));
    let mut variants: Vec<Variant<'_>> = Vec::new();
    let refusal = merge.number(REFUSED_FIELD);
    let mut known: HashMap<([Option<&str>; 6], bool), usize> = HashMap::new();
    for (index, row) in merge.rows().enumerate() {
        let (mut key, mut refused) = ([None; 6], false);
        for (number, value) in row.values() {
            if let Some(at) = named.iter().position(|name| *name == Some(number)) {
                key[at] = Some(value);
            }
            refused |= refusal == Some(number);
        }
        let at = *known.entry((key, refused)).or_insert_with(|| {
            let [parts, job, envid, virtual_mta, schedule, priority] = key;
            let rows = Vec::new();
            variants.push(Variant { parts, job, envid, virtual_mta, schedule, priority, refused, rows });
            variants.len() - 1
        });
        variants[at].rows.push(index as u32);
    }
    variants
}

/// Joins the parts of `message` that recipients get; all in the order of their numbers where `parts` says nothing.
/// `address` is one of them.
///
/// # Errors
/// When there is no such part, or the text is longer than `max`.
pub fn join(
    merge: &Merge,
    message: &[u8],
    parts: Option<&str>,
    address: &str,
    max: usize,
) -> Result<Vec<u8>, MergedError> {
    let mut starts: Vec<(u16, std::ops::Range<usize>)> = Vec::with_capacity(merge.parts.len());
    let mut from = 0;
    for part in &merge.parts {
        starts.push((part.number, from..part.end));
        from = part.end;
    }
    starts.sort_by_key(|(number, _)| *number);
    let mut pieces = Vec::with_capacity(starts.len());
    match parts {
        None => pieces.extend(starts.into_iter().map(|(_, range)| range)),
        Some(parts) => {
            for part in parts.split(',').filter_map(|part| part.parse::<u16>().ok()) {
                let found = starts.iter().find(|(number, _)| *number == part);
                let no_part = || MergedError::NoPart { address: address.to_owned(), part };
                pieces.push(found.ok_or_else(no_part)?.1.clone());
            }
        }
    }
    let bytes = pieces.iter().map(std::ops::Range::len).sum();
    if bytes > max {
        return Err(MergedError::TooLarge { address: address.to_owned(), bytes, max });
    }
    let mut text = Vec::with_capacity(bytes);
    pieces.into_iter().for_each(|range| text.extend_from_slice(&message[range]));
    Ok(text)
}

/// What the texts of one message have in common.
#[derive(Clone, Copy, Debug)]
pub struct Common<'a> {
    pub merge: &'a Merge,
    pub before: Before<'a>,
    /// Envelope sender of those who have none of their own.
    pub sender: &'a str,
    /// As a Date header says it.
    pub date: &'a str,
    /// Undefined variables become empty; else they stay.
    pub expand_undefined: bool,
    pub max_hops: usize,
}

/// A text that is ready for the spool, and where its rows get their values from.
#[derive(Debug)]
pub struct Text {
    pub content: Content,
    columns: Vec<Column>,
    /// Numbers of variables and of the columns they go into.
    uses: HashMap<u16, Vec<u16>>,
}

#[derive(Debug)]
struct Column {
    name: String,
    in_header: bool,
    /// Of those for whom it is not defined.
    undefined: String,
}

impl Text {
    /// Compiles a text of CR LF lines without control headers. `address` is that of a recipient who gets it.
    ///
    /// # Errors
    /// When it is no message.
    pub fn compile(common: &Common<'_>, text: &[u8], address: &str) -> Result<Text, MergedError> {
        let header = Header::scan(text);
        if header.end() > MAX_HEADER {
            return Err(MergedError::LongHeader);
        }
        if header.all("Received").count() > common.max_hops {
            return Err(MergedError::Hops);
        }
        let merge = common.merge;
        let eight_bit = merge.is_beyond_ascii();
        let mut own: Vec<&str> = Vec::new();
        own.extend(merge.has_senders().then_some(SENDER_FIELD));
        if merge.number(ROW_FIELDS[0]).is_some() {
            own.extend(ROW_FIELDS);
        }
        let content = compile(common.before, text, &own, eight_bit, |name| common.means(name))
            .map_err(|error| MergedError::Text { address: address.to_owned(), error })?;
        let in_headers = content.fields_in_headers();
        let column = |(name, in_header): (&String, bool)| Column {
            in_header,
            undefined: match name.as_str() {
                SENDER_FIELD => common.sender.to_owned(),
                name if ROW_FIELDS.contains(&name) => String::new(),
                name => common.undefined(name),
            },
            name: name.clone(),
        };
        let columns: Vec<Column> = content.fields().iter().zip(in_headers).map(column).collect();
        let mut uses: HashMap<u16, Vec<u16>> = HashMap::new();
        for (column, name) in content.fields().iter().enumerate() {
            if let Some(number) = merge.number(name) {
                uses.entry(number).or_default().push(column as u16);
            }
        }
        Ok(Text { content, columns, uses })
    }

    /// The records of recipients who get this text, and the domain of each. All still have the first VMTA.
    ///
    /// # Errors
    /// When a value does not fit its place, or all of them do not fit.
    pub fn rows(
        &self,
        merge: &Merge,
        variant: &Variant<'_>,
        filled: &mut Filled,
    ) -> Result<Vec<Rows>, MergedError> {
        let mut records: Vec<Rows> = Vec::with_capacity(variant.rows.len().div_ceil(CHUNK_ROWS));
        let mut values: Vec<Option<&str>> = vec![None; self.columns.len()];
        let mut domain = String::new();
        let refusal = merge.number(REFUSED_FIELD).filter(|_| variant.refused);
        for &index in &variant.rows {
            let row = merge.row(index as usize);
            values.fill(None);
            let mut refused = None;
            for (number, value) in row.values() {
                if refusal == Some(number) {
                    refused = Some(value);
                }
                for column in self.uses.get(&number).into_iter().flatten() {
                    values[usize::from(*column)] = Some(value);
                }
            }
            let full =
                |rows: &Rows| rows.domains.len() >= CHUNK_ROWS || rows.draft.bytes.len() >= CHUNK_BYTES;
            if records.last().is_none_or(full) {
                let draft = RowsDraft { first_row: filled.next_row, ..RowsDraft::default() };
                records.push(Rows { draft, domains: Vec::new() });
            }
            filled.next_row += 1;
            if variant.refused {
                domain = queue_domain(row.address);
            } else {
                let refuse = |error| MergedError::Address { address: row.address.to_owned(), error };
                let checked = address::check(row.address.as_bytes()).map_err(refuse)?;
                address::normalise_domain(checked.domain(), &mut domain).map_err(refuse)?;
            }
            let number = filled.domains.intern(&domain);
            let Some(Rows { draft, domains }) = records.last_mut() else { continue };
            let before = draft.bytes.len();
            domains.extend(filled.domains.name(number).cloned());
            put_value(&mut draft.bytes, row.address);
            for (column, value) in self.columns.iter().zip(&values) {
                let value = value.unwrap_or(&column.undefined);
                if column.in_header && value.contains(['\r', '\n']) {
                    let (address, name) = (row.address.to_owned(), column.name.clone());
                    return Err(MergedError::LineBreak { address, name });
                }
                put_value(&mut draft.bytes, value);
            }
            refused.into_iter().for_each(|reply| put_value(&mut draft.bytes, reply));
            draft.ends.push(draft.bytes.len() as u32);
            draft.vmta.push(0);
            filled.grow(draft.bytes.len() - before)?;
        }
        filled.grow(HEADER)?;
        Ok(records)
    }
}

impl Common<'_> {
    /// What stands for `[name]`.
    fn means(&self, name: &str) -> Meaning {
        let lower = name.to_ascii_lowercase();
        match (lower.as_str(), self.merge.number(&lower)) {
            ("*to", _) => Meaning::Recipient,
            // No text has it, whatever recipients there are.
            (REFUSED_FIELD, _) => Meaning::Text(self.undefined(name)),
            ("*date", _) => Meaning::Text(self.date.to_owned()),
            (SENDER_FIELD, None) => Meaning::Text(self.sender.to_owned()),
            // What stays as it is stays as it is written.
            (other, Some(_)) if !other.starts_with('*') && !self.expand_undefined => {
                Meaning::Field(name.to_owned())
            }
            (_, Some(_)) => Meaning::Field(lower),
            (_, None) => Meaning::Text(self.undefined(name)),
        }
    }

    fn undefined(&self, name: &str) -> String {
        if self.expand_undefined { String::new() } else { format!("[{name}]") }
    }
}

/// What the rows of one message have come to.
pub struct Filled {
    /// Rows are numbered through the whole message, so that Message-IDs made from them differ.
    next_row: u64,
    bytes: usize,
    domains: Domains,
}

impl Filled {
    /// Nothing yet; see [`Domains::new`] about the key.
    pub fn new(key: &[u8; 16]) -> Filled {
        Filled { next_row: 0, bytes: 0, domains: Domains::new(key) }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), MergedError> {
        self.bytes += bytes;
        if self.bytes > MAX_STORED { Err(MergedError::ManyBytes) } else { Ok(()) }
    }
}

/// A record of rows on its way, and the domain of each row.
#[derive(Clone, Debug)]
pub struct Rows {
    pub draft: RowsDraft,
    pub domains: Vec<Arc<str>>,
}

/// The texts of one message, each once.
#[derive(Debug, Default)]
pub struct Texts<'m> {
    known: Vec<Option<&'m str>>,
    bytes: usize,
}

impl<'m> Texts<'m> {
    /// The number of a text; true when it is new.
    ///
    /// # Errors
    /// When there are too many.
    pub fn number(&mut self, parts: Option<&'m str>) -> Result<(usize, bool), MergedError> {
        if let Some(known) = self.known.iter().position(|known| *known == parts) {
            return Ok((known, false));
        }
        if self.known.len() == MAX_TEXTS {
            return Err(MergedError::ManyTexts);
        }
        self.known.push(parts);
        Ok((self.known.len() - 1, true))
    }

    /// How long the next text may be, `max` being what a message may be; and then takes it that it is `bytes` long.
    pub fn room(&self, max: usize) -> usize {
        max.min(MAX_TEXT_BYTES - self.bytes)
    }

    pub fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
    }
}

#[cfg(test)]
#[path = "merged_test.rs"]
mod test;
