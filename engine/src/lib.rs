//! Posthaste: an open bulk mailing engine.
//!
//! The modules below are listed bottom-up; **a module may use only modules above it in this list** (a test
//! checks it). Everything above `io` is the core: it decides, and names no socket, file, thread, clock or
//! global (the mapped spool excepted); time is an argument. `io`, `daemon` and `cli` are the shell that does.

pub mod acct;
pub mod base;
pub mod ingest;
pub mod limit;
pub mod mail;
pub mod queue;
pub mod route;
pub mod shard;
pub mod smtp;
pub mod spool;

pub mod cli;
pub mod daemon;
pub mod io;
