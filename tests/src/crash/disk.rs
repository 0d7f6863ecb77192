//! A disk of our own: a file system in a file, on a loop device, that can be cut off from its power, filled up, or
//! made to fail. Needs root; says so where it is not to be had.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bench::clock::now_us;
use clap::ValueEnum;
use tempfile::TempDir;

use bench::ground::scratch;
use bench::wait::until;

/// The file system on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fs {
    Ext4,
    Xfs,
}

/// A mounted image. Unmounted and removed when dropped.
#[derive(Debug)]
pub struct Disk {
    device: String,
    fs: Fs,
    mount: PathBuf,
    /// A RAM disk that the image lies on, where it is to run out of space underneath the file system.
    below: Option<PathBuf>,
    _dir: TempDir,
}

impl Disk {
    /// `size` MiB, on a real disk.
    pub fn new(fs: Fs, size: u64) -> io::Result<Disk> {
        Disk::make(fs, size, None)
    }

    /// `size` MiB that are promised, of which only `backed` MiB exist.
    pub fn thin(fs: Fs, size: u64, backed: u64) -> io::Result<Disk> {
        Disk::make(fs, size, Some(backed))
    }

    fn make(fs: Fs, size: u64, backed: Option<u64>) -> io::Result<Disk> {
        if !rustix::process::geteuid().is_root() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "mounting a disk of our own needs root"));
        }
        let dir = tempfile::Builder::new().prefix("disk-").tempdir_in(scratch()?)?;
        let (mount, below) = (dir.path().join("mnt"), dir.path().join("below"));
        fs::create_dir(&mount)?;
        let mut disk = Disk { device: String::new(), fs, mount, below: None, _dir: dir };
        let mut image = disk.mount.with_file_name("image");
        if let Some(backed) = backed {
            fs::create_dir(&below)?;
            let size = format!("size={backed}m");
            able(
                "mount",
                &[
                    "-t".as_ref(),
                    "tmpfs".as_ref(),
                    "-o".as_ref(),
                    size.as_ref(),
                    "tmpfs".as_ref(),
                    below.as_ref(),
                ],
            )?;
            image = below.join("image");
            disk.below = Some(below);
        }
        File::create(&image)?.set_len(size << 20)?;
        let make: &[&str] = match fs {
            // Everything is written now, so that later writes need no further space below.
            Fs::Ext4 => &["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"],
            Fs::Xfs => &["mkfs.xfs", "-q", "-f", "-K"],
        };
        let mut arguments: Vec<&OsStr> = make[1..].iter().map(OsStr::new).collect();
        arguments.push(image.as_os_str());
        able(make[0], &arguments)?;
        let device = able("losetup", &["-f".as_ref(), "--show".as_ref(), image.as_ref()])?;
        disk.device = device.trim().to_string();
        disk.mount()?;
        Ok(disk)
    }

    pub fn path(&self) -> &Path {
        &self.mount
    }

    fn mount(&self) -> io::Result<()> {
        // Seldom syncing by itself, so that it hides nothing of what the engine forgets.
        let options = match self.fs {
            Fs::Ext4 => "commit=300",
            Fs::Xfs => "defaults",
        };
        let arguments = ["-o".as_ref(), options.as_ref(), self.device.as_ref(), self.mount.as_ref()];
        able("mount", &arguments).map(drop)
    }

    /// Unmounts it and mounts it again, as a restart of the machine does.
    pub fn remount(&self) -> io::Result<()> {
        let probe = self.mount.join("probe");
        // Whoever has copied the mounts meanwhile (a new mount namespace) keeps the dead file system alive for a while.
        let alive = until(Duration::from_secs(60), || {
            self.unmount().and_then(|()| self.mount()).ok()?;
            File::create(&probe).and_then(|_| fs::remove_file(&probe)).ok()
        });
        alive.map_err(|waited| {
            io::Error::other(format!("the disk stays dead for {waited:?}: mounted elsewhere too?"))
        })
    }

    fn unmount(&self) -> io::Result<()> {
        // An ended process's files may still be on their way to be closed.
        let gone = until(Duration::from_secs(20), || able("umount", &[self.mount.as_ref()]).ok());
        gone.map(drop).map_err(|waited| io::Error::other(format!("still busy after {waited:?}")))
    }

    /// The power goes: nothing that is not on the device comes back. It went between these times.
    pub fn cut(&self) -> io::Result<(u64, u64)> {
        let after = now_us();
        able("xfs_io", &["-x".as_ref(), "-c".as_ref(), "shutdown".as_ref(), self.mount.as_ref()])?;
        Ok((after, now_us()))
    }

    /// Takes all space there is, or all that there is below where the disk is a thin one.
    pub fn fill(&self) -> io::Result<()> {
        let ballast = File::create(self.ballast())?;
        let mut taken = 0;
        // Large pieces, then what is left in small ones.
        for piece in [4 << 20, 64 << 10, 4 << 10] {
            while rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), taken, piece).is_ok() {
                taken += piece;
            }
        }
        Ok(())
    }

    /// Gives it back.
    pub fn free(&self) -> io::Result<()> {
        fs::remove_file(self.ballast())
    }

    fn ballast(&self) -> PathBuf {
        self.below.as_ref().unwrap_or(&self.mount).join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Each fails where there is nothing to be undone.
        let _ = able("umount", &["-l".as_ref(), self.mount.as_ref()]);
        if !self.device.is_empty() {
            let _ = able("losetup", &["-d".as_ref(), self.device.as_ref()]);
        }
        if let Some(below) = &self.below {
            let _ = able("umount", &["-l".as_ref(), below.as_ref()]);
        }
    }
}

/// Runs a program to its end: what it printed. `Unsupported` where the machine does not have it.
fn able(program: &str, arguments: &[&OsStr]) -> io::Result<String> {
    // Those of the administrator are not on everybody's path.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let done = Command::new(program).args(arguments).env("PATH", path).output().map_err(|e| {
        let kind = if e.kind() == io::ErrorKind::NotFound { io::ErrorKind::Unsupported } else { e.kind() };
        io::Error::new(kind, format!("{program}: {e}"))
    })?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&done.stderr).trim().to_string();
    let refused = ["losetup", "mount"].contains(&program);
    let kind = if refused { io::ErrorKind::Unsupported } else { io::ErrorKind::Other };
    Err(io::Error::new(kind, format!("{program}: {told}")))
}
