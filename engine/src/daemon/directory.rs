//! Safe access to directories that strangers write to (A41): everything is opened relative to a directory
//! handle, beneath it, never through a link; a rename never overwrites.

use crate::io::failpoint::{Point, check};
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// Why a directory entry is not read.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("is a {0}, not a regular file")]
    NotRegular(&'static str),
    #[error(
        "has {0} hard links; a pickup file must have exactly one, so that nobody can have a foreign file read"
    )]
    HardLinked(u64),
    #[error(
        "belongs to user {owner}; allowed are the engine's user, the directory's owner and root, and others where the \
         directory is writable for its group and the file is that group's"
    )]
    WrongOwner { owner: u32 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Refused {
    /// The entry is gone or being replaced: nothing to tell anybody.
    pub fn is_gone(&self) -> bool {
        matches!(self, Refused::Io(e) if e.kind() == io::ErrorKind::NotFound)
    }
}

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

impl Directory {
    pub fn open(path: &Path) -> io::Result<Directory> {
        let fd = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Directory { fd, path: path.to_owned() })
    }

    /// Opens it, creating it (mode 0750) when it is missing.
    pub fn open_or_create(path: &Path) -> io::Result<Directory> {
        match fs::mkdir(path, Mode::from_raw_mode(0o750)) {
            Ok(()) | Err(Errno::EXIST) => Directory::open(path),
            Err(e) => Err(e.into()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the entries, without `.`, `..` and hidden ones, in order of name; at most `limit`.
    pub fn entries(&self, limit: usize) -> io::Result<Vec<OsString>> {
        self.list(limit, |name| !name.starts_with(b"."))
    }

    /// Names of the entries that `wanted` picks; at most `limit`, in order of name.
    pub fn list(&self, limit: usize, wanted: impl Fn(&[u8]) -> bool) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if wanted(name) {
                names.push(OsString::from_vec(name.to_vec()));
            }
            if names.len() == limit {
                break;
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open_beneath(&self, name: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(fs::openat2(&self.fd, name, flags | OFlags::CLOEXEC, Mode::empty(), BENEATH)?)
    }

    pub fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Opens a regular file with one link and an acceptable owner for reading.
    pub fn open_file(&self, name: &OsStr) -> Result<(File, Stat), Refused> {
        // O_NONBLOCK: a FIFO somebody put there must not hold us up.
        let fd = self.open_beneath(name, OFlags::RDONLY | OFlags::NONBLOCK).map_err(|e| {
            match e.raw_os_error() {
                Some(code) if code == Errno::LOOP.raw_os_error() => Refused::NotRegular("symbolic link"),
                Some(code) if code == Errno::NXIO.raw_os_error() => Refused::NotRegular("socket or device"),
                _ => Refused::Io(e),
            }
        })?;
        let stat = fs::fstat(&fd).map_err(io::Error::from)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Refused::NotRegular("directory")),
            FileType::Fifo => return Err(Refused::NotRegular("FIFO")),
            _ => return Err(Refused::NotRegular("special file")),
        }
        if stat.st_nlink != 1 {
            return Err(Refused::HardLinked(stat.st_nlink));
        }
        if stat.st_uid != rustix::process::geteuid().as_raw() && !is_from(&stat, &self.own_stat()?) {
            return Err(Refused::WrongOwner { owner: stat.st_uid });
        }
        Ok((File::from(fd), stat))
    }

    /// The directory itself.
    pub fn own_stat(&self) -> io::Result<Stat> {
        Ok(fs::fstat(&self.fd)?)
    }

    /// Makes a new file for writing; an error of the kind `AlreadyExists` where there is one.
    pub fn create_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(File::from(fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o640))?))
    }

    pub fn subdirectory(&self, name: &OsStr) -> io::Result<Directory> {
        let fd = self.open_beneath(name, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Directory { fd, path: self.path.join(name) })
    }

    /// Moves `name` into `target`, as `wanted` or, if that is taken, `wanted.1`, `wanted.2` ...; gives back the name
    /// it got.
    pub fn move_into(&self, name: &OsStr, target: &Directory, wanted: &OsStr) -> io::Result<OsString> {
        free_name(wanted, |candidate| {
            Ok(fs::renameat_with(&self.fd, name, &target.fd, candidate, RenameFlags::NOREPLACE)?)
        })
    }

    /// Writes a new file, complete and synced; like [`Directory::move_into`] it never overwrites.
    pub fn write_new(&self, wanted: &OsStr, contents: &[u8]) -> io::Result<OsString> {
        let mut file = None;
        let name = free_name(wanted, |candidate| {
            file = Some(self.create_file(candidate)?);
            Ok(())
        })?;
        let mut file = file.expect("set when free_name succeeds");
        file.write_all(contents)?;
        file.sync_all()?;
        Ok(name)
    }

    pub fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    /// Removes a directory and the plain files in it; campaigns have no deeper structure.
    pub fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        let inner = self.subdirectory(name)?;
        for entry in Dir::read_from(&inner.fd)? {
            let entry = entry?;
            let file: CString = entry.file_name().to_owned();
            if !matches!(file.to_bytes(), b"." | b"..") {
                fs::unlinkat(&inner.fd, file, AtFlags::empty())?;
                check(Point::ImportMidRemoval)?;
            }
        }
        Ok(fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }

    /// Makes renames in and out of this directory durable.
    pub fn sync(&self) -> io::Result<()> {
        Ok(fs::fsync(&self.fd)?)
    }
}

/// Whether a file belongs to somebody whom the owner of its directory lets put files there: himself, root, or, where
/// the group may write, whoever gave the file that group. (To do so one has to be a member of it.)
pub fn is_from(file: &Stat, directory: &Stat) -> bool {
    // Where everybody may write, the group of a file says nothing of who gave it.
    let group_writes = Mode::from_raw_mode(directory.st_mode) & (Mode::WGRP | Mode::WOTH) == Mode::WGRP;
    [0, directory.st_uid].contains(&file.st_uid) || group_writes && file.st_gid == directory.st_gid
}

/// Tries `wanted`, `wanted.1`, `wanted.2` ... until `take` finds one that is free.
fn free_name(wanted: &OsStr, mut take: impl FnMut(&OsStr) -> io::Result<()>) -> io::Result<OsString> {
    let mut candidate = wanted.to_owned();
    for n in 1..10_000 {
        match take(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(e) if matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty) => {
                candidate = OsStr::from_bytes(wanted.as_bytes()).to_owned();
                candidate.push(format!(".{n}"));
            }
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("10,000 files named like {}", wanted.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_fifos_and_directories_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plain"), "x").unwrap();
        std::fs::write(dir.path().join("twice"), "x").unwrap();
        std::fs::hard_link(dir.path().join("twice"), dir.path().join("twin")).unwrap();
        symlink("/etc/hostname", dir.path().join("link")).unwrap();
        fs::mknodat(fs::CWD, dir.path().join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        assert!(directory.open_file(OsStr::new("plain")).is_ok());
        assert!(matches!(directory.open_file(OsStr::new("twin")), Err(Refused::HardLinked(2))));
        for name in ["link", "fifo", "sub"] {
            assert!(matches!(directory.open_file(OsStr::new(name)), Err(Refused::NotRegular(_))), "{name}");
        }
        assert!(directory.open_file(OsStr::new("../etc/hostname")).is_err());
        assert!(directory.open_file(OsStr::new("gone")).unwrap_err().is_gone());
    }

    #[test]
    fn a_file_comes_from_its_directorys_owner_root_or_a_group_that_may_write() {
        let dir = tempfile::tempdir().unwrap();
        let mut directory = Directory::open(dir.path()).unwrap().own_stat().unwrap();
        let mut file = directory;
        (directory.st_uid, directory.st_gid) = (100, 200);
        let mut of = |uid, gid, mode| {
            (file.st_uid, file.st_gid, directory.st_mode) = (uid, gid, mode);
            is_from(&file, &directory)
        };
        assert!(of(100, 1, 0o750) && of(0, 0, 0o750));
        assert!(!of(33, 33, 0o770) && !of(33, 200, 0o750) && !of(33, 33, 0o777));
        assert!(of(33, 200, 0o2770) && !of(33, 200, 0o2777));
    }

    #[test]
    fn a_move_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(to.join("a.eml"), "first").unwrap();
        std::fs::write(from.join("a.eml"), "second").unwrap();
        let (from, to) = (Directory::open(&from).unwrap(), Directory::open(&to).unwrap());
        let name = OsStr::new("a.eml");
        assert_eq!(from.move_into(name, &to, name).unwrap(), "a.eml.1");
        assert_eq!(std::fs::read_to_string(to.path().join("a.eml")).unwrap(), "first");
        assert_eq!(std::fs::read_to_string(to.path().join("a.eml.1")).unwrap(), "second");
        assert_eq!(to.write_new(OsStr::new("a.eml"), b"third").unwrap(), "a.eml.2");
    }
}
