//! Recipients that may go as far as they are concerned, by priority (reference 9.2), and job by job within one.

use super::class::Class;
use super::list::List;
use super::ranks::Ranks;
use super::slot::{Slot, Slots};

/// Jobs of the same priority take turns, one batch each; those of a job go in the order in which they came.
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
        self.0.front_in_turn(Class::WITHIN_PRIORITY)
    }

    pub fn push_back(&mut self, slots: &mut Slots, key: u32, class: Class) {
        self.0.push_back(slots, class.rank(), key);
    }

    /// The first of its class, whose turn comes when it comes.
    pub fn push_front(&mut self, slots: &mut Slots, key: u32, class: Class) {
        self.0.push_front(slots, class.rank(), key);
    }

    pub fn append(&mut self, slots: &mut Slots, class: Class, list: List) {
        self.0.append(slots, class.rank(), list);
    }

    /// Takes [`Ready::front`] out.
    pub fn pop_front(&mut self, slots: &mut Slots) -> Option<(Class, u32)> {
        self.0.pop_in_turn(slots, Class::WITHIN_PRIORITY).map(|(rank, key)| (Class::of_rank(rank), key))
    }

    /// The class is the next in turn of its priority.
    pub fn set_turn(&mut self, class: Class) {
        self.0.set_turn(Class::WITHIN_PRIORITY, class.rank());
    }

    /// The class has had its turn.
    pub fn had_turn(&mut self, class: Class) {
        self.0.set_turn(Class::WITHIN_PRIORITY, class.rank() + 1);
    }

    /// Looks at the first `most` of each class and takes out those for which `out` says so.
    pub fn split(&mut self, slots: &mut Slots, most: u32, out: impl FnMut(&Slot) -> bool) -> List {
        self.0.split(slots, most, out)
    }

    pub fn iter<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = u32> + 'a {
        self.0.iter(slots)
    }
}
