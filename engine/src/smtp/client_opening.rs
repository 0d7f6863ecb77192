//! The client's first steps: greeting, EHLO or HELO, STARTTLS, and EHLO again.

use super::client::{Client, Command, Event, Failure, Phase, ProtocolError, Stage, StartTls};
use super::extensions::Extensions;
use super::tls::Tls;

impl Client {
    /// Bytes in clear, or what TLS made of them.
    pub(super) fn handle_plain(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.phase != Phase::Closed {
            let (used, complete) = match self.parser.feed(bytes) {
                Ok(fed) => fed,
                Err(e) => return self.fail(Failure::Protocol(e.into())),
            };
            bytes = &bytes[used..];
            if complete {
                self.take_reply();
            }
            // Bytes behind the reply to STARTTLS were sent in clear, by whoever wanted them to count as secured (S23).
            if self.phase == Phase::Handshake && !bytes.is_empty() {
                return self.fail(Failure::Protocol(ProtocolError::Injection));
            }
        }
        let unsent = self.expected.front().is_none_or(|front| front.end > self.taken);
        self.began_early = !self.parser.is_idle() && (self.began_early || unsent);
    }

    /// Bytes of a TLS connection.
    pub(super) fn handle_wire(&mut self, bytes: &[u8]) {
        let Some(tls) = &mut self.tls else { return };
        let mut plain = std::mem::take(&mut self.received);
        plain.clear();
        if let Err(e) = tls.read(bytes, &mut plain, &mut self.output) {
            return self.fail(Failure::Tls(e));
        }
        if self.phase == Phase::Handshake && !tls.is_handshaking() {
            let seen = tls.seen();
            if self.options.starttls == StartTls::Verified && !seen.verified {
                return self.fail(Failure::Unverified);
            }
            self.tls_seen = Some(seen);
            self.phase = Phase::Opening;
            self.write_hello("EHLO ", Command::Ehlo);
        }
        self.handle_plain(&plain);
        self.received = plain;
    }

    pub(super) fn on_opening_reply(&mut self, command: Command, code: u16) {
        match (command, code) {
            (Command::Greeting | Command::StartTls, 220) | (Command::Ehlo | Command::Helo, 200..=299) => {}
            // S15: a server that knows no EHLO.
            (Command::Ehlo, 500..) => {}
            (_, 400..) => return self.fail(Failure::Reply(self.parser.reply())),
            _ => return self.fail_unexpected(code),
        }
        self.answered();
        match command {
            Command::Greeting => self.write_hello("EHLO ", Command::Ehlo),
            Command::Ehlo if code >= 500 => self.write_hello("HELO ", Command::Helo),
            Command::StartTls => self.begin_tls(),
            _ => {
                self.extensions =
                    if command == Command::Ehlo { self.offered() } else { Extensions::default() };
                self.open_or_secure();
            }
        }
    }

    fn begin_tls(&mut self) {
        match self.options.tls.as_ref().map(|c| Tls::client(c, &self.options.host, self.now.wall)) {
            Some(Ok(mut tls)) => {
                tls.flush(&mut self.output);
                self.tls = Some(Box::new(tls));
                self.phase = Phase::Handshake;
                // Only the EHLO inside TLS counts (S24).
                self.extensions = Extensions::default();
            }
            Some(Err(e)) => self.fail_at(Stage::StartTls, Failure::Tls(e)),
            None => self.fail_at(Stage::StartTls, Failure::NoStartTls),
        }
    }

    /// After a good EHLO or HELO: TLS if it is wanted and not there yet, else the session is open.
    fn open_or_secure(&mut self) {
        let wanted = self.options.starttls != StartTls::Off && self.tls.is_none();
        if wanted && self.extensions.starttls && self.options.tls.is_some() {
            self.out().extend_from_slice(b"STARTTLS\r\n");
            self.expect(Command::StartTls, 0);
        } else if wanted && self.options.starttls.is_required() {
            self.fail_at(Stage::StartTls, Failure::NoStartTls);
        } else {
            self.phase = Phase::Ready;
            self.since = self.now.mono;
            self.event(Event::Ready { extensions: self.extensions.clone(), tls: self.tls_seen });
            self.event(Event::WantTransaction);
        }
    }

    fn offered(&self) -> Extensions {
        let mut found = Extensions::parse(self.parser.lines());
        found.pipelining &= !self.options.ignore_pipelining;
        found.chunking &= !self.options.ignore_chunking;
        found.eight_bit_mime &= !self.options.ignore_8bitmime;
        found.dsn &= !self.options.ignore_dsn;
        found
    }

    fn write_hello(&mut self, verb: &str, command: Command) {
        let options = self.options.clone();
        let out = self.out();
        out.extend_from_slice(verb.as_bytes());
        out.extend_from_slice(options.helo.as_bytes());
        out.extend_from_slice(b"\r\n");
        self.expect(command, 0);
    }
}
