//! Recipients that wait for their time: put off after a 4xx of their own (`retry-recipients-after`), or not to start
//! before a date.

use super::list::List;
use super::slot::{Slot, Slots};
use crate::base::Time;
use std::collections::BTreeMap;

/// Recipients by due time. Costs nothing while empty or while all are due in the same tenth of a second, and one small list
/// per tenth of a second in which somebody is due otherwise, however many they are and in whatever order they come
/// (after a restart: any).
#[derive(Debug, Default)]
pub struct Retry {
    lists: Lists,
    len: u32,
}

/// By [`Slot::due_tenths`].
#[derive(Debug, Default)]
enum Lists {
    #[default]
    None,
    /// So it is in most of a million queues with a recipient or two each.
    One(u32, List),
    Many(BTreeMap<u32, List>),
}

impl Lists {
    fn first_due(&self) -> Option<u32> {
        match self {
            Lists::None => None,
            Lists::One(due, _) => Some(*due),
            Lists::Many(lists) => lists.first_key_value().map(|(&due, _)| due),
        }
    }

    fn list(&mut self, due: u32) -> &mut List {
        match std::mem::take(self) {
            Lists::None => *self = Lists::One(due, List::default()),
            Lists::One(only, list) if only != due => *self = Lists::Many(BTreeMap::from([(only, list)])),
            same => *self = same,
        }
        match self {
            Lists::Many(lists) => lists.entry(due).or_default(),
            Lists::One(_, list) => list,
            Lists::None => unreachable!("it has just been made something else"),
        }
    }

    fn pop_first(&mut self) -> Option<List> {
        match std::mem::take(self) {
            Lists::None => None,
            Lists::One(_, list) => Some(list),
            Lists::Many(mut lists) => {
                let first = lists.pop_first().map(|(_, list)| list);
                *self = if lists.is_empty() { Lists::None } else { Lists::Many(lists) };
                first
            }
        }
    }

    /// The lists, the earliest due first.
    fn iter(&self) -> impl Iterator<Item = &List> {
        let (one, many) = match self {
            Lists::None => (None, None),
            Lists::One(_, list) => (Some(list), None),
            Lists::Many(lists) => (None, Some(lists.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
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
        self.lists.first_due().map(Slot::time_of)
    }

    pub fn push(&mut self, slots: &mut Slots, key: u32) {
        let due = slots[key].due_tenths();
        self.lists.list(due).push_back(slots, key);
        self.len += 1;
    }

    /// Moves those that are due to the end of `ready`, the earliest first.
    pub fn wake(&mut self, slots: &mut Slots, now: Time, ready: &mut List) {
        while self.next().is_some_and(|due| due <= now)
            && let Some(list) = self.lists.pop_first()
        {
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
        let mut lists = std::mem::take(&mut self.lists);
        while let Some(due) = lists.first_due()
            && let Some(mut list) = lists.pop_first()
        {
            let part = list.split(slots, u32::MAX, &mut out);
            self.len -= part.len();
            taken.append(slots, part);
            if !list.is_empty() {
                *self.lists.list(due) = list;
            }
        }
        taken
    }

    /// The keys, the earliest due first.
    pub fn iter<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = u32> + 'a {
        self.lists.iter().flat_map(|list| list.iter(slots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::record::RowRef;
    use proptest::prelude::*;

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

    proptest! {
        /// Whatever comes and goes, the earliest due come first, those of one time in their order.
        #[test]
        fn any_order_in_any_order_out(steps in prop::collection::vec((0u64..6, 0u64..8), 1..60)) {
            let (mut slots, mut retry) = (Slots::new(), Retry::default());
            let mut expected: Vec<(u64, u32)> = Vec::new();
            for (due, step) in steps {
                if step > 1 {
                    expected.push((due, waiting(&mut slots, &mut retry, due * 100)));
                } else {
                    let mut ready = List::default();
                    retry.wake(&mut slots, Time::from_millis(due * 100), &mut ready);
                    expected.sort_by_key(|(due, _)| *due);
                    let at = expected.partition_point(|(d, _)| *d <= due);
                    let woken: Vec<u32> = expected.drain(..at).map(|(_, key)| key).collect();
                    prop_assert_eq!(ready.iter(&slots).collect::<Vec<_>>(), woken);
                }
                expected.sort_by_key(|(due, _)| *due);
                prop_assert_eq!(retry.iter(&slots).collect::<Vec<_>>(), expected.iter().map(|e| e.1).collect::<Vec<_>>());
                prop_assert_eq!(retry.next(), expected.first().map(|(due, _)| Time::from_millis(due * 100)));
                prop_assert_eq!(retry.len() as usize, expected.len());
            }
        }
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
