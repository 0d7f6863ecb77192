//! The spool: one append-only log of records in recycled segments (see `FORMAT.md` beside this file).

pub mod record;
