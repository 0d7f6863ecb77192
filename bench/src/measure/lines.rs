//! How many accounting lines an engine has written: each byte of its files is read once, however often one asks.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::wait::until;

#[derive(Debug)]
pub struct Lines {
    directory: PathBuf,
    files: HashMap<PathBuf, File>,
    /// Headers included.
    lines: u64,
}

impl Lines {
    pub fn of(directory: &Path) -> Lines {
        Lines { directory: directory.to_path_buf(), files: HashMap::new(), lines: 0 }
    }

    /// Waits until there are lines for `records`.
    pub fn reach(&mut self, records: u64, patience: Duration) -> io::Result<()> {
        let reached = until(patience, || match self.look() {
            Ok(found) if found < records => None,
            looked => Some(looked.map(drop)),
        });
        reached.unwrap_or_else(|waited| {
            let told = format!("{} accounting lines after {waited:?}, {records} expected", self.lines);
            Err(io::Error::new(io::ErrorKind::TimedOut, told))
        })
    }

    fn look(&mut self) -> io::Result<u64> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if !self.files.contains_key(&path) {
                self.files.insert(path.clone(), File::open(&path)?);
            }
        }
        let mut block = vec![0; 1 << 18];
        for file in self.files.values_mut() {
            loop {
                match file.read(&mut block)? {
                    0 => break,
                    n => self.lines += memchr::memchr_iter(b'\n', &block[..n]).count() as u64,
                }
            }
        }
        Ok(self.lines.saturating_sub(self.files.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_files_are_counted_once_and_headers_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut lines = Lines::of(dir.path());
        fs::write(dir.path().join("a.csv"), "type\nd\nd\n").expect("writable");
        assert_eq!(lines.look().expect("readable"), 2);
        fs::write(dir.path().join("b.csv"), "type\nb\n").expect("writable");
        assert_eq!((lines.look().expect("readable"), lines.look().expect("readable")), (3, 3));
        assert!(lines.reach(4, Duration::ZERO).is_err());
    }
}
