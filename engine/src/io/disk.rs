//! What the storage thread needs of a disk, so that tests can put a failing one in its place.
//!
//! Plain calls, on every back end: a commit waits for its sync whatever makes it, and io_uring hands each sync and
//! each write it cannot do at once to a kernel thread, which costs more than the call. What io_uring is good for is
//! reading (`storage_read`).

use crate::spool::block::Blocks;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Writes and syncs segment files. Used from the storage thread only.
pub trait Disk {
    /// A segment file, opened for writing by whoever prepared it.
    type File;

    /// Writes all of `blocks` at byte `at`; both are multiples of the block size.
    fn write(&self, file: &Self::File, at: u64, blocks: &Blocks) -> io::Result<()>;

    /// Makes everything written durable (`fdatasync`).
    fn sync(&self, file: &Self::File) -> io::Result<()>;
}

/// The disk itself.
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    type File = File;

    fn write(&self, file: &File, at: u64, blocks: &Blocks) -> io::Result<()> {
        file.write_all_at(blocks.as_slice(), at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}
