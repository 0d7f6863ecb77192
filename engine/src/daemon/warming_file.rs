//! The file of warm-ups in the spool directory: a line for each change of a warm-up, the last one of each counts. It is written
//! anew as a whole now and then, and each line has a checksum.
//!
//! A file that is missing in a spool that has been used, or has a line that is not what was written, says nothing sure of
//! what was given today. The day then ends for all warm-ups: too little is given rather than too much.

use crate::limit::{Book, Day, Pair, Warming};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const FILE: &str = "warming";
/// Lines beyond two for each warm-up before the file is written anew.
const SPARE: usize = 1024;

#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct WarmingFileError {
    path: PathBuf,
    source: io::Error,
}

/// A line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// The first one, and the day of which nothing is known.
    Closed(Option<Day>),
    At {
        vmta: String,
        domain: String,
        #[serde(flatten)]
        warming: Warming,
    },
}

/// Why the day is over for all warm-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    Missing,
    /// The first line that is not what was written.
    Broken(usize),
}

/// The file, open for further lines.
#[derive(Debug)]
pub struct WarmingFile {
    path: PathBuf,
    /// `None` while nothing can be appended, since a line may be there in part or the disk was full.
    file: Option<File>,
    lines: usize,
}

impl WarmingFile {
    /// Reads the file of the spool in `directory`, or makes it: of a `new` spool, with nothing given. On a full disk that is
    /// left to the first change, so that the engine can start and make room.
    ///
    /// # Errors
    /// When it can be neither read nor written.
    pub fn open(
        directory: &Path,
        new: bool,
        today: Day,
    ) -> Result<(WarmingFile, Book, Option<Unknown>), WarmingFileError> {
        let path = directory.join(FILE);
        let fault = |source| WarmingFileError { path: path.clone(), source };
        let (book, unknown) = match fs::read(&path) {
            Ok(bytes) => read(&bytes, today),
            Err(e) if e.kind() == ErrorKind::NotFound && new => (Book::default(), None),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                (Book::resume([], Some(today)), Some(Unknown::Missing))
            }
            Err(e) => return Err(fault(e)),
        };
        let (file, lines) = match write_anew(&path, &book) {
            Ok((file, lines)) => (Some(file), lines),
            Err(e) if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => (None, 0),
            Err(e) => return Err(fault(e)),
        };
        Ok((WarmingFile { path, file, lines }, book, unknown))
    }

    /// Makes the changes durable.
    ///
    /// # Errors
    /// When they may not be. The next call writes the whole file.
    pub fn append(&mut self, changed: &[(Pair, Warming)], book: &Book) -> io::Result<()> {
        let Some(mut file) = self.file.take().filter(|_| self.lines <= 2 * book.len() + SPARE) else {
            return self.rewrite(book);
        };
        let mut text = String::new();
        changed.iter().for_each(|(pair, warming)| put(&mut text, &at(pair, *warming)));
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        self.file = Some(file);
        self.lines += changed.len();
        Ok(())
    }

    /// Writes the whole file, in the place of the old one.
    ///
    /// # Errors
    /// When it may not be there. The next call tries it again.
    pub fn rewrite(&mut self, book: &Book) -> io::Result<()> {
        self.file = None;
        let (file, lines) = write_anew(&self.path, book)?;
        (self.file, self.lines) = (Some(file), lines);
        Ok(())
    }
}

fn write_anew(path: &Path, book: &Book) -> io::Result<(File, usize)> {
    let mut text = String::new();
    put(&mut text, &Line::Closed(book.closed));
    let entries = book.entries();
    entries.iter().for_each(|(pair, warming)| put(&mut text, &at(pair, *warming)));
    let unfinished = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok((file, entries.len() + 1))
}

fn at(pair: &Pair, warming: Warming) -> Line {
    Line::At { vmta: pair.vmta.to_string(), domain: pair.domain.to_string(), warming }
}

fn put(text: &mut String, line: &Line) {
    let json = serde_json::to_string(line).unwrap_or_default();
    let _ = writeln!(text, "{:016x} {json}", checksum(json.as_bytes()));
}

fn checksum(json: &[u8]) -> u64 {
    SipHasher13::new().hash(json)
}

/// A last line without an end was being written when the engine ended; nothing was given on account of it.
fn read(bytes: &[u8], today: Day) -> (Book, Option<Unknown>) {
    let mut entries = BTreeMap::new();
    let (mut closed, mut broken) = (None, None);
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
    let mut count = 0;
    for line in lines {
        count += 1;
        match parse(line) {
            Some(Line::Closed(day)) if count == 1 => closed = day,
            Some(Line::At { vmta, domain, warming }) if count > 1 => {
                entries.insert(Pair { vmta: vmta.into(), domain: domain.into() }, warming);
            }
            _ => broken = broken.or(Some(count)),
        }
    }
    if count == 0 {
        broken = Some(1);
    }
    let closed = if broken.is_some() { Some(today) } else { closed.filter(|day| *day >= today) };
    (Book::resume(entries, closed), broken.map(Unknown::Broken))
}

fn parse(line: &[u8]) -> Option<Line> {
    let (sum, json) = line.split_at_checked(17)?;
    let sum = u64::from_str_radix(str::from_utf8(sum).ok()?.strip_suffix(' ')?, 16).ok()?;
    (sum == checksum(json)).then(|| serde_json::from_slice(json).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Candidate, Terms};

    const TODAY: Day = Day(20_000);

    fn give(book: &mut Book, file: &mut WarmingFile, count: usize, today: Day) -> usize {
        let pair = Pair { vmta: "cold".into(), domain: "a.example".into() };
        let candidates = [Candidate { pair, terms: Terms { limits: &[20], ..Terms::default() } }];
        let taken = (0..count).filter_map(|_| book.take(&candidates, today)).count();
        let changed = book.reserve();
        file.append(&changed, book).unwrap();
        taken
    }

    fn open(dir: &Path, today: Day) -> (WarmingFile, Book, Option<Unknown>) {
        WarmingFile::open(dir, false, today).unwrap()
    }

    #[test]
    fn what_was_given_outlasts_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, mut book, unknown) = WarmingFile::open(dir.path(), true, TODAY).unwrap();
        assert_eq!((give(&mut book, &mut file, 5, TODAY), unknown), (5, None));
        let (mut file, mut book, unknown) = open(dir.path(), TODAY);
        // A tenth of the day was reserved beyond the five.
        assert_eq!((give(&mut book, &mut file, 20, TODAY), unknown), (13, None));
        let (mut file, mut book, _) = open(dir.path(), TODAY);
        assert_eq!(give(&mut book, &mut file, 20, TODAY), 0);
        assert_eq!(give(&mut book, &mut file, 30, Day(TODAY.0 + 1)), 20);
    }

    #[test]
    fn without_its_file_a_spool_gives_nothing_for_the_rest_of_the_day() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, mut book, unknown) = open(dir.path(), TODAY);
        assert_eq!((give(&mut book, &mut file, 5, TODAY), unknown), (0, Some(Unknown::Missing)));
        // Nor does it after another start.
        let (mut file, mut book, unknown) = open(dir.path(), TODAY);
        assert_eq!((give(&mut book, &mut file, 5, TODAY), unknown), (0, None));
        let tomorrow = Day(TODAY.0 + 1);
        let (mut file, mut book, _) = open(dir.path(), tomorrow);
        assert_eq!(give(&mut book, &mut file, 5, tomorrow), 5);
    }

    #[test]
    fn a_line_that_is_not_what_was_written_ends_the_day() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let (mut file, mut book, _) = WarmingFile::open(dir.path(), true, TODAY).unwrap();
        give(&mut book, &mut file, 5, TODAY);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() - 1 {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x04;
            fs::write(&path, &damaged).unwrap();
            let (mut file, mut book, unknown) = open(dir.path(), TODAY);
            assert!(matches!(unknown, Some(Unknown::Broken(_))), "byte {at}: {unknown:?}");
            assert_eq!(give(&mut book, &mut file, 5, TODAY), 0, "byte {at}");
        }
        fs::write(&path, b"").unwrap();
        assert_eq!(open(dir.path(), TODAY).2, Some(Unknown::Broken(1)));
    }

    #[test]
    fn half_a_line_at_the_end_was_never_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let (mut file, mut book, _) = WarmingFile::open(dir.path(), true, TODAY).unwrap();
        give(&mut book, &mut file, 5, TODAY);
        let mut torn = fs::read(&path).unwrap();
        torn.extend_from_slice(b"0123456789abcdef {\"at\":{\"vm");
        fs::write(&path, torn).unwrap();
        let (mut file, mut book, unknown) = open(dir.path(), TODAY);
        assert_eq!((give(&mut book, &mut file, 20, TODAY), unknown), (13, None));
    }

    #[test]
    fn a_full_disk_can_be_started_on() {
        let dir = tempfile::tempdir().unwrap();
        let unfinished = dir.path().join("warming.new");
        std::os::unix::fs::symlink("/dev/full", &unfinished).unwrap();
        let (mut file, mut book, unknown) = open(dir.path(), TODAY);
        assert_eq!(unknown, Some(Unknown::Missing));
        assert_eq!(file.append(&[], &book).unwrap_err().kind(), ErrorKind::StorageFull);
        fs::remove_file(&unfinished).unwrap();
        assert_eq!(give(&mut book, &mut file, 5, TODAY), 0);
        assert_eq!(open(dir.path(), TODAY).2, None);
    }

    #[test]
    fn the_file_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, mut book, _) = WarmingFile::open(dir.path(), true, TODAY).unwrap();
        file.lines = SPARE;
        let lines = |day: i32| {
            give(&mut book, &mut file, 1, Day(TODAY.0 + day));
            file.lines
        };
        assert_eq!([0, 1, 2, 3, 4].map(lines), [SPARE + 1, SPARE + 2, SPARE + 3, 2, 3]);
    }
}
