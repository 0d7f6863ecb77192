//! Batch SMTP pickup files: the commands of a session without its replies (reference 5.3). Any command that would fail
//! refuses the file, except that after `XACK OFF` recipients that are no addresses bounce to the sender.

use super::pickup::{
    Lines, MAX_ENVELOPE_LINE, MAX_RECIPIENTS, PickupError, PickupMessage, PickupOptions, PickupProblem,
    RefusedRecipient, error,
};
use super::pickup_text::{MessageText, address_of, name};
use crate::mail::AddressError;
use crate::smtp::dsn::{self, BadParameter, RecipientDsn};

/// Whether a file is batch SMTP, which its first word tells.
pub(super) fn starts(file: &[u8]) -> bool {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let end = file.iter().position(u8::is_ascii_whitespace).unwrap_or(file.len());
    ["HELO", "EHLO", "MAIL", "XMRG", "XACK"]
        .iter()
        .any(|verb| verb.as_bytes().eq_ignore_ascii_case(&file[..end]))
}

pub(super) fn parse(
    lines: &mut Lines<'_>,
    options: &PickupOptions<'_>,
) -> Result<PickupMessage, PickupError> {
    let mut session = Session { suffix: options.domain_suffix, ..Session::default() };
    loop {
        let Some(line) = lines.next()? else {
            let right = "the message comes last, after DATA";
            return error(lines.number, PickupProblem::Order { command: "the end of the file", right });
        };
        let line = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| lines.number == 1).unwrap_or(line);
        if session.command(lines.number, line)? {
            break;
        }
    }
    let mut text = MessageText::new(options, lines.remaining());
    loop {
        match lines.next()? {
            None => return error(lines.number, PickupProblem::NoDot),
            Some(b".") => break,
            // RFC 5321 section 4.5.2: a dot at the start of a longer line was put there.
            Some(line) => text.line(lines.number, line.strip_prefix(b".").unwrap_or(line))?,
        }
    }
    let end = lines.number;
    while let Some(line) = lines.next()? {
        if !line.trim_ascii().is_empty() {
            return error(lines.number, PickupProblem::AfterEnd);
        }
    }
    let (message, controls) = text.finish(end)?;
    let mut taken = session.message;
    taken.sender = controls.sender_override.unwrap_or(taken.sender);
    if taken.envid.is_empty() {
        taken.envid = controls.envid.unwrap_or_default();
    }
    taken.job = controls.job.unwrap_or_default();
    taken.virtual_mta = controls.virtual_mta.unwrap_or_default();
    taken.message = message;
    Ok(taken)
}

#[derive(Default)]
struct Session<'o> {
    /// Stands behind domains of a single label.
    suffix: &'o str,
    message: PickupMessage,
    greeted: bool,
    mail: bool,
    /// `XACK OFF` is in force.
    quiet: bool,
}

impl Session<'_> {
    /// Carries out a command; true when the message follows.
    fn command(&mut self, number: usize, line: &[u8]) -> Result<bool, PickupError> {
        if line.len() > MAX_ENVELOPE_LINE {
            return error(number, PickupProblem::LongLine { bytes: line.len(), max: MAX_ENVELOPE_LINE });
        }
        let Ok(line) = std::str::from_utf8(line) else {
            return error(number, PickupProblem::NotUtf8 { field: "the command" });
        };
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "HELO" | "EHLO" => self.greet(number, rest)?,
            "XACK" => match rest.trim().to_ascii_uppercase().as_str() {
                "ON" => self.quiet = false,
                "OFF" => self.quiet = true,
                _ => return syntax(number, "XACK", "write XACK ON or XACK OFF"),
            },
            "MAIL" => self.mail(number, rest)?,
            "RCPT" => self.rcpt(number, rest)?,
            "DATA" => return self.data(number, rest).map(|()| true),
            "XMRG" => return error(number, PickupProblem::Merge("XMRG")),
            "XDFN" => return error(number, PickupProblem::Merge("XDFN")),
            "XPRT" => return error(number, PickupProblem::Merge("XPRT")),
            _ => return error(number, PickupProblem::UnknownCommand(verb.chars().take(40).collect())),
        }
        Ok(false)
    }

    fn greet(&mut self, number: usize, rest: &str) -> Result<(), PickupError> {
        if rest.trim().is_empty() {
            return syntax(
                number,
                "HELO",
                "write the name of the sending host after it, as in HELO app.example",
            );
        }
        if self.mail || std::mem::replace(&mut self.greeted, true) {
            return order(number, "HELO", "it stands once, before MAIL");
        }
        Ok(())
    }

    fn mail(&mut self, number: usize, rest: &str) -> Result<(), PickupError> {
        if std::mem::replace(&mut self.mail, true) {
            return order(number, "MAIL", "a file holds one message");
        }
        let right = "write MAIL FROM:<user@domain>";
        let Some((path, parameters)) = path(rest, "FROM:") else { return syntax(number, "MAIL", right) };
        if !path.is_empty() {
            let sender = address_of(path.as_bytes(), self.suffix);
            self.message.sender = sender.or_else(|cause| refuse(number, "MAIL FROM", path, cause))?;
        }
        for parameter in parameters.split_ascii_whitespace() {
            self.mail_parameter(number, parameter)?;
        }
        Ok(())
    }

    fn mail_parameter(&mut self, number: usize, parameter: &str) -> Result<(), PickupError> {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let upper = value.to_ascii_uppercase();
        match key.to_ascii_uppercase().as_str() {
            // The size is that of the file, and what its bytes need is seen from them.
            "SIZE" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {}
            "BODY" if matches!(upper.as_str(), "7BIT" | "8BITMIME") => {}
            "SMTPUTF8" if value.is_empty() => self.message.smtputf8 = true,
            "VERP" if value.is_empty() => self.message.verp = true,
            "RET" if dsn::ret(value).is_some() => self.message.dsn_ret = upper,
            "ENVID" => {
                let Some(envid) = dsn::envid(value) else {
                    return syntax(
                        number,
                        "MAIL",
                        "ENVID is written as xtext (RFC 3461 section 4), of 1 to 100 characters",
                    );
                };
                self.message.envid = name(number, "ENVID", envid.as_bytes())?;
            }
            _ => {
                let right = "SIZE=, BODY=7BIT, BODY=8BITMIME, SMTPUTF8, VERP, RET=FULL, RET=HDRS and ENVID=";
                let parameter = parameter.chars().take(80).collect();
                return error(number, PickupProblem::Parameter { command: "MAIL", parameter, right });
            }
        }
        Ok(())
    }

    fn rcpt(&mut self, number: usize, rest: &str) -> Result<(), PickupError> {
        if !self.mail {
            return order(number, "RCPT", "MAIL comes before it");
        }
        if self.message.recipients.len() + self.message.refused.len() == MAX_RECIPIENTS {
            return error(number, PickupProblem::ManyRecipients);
        }
        let right = "write RCPT TO:<user@domain>";
        let Some((path, parameters)) = path(rest, "TO:") else { return syntax(number, "RCPT", right) };
        let reports = rcpt_parameters(number, parameters)?;
        match address_of(path.as_bytes(), self.suffix) {
            Ok(recipient) => {
                if reports.is_given() || !self.message.dsn.is_empty() {
                    self.message.dsn.resize(self.message.recipients.len(), RecipientDsn::default());
                    self.message.dsn.push(reports);
                }
                self.message.recipients.push(recipient);
            }
            Err(cause) if self.quiet => {
                let address = path.chars().take(300).collect();
                self.message.refused.push(RefusedRecipient { line: number, address, error: cause });
            }
            Err(cause) => return refuse(number, "RCPT TO", path, cause),
        }
        Ok(())
    }

    fn data(&self, number: usize, rest: &str) -> Result<(), PickupError> {
        if !rest.trim().is_empty() {
            return syntax(number, "DATA", "it stands alone");
        }
        if !self.mail {
            return order(number, "DATA", "MAIL and RCPT come before it");
        }
        if self.message.recipients.is_empty() && self.message.refused.is_empty() {
            return error(number, PickupProblem::NoRecipient { field: "RCPT TO:<user@domain>" });
        }
        Ok(())
    }
}

fn rcpt_parameters(number: usize, parameters: &str) -> Result<RecipientDsn, PickupError> {
    let mut reports = RecipientDsn::default();
    for parameter in parameters.split_ascii_whitespace() {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match reports.take(key, value) {
            Ok(()) => {}
            Err(BadParameter::Notify) => {
                return syntax(number, "RCPT", "NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY");
            }
            Err(BadParameter::Orcpt) => {
                return syntax(
                    number,
                    "RCPT",
                    "ORCPT is a type, `;` and an address in xtext (RFC 3461 section 4.2)",
                );
            }
            Err(BadParameter::Unknown) => {
                let (parameter, right) = (parameter.chars().take(80).collect(), "NOTIFY= and ORCPT=");
                return error(number, PickupProblem::Parameter { command: "RCPT", parameter, right });
            }
        }
    }
    Ok(reports)
}

fn refuse<T>(number: usize, field: &'static str, path: &str, cause: AddressError) -> Result<T, PickupError> {
    error(number, PickupProblem::Address { field, value: path.chars().take(300).collect(), error: cause })
}

fn syntax<T>(number: usize, command: &'static str, right: &'static str) -> Result<T, PickupError> {
    error(number, PickupProblem::Syntax { command, right })
}

fn order<T>(number: usize, command: &'static str, right: &'static str) -> Result<T, PickupError> {
    error(number, PickupProblem::Order { command, right })
}

/// What stands between the angle brackets after `keyword`, and what follows them. A `>` in a quoted local part does
/// not end the path.
fn path<'l>(rest: &'l str, keyword: &str) -> Option<(&'l str, &'l str)> {
    let (word, rest) = rest.trim_start().split_at_checked(keyword.len())?;
    if !word.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    let end = rest.bytes().position(|byte| {
        let here = byte == b'>' && !quoted;
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        here
    })?;
    let after = &rest[end + 1..];
    (after.is_empty() || after.starts_with(' ')).then(|| (&rest[..end], after))
}
