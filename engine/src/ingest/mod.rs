//! Intake: what a front door hands over becomes groups of records. Campaigns, pickup files and finished messages
//! are read from bytes here; opening, renaming and watching files is the shell's.

pub mod batch;
pub mod compressed;
pub mod csv_rows;
pub mod dedup;
pub mod fault;
pub mod jsonl_rows;
pub mod table;
