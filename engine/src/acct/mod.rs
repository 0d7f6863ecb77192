//! Accounting: what a line of the accounting file says, and how it is written (reference section 4).
//!
//! Pure: outcomes and submissions in, CSV bytes out. Reading the log and keeping the files is
//! `daemon::accounting`.

pub mod category;
pub mod csv;
pub mod field;
pub mod layout;
mod patterns;
pub mod record;
pub mod stamp;

pub use category::{Categories, Category, PatternError};
pub use field::{Field, RecordType, Types};
pub use layout::{Layout, LayoutError};
pub use record::Record;
pub use stamp::Stamp;
