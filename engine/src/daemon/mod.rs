//! The daemon: boot, threads, and everything at the edge of the engine.

pub mod accounting;
mod accounting_cursor;
pub mod accounting_file;
pub mod accounting_log;
mod accounting_stream;
pub mod control;
pub mod control_socket;
pub mod directory;
pub mod owners;
pub mod profiles;
