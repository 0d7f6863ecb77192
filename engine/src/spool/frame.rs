//! Frames: how a record stands in a segment.
//!
//! 32 bytes of frame header, then the payload, then zeros to a multiple of 8. The checksum is keyed with the
//! segment's nonce and covers header, segment number and payload (R4), so neither bytes of a message body nor
//! records of an earlier use of the file can pass for a record.

use super::block::Blocks;
use super::record::Location;
use crate::base::planted::{Bug, planted};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// Length of a frame header in bytes; no frame is shorter.
pub const FRAME: usize = 32;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Content = 1,
    Accepted = 2,
    Rows = 3,
    Outcomes = 4,
    Control = 5,
    /// Ends a commit; see [`Commit`].
    Commit = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Content,
            2 => Kind::Accepted,
            3 => Kind::Rows,
            4 => Kind::Outcomes,
            5 => Kind::Control,
            6 => Kind::Commit,
            _ => return None,
        })
    }
}

/// What makes the frames of one segment its own.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub segment: u32,
    nonce: [u8; 16],
    /// Mask of the `mark` field: lets a scan pass over bytes that are no frame of this segment without hashing
    /// them, whoever wrote them.
    mask: u32,
}

/// A frame header, read but not yet verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub kind: Kind,
    /// Last frame of its group.
    pub ends_group: bool,
    /// Payload length in bytes.
    pub len: u32,
    /// For `Rows`: the ordinal of its first row within the segment; else 0.
    pub ordinal: u32,
}

impl FrameHeader {
    /// Bytes from this frame to the next.
    pub fn stride(&self) -> usize {
        FRAME + (self.len as usize).next_multiple_of(8)
    }
}

impl Key {
    pub fn new(segment: u32, nonce: [u8; 16]) -> Key {
        Key { segment, nonce, mask: u32::from_le_bytes([nonce[0], nonce[1], nonce[2], nonce[3]]) }
    }

    /// Reads the frame header at byte `at` of `bytes`, which begin at byte `base` of the segment.
    /// `None`: no frame of this segment begins there, or it is cut off.
    pub fn header(&self, bytes: &[u8], base: usize, at: usize) -> Option<FrameHeader> {
        let head = bytes.get(at..at + FRAME)?;
        let mark = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
        if mark != self.mark(base + at) {
            return None;
        }
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let kind = Kind::from_byte(head[4])?;
        let ordinal = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let header = FrameHeader { kind, ends_group: head[5] & 1 != 0, len, ordinal };
        (header.stride() <= bytes.len() - at).then_some(header)
    }

    /// Bytes from the frame that begins `bytes`, at byte `base` of the segment, to the next, though it may be
    /// cut off.
    pub fn stride(&self, bytes: &[u8], base: usize) -> Option<usize> {
        let head = bytes.get(..FRAME)?;
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let mark = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
        (mark == self.mark(base)).then(|| FRAME + len.next_multiple_of(8))
    }

    /// Reads the frame header at byte `at` of `bytes`, which begin at `base`; not verified.
    pub fn header_in(&self, bytes: &[u8], base: Location, at: usize) -> Option<FrameHeader> {
        self.header(bytes, base.byte_offset() as usize, at)
    }

    /// Whether header and payload of the frame at `at` are what was written.
    pub fn verify(&self, bytes: &[u8], at: usize, header: &FrameHeader) -> bool {
        let payload = at + FRAME;
        match bytes.get(at..payload + header.len as usize) {
            Some(frame) => {
                planted(Bug::NoChecksum) || frame[16..FRAME] == self.checksum(&frame[..16], &frame[FRAME..])
            }
            None => false,
        }
    }

    fn mark(&self, offset: usize) -> u32 {
        (offset / 8) as u32 ^ self.mask
    }

    fn checksum(&self, head: &[u8], payload: &[u8]) -> [u8; 16] {
        let mut hasher = SipHasher13::new_with_key(&self.nonce);
        hasher.write(head);
        hasher.write(&self.segment.to_le_bytes());
        hasher.write(payload);
        hasher.finish128().as_u128().to_le_bytes()
    }

    /// Appends a frame whose payload `fill` writes. `base` is the segment offset of the first byte of `out`.
    pub fn put(
        &self,
        out: &mut Blocks,
        base: usize,
        kind: Kind,
        ends_group: bool,
        ordinal: u32,
        fill: impl FnOnce(&mut Blocks),
    ) -> Location {
        debug_assert!(out.len().is_multiple_of(8));
        let start = out.len();
        let mut head = [0u8; FRAME];
        head[4] = kind as u8;
        head[5] = u8::from(ends_group);
        head[8..12].copy_from_slice(&ordinal.to_le_bytes());
        head[12..16].copy_from_slice(&self.mark(base + start).to_le_bytes());
        out.push(&head);
        fill(out);
        let len = (out.len() - start - FRAME) as u32;
        head[..4].copy_from_slice(&len.to_le_bytes());
        let sum = self.checksum(&head[..16], &out.as_slice()[start + FRAME..]);
        head[16..].copy_from_slice(&sum);
        out.patch(start, &head);
        out.pad(8);
        Location { segment: self.segment, offset8: ((base + start) / 8) as u32 }
    }
}

/// Payload of a [`Kind::Commit`] frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit's first frame stands, in units of 8 bytes.
    pub start8: u32,
    /// Frames before this one in the commit.
    pub frames: u32,
    /// Everything before this location was durable when the commit was written (R5).
    pub durable: Location,
}

/// Payload length of a commit frame.
pub const COMMIT_LEN: usize = 16;

impl Commit {
    pub fn encode(&self) -> [u8; COMMIT_LEN] {
        let mut out = [0; COMMIT_LEN];
        out[..4].copy_from_slice(&self.start8.to_le_bytes());
        out[4..8].copy_from_slice(&self.frames.to_le_bytes());
        out[8..12].copy_from_slice(&self.durable.segment.to_le_bytes());
        out[12..].copy_from_slice(&self.durable.offset8.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Option<Commit> {
        if bytes.len() != COMMIT_LEN {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let durable = Location { segment: word(8), offset8: word(12) };
        Some(Commit { start8: word(0), frames: word(4), durable })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &Key, payload: &[u8]) -> Blocks {
        let mut out = Blocks::with_capacity(100);
        key.put(&mut out, 8192, Kind::Rows, true, 5, |b| b.push(payload));
        out
    }

    #[test]
    fn a_frame_reads_back() {
        let key = Key::new(3, [1; 16]);
        let out = one(&key, b"hello");
        let header = key.header(out.as_slice(), 8192, 0).expect("a frame");
        assert_eq!(header, FrameHeader { kind: Kind::Rows, ends_group: true, len: 5, ordinal: 5 });
        assert_eq!(header.stride(), out.len());
        assert!(key.verify(out.as_slice(), 0, &header));
    }

    #[test]
    fn another_nonce_segment_or_place_does_not_know_it() {
        let key = Key::new(3, [1; 16]);
        let out = one(&key, b"hello");
        assert_eq!(Key::new(3, [2; 16]).header(out.as_slice(), 8192, 0), None);
        assert_eq!(key.header(out.as_slice(), 4096, 0), None);
        let other = Key::new(4, [1; 16]);
        let header = other.header(out.as_slice(), 8192, 0).expect("the mark does not cover the segment");
        assert!(!other.verify(out.as_slice(), 0, &header));
    }

    #[test]
    fn every_flip_in_a_frame_is_seen() {
        let key = Key::new(3, [7; 16]);
        let good = one(&key, b"a payload of a few bytes");
        for bit in 0..(FRAME + 24) * 8 {
            let mut bytes = good.as_slice().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let seen = key.header(&bytes, 8192, 0).is_some_and(|h| key.verify(&bytes, 0, &h));
            assert!(!seen, "flip of bit {bit} went unnoticed");
        }
    }
}
