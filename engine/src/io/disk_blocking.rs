//! The storage back end that works everywhere: `pwrite` and `fdatasync` on the storage thread.

use super::disk::Disk;
use crate::spool::block::Blocks;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

pub(crate) struct BlockingDisk;

impl Disk for BlockingDisk {
    type Opened = std::fs::File;
    type File = File;

    fn adopt(&self, file: File) -> File {
        file
    }

    async fn write(&self, file: &File, at: u64, blocks: &Arc<Blocks>) -> io::Result<()> {
        file.write_all_at(blocks.as_slice(), at)
    }

    async fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}
