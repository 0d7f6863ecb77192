//! The storage back end on io_uring, for the storage thread alone: tokio-uring submits only when its thread
//! parks, so it shares a thread with nothing that stays busy.

use super::disk::Disk;
use crate::spool::block::Blocks;
use std::fs;
use std::io;
use std::sync::Arc;
use tokio_uring::buf::IoBuf;
use tokio_uring::fs::File;

/// A runtime on io_uring, or why the kernel refuses it (containers forbid io_uring by default).
/// `tokio_uring::start` would panic instead.
pub(crate) fn runtime() -> io::Result<tokio_uring::Runtime> {
    tokio_uring::Runtime::new(&tokio_uring::builder())
}

pub(crate) struct UringDisk;

impl Disk for UringDisk {
    type Opened = std::fs::File;
    type File = File;

    fn adopt(&self, file: fs::File) -> File {
        File::from_std(file)
    }

    async fn write(&self, file: &File, at: u64, blocks: &Arc<Blocks>) -> io::Result<()> {
        file.write_all_at(Owned(Arc::clone(blocks)), at).await.0
    }

    async fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data().await
    }
}

/// Shared ownership of the blocks, so that the ring's buffer outlives the operation.
struct Owned(Arc<Blocks>);

// SAFETY: the pointer is into the heap buffer of the `Blocks`, which does not move when this value does, and which
// nobody can change or free while the `Arc` here exists: `Arc<Blocks>` gives out shared references only, and
// `Blocks` has no interior mutability. All `len` bytes are initialised. The ring only reads from it.
#[allow(unsafe_code)]
unsafe impl IoBuf for Owned {
    fn stable_ptr(&self) -> *const u8 {
        self.0.as_slice().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.len()
    }

    fn bytes_total(&self) -> usize {
        self.0.len()
    }
}
