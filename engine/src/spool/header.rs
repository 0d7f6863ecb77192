//! The header of a segment file: who it is, and the nonce that makes its records its own (R4).
//!
//! It stands twice, at bytes 0 and 4096, so that a damaged block costs nothing (F17).

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// Unit of writing: every block of this size is written exactly once between two uses of a segment.
pub const BLOCK: usize = 4096;
/// Where the first record stands.
pub const DATA_START: usize = 2 * BLOCK;
/// Version of the format described in `FORMAT.md`.
pub const VERSION: u32 = 4;
/// Smallest and largest segment, in bytes.
pub const SEGMENT_MIN: u32 = 4 << 20;
pub const SEGMENT_MAX: u32 = 1 << 30;

const MAGIC: [u8; 8] = *b"PHsegmnt";
const LENGTH: usize = 56;
/// Not a secret: the header is checked before its nonce can be known.
const HEADER_KEY: [u8; 16] = *b"posthaste header";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub number: u32,
    /// Size of the file in bytes, headers included; a multiple of [`BLOCK`].
    pub size: u32,
    pub nonce: [u8; 16],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Neither copy is intact.
    Unreadable,
    /// Intact, but of another format.
    Version(u32),
}

impl SegmentHeader {
    /// Both copies, [`DATA_START`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut one = Vec::with_capacity(LENGTH);
        one.extend_from_slice(&MAGIC);
        one.extend_from_slice(&VERSION.to_le_bytes());
        one.extend_from_slice(&self.number.to_le_bytes());
        one.extend_from_slice(&u64::from(self.size).to_le_bytes());
        one.extend_from_slice(&self.nonce);
        let sum = checksum(&one);
        one.extend_from_slice(&sum);
        let mut out = vec![0; DATA_START];
        out[..LENGTH].copy_from_slice(&one);
        out[BLOCK..BLOCK + LENGTH].copy_from_slice(&one);
        out
    }

    /// Reads whichever copy is intact from the first [`DATA_START`] bytes of a file.
    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader, HeaderError> {
        let first = bytes.get(..LENGTH).ok_or(HeaderError::Unreadable).and_then(decode_one);
        match first {
            Err(HeaderError::Unreadable) => {
                bytes.get(BLOCK..BLOCK + LENGTH).ok_or(HeaderError::Unreadable).and_then(decode_one)
            }
            known => known,
        }
    }
}

fn decode_one(bytes: &[u8]) -> Result<SegmentHeader, HeaderError> {
    if bytes[..8] != MAGIC || bytes[40..LENGTH] != checksum(&bytes[..40]) {
        return Err(HeaderError::Unreadable);
    }
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if word(8) != VERSION {
        return Err(HeaderError::Version(word(8)));
    }
    let size = word(16);
    if word(20) != 0 || !(SEGMENT_MIN..=SEGMENT_MAX).contains(&size) || !(size as usize).is_multiple_of(BLOCK)
    {
        return Err(HeaderError::Unreadable);
    }
    let mut nonce = [0; 16];
    nonce.copy_from_slice(&bytes[24..40]);
    Ok(SegmentHeader { number: word(12), size, nonce })
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    let mut hasher = SipHasher13::new_with_key(&HEADER_KEY);
    hasher.write(bytes);
    hasher.finish128().as_u128().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader { number: 7, size: SEGMENT_MIN, nonce: [9; 16] }
    }

    #[test]
    fn the_second_copy_serves_when_the_first_is_damaged() {
        let mut bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        bytes[13] ^= 1;
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        bytes[BLOCK + 30] ^= 1;
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Unreadable));
    }

    #[test]
    fn every_single_flip_in_both_copies_is_seen() {
        let good = header().encode();
        for at in 0..LENGTH {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            bytes[BLOCK + at] ^= 0x10;
            assert!(SegmentHeader::decode(&bytes).is_err(), "flip at {at}");
        }
    }

    #[test]
    fn a_later_format_is_refused_by_its_number() {
        let mut bytes = header().encode();
        bytes[8] = 9;
        let sum = checksum(&bytes[..40]);
        bytes[40..LENGTH].copy_from_slice(&sum);
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Version(9)));
    }

    #[test]
    fn too_few_bytes_are_no_header() {
        assert_eq!(SegmentHeader::decode(&[]), Err(HeaderError::Unreadable));
        assert_eq!(SegmentHeader::decode(&header().encode()[..LENGTH - 1]), Err(HeaderError::Unreadable));
    }
}
