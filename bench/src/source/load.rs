//! The messages of a load: each known by its number alone, so that sender, receiver and test can all make the
//! same message without passing it around.

use std::ops::Range;

use crate::people::append_decimal;
use crate::site::ledger::hash_body;

/// What is sent: `messages` messages numbered from `first_id`.
#[derive(Clone, Debug)]
pub struct Load {
    pub messages: u64,
    pub first_id: u64,
    /// Begins the `X-Ledger-Id` of every message, which goes on with its number.
    pub name: String,
    /// Bytes of a message, header included; at least about 400.
    pub size: usize,
    pub sender: String,
    pub recipients_per_message: u32,
    /// So many different local parts; 0 for a new one in every message.
    pub distinct: u64,
    /// Taken in turn.
    pub domains: Vec<String>,
    /// Header lines put before the others, without line ends, e.g. `x-job: spring`.
    pub headers: Vec<String>,
}

impl Default for Load {
    fn default() -> Self {
        Load {
            messages: 1,
            first_id: 0,
            name: "load".into(),
            size: 2048,
            sender: "sender@source.example".into(),
            recipients_per_message: 1,
            distinct: 0,
            domains: vec!["site.example".into()],
            headers: Vec::new(),
        }
    }
}

impl Load {
    pub fn ids(&self) -> Range<u64> {
        self.first_id..self.first_id.saturating_add(self.messages)
    }

    /// The `X-Ledger-Id` of message `id`.
    pub fn ledger_id(&self, id: u64) -> String {
        format!("{}-{id}", self.name)
    }

    /// Recipient `k` of message `id`.
    pub fn recipient(&self, id: u64, k: u32) -> String {
        let mut out = Vec::new();
        self.append_recipient(&mut out, id, k);
        String::from_utf8_lossy(&out).into_owned()
    }

    pub(super) fn append_recipient(&self, out: &mut Vec<u8>, id: u64, k: u32) {
        let n = id * u64::from(self.recipients_per_message.max(1)) + u64::from(k);
        let local = if self.distinct == 0 { n } else { n % self.distinct };
        out.extend_from_slice(b"user");
        append_decimal(out, local);
        out.push(b'@');
        let len = self.domains.len().max(1);
        let domain = usize::try_from(n % len as u64).unwrap_or(0);
        out.extend_from_slice(self.domains.get(domain).map_or("site.example", String::as_str).as_bytes());
    }

    /// The body of message `id`, unstuffed. Every line bears the number, and some begin with dots.
    pub fn body(&self, id: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size);
        self.append_body(&mut out, id, false);
        out
    }

    /// What [`crate::site::Delivery::body_hash`] has to be for message `id`.
    pub fn body_hash(&self, id: u64) -> u64 {
        hash_body(&self.body(id))
    }

    /// Appends message `id` as it goes over the wire: dot-stuffed, with the final dot.
    pub(super) fn append_wire(&self, out: &mut Vec<u8>, id: u64) {
        for line in &self.headers {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        for piece in ["X-Ledger-Id: ", &self.name, "-"] {
            out.extend_from_slice(piece.as_bytes());
        }
        append_decimal(out, id);
        out.extend_from_slice(b"\r\nMessage-ID: <");
        append_decimal(out, id);
        for piece in [".", &self.name, "@source.example>\r\nFrom: <", &self.sender, ">\r\nTo: <"] {
            out.extend_from_slice(piece.as_bytes());
        }
        self.append_recipient(out, id, 0);
        out.extend_from_slice(
            b">\r\nSubject: A message of the load\r\nDate: Mon, 02 Nov 2026 08:00:00 +0000\r\n\
              MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
        );
        self.append_body(out, id, true);
        out.extend_from_slice(b".\r\n");
    }

    fn append_body(&self, out: &mut Vec<u8>, id: u64, stuffed: bool) {
        // The header takes about this much; the size is meant to be near, not exact.
        let lines = self.size.saturating_sub(300) / 66;
        for line in 0..lines.max(1) {
            if line % 7 == 3 {
                out.extend_from_slice(if stuffed { b".." } else { b"." });
            }
            out.extend_from_slice(b"line ");
            append_decimal(out, line as u64);
            out.extend_from_slice(b" of message ");
            append_decimal(out, id);
            out.extend_from_slice(b": the quick brown fox jumps over a lazy dog.\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::ledger;

    #[test]
    fn what_goes_over_the_wire_is_the_body_that_is_promised() {
        let load = Load { name: "t".into(), ..Load::default() };
        let mut wire = Vec::new();
        load.append_wire(&mut wire, 12);
        assert!((1900..2200).contains(&wire.len()), "{} bytes", wire.len());
        wire.truncate(wire.len() - 3);
        ledger::unstuff(&mut wire);
        assert_eq!(ledger::identify(&wire), (load.ledger_id(12), load.body_hash(12)));
    }

    #[test]
    fn recipients_go_round_the_domains() {
        let load =
            Load { domains: vec!["a.example".into(), "b.example".into()], distinct: 3, ..Load::default() };
        assert_eq!(load.recipient(0, 0), "user0@a.example");
        assert_eq!(load.recipient(3, 0), "user0@b.example");
    }
}
