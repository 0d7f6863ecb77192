//! The pickup directory: files and campaigns that are renamed into it are taken in, at once when the kernel tells of them
//! and at the latest at the next scan. Nothing is injected twice (F26), nothing foreign is read (A41).

use super::directory::{Directory, Refused as FileRefused};
use super::import::{Importer, is_campaign};
use super::intake::{Handed, Intake, Refused, Underway};
use crate::ingest::identity::FileIdentity;
use crate::ingest::pickup::{self, PickupOptions};
use crate::io::clock;
use crate::io::failpoint::{Point, pass};
use crate::io::storage::Recovered;
use crate::spool::record::{Control, Draft, Group};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecursiveMode, Watcher};
use rustix::fs::Stat;
use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vmta_config::Config;

/// Time between scans, whether or not the kernel told of anything.
const SCAN: Duration = Duration::from_secs(2);
/// A file that is not renamed into place but written there is taken when it has not changed for this long.
const SETTLED: Duration = Duration::from_secs(2);
/// Entries looked at in one scan.
const MOST_ENTRIES: usize = 10_000;
/// Messages on their way to the spool at once: they share commits.
const UNDERWAY: usize = 64;
/// So many removed files are forgotten at once, else after half a scan's time: each time costs a sync of the directory.
const FORGOTTEN: usize = 512;

#[derive(Debug, thiserror::Error)]
pub enum PickupError {
    #[error("pickup: {}: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("pickup: {0} and its bad directory have to be two directories on one file system")]
    TwoFileSystems(String),
    #[error("pickup: the watching thread cannot be started: {0}")]
    Thread(io::Error),
}

/// The running watcher.
pub struct Pickup {
    wake: Sender<()>,
    thread: JoinHandle<()>,
}

impl Pickup {
    /// Starts watching, if the configuration names a pickup directory.
    pub fn start(
        config: &Config,
        intake: &Arc<Intake>,
        recovered: &Recovered,
    ) -> Result<Option<Pickup>, PickupError> {
        let global = config.global();
        let Some((dir, bad)) = &global.pickup else { return Ok(None) };
        let open = |path: &Path| {
            Directory::open_or_create(path)
                .map_err(|source| PickupError::Directory { path: path.to_owned(), source })
        };
        let (dir, bad) = (open(Path::new(dir))?, open(Path::new(bad))?);
        let beside = dir.path().parent().unwrap_or(Path::new("/")).join("reports");
        let reports = open(global.reports.as_deref().map_or(&*beside, Path::new))?;
        let done = recovered.pickup_done().map(str::to_owned).collect();
        let importer = Importer::new(intake.clone(), &dir, &bad, reports, recovered)
            .map_err(|source| PickupError::Directory { path: dir.path().to_owned(), source })?;
        let (wake, woken) = bounded(1);
        let watch = Watch {
            dir,
            bad,
            remove_dot: global.pickup_remove_dot,
            intake: intake.clone(),
            importer,
            done,
            removed: Vec::new(),
            forgot: Instant::now(),
            warned: HashSet::new(),
            settling: HashSet::new(),
        };
        let kernel = wake.clone();
        let thread =
            std::thread::Builder::new().name("pickup".into()).spawn(move || watch.run(&woken, &kernel));
        Ok(Some(Pickup { wake, thread: thread.map_err(PickupError::Thread)? }))
    }

    /// Takes in nothing new; returns when what is under way has ended. An import stops between two groups and goes on at
    /// the next start.
    pub fn stop(self) {
        drop(self.wake);
        if self.thread.join().is_err() {
            tracing::error!("the pickup thread ended in a panic; its files are taken in at the next start");
        }
    }
}

struct Watch {
    dir: Directory,
    bad: Directory,
    remove_dot: bool,
    intake: Arc<Intake>,
    importer: Importer,
    /// Identities that are in the spool already: such a file is only removed.
    done: HashSet<String>,
    /// Identities whose files are gone, perhaps not yet for good.
    removed: Vec<String>,
    forgot: Instant,
    /// Entries that were complained of once.
    warned: HashSet<OsString>,
    /// Files written in place that were seen unchanged once.
    settling: HashSet<String>,
}

/// A file on its way to the spool.
struct Taken {
    name: OsString,
    identity: String,
    underway: Underway,
}

impl Watch {
    fn run(mut self, woken: &Receiver<()>, wake: &Sender<()>) {
        // `wake` is ours to give the kernel's watcher; the engine's stop drops the other one, so it is weak here.
        let watcher = self.kernel_watcher(wake.clone());
        if let Err(e) = &watcher {
            tracing::warn!(error = %e, "pickup: the kernel does not tell of new files; scanning only");
        }
        self.removed_before();
        loop {
            self.scan();
            match woken.recv_timeout(SCAN) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.intake.is_stopping() {
                break;
            }
        }
        self.importer.stop();
    }

    fn kernel_watcher(&self, wake: Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| tells_of_a_file(event.kind)) {
                // A full channel means that a scan is coming anyway.
                let _ = wake.try_send(());
            }
        })?;
        watcher.watch(self.dir.path(), RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }

    fn scan(&mut self) {
        let names = match self.dir.entries(MOST_ENTRIES) {
            Ok(names) => names,
            Err(e) => {
                tracing::error!(directory = %self.dir.path().display(), error = %e, "pickup directory unreadable");
                return;
            }
        };
        let mut underway = VecDeque::new();
        for name in names {
            if self.intake.is_stopping() {
                break;
            }
            if is_campaign(&name) {
                self.importer.begin(&self.dir, &name);
                continue;
            }
            if let Some(taken) = self.take(&name) {
                underway.push_back(taken);
            }
            if underway.len() >= UNDERWAY {
                let first = underway.pop_front();
                first.into_iter().for_each(|taken| self.finish(taken));
            }
        }
        underway.into_iter().for_each(|taken| self.finish(taken));
        self.forget();
        self.importer.reap();
    }

    /// Reads a file and puts its message on the way to the spool.
    fn take(&mut self, name: &OsStr) -> Option<Taken> {
        let (file, stat) = match self.dir.open_file(name) {
            Ok(opened) => opened,
            Err(e) if e.is_gone() => return None,
            Err(e) => {
                self.warn_once(name, &e);
                return None;
            }
        };
        let identity = identity(&stat, name);
        if self.done.contains(&identity) {
            self.remove(name, &identity);
            return None;
        }
        if !self.is_settled(&stat, &identity) || nix_lock(&file).is_err() {
            return None;
        }
        let configured = self.intake.configured.load_full();
        let source = configured.config.source_named("{pickup}");
        let options = PickupOptions {
            max_bytes: source.max_message_size.map_or(PickupOptions::default().max_bytes, |n| n as usize),
            remove_dot: self.remove_dot,
            process_virtual_mta: source.process_x_virtual_mta,
            process_job: source.process_x_job,
            process_envid: source.process_x_envid,
            domain_suffix: configured.domain_suffix(),
        };
        let mut bytes = Vec::new();
        if let Err(e) = file.take(options.max_bytes as u64 + 1).read_to_end(&mut bytes) {
            self.warn_once(name, &FileRefused::Io(e));
            return None;
        }
        pass(Point::PickupRead);
        let message = match pickup::parse(&bytes, &options) {
            Ok(message) => message,
            Err(e) => {
                self.reject(name, &e.reason(&name.to_string_lossy()));
                return None;
            }
        };
        for refused in &message.refused {
            tracing::warn!(file = %name.display(), line = refused.line, address = %refused.address, error = %refused.error,
                "pickup: recipient left out");
        }
        let some = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        let (job, envid, vmta) = (some(&message.job), some(&message.envid), some(&message.virtual_mta));
        let handed = Handed {
            sender: &message.sender,
            recipients: &message.recipients,
            message: &message.message,
            job: job.as_deref(),
            envid: envid.as_deref(),
            virtual_mta: vmta.as_deref(),
            smtputf8: message.smtputf8,
            source_type: "api",
            pickup_identity: identity.clone(),
            dsn_ret: &message.dsn_ret,
            ..Handed::default()
        };
        match self.intake.take_blocking(&handed, &source, clock::wall()) {
            Ok(underway) => Some(Taken { name: name.to_owned(), identity, underway }),
            Err(e) => {
                self.refused(name, &e);
                None
            }
        }
    }

    /// Waits for the commit, queues the recipients and removes the file.
    fn finish(&mut self, taken: Taken) {
        let Taken { name, identity, underway } = taken;
        match self.intake.queue_blocking(underway) {
            Ok(_) => {
                pass(Point::PickupDurable);
                self.done.insert(identity.clone());
                self.remove(&name, &identity);
            }
            Err(e) => self.refused(&name, &e),
        }
    }

    /// A file that was written in place (not renamed in) may still be growing: it is taken when it has rested.
    fn is_settled(&mut self, stat: &Stat, identity: &str) -> bool {
        let changed = Duration::from_secs(stat.st_ctime.try_into().unwrap_or(0));
        let written = Duration::from_secs(stat.st_mtime.try_into().unwrap_or(0));
        let now = Duration::from_millis(u64::try_from(clock::wall().0).unwrap_or(0));
        // A rename changes the inode's time and not the content's: then the file is complete.
        let rested = now.saturating_sub(written) > SETTLED || changed > written + Duration::from_secs(1);
        if rested || self.settling.remove(identity) {
            return true;
        }
        if self.settling.len() < MOST_ENTRIES {
            self.settling.insert(identity.to_owned());
        }
        false
    }

    fn remove(&mut self, name: &OsStr, identity: &str) {
        match self.dir.remove_file(name) {
            Ok(()) => {
                pass(Point::PickupUnlinked);
                self.done.remove(identity);
                self.removed.push(identity.to_owned());
            }
            Err(e) => {
                tracing::error!(file = %name.display(), error = %e, "pickup: file was taken in and cannot be removed");
            }
        }
    }

    /// Files that were removed before the start and not yet forgotten. (Campaigns see to themselves.)
    fn removed_before(&mut self) {
        let Ok(names) = self.dir.entries(MOST_ENTRIES) else { return };
        let there = names.iter().filter_map(|name| Some(identity(&self.dir.stat(name).ok()?, name)));
        let there: HashSet<String> = there.collect();
        if names.len() < MOST_ENTRIES {
            let gone =
                self.done.extract_if(|identity| !there.contains(identity) && !identity.contains(".campaign"));
            self.removed.extend(gone);
        }
    }

    /// The files that were removed are gone for good, so that their identities are not needed any longer. Before that a
    /// power cut may bring a file back, and only its identity tells that it was taken in (F26).
    fn forget(&mut self) {
        if self.removed.is_empty() || (self.removed.len() < FORGOTTEN && self.forgot.elapsed() < SCAN / 2) {
            return;
        }
        self.forgot = Instant::now();
        if let Err(e) = self.dir.sync() {
            tracing::error!(directory = %self.dir.path().display(), error = %e, "pickup directory cannot be synced");
            return;
        }
        let forgotten = self
            .removed
            .drain(..self.removed.len().min(FORGOTTEN))
            .map(|identity| Control::PickupForgotten { identity });
        // The next group that is committed may as well say so: nobody waits for it.
        drop(self.intake.storage.submit(Group { drafts: forgotten.map(Draft::Control).collect() }));
    }

    fn refused(&mut self, name: &OsStr, why: &Refused) {
        match why {
            Refused::Spool(_) | Refused::Stopping => {
                tracing::warn!(file = %name.display(), error = %why, "pickup: left for a later try");
            }
            why => {
                let text = format!(
                    "{}: {why}\nNothing of this file was sent. Correct it and move it into the pickup directory again.\n",
                    name.display()
                );
                self.reject(name, &text);
            }
        }
    }

    fn reject(&mut self, name: &OsStr, reason: &str) {
        reject(&self.dir, name, &self.bad, reason);
    }

    fn warn_once(&mut self, name: &OsStr, why: &FileRefused) {
        if self.warned.len() < MOST_ENTRIES && self.warned.insert(name.to_owned()) {
            tracing::warn!(entry = %name.display(), "pickup: ignored: it {why}");
        }
    }
}

/// Something came into the directory, or what was written there is complete. (Our own reading makes events too; to scan
/// for those would be to scan for ever.)
fn tells_of_a_file(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Create(_)
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Access(AccessKind::Close(AccessMode::Write))
    )
}

/// Moves an entry to the bad directory, with the reason in a file beside it.
pub(super) fn reject(dir: &Directory, name: &OsStr, bad: &Directory, reason: &str) {
    tracing::warn!(file = %name.display(), "pickup: rejected: {}", reason.lines().next().unwrap_or_default());
    let moved = dir.move_into(name, bad, name).and_then(|mut moved| {
        moved.push(".reason");
        bad.write_new(&moved, reason.as_bytes())?;
        bad.sync()
    });
    if let Err(e) = moved {
        tracing::error!(file = %name.display(), error = %e, "pickup: a rejected file cannot be moved to the bad directory");
    }
}

/// PowerMTA's feeders may hold an exclusive lock while they write.
fn nix_lock(file: &std::fs::File) -> rustix::io::Result<()> {
    rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockShared)
}

pub(super) fn identity(stat: &Stat, name: &OsStr) -> String {
    FileIdentity {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: i128::from(stat.st_mtime) * 1_000_000_000 + stat.st_mtime_nsec as i128,
        name: name.as_bytes(),
    }
    .text()
}
