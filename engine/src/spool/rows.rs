//! The payload of a `Rows` record: many recipients of one submission, readable in place.
//!
//! Layout (little-endian), fixed by hand so that a row is found without decoding the record:
//! ```text
//!  0  u32  segment of the Accepted record     16  u32  rows (1..=65535); bit 31: carried
//!  4  u32  its offset / 8                     20  u32  length of the row bytes
//!  8  u64  number of the first row            24  u32  length of the names (0: all rows use {default})
//! 28  u32 x rows   end of each row in the row bytes
//!     u8  x rows   index of the row's VMTA (left out when there is at most one name)
//!     names        each: u8 length, bytes
//!     row bytes    per row: address, then one value per field, each with a LEB128 length before it
//! ```

use super::block::Blocks;
use super::record::{Location, RowsDraft};

const HEAD: usize = 28;
/// The rows repeat those of an older record that still wait; settled ones have no bytes.
const CARRIED: u32 = 1 << 31;
/// Most rows in one record: their index is 16 bits wide.
pub const ROWS_MAX: usize = 65_535;
/// Longest VMTA name in bytes.
pub const VMTA_NAME_MAX: usize = 255;

/// Why a draft cannot be stored, or `None`.
pub fn fault(draft: &RowsDraft) -> Option<&'static str> {
    let rows = draft.ends.len();
    if rows == 0 || rows > ROWS_MAX {
        return Some("a Rows record holds 1 to 65535 rows");
    }
    if draft.vmta.len() != rows {
        return Some("every row needs a VMTA index");
    }
    if draft.vmtas.is_empty() || draft.vmtas.len() > 255 {
        return Some("a Rows record names 1 to 255 VMTAs");
    }
    if draft.vmtas.iter().any(|name| name.len() > VMTA_NAME_MAX) {
        return Some("a VMTA name has at most 255 bytes");
    }
    if draft.vmta.iter().any(|&index| usize::from(index) >= draft.vmtas.len()) {
        return Some("a VMTA index points past the names");
    }
    if draft.ends.windows(2).any(|pair| pair[0] > pair[1]) {
        return Some("row ends must not decrease");
    }
    if draft.ends.last().map(|&end| end as usize) != Some(draft.bytes.len()) {
        return Some("the last row must end where the row bytes end");
    }
    None
}

/// Upper bound of the stored length in bytes.
pub fn stored_len(draft: &RowsDraft) -> usize {
    HEAD + draft.ends.len() * 5
        + draft.vmtas.iter().map(|name| name.len() + 1).sum::<usize>()
        + draft.bytes.len()
}

/// Appends the stored form. The draft must be free of [`fault`]s.
pub fn encode(draft: &RowsDraft, submission: Location, out: &mut Blocks) {
    let names: usize = draft.vmtas.iter().map(|name| name.len() + 1).sum();
    let mut head = [0u8; HEAD];
    head[..4].copy_from_slice(&submission.segment.to_le_bytes());
    head[4..8].copy_from_slice(&submission.offset8.to_le_bytes());
    head[8..16].copy_from_slice(&draft.first_row.to_le_bytes());
    let count = draft.ends.len() as u32 | if draft.carried { CARRIED } else { 0 };
    head[16..20].copy_from_slice(&count.to_le_bytes());
    head[20..24].copy_from_slice(&(draft.bytes.len() as u32).to_le_bytes());
    head[24..].copy_from_slice(&(names as u32).to_le_bytes());
    out.push(&head);
    for end in &draft.ends {
        out.push(&end.to_le_bytes());
    }
    if draft.vmtas.len() > 1 {
        out.push(&draft.vmta);
    }
    for name in &draft.vmtas {
        out.push(&[name.len() as u8]);
        out.push(name.as_bytes());
    }
    out.push(&draft.bytes);
}

/// A bounds-checked view of a stored `Rows` payload. Copies nothing.
#[derive(Clone, Copy, Debug)]
pub struct RowsView<'a> {
    pub submission: Location,
    /// Number of the first row within its submission.
    pub first_row: u64,
    /// The rows were accepted with an older record and repeated here.
    pub carried: bool,
    rows: u32,
    ends: &'a [u8],
    /// Empty when all rows use the first name.
    vmta: &'a [u8],
    names: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> RowsView<'a> {
    /// `None` when the lengths in the payload do not add up to its length.
    pub fn new(payload: &'a [u8]) -> Option<RowsView<'a>> {
        let head = payload.get(..HEAD)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let rows = (word(16) & !CARRIED) as usize;
        if rows == 0 || rows > ROWS_MAX {
            return None;
        }
        let (ends, rest) = payload[HEAD..].split_at_checked(rows * 4)?;
        let (bytes_len, names_len) = (word(20) as usize, word(24) as usize);
        let indexed = rest.len().checked_sub(names_len)?.checked_sub(bytes_len)?;
        if indexed != 0 && indexed != rows {
            return None;
        }
        let (vmta, rest) = rest.split_at_checked(indexed)?;
        let (names, bytes) = rest.split_at_checked(names_len)?;
        Some(RowsView {
            submission: Location { segment: word(0), offset8: word(4) },
            first_row: u64::from(word(8)) | u64::from(word(12)) << 32,
            carried: word(16) & CARRIED != 0,
            rows: rows as u32,
            ends,
            vmta,
            names,
            bytes,
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows as usize
    }

    /// Never true of a view that [`RowsView::new`] made.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows of a carried record that were settled before and left nothing but their number.
    pub fn gaps(&self) -> impl Iterator<Item = u32> + use<'a> {
        let view = *self;
        let rows = if self.carried { self.rows } else { 0 };
        (0..rows).filter(move |index| view.row(*index as usize).is_some_and(<[u8]>::is_empty))
    }

    /// Address and values of row `index`, as they were put into the draft.
    pub fn row(&self, index: usize) -> Option<&'a [u8]> {
        if index >= self.len() {
            return None;
        }
        let start = if index == 0 { 0 } else { self.end(index - 1)? };
        self.bytes.get(start..self.end(index)?)
    }

    /// The VMTA (or pool) of row `index`; empty for `{default}`.
    pub fn vmta(&self, index: usize) -> Option<&'a str> {
        if index >= self.len() {
            return None;
        }
        let wanted = if self.vmta.is_empty() { 0 } else { *self.vmta.get(index)? };
        let mut rest = self.names;
        for _ in 0..wanted {
            rest = rest.get(1 + usize::from(*rest.first()?)..)?;
        }
        std::str::from_utf8(rest.get(1..1 + usize::from(*rest.first()?))?).ok()
    }

    fn end(&self, index: usize) -> Option<usize> {
        let at = self.ends.get(index * 4..index * 4 + 4)?;
        Some(u32::from_le_bytes([at[0], at[1], at[2], at[3]]) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn draft(rows: &[(u8, Vec<u8>)], names: &[&str]) -> RowsDraft {
        let mut draft = RowsDraft { first_row: 7, ..RowsDraft::default() };
        draft.vmtas = names.iter().map(|n| (*n).to_string()).collect();
        for (vmta, bytes) in rows {
            draft.vmta.push(*vmta);
            draft.bytes.extend_from_slice(bytes);
            draft.ends.push(draft.bytes.len() as u32);
        }
        draft
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_went_in(
            rows in prop::collection::vec((0u8..3, prop::collection::vec(any::<u8>(), 0..60)), 1..50),
            several in any::<bool>(),
        ) {
            let names: &[&str] = if several { &["a", "", "pool-c"] } else { &["only"] };
            let rows: Vec<_> = rows.into_iter().map(|(v, b)| (if several { v } else { 0 }, b)).collect();
            let draft = draft(&rows, names);
            prop_assert_eq!(fault(&draft), None);
            let mut out = Blocks::with_capacity(10);
            encode(&draft, Location { segment: 1, offset8: 2 }, &mut out);
            prop_assert!(out.len() <= stored_len(&draft));
            let view = RowsView::new(out.as_slice()).expect("a view");
            prop_assert_eq!(view.submission, Location { segment: 1, offset8: 2 });
            prop_assert_eq!((view.first_row, view.len()), (7, rows.len()));
            for (index, (vmta, bytes)) in rows.iter().enumerate() {
                prop_assert_eq!(view.row(index), Some(&bytes[..]));
                prop_assert_eq!(view.vmta(index), Some(names[usize::from(*vmta)]));
            }
            prop_assert_eq!(view.row(rows.len()), None);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(view) = RowsView::new(&bytes) {
                for index in 0..view.len() + 1 {
                    let _ = (view.row(index), view.vmta(index));
                }
            }
        }
    }

    #[test]
    fn a_draft_that_does_not_add_up_is_refused() {
        let good = draft(&[(0, b"x".to_vec())], &["a"]);
        assert_eq!(fault(&good), None);
        assert!(fault(&RowsDraft::default()).is_some());
        assert!(fault(&RowsDraft { vmta: vec![1], ..good.clone() }).is_some());
        assert!(fault(&RowsDraft { ends: vec![2], ..good.clone() }).is_some());
        assert!(fault(&RowsDraft { vmtas: vec![], ..good }).is_some());
    }
}
