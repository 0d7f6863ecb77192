//! Where a demonstration takes place: a directory that is its own, with a configuration in it like any operator's.

use super::demo_providers::{POOL, PROVIDERS, VMTAS};
use rustix::fs::{FlockOperation, flock};
use std::fmt::Write;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Tells that a directory was made by `demo` and may be wiped by the next one; locked while one runs.
const MARKER: &str = ".posthaste-demo";

/// Why a directory cannot be used.
#[derive(Debug, Error)]
pub enum GroundError {
    #[error(
        "{}: is not empty and was not made by `demo`, which would wipe it; name another one by --directory",
        .0.display()
    )]
    Foreign(PathBuf),
    #[error("{}: another demonstration runs there; name another one by --directory", .0.display())]
    Busy(PathBuf),
    #[error(
        "{}: a path with # or \" or a line break cannot stand in a configuration; name another one by --directory",
        .0.display()
    )]
    Unwritable(PathBuf),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The directory of a demonstration, locked.
#[derive(Debug)]
pub struct Ground {
    root: PathBuf,
    /// Holds the lock.
    _marker: File,
}

impl Ground {
    /// Takes `path`, creating it; wipes what an earlier demonstration has left there, and nothing else.
    pub fn take(path: &Path) -> Result<Ground, GroundError> {
        let failed = |source| GroundError::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let root = path.canonicalize().map_err(failed)?;
        if root.to_str().is_none_or(|text| text.contains(['#', '"', '\\', '\n', '\r'])) {
            return Err(GroundError::Unwritable(root));
        }
        let marker = root.join(MARKER);
        if !marker.exists() && fs::read_dir(&root).map_err(failed)?.next().is_some() {
            return Err(GroundError::Foreign(root));
        }
        let lock = File::create(&marker).map_err(failed)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(GroundError::Busy(root));
        }
        let ground = Ground { root, _marker: lock };
        ground.wipe().map_err(failed)?;
        Ok(ground)
    }

    fn wipe(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name() == MARKER {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        for name in ["spool", "pickup", "bad", "reports", "accounting"] {
            // The engine insists that nobody else can read its spool.
            DirBuilder::new().mode(0o700).create(self.path(name))?;
        }
        Ok(())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes the configuration for providers that are at the addresses `at` gives; returns its path.
    pub fn configure(&self, at: impl Fn(&str) -> SocketAddr) -> io::Result<PathBuf> {
        let path = self.path("config");
        fs::write(&path, self.configuration(at))?;
        Ok(path)
    }

    fn configuration(&self, at: impl Fn(&str) -> SocketAddr) -> String {
        let dir = self.root.display();
        let mut text = format!(
            "# Written by `posthaste demo`. A configuration of your own looks much the same, without smtp-hosts.\n\
             host-name mail.news.example\n\n\
             pickup \"{dir}/pickup\" \"{dir}/bad\"\n\
             log-file \"{dir}/log\"\n\
             reports \"{dir}/reports\"\n\
             control-socket \"{dir}/control\"\n\n\
             <spool \"{dir}/spool\">\n</spool>\n\n\
             <acct-file \"{dir}/accounting/acct.csv\">\n    records d,b,t,tq\n</acct-file>\n\n"
        );
        // Writing to a String cannot fail.
        for (name, address, helo) in VMTAS {
            let _ =
                writeln!(text, "<virtual-mta {name}>\n    smtp-source-host {address} {helo}\n</virtual-mta>");
        }
        let _ = writeln!(text, "\n<virtual-mta-pool {POOL}>");
        for (name, ..) in VMTAS {
            let _ = writeln!(text, "    virtual-mta {name}");
        }
        let _ = writeln!(text, "</virtual-mta-pool>\n");
        for provider in PROVIDERS {
            let _ = writeln!(text, "# {}\n{}", provider.name, provider.directives(at(provider.domain)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmta_config::{MemoryFiles, load};

    #[test]
    fn the_configuration_is_one_the_language_accepts_without_a_word() {
        let dir = tempfile::tempdir().unwrap();
        let ground = Ground::take(&dir.path().join("a demo")).unwrap();
        let text = ground.configuration(|_| SocketAddr::from(([127, 0, 1, 1], 2525)));
        let loaded = load("config", &MemoryFiles::new([("config", text)]), false);
        let told: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
        let config = loaded.config.unwrap();
        assert!(config.notes().is_empty());
        assert_eq!(config.queue("yahoo.example", "news-2").max_msg_per_connection, Some(50));
        assert!(config.spools()[0].directory.ends_with("a demo/spool"));
    }

    #[test]
    fn only_its_own_directory_is_wiped() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis"), "years of work").unwrap();
        assert!(matches!(Ground::take(dir.path()), Err(GroundError::Foreign(_))));
        assert_eq!(fs::read(dir.path().join("thesis")).unwrap(), b"years of work");

        let own = dir.path().join("own");
        let first = Ground::take(&own).unwrap();
        fs::write(first.path("spool").join("old"), "x").unwrap();
        assert!(matches!(Ground::take(&own), Err(GroundError::Busy(_))), "one at a time");
        drop(first);
        let second = Ground::take(&own).unwrap();
        assert!(!second.path("spool").join("old").exists(), "the next one begins afresh");
        assert!(matches!(Ground::take(&dir.path().join("a#b")), Err(GroundError::Unwritable(_))));
    }
}
