//! Recipients that may go as far as they are concerned, by priority (reference 9.2).

use super::list::List;
use super::ranks::Ranks;
use super::slot::{Slot, Slots};
use crate::mail::priority::Priority;

/// Those of the same priority in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Ready(Ranks);

impl Ready {
    pub fn len(&self) -> u32 {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn front(&self) -> Option<u32> {
        self.0.front()
    }

    pub fn push_back(&mut self, slots: &mut Slots, key: u32, priority: Priority) {
        self.0.push_back(slots, priority.rank(), key);
    }

    /// For a recipient that is handed back untried: it keeps its turn.
    pub fn push_front(&mut self, slots: &mut Slots, key: u32, priority: Priority) {
        self.0.push_front(slots, priority.rank(), key);
    }

    pub fn append(&mut self, slots: &mut Slots, priority: Priority, list: List) {
        self.0.append(slots, priority.rank(), list);
    }

    /// Takes [`Ready::front`] out.
    pub fn pop_front(&mut self, slots: &mut Slots) -> Option<(Priority, u32)> {
        self.0.pop_front(slots).map(|(rank, key)| (Priority::of_rank(rank), key))
    }

    /// Looks at the first `most` of each priority and takes out those for which `out` says so.
    pub fn split(&mut self, slots: &mut Slots, most: u32, out: impl FnMut(&Slot) -> bool) -> List {
        self.0.split(slots, most, out)
    }

    pub fn iter<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = u32> + 'a {
        self.0.iter(slots)
    }
}
