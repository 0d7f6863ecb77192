//! The commands of an inbound session.

use super::dsn::{self, BadParameter, RecipientDsn};
use super::refused::RefusedRecipient;
use super::server::{Envelope, Phase, Session};
use super::server_path::{self, PathArgument, PathError};
use super::server_xclient::{ATTRIBUTES, is_host};
use crate::base::Now;
use std::sync::atomic::Ordering;

/// What no mail client says: whoever does wants us to talk to somebody else (A21).
const FOREIGN: [&str; 9] =
    ["GET", "POST", "HEAD", "PUT", "CONNECT", "OPTIONS", "PROXY", "HOST:", "USER-AGENT:"];
/// Refused RCPTs beyond the limit that are not counted as errors: the client could not know.
const OVERSHOOT: u32 = 1000;

impl Session {
    /// One command line without its end; `more` when bytes follow it that arrived with it.
    pub(super) fn command(&mut self, now: Now, line: &[u8], more: bool) {
        let Ok(line) = std::str::from_utf8(line) else {
            return self.refuse("500 5.5.2 command is not UTF-8");
        };
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let verb = verb.to_ascii_uppercase();
        // Commands after which the client has to wait (RFC 2920 3.1); and without EHLO there is no pipelining at all.
        let last =
            matches!(verb.as_str(), "EHLO" | "HELO" | "DATA" | "XPRT" | "AUTH" | "STARTTLS" | "XCLIENT")
                || !self.esmtp;
        if more && last && verb != "QUIT" {
            return self.end_with("554 5.5.0", "commands sent before the reply they had to wait for");
        }
        match verb.as_str() {
            "HELO" | "EHLO" => self.hello(argument, verb == "EHLO"),
            "XMRG" if !self.options.merge => self.refuse("502 5.5.1 XMRG is not offered"),
            "MAIL" | "XMRG" => self.mail(&verb, argument),
            "RCPT" => self.heard(|session| {
                session.rcpt(argument);
                session.forget_definitions();
            }),
            "XDFN" => self.heard(|session| session.xdfn(argument)),
            "XPRT" => self.xprt(now, argument),
            "XACK" => self.xack(argument),
            "DATA" => self.data(now, argument),
            "QUIT" => self.quit(),
            "BDAT" => self.bdat(now, argument),
            "STARTTLS" => self.starttls(argument),
            "AUTH" => self.auth(argument),
            "XCLIENT" => self.xclient(argument),
            "RSET" => {
                self.drop_transaction();
                self.junk("250 2.0.0 RSET ok");
            }
            "NOOP" => self.junk("250 2.0.0 NOOP ok"),
            "VRFY" => self.junk("252 2.1.5 cannot verify, send mail and see"),
            "HELP" => self.junk("214 2.0.0 see RFC 5321"),
            "EXPN" => self.refuse("502 5.5.1 EXPN is not offered"),
            "ETRN" | "TURN" => self.refuse("502 5.5.1 command is not offered"),
            foreign if FOREIGN.contains(&foreign) => self.end_with("500 5.5.1", "speaks SMTP only"),
            _ => self.refuse("500 5.5.1 unrecognized command"),
        }
    }

    /// Answers a command that serves no message.
    fn junk(&mut self, line: &str) {
        if self.may_idle() {
            self.reply(line);
        }
    }

    /// Counts a command that serves no message; false when it was one too many and the session has ended.
    pub(super) fn may_idle(&mut self) -> bool {
        self.junk += 1;
        if self.junk > self.options.max_junk {
            self.end_with("421 4.7.0", "too many commands without mail");
        }
        !self.is_closed()
    }

    fn hello(&mut self, name: &str, esmtp: bool) {
        let name = name.trim_matches(' ');
        if !is_host(name) {
            return self.refuse("501 5.5.4 syntax: EHLO name-of-host");
        }
        if !self.may_idle() {
            return;
        }
        self.helo = name.into();
        self.esmtp = esmtp;
        self.drop_transaction();
        let options = self.options.clone();
        if !esmtp {
            return self.reply(format_args!("250 {} says hello", options.host));
        }
        self.reply(format_args!("250-{} says hello", options.host));
        self.reply("250-ENHANCEDSTATUSCODES");
        self.reply("250-PIPELINING");
        self.reply("250-8BITMIME");
        self.reply("250-DSN");
        self.reply("250-VERP");
        if options.chunking {
            self.reply("250-CHUNKING");
            self.reply("250-BINARYMIME");
        }
        if options.smtputf8 {
            self.reply("250-SMTPUTF8");
        }
        if options.tls.is_some() && !self.secure {
            self.reply("250-STARTTLS");
        }
        let mechanisms = self.mechanisms();
        if !mechanisms.is_empty() {
            self.reply(format_args!("250-AUTH {}", mechanisms.join(" ")));
        }
        if options.merge {
            self.reply("250-XACK");
            self.reply("250-XMRG");
        }
        if self.may_assume {
            self.reply(format_args!("250-XCLIENT {ATTRIBUTES}"));
        }
        // RFC 9422
        self.reply(format_args!("250-LIMITS RCPTMAX={}", options.max_recipients));
        self.reply(format_args!("250 SIZE {}", options.max_message_size));
    }

    /// MAIL, or XMRG, which takes the same and more.
    fn mail(&mut self, verb: &str, argument: &str) {
        if self.helo.is_empty() {
            return self.refuse("503 5.5.1 EHLO or HELO first");
        }
        if self.envelope.is_some() {
            return self.refuse(format_args!("503 5.5.1 {verb} within a transaction"));
        }
        if self.options.require_auth && self.user.is_empty() {
            return self.refuse("530 5.7.0 authentication required");
        }
        if self.options.exhausted.load(Ordering::Relaxed) {
            // The client may come again: this is no error of its own.
            return match self.options.close_on_transient {
                true => self.close(),
                false => self.reply("452 4.3.2 Server resources temporarily exhausted"),
            };
        }
        let path = match server_path::parse(argument, "FROM:", &self.options) {
            Ok(path) => path,
            Err(PathError(wanted)) => {
                return self.refuse(format_args!("501 5.5.4 syntax: {verb} {wanted}"));
            }
        };
        let sender = match &path.address {
            Ok(address) => address.as_ref().map(|a| a.as_str().to_owned()).unwrap_or_default(),
            Err(e) => return self.refuse(format_args!("501 5.1.7 sender address: {e}")),
        };
        let mut envelope = Box::new(Envelope {
            sender,
            helo: self.helo.to_string(),
            user: self.user.to_string(),
            esmtp: self.esmtp,
            merge: Session::new_merge(verb),
            ..Envelope::default()
        });
        if let Err(refusal) = self.mail_parameters(&path, &mut envelope) {
            return self.refuse(refusal);
        }
        if !envelope.sender.is_ascii() && !envelope.smtputf8 {
            return self.refuse("553 5.6.7 sender address needs SMTPUTF8");
        }
        self.overshoot = 0;
        self.envelope = Some(envelope);
        self.name_sender();
    }

    fn mail_parameters(&self, path: &PathArgument<'_>, envelope: &mut Envelope) -> Result<(), &'static str> {
        for &(keyword, value) in &path.parameters {
            match (keyword.to_ascii_uppercase().as_str(), value) {
                _ if !self.esmtp => return Err("555 5.5.4 parameters need EHLO"),
                ("SIZE", Some(size)) if size.len() <= 20 && size.bytes().all(|b| b.is_ascii_digit()) => {
                    // What does not fit is in any case too large.
                    envelope.declared_size = size.parse().unwrap_or(u64::MAX);
                    let limit = self.options.max_message_size as u64;
                    if limit > 0 && envelope.declared_size > limit {
                        return Err("552 5.3.4 message is larger than SIZE allows");
                    }
                }
                ("SIZE", _) => return Err("501 5.5.4 syntax: SIZE=digits"),
                ("BODY", Some(body)) if body.eq_ignore_ascii_case("8BITMIME") => envelope.eight_bit = true,
                ("BODY", Some(body)) if body.eq_ignore_ascii_case("7BIT") => {}
                ("BODY", Some(body)) if body.eq_ignore_ascii_case("BINARYMIME") && self.options.chunking => {
                    (envelope.eight_bit, envelope.binary) = (true, true);
                }
                ("BODY", _) => return Err("501 5.5.4 syntax: BODY=7BIT, 8BITMIME or BINARYMIME, as offered"),
                ("VERP", None) => envelope.verp = true,
                ("RET", Some(value)) => {
                    envelope.ret = dsn::ret(value).ok_or("501 5.5.4 syntax: RET=FULL or RET=HDRS")?;
                }
                ("ENVID", Some(value)) => {
                    let id = dsn::envid(value);
                    envelope.envid = id.ok_or("501 5.5.4 syntax: ENVID= and 1 to 100 characters in xtext")?;
                }
                ("SMTPUTF8", None) if self.options.smtputf8 => envelope.smtputf8 = true,
                _ => return Err("555 5.5.4 unsupported parameter of MAIL"),
            }
        }
        Ok(())
    }

    fn rcpt(&mut self, argument: &str) {
        let Some(envelope) = &self.envelope else { return self.refuse("503 5.5.1 MAIL first") };
        if self.chunk.is_some() {
            return self.refuse("503 5.5.1 RCPT after BDAT");
        }
        if let Some(refusal) = self.no_merged_rcpt() {
            return self.refuse(refusal);
        }
        if envelope.count() >= self.options.room_for(envelope.merge.is_some()) {
            self.overshoot += 1;
            if self.options.too_many_fail && self.overshoot <= OVERSHOOT {
                return self.reply("250 2.1.5 ok");
            }
            // Not counted as an error at once: the client may be emptying its pipeline.
            if self.overshoot <= OVERSHOOT {
                return self.reply("452 4.5.3 too many recipients");
            }
            return self.refuse("452 4.5.3 too many recipients");
        }
        let smtputf8 = envelope.smtputf8;
        let path = match server_path::parse(argument, "TO:", &self.options) {
            Ok(path) => path,
            Err(PathError(wanted)) => {
                return self.refuse(format_args!("501 5.5.4 syntax: RCPT {wanted}"));
            }
        };
        let reports = match self.rcpt_parameters(&path) {
            Ok(reports) => reports,
            Err(refusal) => return self.refuse(refusal),
        };
        match path.address {
            Ok(Some(address)) if smtputf8 || address.as_str().is_ascii() => self.take(&address, reports),
            Ok(Some(_)) => self.turn_down(RefusedRecipient::beyond_ascii(path.mailbox, reports)),
            Ok(None) => self.refuse("501 5.1.3 recipient address is empty"),
            Err(e) => self.turn_down(RefusedRecipient::malformed(path.mailbox, &e, smtputf8, reports)),
        }
    }

    fn rcpt_parameters(&self, path: &PathArgument<'_>) -> Result<RecipientDsn, &'static str> {
        let mut reports = RecipientDsn::default();
        for &(keyword, value) in &path.parameters {
            if !self.esmtp {
                return Err("555 5.5.4 parameters need EHLO");
            }
            reports.take(keyword, value.unwrap_or_default()).map_err(|bad| match bad {
                BadParameter::Notify => {
                    "501 5.5.4 syntax: NOTIFY=NEVER, or some of SUCCESS,FAILURE,DELAY with commas between them"
                }
                BadParameter::Orcpt => "501 5.5.4 syntax: ORCPT=type;address in xtext",
                BadParameter::Unknown => "555 5.5.4 unsupported parameter of RCPT",
            })?;
        }
        Ok(reports)
    }

    fn data(&mut self, now: Now, argument: &str) {
        if !argument.trim_matches(' ').is_empty() {
            return self.refuse("501 5.5.4 DATA takes no argument");
        }
        if self.say_unheard() {
            return;
        }
        match &self.envelope {
            None => self.refuse("503 5.5.1 MAIL first"),
            Some(envelope) if envelope.merge.is_some() => self.refuse("503 5.5.1 XPRT comes after XMRG"),
            Some(_) if self.chunk.is_some() => self.refuse("503 5.5.1 DATA after BDAT"),
            Some(envelope) if envelope.count() == 0 => self.refuse("554 5.5.1 no valid recipients"),
            // RFC 3030 section 3.
            Some(envelope) if envelope.binary => self.refuse("503 5.5.1 BINARYMIME goes with BDAT"),
            Some(_) => {
                self.begin_data(now);
                self.reply("354 send message, end with a line of a single dot");
            }
        }
    }

    /// What belongs to a transaction that has ended without a message.
    pub(super) fn drop_transaction(&mut self) {
        self.envelope = None;
        self.chunk = None;
        self.part = None;
        self.message = Vec::new();
        self.forget_unheard();
    }

    fn starttls(&mut self, argument: &str) {
        if self.options.tls.is_none() {
            return self.refuse("502 5.5.1 STARTTLS is not offered");
        }
        if self.secure {
            return self.refuse("503 5.5.1 TLS is spoken already");
        }
        if self.envelope.is_some() {
            return self.refuse("503 5.5.1 STARTTLS within a transaction");
        }
        if !argument.trim_matches(' ').is_empty() {
            return self.refuse("501 5.5.4 STARTTLS takes no argument");
        }
        self.reply("220 2.0.0 ready for TLS");
        self.phase = Phase::Securing;
    }

    fn quit(&mut self) {
        let options = self.options.clone();
        self.reply(format_args!("221 2.0.0 {} says goodbye", options.host));
        self.close();
    }
}
