//! What the client writes once the session is open: commands, as many at a time as the peer allows, and content.

use super::client::{Client, Command, End, Event, KEPT_OUTPUT, Phase, RecipientFate, Transaction, UNWRITTEN};
use super::dot::{clean_line_ends, has_clean_line_ends};
use std::io::Write;

/// Content written at a time: with commands and what TLS adds it fits the output that is kept.
const PIECE: usize = KEPT_OUTPUT - 8 * 1024;

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

    /// Writes content, or a piece of it; behind its end the commands of the next transaction.
    pub(super) fn write_content(&mut self, content: &[u8]) {
        let Some(i) = self.envelopes.iter().position(|e| e.wants_body && !e.content_written) else { return };
        let chunks = self.uses_chunks();
        if self.envelopes[i].content_begun {
            self.write_piece(i, content, PIECE);
        } else if chunks && !has_clean_line_ends(content) {
            // Never so with what intake has taken in or a template made; it costs the memory of a copy.
            let content = clean_line_ends(content);
            self.begin_content(i, Some(content.len()));
            self.write_piece(i, &content, content.len());
        } else {
            self.begin_content(i, chunks.then_some(content.len()));
            self.write_piece(i, content, PIECE);
        }
    }

    fn begin_content(&mut self, i: usize, chunk: Option<usize>) {
        let begins = self.taken + self.output.len() as u64;
        if let Some(length) = chunk {
            // Writing to a Vec cannot fail.
            let _ = write!(self.out(), "BDAT {length} LAST\r\n");
        }
        let envelope = &mut self.envelopes[i];
        envelope.begins = begins;
        envelope.content_begun = true;
        envelope.outstanding += 1;
        let serial = envelope.serial;
        self.expect(Command::Content, serial);
        self.content_ends(UNWRITTEN);
    }

    /// Writes up to `most` bytes of what is left of the content.
    fn write_piece(&mut self, i: usize, content: &[u8], most: usize) {
        let chunks = self.uses_chunks();
        let Client { envelopes, plain, output, tls, .. } = self;
        let (envelope, out) = (&mut envelopes[i], if tls.is_some() { plain } else { output });
        let rest = content.get(envelope.content_at..).unwrap_or_default();
        let piece = &rest[..rest.len().min(most)];
        if chunks {
            out.extend_from_slice(piece);
        } else {
            envelope.dots.write(piece, out);
        }
        envelope.content_at += piece.len();
        if piece.len() < rest.len() {
            return;
        }
        if !chunks {
            std::mem::take(&mut envelope.dots).finish(out);
        }
        envelope.content_written = true;
        self.content_ends(self.end_of_output());
        // In records of its own, so that the position of its end is known (S05).
        self.encrypt();
        self.write_commands();
    }

    /// Nothing follows content that is not written to its end, so that it is the last of what is expected.
    fn content_ends(&mut self, end: u64) {
        if let Some(content) = self.expected.back_mut() {
            content.end = end;
        }
    }

    pub(super) fn write_quit(&mut self) {
        self.phase = Phase::Quitting;
        self.out().extend_from_slice(b"QUIT\r\n");
        self.expect(Command::Quit, 0);
    }
}
