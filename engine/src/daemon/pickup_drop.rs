//! How a program on this machine puts a file into the pickup directory: whole and on stable storage, or not at all. The
//! engine need not be running.

use super::directory::{Directory, is_from};
use super::pickup::SETTLED;
use rustix::fs::{Gid, Mode, Uid, fchmod, fchown, fstat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Why a file is not in the pickup directory.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    #[error("the pickup directory {} cannot be opened: {source}{}", directory.display(), hint(source, directory))]
    Directory { directory: PathBuf, source: io::Error },
    #[error("no file can be written in the pickup directory {}: {source}{}", directory.display(), hint(source, directory))]
    File { directory: PathBuf, source: io::Error },
    #[error("the engine would not take a file of this user from {}; {}", .0.display(), remedy(.0))]
    NotTaken(PathBuf),
}

fn hint(source: &io::Error, directory: &Path) -> String {
    match source.kind() {
        io::ErrorKind::PermissionDenied => format!("; {}", remedy(directory)),
        _ => String::new(),
    }
}

fn remedy(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "a group that this user and the engine's are in may be given the right: chgrp GROUP {directory} && chmod 2770 {directory}"
    )
}

impl DropError {
    pub fn cause(&self) -> io::ErrorKind {
        match self {
            DropError::Directory { source, .. } | DropError::File { source, .. } => source.kind(),
            DropError::NotTaken(_) => io::ErrorKind::PermissionDenied,
        }
    }
}

/// Puts a file called `name` there; gives the name it got, which is another where that one is taken.
///
/// # Errors
/// When it is not there, or may be gone with a power cut.
pub fn drop_in(directory: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, DropError> {
    let owned = || directory.to_owned();
    let dir =
        Directory::open(directory).map_err(|source| DropError::Directory { directory: owned(), source })?;
    // Hidden names are not looked at.
    let hidden = format!(".{name}");
    let hidden = OsStr::new(&hidden);
    let failed = |source| DropError::File { directory: owned(), source };
    let file = dir.create_file(hidden).map_err(failed)?;
    let dropped = match write(file, &dir, bytes) {
        Ok(true) => dir.move_into(hidden, &dir, OsStr::new(name)).map_err(failed),
        Ok(false) => Err(DropError::NotTaken(owned())),
        Err(e) => Err(failed(e)),
    };
    if dropped.is_err() {
        // What is left of it nobody reads.
        let _ = dir.remove_file(hidden);
    }
    let dropped = dropped?;
    dir.sync().map_err(failed)?;
    Ok(directory.join(dropped))
}

/// Writes the file, synced; false when the engine would leave it where it is.
fn write(mut file: File, dir: &Directory, bytes: &[u8]) -> io::Result<bool> {
    file.write_all(bytes)?;
    let directory = dir.own_stat()?;
    if rustix::process::geteuid().is_root() {
        // The engine's user could not read a file of root's.
        fchown(&file, Some(Uid::from_raw(directory.st_uid)), Some(Gid::from_raw(directory.st_gid)))?;
    }
    // Whatever the user's umask says: the engine may be of the group.
    fchmod(&file, Mode::from_raw_mode(0o640))?;
    // It is complete: nobody has to wait and see whether it grows.
    file.set_modified(SystemTime::now() - SETTLED - Duration::from_secs(1))?;
    file.sync_all()?;
    Ok(is_from(&fstat(&file)?, &directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_there_whole_and_readable_for_the_group() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = drop_in(dir.path(), "mail", b"one").expect("dropped");
        let second = drop_in(dir.path(), "mail", b"two").expect("dropped");
        assert_eq!(first, dir.path().join("mail"));
        assert_eq!(fs::read(second).expect("there"), b"two");
        assert_eq!(fs::metadata(first).expect("there").permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 2);
    }

    #[test]
    fn what_is_not_dropped_says_why() {
        let dir = tempfile::tempdir().expect("a directory");
        let gone = drop_in(&dir.path().join("gone"), "mail", b"").expect_err("no directory");
        assert_eq!(gone.cause(), io::ErrorKind::NotFound);
        assert!(gone.to_string().contains("/gone cannot be opened"), "{gone}");
        let error = drop_in(dir.path(), "a/b", b"").expect_err("no such directory");
        assert!(error.to_string().starts_with("no file can be written in"), "{error}");
    }
}
