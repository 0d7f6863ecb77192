//! The message of an inbound session: taken in by DATA or BDAT (RFC 3030), bounded, and checked at its end.

use super::dot::has_clean_line_ends;
use super::server::{Envelope, Phase, ServerEvent, Session};
use super::undot::DotReader;
use crate::base::Now;
use crate::mail::seven_bit::to_seven_bit;
use memchr::{memchr, memmem};

/// Bytes that are made room for on a client's word alone.
const BELIEVED: u64 = 64 * 1024;

/// Largest chunk that is read to its end for the sake of a refusal.
const MAX_SKIPPED: u64 = 1 << 30;

/// The argument of one BDAT, and what is left of its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    size: u64,
    left: u64,
    last: bool,
    /// The bytes are read all the same: they must never be taken for commands.
    refusal: Option<&'static str>,
}

impl Session {
    pub(super) fn bdat(&mut self, now: Now, argument: &str) {
        if !self.options.chunking {
            // How much follows is not known to a session that does not speak of it.
            return self.end_with("502 5.5.1", "CHUNKING is not offered");
        }
        let Some((size, last)) = chunk_argument(argument) else {
            return self.end_with("501 5.5.4", "syntax: BDAT size, or BDAT size LAST");
        };
        if size > MAX_SKIPPED && self.outgrows(size) {
            return self.end_with("552 5.3.4", "message is much too large");
        }
        let refusal = match &self.envelope {
            None => Some("503 5.5.1 MAIL first"),
            Some(envelope) if envelope.merge.is_some() => Some("503 5.5.1 XPRT comes after XMRG"),
            // What there is to say is said at the end of the chunk.
            Some(_) if self.has_unheard() => Some("554 5.5.1 a command before it failed"),
            Some(envelope) if envelope.count() == 0 => Some("554 5.5.1 no valid recipients"),
            Some(_) if self.outgrows(size) => Some("552 5.3.4 message is too large"),
            Some(_) => None,
        };
        self.phase = Phase::Chunk;
        self.received = 0;
        self.data_since = now.mono;
        self.chunk = Some(Chunk { size, left: size, last, refusal });
        if size == 0 {
            self.end_chunk();
        }
    }

    fn outgrows(&self, more: u64) -> bool {
        let limit = self.options.max_message_size as u64;
        limit > 0 && (self.message.len() as u64).saturating_add(more) > limit
    }

    /// Takes a piece of a chunk; returns how many bytes belonged to it.
    pub(super) fn take_chunk(&mut self, bytes: &[u8]) -> usize {
        let Some(chunk) = &mut self.chunk else { return 0 };
        let used = usize::try_from(chunk.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        if chunk.refusal.is_none() {
            if self.message.capacity() == 0 {
                self.message.reserve(chunk.size.min(BELIEVED) as usize);
            }
            self.message.extend_from_slice(&bytes[..used]);
        }
        self.received += used as u64;
        chunk.left -= used as u64;
        if chunk.left == 0 {
            self.end_chunk();
        }
        used
    }

    fn end_chunk(&mut self) {
        self.phase = Phase::Commands;
        let Some(Chunk { size, last, refusal, .. }) = self.chunk else { return };
        if let Some(refusal) = refusal {
            if self.say_unheard() {
                return;
            }
            self.drop_transaction();
            return self.refuse(refusal);
        }
        if !last {
            return self.reply(format_args!("250 2.0.0 {size} octets received"));
        }
        let mut message = std::mem::take(&mut self.message);
        let Some(envelope) = self.envelope.take() else { return };
        self.chunk = None;
        if !is_text(&message) {
            // What is binary is encoded here: few hosts take it as it is, and it is stored as lines.
            match to_seven_bit(&message).filter(|encoded| envelope.binary && is_text(encoded)) {
                Some(encoded) => message = encoded,
                None if envelope.binary => {
                    return self.refuse("554 5.6.1 binary parts that cannot be encoded for others");
                }
                None => return self.refuse("550 5.5.2 message has a bare CR, a bare LF or a NUL"),
            }
        }
        if !message.is_empty() && !message.ends_with(b"\r\n") {
            message.extend_from_slice(b"\r\n");
        }
        self.decide_on(envelope, message);
    }

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
        if let Some(part) = self.part.take() {
            return self.end_part(part);
        }
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
        self.decide_on(envelope, message);
    }

    fn decide_on(&mut self, envelope: Box<Envelope>, message: Vec<u8>) {
        if self.options.too_many_fail && self.overshoot > 0 {
            return self.refuse("552 5.5.3 too many recipients");
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

fn is_text(message: &[u8]) -> bool {
    has_clean_line_ends(message) && memchr(0, message).is_none()
}

/// `size` or `size LAST`; a size that is too large for anybody counts as the largest.
fn chunk_argument(argument: &str) -> Option<(u64, bool)> {
    let mut words = argument.split(' ').filter(|w| !w.is_empty());
    let size = words.next().filter(|s| s.len() <= 20 && s.bytes().all(|b| b.is_ascii_digit()))?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    words.next().is_none().then(|| (size.parse().unwrap_or(u64::MAX), last))
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
