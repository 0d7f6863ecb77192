//! Replies of a remote server (RFC 5321 4.2), parsed as the bytes come in.
//!
//! The parser is bounded (4 KiB a line, 100 lines, 64 KiB a reply) and strict where two readings would be possible: a
//! line without a code and a reply whose lines carry different codes are errors (S11, S12). A line may end in
//! CR LF or a bare LF. What is kept of the text is escaped, so that nothing a stranger sent reaches a terminal,
//! log or CSV as it is.

use memchr::memchr;
use std::fmt::Write;
use thiserror::Error;

/// Longest line of a reply, line end included.
pub const MAX_LINE: usize = 4096;
/// Most lines of one reply.
pub const MAX_LINES: u16 = 100;
/// Most bytes of one reply, all lines together.
pub const MAX_REPLY: usize = 64 * 1024;
/// Most bytes of [`Reply::text`].
pub const MAX_TEXT: usize = 1024;

/// Why bytes are no reply. The connection is out of step after any of these and has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    #[error("reply line longer than {MAX_LINE} bytes")]
    LineTooLong,
    #[error("reply of more than {MAX_LINES} lines")]
    TooManyLines,
    #[error("reply longer than {MAX_REPLY} bytes")]
    TooLong,
    #[error("reply line does not begin with a three-digit code from 200 to 599 and a blank or hyphen")]
    NoCode,
    #[error("reply lines carry different codes")]
    MixedCodes,
}

/// An enhanced status code (RFC 3463): class, subject, detail.
pub type Enhanced = (u8, u16, u16);

/// One whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// The enhanced status of the first line, when its class agrees with the code (RFC 2034 4).
    pub enhanced: Option<Enhanced>,
    text: Box<str>,
}

impl Reply {
    /// A reply from its code and the text of its lines.
    pub fn new(code: u16, lines: &[&str]) -> Reply {
        let mut parser = ReplyParser { code, ..ReplyParser::default() };
        for line in lines {
            parser.text.extend_from_slice(line.as_bytes());
            parser.text.push(b'\n');
        }
        parser.reply()
    }

    /// The reply as one printable line of at most 1,024 bytes: code, enhanced status, text. Codes repeated on
    /// further lines are left out; bytes outside printable ASCII are shown as `\xNN`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// First digit of the code.
    pub fn class(&self) -> u16 {
        self.code / 100
    }
}

/// Cuts a byte stream into replies.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Text of the lines so far, each ended by LF.
    text: Vec<u8>,
    code: u16,
    lines: u16,
    bytes: usize,
    complete: bool,
}

impl ReplyParser {
    /// Reads from `input` up to the end of one reply. Returns the number of bytes used, and whether a reply is complete;
    /// it can then be looked at until the next call.
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, bool), ReplyError> {
        if self.complete {
            self.reset();
        }
        let mut used = 0;
        while let Some(at) = memchr(b'\n', &input[used..]) {
            let line = &input[used..used + at];
            used += at + 1;
            let last = if self.partial.is_empty() {
                self.line(line)?
            } else {
                self.append_partial(line)?;
                let whole = std::mem::take(&mut self.partial);
                let last = self.line(&whole);
                self.partial = whole;
                self.partial.clear();
                last?
            };
            if last {
                self.complete = true;
                return Ok((used, true));
            }
        }
        self.append_partial(&input[used..])?;
        Ok((input.len(), false))
    }

    /// Whether nothing of a further reply has been read.
    pub fn is_idle(&self) -> bool {
        self.complete || (self.partial.is_empty() && self.lines == 0)
    }

    /// Code of the complete reply.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Raw text of the complete reply's lines, after the codes.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|&b| b == b'\n').take(self.lines as usize)
    }

    /// The complete reply. Allocates its text, so it is called only for replies that somebody will read.
    pub fn reply(&self) -> Reply {
        let mut enhanced = None;
        let mut text = String::with_capacity(self.text.len().min(MAX_TEXT) + 8);
        // Writing to a String cannot fail.
        let _ = write!(text, "{}", self.code);
        for (i, line) in
            self.text.strip_suffix(b"\n").unwrap_or(&self.text).split(|&b| b == b'\n').enumerate()
        {
            let (status, rest) = match split_enhanced(line) {
                Some((status, rest)) if u16::from(status.0) == self.code / 100 => (Some(status), rest),
                _ => (None, line),
            };
            if i == 0 {
                enhanced = status;
                if let Some((a, b, c)) = status {
                    let _ = write!(text, " {a}.{b}.{c}");
                }
            }
            let repeated = status.is_some() && (i == 0 || status == enhanced);
            push_escaped(&mut text, if repeated { rest } else { line });
        }
        Reply { code: self.code, enhanced, text: text.into_boxed_str() }
    }

    fn reset(&mut self) {
        self.text.clear();
        // A verbose peer must not cost memory for the rest of the connection.
        self.text.shrink_to(MAX_LINE);
        self.code = 0;
        self.lines = 0;
        self.bytes = 0;
        self.complete = false;
    }

    fn append_partial(&mut self, bytes: &[u8]) -> Result<(), ReplyError> {
        if self.partial.len() + bytes.len() > MAX_LINE - 1 {
            return Err(ReplyError::LineTooLong);
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes one line without its LF; tells whether it was the last of its reply.
    fn line(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        if line.len() >= MAX_LINE {
            return Err(ReplyError::LineTooLong);
        }
        self.bytes += line.len() + 1;
        if self.bytes > MAX_REPLY {
            return Err(ReplyError::TooLong);
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let &[a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', ref rest @ ..] = line else {
            return Err(ReplyError::NoCode);
        };
        let (last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(ReplyError::NoCode),
        };
        let code = [a, b, c].iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
        if self.lines > 0 && code != self.code {
            return Err(ReplyError::MixedCodes);
        }
        if self.lines == MAX_LINES {
            return Err(ReplyError::TooManyLines);
        }
        self.code = code;
        self.lines += 1;
        self.text.extend_from_slice(text);
        self.text.push(b'\n');
        Ok(last)
    }
}

/// Splits `5.1.1 text` into status and text (RFC 3463 2: class one digit, the others up to three).
fn split_enhanced(line: &[u8]) -> Option<(Enhanced, &[u8])> {
    let end = line.iter().take(12).position(|&b| b == b' ').unwrap_or(line.len());
    let mut parts = line.get(..end)?.split(|&b| b == b'.');
    let mut number = |most: usize| {
        let digits = parts.next()?;
        let fits = !digits.is_empty() && digits.len() <= most && digits.iter().all(u8::is_ascii_digit);
        fits.then(|| digits.iter().fold(0u16, |n, d| n * 10 + u16::from(d - b'0')))
    };
    let (class, subject, detail) = (number(1)?, number(3)?, number(3)?);
    if parts.next().is_some() || !matches!(class, 2 | 4 | 5) {
        return None;
    }
    Some(((class as u8, subject, detail), line.get(end + 1..).unwrap_or_default()))
}

/// Appends a blank and `bytes`, printable, within [`MAX_TEXT`].
fn push_escaped(text: &mut String, bytes: &[u8]) {
    let bytes = bytes.trim_ascii();
    if bytes.is_empty() || text.len() >= MAX_TEXT {
        return;
    }
    text.push(' ');
    // Nearly every reply: nothing to escape.
    if bytes.len() <= MAX_TEXT - text.len() && bytes.iter().all(|b| matches!(b, b' '..=b'~')) {
        return text.push_str(&String::from_utf8_lossy(bytes));
    }
    for &b in bytes {
        let room = MAX_TEXT.saturating_sub(text.len());
        match b {
            b' '..=b'~' if room >= 1 => text.push(char::from(b)),
            b'\t' if room >= 1 => text.push(' '),
            b' '..=b'~' | b'\t' => return,
            _ if room >= 4 => drop(write!(text, "\\x{b:02x}")),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(input: &[u8]) -> Result<Reply, ReplyError> {
        let mut parser = ReplyParser::default();
        let (used, complete) = parser.feed(input)?;
        assert!(complete, "no reply in {input:?}");
        assert_eq!(used, input.len());
        Ok(parser.reply())
    }

    #[test]
    fn plain_and_enhanced() {
        let reply = one(b"250 2.1.0 ok\r\n").unwrap();
        assert_eq!((reply.code, reply.enhanced, reply.text()), (250, Some((2, 1, 0)), "250 2.1.0 ok"));
        let reply = one(b"550 no such user\r\n").unwrap();
        assert_eq!((reply.code, reply.enhanced, reply.text()), (550, None, "550 no such user"));
        // An enhanced status of another class is text (RFC 2034 4).
        let reply = one(b"550 4.2.2 full\r\n").unwrap();
        assert_eq!((reply.enhanced, reply.text()), (None, "550 4.2.2 full"));
        assert_eq!(one(b"250\r\n").unwrap().text(), "250");
        assert_eq!(one(b"250 \n").unwrap().text(), "250");
        assert_eq!(one(b"550 5.1.1.1 x\r\n").unwrap().enhanced, None);
    }

    #[test]
    fn many_lines_become_one() {
        let reply =
            one(b"550-5.1.1 The account does\r\n550-5.1.1 not exist.\r\n550 5.1.1 See x\r\n").unwrap();
        assert_eq!(reply.text(), "550 5.1.1 The account does not exist. See x");
        assert_eq!(reply.enhanced, Some((5, 1, 1)));
    }

    #[test]
    fn strange_bytes_are_escaped() {
        let reply = one(b"550 \x1b[31mred\0 caf\xc3\xa9\rx\r\n").unwrap();
        assert_eq!(reply.text(), "550 \\x1b[31mred\\x00 caf\\xc3\\xa9\\x0dx");
        let long = [b"550 ".as_slice(), &[0xff; 3000], b"\r\n"].concat();
        let reply = one(&long).unwrap();
        assert!(reply.text().len() <= MAX_TEXT && reply.text().is_ascii());
    }

    #[test]
    fn what_is_no_reply() {
        for input in [
            "hello\r\n",
            "25 ok\r\n",
            "250ok\r\n",
            "150 x\r\n",
            "650 x\r\n",
            "\r\n",
            "2a0 x\r\n",
            "250\tx\r\n",
        ] {
            assert_eq!(one(input.as_bytes()), Err(ReplyError::NoCode), "{input:?}");
        }
        assert_eq!(one(b"250-a\r\n550 b\r\n"), Err(ReplyError::MixedCodes));
    }

    #[test]
    fn bounds() {
        let endless = vec![b'2'; MAX_LINE];
        assert_eq!(ReplyParser::default().feed(&endless), Err(ReplyError::LineTooLong));
        let mut parser = ReplyParser::default();
        let result = endless.iter().try_for_each(|b| parser.feed(&[*b]).map(drop));
        assert_eq!(result, Err(ReplyError::LineTooLong));
        let lines = "250-x\r\n".repeat(10_000);
        assert_eq!(ReplyParser::default().feed(lines.as_bytes()), Err(ReplyError::TooManyLines));
        let fat = format!("250-{}\r\n", "x".repeat(4000)).repeat(99);
        assert_eq!(ReplyParser::default().feed(fat.as_bytes()), Err(ReplyError::TooLong));
    }

    #[test]
    fn two_replies_in_one_piece() {
        let mut parser = ReplyParser::default();
        assert_eq!(parser.feed(b"250 a\r\n354 b\r\n"), Ok((7, true)));
        assert_eq!(parser.reply().text(), "250 a");
        assert!(parser.is_idle());
        assert_eq!(parser.feed(b"354 b\r\n2"), Ok((7, true)));
        assert_eq!((parser.code(), parser.feed(b"2")), (354, Ok((1, false))));
        assert!(!parser.is_idle());
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(input in "(25[05][- ][ -~]{0,9}\r?\n){1,6}", cuts in prop::collection::vec(1usize..9, 1..40)) {
            let whole = replies(&[input.as_bytes()]);
            let mut rest = input.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts {
                let (a, b) = rest.split_at(cut.min(rest.len()));
                pieces.push(a);
                rest = b;
            }
            pieces.push(rest);
            prop_assert_eq!(whole, replies(&pieces));
        }

        #[test]
        fn never_panics(input in prop::collection::vec(any::<u8>(), 0..300)) {
            for reply in replies(&[&input]).into_iter().flatten() {
                prop_assert!(reply.bytes().all(|b| (b' '..=b'~').contains(&b)));
            }
        }
    }

    fn replies(pieces: &[&[u8]]) -> Vec<Result<String, ReplyError>> {
        let (mut parser, mut all) = (ReplyParser::default(), Vec::new());
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                match parser.feed(piece) {
                    Ok((used, complete)) => {
                        piece = &piece[used..];
                        if complete {
                            all.push(Ok(parser.reply().text().to_owned()));
                        }
                    }
                    Err(e) => {
                        all.push(Err(e));
                        return all;
                    }
                }
            }
        }
        all
    }
}
