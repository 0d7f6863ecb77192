//! The command line: `posthaste COMMAND`. Commands about a running engine go over its control socket.

pub mod args;
mod check_config;
mod convert_config;
pub mod demo;
mod demo_accounting;
mod demo_campaign;
mod demo_end;
mod demo_ground;
mod demo_providers;
mod demo_run;
mod demo_watch;
mod diff_config;
mod explain;
mod forecast;
pub mod number;
mod outlook;
mod replay;
mod send;
mod sendmail;
mod sendmail_args;
mod sendmail_post;
mod sendmail_smtp;
pub mod show;
mod start;
pub mod status;
mod sysexits;
pub mod table;
pub mod why;

use args::Cli;
use clap::Parser;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::daemon::control::{Reply, Request};
use crate::daemon::control_socket::{ControlError, ask};
use crate::io::config_files::ConfigFiles;

/// Where the control socket is unless the configuration says otherwise.
pub const CONTROL_SOCKET: &str = "/run/posthaste/control.sock";

/// Exit status of a command that was refused or failed.
const FAILED: u8 = 1;
/// Exit status when nothing could be asked: no engine, no such file, wrong use.
const UNUSABLE: u8 = 2;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().map(PathBuf::from).unwrap_or_default();
    // A link called `sendmail` is enough for programs that know no other way to send mail.
    match program.file_name().and_then(|name| sendmail_args::mode_of(&name.to_string_lossy())) {
        Some(mode) => sendmail::sendmail(mode, &words.collect::<Vec<_>>(), Path::new(args::CONFIG)),
        None => carry_out(&Cli::parse()),
    }
}

fn carry_out(cli: &Cli) -> ExitCode {
    match cli.command.request() {
        Some(request) => converse(cli, &control_socket(cli), &request),
        None => start::start(cli),
    }
}

/// Where the engine listens: as told, as configured, or the usual place. A configuration that does not load is no
/// reason not to ask the engine, which may be running with the one before.
fn control_socket(cli: &Cli) -> PathBuf {
    let configured = || {
        let loaded = vmta_config::load(&cli.config.to_string_lossy(), &ConfigFiles, true);
        loaded.config?.global().control_socket.as_ref().map(PathBuf::from)
    };
    cli.control.clone().or_else(configured).unwrap_or_else(|| PathBuf::from(CONTROL_SOCKET))
}

/// Asks the engine and prints its answer.
fn converse(cli: &Cli, socket: &Path, request: &Request) -> ExitCode {
    match ask(socket, request) {
        Ok(reply) => print_reply(cli, &reply),
        Err(e) => {
            complain(cli.json, &e.to_string());
            let unusable = matches!(e, ControlError::NotRunning { .. });
            ExitCode::from(if unusable { UNUSABLE } else { FAILED })
        }
    }
}

fn print_reply(cli: &Cli, reply: &Reply) -> ExitCode {
    if cli.json {
        print(&(serde_json::to_string_pretty(reply).unwrap_or_default() + "\n"));
    } else if let Reply::Error { message } = reply {
        complain(false, message);
    } else {
        print(&show::text(reply, &show::View::of_terminal()));
    }
    match reply {
        Reply::Error { .. } => ExitCode::from(FAILED),
        _ => ExitCode::SUCCESS,
    }
}

/// Says on standard error what went wrong; with `--json` on standard output, as an answer.
pub fn complain(json: bool, message: &str) {
    if json {
        let reply = Reply::Error { message: message.to_owned() };
        print(&(serde_json::to_string_pretty(&reply).unwrap_or_default() + "\n"));
    } else {
        let _ = writeln!(std::io::stderr(), "posthaste: {message}");
    }
}

/// Prints; a reader that has gone away (`| head`) is no error.
pub fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests;
