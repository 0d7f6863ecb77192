//! The spool: one append-only log of records in recycled segments (see `FORMAT.md` beside this file).

pub mod block;
pub mod codec;
pub mod error;
pub mod forward;
pub mod frame;
pub mod header;
pub mod ledger;
pub mod log;
pub mod map;
pub mod reader;
pub mod record;
pub mod recover;
pub mod rows;
pub mod scan;
pub mod segments;

pub use error::SpoolError;
