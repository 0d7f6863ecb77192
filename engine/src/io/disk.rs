//! What the storage thread needs of a disk. Two implementations: `disk_blocking` and `disk_uring`; tests bring theirs.

use crate::spool::block::Blocks;
use std::io;
use std::sync::Arc;

/// Writes and syncs segment files. Used from the storage thread only.
#[allow(async_fn_in_trait)] // One thread drives it; nobody needs its futures to be `Send`.
pub trait Disk {
    /// A segment file as whoever prepared it opened it for writing.
    type Opened;
    type File;

    fn adopt(&self, file: Self::Opened) -> Self::File;

    /// Writes all of `blocks` at byte `at`; both are multiples of the block size.
    async fn write(&self, file: &Self::File, at: u64, blocks: &Arc<Blocks>) -> io::Result<()>;

    /// Makes everything written durable (`fdatasync`).
    async fn sync(&self, file: &Self::File) -> io::Result<()>;
}
