//! The transparency of DATA (RFC 5321 4.5.2), outbound: dot-stuffing, line ends made CR LF, the end mark.
//!
//! Whatever comes in, no bare CR and no bare LF leaves here (A04): each becomes CR LF. State is carried from
//! piece to piece, so that pieces may be cut anywhere.

use memchr::memchr2;

/// Where in a line the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    LineStart,
    Inside,
    /// After a CR that has not been written yet.
    Cr,
}

/// Writes one message as DATA wants it.
#[derive(Debug, Default)]
pub struct DotWriter {
    at: At,
}

impl DotWriter {
    /// Appends a piece of the message to `out`.
    pub fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(piece.len() + 64);
        // Bytes from `start` on have been looked at but not copied; ordinary text is copied in one go.
        let (mut start, mut i) = (0, 0);
        loop {
            match self.at {
                At::Cr => {
                    out.extend_from_slice(b"\r\n");
                    if piece.get(i) == Some(&b'\n') {
                        i += 1;
                    } else if i == piece.len() {
                        // Undecided: take it back until the next byte is known.
                        out.truncate(out.len() - 2);
                        return;
                    }
                    start = i;
                    self.at = At::LineStart;
                }
                At::LineStart => match piece.get(i) {
                    None => break,
                    Some(b'.') => {
                        out.extend_from_slice(&piece[start..i]);
                        out.push(b'.');
                        start = i;
                        i += 1;
                        self.at = At::Inside;
                    }
                    Some(_) => self.at = At::Inside,
                },
                At::Inside => {
                    let Some(n) = memchr2(b'\r', b'\n', &piece[i..]) else { break };
                    i += n;
                    if piece[i] == b'\r' && piece.get(i + 1) == Some(&b'\n') {
                        i += 2;
                        self.at = At::LineStart;
                    } else {
                        out.extend_from_slice(&piece[start..i]);
                        // A bare LF ends its line as a CR would, with its own LF still to come.
                        i += usize::from(piece[i] == b'\r');
                        start = i;
                        self.at = At::Cr;
                    }
                }
            }
        }
        out.extend_from_slice(&piece[start..]);
    }

    /// Ends the message: the last line is completed if need be, and the lone dot follows.
    pub fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.at == At::LineStart { b".\r\n" } else { b"\r\n.\r\n" });
    }
}

/// Whether every line end in `bytes` is CR LF.
pub fn has_clean_line_ends(bytes: &[u8]) -> bool {
    let mut i = 0;
    while let Some(n) = memchr2(b'\r', b'\n', &bytes[i..]) {
        if !bytes[i + n..].starts_with(b"\r\n") {
            return false;
        }
        i += n + 2;
    }
    true
}

/// Makes every line end CR LF, for content that is sent as it is (BDAT).
pub fn clean_line_ends(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    let mut rest = bytes;
    while let Some(n) = memchr2(b'\r', b'\n', rest) {
        out.extend_from_slice(&rest[..n]);
        out.extend_from_slice(b"\r\n");
        let end = if rest[n..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[n + end..];
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stuffed(pieces: &[&[u8]]) -> String {
        let (mut writer, mut out) = (DotWriter::default(), Vec::new());
        for piece in pieces {
            writer.write(piece, &mut out);
        }
        writer.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn table() {
        for (body, wire) in [
            ("", ".\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("..\r\n", "...\r\n.\r\n"),
            ("a\r\n.b\r\n\r\n..\r\n.", "a\r\n..b\r\n\r\n...\r\n..\r\n.\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r.\rb\r", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r\r\n.", "a\r\n\r\n..\r\n.\r\n"),
            ("\r\n\r\n.", "\r\n\r\n..\r\n.\r\n"),
            ("\n", "\r\n.\r\n"),
            ("\r", "\r\n.\r\n"),
            ("a\n\r.", "a\r\n\r\n..\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(&[body.as_bytes()]), wire, "{body:?}");
        }
    }

    /// What a receiver makes of the wire; panics when it would not see exactly one message.
    fn received(wire: &[u8]) -> Vec<u8> {
        let mut lines = Vec::new();
        for line in wire.strip_suffix(b"\r\n").expect("ends a line").split_inclusive(|&b| b == b'\n') {
            let line = line.strip_suffix(b"\r\n").unwrap_or(line);
            assert!(!line.contains(&b'\r') && !line.contains(&b'\n'), "bare line end in {wire:?}");
            lines.push(line);
        }
        assert_eq!(lines.pop(), Some(b".".as_slice()), "no end in {wire:?}");
        assert!(!lines.contains(&b".".as_slice()), "early end in {wire:?}");
        lines.iter().flat_map(|l| [l.strip_prefix(b".").unwrap_or(l), b"\r\n"].concat()).collect()
    }

    proptest! {
        #[test]
        fn round_trip_whatever_the_pieces(body in "[.\r\nab]{0,40}", cuts in prop::collection::vec(0usize..5, 0..30)) {
            let mut pieces = Vec::new();
            let mut rest = body.as_bytes();
            for cut in cuts {
                let (a, b) = rest.split_at(cut.min(rest.len()));
                pieces.push(a);
                rest = b;
            }
            pieces.push(rest);
            let wire = stuffed(&pieces);
            prop_assert_eq!(&wire, &stuffed(&[body.as_bytes()]));
            let mut expected = clean_line_ends(body.as_bytes());
            prop_assert!(has_clean_line_ends(&expected));
            prop_assert_eq!(has_clean_line_ends(body.as_bytes()), expected == body.as_bytes());
            if !expected.is_empty() && !expected.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(received(wire.as_bytes()), expected);
        }
    }
}
