//! Batch SMTP pickup files: the commands of a session without its replies (reference 5.3), those of mail merge included. Any
//! command that would fail refuses the file, except that after `XACK OFF` recipients that are no addresses, or are
//! suppressed, bounce to the sender.

use super::pickup::{
    Lines, MAX_ENVELOPE_LINE, MAX_LINE, MAX_RECIPIENTS, PickupError, PickupMessage, PickupOptions,
    PickupProblem, error,
};
use super::pickup_text::{MessageText, address_of, name};
use crate::mail::AddressError;
use crate::smtp::dsn::{self, BadParameter, RecipientDsn};
use crate::smtp::merge::{Part, part_argument};

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
    let mut session = Session { options: *options, ..Session::default() };
    loop {
        let Some(line) = lines.next()? else {
            let right = "the message comes last, after DATA or in parts after XPRT";
            return error(lines.number, PickupProblem::Order { command: "the end of the file", right });
        };
        let line = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| lines.number == 1).unwrap_or(line);
        match session.command(lines.number, line)? {
            Follows::Command => {}
            Follows::Message => return message(lines, options, session.message),
            Follows::Part { last } => {
                session.part(lines)?;
                if last {
                    nothing_more(lines)?;
                    return Ok(session.message);
                }
            }
        }
    }
}

/// What follows DATA, to the end of the file.
fn message(
    lines: &mut Lines<'_>,
    options: &PickupOptions<'_>,
    mut taken: PickupMessage,
) -> Result<PickupMessage, PickupError> {
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
    nothing_more(lines)?;
    let (message, controls) = text.finish(end)?;
    taken.sender = controls.sender_override.unwrap_or(taken.sender);
    if taken.envid.is_empty() {
        taken.envid = controls.envid.unwrap_or_default();
    }
    taken.job = controls.job.unwrap_or_default();
    taken.virtual_mta = controls.virtual_mta.unwrap_or_default();
    taken.message = message;
    Ok(taken)
}

fn nothing_more(lines: &mut Lines<'_>) -> Result<(), PickupError> {
    while let Some(line) = lines.next()? {
        if !line.trim_ascii().is_empty() {
            return error(lines.number, PickupProblem::AfterEnd);
        }
    }
    Ok(())
}

/// What comes behind a command.
enum Follows {
    Command,
    Message,
    Part { last: bool },
}

#[derive(Default)]
struct Session<'o> {
    options: PickupOptions<'o>,
    message: PickupMessage,
    greeted: bool,
    mail: bool,
    /// `XACK OFF` is in force.
    quiet: bool,
}

impl Session<'_> {
    /// Carries out a command.
    fn command(&mut self, number: usize, line: &[u8]) -> Result<Follows, PickupError> {
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
            "XMRG" => {
                self.message.merge = Some(Box::default());
                self.mail(number, "XMRG", rest)?;
            }
            "MAIL" => self.mail(number, "MAIL", rest)?,
            "RCPT" => self.rcpt(number, rest)?,
            "XDFN" => self.define(number, rest)?,
            "DATA" => return self.data(number, rest).map(|()| Follows::Message),
            "XPRT" => return self.begin_part(number, rest),
            _ => return error(number, PickupProblem::UnknownCommand(verb.chars().take(40).collect())),
        }
        Ok(Follows::Command)
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

    /// MAIL, or XMRG, which takes the same and more.
    fn mail(&mut self, number: usize, verb: &'static str, rest: &str) -> Result<(), PickupError> {
        if std::mem::replace(&mut self.mail, true) {
            return order(number, verb, "a file holds one message");
        }
        let (right, field) = match verb {
            "XMRG" => ("write XMRG FROM:<user@domain>", "XMRG FROM"),
            _ => ("write MAIL FROM:<user@domain>", "MAIL FROM"),
        };
        let Some((path, parameters)) = path(rest, "FROM:") else { return syntax(number, verb, right) };
        if !path.is_empty() {
            let sender = address_of(path.as_bytes(), self.options.domain_suffix);
            self.message.sender = sender.or_else(|cause| refuse(number, field, path, cause))?;
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
        let merged = self.message.merge.as_ref();
        if merged.is_some_and(|merge| !merge.parts.is_empty()) {
            return order(number, "RCPT", "it stands before the first XPRT");
        }
        let count = merged.map_or(self.message.recipients.len(), |merge| merge.len());
        if count + self.message.refused.len() == MAX_RECIPIENTS {
            return error(number, PickupProblem::ManyRecipients);
        }
        let right = "write RCPT TO:<user@domain>";
        let Some((path, parameters)) = path(rest, "TO:") else { return syntax(number, "RCPT", right) };
        let reports = rcpt_parameters(number, parameters)?;
        match self.options.recipient(path.as_bytes()) {
            Ok(recipient) => match &mut self.message.merge {
                None => {
                    if reports.is_given() || !self.message.dsn.is_empty() {
                        self.message.dsn.resize(self.message.recipients.len(), RecipientDsn::default());
                        self.message.dsn.push(reports);
                    }
                    self.message.recipients.push(recipient);
                }
                Some(merge) => merge.push(&recipient, &reports).or_else(|e| error(number, e.into()))?,
            },
            Err(why) if self.quiet || self.options.accept_invalid => {
                let recipient = why.bounce(path, self.message.smtputf8, reports);
                match &mut self.message.merge {
                    None => self.message.refused.push(recipient),
                    Some(merge) => merge.push_refused(&recipient).or_else(|e| error(number, e.into()))?,
                }
            }
            Err(why) => return error(number, why.problem("RCPT TO", path)),
        }
        Ok(())
    }

    fn data(&self, number: usize, rest: &str) -> Result<(), PickupError> {
        if !rest.trim().is_empty() {
            return syntax(number, "DATA", "it stands alone");
        }
        if !self.mail || self.message.merge.is_some() {
            return order(number, "DATA", "MAIL and RCPT come before it; after XMRG comes XPRT");
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

impl Session<'_> {
    fn define(&mut self, number: usize, rest: &str) -> Result<(), PickupError> {
        let smtputf8 = self.message.smtputf8;
        match &mut self.message.merge {
            Some(merge) if merge.parts.is_empty() => {
                merge
                    .define(rest, self.options.domain_suffix, smtputf8)
                    .or_else(|e| error(number, e.into()))?;
                Ok(())
            }
            _ => order(number, "XDFN", "it stands after XMRG, before the RCPT that it is for"),
        }
    }

    fn begin_part(&mut self, number: usize, rest: &str) -> Result<Follows, PickupError> {
        let Some(merge) = &mut self.message.merge else {
            return order(number, "XPRT", "XMRG and RCPT come before it");
        };
        let Some((part, last)) = part_argument(rest) else {
            return syntax(number, "XPRT", "write XPRT 1, or XPRT 1 LAST, with numbers up to 100");
        };
        if merge.awaits_recipient() {
            return order(number, "XPRT", "RCPT follows XDFN");
        }
        if merge.is_empty() {
            return error(number, PickupProblem::NoRecipient { field: "RCPT TO:<user@domain>" });
        }
        if merge.has_part(part) {
            return error(number, PickupProblem::PartTwice(part));
        }
        merge.parts.push(Part { number: part, end: self.message.message.len() });
        Ok(Follows::Part { last })
    }

    /// The text of the part that has begun.
    fn part(&mut self, lines: &mut Lines<'_>) -> Result<(), PickupError> {
        let text = &mut self.message.message;
        loop {
            match lines.next()? {
                None => return error(lines.number, PickupProblem::NoDot),
                Some(b".") => break,
                Some(line) => {
                    let line = line.strip_prefix(b".").unwrap_or(line);
                    if line.len() > MAX_LINE {
                        let problem = PickupProblem::LongLine { bytes: line.len(), max: MAX_LINE };
                        return error(lines.number, problem);
                    }
                    text.extend_from_slice(line);
                    text.extend_from_slice(b"\r\n");
                }
            }
        }
        let end = text.len();
        self.message
            .merge
            .iter_mut()
            .filter_map(|merge| merge.parts.last_mut())
            .for_each(|part| part.end = end);
        Ok(())
    }
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
