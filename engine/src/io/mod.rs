//! The shell's side of input and output: everything that touches sockets, files and the resolver.

pub mod disk;
pub mod disk_blocking;
pub mod disk_uring;
pub mod storage;
mod storage_commit;
mod storage_counters;
pub mod storage_files;
mod storage_inbox;
mod storage_prepare;
mod storage_read;
mod storage_recovered;
