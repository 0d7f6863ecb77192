//! Commands that need more than a running engine's control socket: `run`, `check-config`, `send`, `demo`.

use super::args::{Cli, Command};
use super::{UNUSABLE, complain, demo_run, print, send};
use crate::daemon::engine::{BootError, Engine, Overrides};
use crate::spool::error::EXIT_LOG_FAILED;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use vmta_config::{Config, Files, Loaded, OsFiles, load};

pub fn start(cli: Cli) -> ExitCode {
    match &cli.command {
        Command::Run => run(&cli),
        Command::CheckConfig { lenient, file } => {
            check_config(&cli, file.as_deref().unwrap_or(&cli.config), *lenient)
        }
        Command::Send { campaign, check } => send::send(&cli, campaign, *check),
        Command::Demo(demo) => demo_run::run(demo, cli.json),
        _ => {
            complain(cli.json, "this command is answered by the running engine");
            ExitCode::from(UNUSABLE)
        }
    }
}

/// Reads a configuration and prints what is wrong with it.
pub(super) fn configuration(cli: &Cli, path: &Path, lenient: bool) -> Result<Arc<Config>, ExitCode> {
    let path = path.to_string_lossy();
    if let Err(e) = OsFiles.read(&path) {
        complain(cli.json, &format!("configuration {path}: {}", reason(&e)));
        return Err(ExitCode::from(UNUSABLE));
    }
    let Loaded { config, diagnostics } = load(&path, &OsFiles, lenient);
    for diagnostic in &diagnostics {
        eprintln!("{diagnostic}");
    }
    config.map(Arc::new).ok_or(ExitCode::from(1))
}

fn reason(e: &std::io::Error) -> String {
    match e.kind() {
        ErrorKind::NotFound => "there is no such file; name one by --config FILE".to_owned(),
        _ => e.to_string(),
    }
}

fn check_config(cli: &Cli, path: &Path, lenient: bool) -> ExitCode {
    let config = match configuration(cli, path, lenient) {
        Ok(config) => config,
        Err(code) => return code,
    };
    for note in config.notes() {
        println!("note: {note}");
    }
    let (vmtas, pools) = (config.virtual_mtas().len(), config.pools().len());
    print(&format!("{}: good ({vmtas} virtual MTAs, {pools} pools)\n", path.display()));
    ExitCode::SUCCESS
}

/// Where log lines go: standard error, filtered by `POSTHASTE_LOG` (default `info`).
pub(super) fn log_to_stderr(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("POSTHASTE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}

fn run(cli: &Cli) -> ExitCode {
    log_to_stderr("info");
    let config = match configuration(cli, &cli.config, false) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let engine = match Engine::start(config, &Overrides { control_socket: cli.control.clone() }) {
        Ok(engine) => engine,
        Err(e) => return not_started(&e),
    };
    tracing::info!(listening = ?engine.listening(), "running");
    let ended = engine.block_on(async {
        // Registering these fails only when the process is out of resources; then it had better not run.
        let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be caught");
        let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be caught");
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            told = engine.told_to_stop() => told,
        }
    });
    if let Err(why) = ended {
        tracing::error!(error = %why, "the log has failed; the next start recovers from what is on the disk");
        // Nothing may be written any more, and nothing needs to be (R2).
        return ExitCode::from(EXIT_LOG_FAILED);
    }
    tracing::info!("stopping");
    engine.stop();
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

fn not_started(e: &BootError) -> ExitCode {
    tracing::error!("start failed: {e}");
    ExitCode::from(1)
}
