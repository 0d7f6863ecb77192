//! Commands that need more than a running engine's control socket: `run`, `check-config`, `send`, `sendmail`, `demo`.

use super::args::{Cli, Command};
use super::sendmail_args::Mode;
use super::{
    CONTROL_SOCKET, UNUSABLE, check_config, complain, convert_config, demo_run, diff_config, explain,
    forecast, replay, send, sendmail,
};
use crate::daemon::control::Request;
use crate::daemon::engine::{BootError, Engine, Overrides};
use crate::daemon::log_file::LogFile;
use crate::io::config_files::ConfigFiles;
use crate::io::panics;
use crate::spool::error::EXIT_LOG_FAILED;
use rustix::thread::disable_transparent_huge_pages;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};
use vmta_config::{Config, Files, Loaded, load};

/// Runs such a command.
pub fn start(cli: &Cli) -> ExitCode {
    match &cli.command {
        Command::Run { strict, hold } => run(cli, *strict, *hold),
        Command::CheckConfig { lenient, report, files } => {
            let files = if files.is_empty() { std::slice::from_ref(&cli.config) } else { files };
            check_config::check_config(cli, files, *lenient, *report)
        }
        Command::Explain { lenient, queue } => explain::explain(cli, queue, *lenient),
        Command::DiffConfig { lenient, old, new } => diff_config::diff_config(cli, old, new, *lenient),
        Command::ConvertConfig { file } => {
            convert_config::convert_config(cli, file.as_deref().unwrap_or(&cli.config))
        }
        Command::Send { campaign, check } => send::send(cli, campaign, *check),
        Command::Sendmail { words } => sendmail::sendmail(Mode::Message, words, &cli.config),
        Command::Forecast(asked) => forecast::forecast(cli, asked),
        Command::Replay { file } => replay::replay(cli, file),
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
    if let Err(e) = ConfigFiles.read(&path) {
        complain(cli.json, &format!("configuration {path}: {}", reason(&e)));
        return Err(ExitCode::from(UNUSABLE));
    }
    let Loaded { config, diagnostics, .. } = load(&path, &ConfigFiles, lenient);
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

/// Starts logging: to `log-file`, and to standard error where there is no file or somebody is watching. Filtered by the
/// environment variable `POSTHASTE_LOG` (default `info`).
fn start_log(file: Option<&str>, default: &str) -> Result<Option<LogFile>, String> {
    let filter = EnvFilter::try_from_env("POSTHASTE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let opened = match file {
        Some(path) => Some(LogFile::open(Path::new(path)).map_err(|e| format!("log-file {path}: {e}"))?),
        None => None,
    };
    let watched = opened.is_none() || std::io::stderr().is_terminal();
    let to_file = opened
        .clone()
        .map(|file| fmt::layer().with_ansi(false).with_target(false).with_writer(move || file.line()));
    let colours = std::io::stderr().is_terminal();
    let to_terminal =
        watched.then(|| fmt::layer().with_ansi(colours).with_target(false).with_writer(std::io::stderr));
    // A second start in one process (tests) keeps the first log.
    let _ = tracing_subscriber::registry().with(filter).with(to_file).with(to_terminal).try_init();
    Ok(opened)
}

fn run(cli: &Cli, strict: bool, hold: bool) -> ExitCode {
    // With huge pages every place that the allocator touches costs 2 MiB. Where they cannot be switched off, that is the
    // cost; nothing else depends on it.
    let _ = disable_transparent_huge_pages(true);
    let config = match configuration(cli, &cli.config, false) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let log = match start_log(config.global().log_file.as_deref(), "info") {
        Ok(log) => log,
        Err(why) => {
            complain(cli.json, &why);
            return ExitCode::from(1);
        }
    };
    panics::end_the_process();
    let usual_socket = Some(PathBuf::from(CONTROL_SOCKET));
    // Absolute, so that a reload reads the same file wherever the process has gone since.
    let path = std::path::absolute(&cli.config).unwrap_or_else(|_| cli.config.clone());
    let control_socket = cli.control.clone();
    let overrides = Overrides { control_socket, usual_socket, config: Some(path), log, strict, hold };
    let engine = match Engine::start(&config, &overrides) {
        Ok(engine) => engine,
        Err(e) => return not_started(&e),
    };
    tracing::info!(listening = ?engine.listening(), "running");
    let ended = engine.block_on(async {
        // Registering these fails only when the process is out of resources; then it had better not run.
        let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be caught");
        let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be caught");
        let mut hang_up = signal(SignalKind::hangup()).expect("SIGHUP can be caught");
        let mut told = std::pin::pin!(engine.told_to_stop());
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                told = &mut told => return told,
                // What comes of it is in the log.
                _ = hang_up.recv() => drop(engine.answerer().answer(Request::Reload).await),
            }
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
    eprintln!("posthaste: start failed: {e}");
    ExitCode::from(1)
}
