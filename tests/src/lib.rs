//! What the end-to-end tests share: the accounts that must agree afterwards, kills, traces, other servers.

pub mod accounting;
pub mod cargo;
pub mod crash;
pub mod dns;
#[cfg(feature = "failpoints")]
pub mod failpoints;
pub mod fuzz;
pub mod peer;
pub mod sim;
pub mod strace;
pub mod submission;
pub mod trace;
pub mod trace_names;
