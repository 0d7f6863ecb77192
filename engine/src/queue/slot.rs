//! What a waiting recipient costs: 28 bytes. Its address and values stay in the spool; the slot says where.

use crate::base::{ChunkedSlab, NONE, Time};
use crate::spool::record::{Location, RowRef};
use std::time::Duration;

/// Microseconds in the unit of [`Slot::due`].
const TENTH: u64 = 100_000;

/// One waiting recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    segment: u32,
    offset8: u32,
    ordinal: u32,
    /// The owner's key for the submission the row belongs to.
    pub submission: u32,
    /// Tenths of a second since the engine started, rounded up: not to be tried before. Reaches 13 years.
    due: u32,
    /// The slot after this one in the list it stands in.
    pub(super) next: u32,
    index: u16,
    /// Attempts so far.
    pub attempts: u16,
}

const _: () = assert!(size_of::<Slot>() == 28);

/// All waiting recipients of one owner.
pub type Slots = ChunkedSlab<Slot>;

impl Slot {
    pub fn new(row: RowRef, submission: u32) -> Slot {
        let RowRef { record: Location { segment, offset8 }, ordinal, index } = row;
        Slot { segment, offset8, ordinal, submission, due: 0, next: NONE, index, attempts: 0 }
    }

    /// Where the recipient stands in the spool.
    pub fn row(&self) -> RowRef {
        let record = Location { segment: self.segment, offset8: self.offset8 };
        RowRef { record, ordinal: self.ordinal, index: self.index }
    }

    /// Not to be tried before this time (never earlier than what was set, up to 100 ms later).
    pub fn due(&self) -> Time {
        Slot::time_of(self.due)
    }

    /// [`Slot::due`] in tenths of a second.
    pub(super) fn due_tenths(&self) -> u32 {
        self.due
    }

    pub(super) fn time_of(tenths: u32) -> Time {
        Time(u64::from(tenths) * TENTH)
    }

    pub fn set_due(&mut self, at: Time) {
        self.due = u32::try_from(at.0.div_ceil(TENTH)).unwrap_or(u32::MAX);
    }

    /// Counts an attempt, and puts the next one off by `wait`.
    pub fn put_off(&mut self, now: Time, wait: Duration) {
        self.attempts = self.attempts.saturating_add(1);
        self.set_due(now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_gives_back_what_it_was_made_of() {
        let row = RowRef { record: Location { segment: 7, offset8: 99 }, ordinal: 123_456, index: 511 };
        let mut slot = Slot::new(row, 42);
        assert_eq!((slot.row(), slot.submission, slot.due()), (row, 42, Time::ZERO));
        slot.put_off(Time(1), Duration::from_secs(600));
        assert_eq!((slot.row(), slot.attempts), (row, 1));
    }

    #[test]
    fn due_is_never_early() {
        let mut slot = Slot::new(RowRef::default(), 0);
        for at in [0, 1, 99_999, 100_000, 100_001, 600_000_000] {
            slot.set_due(Time(at));
            assert!(slot.due() >= Time(at) && slot.due() < Time(at + TENTH), "{at}");
        }
        slot.set_due(Time::NEVER);
        assert!(slot.due() > Time::from_millis(13 * 365 * 86_400_000));
    }
}
