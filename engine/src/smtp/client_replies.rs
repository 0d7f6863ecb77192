//! What the client makes of replies once the session is open.

use super::client::{
    Client, Command, End, Event, Expected, Failure, Phase, ProtocolError, RecipientFate, Retreat, Stage,
};

impl Client {
    /// One complete reply stands in the parser.
    pub(super) fn take_reply(&mut self) {
        let code = self.parser.code();
        let began_early = std::mem::take(&mut self.began_early);
        let Some(&front) = self.expected.front() else {
            // 421 may come at any time (RFC 5321 3.8); anything else answers nothing.
            let failure = match code {
                421 => Failure::Reply(self.parser.reply()),
                _ => Failure::Protocol(ProtocolError::Unsolicited(code)),
            };
            return self.fail(failure);
        };
        if (began_early || front.end > self.taken) && code != 421 {
            return self.on_early(front, code);
        }
        if code == 421 && front.command != Command::Quit {
            return self.on_421(front);
        }
        match front.command {
            Command::Greeting | Command::Ehlo | Command::Helo | Command::StartTls => {
                self.on_opening_reply(front.command, code);
            }
            Command::Quit => self.close(),
            Command::Rset => self.on_rset(code),
            _ => self.on_envelope_reply(front, code),
        }
    }

    /// A reply to what has not all been sent (S13). A refusal in the middle of the content is the message's all the same;
    /// the connection is out of step either way.
    fn on_early(&mut self, front: Expected, code: u16) {
        let i = self.envelope(front.serial);
        let failure = Failure::Protocol(ProtocolError::Early(code));
        let partly =
            front.command == Command::Content && self.envelopes.get(i).is_some_and(|e| e.begins < self.taken);
        if partly && code >= 400 {
            let reply = self.parser.reply();
            self.finish(i, End::Replied { stage: Stage::Content, reply });
            return self.fail_at(Stage::Content, failure);
        }
        self.fail(failure);
    }

    /// The first expected reply has come.
    pub(super) fn answered(&mut self) {
        self.expected.pop_front();
        self.since = self.now.mono;
    }

    /// Position of the envelope with this serial; replies come in the order of the queue.
    fn envelope(&self, serial: u32) -> usize {
        usize::from(self.envelopes.front().is_some_and(|e| e.serial != serial))
    }

    fn on_rset(&mut self, code: u16) {
        if code / 100 != 2 {
            return self.fail_unexpected(code);
        }
        self.answered();
        self.settle();
    }

    fn on_envelope_reply(&mut self, front: Expected, code: u16) {
        let i = self.envelope(front.serial);
        if i >= self.envelopes.len() {
            return self.fail_unexpected(code);
        }
        // An unexpected answer to the content leaves it in doubt, so it stays expected until it is understood.
        let fits = match front.command {
            Command::Data => code == 354 || code >= 400,
            _ => code / 100 != 3,
        };
        if !fits {
            return self.fail_unexpected(code);
        }
        self.answered();
        let envelope = &mut self.envelopes[i];
        envelope.outstanding -= 1;
        envelope.replied = true;
        match front.command {
            Command::Mail => self.on_mail(i, code),
            Command::Rcpt(n) => self.on_rcpt(i, usize::from(n), code),
            Command::Data => self.on_data(i, code),
            Command::Content => self.on_content(i, code),
            _ => {}
        }
        self.settle();
    }

    fn on_mail(&mut self, i: usize, code: u16) {
        if code < 300 {
            return;
        }
        // Behind another transaction's content: the peer lost track, it is not this message's fault.
        if code == 503 && self.envelopes[i].ahead {
            self.back_off(Retreat::AcrossData);
            self.rset = true;
            return self.finish(i, End::Untried);
        }
        let reply = self.parser.reply();
        self.finish(i, End::Replied { stage: Stage::Mail, reply });
    }

    fn on_rcpt(&mut self, i: usize, n: usize, code: u16) {
        let envelope = &mut self.envelopes[i];
        envelope.answered += 1;
        if code < 300 {
            envelope.accepted += 1;
            // Accepted although MAIL was not: the server has a transaction that we do not.
            self.rset |= envelope.finished;
        } else if !envelope.finished {
            envelope.recipients[n].told = true;
            let (token, index) = (envelope.token, envelope.recipients[n].index);
            let fate = self.recipient_fate(i, code);
            self.event(Event::Recipient { token, index, fate });
        }
        let envelope = &self.envelopes[i];
        if envelope.finished || envelope.answered < envelope.recipients.len() {
            return;
        }
        if envelope.accepted == 0 {
            self.rset = true;
            self.finish(i, End::AllRefused);
        } else if self.uses_chunks() {
            self.ask_body(i);
        }
    }

    /// Refused, or only too many for one transaction: 452, or 552 in its place (RFC 5321 4.5.3.1.10), after a
    /// recipient was accepted, unless the enhanced status speaks of the mailbox (x.2.x).
    fn recipient_fate(&mut self, i: usize, code: u16) -> RecipientFate {
        let reply = self.parser.reply();
        let envelope = &mut self.envelopes[i];
        let too_many = matches!(code, 452 | 552)
            && (envelope.accepted > 0 || envelope.postponing)
            && reply.enhanced.is_none_or(|(_, subject, _)| subject != 2);
        if too_many {
            envelope.postponing = true;
            RecipientFate::Postponed(reply)
        } else {
            RecipientFate::Refused(reply)
        }
    }

    fn on_data(&mut self, i: usize, code: u16) {
        let envelope = &self.envelopes[i];
        match (code, envelope.finished) {
            (354, false) => self.ask_body(i),
            // DATA went out with RCPTs that were all refused, and was accepted: an empty message to nobody ends it (RFC
            // 2920 3.1). If a recipient was accepted after MAIL was refused, that would be an empty message to
            // somebody (R12).
            (354, true) if envelope.accepted == 0 => {
                let serial = envelope.serial;
                self.envelopes[i].outstanding += 1;
                self.rset = false;
                self.out().extend_from_slice(b".\r\n");
                self.expect(Command::LoneDot, serial);
            }
            (354, true) => self.fail_at(Stage::Data, Failure::Protocol(ProtocolError::Unexpected(code))),
            (_, true) => {}
            (_, false) => {
                self.rset = true;
                let reply = self.parser.reply();
                self.finish(i, End::Replied { stage: Stage::Data, reply });
            }
        }
    }

    fn on_content(&mut self, i: usize, code: u16) {
        self.completed += 1;
        self.session_since = self.now.mono;
        // A server that does not know BDAT after all takes the chunk for commands (S19).
        if self.uses_chunks() && matches!(code, 500 | 502 | 504) {
            let failure = Failure::Protocol(ProtocolError::Unexpected(code));
            self.back_off(Retreat::Chunking);
            self.finish(i, End::Broken { stage: Stage::Content, failure: failure.clone() });
            return self.fail_at(Stage::Content, failure);
        }
        let reply = self.parser.reply();
        self.clean |= code < 300;
        self.finish(i, End::Replied { stage: Stage::Final, reply });
        if self.uses_chunks() && code >= 400 && self.envelopes.len() == 1 {
            // RFC 3030 2: after a failed chunk the state is undefined until RSET.
            self.rset = true;
        }
    }

    /// S07: the server is going away. The command it answers is refused, the rest was never answered.
    fn on_421(&mut self, front: Expected) {
        let reply = self.parser.reply();
        let i = self.envelope(front.serial);
        let open = self.envelopes.get(i).is_some_and(|e| !e.finished);
        let stage = self.stage();
        match front.command {
            Command::Mail | Command::Data | Command::Content if open => {
                self.finish(i, End::Replied { stage, reply: reply.clone() });
            }
            Command::Rcpt(n) if open => {
                let envelope = &mut self.envelopes[i];
                let named = &mut envelope.recipients[usize::from(n)];
                named.told = true;
                let (token, index) = (envelope.token, named.index);
                self.event(Event::Recipient { token, index, fate: RecipientFate::Refused(reply.clone()) });
            }
            _ => {}
        }
        self.fail_at(stage, Failure::Reply(reply));
    }

    pub(super) fn finish(&mut self, i: usize, end: End) {
        let envelope = &mut self.envelopes[i];
        envelope.finished = true;
        let token = envelope.token;
        self.event(Event::Finished { token, end });
    }

    /// After a reply: takes ended transactions off the queue, and goes on.
    fn settle(&mut self) {
        while self.envelopes.front().is_some_and(|e| e.finished && e.outstanding == 0) {
            self.spare = self.envelopes.pop_front();
        }
        if self.phase != Phase::Ready {
            return;
        }
        if !self.envelopes.is_empty() {
            self.write_commands();
        } else if self.quit {
            self.write_quit();
        } else if self.rset && !self.extensions.pipelining {
            // Now and not with the next MAIL, which has to leave when its turn has come (`max-msg-rate`) and not a round
            // trip later.
            self.write_rset();
        } else {
            self.event(Event::WantTransaction);
        }
    }
}
