//! What the client writes once the session is open: commands, as many at a time as the peer allows, and content.

use super::client::{Client, Command, End, Event, Phase, RecipientFate, Transaction};
use super::dot::{DotWriter, clean_line_ends, has_clean_line_ends};
use std::borrow::Cow;
use std::io::Write;

impl Client {
    /// Takes a transaction into the queue and writes what can be written of it.
    pub(super) fn enqueue(&mut self, transaction: &Transaction) {
        let mut envelope = self.spare.take().unwrap_or_default();
        let mut local = Vec::new();
        let prepared = envelope.prepare(transaction, &self.extensions, &self.options, &mut local);
        let token = transaction.token;
        if let Err(failure) = prepared {
            self.spare = Some(envelope);
            self.event(Event::Finished { token, end: End::Local(failure) });
            return self.want_more();
        }
        for (index, failure) in local {
            self.event(Event::Recipient { token, index, fate: RecipientFate::Local(failure) });
        }
        if envelope.recipients.is_empty() {
            self.spare = Some(envelope);
            self.event(Event::Finished { token, end: End::AllRefused });
            return self.want_more();
        }
        self.next_serial = self.next_serial.wrapping_add(1);
        envelope.serial = self.next_serial;
        if self.envelopes.is_empty() {
            self.session_since = self.now.mono;
        }
        self.envelopes.push_back(envelope);
        self.write_commands();
    }

    fn want_more(&mut self) {
        if self.wants_transaction() {
            self.event(Event::WantTransaction);
        }
    }

    /// Writes every command that may go out now: all up to the next content with PIPELINING, else one.
    pub(super) fn write_commands(&mut self) {
        if self.phase != Phase::Ready {
            return;
        }
        for i in 0..self.envelopes.len() {
            // What follows content in the queue may follow it on the wire (RFC 2920 3.1), never pass it.
            if i > 0 && !self.envelopes[i - 1].content_written {
                return;
            }
            if !self.envelopes[i].finished && !self.write_envelope(i) {
                return;
            }
        }
    }

    /// Whether another command may be written now.
    fn may_write(&self) -> bool {
        self.expected.is_empty() || self.extensions.pipelining
    }

    /// Writes what can be written of envelope `i`; false when replies have to come first.
    fn write_envelope(&mut self, i: usize) -> bool {
        while self.envelopes[i].written < self.envelopes[i].commands() {
            if !self.may_write() {
                return false;
            }
            if self.rset {
                self.write_rset();
                continue;
            }
            self.write_next(i);
        }
        let envelope = &self.envelopes[i];
        if !envelope.data_written && !self.uses_chunks() {
            // One at a time, DATA waits until a recipient is accepted.
            if !self.may_write() || (!self.extensions.pipelining && envelope.accepted == 0) {
                return false;
            }
            let serial = envelope.serial;
            self.out().extend_from_slice(b"DATA\r\n");
            self.expect(Command::Data, serial);
            let envelope = &mut self.envelopes[i];
            envelope.data_written = true;
            envelope.outstanding += 1;
        }
        true
    }

    pub(super) fn write_rset(&mut self) {
        self.rset = false;
        self.out().extend_from_slice(b"RSET\r\n");
        self.expect(Command::Rset, 0);
    }

    /// Writes the next of MAIL and RCPTs.
    fn write_next(&mut self, i: usize) {
        let Client { envelopes, plain, output, tls, .. } = self;
        let envelope = &mut envelopes[i];
        let n = envelope.written;
        let out = if tls.is_some() { plain } else { output };
        out.extend_from_slice(envelope.command(n));
        envelope.written += 1;
        envelope.ahead |= i > 0;
        envelope.outstanding += 1;
        let serial = envelope.serial;
        // Indices are checked to fit when the envelope is prepared.
        self.expect(if n == 0 { Command::Mail } else { Command::Rcpt((n - 1) as u16) }, serial);
    }

    pub(super) fn uses_chunks(&self) -> bool {
        self.options.prefer_chunking && self.extensions.chunking
    }

    /// The peer is ready for the content of envelope `i`.
    pub(super) fn ask_body(&mut self, i: usize) {
        let envelope = &mut self.envelopes[i];
        envelope.wants_body = true;
        let token = envelope.token;
        // First the next transaction, so that it can go out with this one's content.
        self.want_more();
        self.event(Event::NeedBody { token });
    }

    /// Writes content, its end, and the commands of the next transaction behind it.
    pub(super) fn write_content(&mut self, content: &[u8]) {
        let Some(i) = self.envelopes.iter().position(|e| e.wants_body && !e.content_written) else { return };
        let chunks = self.uses_chunks();
        self.envelopes[i].begins = self.taken + self.output.len() as u64;
        let out = self.out();
        if chunks {
            let content = if has_clean_line_ends(content) {
                Cow::Borrowed(content)
            } else {
                Cow::Owned(clean_line_ends(content))
            };
            // Writing to a Vec cannot fail.
            let _ = write!(out, "BDAT {} LAST\r\n", content.len());
            out.extend_from_slice(&content);
        } else {
            let mut dots = DotWriter::default();
            dots.write(content, out);
            dots.finish(out);
        }
        let serial = self.envelopes[i].serial;
        self.expect(Command::Content, serial);
        let envelope = &mut self.envelopes[i];
        envelope.content_written = true;
        envelope.outstanding += 1;
        // In records of its own, so that the position of its end is known (S05).
        self.encrypt();
        self.write_commands();
    }

    pub(super) fn write_quit(&mut self) {
        self.phase = Phase::Quitting;
        self.out().extend_from_slice(b"QUIT\r\n");
        self.expect(Command::Quit, 0);
    }
}
