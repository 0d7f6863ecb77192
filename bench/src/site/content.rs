//! Finds the end of a message that comes in pieces, and gathers it where somebody wants to read it.

use memchr::memmem::Finder;

/// The state between two pieces of DATA content. Ends at `CRLF . CRLF` and nowhere else (RFC 5321 4.1.1.4).
#[derive(Debug)]
pub struct Content {
    finder: Finder<'static>,
    /// The last bytes seen, at most four, for an end that straddles two pieces.
    tail: [u8; 4],
    tail_len: usize,
    /// Bytes of content so far, the end mark not included.
    pub size: u64,
    /// The content as it came, where it is gathered; reused from message to message.
    pub gathered: Vec<u8>,
}

impl Default for Content {
    fn default() -> Self {
        Content {
            finder: Finder::new(b"\r\n.\r\n"),
            tail: [0; 4],
            tail_len: 0,
            size: 0,
            gathered: Vec::new(),
        }
    }
}

impl Content {
    /// Begins a message. The CRLF of the DATA command counts as the one before the first line.
    pub fn begin(&mut self) {
        self.tail[..2].copy_from_slice(b"\r\n");
        self.tail_len = 2;
        self.size = 0;
        self.gathered.clear();
    }

    /// Takes from `input` up to the end mark or all of it; whether the end was found. Without the end mark
    /// gathered content ends in CRLF.
    pub fn take(&mut self, input: &mut &[u8], gather: bool) -> bool {
        let whole = *input;
        let (taken, found) = match self.straddles(whole) {
            Some(after) => (after, true),
            None => match self.finder.find(whole) {
                Some(at) => (at + 5, true),
                None => (whole.len(), false),
            },
        };
        let piece = &whole[..taken];
        *input = &whole[taken..];
        self.size += taken as u64;
        if gather {
            self.gathered.extend_from_slice(piece);
        }
        if found {
            // The mark's first CRLF ends the last line and stays. An empty message has only ".CRLF".
            self.size = self.size.saturating_sub(3);
            let kept = self.gathered.len().saturating_sub(3);
            self.gathered.truncate(kept);
        } else {
            self.remember(piece);
        }
        found
    }

    /// How many bytes of `input` end a mark that began in the tail.
    fn straddles(&self, input: &[u8]) -> Option<usize> {
        let mut joint = [0u8; 8];
        let ahead = input.len().min(4);
        joint[..self.tail_len].copy_from_slice(&self.tail[..self.tail_len]);
        joint[self.tail_len..self.tail_len + ahead].copy_from_slice(&input[..ahead]);
        let at = joint[..self.tail_len + ahead].windows(5).position(|w| w == b"\r\n.\r\n")?;
        Some(at + 5 - self.tail_len)
    }

    fn remember(&mut self, piece: &[u8]) {
        let mut joint = [0u8; 8];
        let new = piece.len().min(4);
        joint[..self.tail_len].copy_from_slice(&self.tail[..self.tail_len]);
        joint[self.tail_len..self.tail_len + new].copy_from_slice(&piece[piece.len() - new..]);
        let all = self.tail_len + new;
        self.tail_len = all.min(4);
        self.tail[..self.tail_len].copy_from_slice(&joint[all - self.tail_len..all]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(pieces: &[&[u8]]) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut c = Content::default();
        c.begin();
        for piece in pieces {
            let mut input = *piece;
            if c.take(&mut input, true) {
                assert_eq!(c.size, c.gathered.len() as u64);
                return Some((c.gathered, input.to_vec()));
            }
        }
        None
    }

    #[test]
    fn the_end_is_found_wherever_the_pieces_part() {
        let wire = b"a\r\n..b\r\n\r\n.\r\nMAIL";
        for i in 0..wire.len() - 4 {
            for j in i..wire.len() - 4 {
                let (content, rest) = take_all(&[&wire[..i], &wire[i..j], &wire[j..]]).expect("it ends");
                assert_eq!(content, b"a\r\n..b\r\n\r\n", "parted at {i} and {j}");
                assert_eq!(rest, b"MAIL", "parted at {i} and {j}");
            }
        }
    }

    #[test]
    fn byte_by_byte_it_ends_at_the_same_place() {
        let wire = b"x\r\n.\ny\r.\r\n\r\n.\r\n";
        let pieces: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(take_all(&pieces).expect("it ends").0, b"x\r\n.\ny\r.\r\n\r\n");
    }

    #[test]
    fn an_empty_message_is_a_dot_alone() {
        assert_eq!(take_all(&[b".\r\n"]).expect("it ends").0, b"");
    }

    #[test]
    fn other_line_ends_do_not_end_it() {
        assert!(take_all(&[b"a\n.\nb\n.\r\nc\r\n.\nd\r.\r"]).is_none());
    }
}
