//! The transparency of DATA (RFC 5321 4.5.2), inbound: dots taken away, the end found, and nothing but the end taken
//! for it.
//!
//! Only CR LF ends a line and only CR LF `.` CR LF ends the message (A01). Servers that were more tolerant let one
//! message smuggle in another. What is not a proper line end is a *violation*: remembered, and the message is read on
//! to its true end.

use crate::base::planted::{Bug, planted};
use memchr::memchr3;

/// What is done about bare CR and bare LF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnds {
    /// The message is refused.
    #[default]
    Reject,
    /// For injectors that know no better: they become CR LF, but never count towards the end of the message.
    Normalize,
}

/// The first thing wrong with a message's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    BareCr,
    BareLf,
    Nul,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// After a true CR LF, or at the very beginning.
    #[default]
    LineStart,
    /// After a dot at the start of a line.
    Dot,
    /// After such a dot and CR.
    DotCr,
    Inside,
    /// After CR within a line.
    Cr,
}

/// Reads one message.
#[derive(Debug, Default)]
pub struct DotReader {
    at: At,
    line_ends: LineEnds,
    violation: Option<Violation>,
    /// The message will not be wanted: find its end only.
    discard: bool,
}

impl DotReader {
    pub fn new(line_ends: LineEnds) -> DotReader {
        DotReader { line_ends, ..DotReader::default() }
    }

    /// Appends the message's bytes in `input` to `out`. Returns how many were used, and whether the end was among them.
    pub fn read(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let mut i = 0;
        while let Some(&b) = input.get(i) {
            match (self.at, b) {
                (At::LineStart, b'.') => {
                    self.at = At::Dot;
                    i += 1;
                }
                (At::Dot, b'\r') => {
                    self.at = At::DotCr;
                    i += 1;
                }
                (At::DotCr, b'\n') => {
                    self.at = At::LineStart;
                    return (i + 1, true);
                }
                (At::Dot, b'\n') if planted(Bug::BareLfEndsData) => {
                    self.at = At::LineStart;
                    return (i + 1, true);
                }
                (At::DotCr, _) => self.bare_cr(out),
                (At::Cr, b'\n') => {
                    self.keep(b"\r\n", out);
                    self.at = At::LineStart;
                    i += 1;
                }
                (At::Cr, _) => self.bare_cr(out),
                (At::LineStart | At::Dot | At::Inside, _) => i += self.text(&input[i..], out),
            }
        }
        (i, false)
    }

    /// Reads on without keeping anything.
    pub fn discard(&mut self) {
        self.discard = true;
    }

    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Takes text up to and including a byte that may end a line; returns its length.
    fn text(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        self.at = At::Inside;
        let Some(n) = memchr3(b'\r', b'\n', 0, input) else {
            self.keep(input, out);
            return input.len();
        };
        self.keep(&input[..n], out);
        match input[n] {
            b'\r' => self.at = At::Cr,
            b'\n' if planted(Bug::BareLfEndsData) => {
                self.keep(b"\r\n", out);
                self.at = At::LineStart;
            }
            b'\n' => {
                self.stray(Violation::BareLf);
                self.keep(b"\r\n", out);
            }
            // No normalising makes text of a NUL.
            _ => self.violate(Violation::Nul),
        }
        n + 1
    }

    fn bare_cr(&mut self, out: &mut Vec<u8>) {
        self.stray(Violation::BareCr);
        self.keep(b"\r\n", out);
        self.at = At::Inside;
    }

    fn stray(&mut self, violation: Violation) {
        if self.line_ends == LineEnds::Reject {
            self.violate(violation);
        }
    }

    fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
        self.discard = true;
    }

    fn keep(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.discard {
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::dot::{DotWriter, clean_line_ends};
    use proptest::prelude::*;

    fn read(line_ends: LineEnds, input: &[u8]) -> (String, Option<usize>, Option<Violation>) {
        let (mut reader, mut out) = (DotReader::new(line_ends), Vec::new());
        let (used, end) = reader.read(input, &mut out);
        (String::from_utf8_lossy(&out).into_owned(), end.then_some(used), reader.violation())
    }

    #[test]
    fn table() {
        for (input, message, end) in [
            (".\r\n", "", Some(3)),
            ("a\r\n.\r\nMAIL", "a\r\n", Some(6)),
            ("..\r\n.\r\n", ".\r\n", Some(7)),
            (".a\r\n.\r\n", "a\r\n", Some(7)),
            ("a.\r\n", "a.\r\n", None),
            ("a\r\n.", "a\r\n", None),
            ("\r\n\r\n.\r\n", "\r\n\r\n", Some(7)),
        ] {
            assert_eq!(read(LineEnds::Reject, input.as_bytes()), (message.into(), end, None), "{input:?}");
        }
    }

    #[test]
    fn violations() {
        for (input, violation) in [
            ("a\n.\r\n", Violation::BareLf),
            ("a\r.\r\n", Violation::BareCr),
            ("a\r\n.\n", Violation::BareLf),
            ("a\r\n.\r.\r\n", Violation::BareCr),
            ("a\r\n.\r\r\n", Violation::BareCr),
            ("a\0", Violation::Nul),
            ("\r\n.\0\r\n", Violation::Nul),
        ] {
            let (_, end, found) = read(LineEnds::Reject, input.as_bytes());
            assert_eq!((end, found), (None, Some(violation)), "{input:?}");
        }
    }

    #[test]
    fn normalizing_never_ends_the_message() {
        for input in ["a\n.\nb\n", "a\r.\rb\r", "a\n.\r\nb", "a\r\n.\nb", "a\r\n.\r.\r\nb"] {
            let (message, end, violation) = read(LineEnds::Normalize, input.as_bytes());
            assert_eq!((end, violation), (None, None), "{input:?}");
            assert!(message.starts_with("a\r\n"), "{input:?} became {message:?}");
        }
        assert_eq!(read(LineEnds::Normalize, b"a\nb\r\n.\r\n"), ("a\r\nb\r\n".into(), Some(8), None));
        assert_eq!(read(LineEnds::Normalize, b"\0").2, Some(Violation::Nul));
    }

    proptest! {
        #[test]
        fn undoes_the_writer(body in "([.ab]{0,4}\r\n){0,8}", behind in "[.\r\na]{0,5}", cut in 0usize..60) {
            let (mut writer, mut wire) = (DotWriter::default(), Vec::new());
            writer.write(body.as_bytes(), &mut wire);
            writer.finish(&mut wire);
            let length = wire.len();
            wire.extend_from_slice(behind.as_bytes());
            let (first, second) = wire.split_at(cut.min(length));
            let (mut reader, mut out) = (DotReader::default(), Vec::new());
            let (used, end) = reader.read(first, &mut out);
            prop_assert_eq!((used, end), (first.len(), first.len() == length));
            if !end {
                prop_assert_eq!(reader.read(second, &mut out), (length - first.len(), true));
            }
            prop_assert_eq!(out, body.as_bytes());
        }

        #[test]
        fn never_a_bare_line_end_out(input in "[.\r\na]{0,60}") {
            let mut out = Vec::new();
            DotReader::new(LineEnds::Normalize).read(input.as_bytes(), &mut out);
            prop_assert_eq!(clean_line_ends(&out), out);
        }
    }
}
