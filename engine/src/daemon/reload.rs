//! `reload`: a new configuration is read as a whole, and only when nothing is wrong with it put into effect, on queues,
//! clients and mail that comes in. With anything wrong the old one stays (F38).

use super::accounting_config::stream_options;
use super::control::{ReloadReport, Reply};
use super::intake::Intake;
use super::owners::Stopping;
use super::profiles::{ConfigProfiles, Configured, host_name};
use crate::io::clock::wall;
use crate::limit::SharedConnections;
use crate::shard::{NewProfiles, ShardReply, ShardRequest, Unreached};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use vmta_config::{Change, Config, Loaded, OsFiles, compare, load};

/// What has been reloaded so far, for status.
#[derive(Clone, Debug, Default)]
pub struct Reloads {
    pub done: u64,
    pub failed: u64,
    /// Why the last one failed; `None` when it did not.
    pub failure: Option<String>,
}

/// Puts new configurations into effect.
pub struct Reloader {
    /// The file the engine was started with.
    path: Option<PathBuf>,
    /// What it said then: the part that takes a restart is still in effect.
    started: Arc<Configured>,
    intake: Arc<Intake>,
    total: Arc<SharedConnections>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
    reloads: Mutex<Reloads>,
}

impl Reloader {
    pub fn new(path: Option<PathBuf>, intake: Arc<Intake>, total: Arc<SharedConnections>) -> Reloader {
        let (started, turn, reloads) = (intake.configured.load_full(), Default::default(), Mutex::default());
        Reloader { path, started, intake, total, turn, reloads }
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
        let before = self.intake.configured.load_full();
        let reading = {
            let (path, before) = (path.clone(), before.clone());
            // A large configuration takes most of a second: not on a thread that answers others.
            tokio::task::spawn_blocking(move || read(&path, &before))
        };
        let read = reading.await.unwrap_or_else(|e| Err(format!("reading it was broken off: {e}")));
        let after = match read {
            Ok(after) => Arc::new(after),
            Err(why) => return Ok(self.failed(&path, &why)),
        };
        let changes = compare(&before.config, &after.config);
        self.intake.configured.store(after.clone());
        self.total.set_limit(after.config.global().total_max_smtp_out);
        let profiles = {
            let after = after.clone();
            NewProfiles::new(move || Box::new(ConfigProfiles::new(after.clone())))
        };
        let mut unreached = Unreached::default();
        for reply in self.intake.owners.ask(&ShardRequest::Configure(profiles)).await? {
            if let ShardReply::Configured(one) = reply {
                unreached.held += one.held;
                unreached.keep_type += one.keep_type;
            }
        }
        let report = self.report(&path, &changes, &after, unreached);
        tracing::info!(file = report.file, changes = report.changes.len(), "reloaded");
        report.restart.iter().for_each(|what| tracing::warn!("reload: {what}"));
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.done += 1;
        reloads.failure = None;
        drop(reloads);
        Ok(Reply::Reloaded(report))
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
        unreached: Unreached,
    ) -> ReloadReport {
        // Since the start, not since the last reload: what took a restart then still does.
        let since_start = compare(&self.started.config, &after.config);
        let mut restart: Vec<String> =
            since_start.iter().filter(|c| c.takes_restart()).map(|c| c.restart_part().to_string()).collect();
        restart.extend(after.routing_differs(&self.started));
        ReloadReport {
            file: path.to_string_lossy().into_owned(),
            at: wall().0,
            changes: changes.iter().map(ToString::to_string).collect(),
            restart,
            held: unreached.held,
            keep_type: unreached.keep_type,
            notes: after.config.notes().len() as u64,
        }
    }
}

/// The configuration at `path`, ready for use; or everything that is wrong with it.
fn read(path: &Path, before: &Configured) -> Result<Configured, String> {
    let Loaded { config, diagnostics, .. } = load(&path.to_string_lossy(), &OsFiles, false);
    let config: Config = config.ok_or_else(|| {
        let errors = diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string);
        errors.collect::<Vec<_>>().join("\n\n")
    })?;
    stream_options(&config, Path::new(""), jiff::tz::TimeZone::UTC, &mut Vec::new())
        .map_err(|e| e.to_string())?;
    let host = host_name(&config);
    Configured::after(Arc::new(config), &host, before).map_err(|e| e.to_string())
}
