//! Reading records: recent commits from RAM, everything else through read-only mappings.
//!
//! Shared by reactors, importer and accounting. [`Segments::record`] is cheap (a look-up and a reference count)
//! and verifies a record's checksum on its first touch since the segment was mapped.

use super::block::Blocks;
use super::error::SpoolError;
use super::forward::{self, Moved, Moves};
use super::frame::{FRAME, FrameHeader, Key, Kind};
use super::header::SegmentHeader;
use super::map::Mapping;
use super::reader::LogReader;
use super::record::{Location, OutcomeBatch};
use super::rows::RowsView;
use arc_swap::ArcSwap;
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

/// Bytes of RAM that recent commits may take unless told otherwise.
pub const WINDOW: usize = 4 << 20;

/// File name of segment `number`.
pub fn file_name(number: u32) -> String {
    format!("{number:010}.seg")
}

/// A segment in use.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    pub(super) key: Key,
    /// Where its valid part ends, in units of 8 bytes; `u32::MAX` while it is being written.
    end8: AtomicU32,
    path: PathBuf,
    mapping: OnceLock<Arc<Mapping>>,
}

impl Segment {
    pub(super) fn end8(&self) -> u32 {
        self.end8.load(Ordering::Acquire)
    }

    pub(super) fn mapping(&self) -> Result<&Arc<Mapping>, SpoolError> {
        if let Some(mapping) = self.mapping.get() {
            return Ok(mapping);
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(nofollow()).open(&self.path);
        let file = file.map_err(|e| SpoolError::io(&self.path, "open", e))?;
        let mapping =
            Mapping::new(&file, self.end8() == u32::MAX).map_err(|e| SpoolError::io(&self.path, "map", e))?;
        Ok(self.mapping.get_or_init(|| Arc::new(mapping)))
    }
}

fn nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits() as i32
}

/// One written commit, still in RAM.
#[derive(Debug)]
struct Recent {
    at: Location,
    blocks: Arc<Blocks>,
}

#[derive(Debug, Default)]
struct Window {
    recent: VecDeque<Recent>,
    bytes: usize,
}

/// What keeps the bytes of a record in place.
#[derive(Clone, Debug)]
enum Hold {
    Ram(Arc<Blocks>),
    Map(Arc<Mapping>),
}

/// A verified record; dereferences to its payload. While one exists its segment is not recycled, so do not keep
/// it longer than it is used.
#[derive(Clone, Debug)]
pub struct RecordRef {
    pub at: Location,
    pub kind: Kind,
    /// For `Rows`: ordinal of the first row within the segment.
    pub first_ordinal: u32,
    hold: Hold,
    start: usize,
    len: usize,
}

impl RecordRef {
    /// It is not kept in RAM by us.
    pub(super) fn is_mapped(&self) -> bool {
        matches!(self.hold, Hold::Map(_))
    }
}

impl Deref for RecordRef {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes = match &self.hold {
            Hold::Ram(blocks) => blocks.as_slice(),
            Hold::Map(mapping) => mapping.bytes(),
        };
        &bytes[self.start..self.start + self.len]
    }
}

/// First piece of a cold read: holds most records whole.
const PIECE: usize = 16 << 10;

/// A read of one record through file calls: says what to read next until it has the payload.
#[derive(Debug)]
pub struct ColdRead {
    at: Location,
    /// Keeps the segment from being recycled meanwhile.
    segment: Arc<Segment>,
    /// Nothing is read from here on, in bytes.
    end: u64,
    recent: Option<RecordRef>,
    bytes: Vec<u8>,
}

impl ColdRead {
    pub fn at(&self) -> Location {
        self.at
    }

    pub fn path(&self) -> &Path {
        &self.segment.path
    }

    /// The payload, or the offset and length to read next.
    #[allow(clippy::type_complexity)]
    pub fn next(&self) -> Result<Result<Arc<[u8]>, (u64, usize)>, SpoolError> {
        if let Some(recent) = &self.recent {
            return Ok(Ok(Arc::from(&recent[..])));
        }
        let (start, have) = (self.at.byte_offset(), self.bytes.len());
        let left = self.end.saturating_sub(start + have as u64);
        if have == 0 && left > 0 {
            return Ok(Err((start, PIECE.min(left as usize))));
        }
        let stride = self.segment.key.stride(&self.bytes, start as usize);
        let stride = stride.ok_or(SpoolError::NotFound { at: self.at, why: "no record begins there" })?;
        if stride > have {
            let missing = stride - have;
            if missing as u64 > left {
                return Err(SpoolError::Damaged {
                    at: self.at,
                    why: "its length points past the end".into(),
                });
            }
            return Ok(Err((start + have as u64, missing)));
        }
        let header = self.segment.key.header(&self.bytes, start as usize, 0);
        match header.filter(|header| self.segment.key.verify(&self.bytes, 0, header)) {
            Some(header) => Ok(Ok(Arc::from(&self.bytes[FRAME..FRAME + header.len as usize]))),
            None => Err(SpoolError::Damaged { at: self.at, why: "its checksum does not fit".into() }),
        }
    }

    /// Takes what was asked for.
    pub fn bytes(&mut self, bytes: Vec<u8>) {
        if self.bytes.is_empty() {
            self.bytes = bytes;
        } else {
            self.bytes.extend_from_slice(&bytes);
        }
    }

    /// The error of a read that failed (F15).
    pub fn failed(&self, error: &std::io::Error) -> SpoolError {
        SpoolError::io(&self.segment.path, "read", error)
    }
}

/// The segments in use.
#[derive(Debug)]
pub struct Segments {
    dir: PathBuf,
    /// Sorted by number.
    table: ArcSwap<Vec<Arc<Segment>>>,
    window: RwLock<Window>,
    window_size: usize,
    /// Segments no longer in use whose mappings may still be held.
    retiring: Mutex<Vec<Arc<Segment>>>,
    /// Where records of retired segments have gone.
    moves: RwLock<Moves>,
    durable: AtomicU64,
    /// How many wait for it to move.
    waiting: Mutex<u32>,
    moved: Condvar,
}

impl Segments {
    pub fn new(dir: &Path, window_size: usize) -> Segments {
        Segments {
            dir: dir.to_path_buf(),
            table: ArcSwap::from_pointee(Vec::new()),
            window: RwLock::default(),
            window_size,
            retiring: Mutex::default(),
            moves: RwLock::default(),
            durable: AtomicU64::new(0),
            waiting: Mutex::default(),
            moved: Condvar::new(),
        }
    }

    /// Everything before this is on stable storage and may be read.
    pub fn durable_end(&self) -> Location {
        Location::from_u64(self.durable.load(Ordering::Acquire))
    }

    /// Waits until something is durable beyond `seen`, at most `patience`; returns the durable end.
    pub fn wait_beyond(&self, seen: Location, patience: Duration) -> Location {
        let mut waiting = lock(&self.waiting);
        *waiting += 1;
        let still = |_: &mut u32| self.durable_end() <= seen;
        let waited = self.moved.wait_timeout_while(waiting, patience, still);
        *waited.unwrap_or_else(PoisonError::into_inner).0 -= 1;
        self.durable_end()
    }

    /// The verified record at `at`.
    pub fn record(&self, at: Location) -> Result<RecordRef, SpoolError> {
        if let Some(record) = self.recent(at) {
            return record;
        }
        if at >= self.durable_end() {
            return Err(SpoolError::NotFound { at, why: "it lies beyond the durable end of the log" });
        }
        let Some(segment) = self.segment(at.segment) else { return self.record(self.carried(at)?) };
        let mapping = segment.mapping()?;
        let bytes = mapping.bytes();
        let start = at.byte_offset() as usize;
        let header = segment.key.header(bytes, 0, start);
        let header = header.ok_or(SpoolError::NotFound { at, why: "no record begins there" })?;
        if !mapping.is_verified(start) {
            if !segment.key.verify(bytes, start, &header) {
                return Err(SpoolError::Damaged { at, why: "its checksum does not fit".into() });
            }
            mapping.set_verified(start);
        }
        Ok(reference(at, header, Hold::Map(Arc::clone(mapping)), start))
    }

    fn recent(&self, at: Location) -> Option<Result<RecordRef, SpoolError>> {
        let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
        let index = window.recent.partition_point(|recent| recent.at <= at).checked_sub(1)?;
        let recent = &window.recent[index];
        let start = (at.byte_offset()
            - if recent.at.segment == at.segment { recent.at.byte_offset() } else { 0 })
            as usize;
        if recent.at.segment != at.segment || start >= recent.blocks.len() {
            return None;
        }
        let key = self.segment(at.segment)?.key;
        let header = key.header_in(recent.blocks.as_slice(), recent.at, start);
        let header = header.ok_or(SpoolError::NotFound { at, why: "no record begins there" });
        Some(header.map(|header| reference(at, header, Hold::Ram(Arc::clone(&recent.blocks)), start)))
    }

    /// The segment with this number.
    pub(super) fn segment(&self, number: u32) -> Option<Arc<Segment>> {
        let table = self.table.load();
        let index = table.binary_search_by_key(&number, |segment| segment.header.number).ok()?;
        Some(Arc::clone(&table[index]))
    }

    /// The first segment with a number of at least `number`.
    pub(super) fn segment_from(&self, number: u32) -> Option<Arc<Segment>> {
        let table = self.table.load();
        table.get(table.partition_point(|segment| segment.header.number < number)).map(Arc::clone)
    }

    /// Adds a segment; `end8` is `None` for the one that is being written.
    pub fn add(&self, header: SegmentHeader, end8: Option<u32>) {
        let segment = Arc::new(Segment {
            header,
            key: Key::new(header.number, header.nonce),
            end8: AtomicU32::new(end8.unwrap_or(u32::MAX)),
            path: self.dir.join(file_name(header.number)),
            mapping: OnceLock::new(),
        });
        self.change(|table| {
            let place = table.partition_point(|other| other.header.number < header.number);
            table.insert(place, Arc::clone(&segment));
        });
    }

    /// The segment will not be written any more.
    pub fn seal(&self, number: u32, end8: u32) {
        if let Some(segment) = self.segment(number) {
            segment.end8.store(end8, Ordering::Release);
            if let Some(mapping) = segment.mapping.get() {
                mapping.sealed();
            }
        }
    }

    /// Notes where records were carried to.
    pub fn carry(&self, moved: Vec<(Location, Moved)>) {
        self.moves.write().unwrap_or_else(PoisonError::into_inner).add(moved);
    }

    /// Makes outcomes speak of carried rows where they are now.
    pub fn translate(&self, batch: &mut OutcomeBatch) {
        self.moves().translate(batch);
    }

    fn moves(&self) -> RwLockReadGuard<'_, Moves> {
        self.moves.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a record of a retired segment lies now.
    fn carried(&self, at: Location) -> Result<Location, SpoolError> {
        let moved = self.moves().get(at).ok_or(SpoolError::NotFound { at, why: "no such segment" })?;
        Ok(moved.to.at)
    }

    /// Takes a segment out of use. Its file may be recycled once [`Segments::released`] names it.
    pub fn retire(&self, number: u32) {
        let Some(segment) = self.segment(number) else { return };
        self.change(|table| table.retain(|other| other.header.number != number));
        self.moves.write().unwrap_or_else(PoisonError::into_inner).retired(number);
        lock(&self.retiring).push(segment);
    }

    /// Retired segments that no reader holds any longer; each is named once.
    pub fn released(&self) -> Vec<u32> {
        let mut released = Vec::new();
        lock(&self.retiring).retain(|segment| {
            let mapped = segment.mapping.get().is_some_and(|mapping| Arc::strong_count(mapping) > 1);
            let held = mapped || Arc::strong_count(segment) > 1;
            if !held {
                released.push(segment.header.number);
            }
            held
        });
        released
    }

    /// Whether retired segments still wait for their readers.
    pub fn is_retiring(&self) -> bool {
        !lock(&self.retiring).is_empty()
    }

    /// Begins a read of the record at `at` that the caller performs piece by piece.
    pub fn cold_read(&self, at: Location) -> Result<ColdRead, SpoolError> {
        let recent = self.recent(at).transpose()?;
        let durable = self.durable_end();
        if recent.is_none() && at >= durable {
            return Err(SpoolError::NotFound { at, why: "it lies beyond the durable end of the log" });
        }
        let Some(segment) = self.segment(at.segment) else { return self.cold_read(self.carried(at)?) };
        let end8 = if durable.segment == at.segment { durable.offset8 } else { segment.end8() };
        Ok(ColdRead { at, segment, end: u64::from(end8) * 8, recent, bytes: Vec::new() })
    }

    /// Makes a written commit readable.
    pub fn push(&self, at: Location, blocks: Arc<Blocks>) {
        let mut window = self.window.write().unwrap_or_else(PoisonError::into_inner);
        window.bytes += blocks.footprint();
        window.recent.push_back(Recent { at, blocks });
        // What is not durable yet must stay: it cannot be read anywhere else.
        while window.bytes > self.window_size
            && window.recent.len() > 1
            && window.recent[1].at <= self.durable_end()
        {
            let gone = window.recent.pop_front().map_or(0, |recent| recent.blocks.footprint());
            window.bytes -= gone;
        }
    }

    /// Moves the durable end and wakes who waits for it.
    pub fn set_durable(&self, end: Location) {
        self.durable.store(end.to_u64(), Ordering::Release);
        if *lock(&self.waiting) > 0 {
            self.moved.notify_all();
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut table = Vec::clone(&self.table.load());
        change(&mut table);
        self.table.store(Arc::new(table));
    }
}

impl forward::Records for Arc<Segments> {
    fn read(&self, at: Location) -> Result<forward::Found, SpoolError> {
        let at = self.moves().get(at).map_or(at, |moved| moved.to.at);
        Ok(found(&self.record(at)?))
    }

    fn rows_of(&self, segment: u32, wanted: &dyn Fn(u32) -> bool) -> Result<Vec<forward::Found>, SpoolError> {
        let mut reader = LogReader::new(Arc::clone(self), Location { segment, offset8: 0 });
        let mut rows = Vec::new();
        while let Some(record) = reader.next()?.filter(|record| record.at.segment == segment) {
            let ordinals = |view: RowsView<'_>| (record.first_ordinal..).take(view.len());
            if record.kind == Kind::Rows
                && RowsView::new(&record).is_some_and(|view| ordinals(view).any(wanted))
            {
                rows.push(found(&record));
            }
        }
        Ok(rows)
    }
}

fn found(record: &RecordRef) -> forward::Found {
    let RecordRef { at, kind, first_ordinal, .. } = *record;
    forward::Found { at, kind, first_ordinal, bytes: record.to_vec() }
}

fn reference(at: Location, header: FrameHeader, hold: Hold, start: usize) -> RecordRef {
    let (start, len) = (start + FRAME, header.len as usize);
    RecordRef { at, kind: header.kind, first_ordinal: header.ordinal, hold, start, len }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // None of these locks is held while something can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
