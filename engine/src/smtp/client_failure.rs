//! How a client connection ends, and what that means for the transactions on it.

use super::client::{Client, Command, End, Event, Failure, Phase, ProtocolError, Retreat, Stage, StartTls};
use super::client_envelope::Envelope;

impl Client {
    /// The connection has failed where it stands.
    pub(super) fn fail(&mut self, failure: Failure) {
        let stage = self.stage();
        self.fail_at(stage, failure);
    }

    pub(super) fn fail_unexpected(&mut self, code: u16) {
        self.fail(Failure::Protocol(ProtocolError::Unexpected(code)));
    }

    pub(super) fn fail_at(&mut self, stage: Stage, failure: Failure) {
        // Whatever goes wrong with a goodbye changes nothing any more.
        if matches!(self.phase, Phase::Closed | Phase::Quitting) {
            return self.close();
        }
        self.suspect(&failure);
        let secured = self.tls.is_some() && !matches!(failure, Failure::Reply(_));
        let securing = stage == Stage::StartTls || secured;
        let retry_in_clear =
            securing && self.options.starttls == StartTls::Opportunistic && self.phase != Phase::Ready;
        let content_end =
            self.expected.iter().find(|e| e.command == Command::Content).map(|e| (e.serial, e.end));
        let mut first = true;
        while let Some(envelope) = self.envelopes.pop_front() {
            if !envelope.finished {
                let sent =
                    content_end.is_some_and(|(serial, end)| serial == envelope.serial && end <= self.sent);
                let end = match sent {
                    true => End::InDoubt(failure.clone()),
                    false => self.end_unsent(&envelope, first, stage, &failure),
                };
                self.event(Event::Finished { token: envelope.token, end });
            }
            first = false;
        }
        self.event(Event::Failed { stage, failure, retry_in_clear });
        self.close();
    }

    /// The fate of a transaction on a failed connection, of which not all content had left.
    fn end_unsent(&self, envelope: &Envelope, first: bool, stage: Stage, failure: &Failure) -> End {
        // Without any reply, behind a transaction that went through: the connection was given up under it.
        let never_begun =
            !first || envelope.written == 0 || (self.completed > 0 && !matches!(failure, Failure::Timeout));
        if !envelope.replied && never_begun {
            return End::Untried;
        }
        let stage = match stage {
            Stage::Final | Stage::Idle if envelope.wants_body => Stage::Content,
            other => other,
        };
        End::Broken { stage, failure: failure.clone() }
    }

    /// Whether the failure tells that the peer cannot take what it offers (S16), and remembers it.
    fn suspect(&mut self, failure: &Failure) {
        let mismatch = match failure {
            Failure::Protocol(ProtocolError::Reply(_) | ProtocolError::Injection) => false,
            Failure::Protocol(_) | Failure::Lost(_) | Failure::Timeout => true,
            _ => false,
        };
        if !mismatch || self.phase != Phase::Ready || self.retreat.is_some() {
            return;
        }
        let ahead = self.envelopes.iter().any(|e| e.ahead && !e.replied);
        let envelope = self.envelopes.front();
        // A second command of the transaction was out before the first was answered.
        let batched = envelope.is_some_and(|e| e.outstanding > 1 || (e.outstanding == 1 && e.replied));
        let batched = batched && self.extensions.pipelining && !envelope.is_some_and(|e| e.content_begun);
        if ahead {
            self.back_off(Retreat::AcrossData);
        } else if batched && !matches!(failure, Failure::Lost(_)) {
            self.back_off(Retreat::Pipelining);
        }
    }

    pub(super) fn back_off(&mut self, retreat: Retreat) {
        if self.retreat != Some(retreat) {
            self.retreat = Some(retreat);
            self.event(Event::Retreat(retreat));
        }
    }

    /// Closes without a failure.
    pub(super) fn close(&mut self) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        if let Some(tls) = &mut self.tls {
            self.plain.clear();
            tls.close(&mut self.output);
        }
        self.expected.clear();
        self.event(Event::Closed);
    }

    /// Where the connection stands: what the first expected reply answers.
    pub(super) fn stage(&self) -> Stage {
        let Some(front) = self.expected.front() else {
            return match self.phase {
                Phase::Handshake => Stage::StartTls,
                _ if self.envelopes.front().is_some_and(|e| e.wants_body) => Stage::Content,
                _ => Stage::Idle,
            };
        };
        match front.command {
            Command::Greeting => Stage::Greeting,
            Command::Ehlo | Command::Helo => Stage::Hello,
            Command::StartTls => Stage::StartTls,
            Command::Mail => Stage::Mail,
            Command::Rcpt(_) => Stage::Rcpt,
            Command::Data | Command::LoneDot => Stage::Data,
            Command::Content if front.end > self.sent => Stage::Content,
            Command::Content => Stage::Final,
            Command::Rset => Stage::Rset,
            Command::Quit => Stage::Quit,
        }
    }
}
