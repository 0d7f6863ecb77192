//! The import of a campaign's recipients: rows are checked, duplicates dropped, the rest encoded into chunks. One pass,
//! memory for the addresses seen and nothing else; the same file gives the same rows every time, so that an import that
//! was interrupted reads the file again and leaves out what is stored.

use super::batch::{Batch, RawRow};
use super::chunk::{Chunk, Chunks, MembersError};
use super::dedup::Dedup;
use super::domains::Domains;
use super::fault::Fault;
use super::plan::{Column, Plan};
use super::progress::{Counts, Progress};
use crate::mail::row::put_value;
use crate::mail::suppression::Suppression;
use crate::mail::{Address, address};

/// Longest value, in bytes.
pub const MAX_VALUE: usize = 64 * 1024;
/// Longest row in its stored form, in bytes.
pub const MAX_STORED_ROW: usize = 256 * 1024;

/// What to do with a row whose address came before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicates {
    #[default]
    Drop,
    Keep,
}

/// How to import.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// VMTAs that the rows rotate over; one for a campaign that names no pool.
    pub vmtas: &'a [String],
    pub duplicates: Duplicates,
    /// Stands behind domains of a single label; empty for none.
    pub domain_suffix: &'a str,
    /// Random, and private to this run.
    pub key: [u8; 16],
    /// What an interrupted import had stored last.
    pub resume: Option<Progress>,
}

/// An import that cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error(
        "the recipients file, or the lists of recipients that get no mail, are not those that the import began with: after {} stored recipients the counts were \
         {:?} and are {now:?}",
        .then.next_row, .then.counts
    )]
    Changed { then: Progress, now: Counts },
    #[error("the recipients file has no recipients: {} rows read, {} of them rejected", .0.read, .0.rejected)]
    NoRecipients(Counts),
    #[error(transparent)]
    Members(#[from] MembersError),
}

/// A row that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its index in the batch.
    pub index: usize,
    pub line: u64,
    pub fault: Fault,
}

/// What came of a batch. Emptied and used again by the caller.
#[derive(Debug, Default)]
pub struct Taken {
    pub chunks: Vec<Chunk>,
    pub rejected: Vec<Rejected>,
}

/// A running import.
pub struct Import {
    plan: Plan,
    domain_suffix: String,
    suppression: Option<Suppression>,
    seen: Option<Dedup>,
    chunks: Chunks,
    counts: Counts,
    /// The state after the last accepted row. (Rows refused since then are not in it: on resuming, it is compared
    /// at the moment when that row is accepted again.)
    stored: Progress,
    resume: Option<Progress>,
    /// Row being encoded.
    row: Vec<u8>,
    domain: String,
}

enum Fate {
    Accepted,
    Duplicate,
}

impl Import {
    /// # Errors
    /// When there are no VMTAs or too many.
    pub fn new(plan: Plan, settings: &Settings<'_>) -> Result<Import, ImportError> {
        let seen = (settings.duplicates == Duplicates::Drop).then(|| Dedup::new(&settings.key));
        let resume = settings.resume.filter(|progress| progress.next_row > 0);
        let first_row = resume.map_or(0, |progress| progress.next_row);
        let chunks = Chunks::new(settings.vmtas, Domains::new(&settings.key), first_row)?;
        let counts = Counts::default();
        let (stored, row, domain) = (Progress::default(), Vec::new(), String::new());
        let domain_suffix = settings.domain_suffix.to_owned();
        let suppression = None;
        Ok(Import { plan, domain_suffix, suppression, seen, chunks, counts, stored, resume, row, domain })
    }

    /// Leaves out recipients that get no mail.
    pub fn suppressing(self, suppression: Option<Suppression>) -> Import {
        Import { suppression, ..self }
    }

    /// Imports the rows of a batch; full chunks and refused rows are appended to `taken`.
    ///
    /// Allocates for each chunk, for domains and addresses seen for the first time, and for refused rows.
    ///
    /// # Errors
    /// When an import goes on with another file than it began with.
    pub fn take(&mut self, batch: &Batch, taken: &mut Taken) -> Result<(), ImportError> {
        for (index, row) in batch.rows().enumerate() {
            self.counts.read += 1;
            match self.encode(&row) {
                Ok(Fate::Accepted) => self.accept(taken)?,
                Ok(Fate::Duplicate) => self.counts.duplicates += 1,
                Err(fault) => {
                    self.counts.rejected += 1;
                    taken.rejected.push(Rejected { index, line: row.line, fault });
                }
            }
        }
        Ok(())
    }

    /// Ends the import; the last chunk is appended to `taken`. There is none only when an import goes on of which all rows
    /// were stored already.
    ///
    /// # Errors
    /// When no row was accepted, or when the file is shorter than the one that the import began with.
    pub fn finish(&mut self, taken: &mut Taken) -> Result<Counts, ImportError> {
        if let Some(then) = self.resume {
            return Err(ImportError::Changed { then, now: self.counts });
        }
        if self.counts.accepted == 0 {
            return Err(ImportError::NoRecipients(self.counts));
        }
        taken.chunks.extend(self.chunks.take(self.stored));
        Ok(self.counts)
    }

    /// What happened so far, rows left out on resuming included.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The domains seen so far.
    pub fn domains(&self) -> &Domains {
        self.chunks.domains()
    }

    /// Bytes of memory that the addresses seen take.
    pub fn memory(&self) -> usize {
        self.seen.as_ref().map_or(0, Dedup::memory)
    }

    /// Gives the encoded row its VMTA and appends it, or leaves it out when it is stored already.
    fn accept(&mut self, taken: &mut Taken) -> Result<(), ImportError> {
        let (domain, vmta) = self.chunks.assign(&self.domain);
        self.counts.accepted += 1;
        let before = self.stored;
        self.stored = Progress { next_row: self.counts.accepted, counts: self.counts };
        if let Some(then) = self.resume {
            if self.counts.accepted == then.next_row {
                if self.counts != then.counts {
                    return Err(ImportError::Changed { then, now: self.counts });
                }
                self.resume = None;
            }
            return Ok(());
        }
        if self.chunks.is_full_for(&self.row) {
            taken.chunks.extend(self.chunks.take(before));
        }
        self.chunks.push(&self.row, domain, vmta);
        Ok(())
    }

    /// Checks a row and leaves its stored form in `self.row` and its domain in `self.domain`. The address counts as seen
    /// only when all else is right.
    fn encode(&mut self, row: &RawRow<'_>) -> Result<Fate, Fault> {
        if let Some(fault) = row.fault {
            return Err(fault.clone());
        }
        let email = &self.plan.email;
        let refused = |error| Fault::Address { field: email.name.clone(), error };
        let address = address::check(cell(row, email)?.trim_ascii()).map_err(refused)?;
        let qualified = address.qualified(&self.domain_suffix).map_err(refused)?;
        let address = qualified.as_ref().map_or(address, Address::as_ref);
        if let Some(suppressed) = self.suppression.as_ref().and_then(|lists| lists.refuses(address)) {
            return Err(Fault::Suppressed(suppressed));
        }
        self.row.clear();
        put_value(&mut self.row, address.as_str());
        for field in &self.plan.fields {
            put_value(&mut self.row, value(row, field)?);
        }
        if self.row.len() > MAX_STORED_ROW {
            return Err(Fault::RowTooLong { bytes: self.row.len(), max: MAX_STORED_ROW });
        }
        let domain = address.domain();
        if domain.is_ascii() && !domain.starts_with('[') {
            self.domain.clear();
            self.domain.push_str(domain);
            self.domain.make_ascii_lowercase();
        } else {
            address::normalise_domain(domain, &mut self.domain).map_err(refused)?;
        }
        let new = self.seen.as_mut().is_none_or(|seen| seen.insert(address.local(), &self.domain));
        Ok(if new { Fate::Accepted } else { Fate::Duplicate })
    }
}

fn cell<'a>(row: &RawRow<'a>, column: &Column) -> Result<&'a [u8], Fault> {
    row.cell(column.at).ok_or_else(|| Fault::Missing { field: column.name.clone() })
}

fn value<'a>(row: &RawRow<'a>, column: &Column) -> Result<&'a str, Fault> {
    let bytes = cell(row, column)?;
    if bytes.len() > MAX_VALUE {
        return Err(Fault::TooLong { field: column.name.clone(), bytes: bytes.len(), max: MAX_VALUE });
    }
    for at in memchr::memchr3_iter(0, b'\r', b'\n', bytes) {
        if bytes[at] == 0 {
            return Err(Fault::Nul { field: column.name.clone() });
        }
        if column.in_header {
            return Err(Fault::LineBreak { field: column.name.clone() });
        }
    }
    std::str::from_utf8(bytes)
        .map_err(|error| Fault::Utf8 { field: column.name.clone(), at: error.valid_up_to() })
}

#[cfg(test)]
#[path = "import_test.rs"]
mod test;
