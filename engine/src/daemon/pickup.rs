//! The pickup directory: files and campaigns that are renamed into it are taken in, at once when the kernel tells of them
//! and at the latest at the next scan. Nothing is injected twice (F26), nothing foreign is read (A41).

use super::directory::{Directory, Refused as FileRefused};
use super::handed::Handed;
use super::import::{Importer, is_campaign};
use super::intake::{Intake, Refused, Underway};
use super::pickup_place::{Place, PlaceError, options};
use super::suppressed;
use crate::ingest::answered::is_http;
use crate::ingest::identity::FileIdentity;
use crate::ingest::pickup::{self, PickupOptions};
use crate::io::clock;
use crate::io::failpoint::{Point, pass};
use crate::io::storage::Recovered;
use crate::spool::record::{Control, Draft, Group};
use crossbeam_channel::{Receiver, Sender, bounded};
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecursiveMode, Watcher};
use rustix::fs::Stat;
use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vmta_config::Config;

/// Time between scans, whether or not the kernel told of anything.
const SCAN: Duration = Duration::from_secs(2);
/// A file that is not renamed into place but written there is taken when it has not changed for this long.
pub(super) const SETTLED: Duration = Duration::from_secs(2);
/// Entries looked at in one scan.
const MOST_ENTRIES: usize = 10_000;
/// Messages on their way to the spool at once: they share commits.
const UNDERWAY: usize = 64;
/// So many removed files are forgotten at once, else after half a scan's time: each time costs a sync of the directory.
const FORGOTTEN: usize = 512;

#[derive(Debug, thiserror::Error)]
pub enum PickupError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("pickup: what stands in the directory cannot be read: {0}")]
    Standing(io::Error),
    #[error("pickup: the watching thread cannot be started: {0}")]
    Thread(io::Error),
}

/// Where the watcher is to go.
enum Order {
    Stay,
    /// To another place, or none.
    Go(Option<Place>),
}

/// The running watcher. It runs without a pickup directory too, since a reload may bring one.
pub struct Pickup {
    guide: Guide,
    thread: JoinHandle<()>,
}

/// Sends the watcher elsewhere.
#[derive(Clone)]
pub struct Guide {
    order: Arc<Mutex<Order>>,
    wake: Sender<()>,
}

impl Guide {
    /// Watches `place` from now on, or nothing. Campaigns that are being imported come to their end where they are.
    pub fn go(&self, place: Option<Place>) {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner) = Order::Go(place);
        // A full channel means that it is about to look.
        let _ = self.wake.try_send(());
    }

    fn take(&self) -> Order {
        std::mem::replace(&mut *self.order.lock().unwrap_or_else(PoisonError::into_inner), Order::Stay)
    }
}

impl Pickup {
    /// Starts watching.
    pub fn start(
        config: &Config,
        intake: &Arc<Intake>,
        recovered: &Recovered,
    ) -> Result<Pickup, PickupError> {
        let mut importer = Importer::new(intake.clone(), recovered);
        let place = match Place::open(config)? {
            Some(place) => {
                importer.forget_gone(&place).map_err(PickupError::Standing)?;
                Some(importer.settle_in(place).map_err(PickupError::Standing)?)
            }
            None => None,
        };
        let (wake, woken) = bounded(1);
        let guide = Guide { order: Arc::new(Mutex::new(Order::Stay)), wake };
        let watch = Watch {
            place,
            guide: guide.clone(),
            intake: intake.clone(),
            importer,
            done: recovered.pickup_done().filter(|identity| !is_http(identity)).map(str::to_owned).collect(),
            removed: Vec::new(),
            forgot: Instant::now(),
            warned: HashSet::new(),
            settling: HashSet::new(),
        };
        let thread = std::thread::Builder::new().name("pickup".into()).spawn(move || watch.run(&woken));
        Ok(Pickup { guide, thread: thread.map_err(PickupError::Thread)? })
    }

    pub fn guide(&self) -> Guide {
        self.guide.clone()
    }

    /// Takes in nothing new, the intake being told to stop; returns when what is under way has ended. An import stops
    /// between two groups and goes on at the next start.
    pub fn stop(self) {
        let _ = self.guide.wake.try_send(());
        if self.thread.join().is_err() {
            tracing::error!("the pickup thread ended in a panic; its files are taken in at the next start");
        }
    }
}

struct Watch {
    place: Option<Arc<Place>>,
    guide: Guide,
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
    fn run(mut self, woken: &Receiver<()>) {
        self.removed_before();
        let mut watcher = self.arrive();
        while !self.intake.is_stopping() {
            if let Order::Go(place) = self.guide.take() {
                drop(watcher);
                self.leave();
                self.place = place.and_then(|place| {
                    let settled = self.importer.settle_in(place);
                    settled
                        .inspect_err(|e| tracing::error!("pickup: the new directory cannot be used: {e}"))
                        .ok()
                });
                watcher = self.arrive();
            }
            self.scan();
            // Told or not: it is time to look again.
            let _ = woken.recv_timeout(SCAN);
        }
        self.importer.stop();
    }

    /// Begins to watch a place. What was remembered of entries of the one before is of no use here.
    fn arrive(&mut self) -> Option<notify::RecommendedWatcher> {
        self.warned.clear();
        self.settling.clear();
        let watcher = self.kernel_watcher(self.place.as_ref()?.dir.path());
        watcher
            .inspect_err(|e| {
                tracing::warn!(error = %e, "pickup: the kernel does not tell of new files; scanning only");
            })
            .ok()
    }

    /// What was removed here is forgotten while its directory is at hand.
    fn leave(&mut self) {
        let Some(place) = self.place.take() else { return };
        while !self.removed.is_empty() && self.forget(&place).is_ok() {}
        self.removed.clear();
    }

    fn kernel_watcher(&self, dir: &Path) -> notify::Result<notify::RecommendedWatcher> {
        let wake = self.guide.wake.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| tells_of_a_file(event.kind)) {
                // A full channel means that a scan is coming anyway.
                let _ = wake.try_send(());
            }
        })?;
        watcher.watch(dir, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }

    fn scan(&mut self) {
        match self.place.clone() {
            Some(place) => self.scan_place(&place),
            None => self.importer.reap(),
        }
    }

    fn scan_place(&mut self, place: &Arc<Place>) {
        let names = match place.dir.entries(MOST_ENTRIES) {
            Ok(names) => names,
            Err(e) => {
                tracing::error!(directory = %place.dir.path().display(), error = %e, "pickup directory unreadable");
                return;
            }
        };
        let mut underway = VecDeque::new();
        for name in names {
            // What lies here can wait.
            if self.intake.is_stopping() || self.intake.has_room().is_err() {
                break;
            }
            if is_campaign(&name) {
                self.importer.begin(place, &name);
                continue;
            }
            if let Some(taken) = self.take(place, &name) {
                underway.push_back(taken);
            }
            if underway.len() >= UNDERWAY {
                let first = underway.pop_front();
                first.into_iter().for_each(|taken| self.finish(place, taken));
            }
        }
        underway.into_iter().for_each(|taken| self.finish(place, taken));
        let due = self.removed.len() >= FORGOTTEN || self.forgot.elapsed() >= SCAN / 2;
        if due && !self.removed.is_empty() {
            // Tried again with the next scan.
            let _ = self.forget(place);
        }
        self.importer.reap();
    }

    /// Reads a file and puts its message on the way to the spool.
    fn take(&mut self, place: &Place, name: &OsStr) -> Option<Taken> {
        let (file, stat) = match place.dir.open_file(name) {
            Ok(opened) => opened,
            Err(e) if e.is_gone() => return None,
            Err(e) => {
                self.warn_once(name, &e);
                return None;
            }
        };
        let identity = identity(&stat, name);
        if self.done.contains(&identity) {
            self.remove(place, name, &identity);
            return None;
        }
        if !self.is_settled(&stat, &identity) || nix_lock(&file).is_err() {
            return None;
        }
        let configured = self.intake.configured.load_full();
        let source = configured.config.source_named("{pickup}");
        let suppression = suppressed::suppression(&configured.config, &source);
        let options =
            PickupOptions { suppression: suppression.as_ref(), ..options(&configured.config, &source) };
        let mut bytes = Vec::new();
        if let Err(e) = file.take(options.max_bytes as u64 + 1).read_to_end(&mut bytes) {
            self.warn_once(name, &FileRefused::Io(e));
            return None;
        }
        pass(Point::PickupRead);
        let message = match pickup::parse(&bytes, &options) {
            Ok(message) => message,
            Err(e) => {
                reject(&place.dir, name, &place.bad, &e.reason(&name.to_string_lossy()));
                return None;
            }
        };
        let some = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        let (job, envid, vmta) = (some(&message.job), some(&message.envid), some(&message.virtual_mta));
        let handed = Handed {
            sender: &message.sender,
            recipients: &message.recipients,
            refused: &message.refused,
            message: &message.message,
            job: job.as_deref(),
            envid: envid.as_deref(),
            virtual_mta: vmta.as_deref(),
            smtputf8: message.smtputf8,
            source_type: "api",
            pickup_identity: identity.clone(),
            verp: message.verp,
            dsn_ret: &message.dsn_ret,
            dsn: &message.dsn,
            merge: message.merge.as_deref(),
            ..Handed::default()
        };
        match self.intake.take_blocking(&handed, &source, clock::wall()) {
            Ok(underway) => Some(Taken { name: name.to_owned(), identity, underway }),
            Err(e) => {
                refused(place, name, &e);
                None
            }
        }
    }

    /// Waits for the commit, queues the recipients and removes the file.
    fn finish(&mut self, place: &Place, taken: Taken) {
        let Taken { name, identity, underway } = taken;
        match self.intake.queue_blocking(underway) {
            Ok(_) => {
                pass(Point::PickupDurable);
                self.done.insert(identity.clone());
                self.remove(place, &name, &identity);
            }
            Err(e) => refused(place, &name, &e),
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

    fn remove(&mut self, place: &Place, name: &OsStr, identity: &str) {
        match place.dir.remove_file(name) {
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
        let Some(place) = &self.place else { return };
        let Ok(names) = place.dir.entries(MOST_ENTRIES) else { return };
        let there = names.iter().filter_map(|name| Some(identity(&place.dir.stat(name).ok()?, name)));
        let there: HashSet<String> = there.collect();
        if names.len() < MOST_ENTRIES {
            let gone =
                self.done.extract_if(|identity| !there.contains(identity) && !identity.contains(".campaign"));
            self.removed.extend(gone);
        }
    }

    /// The files that were removed are gone for good, so that their identities are not needed any longer. Before that a
    /// power cut may bring a file back, and only its identity tells that it was taken in (F26).
    fn forget(&mut self, place: &Place) -> io::Result<()> {
        self.forgot = Instant::now();
        place.dir.sync().inspect_err(|e| {
            tracing::error!(directory = %place.dir.path().display(), error = %e, "pickup directory cannot be synced");
        })?;
        let forgotten = self
            .removed
            .drain(..self.removed.len().min(FORGOTTEN))
            .map(|identity| Control::PickupForgotten { identity });
        // The next group that is committed may as well say so: nobody waits for it.
        drop(self.intake.storage.submit(Group { drafts: forgotten.map(Draft::Control).collect() }));
        Ok(())
    }

    fn warn_once(&mut self, name: &OsStr, why: &FileRefused) {
        if self.warned.len() < MOST_ENTRIES && self.warned.insert(name.to_owned()) {
            tracing::warn!(entry = %name.display(), "pickup: ignored: it {why}");
        }
    }
}

fn refused(place: &Place, name: &OsStr, why: &Refused) {
    match why {
        Refused::Spool(_) | Refused::Memory | Refused::Crowded | Refused::Stopping => {
            tracing::warn!(file = %name.display(), error = %why, "pickup: left for a later try");
        }
        why => {
            let text = format!(
                "{}: {why}\nNothing of this file was sent. Correct it and move it into the pickup directory again.\n",
                name.display()
            );
            reject(&place.dir, name, &place.bad, &text);
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
