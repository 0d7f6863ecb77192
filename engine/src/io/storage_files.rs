//! The spool directory: who may use it (F20, F21), which files it holds, and recovery from them.
//!
//! `NNNNNNNNNN.seg` is a segment; `.free` a zeroed file waiting to become one; `.new` one being zeroed.

use super::failpoint::{Point, check, pass};
use crate::base::planted::{Bug, planted};
use crate::spool::SpoolError;
use crate::spool::header::{DATA_START, HeaderError, SegmentHeader, VERSION};
use crate::spool::recover::{Files, Recovery, recover};
use crate::spool::segments::file_name;
use rustix::fs::{Advice, FlockOperation, OFlags, fadvise, flock};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A spool directory that this process has locked.
#[derive(Debug)]
pub struct Directory {
    pub path: PathBuf,
    /// Holds the lock, and syncs names.
    handle: File,
    pub headers: BTreeMap<u32, SegmentHeader>,
    pub unreadable: Vec<u32>,
    /// Numbers of files that wait to become segments.
    pub free: Vec<u32>,
}

/// The numbers that a file name can carry, by its ending.
enum Named {
    Segment(u32),
    Free(u32),
    New,
    Other,
}

impl Directory {
    /// Opens and locks the spool at `path`, making it when it is missing and `create` says so. `known` are
    /// beginnings of the names of other files that may stand there.
    pub fn open(path: &Path, known: &[String], create: bool) -> Result<Directory, SpoolError> {
        let io = |operation| move |e: std::io::Error| SpoolError::io(path, operation, e);
        if create && !path.exists() {
            DirBuilder::new().mode(0o700).create(path).map_err(io("create directory"))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent).and_then(|dir| dir.sync_all()).map_err(io("sync the directory above"))?;
            }
        }
        check_owner(path, &fs::symlink_metadata(path).map_err(io("stat"))?, 0o700)?;
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits() as i32;
        let handle = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io("open"))?;
        lock(path, &handle)?;
        pass(Point::RecoveryLocked);
        let mut directory = Directory {
            path: path.to_path_buf(),
            handle,
            headers: BTreeMap::new(),
            unreadable: vec![],
            free: vec![],
        };
        directory.list(known, create)?;
        Ok(directory)
    }

    fn list(&mut self, known: &[String], repair: bool) -> Result<(), SpoolError> {
        let entries = fs::read_dir(&self.path).map_err(|e| SpoolError::io(&self.path, "list", e))?;
        for entry in entries {
            let entry = entry.map_err(|e| SpoolError::io(&self.path, "list", e))?;
            let path = entry.path();
            let metadata = fs::symlink_metadata(&path).map_err(|e| SpoolError::io(&path, "stat", e))?;
            check_owner(&path, &metadata, 0o600)?;
            let name = entry.file_name().into_string().unwrap_or_default();
            match named(&name) {
                Named::Segment(number) => self.read_header(number, &path)?,
                Named::Free(number) => self.free.push(number),
                Named::New if repair => {
                    pass(Point::RecoveryLeftOver);
                    fs::remove_file(&path).map_err(|e| SpoolError::io(&path, "remove", e))?;
                }
                Named::New => {}
                Named::Other
                    if name == "lock" || known.iter().any(|known| name.starts_with(known.as_str())) => {}
                Named::Other => {
                    let why = "this file does not belong into a spool directory".into();
                    return Err(SpoolError::Foreign { path, why });
                }
            }
        }
        Ok(())
    }

    fn read_header(&mut self, number: u32, path: &Path) -> Result<(), SpoolError> {
        let mut bytes = Vec::with_capacity(DATA_START);
        let flags = OFlags::NOFOLLOW.bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = check(Point::RecoveryHeader).and(file);
        let read = file.and_then(|file| file.take(DATA_START as u64).read_to_end(&mut bytes));
        // A device that refuses to read is damage to report, not a reason to leave the rest unserved.
        let header = read.map_err(|_| HeaderError::Unreadable).and_then(|_| SegmentHeader::decode(&bytes));
        match header {
            Ok(header) if header.number == number => {
                self.headers.insert(number, header);
            }
            Ok(header) => {
                let why = format!(
                    "its header says that it is segment {}, which is a copy or was renamed",
                    header.number
                );
                return Err(SpoolError::Foreign { path: path.to_path_buf(), why });
            }
            Err(HeaderError::Version(found)) => {
                return Err(SpoolError::Version { path: path.to_path_buf(), found, known: VERSION });
            }
            Err(HeaderError::Unreadable) => self.unreadable.push(number),
        }
        Ok(())
    }

    /// Reads everything and rebuilds the ledger. Changes nothing.
    pub fn recover(&self) -> Recovery {
        let mut recovery = recover(
            &self.headers,
            &self.unreadable,
            &mut Reader { directory: self, open: None, dropped: BTreeSet::new() },
        );
        let last_free = self.free.iter().max().map_or(1, |last| last + 1);
        recovery.next_number = recovery.next_number.max(last_free);
        recovery
    }

    /// Makes durable what recovery has found in the newest segments: a killed process leaves writes in the page
    /// cache that were never synced.
    pub fn settle(&self, recovery: &Recovery) -> Result<(), SpoolError> {
        for end in
            recovery.ledger.ends().iter().rev().take(2).filter(|end| self.headers.contains_key(&end.segment))
        {
            let path = self.path.join(file_name(end.segment));
            let synced = check(Point::RecoverySettle).and_then(|()| File::open(&path)?.sync_data());
            synced.map_err(|e| SpoolError::io(&path, "sync", e))?;
        }
        pass(Point::RecoverySettled);
        Ok(())
    }

    /// Renames a segment that nothing needs to a free file.
    pub fn free(&self, number: u32) -> Result<(), SpoolError> {
        let (from, to) = (self.path.join(file_name(number)), self.path.join(free_name(number)));
        fs::rename(&from, to).map_err(|e| SpoolError::io(&from, "rename", e))
    }

    /// Makes names durable.
    pub fn sync(&self) -> Result<(), SpoolError> {
        if planted(Bug::SkipDirectorySync) {
            return Ok(());
        }
        self.handle.sync_all().map_err(|e| SpoolError::io(&self.path, "sync directory", e))
    }

    /// Bytes that this user may still allocate on the file system, and its size.
    pub fn space(&self) -> std::io::Result<(u64, u64)> {
        let fs = rustix::fs::fstatvfs(&self.handle)?;
        Ok((fs.f_bavail * fs.f_frsize, fs.f_blocks * fs.f_frsize))
    }

    /// Whether the file system keeps nothing over a power cut (F08).
    pub fn is_volatile(&self) -> bool {
        const TMPFS: i64 = 0x0102_1994;
        const RAMFS: i64 = 0x8584_58f6;
        rustix::fs::fstatfs(&self.handle).is_ok_and(|fs| [TMPFS, RAMFS].contains(&fs.f_type))
    }
}

pub(super) fn free_name(number: u32) -> String {
    format!("{number:010}.free")
}

pub(super) fn new_name(number: u32) -> String {
    format!("{number:010}.new")
}

fn named(name: &str) -> Named {
    let Some((digits, ending)) = name.split_once('.') else { return Named::Other };
    let number = (digits.len() == 10).then(|| digits.parse::<u32>().ok()).flatten();
    match (number, ending) {
        (Some(number @ 1..), "seg") => Named::Segment(number),
        (Some(number @ 1..), "free") => Named::Free(number),
        (Some(1..), "new") => Named::New,
        _ => Named::Other,
    }
}

fn check_owner(path: &Path, metadata: &fs::Metadata, mode: u32) -> Result<(), SpoolError> {
    let foreign = |why: String| Err(SpoolError::Foreign { path: path.to_path_buf(), why });
    let directory = mode == 0o700;
    if metadata.is_symlink() || metadata.is_dir() != directory || (!directory && !metadata.is_file()) {
        let wanted = if directory { "a directory" } else { "an ordinary file" };
        return foreign(format!("this is not {wanted} (symbolic links are not followed)"));
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return foreign(format!(
            "it belongs to user {}, not to {user} who runs this program",
            metadata.uid()
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        return foreign(format!("its mode is {:o} and must be {mode:o}", metadata.mode() & 0o777));
    }
    Ok(())
}

/// The lock is on the directory itself, so that removing files does not free it; the file `lock` only names the
/// holder.
fn lock(path: &Path, handle: &File) -> Result<(), SpoolError> {
    let name = path.join("lock");
    if flock(handle, FlockOperation::NonBlockingLockExclusive).is_err() {
        let pid = fs::read_to_string(&name).unwrap_or_default().trim().to_string();
        let pid = if pid.is_empty() { "(unknown)".into() } else { pid };
        return Err(SpoolError::Locked { path: path.to_path_buf(), pid });
    }
    let flags = OFlags::NOFOLLOW.bits() as i32;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(&name);
    let written = file.and_then(|file| file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0));
    written.map_err(|e| SpoolError::io(&name, "write", e))
}

/// Reads segment files from the device for recovery, one open at a time.
struct Reader<'a> {
    directory: &'a Directory,
    open: Option<(u32, File)>,
    /// Segments whose cached pages have been dropped.
    dropped: BTreeSet<u32>,
}

impl Files for Reader<'_> {
    fn read(&mut self, segment: u32, from: u64, len: usize) -> Result<Vec<u8>, String> {
        if self.open.as_ref().is_none_or(|(number, _)| *number != segment) {
            let path = self.directory.path.join(file_name(segment));
            let flags = OFlags::NOFOLLOW.bits() as i32;
            let file =
                OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|e| e.to_string())?;
            // After a failed sync the page cache may hold what the device does not (R2): read the device.
            // Advice that is refused leaves us with the cache, as any other reader would be.
            if self.dropped.insert(segment) {
                let _ = fadvise(&file, 0, None, Advice::DontNeed);
            }
            self.open = Some((segment, file));
        }
        let Some((_, file)) = &self.open else { return Err("not open".into()) };
        check(Point::RecoveryRead).map_err(|e| e.to_string())?;
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            match file.read_at(&mut bytes[done..], from + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.to_string()),
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }
}
