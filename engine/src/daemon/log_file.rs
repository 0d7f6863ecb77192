//! The log's file, which a reload opens again: another one after a change of `log-file`, a new one after a rotation.

use arc_swap::ArcSwap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// The open file. All copies write to the same one.
#[derive(Clone, Debug)]
pub struct LogFile(Arc<ArcSwap<File>>);

impl LogFile {
    pub fn open(path: &Path) -> io::Result<LogFile> {
        Ok(LogFile(Arc::new(ArcSwap::from_pointee(open(path)?))))
    }

    /// Goes on in another file.
    pub fn go_on_in(&self, other: &LogFile) {
        self.0.store(other.0.load_full());
    }

    /// A writer for one line.
    pub fn line(&self) -> impl Write + use<> {
        Line(self.0.load_full())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

struct Line(Arc<File>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lines_after_a_rotation_are_in_the_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
        let log = LogFile::open(&path).unwrap();
        let (copy, mut line) = (log.clone(), log.line());
        fs::rename(&path, &rotated).unwrap();
        log.go_on_in(&LogFile::open(&path).unwrap());
        line.write_all(b"begun before\n").unwrap();
        copy.line().write_all(b"after\n").unwrap();
        assert_eq!(fs::read_to_string(&rotated).unwrap(), "begun before\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "after\n");
    }
}
