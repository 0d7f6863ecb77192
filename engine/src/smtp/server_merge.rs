//! The mail merge extension in a session (reference 6.4): XMRG opens a message, XDFN defines variables for the next RCPT,
//! XPRT brings the text in parts, and XACK OFF saves the replies to RCPT and XDFN.

use super::merge::{Merge, Part, part_argument};
use super::server::{Envelope, Phase, ServerEvent, Session};
use super::undot::DotReader;
use crate::base::Now;

/// Commands that are passed over behind the one whose error cancels the message, before the session is ended.
const MAX_PASSED_OVER: u32 = 1_000_000;

/// What XACK OFF leaves to be said.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    /// `XACK OFF` is in force.
    pub quiet: bool,
    /// The first refusal in this message: the reply to its end.
    refusal: Option<String>,
    passed_over: u32,
}

/// The part that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    number: u16,
    last: bool,
}

impl Envelope {
    /// How many recipients there are.
    pub(super) fn count(&self) -> usize {
        self.merge.as_ref().map_or(self.recipients.len() + self.refused.len(), |merge| merge.len())
    }
}

impl Session {
    pub(super) fn xack(&mut self, argument: &str) {
        if !self.options.merge {
            return self.refuse("502 5.5.1 XACK is not offered");
        }
        match argument.trim_matches(' ').to_ascii_uppercase().as_str() {
            "ON" => self.unheard.quiet = false,
            "OFF" => self.unheard.quiet = true,
            _ => return self.refuse("501 5.5.4 syntax: XACK ON, or XACK OFF"),
        }
        self.reply("250 2.0.0 ok");
    }

    /// RCPT or XDFN: answered, unless the client wants to hear of its errors at the end.
    pub(super) fn heard(&mut self, act: impl FnOnce(&mut Session)) {
        if !self.unheard.quiet {
            return act(self);
        }
        if self.unheard.refusal.is_some() {
            self.unheard.passed_over += 1;
            if self.unheard.passed_over > MAX_PASSED_OVER {
                self.end_with("421 4.7.0", "too many commands after one that failed");
            }
            return;
        }
        let before = self.output.len();
        act(self);
        if self.is_closed() {
            return;
        }
        let said = self.output.split_off(before);
        // Errors outside a message are nobody's.
        if said.first().is_some_and(|code| *code != b'2') && self.envelope.is_some() {
            self.unheard.refusal = Some(String::from_utf8_lossy(&said).trim_end().to_owned());
        }
    }

    /// Whether something that was not answered cancels the message.
    pub(super) fn has_unheard(&self) -> bool {
        self.unheard.refusal.is_some()
    }

    /// Says what was not answered; true when that has ended the message.
    pub(super) fn say_unheard(&mut self) -> bool {
        let Some(refusal) = self.unheard.refusal.take() else { return false };
        self.drop_transaction();
        self.refuse(refusal);
        true
    }

    pub(super) fn forget_unheard(&mut self) {
        self.unheard.refusal = None;
        self.unheard.passed_over = 0;
    }

    pub(super) fn xdfn(&mut self, argument: &str) {
        if !self.options.merge {
            return self.refuse("502 5.5.1 XDFN is not offered");
        }
        let Some(envelope) = &mut self.envelope else { return self.refuse("503 5.5.1 XMRG first") };
        let smtputf8 = envelope.smtputf8;
        let Some(merge) = &mut envelope.merge else { return self.refuse("503 5.5.1 XDFN without XMRG") };
        if !merge.parts.is_empty() {
            return self.refuse("503 5.5.1 XDFN after XPRT");
        }
        match merge.define(argument, &self.options.domain_suffix, smtputf8) {
            Ok(None) => self.reply("250 2.0.0 XDFN ok"),
            Ok(Some(name)) => self.reply(format_args!("250 2.0.0 XDFN ok, but {name} has no effect here")),
            Err(e) => self.refuse(format_args!("{} {e}", e.code())),
        }
    }

    /// Why no RCPT may come now, in a merged message.
    pub(super) fn no_merged_rcpt(&self) -> Option<&'static str> {
        let merge = self.envelope.as_ref()?.merge.as_ref()?;
        if !merge.parts.is_empty() {
            return Some("503 5.5.1 RCPT after XPRT");
        }
        merge.is_spoiled().then_some("503 5.5.1 an XDFN for this recipient was refused")
    }

    /// What was defined for a recipient is gone with its RCPT, taken or not.
    pub(super) fn forget_definitions(&mut self) {
        if let Some(merge) = self.envelope.as_mut().and_then(|envelope| envelope.merge.as_mut()) {
            merge.forget_open();
        }
    }

    pub(super) fn xprt(&mut self, now: Now, argument: &str) {
        if !self.options.merge {
            return self.refuse("502 5.5.1 XPRT is not offered");
        }
        if self.say_unheard() {
            return;
        }
        let Some(envelope) = &self.envelope else { return self.refuse("503 5.5.1 XMRG first") };
        let Some(merge) = &envelope.merge else { return self.refuse("503 5.5.1 XPRT without XMRG") };
        let Some((number, last)) = part_argument(argument) else {
            return self.refuse("501 5.5.4 syntax: XPRT number, or XPRT number LAST; 1 to 100");
        };
        if merge.has_part(number) {
            return self.refuse("503 5.5.1 this part is there already");
        }
        if merge.awaits_recipient() {
            return self.refuse("503 5.5.1 RCPT after XDFN first");
        }
        if merge.is_empty() {
            return self.refuse("554 5.5.1 no valid recipients");
        }
        self.phase = Phase::Data;
        self.reader = DotReader::new(self.options.line_ends);
        self.received = 0;
        self.too_large = false;
        self.data_since = now.mono;
        self.part = Some(Reading { number, last });
        self.reply("354 send part");
    }

    /// The lone dot behind a part.
    pub(super) fn end_part(&mut self, part: Reading) {
        self.phase = Phase::Commands;
        if self.reader.violation().is_some() {
            return self.end_with("550 5.5.2", "message has a bare CR, a bare LF or a NUL");
        }
        if self.too_large {
            self.drop_transaction();
            return self.refuse("552 5.3.4 message is too large");
        }
        let end = self.message.len();
        let Some(merge) = self.envelope.as_mut().and_then(|envelope| envelope.merge.as_mut()) else { return };
        merge.parts.push(Part { number: part.number, end });
        if !part.last {
            return self.reply("250 2.6.0 part ok");
        }
        let message = std::mem::take(&mut self.message);
        let Some(envelope) = self.envelope.take() else { return };
        if self.options.too_many_fail && self.overshoot > 0 {
            return self.refuse("552 5.5.3 too many recipients");
        }
        self.phase = Phase::Deciding;
        self.event(ServerEvent::Message(envelope, message));
    }

    /// A fresh merge for XMRG; VERP is set by its parameter.
    pub(super) fn new_merge(verb: &str) -> Option<Box<Merge>> {
        (verb == "XMRG").then(Box::default)
    }
}
