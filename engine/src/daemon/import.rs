//! Campaigns: a directory renamed into the pickup directory as `NAME.campaign/` is moved aside, checked, imported on a thread
//! of its own, and removed; its report stays. An import that was interrupted goes on where it stopped.

use super::campaign_directory;
use super::directory::Directory;
use super::import_run::{Job, Outcome, Run, Stored, forget};
use super::intake::Intake;
use super::pickup::reject;
use super::pickup_place::Place;
use crate::ingest::answered::is_http;
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
pub(super) const ASIDE: &str = ".importing";

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
    /// Places where imports run or wait; the newest last. A reload leaves those behind that have come to an end.
    places: Vec<Arc<Place>>,
    /// How far interrupted imports had come, by identity.
    interrupted: HashMap<String, Stored>,
    /// Wholly stored; what is left to do is to remove the directory.
    done: HashSet<String>,
    running: Vec<Running>,
    stop: Arc<AtomicBool>,
}

struct Running {
    place: Arc<Place>,
    name: OsString,
    thread: JoinHandle<Outcome>,
}

impl Importer {
    pub fn new(intake: Arc<Intake>, recovered: &Recovered) -> Importer {
        let imports = recovered.imports().filter(|(identity, _)| !is_http(identity));
        Importer {
            intake,
            places: Vec::new(),
            interrupted: imports
                .map(|(identity, import)| (identity.to_owned(), Stored::new(import)))
                .collect(),
            done: recovered.pickup_done().filter(|identity| !is_http(identity)).map(str::to_owned).collect(),
            running: Vec::new(),
            stop: Arc::default(),
        }
    }

    /// Forgets the interrupted imports whose campaigns do not stand in `place`: at the start, where it is the only one.
    pub fn forget_gone(&mut self, place: &Place) -> io::Result<()> {
        let stand = standing(&place.aside)?;
        self.interrupted.retain(|identity, stored| {
            stand.contains(identity) || {
                tracing::warn!(campaign = %identity, accepted = stored.accepted(),
                    "an interrupted import cannot go on, its directory is gone: what was accepted is delivered");
                forget(&self.intake, identity);
                false
            }
        });
        Ok(())
    }

    /// Campaigns come from here from now on. Those of the places before come to their end where they are.
    pub fn settle_in(&mut self, place: Place) -> io::Result<Arc<Place>> {
        let known = self.places.iter().position(|known| known.is(&place));
        let place = match known {
            Some(at) => self.places.remove(at),
            None => {
                // Imports of the same pickup directory may be running beside other ones for reports.
                if self.places.iter().all(|known| known.aside.path() != place.aside.path()) {
                    place.tidy()?;
                }
                Arc::new(place)
            }
        };
        self.places.push(place.clone());
        Ok(place)
    }

    /// Moves a campaign aside and starts its import, if there is room for one more.
    pub fn begin(&mut self, place: &Arc<Place>, name: &OsStr) {
        self.reap();
        self.go_on();
        if self.running.len() >= AT_ONCE {
            return;
        }
        let there = place.dir.subdirectory(name).map(drop);
        match there.and_then(|()| place.dir.move_into(name, &place.aside, name)) {
            Ok(moved) => {
                pass(Point::ImportMovedAside);
                self.spawn(place.clone(), moved);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                tracing::warn!(campaign = %name.display(), error = %e, "campaign cannot be moved aside");
            }
        }
    }

    /// Starts what stands aside and is not running: after a restart, the interrupted imports.
    fn go_on(&mut self) {
        for place in self.places.clone() {
            let Ok(names) = place.aside.entries(AT_ONCE * 16) else { continue };
            for name in names {
                if self.running.len() >= AT_ONCE {
                    return;
                }
                if !self.is_running(&place, &name) {
                    self.spawn(place.clone(), name);
                }
            }
        }
        let (running, newest) = (&self.running, self.places.last().cloned());
        self.places.retain(|place| {
            newest.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, place))
                || running.iter().any(|r| Arc::ptr_eq(&r.place, place))
        });
    }

    /// Two places may have their campaigns stand in the same directory.
    fn is_running(&self, place: &Place, name: &OsStr) -> bool {
        self.running.iter().any(|r| r.name == name && r.place.aside.path() == place.aside.path())
    }

    fn spawn(&mut self, place: Arc<Place>, name: OsString) {
        let job = Job {
            intake: self.intake.clone(),
            aside: place.aside.clone(),
            reports: place.reports.clone(),
            name: name.clone(),
            stop: self.stop.clone(),
        };
        let (interrupted, done) = (std::mem::take(&mut self.interrupted), self.done.clone());
        let run = Run::new(job, &interrupted, &done);
        self.interrupted = interrupted;
        match std::thread::Builder::new().name("import".into()).spawn(move || run.run()) {
            Ok(thread) => self.running.push(Running { place, name, thread }),
            Err(e) => tracing::error!(error = %e, "the import's thread cannot be started"),
        }
    }

    /// Puts away what has ended, and starts what waits.
    pub fn reap(&mut self) {
        let (ended, running) =
            std::mem::take(&mut self.running).into_iter().partition(|r| r.thread.is_finished());
        self.running = running;
        for running in ended {
            self.ended(running);
        }
        if !self.stop.load(Ordering::Relaxed) {
            self.go_on();
        }
    }

    fn ended(&mut self, Running { place, name, thread }: Running) {
        match thread.join() {
            Ok(Outcome::Imported { identity }) => {
                self.interrupted.remove(&identity);
                self.done.insert(identity);
            }
            Ok(Outcome::Rejected { identity, reason }) => {
                if let Some(identity) = identity {
                    self.interrupted.remove(&identity);
                }
                reject(&place.aside, &name, &place.bad, &reason);
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
                reject(&place.aside, &name, &place.bad, &reason);
            }
        }
    }

    /// Stops the imports between two groups.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for running in std::mem::take(&mut self.running) {
            self.ended(running);
        }
    }
}
