//! Sockets, the reactor, storage back ends, the resolver and clocks: what carries out the decisions of the core.

pub mod clock;
pub mod commits;
pub mod config_files;
pub mod disk;
pub mod failpoint;
mod failpoint_wire;
pub mod http_listener;
pub mod outbox;
pub mod panics;
pub mod reactor;
pub mod resolver;
pub mod smtp_listener;
mod smtp_opening;
pub mod smtp_places;
mod smtp_session;
pub mod socket;
pub mod storage;
pub mod storage_commit;
pub mod storage_counters;
pub mod storage_files;
pub mod storage_inbox;
pub mod storage_prepare;
pub mod storage_read;
pub mod storage_recovered;
