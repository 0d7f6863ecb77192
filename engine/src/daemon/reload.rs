//! `reload`: a new configuration is read as a whole, everything that may fail is done first (files and directories opened,
//! addresses bound), and only then it is put into effect on every running part. With anything wrong the old one stays (F38).

use super::accounting::{Accounting, StreamOptions, check_places};
use super::accounting_config::stream_options;
use super::control::{ReloadReport, Reply};
use super::http::listeners::{self as http, HttpListeners};
use super::intake::Intake;
use super::listeners::{self, Listeners};
use super::log_file::LogFile;
use super::owners::Stopping;
use super::pickup::Guide;
use super::pickup_place::Place;
use super::profiles::{ConfigProfiles, Configured, host_name};
use super::reception;
use super::routing::{self, Routing};
use crate::io::clock::wall;
use crate::io::config_files::ConfigFiles;
use crate::io::smtp_places::Clients;
use crate::limit::Shared;
use crate::queue::QueueName;
use crate::shard::{NewProfiles, ShardReply, ShardRequest, Unreached};
use crate::spool::record::{Control, Draft, Group};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use vmta_config::{Change, Config, Loaded, compare, load};

/// What has been reloaded so far, for status.
#[derive(Clone, Debug, Default)]
pub struct Reloads {
    pub done: u64,
    pub failed: u64,
    /// Why the last one failed; `None` when it did not.
    pub failure: Option<String>,
}

/// The running parts that a configuration steers.
pub struct Parts {
    pub intake: Arc<Intake>,
    pub shared: Arc<Shared>,
    pub clients: Arc<Clients>,
    pub listeners: Arc<Listeners>,
    pub http: Arc<HttpListeners>,
    pub accounting: Arc<Accounting>,
    pub pickup: Guide,
    pub routing: Arc<Routing>,
    pub log: Option<LogFile>,
}

/// Puts new configurations into effect.
pub struct Reloader {
    /// The file the engine was started with.
    path: Option<PathBuf>,
    /// What it said then: the part that takes a restart is still in effect.
    started: Arc<Configured>,
    parts: Parts,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
    reloads: Mutex<Reloads>,
}

/// A configuration that can be put into effect, with everything of it that might have failed.
struct Ready {
    configured: Arc<Configured>,
    /// Each where it differs.
    accounting: Option<StreamOptions>,
    place: Option<Option<Place>>,
    log: Option<LogFile>,
    /// Of accounting, what is not in effect.
    notes: Vec<String>,
}

/// Where the new configuration is served and what it asks, not yet in effect.
struct Bound {
    routing: Option<routing::Change>,
    doors: listeners::Change,
    http: http::Change,
}

impl Reloader {
    pub fn new(path: Option<PathBuf>, parts: Parts) -> Reloader {
        let (started, turn, reloads) =
            (parts.intake.configured.load_full(), Default::default(), Mutex::default());
        Reloader { path, started, parts, turn, reloads }
    }

    pub fn reloads(&self) -> Reloads {
        self.reloads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again and puts it into effect.
    pub async fn reload(&self) -> Result<Reply, Stopping> {
        let _turn = self.turn.lock().await;
        let Some(path) = self.path.clone() else {
            return Ok(Reply::Error { message: "the engine was not started from a file".to_owned() });
        };
        let before = self.parts.intake.configured.load_full();
        let reading = {
            let (path, before) = (path.clone(), before.clone());
            // A large configuration takes most of a second: not on a thread that answers others.
            tokio::task::spawn_blocking(move || read(&path, &before))
        };
        let read = reading.await.unwrap_or_else(|e| Err(format!("reading it was broken off: {e}")));
        let bound = match read {
            Ok(ready) => self.bind(&ready.configured).await.map(|bound| (ready, bound)),
            Err(why) => Err(why),
        };
        let (ready, Bound { routing, doors, http }) = match bound {
            Ok(bound) => bound,
            Err(why) => return Ok(self.failed(&path, &why)),
        };
        let changes = compare(&before.config, &ready.configured.config);
        let (after, notes) = (ready.configured.clone(), ready.notes.len());
        self.switch(ready);
        self.parts.listeners.apply(doors).await?;
        self.parts.http.apply(http).await?;
        let unreached = self.configure_shards(&after, routing).await?;
        let forgetful = self.remember_lost(&unreached).await;
        let mut report = self.report(&path, &changes, &after, &unreached);
        report.notes += notes as u64;
        report.restart.extend(forgetful);
        tracing::info!(file = report.file, changes = report.changes.len(), "reloaded");
        report.restart.iter().for_each(|what| tracing::warn!("reload: {what}"));
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.done += 1;
        reloads.failure = None;
        drop(reloads);
        Ok(Reply::Reloaded(report))
    }

    /// The last that may fail.
    async fn bind(&self, after: &Configured) -> Result<Bound, String> {
        let routing = self.parts.routing.change(after).map_err(|e| e.to_string())?;
        let http = self.parts.http.bind(&after.config).await.map_err(|e| e.to_string())?;
        let doors = self.parts.listeners.bind(&after.config).await.map_err(|e| e.to_string())?;
        Ok(Bound { routing, doors, http })
    }

    /// Everything but the listeners and the shards.
    fn switch(&self, ready: Ready) {
        let Parts { intake, shared, clients, accounting, pickup, log, .. } = &self.parts;
        let global = ready.configured.config.global();
        shared.set_total(global.total_max_smtp_out);
        clients.set_limits(reception::limits(&ready.configured.config));
        intake.configured.store(ready.configured.clone());
        ready.accounting.into_iter().for_each(|options| accounting.configure(options));
        ready.place.into_iter().for_each(|place| pickup.go(place));
        if let (Some(log), Some(reopened)) = (log, &ready.log) {
            log.go_on_in(reopened);
        }
    }

    async fn configure_shards(
        &self,
        after: &Arc<Configured>,
        routing: Option<routing::Change>,
    ) -> Result<Unreached, Stopping> {
        let profiles = {
            let after = after.clone();
            NewProfiles::new(move || Box::new(ConfigProfiles::new(after.clone())))
        };
        let profiles = profiles.with_routes(routing.map(|change| self.parts.routing.apply(change)));
        let mut unreached = Unreached::default();
        for reply in self.parts.intake.owners.ask(&ShardRequest::Configure(profiles)).await? {
            if let ShardReply::Configured(one) = reply {
                unreached.held += one.held;
                unreached.keep_type += one.keep_type;
                unreached.routes_lost.extend(one.routes_lost);
            }
        }
        Ok(unreached)
    }

    /// That mail is held is to outlast a restart (F39); in words, what is wrong where it does not.
    async fn remember_lost(&self, unreached: &Unreached) -> Option<String> {
        let lost = |queue: &QueueName| Control::RouteLost { queue: queue.to_string(), lost: true };
        let drafts: Vec<Draft> = unreached.routes_lost.iter().map(lost).map(Draft::Control).collect();
        if drafts.is_empty() {
            return None;
        }
        let stored = self.parts.intake.storage.submit_async(Group { drafts }).await.await;
        let e = stored.err()?;
        Some(format!(
            "mail that has lost its route is held until the next restart and not beyond it, because that cannot be stored: {e}"
        ))
    }

    fn failed(&self, path: &Path, why: &str) -> Reply {
        let message =
            format!("{why}\n{}: not reloaded; the configuration before it stays in effect", path.display());
        tracing::error!("reload failed: {message}");
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.failed += 1;
        reloads.failure = Some(why.lines().filter(|l| !l.is_empty()).take(2).collect::<Vec<_>>().join(" "));
        Reply::Error { message }
    }

    fn report(
        &self,
        path: &Path,
        changes: &[Change],
        after: &Configured,
        unreached: &Unreached,
    ) -> ReloadReport {
        // Since the start, not since the last reload: what took a restart then still does.
        let since_start = compare(&self.started.config, &after.config);
        let restart = since_start.iter().filter(|c| c.takes_restart());
        ReloadReport {
            file: path.to_string_lossy().into_owned(),
            at: wall().0,
            changes: changes.iter().map(ToString::to_string).collect(),
            restart: restart.map(|c| c.restart_part().to_string()).collect(),
            held: unreached.held,
            keep_type: unreached.keep_type,
            notes: after.config.notes().len() as u64,
        }
    }
}

/// The configuration at `path`, ready for use; or everything that is wrong with it.
fn read(path: &Path, before: &Configured) -> Result<Ready, String> {
    let Loaded { config, diagnostics, .. } = load(&path.to_string_lossy(), &ConfigFiles, false);
    let config: Config = config.ok_or_else(|| {
        let errors = diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string);
        errors.collect::<Vec<_>>().join("\n\n")
    })?;
    let mut notes = Vec::new();
    let zone = jiff::tz::TimeZone::system();
    let options = stream_options(&config, Path::new(""), zone, &mut notes).map_err(|e| e.to_string())?;
    let accounting = (!accounts_alike(&before.config, &config)).then_some(options);
    if let Some(options) = &accounting {
        check_places(&options.files).map_err(|e| e.to_string())?;
    }
    let places = |config: &Config| (config.global().pickup.clone(), config.global().reports.clone());
    let moves = places(&before.config) != places(&config);
    let place = moves.then(|| Place::open(&config)).transpose().map_err(|e| e.to_string())?;
    let log = config
        .global()
        .log_file
        .as_ref()
        .map(|file| LogFile::open(Path::new(file)).map_err(|e| format!("log-file {file}: {e}")));
    let log = log.transpose()?;
    let host = host_name(&config);
    let configured = Configured::after(Arc::new(config), &host, before).map_err(|e| e.to_string())?;
    Ok(Ready { configured: Arc::new(configured), accounting, place, log, notes })
}

/// Whether accounting means the same in both, wherever it is written.
fn accounts_alike(before: &Config, after: &Config) -> bool {
    let files = |config: &Config| {
        let files = config.acct_files().iter();
        files.map(|file| (file.target.clone(), file.settings.clone())).collect::<Vec<_>>()
    };
    let categories = |config: &Config| {
        let patterns = config.bounce_category_patterns().iter();
        patterns.map(|p| (p.pattern.source().to_owned(), p.category.clone())).collect::<Vec<_>>()
    };
    files(before) == files(after) && categories(before) == categories(after)
}
