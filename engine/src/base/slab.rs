//! A slab of small `Copy` values under `u32` keys, for the one slot that every waiting recipient costs.
//!
//! A growing `Vec` would, for a moment, hold the old and the new copy of ten million slots; chunks never move. A
//! chunk whose last value is removed gives its memory back, so that a queue that has drained costs nothing.

use std::ops::{Index, IndexMut};

/// Values per chunk.
const CHUNK: usize = 4096;
const WORDS: usize = CHUNK / 64;

/// A key that no slab hands out; ends an intrusive list.
pub const NONE: u32 = u32::MAX;

struct Chunk<T> {
    /// Grows to [`CHUNK`] as keys are first used, and only then.
    cells: Vec<T>,
    /// One bit per cell in use.
    used: [u64; WORDS],
    live: u16,
    /// No word before this one has a free bit.
    first_free: u16,
}

impl<T: Copy> Chunk<T> {
    fn new() -> Box<Chunk<T>> {
        Box::new(Chunk { cells: Vec::with_capacity(CHUNK), used: [0; WORDS], live: 0, first_free: 0 })
    }

    /// Puts `value` in the lowest free cell. The lowest, because `cells` has only been filled that far.
    fn insert(&mut self, value: T) -> usize {
        let mut word = usize::from(self.first_free);
        while self.used[word] == u64::MAX {
            word += 1;
        }
        let bit = self.used[word].trailing_ones() as usize;
        self.used[word] |= 1 << bit;
        self.first_free = word as u16;
        self.live += 1;
        let cell = word * 64 + bit;
        match self.cells.get_mut(cell) {
            Some(old) => *old = value,
            None => self.cells.push(value),
        }
        cell
    }

    fn is_used(&self, cell: usize) -> bool {
        self.used[cell / 64] & (1 << (cell % 64)) != 0
    }
}

/// Values under `u32` keys, in chunks of 4096. Keys are reused after `remove`.
pub struct ChunkedSlab<T> {
    chunks: Vec<Option<Box<Chunk<T>>>>,
    /// Chunks with room, those without memory included. The last one is filled first.
    open: Vec<u32>,
    len: usize,
}

impl<T> Default for ChunkedSlab<T> {
    fn default() -> Self {
        ChunkedSlab { chunks: Vec::new(), open: Vec::new(), len: 0 }
    }
}

impl<T: Copy> ChunkedSlab<T> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores `value` and returns its key. Allocates once in 4096 calls.
    ///
    /// # Panics
    /// With more than 2^32 - 4096 values.
    pub fn insert(&mut self, value: T) -> u32 {
        let number = match self.open.last() {
            Some(&number) => number,
            None => {
                let number = self.chunks.len() as u32;
                assert!(number < u32::MAX / CHUNK as u32, "more than 2^32 - 4096 values in a slab");
                self.chunks.push(None);
                self.open.push(number);
                number
            }
        };
        let chunk = self.chunks[number as usize].get_or_insert_with(Chunk::new);
        let cell = chunk.insert(value);
        if usize::from(chunk.live) == CHUNK {
            self.open.pop();
        }
        self.len += 1;
        number * CHUNK as u32 + cell as u32
    }

    /// Takes the value under `key` out.
    ///
    /// # Panics
    /// When there is none: a key that is removed twice would otherwise free somebody else's recipient.
    pub fn remove(&mut self, key: u32) -> T {
        let (number, cell) = place(key);
        let chunk = self.chunk_mut(number, key);
        assert!(chunk.is_used(cell), "slab key {key} removed twice");
        chunk.used[cell / 64] &= !(1 << (cell % 64));
        chunk.first_free = chunk.first_free.min((cell / 64) as u16);
        chunk.live -= 1;
        let value = chunk.cells[cell];
        let (empty, was_full) = (chunk.live == 0, usize::from(chunk.live) == CHUNK - 1);
        if was_full {
            // Below the last, so that it can drain while the last one goes on filling.
            let at = self.open.len().saturating_sub(1);
            self.open.insert(at, number as u32);
        }
        // The chunk that is filled next keeps its memory: one recipient coming and going must not allocate.
        if empty && self.open.last() != Some(&(number as u32)) {
            self.chunks[number] = None;
        }
        self.len -= 1;
        value
    }

    pub fn contains(&self, key: u32) -> bool {
        let (number, cell) = place(key);
        self.chunks.get(number).and_then(Option::as_ref).is_some_and(|chunk| chunk.is_used(cell))
    }

    /// Values held.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory held, the slab's own included.
    pub fn memory(&self) -> usize {
        let chunks = self.chunks.iter().flatten().count();
        chunks * (size_of::<Chunk<T>>() + CHUNK * size_of::<T>())
            + self.chunks.capacity() * size_of::<usize>()
            + self.open.capacity() * size_of::<u32>()
    }

    fn chunk_mut(&mut self, number: usize, key: u32) -> &mut Chunk<T> {
        match self.chunks.get_mut(number) {
            Some(Some(chunk)) => chunk,
            _ => panic!("slab key {key} does not exist"),
        }
    }
}

fn place(key: u32) -> (usize, usize) {
    (key as usize / CHUNK, key as usize % CHUNK)
}

impl<T: Copy> Index<u32> for ChunkedSlab<T> {
    type Output = T;
    fn index(&self, key: u32) -> &T {
        let (number, cell) = place(key);
        match self.chunks.get(number) {
            Some(Some(chunk)) => {
                debug_assert!(chunk.is_used(cell), "slab key {key} is free");
                &chunk.cells[cell]
            }
            _ => panic!("slab key {key} does not exist"),
        }
    }
}

impl<T: Copy> IndexMut<u32> for ChunkedSlab<T> {
    fn index_mut(&mut self, key: u32) -> &mut T {
        let (number, cell) = place(key);
        let chunk = self.chunk_mut(number, key);
        debug_assert!(chunk.is_used(cell), "slab key {key} is free");
        &mut chunk.cells[cell]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn drained_slab_keeps_at_most_one_chunk() {
        let mut slab = ChunkedSlab::new();
        let keys: Vec<u32> = (0..100_000u64).map(|i| slab.insert(i)).collect();
        assert!(slab.memory() < 100_000 * 8 * 11 / 10, "{}", slab.memory());
        for key in keys {
            slab.remove(key);
        }
        assert!(slab.is_empty());
        assert!(slab.memory() < 2 * CHUNK * 8, "{}", slab.memory());
    }

    #[test]
    fn first_free_cell_is_reused() {
        let mut slab = ChunkedSlab::new();
        let keys: Vec<u32> = (0..200u32).map(|i| slab.insert(i)).collect();
        slab.remove(keys[70]);
        slab.remove(keys[3]);
        assert_eq!((slab.insert(1), slab.insert(2), slab.insert(3)), (3, 70, 200));
    }

    #[test]
    #[should_panic(expected = "removed twice")]
    fn double_remove_is_found_out() {
        let mut slab = ChunkedSlab::new();
        let key = slab.insert(1u32);
        slab.insert(2);
        slab.remove(key);
        slab.remove(key);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Against a map: whatever comes and goes, each key keeps its value and no key is given twice.
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0u8..5, 0usize..9000), 1..60)) {
            let mut slab = ChunkedSlab::new();
            let mut map: HashMap<u32, u64> = HashMap::new();
            let mut order = Vec::new();
            let mut stamp = 0u64;
            for (what, n) in steps {
                if what < 3 {
                    for _ in 0..n {
                        stamp += 1;
                        let key = slab.insert(stamp);
                        prop_assert!(map.insert(key, stamp).is_none());
                        order.push(key);
                    }
                } else {
                    for i in 0..n.min(order.len()) {
                        let key = order.swap_remove((i * 7919) % order.len());
                        prop_assert_eq!(Some(slab.remove(key)), map.remove(&key));
                    }
                }
                prop_assert_eq!(slab.len(), map.len());
            }
            for (key, value) in map {
                prop_assert!(slab.contains(key));
                prop_assert_eq!(slab[key], value);
            }
        }
    }
}
