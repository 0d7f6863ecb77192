//! The set of addresses an import has already taken: 96-bit keyed hashes in ordered open addressing.
//!
//! Rows are many and memory is short, so the set stores twelve bytes for an address and never more than sixteen. The
//! table is split into [`TABLES`] parts that grow one at a time by a seventh. A part stands in pages that never move: growing
//! has no copying peak, and an allocator that keeps what it gets back has nothing to keep.
//!
//! Within a part the entries stand in the order of their hashes: a search stops at the first larger entry, which
//! keeps it short at a load of seven eighths, and growing is one pass that spreads the entries out again.
//!
//! The hash is keyed with a random key (SipHash-1-3, 128 bits, cut to 96): nobody can choose addresses that collide,
//! and by chance two of a hundred million addresses do so once in 10^13 imports.

use siphasher::sip128::SipHasher13;

/// Parts of the set, chosen by the top five bits of the hash.
const TABLES: usize = 32;
/// Places after the last home, so that a run of entries at the end needs no wrapping around.
const SLACK: usize = 128;
/// Entries in a page.
const PAGE: usize = 512;

type Entry = [u32; 3];
const EMPTY: Entry = [0; 3];

/// Addresses seen, as hashes.
#[derive(Clone)]
pub struct Dedup {
    tables: Vec<Part>,
    hasher: SipHasher13,
    scratch: Vec<u8>,
}

#[derive(Clone, Default)]
struct Part {
    pages: Vec<Box<[Entry; PAGE]>>,
    /// [`SLACK`] fewer than there are places, or none before the first entry.
    homes: usize,
    len: usize,
}

impl Dedup {
    /// An empty set. `key` has to be random and private to this import.
    pub fn new(key: &[u8; 16]) -> Dedup {
        Dedup {
            tables: vec![Part::default(); TABLES],
            hasher: SipHasher13::new_with_key(key),
            scratch: Vec::with_capacity(256),
        }
    }

    /// Adds an address; false when it was there already. `domain` has to be normalised (lower case, A-labels).
    /// Local parts are compared without regard to case, although RFC 5321 2.4 lets a site tell them apart: none
    /// that receives bulk mail does, and a list holds `Jim@` and `jim@` by mistake.
    ///
    /// Allocates when a part grows, and for a local part with characters outside ASCII.
    pub fn insert(&mut self, local: &str, domain: &str) -> bool {
        self.scratch.clear();
        if local.is_ascii() {
            self.scratch.extend(local.bytes().map(|byte| byte.to_ascii_lowercase()));
        } else {
            self.scratch.extend_from_slice(local.to_lowercase().as_bytes());
        }
        self.scratch.push(b'@');
        self.scratch.extend_from_slice(domain.as_bytes());
        let (first, second) = self.hasher.hash(&self.scratch).as_u64();
        let table = (first >> 59) as usize;
        // The part is known, so the bits that chose it are worth nothing: the entry holds the 96 that follow.
        let rest = (first << 5) | (second >> 59);
        let entry = [(rest >> 32) as u32, rest as u32, second as u32];
        self.tables[table].insert(if entry == EMPTY { [0, 0, 1] } else { entry })
    }

    /// Number of different addresses.
    pub fn len(&self) -> usize {
        self.tables.iter().map(|part| part.len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory the entries take, empty places included.
    pub fn memory(&self) -> usize {
        self.tables.iter().map(Part::memory).sum()
    }
}

impl Part {
    fn insert(&mut self, entry: Entry) -> bool {
        if self.len * 8 >= self.homes * 7 {
            self.grow();
        }
        let found = self.first_not_before(entry);
        if found.is_some_and(|at| *self.place(at) == entry) {
            return false;
        }
        if !found.is_some_and(|at| self.insert_at(at, entry)) {
            // The run at the end has filled the slack: possible, and rare beyond reach. More homes resolve it.
            self.grow();
            return self.insert(entry);
        }
        self.len += 1;
        true
    }

    /// The first place from the entry's home on that is empty or holds none that belongs before it.
    fn first_not_before(&self, entry: Entry) -> Option<usize> {
        let home = self.home(entry);
        let mut offset = home % PAGE;
        for (number, page) in self.pages.iter().enumerate().skip(home / PAGE) {
            if let Some(found) = page[offset..].iter().position(|place| *place == EMPTY || *place >= entry) {
                return Some(number * PAGE + offset + found);
            }
            offset = 0;
        }
        None
    }

    /// Puts the entry there and what stands there one further, up to the next empty place; false when there is none.
    fn insert_at(&mut self, at: usize, entry: Entry) -> bool {
        let (first, start) = (at / PAGE, at % PAGE);
        let free = |places: &[Entry]| places.iter().position(|place| *place == EMPTY);
        let last = if free(&self.pages[first][start..]).is_some() {
            first
        } else {
            let following = &self.pages[first + 1..];
            first + 1 + following.iter().take_while(|page| free(&page[..]).is_none()).count()
        };
        if last == self.pages.len() {
            return false;
        }
        let (mut carried, mut offset) = (entry, start);
        for page in &mut self.pages[first..last] {
            let pushed_out = page[PAGE - 1];
            page.copy_within(offset..PAGE - 1, offset + 1);
            page[offset] = std::mem::replace(&mut carried, pushed_out);
            offset = 0;
        }
        let page = &mut self.pages[last];
        let free = offset + free(&page[offset..]).unwrap_or(0);
        page.copy_within(offset..free, offset + 1);
        page[offset] = carried;
        true
    }

    fn home(&self, entry: Entry) -> usize {
        ((u64::from(entry[0]) * self.homes as u64) >> 32) as usize
    }

    fn places(&self) -> usize {
        self.pages.len() * PAGE
    }

    fn memory(&self) -> usize {
        self.places() * size_of::<Entry>() + self.pages.capacity() * size_of::<usize>()
    }

    fn place(&mut self, at: usize) -> &mut Entry {
        &mut self.pages[at / PAGE][at % PAGE]
    }

    /// A seventh more homes, until every entry has a place; the entries are moved within the part's own memory.
    fn grow(&mut self) {
        let packed_at = loop {
            let old = self.places();
            for _ in 0..(self.pages.len() / 7).max(1) {
                self.pages.push(Box::new([EMPTY; PAGE]));
            }
            self.homes = self.places() - SLACK;
            let packed_at = self.pack(old);
            if self.fits(packed_at) {
                break packed_at;
            }
        };
        self.spread(packed_at);
    }

    /// Moves the entries to the end, in order; returns where they start.
    fn pack(&mut self, old: usize) -> usize {
        let mut to = self.places();
        for from in (0..old).rev() {
            let entry = std::mem::replace(self.place(from), EMPTY);
            if entry != EMPTY {
                to -= 1;
                *self.place(to) = entry;
            }
        }
        to
    }

    /// Whether each of the packed entries gets a place at or after its home.
    fn fits(&self, packed_at: usize) -> bool {
        let mut next = 0;
        for at in packed_at..packed_at + self.len {
            next = self.home(self.pages[at / PAGE][at % PAGE]).max(next) + 1;
        }
        next <= self.places()
    }

    /// Gives each of the packed entries its place. The place is never after the entry's own, because all that
    /// follow it fit behind it.
    fn spread(&mut self, packed_at: usize) {
        let mut next = 0;
        for from in packed_at..self.places() {
            let entry = std::mem::replace(self.place(from), EMPTY);
            next = self.home(entry).max(next);
            *self.place(next) = entry;
            next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const KEY: [u8; 16] = *b"0123456789abcdef";

    #[test]
    fn the_same_address_is_taken_once() {
        let mut seen = Dedup::new(&KEY);
        assert!(seen.insert("Jim", "site.example"));
        assert!(!seen.insert("jim", "site.example"));
        assert!(!seen.insert("JIM", "site.example"));
        assert!(seen.insert("jim", "other.example"));
        assert!(seen.insert("ÉVA", "site.example"));
        assert!(!seen.insert("éva", "site.example"));
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn at_most_sixteen_bytes_an_address_at_every_size() {
        let mut seen = Dedup::new(&KEY);
        let mut worst = 0.0_f64;
        for n in 0..400_000_u32 {
            assert!(seen.insert(&n.to_string(), "site.example"));
            if n > 200_000 && n % 500 == 0 {
                worst = worst.max(seen.memory() as f64 / seen.len() as f64);
            }
        }
        for n in (0..400_000_u32).step_by(7) {
            assert!(!seen.insert(&n.to_string(), "site.example"));
        }
        assert!(worst <= 16.0, "{worst} bytes an address");
    }

    /// What an allocator has once lent for a large array and got back, it keeps for one of that size.
    #[test]
    fn growing_moves_no_page() {
        let mut part = Part::default();
        let mut before: Vec<*const Entry> = Vec::new();
        for n in 1..20_000_u32 {
            assert!(part.insert([n.wrapping_mul(0x9e37_79b9), n, 1]));
            let pages: Vec<_> = part.pages.iter().map(|page| page.as_ptr()).collect();
            assert!(pages.starts_with(&before));
            before = pages;
        }
        assert!(part.pages.len() * PAGE * 10 < 20_000 * 14, "{} pages", part.pages.len());
    }

    #[test]
    fn a_run_that_fills_the_slack_makes_the_part_grow() {
        let mut part = Part::default();
        for n in 0..400_u32 {
            assert!(part.insert([u32::MAX - n * 1_000_000, 7, 7]));
        }
        for n in 0..400_u32 {
            assert!(!part.insert([u32::MAX - n * 1_000_000, 7, 7]));
        }
        assert_eq!(part.len, 400);
    }

    proptest! {
        #[test]
        fn it_is_a_set(entries in prop::collection::vec((0_u32..40, 0_u32..3, 1_u32..4), 0..600)) {
            let mut part = Part::default();
            let mut model = HashSet::new();
            for (high, middle, low) in entries {
                let entry = [high.wrapping_mul(0x0fff_ffff), middle, low];
                prop_assert_eq!(part.insert(entry), model.insert(entry));
            }
            prop_assert_eq!(part.len, model.len());
        }
    }
}
