//! A disk that loses what a disk may lose: unsynced blocks, in any subset and torn at a sector, when the power goes;
//! everything that a failed sync spoke for; and room, when somebody else fills it.

use super::post::Post;
use posthaste::io::disk::Disk;
use posthaste::spool::block::Blocks;
use posthaste::spool::header::{DATA_START, SegmentHeader};
use posthaste::spool::recover::Files;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;

const SECTOR: usize = 512;

/// What can be done to the disk, by the number of the operation (writes and syncs, counted over all lives).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtOperation {
    /// It fails.
    Fail,
    /// The process is killed in the middle of it.
    Kill,
    /// The power goes in the middle of it.
    PowerCut,
}

/// Bytes that a write replaced and that come back if it is lost.
struct Undo {
    at: usize,
    old: Vec<u8>,
}

/// One segment file.
#[derive(Default)]
struct SegmentFile {
    /// As a reader sees it; zeros beyond its end.
    data: Vec<u8>,
    /// Writes since the last sync, the newest last.
    unsynced: Vec<Undo>,
}

impl SegmentFile {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.unsynced.push(Undo { at, old: self.data[at..end].to_vec() });
        self.data[at..end].copy_from_slice(bytes);
    }

    /// Loses any part of what was not synced; true if something was lost.
    fn lose(&mut self, rng: &mut fastrand::Rng) -> bool {
        let torn = rng.bool();
        let mut lost = false;
        while let Some(undo) = self.unsynced.pop() {
            let unit = if torn { SECTOR } else { posthaste::spool::header::BLOCK };
            // All, nothing, or each unit by itself.
            let share = *rng.choice([0, 50, 100].iter()).expect("not empty");
            for (n, old) in undo.old.chunks(unit).enumerate() {
                if rng.u8(..100) < share {
                    let at = undo.at + n * unit;
                    lost |= self.data[at..at + old.len()] != *old;
                    self.data[at..at + old.len()].copy_from_slice(old);
                }
            }
        }
        lost
    }
}

/// What happened to the disk, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskCounts {
    pub writes: u64,
    pub syncs: u64,
    pub failed: u64,
    pub torn: u64,
    pub full: u64,
    pub recycled: u64,
}

struct State {
    files: BTreeMap<u32, SegmentFile>,
    /// Files that wait to become segments, with what they held before.
    free: Vec<SegmentFile>,
    /// Numbers given out, by name `.free` or `.seg`.
    last_number: u32,
    rng: fastrand::Rng,
    /// Files that fit.
    room: usize,
    operations: u64,
    planned: BTreeMap<u64, AtOperation>,
    /// Longest time an operation takes, milliseconds.
    latency: u64,
    /// The next sync takes so long.
    hang: Option<Duration>,
    busy_since: Option<tokio::time::Instant>,
    /// How long the last operations took.
    recent: VecDeque<Duration>,
    reads_fail: bool,
    counts: DiskCounts,
}

/// The disk. Outlives the engine that writes to it.
#[derive(Clone)]
pub struct FakeDisk {
    state: Rc<RefCell<State>>,
    post: Rc<Post>,
}

impl FakeDisk {
    pub fn new(rng: fastrand::Rng, planned: BTreeMap<u64, AtOperation>, post: Rc<Post>) -> FakeDisk {
        let state = State {
            files: BTreeMap::new(),
            free: Vec::new(),
            last_number: 0,
            rng,
            room: usize::MAX,
            operations: 0,
            planned,
            latency: 2,
            hang: None,
            busy_since: None,
            recent: VecDeque::new(),
            reads_fail: false,
            counts: DiskCounts::default(),
        };
        FakeDisk { state: Rc::new(RefCell::new(state)), post }
    }

    // ---- What others do to it.

    /// So many files fit from now on, those that are there included; `None`: all that are wanted.
    pub fn set_room(&self, room: Option<usize>) {
        let mut state = self.state.borrow_mut();
        let there = state.files.len() + state.free.len();
        state.room = room.map_or(usize::MAX, |more| there + more);
    }

    pub fn set_latency(&self, ms: u64) {
        self.state.borrow_mut().latency = ms;
    }

    pub fn hang_next_sync(&self, time: Duration) {
        self.state.borrow_mut().hang = Some(time);
    }

    pub fn set_reads_fail(&self, fail: bool) {
        self.state.borrow_mut().reads_fail = fail;
    }

    /// No fault that is still to come happens.
    pub fn calm(&self) {
        let mut state = self.state.borrow_mut();
        (state.room, state.latency, state.hang, state.reads_fail) = (usize::MAX, 2, None, false);
        state.planned.clear();
    }

    pub fn reads_fail(&self) -> bool {
        self.state.borrow().reads_fail
    }

    /// Whether a write or a sync is under way.
    pub fn is_busy(&self) -> bool {
        self.state.borrow().busy_since.is_some()
    }

    /// What the engine knew before this is on the disk: when the last few operations began, the one under way included.
    pub fn recorded_by(&self) -> tokio::time::Instant {
        let state = self.state.borrow();
        let now = tokio::time::Instant::now();
        let recent: Duration = state.recent.iter().sum();
        state.busy_since.unwrap_or(now).checked_sub(recent).unwrap_or(now)
    }

    pub fn counts(&self) -> DiskCounts {
        self.state.borrow().counts
    }

    /// The process is gone: what it has written is in the page cache.
    pub fn kill(&self) {
        self.state.borrow_mut().busy_since = None;
    }

    /// The machine is gone: what was not synced may be gone as well.
    pub fn power_cut(&self) {
        let state = &mut *self.state.borrow_mut();
        state.busy_since = None;
        for file in state.files.values_mut() {
            state.counts.torn += u64::from(file.lose(&mut state.rng));
        }
    }

    // ---- What the recovery of the spool does with it.

    /// Numbers and headers of the segments.
    pub fn headers(&self) -> BTreeMap<u32, SegmentHeader> {
        let state = self.state.borrow();
        let header = |(&number, file): (&u32, &SegmentFile)| {
            SegmentHeader::decode(&file.data).ok().map(|header| (number, header))
        };
        state.files.iter().filter_map(header).collect()
    }

    /// The bytes of a segment from its first record to `end`.
    pub fn records(&self, number: u32, end: usize) -> Blocks {
        let state = self.state.borrow();
        let data = &state.files[&number].data;
        let mut blocks = Blocks::with_capacity(end - DATA_START);
        blocks.push(&data[DATA_START..end.min(data.len())]);
        blocks.finish()
    }

    pub fn sync_now(&self, number: u32) {
        if let Some(file) = self.state.borrow_mut().files.get_mut(&number) {
            file.unsynced.clear();
        }
    }

    /// The segment's file becomes a free one.
    pub fn free(&self, number: u32) {
        let mut state = self.state.borrow_mut();
        if let Some(mut file) = state.files.remove(&number) {
            file.unsynced.clear();
            state.counts.recycled += 1;
            state.free.push(file);
        }
    }

    pub fn free_files(&self) -> usize {
        self.state.borrow().free.len()
    }

    /// Whether another file fits.
    pub fn has_room(&self) -> bool {
        let state = self.state.borrow();
        state.files.len() + state.free.len() < state.room
    }

    /// Adds a free file if it fits.
    pub fn allocate(&self) -> bool {
        let has_room = self.has_room();
        let mut state = self.state.borrow_mut();
        if has_room {
            state.free.push(SegmentFile::default());
        } else {
            state.counts.full += 1;
        }
        has_room
    }

    pub fn raise_number(&self, at_least: u32) {
        let mut state = self.state.borrow_mut();
        state.last_number = state.last_number.max(at_least);
    }

    /// Makes a free file the next segment: header written, named, and both durable.
    pub fn name(&self, size: u32) -> Option<SegmentHeader> {
        let mut state = self.state.borrow_mut();
        let mut file = state.free.pop()?;
        state.last_number += 1;
        let mut nonce = [0; 16];
        state.rng.fill(&mut nonce);
        let header = SegmentHeader { number: state.last_number, size, nonce };
        file.write(0, &header.encode());
        file.unsynced.clear();
        state.files.insert(header.number, file);
        Some(header)
    }

    /// The time that the next write and sync take.
    pub fn begin_turn(&self) -> Duration {
        let mut state = self.state.borrow_mut();
        let most = 2 * state.latency;
        let latency = Duration::from_millis(state.rng.u64(..=most));
        state.busy_since.get_or_insert_with(tokio::time::Instant::now);
        state.hang.take().unwrap_or(latency)
    }

    pub fn end_turn(&self) {
        let mut state = self.state.borrow_mut();
        if let Some(since) = state.busy_since.take() {
            state.recent.push_front(since.elapsed());
            state.recent.truncate(6);
        }
    }

    /// Counts an operation and says what is to become of it.
    fn operation(&self) -> Option<AtOperation> {
        let mut state = self.state.borrow_mut();
        state.operations += 1;
        let operation = state.operations;
        state.planned.remove(&operation)
    }

    /// The process or the machine goes down in the middle of an operation; nobody is left to see this error.
    fn crash(&self, how: AtOperation) -> io::Error {
        self.post.crash(how == AtOperation::PowerCut);
        io::Error::from_raw_os_error(5)
    }
}

impl Disk for FakeDisk {
    type File = u32;

    fn write(&self, &number: &u32, at: u64, blocks: &Blocks) -> io::Result<()> {
        let planned = self.operation();
        let state = &mut *self.state.borrow_mut();
        let file = state.files.get_mut(&number).expect("a file being written is there");
        match planned {
            None => {
                state.counts.writes += 1;
                file.write(at as usize, blocks.as_slice());
                Ok(())
            }
            Some(AtOperation::Fail) => {
                state.counts.failed += 1;
                Err(io::Error::from_raw_os_error(5))
            }
            Some(how) => {
                // Any part of it may be there already.
                let part = state.rng.usize(..=blocks.len() / SECTOR) * SECTOR;
                file.write(at as usize, &blocks.as_slice()[..part]);
                Err(self.crash(how))
            }
        }
    }

    fn sync(&self, &number: &u32) -> io::Result<()> {
        let planned = self.operation();
        if let Some(how) = planned.filter(|how| *how != AtOperation::Fail) {
            return Err(self.crash(how));
        }
        let state = &mut *self.state.borrow_mut();
        let file = state.files.get_mut(&number).expect("a file being synced is there");
        if planned.is_some() {
            // The kernel has dropped the pages: whoever asks again is told that all is well (R2).
            state.counts.failed += 1;
            state.counts.torn += u64::from(file.lose(&mut state.rng));
            return Err(io::Error::from_raw_os_error(5));
        }
        state.counts.syncs += 1;
        file.unsynced.clear();
        self.post.stir();
        Ok(())
    }
}

impl Files for FakeDisk {
    fn read(&mut self, segment: u32, from: u64, len: usize) -> Result<Vec<u8>, String> {
        let state = self.state.borrow();
        let data = &state.files.get(&segment).ok_or("no such file")?.data;
        // A file has its whole size from the start; what was never written is zeros.
        let size = SegmentHeader::decode(data).map_or(data.len(), |header| header.size as usize);
        let from = (from as usize).min(size);
        let end = (from + len).min(size);
        let mut bytes = data[from.min(data.len())..end.min(data.len())].to_vec();
        bytes.resize(end - from, 0);
        Ok(bytes)
    }
}
