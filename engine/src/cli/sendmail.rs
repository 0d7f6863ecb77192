//! `sendmail`: what programs that send mail call. A message becomes a pickup file, which the engine takes as soon as it runs.

use super::args::Cli;
use super::sendmail_args::{self, Invocation, Mode};
use super::sendmail_post::{self, Post};
use super::sysexits::{Failure, Sysexit};
use super::{carry_out, sendmail_smtp};
use crate::ingest::envelope::{Envelope, EnvelopeError};
use crate::ingest::letter::{Letter, LetterReader};
use crate::io::config_files::ConfigFiles;
use clap::Parser;
use nix::unistd::{Uid, User};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, ErrorKind, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use vmta_config::{Config, Files, load};

/// Does what `words` ask for; `mode` and `config` unless they say otherwise.
pub fn sendmail(mode: Mode, words: &[OsString], config: &Path) -> ExitCode {
    attempt(mode, words, config).unwrap_or_else(|failure| {
        let _ = writeln!(std::io::stderr(), "sendmail: {}", failure.text);
        failure.exit.into()
    })
}

fn attempt(mode: Mode, words: &[OsString], config: &Path) -> Result<ExitCode, Failure> {
    let call = sendmail_args::parse(mode, words)?;
    let path = call.config.as_deref().unwrap_or(config);
    match call.mode {
        Mode::Message => message(&call, &Post::of(&configuration(path)?)?)?,
        Mode::Smtp => sendmail_smtp::serve(&Post::of(&configuration(path)?)?)?,
        Mode::Queue => {
            let words = ["posthaste", "--config"].map(OsStr::new).into_iter().chain([path.as_os_str()]);
            return Ok(carry_out(&Cli::parse_from(words.chain(["show", "topqueues"].map(OsStr::new)))));
        }
        Mode::Nothing => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Faulty lines are left out: the engine may be running with what stood there before.
fn configuration(path: &Path) -> Result<Config, Failure> {
    let text = path.to_string_lossy();
    if let Err(e) = ConfigFiles.read(&text) {
        return Err(match e.kind() {
            ErrorKind::PermissionDenied => Sysexit::NoPerm.because(format!(
                "configuration {text}: {e}; let this user read it, or name one that he can read by -C FILE"
            )),
            _ => Sysexit::Config.because(format!("configuration {text}: {e}; name another by -C FILE")),
        });
    }
    let loaded = load(&text, &ConfigFiles, true);
    let why =
        || format!("configuration {text} cannot be understood; `posthaste check-config {text}` says why");
    loaded.config.ok_or_else(|| Sysexit::Config.because(why()))
}

fn message(call: &Invocation, post: &Post<'_>) -> Result<(), Failure> {
    let login = Login::of_this_user();
    let mut envelope = Envelope::new(call.reports.clone());
    match &call.sender {
        Some(sender) => envelope.set_sender(sender, &post.host)?,
        None => envelope.set_sender(login.name()?, &post.host)?,
    }
    for word in &call.recipients {
        envelope.add(word, &post.host)?;
    }
    let letter = letter(call, post.max_bytes())?;
    if call.header_recipients {
        envelope.add_all_of(&letter, &post.host)?;
    }
    if !envelope.has_recipients() {
        return Err(Sysexit::Usage.because("the message names no recipient in To, Cc or Bcc"));
    }
    let full_name = call.full_name.as_deref().unwrap_or(&login.full_name);
    post.send(&envelope, &letter, full_name).map(drop)
}

/// Reads the message from standard input.
fn letter(call: &Invocation, most: usize) -> Result<Letter, Failure> {
    let mut input = std::io::stdin().lock().take(most as u64 + 1);
    let mut reader = LetterReader::new(!call.ignore_dots);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        let read = read.map_err(|e| Sysexit::IoErr.because(format!("the message cannot be read: {e}")))?;
        if input.limit() == 0 {
            return Err(sendmail_post::too_large(most));
        }
        if read == 0 || !reader.take(&line).map_err(EnvelopeError::Letter)? {
            return Ok(reader.finish());
        }
    }
}

/// Who calls, as the machine knows him.
struct Login {
    name: Option<String>,
    full_name: String,
}

impl Login {
    fn of_this_user() -> Login {
        let user = User::from_uid(Uid::current()).ok().flatten();
        let comment = user.as_ref().map(|user| user.gecos.to_string_lossy().into_owned()).unwrap_or_default();
        // What follows the first comma is his room and telephone number.
        let known = comment.split(',').next().unwrap_or_default().to_owned();
        let full_name = std::env::var("NAME").ok().filter(|name| !name.is_empty()).unwrap_or(known);
        Login { name: user.map(|user| user.name), full_name }
    }

    fn name(&self) -> Result<&str, Failure> {
        self.name.as_deref().ok_or_else(|| {
            let text = format!(
                "user {} has no name on this machine; say who sends by -f user@domain",
                Uid::current()
            );
            Sysexit::NoUser.because(text)
        })
    }
}
