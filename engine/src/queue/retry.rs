//! Recipients that wait for their time: put off after a 4xx of their own (`retry-recipients-after`), or not to start
//! before a date.

use super::class::Class;
use super::list::List;
use super::ranks::Ranks;
use super::ready::Ready;
use super::slot::{Slot, Slots};
use crate::base::Time;

/// Recipients by due time, those of one time by class. Costs nothing while empty, and one small list per tenth of a
/// second in which somebody is due, however many they are and in whatever order they come (after a restart: any).
#[derive(Debug, Default)]
pub(super) struct Retry(Ranks);

fn rank(due_tenths: u32, class: Class) -> u64 {
    u64::from(due_tenths) << 32 | class.rank()
}

fn due(rank: u64) -> Time {
    Slot::time_of((rank >> 32) as u32)
}

impl Retry {
    pub fn len(&self) -> u32 {
        self.0.len()
    }

    /// When the first one is due.
    pub fn next(&self) -> Option<Time> {
        self.0.first().map(due)
    }

    pub fn push(&mut self, slots: &mut Slots, key: u32, class: Class) {
        self.0.push_back(slots, rank(slots[key].due_tenths(), class), key);
    }

    /// Moves those that are due to the others of their class, the earliest first.
    pub fn wake(&mut self, slots: &mut Slots, now: Time, ready: &mut Ready) {
        while self.next().is_some_and(|due| due <= now)
            && let Some((class, list)) = self.pop_list()
        {
            ready.append(slots, class, list);
        }
    }

    /// Takes out the first class of those who are due the earliest.
    pub fn pop_list(&mut self) -> Option<(Class, List)> {
        self.0.pop_list().map(|(rank, list)| (Class::of_rank(rank), list))
    }

    /// Takes out who is due the earliest.
    pub fn pop_front(&mut self, slots: &mut Slots) -> Option<u32> {
        self.0.pop_front(slots).map(|(_, key)| key)
    }

    /// Takes out those for which `out` says so.
    pub fn split(&mut self, slots: &mut Slots, out: impl FnMut(&Slot) -> bool) -> List {
        self.0.split(slots, u32::MAX, out)
    }

    /// The keys, the earliest due first.
    pub fn iter<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = u32> + 'a {
        self.0.iter(slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::priority::Priority;
    use crate::spool::record::RowRef;

    fn waiting(slots: &mut Slots, retry: &mut Retry, due_ms: u64, priority: u8) -> u32 {
        let mut slot = Slot::new(RowRef::default(), 0);
        slot.set_due(Time::from_millis(due_ms));
        let key = slots.insert(slot);
        retry.push(slots, key, Class::new(Priority::new(priority), 0));
        key
    }

    #[test]
    fn they_wake_when_due_and_the_earliest_first() {
        let (mut slots, mut retry, mut ready) = (Slots::new(), Retry::default(), Ready::default());
        let late = waiting(&mut slots, &mut retry, 700_000, 50);
        let early = waiting(&mut slots, &mut retry, 60_050, 50);
        let second = waiting(&mut slots, &mut retry, 60_050, 50);
        assert_eq!(retry.next(), Some(Time::from_millis(60_100)));
        retry.wake(&mut slots, Time::from_millis(60_099), &mut ready);
        assert_eq!(ready.len(), 0);
        retry.wake(&mut slots, Time::from_millis(60_100), &mut ready);
        assert_eq!(ready.iter(&slots).collect::<Vec<_>>(), [early, second]);
        assert_eq!((retry.len(), retry.next()), (1, Some(Time::from_millis(700_000))));
        assert_eq!(retry.pop_front(&mut slots), Some(late));
        assert_eq!(retry.len(), 0);
    }

    #[test]
    fn who_wakes_keeps_his_priority() {
        let (mut slots, mut retry, mut ready) = (Slots::new(), Retry::default(), Ready::default());
        let low = waiting(&mut slots, &mut retry, 1000, 0);
        let usual = waiting(&mut slots, &mut retry, 1000, 50);
        let high = waiting(&mut slots, &mut retry, 2000, 100);
        assert_eq!(retry.iter(&slots).collect::<Vec<_>>(), [usual, low, high]);
        retry.wake(&mut slots, Time::from_millis(2000), &mut ready);
        assert_eq!(ready.iter(&slots).collect::<Vec<_>>(), [high, usual, low]);
    }

    #[test]
    fn a_job_can_be_taken_out() {
        let (mut slots, mut retry) = (Slots::new(), Retry::default());
        let keys: Vec<u32> = (0..6).map(|i| waiting(&mut slots, &mut retry, 1000 * (i % 2), 50)).collect();
        slots[keys[3]].submission = 9;
        slots[keys[5]].submission = 9;
        let taken = retry.split(&mut slots, |slot| slot.submission == 9);
        assert_eq!(taken.iter(&slots).collect::<Vec<_>>(), [keys[3], keys[5]]);
        assert_eq!(retry.iter(&slots).collect::<Vec<_>>(), [keys[0], keys[2], keys[4], keys[1]]);
        assert_eq!(retry.len(), 4);
    }
}
