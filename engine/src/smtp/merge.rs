//! What the mail merge extension says of recipients (reference 6.4): the variables that XDFN defines for each, kept in
//! the form of stored rows, and the parts of a message that XPRT brings. Batch SMTP files say it in the same words.

use super::dsn::{Notify, ROW_FIELDS, RecipientDsn};
use super::refused::RefusedRecipient;
use crate::mail::row::{REFUSED_FIELD, SENDER_FIELD, put_value, row_view};
use crate::mail::schedule::{Schedule, ScheduleError};
use crate::mail::{Address, AddressError};
use jiff::tz::TimeZone;
use std::collections::HashMap;
use std::fmt::Write;

/// Bytes of definitions that one recipient may have.
pub const MAX_DEFINITIONS: usize = 64 * 1024;
/// Bytes of addresses and definitions that one message may have: they are to fit a segment of the usual size.
pub const MAX_ROWS: usize = 24 << 20;
/// Names that the recipients of one message may have.
pub const MAX_NAMES: usize = 4096;
/// Bytes of a name.
pub const MAX_NAME: usize = 128;
/// Parts that a message may be made from, and highest number of one.
pub const MAX_PARTS: u16 = 100;
/// Bytes of a job or an envelope id.
const MAX_ID: usize = 128;

/// Variables that nothing is done with yet, though PowerMTA's clients may set them.
pub const WITHOUT_EFFECT: [&str; 2] = ["*subaccountid", "*custommessageid"];

/// Why definitions are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    #[error("syntax: XDFN name=value name=\"quoted value\"")]
    Syntax,
    #[error("{0:?} is no name: a letter comes first, then letters, digits and _; up to {MAX_NAME} of them")]
    Name(String),
    #[error("{0}: the quote is not closed")]
    Open(String),
    #[error("{0}: after a quoted value comes a blank")]
    Behind(String),
    #[error("{0}: a value with a quote or a blank is written in quotes")]
    Quote(String),
    #[error("{0}: in quotes, \\ stands before \\, \", r or n")]
    Escape(String),
    #[error("{0}: \\r stands before \\n")]
    BareCr(String),
    #[error("{0} is defined twice for one recipient")]
    Twice(String),
    #[error("{0} is read-only")]
    ReadOnly(String),
    #[error("{0} is not a reserved variable")]
    Unknown(String),
    #[error("*schedule: {0}")]
    Schedule(ScheduleError),
    #[error("*from: {0}")]
    From(AddressError),
    #[error("*from needs SMTPUTF8")]
    FromUtf8,
    #[error("{0}: 1 to {MAX_ID} printable characters, and no blanks in *jobid and *vmta")]
    Id(String),
    #[error(
        "*parts is a list such as 1-3 or 1,3,2 of numbers up to {MAX_PARTS}, {MAX_PARTS} of them at most"
    )]
    Parts,
    #[error("*priority is a number from 1 to 100")]
    Priority,
    #[error("more than {MAX_DEFINITIONS} bytes are defined for one recipient")]
    Recipient,
    #[error("more than {MAX_ROWS} bytes of addresses and definitions in one message")]
    Message,
    #[error("more than {MAX_NAMES} different names in one message")]
    Names,
}

impl DefinitionError {
    /// The reply code that tells of it, with its enhanced status.
    pub fn code(&self) -> &'static str {
        match self {
            DefinitionError::Recipient | DefinitionError::Message | DefinitionError::Names => "552 5.3.4",
            _ => "501 5.5.4",
        }
    }
}

/// A part of the message: the bytes up to `end` that do not belong to an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub number: u16,
    pub end: usize,
}

/// The recipients of a merged message with what is defined for each, and the parts it is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    /// In the order in which they came.
    pub parts: Vec<Part>,
    /// Lower case; rows name them by number.
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u16>,
    /// A row is an address, and for each variable its number (two bytes, little-endian) and its value, address and values
    /// with their length before them.
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// What the next recipient has so far.
    open: Open,
    beyond_ascii: bool,
    /// The NOTIFYs that recipients have, each once.
    notifies: Vec<Notify>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Open {
    bytes: Vec<u8>,
    names: Vec<u16>,
    /// A definition was refused: mail without it would say something else.
    spoiled: bool,
}

impl Merge {
    /// Number of recipients.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether some address or value is not ASCII.
    pub fn is_beyond_ascii(&self) -> bool {
        self.beyond_ascii
    }

    /// The NOTIFYs that recipients have.
    pub fn notifies(&self) -> &[Notify] {
        &self.notifies
    }

    /// Whether recipients have envelope senders of their own.
    pub fn has_senders(&self) -> bool {
        self.number(SENDER_FIELD).is_some()
    }

    /// The number of a variable, in any case of letters, if some recipient has it.
    pub fn number(&self, name: &str) -> Option<u16> {
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.numbers.get(&*name.to_ascii_lowercase()).copied();
        }
        self.numbers.get(name).copied()
    }

    /// Variables that recipients have and that nothing is done with.
    pub fn without_effect(&self) -> impl Iterator<Item = &'static str> {
        WITHOUT_EFFECT.into_iter().filter(|name| self.number(name).is_some())
    }

    /// Takes what an XDFN defines for the next recipient; tells of a variable among it that nothing is done with. `suffix`
    /// stands behind a domain of a single label.
    ///
    /// # Errors
    /// The first definition that cannot be; the next recipient is then not to be taken.
    pub fn define(
        &mut self,
        argument: &str,
        suffix: &str,
        smtputf8: bool,
    ) -> Result<Option<&'static str>, DefinitionError> {
        let defined = self.define_all(argument, suffix, smtputf8);
        self.open.spoiled |= defined.is_err();
        defined
    }

    fn define_all(
        &mut self,
        argument: &str,
        suffix: &str,
        smtputf8: bool,
    ) -> Result<Option<&'static str>, DefinitionError> {
        let mut rest = argument.trim_matches(BLANKS);
        if rest.is_empty() {
            return Err(DefinitionError::Syntax);
        }
        let mut value = String::new();
        let mut idle = None;
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=').ok_or(DefinitionError::Syntax)?;
            check_name(name)?;
            rest = take_value(name, after, &mut value)?.trim_start_matches(BLANKS);
            let name = name.to_ascii_lowercase();
            if name.starts_with('*') {
                read_reserved(&name, &mut value, suffix, smtputf8)?;
                idle = idle.or(WITHOUT_EFFECT.into_iter().find(|known| *known == name));
            }
            self.define_one(name, &value)?;
        }
        Ok(idle)
    }

    fn define_one(&mut self, name: String, value: &str) -> Result<(), DefinitionError> {
        let number = self.intern(&name)?;
        if self.open.names.contains(&number) {
            return Err(DefinitionError::Twice(name));
        }
        if self.open.bytes.len() + value.len() + 8 > MAX_DEFINITIONS {
            return Err(DefinitionError::Recipient);
        }
        self.open.names.push(number);
        self.open.bytes.extend_from_slice(&number.to_le_bytes());
        put_value(&mut self.open.bytes, value);
        self.beyond_ascii |= !value.is_ascii();
        Ok(())
    }

    fn intern(&mut self, name: &str) -> Result<u16, DefinitionError> {
        if let Some(known) = self.numbers.get(name) {
            return Ok(*known);
        }
        if self.names.len() == MAX_NAMES {
            return Err(DefinitionError::Names);
        }
        let number = self.names.len() as u16;
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        Ok(number)
    }

    /// Something is defined, or was to be, for a recipient that has not come yet.
    pub fn awaits_recipient(&self) -> bool {
        !self.open.bytes.is_empty() || self.open.spoiled
    }

    /// Whether a definition for the next recipient was refused.
    pub fn is_spoiled(&self) -> bool {
        self.open.spoiled
    }

    /// Takes a recipient with all that is defined for it.
    ///
    /// # Errors
    /// When there is no room.
    pub fn push(&mut self, address: &str, dsn: &RecipientDsn) -> Result<(), DefinitionError> {
        if dsn.is_given() {
            let [notify, orcpt] = ROW_FIELDS.map(str::to_owned);
            self.define_one(notify, &dsn.notify.to_string())?;
            self.define_one(orcpt, &dsn.orcpt)?;
        }
        if !self.notifies.contains(&dsn.notify) {
            self.notifies.push(dsn.notify);
        }
        if self.bytes.len() + address.len() + self.open.bytes.len() + 8 > MAX_ROWS {
            return Err(DefinitionError::Message);
        }
        put_value(&mut self.bytes, address);
        self.beyond_ascii |= !address.is_ascii();
        self.bytes.extend_from_slice(&self.open.bytes);
        self.ends.push(self.bytes.len() as u32);
        self.forget_open();
        Ok(())
    }

    /// Takes a recipient that is to bounce, with all that is defined for it.
    ///
    /// # Errors
    /// When there is no room.
    pub fn push_refused(&mut self, recipient: &RefusedRecipient) -> Result<(), DefinitionError> {
        self.define_one(REFUSED_FIELD.to_owned(), &recipient.reply)?;
        self.push(&recipient.address, &recipient.dsn)
    }

    /// Definitions are for one recipient, whether it was taken or not: the next must not get them (A32).
    pub fn forget_open(&mut self) {
        self.open.bytes.clear();
        self.open.names.clear();
        self.open.spoiled = false;
    }

    pub fn has_part(&self, number: u16) -> bool {
        self.parts.iter().any(|part| part.number == number)
    }

    /// The recipients in the order in which they came.
    pub fn rows(&self) -> impl Iterator<Item = MergeRow<'_>> {
        (0..self.len()).map(|index| self.row(index))
    }

    /// The recipient with this index, which has to be less than [`Merge::len`].
    pub fn row(&self, index: usize) -> MergeRow<'_> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        let bytes = &self.bytes[start..self.ends[index] as usize];
        let view = row_view(bytes).expect("a row is what was put into it");
        let head = crate::mail::row::value_size(view.address.len());
        MergeRow { address: view.address, bytes: &bytes[head..] }
    }
}

/// One recipient and its variables.
#[derive(Clone, Copy, Debug)]
pub struct MergeRow<'a> {
    pub address: &'a str,
    bytes: &'a [u8],
}

impl<'a> MergeRow<'a> {
    /// Number and value of each variable, in the order in which they were defined.
    pub fn values(&self) -> impl Iterator<Item = (u16, &'a str)> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (number, after) = rest.split_first_chunk::<2>()?;
            let value = row_view(after).expect("a row is what was put into it").address;
            rest = &after[crate::mail::row::value_size(value.len())..];
            Some((u16::from_le_bytes(*number), value))
        })
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

fn check_name(name: &str) -> Result<(), DefinitionError> {
    let bare = name.strip_prefix('*').unwrap_or(name);
    let fits = bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if bare.starts_with(|c: char| c.is_ascii_alphabetic()) && fits && name.len() <= MAX_NAME {
        return Ok(());
    }
    Err(DefinitionError::Name(name.chars().take(40).collect()))
}

/// Reads the value of `name` at the beginning of `text` into `value`; gives what follows it.
fn take_value<'t>(name: &str, text: &'t str, value: &mut String) -> Result<&'t str, DefinitionError> {
    value.clear();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(BLANKS).unwrap_or(text.len());
        if text[..end].contains('"') {
            return Err(DefinitionError::Quote(name.to_owned()));
        }
        value.push_str(&text[..end]);
        return Ok(&text[end..]);
    };
    let mut rest = quoted;
    loop {
        let Some(at) = rest.find(['"', '\\']) else { return Err(DefinitionError::Open(name.to_owned())) };
        value.push_str(&rest[..at]);
        if rest.as_bytes()[at] == b'"' {
            rest = &rest[at + 1..];
            break;
        }
        let escaped = rest.as_bytes().get(at + 1);
        let after = |bytes| &rest[at + bytes..];
        rest = match escaped {
            Some(b'\\' | b'"') => {
                value.push_str(&rest[at + 1..at + 2]);
                after(2)
            }
            // On the wire a line ends in CR LF and in nothing else (A04).
            Some(b'n') => {
                value.push_str("\r\n");
                after(2)
            }
            Some(b'r') if after(2).starts_with("\\n") => {
                value.push_str("\r\n");
                after(4)
            }
            Some(b'r') => return Err(DefinitionError::BareCr(name.to_owned())),
            _ => return Err(DefinitionError::Escape(name.to_owned())),
        };
    }
    if rest.is_empty() || rest.starts_with(BLANKS) {
        return Ok(rest);
    }
    Err(DefinitionError::Behind(name.to_owned()))
}

/// Checks the value of a reserved variable and brings it into its one form.
fn read_reserved(
    name: &str,
    value: &mut String,
    suffix: &str,
    smtputf8: bool,
) -> Result<(), DefinitionError> {
    let printable = value.chars().all(|c| !c.is_control()) && (1..=MAX_ID).contains(&value.len());
    let one_word = printable && !value.contains(char::is_whitespace);
    match name {
        "*to" | "*date" => return Err(DefinitionError::ReadOnly(name.to_owned())),
        // Which moments these are is for the shell to say, who knows the time zone.
        "*schedule" => {
            Schedule::parse(value, &TimeZone::UTC).map_err(DefinitionError::Schedule)?;
        }
        "*from" => {
            *value = read_sender(value, suffix)?;
            if !value.is_ascii() && !smtputf8 {
                return Err(DefinitionError::FromUtf8);
            }
        }
        "*parts" => *value = read_parts(value).ok_or(DefinitionError::Parts)?,
        "*priority" if !value.parse::<u8>().is_ok_and(|n| (1..=100).contains(&n)) => {
            return Err(DefinitionError::Priority);
        }
        // An empty name asks for what an empty x-virtual-mta asks for.
        "*vmta" if value.is_empty() || one_word => {}
        "*jobid" if one_word => {}
        "*envid" | "*subaccountid" | "*custommessageid" if printable => {}
        "*vmta" | "*jobid" | "*envid" | "*subaccountid" | "*custommessageid" => {
            return Err(DefinitionError::Id(name.to_owned()));
        }
        "*priority" => {}
        _ => return Err(DefinitionError::Unknown(name.chars().take(40).collect())),
    }
    Ok(())
}

/// An address, with or without angle brackets; empty for the null sender.
fn read_sender(text: &str, suffix: &str) -> Result<String, DefinitionError> {
    let bare = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(text);
    if bare.is_empty() {
        return Ok(String::new());
    }
    let address = Address::parse(bare).map_err(DefinitionError::From)?;
    let qualified = address.as_ref().qualified(suffix).map_err(DefinitionError::From)?;
    Ok(qualified.unwrap_or(address).as_str().to_owned())
}

/// `1-3`, `1,3,2` and the like as a list of single numbers.
fn read_parts(text: &str) -> Option<String> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().filter(|n| (1..=MAX_PARTS).contains(n))
    };
    let mut list = String::new();
    let mut count = 0;
    for item in text.split(',') {
        let item = item.trim_matches(BLANKS);
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (number(first.trim_matches(BLANKS))?, number(last.trim_matches(BLANKS))?);
        if first > last {
            return None;
        }
        for part in first..=last {
            count += 1;
            if count > MAX_PARTS {
                return None;
            }
            let comma = if list.is_empty() { "" } else { "," };
            // Writing to a String cannot fail.
            let _ = write!(list, "{comma}{part}");
        }
    }
    Some(list)
}

/// What stands behind XPRT: `n` or `n LAST`.
pub fn part_argument(argument: &str) -> Option<(u16, bool)> {
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let number = words.next().filter(|n| n.len() <= 3 && n.bytes().all(|b| b.is_ascii_digit()))?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    let number = number.parse().ok().filter(|n| (1..=MAX_PARTS).contains(n))?;
    words.next().is_none().then_some((number, last))
}

#[cfg(test)]
#[path = "merge_test.rs"]
mod test;
