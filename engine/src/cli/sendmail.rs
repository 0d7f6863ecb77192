//! `sendmail`: what programs that send mail call. A message becomes a pickup file, which the engine takes as soon as it runs;
//! what it would refuse is refused here, while somebody can still be told.

use super::args::Cli;
use super::sendmail_args::{self, Invocation, Mode};
use super::sysexits::{Failure, Sysexit};
use super::{carry_out, sendmail_smtp};
use crate::daemon::pickup_drop::drop_in;
use crate::daemon::pickup_place::options;
use crate::daemon::profiles::host_name;
use crate::ingest::envelope::{Envelope, EnvelopeError};
use crate::ingest::letter::{Letter, LetterReader, Missing};
use crate::ingest::pickup::{self, PickupError, PickupOptions};
use crate::io::clock;
use crate::io::config_files::ConfigFiles;
use crate::mail::{Printable, plain};
use clap::Parser;
use nix::unistd::{Uid, User};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use vmta_config::{Config, Files, Resolved, SourceSettings, load};

/// Bytes of a line of the message that an error shows.
const SHOWN: usize = 60;

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
        Mode::Message => message(&call, &configuration(path)?)?,
        Mode::Smtp => sendmail_smtp::relay(&configuration(path)?)?,
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

fn message(call: &Invocation, config: &Config) -> Result<(), Failure> {
    let Some((directory, _)) = &config.global().pickup else {
        let text = "the configuration has no pickup directory; write `pickup DIR BAD-DIR`";
        return Err(Sysexit::Config.because(text));
    };
    let source = config.source_named("{pickup}");
    let host = host_name(config);
    let login = Login::of_this_user();
    let mut envelope = Envelope::new(call.reports.clone());
    match &call.sender {
        Some(sender) => envelope.from(sender, &host)?,
        None => envelope.from(login.name()?, &host)?,
    }
    for word in &call.recipients {
        envelope.to(word, &host)?;
    }
    let letter = letter(call, options(config, &source).max_bytes)?;
    if call.header_recipients {
        envelope.to_all_of(&letter, &host)?;
    }
    if !envelope.has_recipients() {
        return Err(Sysexit::Usage.because("the message names no recipient in To, Cc or Bcc"));
    }
    let now = clock::wall();
    let number = fastrand::u64(..);
    let full_name = call.full_name.as_deref().unwrap_or(&login.full_name);
    let missing = Missing {
        full_name: full_name.trim(),
        address: match envelope.sender.as_str() {
            "" => &format!("MAILER-DAEMON@{host}"),
            sender => sender,
        },
        date: &plain::date(now),
        message_id: &format!("<{number:016x}.{}@{host}>", now.as_secs()),
    };
    let whole = letter.complete(&missing).map_err(|e| Sysexit::DataErr.because(e))?;
    let file = envelope.enclose(&host, &whole);
    check(&file, config, &source)?;
    let dropped = drop_in(Path::new(directory), &format!("sendmail-{number:016x}"), &file);
    dropped.map(drop).map_err(|e| Sysexit::of_write(e.cause()).because(e))
}

/// Reads the message from standard input.
fn letter(call: &Invocation, most: usize) -> Result<Letter, Failure> {
    let mut input = std::io::stdin().lock();
    let mut reader = LetterReader::new(!call.ignore_dots);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        let read = read.map_err(|e| Sysexit::IoErr.because(format!("the message cannot be read: {e}")))?;
        if read == 0 || !reader.take(&line).map_err(EnvelopeError::Letter)? {
            return Ok(reader.finish());
        }
        if reader.size() > most {
            return Err(too_large(most));
        }
    }
}

fn too_large(most: usize) -> Failure {
    Sysexit::Unavailable
        .because(format!("the message is longer than {most} bytes (max-message-size in <source {{pickup}}>)"))
}

/// Whether the engine will take the file.
fn check(file: &[u8], config: &Config, source: &SourceSettings) -> Result<(), Failure> {
    let options = options(config, source);
    let taken = pickup::parse(file, &options).map_err(|e| refused(&e, file, &options))?;
    let asked = &taken.virtual_mta;
    let unknown = !asked.is_empty() && matches!(config.resolve_vmta(asked), Resolved::Unknown);
    if unknown && source.reject_invalid_virtual_mta {
        let text =
            format!("x-virtual-mta: there is no virtual MTA `{}` in the configuration", Printable(asked));
        return Err(Sysexit::DataErr.because(text));
    }
    Ok(())
}

/// What the engine would say of the file. Its lines are not counted as those of the message, so the line is shown.
fn refused(error: &PickupError, file: &[u8], options: &PickupOptions<'_>) -> Failure {
    if file.len() > options.max_bytes {
        return too_large(options.max_bytes);
    }
    let line = file.split(|byte| *byte == b'\n').nth(error.line.saturating_sub(1)).unwrap_or_default();
    let shown = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
    let text = format!(
        "the message cannot be taken: {}; this is about the line that begins",
        Printable(&error.problem)
    );
    Sysexit::DataErr.because(format!("{text} `{}`", Printable(shown.trim_end())))
}

impl From<EnvelopeError> for Failure {
    fn from(error: EnvelopeError) -> Failure {
        Sysexit::DataErr.because(error)
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
        // What follows the first comma is his room and telephone number; `&` stands for the login name.
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
