//! Sockets, the reactor, storage back ends, the resolver and clocks: what carries out the decisions of the core.

pub mod clock;
pub mod disk;
pub mod disk_blocking;
pub mod disk_uring;
pub mod failpoint;
mod failpoint_wire;
pub mod reactor;
pub mod resolver;
pub mod smtp_listener;
pub mod socket;
pub mod storage;
mod storage_commit;
mod storage_counters;
pub mod storage_files;
mod storage_inbox;
mod storage_prepare;
mod storage_read;
mod storage_recovered;
