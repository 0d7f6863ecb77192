//! What can go wrong with the spool, in words an operator can act on.

use super::record::Location;
use std::path::PathBuf;
use thiserror::Error;

/// Process exit status after the log has failed (R2): EX_IOERR of `sysexits.h`. A restart recovers.
pub const EXIT_LOG_FAILED: u8 = 74;

/// `Clone` because one failed commit is told to everyone who waited for it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SpoolError {
    /// Retryable: intake stops while the space that is left is reserved for outcomes (R7, F09).
    #[error(
        "spool is low on space ({free_segments} free segments); submissions are refused until space returns"
    )]
    Full { free_segments: u32 },
    /// The commit took too long; the group will not be delivered (R10).
    #[error("the commit did not finish within {seconds} s; the submission was aborted")]
    Deadline { seconds: u64 },
    /// A write or sync has failed. Nothing is retried; recovery has to re-read the device (R2).
    #[error("the spool has failed and must be recovered by a restart: {why}")]
    Failed { why: String },
    #[error("the spool is being stopped")]
    Stopped,
    #[error("a group of {size} bytes does not fit into a segment; at most {limit} bytes are possible")]
    TooBig { size: u64, limit: u64 },
    #[error("draft {index} of the group is not valid: {why}")]
    Draft { index: usize, why: &'static str },
    #[error("no record at {at}: {why}")]
    NotFound { at: Location, why: &'static str },
    #[error("record at {at} is damaged: {why}")]
    Damaged { at: Location, why: String },
    #[error("{path}: {operation} failed: {why}")]
    Io { path: PathBuf, operation: &'static str, why: String },
    #[error("{path}: already in use by process {pid}; stop that process first")]
    Locked { path: PathBuf, pid: String },
    #[error("{path}: {why}; correct or remove it, then start again")]
    Foreign { path: PathBuf, why: String },
    /// Only where a damaged spool is not to be started with (F18).
    #[error(
        "{path}: {why}; the log and `posthaste-spool verify` name all of it; without --strict the engine starts with the rest"
    )]
    Unsound { path: PathBuf, why: String },
    #[error("{path}: written in spool format {found}, this program reads format {known}")]
    Version { path: PathBuf, found: u32, known: u32 },
}

impl SpoolError {
    /// Whether the same submission may succeed later without a restart.
    pub fn is_transient(&self) -> bool {
        matches!(self, SpoolError::Full { .. } | SpoolError::Deadline { .. })
    }

    /// An operating-system error on `path`.
    pub fn io(
        path: impl Into<PathBuf>,
        operation: &'static str,
        error: impl std::fmt::Display,
    ) -> SpoolError {
        SpoolError::Io { path: path.into(), operation, why: error.to_string() }
    }
}
