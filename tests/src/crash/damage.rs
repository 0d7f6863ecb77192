//! Damage that disks do: a bit, a block, the end of a file.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use posthaste::io::storage::StorageOptions;
use posthaste::io::storage_files::Directory;
use posthaste::spool::SpoolError;
use posthaste::spool::header::{BLOCK, DATA_START};
use posthaste::spool::reader::LogReader;
use posthaste::spool::record::Location;
use posthaste::spool::segments::Segments;

use super::flip::segment;

/// Bytes before a record's payload.
const FRAME: usize = 32;

/// Where what lies in a spool.
#[derive(Debug, Default)]
pub struct Layout {
    records: Vec<Record>,
    /// Number of each segment in use, and its used bytes.
    segments: Vec<(u32, usize)>,
}

#[derive(Debug)]
struct Record {
    /// As the tool writes it.
    at: String,
    segment: u32,
    bytes: Range<usize>,
}

impl Layout {
    /// Reads a sound spool.
    pub fn read(spool: &Path) -> io::Result<Layout> {
        let told = |e: SpoolError| io::Error::other(e.to_string());
        let directory =
            Directory::open(spool, &StorageOptions::default().known_files, false).map_err(told)?;
        let recovery = directory.recover();
        let segments = Arc::new(Segments::new(spool, 0));
        let mut layout = Layout::default();
        for end in recovery.ledger.ends() {
            if let Some(header) = directory.headers.get(&end.segment) {
                segments.add(*header, Some(end.end8));
                segments.set_durable(Location { segment: end.segment, offset8: end.end8 });
                layout.segments.push((end.segment, end.end8 as usize * 8));
            }
        }
        let mut reader = LogReader::new(segments, Location::START);
        while let Some(record) = reader.next().map_err(told)? {
            let from = record.at.offset8 as usize * 8;
            // What fills it up to a multiple of eight bytes is no part of it, and nobody reads it.
            let bytes = from..from + FRAME + record.len();
            layout.records.push(Record { at: record.at.to_string(), segment: record.at.segment, bytes });
        }
        Ok(layout)
    }

    /// The records that are not what they were.
    pub fn hit_by(&self, damage: &Damage) -> HashSet<String> {
        let touches = |record: &&Record| {
            damage.changed.iter().any(|(segment, bytes)| {
                *segment == record.segment && bytes.start < record.bytes.end && record.bytes.start < bytes.end
            })
        };
        self.records.iter().filter(touches).map(|record| record.at.clone()).collect()
    }
}

impl Layout {
    /// Whether the end of the log is damaged together with what comes before it: that is no different from a power cut
    /// in the middle of a commit (R5), and nobody can tell what was there.
    pub fn is_torn_by(&self, damage: &Damage) -> bool {
        let Some(&(last, end)) = self.segments.iter().rfind(|(_, end)| *end > DATA_START) else {
            return false;
        };
        let block = |at: usize| at / BLOCK;
        let of_the_last = damage.changed.iter().filter(|(segment, _)| *segment == last);
        let blocks: Vec<usize> = of_the_last.map(|(_, bytes)| block(bytes.start)).collect();
        blocks.len() > 1 && blocks.contains(&block(end - 1))
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Bit {
        at: usize,
        bit: u8,
    },
    Zeros {
        block: usize,
    },
    /// One block's bytes in place of another's.
    Copy {
        from: usize,
        to: usize,
    },
    Swap {
        one: usize,
        other: usize,
    },
    CutAt {
        length: usize,
    },
}

/// One damage to one segment.
#[derive(Debug)]
pub struct Damage {
    pub segment: u32,
    kind: Kind,
    /// The bytes that may differ now.
    changed: Vec<(u32, Range<usize>)>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {}, {:?}", self.segment, self.kind)
    }
}

impl Damage {
    /// Most often a bit.
    pub fn at_random(random: &mut fastrand::Rng, layout: &Layout) -> Damage {
        // By their use, so that every record is as likely to be hit.
        let all: usize = layout.segments.iter().map(|s| s.1).sum();
        let mut at = random.usize(0..all.max(1));
        let mut chosen = (0, DATA_START);
        for &(number, used) in &layout.segments {
            chosen = (number, used);
            if at < used {
                break;
            }
            at -= used;
        }
        let (segment, used) = chosen;
        let at = at.min(used - 1);
        let blocks = used.div_ceil(BLOCK);
        let (block, other) = (at / BLOCK, random.usize(0..blocks));
        let bytes = |block: usize| (segment, block * BLOCK..(block + 1) * BLOCK);
        let (kind, changed) = match random.u32(0..10) {
            0 => (Kind::Zeros { block }, vec![bytes(block)]),
            1 => (Kind::Copy { from: other, to: block }, vec![bytes(block)]),
            2 => (Kind::Swap { one: block, other }, vec![bytes(block), bytes(other)]),
            3 => (Kind::CutAt { length: at }, vec![(segment, at..usize::MAX)]),
            _ => (Kind::Bit { at, bit: random.u8(0..8) }, vec![(segment, at..at + 1)]),
        };
        Damage { segment, kind, changed }
    }

    /// Does it, and keeps in mind only what is really different.
    pub fn inflict(&mut self, spool: &Path) -> io::Result<()> {
        let path = segment(spool, self.segment);
        let before = fs::read(&path)?;
        let mut after = before.clone();
        match self.kind {
            Kind::Bit { at, bit } => after[at] ^= 1 << bit,
            Kind::Zeros { block } => after[block * BLOCK..(block + 1) * BLOCK].fill(0),
            Kind::Copy { from, to } => after.copy_within(from * BLOCK..(from + 1) * BLOCK, to * BLOCK),
            Kind::Swap { one, other } => {
                let kept = before[one * BLOCK..(one + 1) * BLOCK].to_vec();
                after.copy_within(other * BLOCK..(other + 1) * BLOCK, one * BLOCK);
                after[other * BLOCK..(other + 1) * BLOCK].copy_from_slice(&kept);
            }
            Kind::CutAt { length } => after.truncate(length),
        }
        for (_, bytes) in &mut self.changed {
            let end = bytes.end.min(before.len());
            let differs = |at: &usize| before.get(*at) != after.get(*at);
            let first = (bytes.start..end).find(differs).unwrap_or(end);
            let last = (first..end).rev().find(differs).map_or(first, |at| at + 1);
            *bytes = first..last;
        }
        self.changed.retain(|(_, bytes)| !bytes.is_empty());
        fs::write(&path, after)
    }
}
