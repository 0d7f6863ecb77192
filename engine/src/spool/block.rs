//! A growing buffer whose first byte lies on a block boundary, as O_DIRECT wants it, without `unsafe`.

use super::header::BLOCK;

/// Bytes of one write. Allocates once per commit; moves its bytes only when it outgrows its first estimate.
#[derive(Debug, Default)]
pub struct Blocks {
    /// `skip` bytes of slack, then the contents.
    raw: Vec<u8>,
    skip: usize,
}

impl Blocks {
    /// An empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Blocks {
        let mut raw: Vec<u8> = Vec::with_capacity(capacity + BLOCK);
        let skip = misfit(raw.as_ptr());
        raw.resize(skip, 0);
        Blocks { raw, skip }
    }

    pub fn len(&self) -> usize {
        self.raw.len() - self.skip
    }

    /// Bytes of RAM that it takes.
    pub fn footprint(&self) -> usize {
        self.raw.capacity()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.raw[self.skip..]
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
    }

    /// Zeros up to a multiple of `unit`.
    pub fn pad(&mut self, unit: usize) {
        let len = self.len().next_multiple_of(unit);
        self.raw.resize(self.skip + len, 0);
    }

    /// Shortens the contents to `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.raw.truncate(self.skip + len);
    }

    /// Overwrites bytes that are already there.
    pub fn patch(&mut self, at: usize, bytes: &[u8]) {
        let at = self.skip + at;
        self.raw[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Pads to whole blocks and restores the alignment if growing has lost it.
    pub fn finish(mut self) -> Blocks {
        self.pad(BLOCK);
        if misfit(self.as_slice().as_ptr()) == 0 {
            return self;
        }
        let mut aligned = Blocks::with_capacity(self.len());
        aligned.push(self.as_slice());
        aligned
    }
}

/// Bytes from `at` to the next block boundary.
fn misfit(at: *const u8) -> usize {
    at.addr().wrapping_neg() % BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_stay_aligned_and_whole_however_they_grow() {
        let mut blocks = Blocks::with_capacity(10);
        for n in 0..3000u32 {
            blocks.push(&n.to_le_bytes());
        }
        blocks.patch(4, &[9, 9]);
        let done = blocks.finish();
        assert_eq!(done.as_slice().as_ptr().addr() % BLOCK, 0);
        assert_eq!(done.len(), 12288);
        assert_eq!(done.as_slice()[..10], [0, 0, 0, 0, 9, 9, 0, 0, 2, 0]);
        assert_eq!(done.as_slice()[11996..12002], [0xb7, 0x0b, 0, 0, 0, 0]);
    }
}
