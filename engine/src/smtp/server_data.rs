//! The message of an inbound session: taken in, bounded, and checked at its end.

use super::server::{Phase, ServerEvent, Session};
use super::undot::DotReader;
use crate::base::Now;
use memchr::memmem;

/// Bytes that are made room for on a client's word alone.
const BELIEVED: u64 = 64 * 1024;

impl Session {
    pub(super) fn begin_data(&mut self, now: Now) {
        self.phase = Phase::Data;
        self.reader = DotReader::new(self.options.line_ends);
        self.message = Vec::new();
        self.received = 0;
        self.too_large = false;
        self.data_since = now.mono;
    }

    /// Takes a piece of the message; returns how many bytes belonged to it.
    pub(super) fn take_data(&mut self, bytes: &[u8]) -> usize {
        if self.message.capacity() == 0 && !self.too_large {
            // Most messages come in one piece, or say how long they are; what is said is believed up to a point.
            let declared = self.envelope.as_ref().map_or(0, |envelope| envelope.declared_size);
            self.message.reserve(bytes.len().max(declared.min(BELIEVED) as usize));
        }
        let (used, end) = self.reader.read(bytes, &mut self.message);
        self.received += used as u64;
        if self.is_too_large() {
            self.too_large = true;
            self.reader.discard();
            self.message = Vec::new();
        }
        if end {
            self.end_data();
        }
        used
    }

    /// The bytes on the wire count, dots and all: no honest message comes near the difference.
    fn is_too_large(&self) -> bool {
        let limit = self.options.max_message_size;
        limit > 0 && (self.message.len() > limit || self.received > limit as u64 + limit as u64 / 8 + 1024)
    }

    fn end_data(&mut self) {
        self.phase = Phase::Commands;
        let message = std::mem::take(&mut self.message);
        let Some(envelope) = self.envelope.take() else { return };
        if self.reader.violation().is_some() {
            // What such a client sends next cannot be trusted to be commands (A01).
            return self.end_with("550 5.5.2", "message has a bare CR, a bare LF or a NUL");
        }
        if self.too_large {
            return self.refuse("552 5.3.4 message is too large");
        }
        match check_header(&message, self.options.max_header, self.options.max_hops) {
            Ok(()) => {
                self.phase = Phase::Deciding;
                self.event(ServerEvent::Message(envelope, message));
            }
            Err(refusal) => self.refuse(refusal),
        }
    }
}

/// The header section's size and the number of hosts the message has passed (A52, D11).
fn check_header(message: &[u8], max_header: usize, max_hops: usize) -> Result<(), &'static str> {
    let end = if message.starts_with(b"\r\n") { Some(0) } else { memmem::find(message, b"\r\n\r\n") };
    let header = &message[..end.unwrap_or(message.len())];
    if header.len() > max_header {
        return Err("552 5.3.4 header section is too large");
    }
    let name = b"received:";
    let hops = header
        .split(|&b| b == b'\n')
        .filter(|l| l.len() >= name.len() && l[..name.len()].eq_ignore_ascii_case(name));
    if hops.count() > max_hops {
        return Err("554 5.4.6 too many hops, this message is looping");
    }
    Ok(())
}
