//! Rows on their way from a reader to the import: a few hundred at a time, in buffers that are used again. A batch
//! may be filled on one thread and imported on another.

use super::fault::Fault;

/// Rows in a full batch.
pub const BATCH_ROWS: usize = 512;
/// A batch with this many bytes and cells is full, whatever its rows.
pub const BATCH_BYTES: usize = 256 * 1024;
/// Longest row a reader takes, in bytes: a quote that is never closed must not read the rest of a file into memory.
pub const MAX_ROW: usize = 1024 * 1024;

/// Rows as cells of bytes, nothing checked yet except their number.
#[derive(Debug, Default)]
pub struct Batch {
    /// Filled up to `used`; longer, so that readers can write into it.
    bytes: Vec<u8>,
    used: usize,
    /// End in `bytes` of each cell of each row; rows lie one after the other.
    ends: Vec<u32>,
    rows: Vec<Mark>,
}

#[derive(Debug)]
struct Mark {
    line: u64,
    /// End in `ends` of the row's cells.
    cells: usize,
    fault: Option<Box<Fault>>,
}

/// One row of a batch.
#[derive(Clone, Copy, Debug)]
pub struct RawRow<'a> {
    /// Line of the file on which the row starts, counted from 1 (the header row of a CSV file counts).
    pub line: u64,
    /// Set when the reader already knows that the row is no good.
    pub fault: Option<&'a Fault>,
    bytes: &'a [u8],
    start: usize,
    ends: &'a [u32],
}

impl<'a> RawRow<'a> {
    /// Number of cells.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The cell in `column`.
    pub fn cell(&self, column: usize) -> Option<&'a [u8]> {
        let end = *self.ends.get(column)? as usize;
        let start = if column == 0 { self.start } else { self.ends[column - 1] as usize };
        Some(&self.bytes[start..end])
    }

    /// All cells in one piece, nothing between them.
    pub fn all(&self) -> &'a [u8] {
        &self.bytes[self.start..self.ends.last().map_or(self.start, |end| *end as usize)]
    }

    pub fn cells(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let row = *self;
        (0..row.len()).filter_map(move |column| row.cell(column))
    }
}

impl Batch {
    pub fn new() -> Batch {
        Batch::default()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.used + self.ends.len() >= BATCH_BYTES
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.used = 0;
        self.ends.clear();
        self.rows.clear();
    }

    /// Bytes of memory that the batch holds.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
            + self.ends.capacity() * size_of::<u32>()
            + self.rows.capacity() * size_of::<Mark>()
    }

    /// The row with this index, in the order of the file.
    pub fn row(&self, index: usize) -> Option<RawRow<'_>> {
        let mark = self.rows.get(index)?;
        let first = if index == 0 { 0 } else { self.rows[index - 1].cells };
        let start = if first == 0 { 0 } else { self.ends[first - 1] as usize };
        Some(RawRow {
            line: mark.line,
            fault: mark.fault.as_deref(),
            bytes: &self.bytes,
            start,
            ends: &self.ends[first..mark.cells],
        })
    }

    pub fn rows(&self) -> impl Iterator<Item = RawRow<'_>> {
        (0..self.len()).filter_map(|index| self.row(index))
    }

    /// Room for a reader to write cells into; [`Batch::wrote`] keeps what it wrote. Never empty.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.bytes.len() - self.used < 1024 {
            let more = self.bytes.len().clamp(16 * 1024, MAX_ROW);
            self.bytes.resize(self.bytes.len() + more, 0);
        }
        &mut self.bytes[self.used..]
    }

    pub(super) fn wrote(&mut self, bytes: usize) {
        self.used += bytes;
    }

    /// Bytes of all rows, and of the one being written.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn written_since(&self, start: usize) -> &[u8] {
        &self.bytes[start..self.used]
    }

    /// Ends a row whose cells were written by way of [`Batch::room`], from `start` on; `ends` are relative to it.
    pub(super) fn close_row(&mut self, line: u64, start: usize, ends: &[usize], fault: Option<Fault>) {
        self.ends.extend(ends.iter().map(|end| (start + end) as u32));
        self.mark(line, fault);
    }

    /// Appends a cell to the row being written.
    pub(super) fn push_cell(&mut self, cell: &[u8]) {
        let end = self.used + cell.len();
        if self.bytes.len() < end {
            self.bytes.resize(end + 16 * 1024, 0);
        }
        self.bytes[self.used..end].copy_from_slice(cell);
        self.used = end;
        self.ends.push(end as u32);
    }

    /// Ends the row being written.
    pub(super) fn mark(&mut self, line: u64, fault: Option<Fault>) {
        self.rows.push(Mark { line, cells: self.ends.len(), fault: fault.map(Box::new) });
    }
}
