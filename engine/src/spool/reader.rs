//! Walking the log in its order up to the durable end: how accounting and other followers read (R6).

use super::error::SpoolError;
use super::frame::Kind;
use super::header::{BLOCK, DATA_START};
use super::record::Location;
use super::scan::next_frame;
use super::segments::{RecordRef, Segment, Segments};
use std::sync::Arc;

/// A position in the log. Keep [`LogReader::at`] to continue there after a restart.
#[derive(Debug)]
pub struct LogReader {
    segments: Arc<Segments>,
    /// Nothing before this is returned again.
    at: Location,
    /// The segment last read, to spare the look-up.
    current: Option<Arc<Segment>>,
    /// What lies before this has been asked of the kernel.
    fetched: Location,
}

/// Bytes asked of the kernel at a time.
const AHEAD: usize = 1 << 20;

impl LogReader {
    /// Starts at `at`; [`Location::START`] is the oldest record there is.
    pub fn new(segments: Arc<Segments>, at: Location) -> LogReader {
        LogReader { segments, at, current: None, fetched: Location::START }
    }

    /// Where the next record is looked for.
    pub fn at(&self) -> Location {
        self.at
    }

    /// The next record; `None` at the durable end of the log. Commit frames are passed over, and so are damaged
    /// ranges, which recovery has reported.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<RecordRef>, SpoolError> {
        loop {
            if !self.settle() {
                return Ok(None);
            }
            let at = self.at;
            let record = match self.segments.record(at) {
                Ok(record) => record,
                Err(SpoolError::NotFound { .. } | SpoolError::Damaged { .. }) => {
                    self.skip()?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.fetch(&record)?;
            let after = at.byte_offset() as usize + super::frame::FRAME + record.len().next_multiple_of(8);
            let commit = record.kind == Kind::Commit;
            let after = if commit { after.next_multiple_of(BLOCK) } else { after };
            self.at.offset8 = (after / 8) as u32;
            if !commit {
                return Ok(Some(record));
            }
        }
    }

    /// Moves to a segment with something to read at or after the position. False at the durable end.
    fn settle(&mut self) -> bool {
        let durable = self.segments.durable_end();
        loop {
            if self.at >= durable {
                self.current = None;
                return false;
            }
            if self.current.as_ref().is_none_or(|segment| segment.header.number != self.at.segment) {
                let Some(segment) = self.segments.segment_from(self.at.segment) else { return false };
                if segment.header.number != self.at.segment {
                    self.at = Location { segment: segment.header.number, offset8: 0 };
                }
                self.current = Some(segment);
            }
            self.at.offset8 = self.at.offset8.max((DATA_START / 8) as u32);
            let end8 = self.current.as_ref().map_or(0, |segment| segment.end8());
            if self.at.offset8 < end8 {
                return self.at < durable;
            }
            self.at = Location { segment: self.at.segment + 1, offset8: 0 };
            self.current = None;
        }
    }

    /// Once the reader has fallen behind what is kept in RAM, has the kernel read ahead of it: a page fault for each page
    /// would keep it from ever catching up with a busy log.
    fn fetch(&mut self, record: &RecordRef) -> Result<(), SpoolError> {
        let (true, Some(segment)) = (record.is_mapped() && record.at >= self.fetched, &self.current) else {
            return Ok(());
        };
        let from = record.at.byte_offset() as usize;
        let to = (from + AHEAD).min(self.readable_end(segment) as usize * 8);
        segment.mapping()?.fetch(from, to);
        self.fetched = Location { segment: record.at.segment, offset8: (to / 8) as u32 };
        Ok(())
    }

    /// Where what may be read of a segment ends, in units of 8 bytes.
    fn readable_end(&self, segment: &Segment) -> u32 {
        let durable = self.segments.durable_end();
        if durable.segment == segment.header.number { durable.offset8 } else { segment.end8() }
    }

    /// Passes over a damaged range to the next intact frame of the segment.
    fn skip(&mut self) -> Result<(), SpoolError> {
        let Some(segment) = self.current.clone() else { return Ok(()) };
        let end8 = self.readable_end(&segment);
        let mapping = segment.mapping()?;
        let bytes = &mapping.bytes()[..mapping.bytes().len().min(end8 as usize * 8)];
        let next = next_frame(&segment.key, bytes, self.at.byte_offset() as usize + 8);
        self.at.offset8 = next.map_or(end8, |(at, _)| (at / 8) as u32);
        Ok(())
    }
}
