//! Why a row was refused: the reason column of `NAME.rejected.csv`. A row that is refused costs only itself.

use crate::mail::suppression::Suppressed;
use crate::mail::{AddressError, Printable};

/// What is wrong with one row. Field names are those of the header row, or of the first JSON object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("has {have} columns where the header row has {want}{}", quote_hint(*.lines))]
    Columns {
        have: usize,
        want: usize,
        /// Lines the row runs over, counted from one.
        lines: u64,
    },
    #[error("field `{}` is not UTF-8 at byte {at}", Printable(field))]
    Utf8 { field: String, at: usize },
    #[error("`{}` is not an e-mail address: {error}", Printable(field))]
    Address { field: String, error: AddressError },
    #[error("field `{}` is {bytes} bytes long; at most {max} are allowed", Printable(field))]
    TooLong { field: String, bytes: usize, max: usize },
    #[error("the values are {bytes} bytes long in all; at most {max} are allowed")]
    RowTooLong { bytes: usize, max: usize },
    #[error(
        "field `{}` holds a line break and is used in a header, where it could start another header",
        Printable(field)
    )]
    LineBreak { field: String },
    #[error("field `{}` holds a NUL character, which no message may carry", Printable(field))]
    Nul { field: String },
    #[error("is not one JSON object: {reason}")]
    Json { reason: String },
    #[error("is not UTF-8 at byte {at}")]
    JsonUtf8 { at: usize },
    #[error("has no field `{}`", Printable(field))]
    Missing { field: String },
    #[error("has the field `{}` twice", Printable(field))]
    Repeated { field: String },
    #[error(
        "field `{}` is an array or object; a string, number, boolean or null is needed",
        Printable(field)
    )]
    Nested { field: String },
    #[error("{}", Printable(&.0.to_string()))]
    Suppressed(Suppressed),
    /// Of a recipient in a JSON request.
    #[error("{}", Printable(.0))]
    Recipient(String),
}

fn quote_hint(lines: u64) -> String {
    match lines {
        0 | 1 => String::new(),
        lines => format!(" (a quote in it opens a value that runs over {lines} lines)"),
    }
}
