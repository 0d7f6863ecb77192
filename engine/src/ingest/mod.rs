//! Intake: what a front door hands over becomes groups of records. Campaigns, pickup files and finished messages
//! are read from bytes here; opening, renaming and watching files is the shell's.

pub mod batch;
pub mod chunk;
pub mod compressed;
pub mod csv_rows;
pub mod dedup;
pub mod domains;
pub mod fault;
pub mod import;
pub mod jsonl_rows;
pub mod plan;
pub mod progress;
pub mod table;
