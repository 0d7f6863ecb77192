//! The way of a letter from `sendmail` into the pickup directory. What the engine would refuse is refused here, while
//! somebody can still be told.

use super::sysexits::{Failure, Sysexit};
use crate::daemon::pickup_drop::drop_in;
use crate::daemon::pickup_place::options;
use crate::daemon::profiles::host_name;
use crate::ingest::envelope::{Envelope, EnvelopeError};
use crate::ingest::letter::{Letter, Missing};
use crate::ingest::pickup::{self, PickupError, PickupOptions};
use crate::io::clock;
use crate::mail::{Printable, plain};
use std::path::Path;
use vmta_config::{Config, Resolved, SourceSettings};

/// Bytes of a line of the message that an error shows.
const SHOWN: usize = 60;

pub struct Post<'c> {
    config: &'c Config,
    source: SourceSettings,
    directory: &'c Path,
    /// This machine's name.
    pub host: String,
}

impl Post<'_> {
    pub fn of(config: &Config) -> Result<Post<'_>, Failure> {
        let Some((directory, _)) = &config.global().pickup else {
            let text = "the configuration has no pickup directory; write `pickup DIR BAD-DIR`";
            return Err(Sysexit::Config.because(text));
        };
        let source = config.source_named("{pickup}");
        Ok(Post { config, source, directory: Path::new(directory), host: host_name(config) })
    }

    /// The longest message.
    pub fn max_bytes(&self) -> usize {
        self.options().max_bytes
    }

    fn options(&self) -> PickupOptions<'_> {
        options(self.config, &self.source)
    }

    /// Completes the letter, in the name of its sender, and puts it into the pickup directory. Gives the name by which
    /// the file and the message are known.
    pub fn send(&self, envelope: &Envelope, letter: &Letter, full_name: &str) -> Result<String, Failure> {
        let now = clock::wall();
        let name = format!("{:016x}", fastrand::u64(..));
        let missing = Missing {
            full_name: full_name.trim(),
            address: match envelope.sender.as_str() {
                "" => &format!("MAILER-DAEMON@{}", self.host),
                sender => sender,
            },
            date: &plain::date(now),
            message_id: &format!("<{name}.{}@{}>", now.as_secs(), self.host),
        };
        let message = letter.complete(&missing).map_err(|e| Sysexit::DataErr.because(e.to_string()))?;
        let file = envelope.enclose(&self.host, &message);
        self.check(&file)?;
        drop_in(self.directory, &format!("sendmail-{name}"), &file)
            .map_err(|e| Sysexit::of_write(e.cause()).because(e.to_string()))?;
        Ok(name)
    }

    /// Whether the engine will take the file.
    fn check(&self, file: &[u8]) -> Result<(), Failure> {
        let options = self.options();
        let taken = pickup::parse(file, &options).map_err(|e| refused(&e, file, &options))?;
        let asked = &taken.virtual_mta;
        let unknown = !asked.is_empty() && matches!(self.config.resolve_vmta(asked), Resolved::Unknown);
        if unknown && self.source.reject_invalid_virtual_mta {
            let text =
                format!("x-virtual-mta: there is no virtual MTA `{}` in the configuration", Printable(asked));
            return Err(Sysexit::DataErr.because(text));
        }
        Ok(())
    }
}

/// What the engine would say of the file. Its lines are not counted as those of the message, so the line is shown.
fn refused(error: &PickupError, file: &[u8], options: &PickupOptions<'_>) -> Failure {
    if file.len() > options.max_bytes {
        return too_large(options.max_bytes);
    }
    let line = file.split(|byte| *byte == b'\n').nth(error.line.saturating_sub(1)).unwrap_or_default();
    let shown = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
    let text = format!("the message cannot be taken: {}; this is about the line", Printable(&error.problem));
    Sysexit::DataErr.because(format!("{text} that begins `{}`", Printable(shown.trim_end())))
}

impl From<EnvelopeError> for Failure {
    fn from(error: EnvelopeError) -> Failure {
        Sysexit::DataErr.because(error.to_string())
    }
}

pub fn too_large(most: usize) -> Failure {
    Sysexit::Unavailable
        .because(format!("the message is longer than {most} bytes (max-message-size in <source {{pickup}}>)"))
}
