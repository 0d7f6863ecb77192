//! Fresh segments, made ready ahead of need on a thread of their own: zeroing 32 MiB takes tens of milliseconds,
//! which no commit should wait for.
//!
//! A file is allocated (never sparse), zeroed once and synced as `.new`, becomes `.free`, gets its header and
//! becomes `.seg`; each step is durable before the next (R1c, F06). A retired segment re-enters as `.free`.

use super::failpoint::{Point, check, pass};
use super::storage_counters::Counters;
use super::storage_files::{Directory, free_name, new_name};
use super::storage_inbox::{Gathered, Inbox};
use crate::base::planted::{Bug, planted};
use crate::spool::SpoolError;
use crate::spool::block::Blocks;
use crate::spool::forward::{Plan, gather};
use crate::spool::header::SegmentHeader;
use crate::spool::segments::{Segments, file_name};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Free files kept besides the prepared segment, where the disk has room.
const SPARE: usize = 3;
/// More than this many free files are given back to the file system.
const SPARE_MAX: usize = 16;
/// How often free space is looked at (F11: intake resumes within 5 s).
const LOOK: Duration = Duration::from_secs(1);

/// Bytes zeroed by one write.
const ZEROS: usize = 1 << 20;
/// What a file system answers that does not take O_DIRECT.
const EINVAL: i32 = rustix::io::Errno::INVAL.raw_os_error();

pub enum Wish {
    /// Make the next segment.
    Prepare,
    /// The segment is retired and nobody reads it: its file may be used again.
    Recycle(u32),
    /// Read what a segment still holds.
    Gather(Plan),
}

/// A segment ready to be written.
pub struct Prepared<F = File> {
    pub header: SegmentHeader,
    pub file: F,
}

pub(super) struct Preparer {
    pub directory: Arc<Directory>,
    pub size: u32,
    pub direct: bool,
    /// `None`: a tenth of the file system, at most 1 GiB.
    pub min_free_space: Option<u64>,
    pub next_number: u32,
    pub free: Vec<u32>,
    pub counters: Arc<Counters>,
    pub wishes: Receiver<Wish>,
    pub ready: Sender<Result<Prepared, SpoolError>>,
    pub segments: Arc<Segments>,
    pub inbox: Arc<Inbox>,
}

impl Preparer {
    /// Serves wishes until the storage thread is gone.
    pub fn run(mut self) {
        let mut wanted = 0u32;
        let mut prepared = 0u32;
        loop {
            self.look();
            while wanted > 0 {
                match self.prepare() {
                    Ok(Some(segment)) => {
                        (wanted, prepared) = (wanted - 1, 1);
                        self.count(prepared);
                        if self.ready.send(Ok(segment)).is_err() {
                            return;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        let _ = self.ready.send(Err(error));
                        return;
                    }
                }
            }
            self.stock();
            self.count(prepared);
            match self.wishes.recv_timeout(LOOK) {
                Ok(Wish::Prepare) => (wanted, prepared) = (wanted + 1, 0),
                Ok(Wish::Recycle(number)) => self.recycle(number),
                Ok(Wish::Gather(plan)) => self.gather(plan),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Makes a segment at once, for the start.
    pub fn first(&mut self) -> Result<Prepared, SpoolError> {
        self.look();
        let free_segments = self.free.len() as u32;
        self.prepare()?.ok_or(SpoolError::Full { free_segments })
    }

    fn count(&self, prepared: u32) {
        self.counters.segments_free.store(self.free.len() as u32 + prepared, Relaxed);
    }

    /// Notes whether another segment could be allocated.
    fn look(&self) {
        let low = match self.directory.space() {
            Ok((free, size)) => {
                let reserve = self.min_free_space.unwrap_or((size / 10).min(1 << 30));
                free < reserve.saturating_add(u64::from(self.size))
            }
            Err(_) => false,
        };
        if low != self.counters.space_low.swap(low, Relaxed) {
            let path = self.directory.path.display();
            if low {
                tracing::warn!(%path, "little disk space is left: no further spool segments are allocated");
            } else {
                tracing::info!(%path, "disk space has returned");
            }
        }
    }

    /// Keeps a stock of free files, one at a time so that wishes are not kept waiting.
    fn stock(&mut self) {
        if self.free.len() < SPARE && !self.counters.space_low.load(Relaxed) {
            match self.allocate() {
                Ok(number) => self.free.push(number),
                Err(error) => {
                    self.counters.space_low.store(true, Relaxed);
                    tracing::warn!(%error, "no further spool segment could be allocated");
                }
            }
        }
        while self.free.len() > SPARE_MAX
            && let Some(number) = self.free.pop()
        {
            pass(Point::SegmentUnlink);
            let _ = fs::remove_file(self.path(&free_name(number)));
        }
    }

    fn recycle(&mut self, number: u32) {
        pass(Point::SegmentRecycle);
        // The new header must not reach the device before the old name has gone: after a power cut the file would stand
        // there under one number and speak of another.
        match self.directory.free(number).and_then(|()| self.directory.sync()) {
            Ok(()) => {
                pass(Point::SegmentRecycled);
                self.free.push(number);
            }
            Err(error) => tracing::error!(%error, "a retired spool segment could not be recycled"),
        }
    }

    /// The storage thread has better things to do than to read old records.
    fn gather(&self, plan: Plan) {
        let segment = plan.segment;
        let forward = gather(plan, &self.segments)
            .inspect_err(|error| tracing::warn!(segment, %error, "a spool segment cannot be emptied"));
        self.inbox.gathered(Gathered { segment, forward: forward.ok() });
    }

    /// `None` when there is no space for a segment.
    fn prepare(&mut self) -> Result<Option<Prepared>, SpoolError> {
        while let Some(number) = self.free.pop() {
            let path = self.path(&free_name(number));
            if fs::metadata(&path).is_ok_and(|file| file.len() == u64::from(self.size)) {
                return self.name(&path).map(Some);
            }
            // Of another size, from before a change of the configuration, or cut short.
            pass(Point::SegmentUnlink);
            let _ = fs::remove_file(path);
        }
        match self.allocate() {
            Ok(number) => self.name(&self.path(&free_name(number))).map(Some),
            Err(SpoolError::Io { why, .. }) => {
                tracing::warn!(%why, "no spool segment could be allocated");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a free file its header and its name.
    fn name(&mut self, path: &Path) -> Result<Prepared, SpoolError> {
        let header = SegmentHeader { number: self.take_number(), size: self.size, nonce: nonce()? };
        let bytes = header.encode();
        let mut blocks = Blocks::with_capacity(bytes.len());
        blocks.push(&bytes);
        let blocks = blocks.finish();
        let failed = |e: io::Error| SpoolError::io(path, "write the segment header of", e);
        let mut file = self.open(path).map_err(failed)?;
        let mut written = file.write_all_at(blocks.as_slice(), 0);
        if self.direct && written.as_ref().is_err_and(|e| e.raw_os_error() == Some(EINVAL)) {
            self.direct = false;
            file = self.open(path).map_err(failed)?;
            written = file.write_all_at(blocks.as_slice(), 0);
        }
        let synced = written.and_then(|()| check(Point::SegmentHeader)).and_then(|()| file.sync_all());
        synced.and_then(|()| check(Point::SegmentHeaded)).map_err(failed)?;
        self.counters.direct.store(self.direct, Relaxed);
        let segment = self.path(&file_name(header.number));
        let named = fs::rename(path, &segment).and_then(|()| check(Point::SegmentNamed));
        named.map_err(|e| SpoolError::io(&segment, "rename to", e))?;
        self.directory.sync()?;
        pass(Point::SegmentReady);
        Ok(Prepared { header, file })
    }

    fn open(&mut self, path: &Path) -> io::Result<File> {
        let flags = |direct: bool| OFlags::NOFOLLOW | if direct { OFlags::DIRECT } else { OFlags::empty() };
        let open =
            |direct| OpenOptions::new().write(true).custom_flags(flags(direct).bits() as i32).open(path);
        open(self.direct).or_else(|_| {
            self.direct = false;
            open(false)
        })
    }

    /// Allocates and zeroes a file; returns the number of its `.free` name.
    fn allocate(&mut self) -> Result<u32, SpoolError> {
        let number = self.take_number();
        let path = self.path(&new_name(number));
        let made = self.zero(&path).and_then(|()| {
            check(Point::SegmentSynced)?;
            fs::rename(&path, self.path(&free_name(number)))?;
            check(Point::SegmentStocked)
        });
        if let Err(error) = made {
            let _ = fs::remove_file(&path);
            return Err(SpoolError::io(path, "allocate", error));
        }
        self.directory.sync()?;
        Ok(number)
    }

    /// Around the page cache where possible: nobody is going to read these zeros.
    fn zero(&mut self, path: &Path) -> io::Result<()> {
        let flags = OFlags::NOFOLLOW.bits() as i32;
        OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)?;
        check(Point::SegmentCreate)?;
        let mut file = self.open(path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, u64::from(self.size)) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        let mut zeros = Blocks::with_capacity(ZEROS);
        zeros.push(&vec![0; ZEROS]);
        let zeros = zeros.finish();
        let mut at = 0;
        while at < self.size as usize {
            let len = ZEROS.min(self.size as usize - at);
            match file.write_all_at(&zeros.as_slice()[..len], at as u64) {
                Ok(()) => at += len,
                Err(error) if self.direct && error.raw_os_error() == Some(EINVAL) => {
                    self.direct = false;
                    file = self.open(path)?;
                }
                Err(error) => return Err(error),
            }
        }
        check(Point::SegmentAllocated)?;
        file.sync_all()
    }

    fn take_number(&mut self) -> u32 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path.join(name)
    }
}

fn nonce() -> Result<[u8; 16], SpoolError> {
    let mut nonce = [0; 16];
    if planted(Bug::ReuseNonce) {
        return Ok(nonce);
    }
    let filled = rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut nonce);
    filled.map_err(|_| SpoolError::Failed { why: "the system gives no random numbers".into() })?;
    Ok(nonce)
}

/// The channel ends the storage thread keeps.
pub struct Supply<F = File> {
    pub wishes: Sender<Wish>,
    pub ready: Receiver<Result<Prepared<F>, SpoolError>>,
}
