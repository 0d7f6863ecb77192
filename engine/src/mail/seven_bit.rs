//! Messages with 8-bit bodies for hosts without 8BITMIME (RFC 6152 section 3): the body parts that need it get a transfer
//! encoding, everything else stays byte by byte as it is.

use super::edits::Edits;
use super::encode::Encoding;
use super::lines::survey;
use mail_parser::{
    Encoding as Found, HeaderName, Message, MessageParser, MessagePart, MimeHeaders, PartType,
};
use std::ops::Range;

/// The message with 7-bit lines of at most 998 octets; none where that would mean to change what must stay: signed or
/// encrypted parts, header fields, a message that is not MIME, or one whose parts cannot be told apart.
pub fn to_seven_bit(raw: &[u8]) -> Option<Vec<u8>> {
    let message = MessageParser::default().parse(raw)?;
    message.parts.first()?.headers.iter().find(|header| header.name == HeaderName::MimeVersion)?;
    let mut parts = Parts(Edits::of(raw));
    parts.message(&message)?;
    let out = parts.0.apply();
    survey(&out).is_7bit().then_some(out)
}

/// The parts of the message, and what changes about them.
struct Parts<'r>(Edits<'r>);

impl Parts<'_> {
    fn message(&mut self, message: &Message<'_>) -> Option<()> {
        if message.parts.is_empty() {
            return None;
        }
        self.part(message, 0)
    }

    fn part(&mut self, message: &Message<'_>, id: usize) -> Option<()> {
        let part = message.parts.get(id)?;
        let body = part.offset_body as usize..part.offset_end as usize;
        let content = self.0.raw().get(body.clone())?;
        if content.is_ascii() && !survey(content).unclean {
            return Some(());
        }
        if part.is_encoding_problem || part.encoding != Found::None {
            return None;
        }
        match &part.body {
            // Left as it is, which shows in the end.
            PartType::Multipart(_) if is_sealed(part) => Some(()),
            PartType::Multipart(parts) => {
                self.label(part, Encoding::SevenBit)?;
                parts.iter().try_for_each(|&id| self.part(message, id as usize))
            }
            PartType::Message(inner) => {
                self.label(part, Encoding::SevenBit)?;
                self.message(inner)
            }
            _ if is_type(part, "message") || is_type(part, "multipart") => None,
            PartType::Text(_) | PartType::Html(_) if !survey(content).unclean => {
                self.encode(part, body, Encoding::choose(content))
            }
            _ => self.encode(part, body, Encoding::Base64),
        }
    }

    fn encode(&mut self, part: &MessagePart<'_>, body: Range<usize>, encoding: Encoding) -> Option<()> {
        self.label(part, encoding)?;
        let mut encoded = Vec::new();
        encoding.write(&self.0.raw()[body.clone()], &mut encoded);
        if body.end == self.0.raw().len() && !encoded.ends_with(b"\r\n") {
            encoded.extend_from_slice(if encoding == Encoding::QuotedPrintable { b"=\r\n" } else { b"\r\n" });
        }
        self.0.put(body, encoded);
        Some(())
    }

    /// Sets the part's `Content-Transfer-Encoding`.
    fn label(&mut self, part: &MessagePart<'_>, encoding: Encoding) -> Option<()> {
        let mut fields =
            part.headers.iter().filter(|header| header.name == HeaderName::ContentTransferEncoding);
        let old = fields.next();
        if fields.next().is_some() {
            return None;
        }
        let place = match (old, part.headers.last()) {
            (Some(old), _) => old.offset_field as usize..old.offset_end as usize,
            (None, _) if encoding == Encoding::SevenBit => return Some(()),
            (None, Some(last)) => last.offset_end as usize..last.offset_end as usize,
            (None, None) => part.offset_header as usize..part.offset_header as usize,
        };
        let field = format!("Content-Transfer-Encoding: {}\r\n", encoding.name());
        self.0.put(place, field.into_bytes());
        Some(())
    }
}

fn is_type(part: &MessagePart<'_>, wanted: &str) -> bool {
    part.content_type().is_some_and(|found| found.ctype().eq_ignore_ascii_case(wanted))
}

/// Whether a signature or encryption would break.
fn is_sealed(part: &MessagePart<'_>) -> bool {
    part.content_type().and_then(|found| found.subtype()).is_some_and(|subtype| {
        ["signed", "encrypted"].iter().any(|sealed| subtype.eq_ignore_ascii_case(sealed))
    })
}

#[cfg(test)]
#[path = "seven_bit_test.rs"]
mod test;
