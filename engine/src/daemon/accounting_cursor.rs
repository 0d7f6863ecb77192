//! The accounting cursor on disk: up to where the log has been written out, and how long each file was then.
//!
//! Two copies are written in turn, each with a generation and a checksum, so that a crash in the middle of a
//! save leaves the one before. The order is: lines synced, then the cursor; whatever was written after the last
//! cursor is made again from the log and compared (see `accounting_file`).

use crate::io::failpoint::{Point, check};
use crate::spool::record::Location;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// First word of each copy; the number is the version of the format.
const MAGIC: &str = "posthaste-accounting-cursor-1";
/// A cursor larger than this is no cursor; ten thousand files fit.
const MAX_BYTES: u64 = 4 << 20;

/// Where accounting stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub segment: u32,
    pub offset8: u32,
    pub files: Vec<Mark>,
}

/// Where one accounting file stands at that position of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// As configured: `/x/acct.csv`.
    pub target: PathBuf,
    /// The file being written; `None` between two files.
    pub path: Option<PathBuf>,
    /// Bytes that hold all lines up to the cursor; 0 for a file whose name is chosen and nothing more.
    pub length: u64,
    /// When the file was begun, Unix milliseconds.
    pub opened_at: i64,
    /// Day and number last used in a name, so that numbers of moved files are not used again.
    pub day: String,
    pub number: u32,
}

impl Cursor {
    pub fn location(&self) -> Location {
        Location { segment: self.segment, offset8: self.offset8 }
    }

    pub fn set_location(&mut self, at: Location) {
        self.segment = at.segment;
        self.offset8 = at.offset8;
    }
}

/// Both copies.
#[derive(Debug)]
pub struct CursorFile {
    directory: PathBuf,
    generation: u64,
}

impl CursorFile {
    /// Reads the newer intact copy in `directory`. `None` where there is none; a damaged pair is reported and
    /// read as none, because lines twice are better than lines lost.
    pub fn open(directory: &Path) -> io::Result<(CursorFile, Option<Cursor>)> {
        let mut file = CursorFile { directory: directory.to_owned(), generation: 0 };
        let mut newest = None;
        let mut damaged = 0;
        for copy in 0..2 {
            match read_copy(&file.path(copy)) {
                Ok(Some((generation, cursor))) if generation > file.generation => {
                    file.generation = generation;
                    newest = Some(cursor);
                }
                Ok(Some(_)) => {}
                Ok(None) => damaged += 1,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        if damaged == 2 {
            tracing::error!(directory = %directory.display(), "accounting cursor damaged in both copies: lines still in the log will be written again");
        }
        Ok((file, newest))
    }

    fn path(&self, copy: u64) -> PathBuf {
        self.directory.join(format!("accounting.cursor.{copy}"))
    }

    /// Makes `cursor` durable, over the older copy.
    pub fn save(&mut self, cursor: &Cursor) -> io::Result<()> {
        let generation = self.generation + 1;
        let body = serde_json::to_vec(cursor).map_err(io::Error::other)?;
        let mut bytes =
            format!("{MAGIC} {generation} {:032x} {}\n", sum(generation, &body), body.len()).into_bytes();
        bytes.extend_from_slice(&body);
        let path = self.path(generation % 2);
        let fresh = !path.exists();
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.write_all_at(&bytes, 0)?;
        check(Point::AccountingMidCursor)?;
        file.sync_data()?;
        if fresh {
            File::open(&self.directory)?.sync_all()?;
        }
        self.generation = generation;
        Ok(())
    }
}

fn sum(generation: u64, body: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write_u64(generation);
    hasher.write(body);
    hasher.finish128().as_u128()
}

/// Generation and cursor of one copy, `None` when it is damaged. Bytes after the stated length are left over from a
/// longer cursor before.
fn read_copy(path: &Path) -> io::Result<Option<(u64, Cursor)>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    let parse = || {
        let end = memchr::memchr(b'\n', &bytes)?;
        let mut words = std::str::from_utf8(&bytes[..end]).ok()?.split(' ');
        if words.next()? != MAGIC {
            return None;
        }
        let generation = words.next()?.parse().ok()?;
        let expected = u128::from_str_radix(words.next()?, 16).ok()?;
        let length: usize = words.next()?.parse().ok()?;
        let body = bytes[end + 1..].get(..length)?;
        if sum(generation, body) != expected {
            return None;
        }
        Some((generation, serde_json::from_slice(body).ok()?))
    };
    Ok(parse())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(offset8: u32, path: &str) -> Cursor {
        let mark =
            Mark { target: "/x/acct.csv".into(), path: Some(path.into()), length: 9, ..Mark::default() };
        Cursor { segment: 1, offset8, files: vec![mark] }
    }

    #[test]
    fn the_newest_of_two_copies_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, none) = CursorFile::open(dir.path()).unwrap();
        assert_eq!(none, None);
        for offset8 in 1..=5 {
            // A longer cursor before a shorter one leaves bytes behind, which must not matter.
            let saved = cursor(offset8, &"x".repeat(100 - offset8 as usize));
            file.save(&saved).unwrap();
            assert_eq!(CursorFile::open(dir.path()).unwrap().1, Some(saved));
        }
    }

    #[test]
    fn a_crash_at_any_byte_of_a_save_leaves_the_cursor_before() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, _) = CursorFile::open(dir.path()).unwrap();
        for offset8 in 1..=3 {
            file.save(&cursor(offset8, "a")).unwrap();
        }
        let newest = dir.path().join("accounting.cursor.1");
        let whole = std::fs::read(&newest).unwrap();
        let mut torn = whole.clone();
        for at in (0..whole.len()).rev() {
            torn[at] ^= 0x01;
            std::fs::write(&newest, &torn).unwrap();
            assert_eq!(CursorFile::open(dir.path()).unwrap().1, Some(cursor(2, "a")), "byte {at}");
            torn[at] ^= 0x01;
            std::fs::write(&newest, &whole[..at]).unwrap();
            assert_eq!(CursorFile::open(dir.path()).unwrap().1, Some(cursor(2, "a")), "cut at {at}");
        }
        let (mut file, _) = CursorFile::open(dir.path()).unwrap();
        file.save(&cursor(9, "b")).unwrap();
        assert_eq!(CursorFile::open(dir.path()).unwrap().1, Some(cursor(9, "b")));
    }

    #[test]
    fn both_copies_damaged_read_as_none() {
        let dir = tempfile::tempdir().unwrap();
        for copy in 0..2 {
            std::fs::write(dir.path().join(format!("accounting.cursor.{copy}")), "rubbish\n").unwrap();
        }
        assert_eq!(CursorFile::open(dir.path()).unwrap().1, None);
    }
}
