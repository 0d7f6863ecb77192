//! Campaigns: a directory renamed into the pickup directory as `NAME.campaign/` is moved aside, checked, imported on a thread
//! of its own, and removed; its report stays. An import that was interrupted goes on where it stopped.

use super::campaign_directory;
use super::directory::Directory;
use super::import_run::{Job, Outcome, Run, Stored, forget};
use super::intake::Intake;
use super::pickup::reject;
use crate::io::failpoint::{Point, pass};
use crate::io::storage::Recovered;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Imports that run at once; more wait in the pickup directory.
const AT_ONCE: usize = 2;
/// Campaigns being imported stand here, beneath the pickup directory: hidden from its scans and out of the way of a second
/// campaign of the same name.
const ASIDE: &str = ".importing";

/// Begins the name of a campaign that is wholly stored while its files are being removed: what a crash leaves of it must not
/// be taken for a campaign.
pub(super) const FINISHED: &str = ".finished-";

pub fn is_campaign(name: &OsStr) -> bool {
    name.as_bytes().ends_with(b".campaign")
}

/// The identities of the campaigns that stand aside.
fn standing(aside: &Directory) -> io::Result<HashSet<String>> {
    let names = aside.entries(usize::MAX)?;
    let identity = |name: OsString| campaign_directory::identity(&aside.subdirectory(&name).ok()?, &name);
    Ok(names.into_iter().filter_map(identity).collect())
}

/// The imports.
pub struct Importer {
    intake: Arc<Intake>,
    aside: Arc<Directory>,
    bad: Directory,
    reports: Arc<Directory>,
    /// How far interrupted imports had come, by identity.
    interrupted: HashMap<String, Stored>,
    /// Wholly stored; what is left to do is to remove the directory.
    done: HashSet<String>,
    running: Vec<(OsString, JoinHandle<Outcome>)>,
    stop: Arc<AtomicBool>,
}

impl Importer {
    pub fn new(
        intake: Arc<Intake>,
        pickup: &Directory,
        bad: &Directory,
        reports: Directory,
        recovered: &Recovered,
    ) -> io::Result<Importer> {
        let aside = Directory::open_or_create(&pickup.path().join(ASIDE))?;
        for left in aside.list(usize::MAX, |name| name.starts_with(FINISHED.as_bytes()))? {
            aside.remove_directory(&left)?;
        }
        let mut interrupted: HashMap<_, _> = recovered
            .imports()
            .map(|(identity, import)| (identity.to_owned(), Stored::new(import)))
            .collect();
        let stand = standing(&aside)?;
        interrupted.retain(|identity, stored| {
            stand.contains(identity) || {
                tracing::warn!(campaign = %identity, accepted = stored.accepted(),
                    "an interrupted import cannot go on, its directory is gone: what was accepted is delivered");
                forget(&intake, identity);
                false
            }
        });
        Ok(Importer {
            intake,
            aside: Arc::new(aside),
            bad: Directory::open(bad.path())?,
            reports: Arc::new(reports),
            interrupted,
            done: recovered.pickup_done().map(str::to_owned).collect(),
            running: Vec::new(),
            stop: Arc::default(),
        })
    }

    /// Moves a campaign aside and starts its import, if there is room for one more.
    pub fn begin(&mut self, pickup: &Directory, name: &OsStr) {
        self.reap();
        self.go_on();
        if self.running.len() >= AT_ONCE {
            return;
        }
        match pickup.subdirectory(name).map(drop).and_then(|()| pickup.move_into(name, &self.aside, name)) {
            Ok(moved) => {
                pass(Point::ImportMovedAside);
                self.spawn(moved);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                tracing::warn!(campaign = %name.display(), error = %e, "campaign cannot be moved aside");
            }
        }
    }

    /// Starts what stands aside and is not running: after a restart, the interrupted imports.
    fn go_on(&mut self) {
        let Ok(names) = self.aside.entries(AT_ONCE * 16) else { return };
        for name in names {
            if self.running.len() >= AT_ONCE {
                return;
            }
            if !self.running.iter().any(|(running, _)| *running == name) {
                self.spawn(name);
            }
        }
    }

    fn spawn(&mut self, name: OsString) {
        let job = Job {
            intake: self.intake.clone(),
            aside: self.aside.clone(),
            reports: self.reports.clone(),
            name: name.clone(),
            stop: self.stop.clone(),
        };
        let (interrupted, done) = (std::mem::take(&mut self.interrupted), self.done.clone());
        let run = Run::new(job, &interrupted, &done);
        self.interrupted = interrupted;
        match std::thread::Builder::new().name("import".into()).spawn(move || run.run()) {
            Ok(thread) => self.running.push((name, thread)),
            Err(e) => tracing::error!(error = %e, "the import's thread cannot be started"),
        }
    }

    /// Puts away what has ended, and starts what waits.
    pub fn reap(&mut self) {
        let (ended, running) =
            std::mem::take(&mut self.running).into_iter().partition(|(_, t)| t.is_finished());
        self.running = running;
        for (name, thread) in ended {
            self.ended(&name, thread);
        }
        if !self.stop.load(Ordering::Relaxed) {
            self.go_on();
        }
    }

    fn ended(&mut self, name: &OsStr, thread: JoinHandle<Outcome>) {
        match thread.join() {
            Ok(Outcome::Imported { identity }) => {
                self.interrupted.remove(&identity);
                self.done.insert(identity);
            }
            Ok(Outcome::Rejected { identity, reason }) => {
                if let Some(identity) = identity {
                    self.interrupted.remove(&identity);
                }
                reject(&self.aside, name, &self.bad, &reason);
            }
            Ok(Outcome::Interrupted { identity, stored }) => {
                stored.into_iter().for_each(|stored| {
                    self.interrupted.insert(identity.clone(), stored);
                });
            }
            Err(_) => {
                let reason = format!(
                    "{}: the import ended in a panic, which is a fault of the engine; see its log\n",
                    name.display()
                );
                reject(&self.aside, name, &self.bad, &reason);
            }
        }
    }

    /// Stops the imports between two groups.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for (name, thread) in std::mem::take(&mut self.running) {
            self.ended(&name, thread);
        }
    }
}
