//! Read-only mappings of segment files: the one place of the spool that needs `unsafe`.

use super::frame::FRAME;
use memmap2::{Advice, Mmap};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Of the page sizes of the processors there are.
const LARGEST_PAGE: usize = 64 << 10;

/// A mapped segment file, and which of its records have been verified since it was mapped.
#[derive(Debug)]
pub struct Mapping {
    map: Mmap,
    /// One bit for every [`FRAME`] bytes: no two frames begin in the same ones.
    verified: Vec<AtomicU64>,
}

impl Mapping {
    /// Maps the whole of `file` read-only. `growing`: the log is still being written to it.
    #[allow(unsafe_code)]
    pub fn new(file: &File, growing: bool) -> io::Result<Mapping> {
        // SAFETY: the mapping must not change under a reader. The file lies in a directory that only this user can
        // enter (checked at start) and that this process has locked, so nobody else writes it. This process
        // writes each block once, and readers are given locations only in blocks whose write has been synced
        // (`Segments::record` refuses others). Files are never truncated, and a segment is recycled only after
        // the last `Arc<Mapping>` of it is gone (`Segments::released`). A media error under the mapping, or
        // a stranger's truncation, is a SIGBUS that ends the process, not undefined behaviour.
        let map = unsafe { Mmap::map(file)? };
        // Reading ahead into blocks that are still to be written with O_DIRECT would put stale pages in the way
        // of that write; the kernel reports a failure to drop them as an error of the next sync.
        map.advise(if growing { Advice::Random } else { Advice::Normal })?;
        let words = map.len().div_ceil(FRAME).div_ceil(64);
        let mut verified = Vec::new();
        verified.resize_with(words, AtomicU64::default);
        Ok(Mapping { map, verified })
    }

    /// The segment is complete: reading ahead helps from now on.
    pub fn sealed(&self) {
        // Advice only: a kernel that refuses it costs speed.
        let _ = self.map.advise(Advice::Normal);
    }

    /// Has the kernel read these bytes ahead, less what lies in a page with bytes behind them. All must be synced.
    pub fn fetch(&self, from: usize, to: usize) {
        let to = to.min(self.map.len()) / LARGEST_PAGE * LARGEST_PAGE;
        if from < to {
            // Advice only, as above.
            let _ = self.map.advise_range(Advice::WillNeed, from, to - from);
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    pub fn is_verified(&self, at: usize) -> bool {
        let bit = at / FRAME;
        self.verified.get(bit / 64).is_some_and(|word| word.load(Ordering::Acquire) & (1 << (bit % 64)) != 0)
    }

    pub fn set_verified(&self, at: usize) {
        let bit = at / FRAME;
        if let Some(word) = self.verified.get(bit / 64) {
            word.fetch_or(1 << (bit % 64), Ordering::Release);
        }
    }
}
