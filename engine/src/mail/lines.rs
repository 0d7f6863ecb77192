//! Line ends. Inside the engine a message has CRLF and nothing else: no bare CR, no bare LF (A04).

use memchr::memchr2;
use thiserror::Error;

/// Octets in a line, its CRLF not counted (RFC 5322 section 2.1.1).
pub const MAX_LINE: usize = 998;

/// A carriage return that no line feed follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line {line}: a carriage return stands alone; lines end with LF or CR LF")]
pub struct BareCr {
    /// Counted from one.
    pub line: usize,
}

/// Appends `raw` to `out` with every LF or CR LF as CR LF. A bare CR is refused: nobody can know what it meant.
pub fn to_crlf(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BareCr> {
    convert(raw, out, |_, line| Err(BareCr { line }))
}

/// Appends `raw` to `out` with every CR LF, LF and bare CR as CR LF: for text, where a bare CR can only be a line end.
pub fn text_to_crlf(raw: &[u8], out: &mut Vec<u8>) {
    let infallible = convert(raw, out, |out, _| {
        out.extend_from_slice(b"\r\n");
        Ok(())
    });
    debug_assert!(infallible.is_ok());
}

fn convert(
    raw: &[u8],
    out: &mut Vec<u8>,
    bare_cr: impl Fn(&mut Vec<u8>, usize) -> Result<(), BareCr>,
) -> Result<(), BareCr> {
    out.reserve(raw.len() + raw.len() / 32 + 2);
    let mut rest = raw;
    let mut line = 1;
    while let Some(end) = memchr2(b'\r', b'\n', rest) {
        out.extend_from_slice(&rest[..end]);
        let taken = match (rest[end], rest.get(end + 1)) {
            (b'\r', Some(b'\n')) => 2,
            (b'\n', _) => 1,
            _ => 0,
        };
        if taken == 0 {
            bare_cr(out, line)?;
            rest = &rest[end + 1..];
        } else {
            out.extend_from_slice(b"\r\n");
            rest = &rest[end + taken..];
        }
        line += 1;
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// What a run of bytes asks of its transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    /// Octets in the longest line, without its line end.
    pub longest_line: usize,
    /// Some byte is above 0x7f.
    pub eight_bit: bool,
    /// A NUL, or a CR or LF that is not half of a CR LF.
    pub unclean: bool,
}

impl Survey {
    /// May leave as it is, over any SMTP path.
    pub fn is_7bit(&self) -> bool {
        !self.eight_bit && !self.unclean && self.longest_line <= MAX_LINE
    }
}

/// Looks through `raw` once.
pub fn survey(raw: &[u8]) -> Survey {
    let mut found = Survey { eight_bit: !raw.is_ascii(), ..Survey::default() };
    found.unclean = memchr::memchr(0, raw).is_some();
    let mut rest = raw;
    while let Some(end) = memchr2(b'\r', b'\n', rest) {
        found.longest_line = found.longest_line.max(end);
        if rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n') {
            rest = &rest[end + 2..];
        } else {
            found.unclean = true;
            rest = &rest[end + 1..];
        }
    }
    found.longest_line = found.longest_line.max(rest.len());
    found
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    fn converted(raw: &str) -> String {
        let mut out = Vec::new();
        to_crlf(raw.as_bytes(), &mut out).expect(raw);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn lf_and_crlf_become_crlf_once() {
        assert_eq!(converted("a\nb\r\nc"), "a\r\nb\r\nc");
        assert_eq!(converted("\n\n\r\n"), "\r\n\r\n\r\n");
        assert_eq!(converted(""), "");
    }

    #[test]
    fn a_bare_cr_is_refused_with_its_line() {
        let mut out = Vec::new();
        assert_eq!(to_crlf(b"a\nb\rc\n", &mut out), Err(BareCr { line: 2 }));
        assert_eq!(to_crlf(b"a\r\r\n", &mut out), Err(BareCr { line: 1 }));
        assert_eq!(to_crlf(b"a\r", &mut out), Err(BareCr { line: 1 }));
    }

    #[test]
    fn text_takes_a_bare_cr_as_a_line_end() {
        let mut out = Vec::new();
        text_to_crlf(b"a\rb\r\nc\nd\r", &mut out);
        assert_eq!(out, b"a\r\nb\r\nc\r\nd\r\n");
    }

    #[test]
    fn a_survey_measures_lines_without_their_ends() {
        assert_eq!(survey(b"abc\r\nde"), Survey { longest_line: 3, eight_bit: false, unclean: false });
        assert!(survey("\u{e9}".as_bytes()).eight_bit);
        assert!(survey(b"a\rb").unclean && survey(b"a\n").unclean && survey(b"\0").unclean);
        let mut long = vec![b'x'; 998];
        assert!(survey(&long).is_7bit());
        long.push(b'x');
        assert!(!survey(&long).is_7bit());
    }

    proptest! {
        #[test]
        fn converted_text_is_clean_and_stays(raw in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'x')], 0..60)) {
            let (mut once, mut twice) = (Vec::new(), Vec::new());
            text_to_crlf(&raw, &mut once);
            prop_assert!(!survey(&once).unclean);
            to_crlf(&once, &mut twice).expect("clean");
            prop_assert_eq!(once, twice);
        }
    }
}
