//! Failpoints that are places in a dialogue: found in the bytes that are about to be sent, so that the state machines need
//! not know of them. Without feature `failpoints` there is nothing to find.

use super::failpoint::Due;
use std::io;

/// What an inbound session has said so far.
#[derive(Default)]
pub(super) struct Replies {
    #[cfg(feature = "failpoints")]
    in_data: bool,
}

impl Replies {
    /// Looks at what the session says to what it has just read.
    #[cfg(not(feature = "failpoints"))]
    pub fn note(&mut self, _: &[u8]) {}

    #[cfg(feature = "failpoints")]
    pub fn note(&mut self, output: &[u8]) {
        use super::failpoint::{Point, pass};
        if output.is_empty() && self.in_data {
            pass(Point::SmtpMidData);
        }
        for line in output.split_inclusive(|b| *b == b'\n') {
            self.in_data = line.starts_with(b"354 ");
            if line.starts_with(b"250 2.1.0 ") {
                pass(Point::SmtpMail);
            } else if line.starts_with(b"250 2.1.5 ") {
                pass(Point::SmtpRcpt);
            }
        }
    }
}

/// How much of an outbound connection's bytes to send, and what to do then.
pub(super) struct Piece {
    pub len: usize,
    then: Option<Due>,
}

impl Piece {
    #[cfg(not(feature = "failpoints"))]
    pub fn of(bytes: &[u8]) -> Piece {
        Piece { len: bytes.len(), then: None }
    }

    #[cfg(feature = "failpoints")]
    pub fn of(bytes: &[u8]) -> Piece {
        use super::failpoint::{Point, due, pass};
        let find = |what: &[u8]| memchr::memmem::find(bytes, what);
        let cut = |len, point| due(point).map(|due| Piece { len, then: Some(due) });
        let mut piece = None;
        if let Some(mail) = find(b"MAIL FROM:") {
            pass(Point::OutboundDequeued);
            let line = memchr::memchr(b'\n', &bytes[mail..]).map_or(bytes.len(), |end| mail + end + 1);
            piece = cut(line, Point::OutboundMail);
        }
        if let Some(end) = find(b"\r\n.\r\n") {
            piece = piece.or_else(|| cut(end / 2, Point::OutboundMidData));
            piece = piece.or_else(|| cut(end + 5, Point::OutboundFinalDot));
        }
        piece.unwrap_or(Piece { len: bytes.len(), then: None })
    }

    /// So many bytes of it are sent.
    pub fn sent(self, bytes: usize) -> io::Result<()> {
        self.then.filter(|_| bytes == self.len).map_or(Ok(()), Due::act)
    }
}
