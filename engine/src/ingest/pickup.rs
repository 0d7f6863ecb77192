//! Pickup files: one message with its envelope, in the plain format (reference 5.2) or as batch SMTP (5.3). A file is
//! taken whole or not at all; what is wrong is told with line and field, for the `.reason` file beside it.

use super::pickup_text::address_of;
use super::{bsmtp, pickup_plain};
use crate::mail::suppression::{Suppressed, Suppression};
use crate::mail::{AddressError, Printable, check};
use crate::smtp::dsn::RecipientDsn;
use crate::smtp::merge::{DefinitionError, Merge};
use crate::smtp::refused::RefusedRecipient;

/// Recipients of one file at most. (PowerMTA means the format for about 5,000.)
pub const MAX_RECIPIENTS: usize = 50_000;
/// Octets in a line of a message, its end not counted (RFC 5322 section 2.1.1).
pub const MAX_LINE: usize = 998;
/// Bytes in a line of the envelope.
pub const MAX_ENVELOPE_LINE: usize = 4096;
/// Longest job name or envelope id, in bytes (RFC 3461 section 4.4 allows 100 characters to an ENVID).
pub const MAX_NAME: usize = 128;

/// What `<source {pickup}>` and the global directives say about pickup files.
#[derive(Clone, Copy, Debug)]
pub struct PickupOptions<'a> {
    /// Longest file, in bytes.
    pub max_bytes: usize,
    /// `pickup-remove-dot`: undoes dot-stuffing in plain files.
    pub remove_dot: bool,
    /// `process-x-virtual-mta`: otherwise the header is one like any other.
    pub process_virtual_mta: bool,
    /// `process-x-job` and `process-x-envid`, for batch SMTP; in plain files these headers are the envelope's always.
    pub process_job: bool,
    pub process_envid: bool,
    /// Stands behind domains of a single label; empty for none.
    pub domain_suffix: &'a str,
    /// Recipients that get no mail: `suppression-lists`.
    pub suppression: Option<&'a Suppression>,
    /// `accept-invalid-recipients`: what is no address or suppressed bounces, and the file is taken.
    pub accept_invalid: bool,
}

impl Default for PickupOptions<'_> {
    fn default() -> Self {
        let max_bytes = 25 * 1024 * 1024;
        PickupOptions {
            max_bytes,
            remove_dot: false,
            process_virtual_mta: true,
            process_job: true,
            process_envid: true,
            domain_suffix: "",
            suppression: None,
            accept_invalid: false,
        }
    }
}

/// A message as a pickup file submits it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PickupMessage {
    /// Empty for the null sender.
    pub sender: String,
    pub recipients: Vec<String>,
    /// Recipients that bounce to the sender: no addresses, or suppressed. Of a merged message they are among the others.
    pub refused: Vec<RefusedRecipient>,
    pub envid: String,
    pub job: String,
    pub virtual_mta: String,
    /// The return path is to name each recipient.
    pub verp: bool,
    /// `HDRS`, `FULL` or empty.
    pub dsn_ret: String,
    /// NOTIFY and ORCPT of each recipient; nothing where no recipient has any.
    pub dsn: Vec<RecipientDsn>,
    pub smtputf8: bool,
    /// CR LF lines, not dot-stuffed, envelope headers removed. The parts of a merged message as they came, one behind the
    /// other.
    pub message: Vec<u8>,
    /// Of a merged message: its recipients are here.
    pub merge: Option<Box<Merge>>,
}

/// Why a recipient gets no mail.
pub(super) enum NoMail {
    Address(AddressError),
    Suppressed { address: String, why: Suppressed },
}

impl PickupOptions<'_> {
    /// Checks a recipient, and puts `domain_suffix` behind a domain of a single label.
    pub(super) fn recipient(&self, given: &[u8]) -> Result<String, NoMail> {
        let address = address_of(given, self.domain_suffix).map_err(NoMail::Address)?;
        let refuses = |lists: &Suppression| lists.refuses(check(address.as_bytes()).ok()?);
        match self.suppression.and_then(refuses) {
            Some(why) => Err(NoMail::Suppressed { address, why }),
            None => Ok(address),
        }
    }
}

impl NoMail {
    /// As the file is refused for it.
    pub(super) fn problem(self, field: &'static str, given: &str) -> PickupProblem {
        match self {
            NoMail::Address(AddressError::NotUtf8) => PickupProblem::NotUtf8 { field },
            NoMail::Address(error) => {
                PickupProblem::Address { field, value: given.chars().take(300).collect(), error }
            }
            NoMail::Suppressed { address, why } => PickupProblem::Suppressed { address, why },
        }
    }

    /// As it bounces.
    pub(super) fn bounce(self, given: &str, smtputf8: bool, dsn: RecipientDsn) -> RefusedRecipient {
        match self {
            NoMail::Address(why) => RefusedRecipient::malformed(given, &why, smtputf8, dsn),
            NoMail::Suppressed { address, why } => RefusedRecipient::suppressed(&address, &why, dsn),
        }
    }
}

/// Why a file goes to the bad directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {}", Printable(problem))]
pub struct PickupError {
    /// Counted from one.
    pub line: usize,
    pub problem: PickupProblem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickupProblem {
    #[error("the file is {bytes} bytes long; at most {max} are allowed")]
    TooLarge { bytes: usize, max: usize },
    #[error("the file is empty")]
    Empty,
    #[error(
        "a plain pickup file starts with `x-sender: user@domain`, a batch SMTP file with HELO, EHLO, MAIL, XMRG or XACK"
    )]
    Start,
    #[error("a carriage return stands alone; lines end with LF or CR LF")]
    BareCr,
    #[error("there is a NUL character; a message is text")]
    Nul,
    #[error("the line is {bytes} bytes long; at most {max} are allowed")]
    LongLine { bytes: usize, max: usize },
    #[error("`{field}` is not UTF-8")]
    NotUtf8 { field: &'static str },
    #[error("`{value}` is not an address for `{field}`: {error}; write user@domain{}", bracket_hint(value))]
    Address { field: &'static str, value: String, error: AddressError },
    #[error("{why}: <{address}>")]
    Suppressed { address: String, why: Suppressed },
    #[error("there is no recipient; name each by {field}")]
    NoRecipient { field: &'static str },
    #[error("more than {MAX_RECIPIENTS} recipients; split the list, or use a campaign")]
    ManyRecipients,
    #[error("`{field}` is there a second time")]
    Twice { field: &'static str },
    #[error("`{field}` has to be 1 to {MAX_NAME} characters of printable text")]
    Name { field: &'static str },
    #[error("`{field}` has to stand before the headers of the message")]
    Misplaced { field: &'static str },
    #[error("`{field}` stands on one line; this line continues it")]
    Folded { field: &'static str },
    #[error("this is neither a header (`Name: value`) nor the empty line that ends the headers")]
    NotAHeader,
    #[error("the message has no From header")]
    NoFrom,
    #[error("the message has a second {field} header; there may be one")]
    SecondHeader { field: &'static str },
    #[error("there is no message after the envelope")]
    NoMessage,
    #[error(
        "`{0}` is not a command of a batch SMTP file; HELO, EHLO, MAIL, RCPT, DATA, XACK, XMRG, XDFN and XPRT are"
    )]
    UnknownCommand(String),
    #[error("{command} comes out of order; {right}")]
    Order { command: &'static str, right: &'static str },
    #[error("this is not how {command} is written; {right}")]
    Syntax { command: &'static str, right: &'static str },
    #[error("{command} has no parameter `{parameter}`; it may have {right}")]
    Parameter { command: &'static str, parameter: String, right: &'static str },
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error("part {0} is there a second time")]
    PartTwice(u16),
    #[error("the file ends before the line with a single dot that ends the message")]
    NoDot,
    #[error("there is something after the end of the message; a file holds one message")]
    AfterEnd,
}

fn bracket_hint(value: &str) -> &'static str {
    if value.contains('<') { ", without a name and without angle brackets" } else { "" }
}

impl PickupError {
    /// The text of the `.reason` file beside the bad file: one line, then a line on what to do.
    pub fn reason(&self, file: &str) -> String {
        format!(
            "{file}: {self}\nNothing of this file was sent. Correct it and move it into the pickup directory again.\n"
        )
    }
}

pub(super) fn error<T>(line: usize, problem: PickupProblem) -> Result<T, PickupError> {
    Err(PickupError { line, problem })
}

/// Reads a pickup file of either format.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(file: &[u8], options: &PickupOptions<'_>) -> Result<PickupMessage, PickupError> {
    if file.len() > options.max_bytes {
        return error(1, PickupProblem::TooLarge { bytes: file.len(), max: options.max_bytes });
    }
    if file.trim_ascii().is_empty() {
        return error(1, PickupProblem::Empty);
    }
    let mut lines = Lines { rest: file, number: 0 };
    if bsmtp::starts(file) {
        bsmtp::parse(&mut lines, options)
    } else {
        pickup_plain::parse(&mut lines, options)
    }
}

/// The lines of a file, numbered from one, without their ends. LF ends a line, and so does CR LF (A03).
pub(super) struct Lines<'f> {
    rest: &'f [u8],
    /// Number of the line given last.
    pub(super) number: usize,
}

impl<'f> Lines<'f> {
    pub(super) fn next(&mut self) -> Result<Option<&'f [u8]>, PickupError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let (line, rest) = match memchr::memchr(b'\n', self.rest) {
            Some(at) => (&self.rest[..at], &self.rest[at + 1..]),
            None => (self.rest, &self.rest[self.rest.len()..]),
        };
        let ended = line.len() < self.rest.len();
        self.rest = rest;
        let line = if ended { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        match memchr::memchr2(b'\r', 0, line) {
            Some(at) if line[at] == 0 => error(self.number, PickupProblem::Nul),
            Some(_) => error(self.number, PickupProblem::BareCr),
            None => Ok(Some(line)),
        }
    }

    /// Bytes that have not been given yet.
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }
}

#[cfg(test)]
#[path = "pickup_test.rs"]
mod test;
