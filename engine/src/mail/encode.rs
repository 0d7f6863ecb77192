//! Transfer encodings for bodies: quoted-printable and base64 (RFC 2045 section 6).

use super::lines::{Survey, survey};
use data_encoding::BASE64_MIME;

/// Characters in an encoded line, its CRLF not counted (RFC 2045 section 6.7 rule 5).
pub const MAX_ENCODED_LINE: usize = 76;
/// Leaves room for the `=` of a soft break.
const ROOM: usize = MAX_ENCODED_LINE - 1;

/// How a body is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    SevenBit,
    QuotedPrintable,
    Base64,
}

impl Encoding {
    /// The value for `Content-Transfer-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::SevenBit => "7bit",
            Encoding::QuotedPrintable => "quoted-printable",
            Encoding::Base64 => "base64",
        }
    }

    /// The smallest encoding that carries `body` (CRLF lines) over any path.
    pub fn choose(body: &[u8]) -> Encoding {
        let found: Survey = survey(body);
        if found.is_7bit() {
            return Encoding::SevenBit;
        }
        let escaped = body.iter().filter(|b| !PLAIN[**b as usize] && !matches!(**b, b'\r' | b'\n')).count();
        if escaped * 6 > body.len() { Encoding::Base64 } else { Encoding::QuotedPrintable }
    }

    /// Appends `body` in this encoding.
    pub fn write(self, body: &[u8], out: &mut Vec<u8>) {
        match self {
            Encoding::SevenBit => out.extend_from_slice(body),
            Encoding::QuotedPrintable => {
                let mut quoted = Quoted::default();
                quoted.push(body, out);
                quoted.finish(out);
            }
            Encoding::Base64 => base64(body, out),
        }
    }
}

/// Appends `bytes` as base64 in lines of 76 characters, without the last line end.
pub fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + BASE64_MIME.encode_len(bytes.len()), 0);
    BASE64_MIME.encode_mut(bytes, &mut out[start..]);
    if out.ends_with(b"\r\n") {
        out.truncate(out.len() - 2);
    }
}

/// Bytes that stand for themselves in quoted-printable text. Blanks do too, unless a line ends with them.
static PLAIN: [bool; 256] = {
    let mut t = [false; 256];
    let mut b = 0x20;
    while b < 0x7f {
        t[b] = b != b'=' as usize;
        b += 1;
    }
    t[b'\t' as usize] = true;
    t
};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Writes quoted-printable text piece by piece. Line ends in the text (CR LF, LF or CR) are hard breaks and kept;
/// a CR LF must not be split between two pieces. No line begins with two hyphens, so that no text can pass for the
/// boundary of the multipart that it stands in. Nothing is allocated but the room in `out`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quoted {
    column: usize,
}

impl Quoted {
    /// Goes on at `column` (0..=75) of a line that is already in `out`.
    pub fn at(column: usize) -> Quoted {
        Quoted { column: column.min(ROOM) }
    }

    pub fn column(&self) -> usize {
        self.column
    }

    pub fn push(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let mut rest = text;
        while let Some(&byte) = rest.first() {
            if self.column == ROOM && PLAIN[byte as usize] {
                self.soft_break(out);
            }
            // A hyphen that ends its piece may be the first of two.
            if self.column == 0 && byte == b'-' && rest.get(1).is_none_or(|next| *next == b'-') {
                self.escape(byte, out);
                rest = &rest[1..];
                continue;
            }
            let room = ROOM - self.column;
            let window = &rest[..rest.len().min(room)];
            let run = window.iter().position(|b| !PLAIN[*b as usize]).unwrap_or(window.len());
            if run > 0 {
                out.extend_from_slice(&rest[..run]);
                self.column += run;
                rest = &rest[run..];
                continue;
            }
            rest = &rest[1..];
            match byte {
                b'\r' if rest.first() == Some(&b'\n') => {}
                b'\r' | b'\n' => self.hard_break(out),
                _ => self.escape(byte, out),
            }
        }
    }

    fn escape(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.column + 3 > ROOM {
            self.soft_break(out);
        }
        out.extend_from_slice(&[b'=', HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]]);
        self.column += 3;
    }

    /// Begins a new line that the reader will not see; nothing at the start of one.
    pub fn soft_break(&mut self, out: &mut Vec<u8>) {
        if self.column > 0 {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
    }

    fn hard_break(&mut self, out: &mut Vec<u8>) {
        self.finish(out);
        out.extend_from_slice(b"\r\n");
        self.column = 0;
    }

    /// Ends the text: a blank in the last place is encoded, since transports may drop it (RFC 2045 section 6.7 rule 3).
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.column == 0 {
            return;
        }
        if let Some(&blank @ (b' ' | b'\t')) = out.last() {
            out.pop();
            self.column -= 1;
            if self.column + 3 > MAX_ENCODED_LINE {
                self.soft_break(out);
            }
            out.extend_from_slice(if blank == b' ' { b"=20" } else { b"=09" });
            self.column += 3;
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use mail_parser::decoders::base64::base64_decode;
    use mail_parser::decoders::quoted_printable::quoted_printable_decode;
    use proptest::prelude::*;

    fn quoted(text: &str) -> String {
        let mut out = Vec::new();
        Encoding::QuotedPrintable.write(text.as_bytes(), &mut out);
        String::from_utf8(out).expect("ascii")
    }

    #[test]
    fn plain_text_stays_and_hard_breaks_are_kept() {
        assert_eq!(quoted("a line\r\n.\r\n\r\nFrom x"), "a line\r\n.\r\n\r\nFrom x");
        assert_eq!(quoted("bare\nlf and\rcr"), "bare\r\nlf and\r\ncr");
    }

    #[test]
    fn trailing_blanks_equals_signs_and_umlauts_are_escaped() {
        assert_eq!(quoted("a \r\nb\t\r\n 1=2 \u{e9} "), "a=20\r\nb=09\r\n 1=3D2 =C3=A9=20");
        assert_eq!(quoted("\0\u{7f}"), "=00=7F");
    }

    #[test]
    fn lines_break_softly_at_76() {
        let line = "x".repeat(75);
        assert_eq!(quoted(&line), line);
        assert_eq!(quoted(&format!("{line}yz")), format!("{line}=\r\nyz"));
        let blank = format!("{} \r\n", "x".repeat(74));
        assert_eq!(quoted(&blank), format!("{}=\r\n=20\r\n", "x".repeat(74)));
    }

    #[test]
    fn no_line_passes_for_a_boundary() {
        assert_eq!(quoted("--b\r\n-x--\r\n--"), "=2D-b\r\n-x--\r\n=2D-");
        let line = "x".repeat(75);
        assert_eq!(quoted(&format!("{line}--b--")), format!("{line}=\r\n=2D-b--"));
        let (mut writer, mut out) = (Quoted::default(), Vec::new());
        for piece in ["-", "-b", "\n-", "-"] {
            writer.push(piece.as_bytes(), &mut out);
        }
        assert_eq!(String::from_utf8_lossy(&out), "=2D-b\r\n=2D-");
    }

    #[test]
    fn the_smallest_safe_encoding_is_chosen() {
        assert_eq!(Encoding::choose(b"plain\r\n"), Encoding::SevenBit);
        assert_eq!(Encoding::choose(&[b'x'; 999]), Encoding::QuotedPrintable);
        assert_eq!(Encoding::choose("mostly ascii, one \u{e9}".as_bytes()), Encoding::QuotedPrintable);
        assert_eq!(Encoding::choose("例子".as_bytes()), Encoding::Base64);
        assert_eq!(Encoding::choose(b"bare\nlf and no more than that"), Encoding::QuotedPrintable);
    }

    proptest! {
        #[test]
        fn quoted_text_comes_back(pieces in proptest::collection::vec("[ -~\t\u{e9}\u{0}=]{0,90}|\n|-{1,3}", 0..12)) {
            let mut out = Vec::new();
            let mut writer = Quoted::default();
            for p in &pieces {
                writer.push(p.as_bytes(), &mut out);
            }
            writer.finish(&mut out);
            let whole = pieces.concat().replace('\n', "\r\n");
            prop_assert_eq!(quoted_printable_decode(&out).expect("decodes"), whole.as_bytes());
            prop_assert!(survey(&out).longest_line <= MAX_ENCODED_LINE);
            prop_assert!(survey(&out).is_7bit());
            prop_assert!(!String::from_utf8_lossy(&out).contains(" \r\n"));
            prop_assert!(!out.starts_with(b"--") && !String::from_utf8_lossy(&out).contains("\n--"));
        }

        #[test]
        fn base64_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            base64(&bytes, &mut out);
            prop_assert_eq!(base64_decode(&out).unwrap_or_default(), bytes);
            prop_assert!(survey(&out).longest_line <= MAX_ENCODED_LINE);
        }
    }
}
