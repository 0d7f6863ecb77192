//! What the storage thread needs of a disk. Two implementations: `disk_blocking` and `disk_uring`.

use crate::spool::block::Blocks;
use std::io;
use std::sync::Arc;

/// Writes and syncs segment files. Used from the storage thread only.
pub(crate) trait Disk {
    type File;

    /// Takes over a file opened for writing.
    fn adopt(&self, file: std::fs::File) -> Self::File;

    /// Writes all of `blocks` at byte `at`; both are multiples of the block size.
    async fn write(&self, file: &Self::File, at: u64, blocks: &Arc<Blocks>) -> io::Result<()>;

    /// Makes everything written durable (`fdatasync`).
    async fn sync(&self, file: &Self::File) -> io::Result<()>;
}
