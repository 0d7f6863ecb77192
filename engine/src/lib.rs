//! Posthaste: an open bulk mailing engine.
//!
//! The modules below are listed bottom-up; **a module may use only modules above it in this list** (a test
//! checks it). Everything above the blank line is the core: it decides, and names no socket, file, thread, clock or
//! global (the mapped spool excepted); time is an argument. `io`, `daemon` and `cli` are the shell that does.

pub mod base;
pub mod mail;
pub mod smtp;
pub mod spool;
pub mod acct;
pub mod limit;
pub mod queue;
pub mod route;
pub mod report;
pub mod ingest;
pub mod shard;
pub mod forecast;

pub mod io;
pub mod daemon;
pub mod cli;
