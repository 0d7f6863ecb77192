//! The hot parts of the engine, each ready to be run again and again: timed by the benches beside this directory, counted
//! in instructions by `instructions.rs`.

#![allow(dead_code, reason = "each bench is a program of its own and runs some of them")]

pub mod acct;
pub mod mail;
pub mod queue;
pub mod smtp;
pub mod spool;
