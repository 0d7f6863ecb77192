//! Reading a segment after a stop: which frames are there, and where its valid part ends (R5).
//!
//! Work is bounded by the length of the segment: a byte position is hashed only when it carries the mark that
//! the segment's nonce gives it, and nobody outside knows the nonce.

use super::frame::{Commit, FRAME, FrameHeader, Key, Kind};
use super::header::{BLOCK, DATA_START};
use super::record::Location;
use std::collections::BTreeMap;
use std::ops::Range;

/// A verified frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Offset in the segment, in bytes.
    pub at: usize,
    pub header: FrameHeader,
}

impl Found {
    pub fn payload(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.at + FRAME..self.at + FRAME + self.header.len as usize]
    }
}

/// A run of frames that a commit frame ends.
#[derive(Clone, Debug)]
struct Unit {
    frames: Range<usize>,
    start: usize,
    /// On a block boundary, except where the commit frame is gone: what stood behind the last frame is not known then.
    end: usize,
    /// Every frame is there.
    whole: bool,
}

/// What a segment holds, before it is decided how much of it counts.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    frames: Vec<Found>,
    units: Vec<Unit>,
    /// For each segment, the highest offset (in units of 8 bytes) that a commit here says was durable.
    pub claims: BTreeMap<u32, u32>,
}

/// The part of a segment that counts.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    pub frames: Vec<Found>,
    /// End of the valid part in bytes, on a block boundary.
    pub end: usize,
    /// Acknowledged, and no longer readable.
    pub damaged: Vec<Range<usize>>,
    /// Frames were found beyond `end`: writes that were never acknowledged.
    pub torn: bool,
}

/// Scans `bytes`, the contents of the segment from its first byte to its end or to what is known to be its end.
pub fn scan(key: &Key, bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let mut at = DATA_START;
    let mut first = 0;
    while let Some((found, header)) = next_frame(key, bytes, at) {
        scan.frames.push(Found { at: found, header });
        at = found + header.stride();
        if header.kind == Kind::Commit {
            let index = scan.frames.len() - 1;
            if let Some(commit) = Commit::decode(scan.frames[index].payload(bytes)) {
                scan.claim(commit.durable);
                scan.close(first..index, commit);
                first = index + 1;
            }
            at = at.next_multiple_of(BLOCK);
        }
    }
    if first < scan.frames.len() {
        scan.stray(first..scan.frames.len());
    }
    scan
}

impl Scan {
    /// The highest offset (in units of 8 bytes) of `segment` that a commit here says was durable.
    pub fn claim_of(&self, segment: u32) -> Option<u32> {
        self.claims.get(&segment).copied()
    }

    /// The end of the last commit of which something is there.
    pub fn end(&self) -> usize {
        self.units.last().map_or(DATA_START, |unit| unit.end.next_multiple_of(BLOCK))
    }

    fn claim(&mut self, durable: Location) {
        let claim = self.claims.entry(durable.segment).or_default();
        *claim = (*claim).max(durable.offset8);
    }

    /// Notes the commit whose frame is the one after `frames`. Frames before the commit's own start lost their
    /// commit frame: they form a unit that is not whole.
    fn close(&mut self, frames: Range<usize>, commit: Commit) {
        let start = commit.start8 as usize * 8;
        let own = frames.start + self.frames[frames.clone()].partition_point(|found| found.at < start);
        if own > frames.start {
            self.stray(frames.start..own);
        }
        let last = self.frames[frames.end];
        let mut at = start;
        let mut whole = frames.end - own == commit.frames as usize;
        for found in &self.frames[own..frames.end] {
            whole &= found.at == at;
            at = found.at + found.header.stride();
        }
        whole &= last.at == at;
        let end = (last.at + last.header.stride()).next_multiple_of(BLOCK);
        self.units.push(Unit { frames: own..frames.end, start, end, whole });
    }

    /// Notes frames whose commit frame is gone.
    fn stray(&mut self, frames: Range<usize>) {
        let (first, last) = (self.frames[frames.start], self.frames[frames.end - 1]);
        let end = last.at + last.header.stride();
        self.units.push(Unit { frames, start: first.at, end, whole: false });
    }

    /// Decides what counts: everything readable before `floor` (known durable), and after it whole commits one
    /// behind the other; the first hole ends the log. `sealed`: nothing after `floor` counts.
    pub fn judge(&self, floor: usize, sealed: bool) -> Judged {
        let mut judged = Judged { end: DATA_START.max(floor), ..Judged::default() };
        let mut readable = DATA_START;
        for unit in &self.units {
            if unit.start >= judged.end {
                if sealed {
                    break;
                }
                if !unit.whole || unit.start != judged.end {
                    judged.torn = true;
                    break;
                }
                judged.end = unit.end;
            }
            for &found in &self.frames[unit.frames.clone()] {
                judged.gap(&mut readable, found);
                judged.frames.push(found);
            }
            if let Some(&commit) = self.frames.get(unit.frames.end).filter(|f| f.header.kind == Kind::Commit)
            {
                judged.gap(&mut readable, commit);
            }
            readable = readable.max(unit.end);
        }
        if readable < floor {
            judged.damaged.push(readable..floor);
        }
        judged
    }
}

impl Judged {
    /// Notes what is missing between `readable` and the frame, and moves past the frame.
    fn gap(&mut self, readable: &mut usize, found: Found) {
        if found.at > *readable {
            self.damaged.push(*readable..found.at);
        }
        *readable = (*readable).max(found.at + found.header.stride());
    }
}

/// The first verified frame at or after byte `at`; `None` when there is none.
pub fn next_frame(key: &Key, bytes: &[u8], at: usize) -> Option<(usize, FrameHeader)> {
    let last = bytes.len().checked_sub(FRAME)?;
    (at..=last).step_by(8).find_map(|at| {
        let header = key.header(bytes, 0, at)?;
        key.verify(bytes, at, &header).then_some((at, header))
    })
}
