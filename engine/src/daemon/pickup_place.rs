//! Where pickup takes place, the directory that is watched and those that belong to it; and how files there are read.

use super::directory::Directory;
use super::import::{ASIDE, FINISHED};
use crate::ingest::pickup::PickupOptions;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vmta_config::{Config, SourceSettings};

#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("pickup: {}: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error(
        "pickup: {dir} and {bad} have to be on one file system, because rejected files are renamed from one to the other"
    )]
    TwoFileSystems { dir: String, bad: String },
}

/// The directories of `pickup` and `reports`, open.
#[derive(Debug)]
pub struct Place {
    pub dir: Directory,
    /// Where what is rejected goes.
    pub bad: Directory,
    /// Where campaigns are moved while they are imported.
    pub aside: Arc<Directory>,
    pub reports: Arc<Directory>,
}

impl Place {
    /// Opens what `config` names and makes what is missing; none where it names no pickup directory.
    pub fn open(config: &Config) -> Result<Option<Place>, PlaceError> {
        let global = config.global();
        let Some((dir, bad)) = &global.pickup else { return Ok(None) };
        let named = |path: &Path| {
            let path = path.to_owned();
            move |source| PlaceError::Directory { path, source }
        };
        let open = |path: &Path| Directory::open_or_create(path).map_err(named(path));
        let (pickup, rejected) = (open(Path::new(dir))?, open(Path::new(bad))?);
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).map_err(named(path));
        if device(pickup.path())? != device(rejected.path())? {
            return Err(PlaceError::TwoFileSystems { dir: dir.clone(), bad: bad.clone() });
        }
        let beside = pickup.path().parent().unwrap_or(Path::new("/")).join("reports");
        let reports = Arc::new(open(global.reports.as_deref().map_or(&*beside, Path::new))?);
        let aside = Arc::new(open(&pickup.path().join(ASIDE))?);
        Ok(Some(Place { dir: pickup, bad: rejected, aside, reports }))
    }

    /// Removes what a crash has left of campaigns that are wholly stored. Only before an import begins here.
    pub fn tidy(&self) -> io::Result<()> {
        for left in self.aside.list(usize::MAX, |name| name.starts_with(FINISHED.as_bytes()))? {
            self.aside.remove_directory(&left)?;
        }
        Ok(())
    }

    /// Whether both stand for the same directories.
    pub fn is(&self, other: &Place) -> bool {
        let paths =
            |place: &Place| [place.dir.path(), place.bad.path(), place.reports.path()].map(Path::to_owned);
        paths(self) == paths(other)
    }
}

/// How pickup files are read; `source` is `<source {pickup}>`.
pub fn options<'c>(config: &'c Config, source: &SourceSettings) -> PickupOptions<'c> {
    let global = config.global();
    PickupOptions {
        max_bytes: source.max_message_size.map_or(PickupOptions::default().max_bytes, |n| n as usize),
        remove_dot: global.pickup_remove_dot,
        process_virtual_mta: source.process_x_virtual_mta,
        process_job: source.process_x_job,
        process_envid: source.process_x_envid,
        domain_suffix: global.domain_suffix.as_deref().unwrap_or_default(),
        suppression: None,
        accept_invalid: source.accept_invalid_recipients,
    }
}
