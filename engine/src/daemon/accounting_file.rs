//! One accounting file: its names, its bytes, its rotation (reference 2.7, 4.4).
//!
//! Lines are put into [`AcctFile::buffer`] and written at a known offset, so that a write that was cut short is
//! continued where it stopped and a file always ends up in whole lines. Bytes found beyond the cursor's length
//! were written before a crash: the same lines come again from the log, are compared with them and not written
//! twice.

use super::accounting_cursor::Mark;
use crate::acct::Layout;
use crate::base::Wall;
use crate::io::failpoint::{Point, check, due};
use jiff::civil::Date;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;
use vmta_config::QueueFilter;

/// What stands where a file system has a file's length and not its bytes; the layout writes it in no line.
const NEVER_IN_A_LINE: u8 = 0;

/// An `<acct-file>` as configured.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// `/x/acct.csv` makes files `/x/acct-YYYY-MM-DD-NNNN.csv`.
    pub target: PathBuf,
    pub layout: Layout,
    /// Lines of other queues are left out; receipts are not filtered (reference 2.7).
    pub queue_filter: Option<QueueFilter>,
    /// Where finished files go; on the same volume.
    pub move_to: Option<PathBuf>,
    /// How long a file is written before it is finished; only with `move_to`.
    pub move_interval: Duration,
    /// Bytes at which the next file is begun; at least 1 MiB as configured.
    pub max_size: u64,
    /// Days after which finished files are removed; only without `move_to`.
    pub delete_after: Option<u32>,
    pub world_readable: bool,
}

/// What went wrong with a file; nothing is lost by it, the lines are made again from the log.
#[derive(Debug, Error)]
#[error("{}: cannot {action}: {source}", path.display())]
pub struct FileError {
    pub path: PathBuf,
    pub action: &'static str,
    pub source: io::Error,
}

/// Makes the closure that names path and action of a failed call.
pub(super) fn failed<'a>(path: &'a Path, action: &'static str) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError { path: path.to_owned(), action, source }
}

#[derive(Debug)]
struct Open {
    file: File,
    device: u64,
    inode: u64,
    /// Bytes after `mark.length` that were there when the file was opened and are not yet compared.
    existing: u64,
    unsynced: u64,
}

impl Open {
    /// Takes away what a power cut has left beyond the last byte that is a line's: file systems keep the length and lose
    /// what was not synced.
    fn cut_back(&mut self, path: &Path, length: u64) -> Result<(), FileError> {
        tracing::info!(file = %path.display(), length, "accounting file ends in what was never written; cut back");
        self.existing = 0;
        self.file.set_len(length).map_err(failed(path, "cut back to its last line"))
    }
}

/// A file being written, or about to be.
#[derive(Debug)]
pub(super) struct AcctFile {
    pub options: FileOptions,
    /// Where the file stands now; in a cursor's copy, where it stood then.
    pub mark: Mark,
    /// Whole lines on their way into the file.
    pub buffer: Vec<u8>,
    open: Option<Open>,
    /// A sync failed: what the page cache shows beyond the cursor may not be on the disk (as R2).
    distrusted: bool,
}

impl AcctFile {
    pub fn new(options: FileOptions) -> AcctFile {
        let mark = Mark { target: options.target.clone(), ..Mark::default() };
        AcctFile { options, mark, buffer: Vec::new(), open: None, distrusted: false }
    }

    /// Goes back to `mark`, the file's place in the cursor: at start, and after any failure.
    pub fn reopen(&mut self, mark: Mark) -> Result<(), FileError> {
        self.buffer.clear();
        self.open = None;
        self.mark = mark;
        let Some(path) = self.mark.path.clone() else { return Ok(()) };
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if self.mark.length > 0 {
                    self.close();
                }
                return Ok(());
            }
            Err(e) => return Err(failed(&path, "open")(e)),
        };
        let found = file.metadata().map_err(failed(&path, "examine"))?;
        if found.len() < self.mark.length {
            tracing::warn!(file = %path.display(), "accounting file was cut short by someone; going on in a new one");
            self.close();
            return Ok(());
        }
        if self.mark.length > 0 && !self.has_our_header(&file).map_err(failed(&path, "read"))? {
            tracing::info!(file = %path.display(), "accounting file has other columns than configured; going on in a new one");
            self.close();
            return Ok(());
        }
        // The process that created it was ended, perhaps before its name was durable.
        self.sync_directory()?;
        if self.distrusted {
            file.set_len(self.mark.length).map_err(failed(&path, "cut back to its synced length"))?;
            self.distrusted = false;
        }
        self.set_open(file, &path)
    }

    /// Whether the file's columns are those of the configuration.
    fn has_our_header(&self, file: &File) -> io::Result<bool> {
        let mut ours = Vec::with_capacity(512);
        self.options.layout.push_header(&mut ours);
        let mut there = vec![0; ours.len()];
        match file.read_exact_at(&mut there, 0) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| there == ours),
        }
    }

    fn set_open(&mut self, file: File, path: &Path) -> Result<(), FileError> {
        let found = file.metadata().map_err(failed(path, "examine"))?;
        let existing = found.len().saturating_sub(self.mark.length);
        self.open = Some(Open { file, device: found.dev(), inode: found.ino(), existing, unsynced: 0 });
        Ok(())
    }

    /// Bytes written and not yet synced.
    pub fn unsynced(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.unsynced)
    }

    /// Leaves the file as it is; the next line begins a new one.
    pub fn close(&mut self) {
        self.open = None;
        self.mark.path = None;
        self.mark.length = 0;
    }

    /// Notices that someone removed, replaced or emptied the file (F25) and leaves it to them.
    pub fn check_replaced(&mut self) {
        let (Some(open), Some(path)) = (&self.open, &self.mark.path) else { return };
        let same = fs::metadata(path)
            .is_ok_and(|m| m.dev() == open.device && m.ino() == open.inode && m.len() >= self.mark.length);
        if !same {
            tracing::info!(file = %path.display(), "accounting file was removed or replaced; beginning a new one");
            self.close();
        }
    }

    /// Whether there are lines and no file to put them into.
    pub fn needs_name(&self) -> bool {
        !self.buffer.is_empty() && self.mark.path.is_none()
    }

    /// Chooses the next free name of `day`. The cursor must be saved before the file is created.
    pub fn choose_name(&mut self, day: &str, now: Wall) -> Result<(), FileError> {
        let mut next = if self.mark.day == day { self.mark.number + 1 } else { 0 };
        for directory in [Some(self.directory()), self.options.move_to.as_deref()].into_iter().flatten() {
            for entry in fs::read_dir(directory).map_err(failed(directory, "list"))? {
                let entry = entry.map_err(failed(directory, "list"))?;
                match self.parse_name(&entry.file_name().to_string_lossy()) {
                    Some((date, number)) if date == day => next = next.max(number.saturating_add(1)),
                    _ => {}
                }
            }
        }
        let (stem, extension) = self.stem_and_extension();
        let path = self.directory().join(format!("{stem}-{day}-{next:04}{extension}"));
        self.mark.path = Some(path);
        self.mark.length = 0;
        self.mark.opened_at = now.0;
        self.mark.day = day.to_owned();
        self.mark.number = next;
        Ok(())
    }

    fn directory(&self) -> &Path {
        self.options.target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// `acct` and `.csv` of `/x/acct.csv`.
    fn stem_and_extension(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let extension = text(self.options.target.extension());
        (
            text(self.options.target.file_stem()),
            if extension.is_empty() { extension } else { format!(".{extension}") },
        )
    }

    /// Day and number of a file of ours.
    fn parse_name(&self, name: &str) -> Option<(String, u32)> {
        let (stem, extension) = self.stem_and_extension();
        let rest = name.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(&extension)?;
        let (day, number) = (rest.get(..10)?, rest.get(10..)?.strip_prefix('-')?);
        let digits = number.len() >= 4 && number.bytes().all(|b| b.is_ascii_digit());
        if !digits || day.parse::<Date>().is_err() {
            return None;
        }
        Some((day.to_owned(), number.parse().ok()?))
    }

    /// Puts the buffer into the file, creating it where needed. On `Err` the buffer's fate is unknown and
    /// [`AcctFile::reopen`] must follow. The buffer keeps its lines when the file turns out not to be ours to
    /// continue; then it needs a name again.
    pub fn write_out(&mut self) -> Result<(), FileError> {
        let Some(path) = self.mark.path.clone() else { return Ok(()) };
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.open.is_none() {
            self.create(&path)?;
        }
        let mut header = 0;
        if self.mark.length == 0 {
            let mut first = Vec::with_capacity(512 + self.buffer.len());
            self.options.layout.push_header(&mut first);
            header = first.len();
            first.append(&mut self.buffer);
            self.buffer = first;
        }
        let Some(known) = self.compare(&path, header)? else { return Ok(()) };
        let Some(open) = &mut self.open else { return Ok(()) };
        let mut rest = &self.buffer[known..];
        if let Some(due) = (!rest.is_empty()).then(|| due(Point::AccountingMidLine)).flatten() {
            let torn = open.file.write_at(&rest[..rest.len() / 2], self.mark.length);
            torn.and_then(|_| due.act()).map_err(failed(&path, "write"))?;
        }
        while !rest.is_empty() {
            match open.file.write_at(rest, self.mark.length) {
                Ok(0) => return Err(failed(&path, "write")(io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    rest = &rest[n..];
                    self.mark.length += n as u64;
                    open.unsynced += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed(&path, "write")(e)),
            }
        }
        self.buffer.clear();
        Ok(())
    }

    fn create(&mut self, path: &Path) -> Result<(), FileError> {
        let mode = if self.options.world_readable { 0o644 } else { 0o640 };
        let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(mode)
            .custom_flags(flags)
            .open(path)
            .map_err(failed(path, "create"))?;
        check(Point::AccountingCreated).map_err(failed(path, "create"))?;
        self.sync_directory()?;
        self.set_open(file, path)
    }

    fn sync_directory(&self) -> Result<(), FileError> {
        let directory = self.directory();
        File::open(directory).and_then(|d| d.sync_all()).map_err(failed(directory, "sync"))
    }

    /// Compares the buffer with bytes that are already in the file. Gives the number of bytes that need not be
    /// written, or `None` when the file holds something else: then it is left alone and closed, and the buffer
    /// keeps the lines it lacks (`header` bytes at its beginning are not of them).
    fn compare(&mut self, path: &Path, header: usize) -> Result<Option<usize>, FileError> {
        let mut known = 0;
        let Some(open) = &mut self.open else { return Ok(Some(0)) };
        let mut chunk = [0u8; 16 << 10];
        while open.existing > 0 && known < self.buffer.len() {
            let most = chunk
                .len()
                .min(self.buffer.len() - known)
                .min(open.existing.try_into().unwrap_or(usize::MAX));
            let n = open.file.read_at(&mut chunk[..most], self.mark.length).map_err(failed(path, "read"))?;
            if n == 0 {
                open.existing = 0; // cut short by someone since; the lines are written again
                break;
            }
            if chunk[..n] != self.buffer[known..known + n] {
                let same = chunk[..n]
                    .iter()
                    .zip(&self.buffer[known..])
                    .take_while(|(there, line)| there == line)
                    .count();
                if chunk[same] == NEVER_IN_A_LINE {
                    open.unsynced += same as u64;
                    self.mark.length += same as u64;
                    open.cut_back(path, self.mark.length)?;
                    return Ok(Some(known + same));
                }
                tracing::warn!(file = %path.display(), "accounting file holds other lines than the log; going on in a new one");
                let lines = memchr::memrchr(b'\n', &self.buffer[..known]).map_or(0, |at| at + 1);
                self.buffer.drain(..lines.max(header));
                self.close();
                return Ok(None);
            }
            known += n;
            open.existing -= n as u64;
            // The process that wrote them was ended, perhaps before it synced them.
            open.unsynced += n as u64;
            self.mark.length += n as u64;
        }
        Ok(Some(known))
    }

    /// Whether bytes from before a crash are still to be compared; until then the file cannot be finished.
    pub fn is_comparing(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.existing > 0)
    }

    /// The log has no more lines for the present: what is still uncompared is not from it.
    pub fn end_of_comparison(&mut self) -> Result<(), FileError> {
        let (Some(open), Some(path)) = (&mut self.open, &self.mark.path) else { return Ok(()) };
        if open.existing == 0 {
            return Ok(());
        }
        let mut next = [0];
        open.file.read_at(&mut next, self.mark.length).map_err(failed(path, "read"))?;
        if next[0] == NEVER_IN_A_LINE {
            return open.cut_back(path, self.mark.length);
        }
        tracing::warn!(file = ?self.mark.path, "accounting file ends in lines the log does not have; going on in a new one");
        self.close();
        Ok(())
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> Result<(), FileError> {
        let (Some(open), Some(path)) = (&mut self.open, &self.mark.path) else { return Ok(()) };
        if open.unsynced == 0 {
            return Ok(());
        }
        if let Err(e) = check(Point::AccountingWritten).and_then(|()| open.file.sync_data()) {
            self.distrusted = true;
            return Err(failed(path, "sync")(e));
        }
        open.unsynced = 0;
        Ok(())
    }

    /// Whether the file is to be finished: at midnight, at its size, at its age.
    pub fn is_due(&self, today: &str, now: Wall) -> bool {
        let aged = || {
            self.options.move_to.is_some()
                && u128::try_from(now.0.saturating_sub(self.mark.opened_at))
                    .is_ok_and(|ms| ms >= self.options.move_interval.as_millis())
        };
        self.mark.path.is_some()
            && (self.mark.day != today || self.mark.length >= self.options.max_size || aged())
    }

    /// Moves finished files to `move-to`, or removes those older than `delete-after`. Safe to repeat.
    pub fn sweep(&self, today: &str) -> Result<(), FileError> {
        if self.options.move_to.is_none() && self.options.delete_after.is_none() {
            return Ok(());
        }
        let directory = self.directory();
        let today: Option<Date> = today.parse().ok();
        for entry in fs::read_dir(directory).map_err(failed(directory, "list"))? {
            let entry = entry.map_err(failed(directory, "list"))?;
            let (path, name) = (entry.path(), entry.file_name());
            let Some((day, _)) = self.parse_name(&name.to_string_lossy()) else { continue };
            if self.mark.path.as_deref() == Some(&path) {
                continue;
            }
            if let Some(move_to) = &self.options.move_to {
                let moved = move_to.join(&name);
                if moved.exists() {
                    tracing::warn!(file = %path.display(), to = %moved.display(), "not moved: a file of that name is there");
                } else {
                    let moving = check(Point::AccountingMove).and_then(|()| fs::rename(&path, &moved));
                    moving.map_err(failed(&path, "move to the move-to directory"))?;
                }
            } else if let (Some(days), Some(today), Ok(day)) =
                (self.options.delete_after, today, day.parse::<Date>())
            {
                let age = today.since(day).map_or(0, |span| span.get_days());
                if i64::from(age) >= i64::from(days) {
                    fs::remove_file(&path).map_err(failed(&path, "remove"))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl AcctFile {
    /// Lets the open file write to the device that is always full.
    pub fn swap_in_full_device(&mut self) {
        if let Some(open) = &mut self.open {
            open.file = OpenOptions::new().write(true).open("/dev/full").expect("Linux has /dev/full");
        }
    }
}
