//! Why a row was refused: the reason column of `NAME.rejected.csv`. A row that is refused costs only itself.

use crate::mail::AddressError;

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
    #[error("field `{field}` is not UTF-8 at byte {at}")]
    Utf8 { field: String, at: usize },
    #[error("`{field}` is not an e-mail address: {error}")]
    Address { field: String, error: AddressError },
    #[error("field `{field}` is {bytes} bytes long; at most {max} are allowed")]
    TooLong { field: String, bytes: usize, max: usize },
    #[error("the values are {bytes} bytes long in all; at most {max} are allowed")]
    RowTooLong { bytes: usize, max: usize },
    #[error(
        "field `{field}` holds a line break and is used in a header, where it could start another header"
    )]
    LineBreak { field: String },
    #[error("field `{field}` holds a NUL character, which no message may carry")]
    Nul { field: String },
    #[error("is not one JSON object: {reason}")]
    Json { reason: String },
    #[error("is not UTF-8 at byte {at}")]
    JsonUtf8 { at: usize },
    #[error("has no field `{field}`")]
    Missing { field: String },
    #[error("has the field `{field}` twice")]
    Repeated { field: String },
    #[error("field `{field}` is an array or object; a string, number, boolean or null is needed")]
    Nested { field: String },
}

fn quote_hint(lines: u64) -> String {
    match lines {
        0 | 1 => String::new(),
        lines => format!(" (a quote in it opens a value that runs over {lines} lines)"),
    }
}
