//! Who received what, how often and when: the receiver's side of the account that every delivery test closes.

use std::collections::HashMap;
use std::hash::Hasher;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// What is written down about each accepted message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerMode {
    /// Only counts.
    #[default]
    Off,
    /// Recipient, id, time, size and hash of the body.
    Entries,
    /// The message itself as well.
    Messages,
}

/// One message accepted for one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub recipient: String,
    pub sender: String,
    /// The `X-Ledger-Id` header, else the `Message-ID`, else the hash of the body.
    pub id: String,
    /// When the final dot was read, microseconds of CLOCK_MONOTONIC.
    pub at_us: u64,
    /// Bytes of the message, dot-stuffing removed.
    pub size: u64,
    /// [`hash_body`] of what follows the header.
    pub body_hash: u64,
    pub door: String,
    pub source: IpAddr,
    /// Whether the `250` was sent; false where a fault swallowed it.
    pub acknowledged: bool,
    /// CR without LF or LF without CR in the message as it came over the wire.
    pub bare_line_ends: u32,
    /// The message, dot-stuffing removed, with [`LedgerMode::Messages`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<Vec<u8>>,
}

/// All deliveries in the order of their acceptance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    pub deliveries: Vec<Delivery>,
}

impl Ledger {
    /// How often each (recipient, id) was accepted.
    pub fn counts(&self) -> HashMap<(&str, &str), u32> {
        let mut counts = HashMap::with_capacity(self.deliveries.len());
        for d in &self.deliveries {
            *counts.entry((d.recipient.as_str(), d.id.as_str())).or_insert(0) += 1;
        }
        counts
    }

    /// Every delivery of each (recipient, id) that came more than once, first copy first.
    pub fn duplicates(&self) -> Vec<Vec<&Delivery>> {
        let mut by_key: HashMap<(&str, &str), Vec<&Delivery>> = HashMap::new();
        for d in &self.deliveries {
            by_key.entry((&d.recipient, &d.id)).or_default().push(d);
        }
        by_key.into_values().filter(|copies| copies.len() > 1).collect()
    }
}

/// The hash that [`Delivery::body_hash`] holds.
pub fn hash_body(body: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x706f_7374, 0x6861_7374);
    hasher.write(body);
    hasher.finish()
}

/// Parts a message at its first empty line: the header with its last line end, and the body.
pub fn split(message: &[u8]) -> (&[u8], &[u8]) {
    if message.starts_with(b"\r\n") {
        return (&[], &message[2..]);
    }
    match memchr::memmem::find(message, b"\r\n\r\n") {
        Some(at) => (&message[..at + 2], &message[at + 4..]),
        None => (message, &[]),
    }
}

/// The value of the first header field `name` (any case), on one line, trimmed.
pub fn header<'a>(header: &'a [u8], name: &str) -> Option<&'a str> {
    header.split(|b| *b == b'\n').find_map(|line| {
        let (field, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        field
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| std::str::from_utf8(value).ok())
            .flatten()
            .map(str::trim)
    })
}

/// The id under which a message is entered, and the hash of its body.
pub fn identify(message: &[u8]) -> (String, u64) {
    let (head, body) = split(message);
    let hash = hash_body(body);
    let id = header(head, "X-Ledger-Id").or_else(|| header(head, "Message-ID"));
    (id.map_or_else(|| format!("{hash:016x}"), str::to_string), hash)
}

/// Counts line ends that are not CRLF.
pub fn bare_line_ends(wire: &[u8]) -> u32 {
    let lone_lf = memchr::memchr_iter(b'\n', wire).filter(|&i| i == 0 || wire[i - 1] != b'\r').count();
    let lone_cr = memchr::memchr_iter(b'\r', wire).filter(|&i| wire.get(i + 1) != Some(&b'\n')).count();
    u32::try_from(lone_lf + lone_cr).unwrap_or(u32::MAX)
}

/// Removes dot-stuffing (RFC 5321 4.5.2) in place from a message as it came over the wire, without its final
/// `.CRLF`.
pub fn unstuff(message: &mut Vec<u8>) {
    let mut read = 0;
    let mut write = 0;
    while read < message.len() {
        if message[read] == b'.' {
            read += 1;
        }
        let end = memchr::memmem::find(&message[read..], b"\r\n").map_or(message.len(), |at| read + at + 2);
        message.copy_within(read..end, write);
        write += end - read;
        read = end;
    }
    message.truncate(write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffed_dots_go_and_others_stay() {
        let mut m = b"..a\r\n.b\r\nc.\r\n...\r\n\r\nx".to_vec();
        unstuff(&mut m);
        assert_eq!(m, b".a\r\nb\r\nc.\r\n..\r\n\r\nx");
    }

    #[test]
    fn a_message_is_known_by_its_ledger_id_before_its_message_id() {
        let (id, hash) = identify(b"Message-ID: <1@x>\r\nx-ledger-id: 77\r\n\r\nbody\r\n");
        assert_eq!((id.as_str(), hash), ("77", hash_body(b"body\r\n")));
        assert_eq!(identify(b"Message-ID: <1@x>\r\n\r\nbody\r\n").0, "<1@x>");
    }

    #[test]
    fn line_ends_other_than_crlf_are_counted() {
        assert_eq!(bare_line_ends(b"a\r\nb\nc\rd\r\n"), 2);
    }
}
