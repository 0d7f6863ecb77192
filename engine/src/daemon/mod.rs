//! The daemon: boot, threads, and everything at the edge of the engine.

pub mod accounting;
pub mod accounting_config;
mod accounting_cursor;
pub mod accounting_file;
pub mod accounting_log;
pub mod accounting_spool;
pub mod accounting_stream;
pub mod answer;
pub mod campaign_directory;
pub mod control;
pub mod control_socket;
pub mod directory;
pub mod engine;
pub mod import;
mod import_run;
pub mod intake;
mod meter;
pub mod owners;
pub mod pickup;
pub mod profiles;
pub mod recovery;
pub mod reload;
pub mod submission;
pub mod verp_keys;
