//! Changes to a few places of a message, put together and made at once; every other byte stays.

use std::ops::Range;

/// What to put instead of ranges of a message, which do not overlap.
pub(super) struct Edits<'r> {
    raw: &'r [u8],
    list: Vec<(Range<usize>, Vec<u8>)>,
}

impl<'r> Edits<'r> {
    pub fn of(raw: &'r [u8]) -> Edits<'r> {
        Edits { raw, list: Vec::new() }
    }

    pub fn raw(&self) -> &'r [u8] {
        self.raw
    }

    pub fn put(&mut self, place: Range<usize>, text: Vec<u8>) {
        self.list.push((place, text));
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The changed message.
    pub fn apply(mut self) -> Vec<u8> {
        // What is put in at the start of a range comes before it.
        self.list.sort_by_key(|(place, _)| (place.start, place.end));
        let more: usize = self.list.iter().map(|(_, text)| text.len()).sum();
        let mut out = Vec::with_capacity(self.raw.len() + more);
        let mut at = 0;
        for (place, text) in self.list {
            out.extend_from_slice(&self.raw[at..place.start]);
            out.extend_from_slice(&text);
            at = place.end;
        }
        out.extend_from_slice(&self.raw[at..]);
        out
    }
}
