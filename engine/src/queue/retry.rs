//! Recipients that wait for their time: put off after a 4xx of their own (`retry-recipients-after`), or not to start
//! before a date.

use super::list::List;
use super::slot::{Slot, Slots};
use crate::base::Time;
use std::collections::BTreeMap;

/// Recipients by due time. Costs nothing while empty, and one small list per tenth of a second in which somebody is
/// due otherwise, however many they are and in whatever order they come (after a restart: any).
#[derive(Debug, Default)]
pub struct Retry {
    /// By [`Slot::due_tenths`].
    lists: BTreeMap<u32, List>,
    len: u32,
}

impl Retry {
    pub fn len(&self) -> u32 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When the first one is due.
    pub fn next(&self) -> Option<Time> {
        self.lists.first_key_value().map(|(&due, _)| Slot::time_of(due))
    }

    pub fn push(&mut self, slots: &mut Slots, key: u32) {
        let due = slots[key].due_tenths();
        self.lists.entry(due).or_default().push_back(slots, key);
        self.len += 1;
    }

    /// Moves those that are due to the end of `ready`, the earliest first.
    pub fn wake(&mut self, slots: &mut Slots, now: Time, ready: &mut List) {
        while let Some(first) = self.lists.first_entry() {
            if Slot::time_of(*first.key()) > now {
                break;
            }
            let list = first.remove();
            self.len -= list.len();
            ready.append(slots, list);
        }
    }

    /// All of them, the earliest first.
    pub fn drain(&mut self, slots: &mut Slots) -> List {
        let mut all = List::default();
        self.wake(slots, Time::NEVER, &mut all);
        all
    }

    /// Takes out those for which `out` says so.
    pub fn split(&mut self, slots: &mut Slots, mut out: impl FnMut(&Slot) -> bool) -> List {
        let mut taken = List::default();
        self.lists.retain(|_, list| {
            let part = list.split(slots, u32::MAX, &mut out);
            self.len -= part.len();
            taken.append(slots, part);
            !list.is_empty()
        });
        taken
    }

    /// The keys, the earliest due first.
    pub fn iter<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = u32> + 'a {
        self.lists.values().flat_map(|list| list.iter(slots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::record::RowRef;

    fn waiting(slots: &mut Slots, retry: &mut Retry, due_ms: u64) -> u32 {
        let mut slot = Slot::new(RowRef::default(), 0);
        slot.set_due(Time::from_millis(due_ms));
        let key = slots.insert(slot);
        retry.push(slots, key);
        key
    }

    #[test]
    fn they_wake_when_due_and_the_earliest_first() {
        let (mut slots, mut retry, mut ready) = (Slots::new(), Retry::default(), List::default());
        let late = waiting(&mut slots, &mut retry, 700_000);
        let early = waiting(&mut slots, &mut retry, 60_050);
        let second = waiting(&mut slots, &mut retry, 60_050);
        assert_eq!(retry.next(), Some(Time::from_millis(60_100)));
        retry.wake(&mut slots, Time::from_millis(60_099), &mut ready);
        assert!(ready.is_empty());
        retry.wake(&mut slots, Time::from_millis(60_100), &mut ready);
        assert_eq!(ready.iter(&slots).collect::<Vec<_>>(), [early, second]);
        assert_eq!((retry.len(), retry.next()), (1, Some(Time::from_millis(700_000))));
        assert_eq!(retry.drain(&mut slots).front(), Some(late));
        assert!(retry.is_empty());
    }

    #[test]
    fn a_job_can_be_taken_out() {
        let (mut slots, mut retry) = (Slots::new(), Retry::default());
        let keys: Vec<u32> = (0..6).map(|i| waiting(&mut slots, &mut retry, 1000 * (i % 2))).collect();
        slots[keys[3]].submission = 9;
        slots[keys[5]].submission = 9;
        let taken = retry.split(&mut slots, |slot| slot.submission == 9);
        assert_eq!(taken.iter(&slots).collect::<Vec<_>>(), [keys[3], keys[5]]);
        assert_eq!(retry.iter(&slots).collect::<Vec<_>>(), [keys[0], keys[2], keys[4], keys[1]]);
        assert_eq!(retry.len(), 4);
    }
}
