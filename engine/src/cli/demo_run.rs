//! `demo`: the engine and six simulated providers in one process, a campaign handed in by rename as a user would, and the
//! accounting files checked at the end.

use super::args::Demo;
use super::demo::DemoView;
use super::demo_accounting;
use super::demo_campaign::{self, Written};
use super::demo_end::{self, Ended, Outcome};
use super::demo_ground::{Ground, GroundError};
use super::demo_providers::start_site;
use super::demo_watch::Watch;
use super::{FAILED, complain};
use crate::daemon::engine::{BootError, Engine, Overrides};
use crate::io::config_files::ConfigFiles;
use bench::site::SiteHandle;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use vmta_config::{Config, load};

/// Exit status after Ctrl-C, as shells have it: 128 and the signal's number.
const INTERRUPTED: u8 = 130;
/// Time between two looks at the queues.
const LOOK: Duration = Duration::from_millis(200);

/// Why there is no demonstration.
#[derive(Debug, Error)]
pub enum DemoError {
    #[error(transparent)]
    Ground(#[from] GroundError),
    #[error("the simulated providers cannot be started: {0}")]
    Site(io::Error),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("the configuration that was written is not accepted: {0}")]
    Config(String),
    #[error("the engine cannot be started: {0}")]
    Boot(#[from] BootError),
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> DemoError {
    let what = what.to_owned();
    |source| DemoError::Io { what, source }
}

pub fn run(demo: &Demo, json: bool) -> ExitCode {
    let outcome = match demonstrate(demo, json) {
        Ok(outcome) => outcome,
        Err(e) => {
            complain(json, &e.to_string());
            return ExitCode::from(FAILED);
        }
    };
    match outcome {
        Outcome::Good => ExitCode::SUCCESS,
        Outcome::Interrupted => ExitCode::from(INTERRUPTED),
        Outcome::Bad => ExitCode::from(FAILED),
    }
}

/// All there is to a running demonstration.
struct Stage {
    ground: Ground,
    site: SiteHandle,
    engine: Engine,
    written: Written,
    view: DemoView,
}

fn demonstrate(demo: &Demo, json: bool) -> Result<Outcome, DemoError> {
    let mut stage = Stage::set(demo)?;
    let begun = stage.hand_in()?;
    let (ended, Watch { import, .. }) = stage.watch(begun);
    let took = begun.elapsed();
    let Stage { ground, site, engine, written, view } = stage;
    // First the engine, so that what is under way comes to its end at the providers.
    engine.stop();
    let stats = site.stop();
    let lines = demo_accounting::count(&ground.path("accounting")).map_err(failed("accounting files"))?;
    let end = demo_end::End { ground: &ground, ended, took, written: &written, import, lines, stats };
    let (summary, outcome) = end.tell();
    view.finish(&summary, json);
    Ok(outcome)
}

impl Stage {
    /// Directory, providers, configuration, engine, and the campaign's directory beside the pickup directory.
    fn set(demo: &Demo) -> Result<Stage, DemoError> {
        let ground = Ground::take(&demo.directory)?;
        log_to_file(&ground.path("log")).map_err(failed("log"))?;
        let site = start_site().map_err(DemoError::Site)?;
        let config = ground.configure(|domain| site.addr(domain)).map_err(failed("configuration"))?;
        let engine = Engine::start(&read(&config)?, &Overrides::default())?;
        let view = DemoView::new();
        view.note(&format!("Directory: {}", ground.path("").display()));
        let campaign = ground.path(&format!("{}.campaign", demo_campaign::NAME));
        let written = demo_campaign::write(&campaign, demo.recipients).map_err(failed("campaign"))?;
        Ok(Stage { ground, site, engine, written, view })
    }

    /// Moves the campaign into the pickup directory.
    fn hand_in(&self) -> Result<Instant, DemoError> {
        let name = format!("{}.campaign", demo_campaign::NAME);
        let to = self.ground.path("pickup").join(&name);
        fs::rename(self.ground.path(&name), &to).map_err(failed("handing in the campaign"))?;
        self.view.note(&format!("Handed in: {}", to.display()));
        Ok(Instant::now())
    }

    /// Shows how it goes until all recipients have their outcome, or something puts an end to it.
    fn watch(&mut self, begun: Instant) -> (Ended, Watch) {
        let Stage { ground, engine, written, view, .. } = self;
        let mut watch = Watch::new(ground, &written.recipients);
        let ended = engine.block_on(async {
            let mut signals = match signals() {
                Ok(signals) => signals,
                Err(e) => return Ended::Failed(format!("signals cannot be caught: {e}")),
            };
            loop {
                tokio::select! {
                    _ = signals.0.recv() => return Ended::Interrupted,
                    _ = signals.1.recv() => return Ended::Interrupted,
                    told = engine.told_to_stop() => return match told {
                        Ok(()) => Ended::Interrupted,
                        Err(why) => Ended::Failed(format!("the log has failed: {why}")),
                    },
                    () = tokio::time::sleep(LOOK) => {}
                }
                match watch.look(engine.answerer(), view, begun.elapsed()).await {
                    None => {}
                    Some(ended) => return ended,
                }
            }
        });
        (ended, watch)
    }
}

/// SIGINT and SIGTERM.
fn signals() -> io::Result<(Signal, Signal)> {
    Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
}

/// The screen belongs to the display.
fn log_to_file(path: &Path) -> io::Result<()> {
    let file = Mutex::new(File::create(path)?);
    let filter = tracing_subscriber::EnvFilter::try_from_env("POSTHASTE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_target(false)
        .with_writer(file)
        .init();
    Ok(())
}

fn read(path: &Path) -> Result<Arc<Config>, DemoError> {
    let loaded = load(&path.to_string_lossy(), &ConfigFiles, false);
    loaded.config.map(Arc::new).ok_or_else(|| {
        let told: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        DemoError::Config(told.join("\n"))
    })
}
