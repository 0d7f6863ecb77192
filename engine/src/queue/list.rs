//! First-in first-out lists of slots, linked through the slots themselves: 12 bytes a list, nothing per recipient.

use super::slot::{Slot, Slots};
use crate::base::NONE;

/// A list of slots. The slots are the owner's; a slot stands in one list at a time.
#[derive(Debug)]
pub struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl Default for List {
    fn default() -> Self {
        List { head: NONE, tail: NONE, len: 0 }
    }
}

impl List {
    pub fn len(&self) -> u32 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first slot, without taking it out.
    pub fn front(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub fn push_back(&mut self, slots: &mut Slots, key: u32) {
        slots[key].next = NONE;
        match self.tail {
            NONE => self.head = key,
            tail => slots[tail].next = key,
        }
        self.tail = key;
        self.len += 1;
    }

    /// For a recipient that is handed back untried: it keeps its turn.
    pub fn push_front(&mut self, slots: &mut Slots, key: u32) {
        slots[key].next = self.head;
        self.head = key;
        if self.tail == NONE {
            self.tail = key;
        }
        self.len += 1;
    }

    pub fn pop_front(&mut self, slots: &mut Slots) -> Option<u32> {
        let key = self.front()?;
        self.head = std::mem::replace(&mut slots[key].next, NONE);
        if self.head == NONE {
            self.tail = NONE;
        }
        self.len -= 1;
        Some(key)
    }

    /// Puts all of `other` behind this list's last slot.
    pub fn append(&mut self, slots: &mut Slots, other: List) {
        match (self.tail, other.head) {
            (_, NONE) => {}
            (NONE, _) => *self = other,
            (tail, head) => {
                slots[tail].next = head;
                self.tail = other.tail;
                self.len += other.len;
            }
        }
    }

    /// The keys from first to last.
    pub fn iter<'a>(&self, slots: &'a Slots) -> impl Iterator<Item = u32> + use<'a> {
        std::iter::successors(self.front(), |&key| Some(slots[key].next).filter(|&next| next != NONE))
    }

    /// Looks at the first `most` slots and takes out, in order, those for which `out` says so.
    pub fn split(&mut self, slots: &mut Slots, most: u32, mut out: impl FnMut(&Slot) -> bool) -> List {
        let (mut taken, mut kept) = (List::default(), List::default());
        for _ in 0..most.min(self.len) {
            let Some(key) = self.pop_front(slots) else { break };
            let list = if out(&slots[key]) { &mut taken } else { &mut kept };
            list.push_back(slots, key);
        }
        kept.append(slots, std::mem::take(self));
        *self = kept;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::record::RowRef;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Back,
        Front,
        Pop,
        Append(usize),
        SplitOdd,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Back),
            Just(Step::Front),
            Just(Step::Pop),
            (0usize..4).prop_map(Step::Append),
            Just(Step::SplitOdd),
        ]
    }

    #[test]
    fn split_looks_no_further_than_told() {
        let mut slots = Slots::new();
        let mut list = List::default();
        for _ in 0..10 {
            let key = slots.insert(Slot::new(RowRef::default(), 0));
            list.push_back(&mut slots, key);
        }
        let taken = list.split(&mut slots, 4, |_| true);
        assert_eq!((taken.len(), list.len(), list.front()), (4, 6, Some(4)));
    }

    proptest! {
        /// Against a deque.
        #[test]
        fn behaves_like_a_deque(steps in prop::collection::vec(step(), 1..100)) {
            let mut slots = Slots::new();
            let mut list = List::default();
            let mut model: VecDeque<u32> = VecDeque::new();
            for step in steps {
                match step {
                    Step::Back => {
                        let key = slots.insert(Slot::new(RowRef::default(), 0));
                        list.push_back(&mut slots, key);
                        model.push_back(key);
                    }
                    Step::Front => {
                        let key = slots.insert(Slot::new(RowRef::default(), 0));
                        list.push_front(&mut slots, key);
                        model.push_front(key);
                    }
                    Step::Pop => {
                        let key = list.pop_front(&mut slots);
                        prop_assert_eq!(key, model.pop_front());
                        key.map(|key| slots.remove(key));
                    }
                    Step::Append(n) => {
                        let mut other = List::default();
                        for _ in 0..n {
                            let key = slots.insert(Slot::new(RowRef::default(), 0));
                            other.push_back(&mut slots, key);
                            model.push_back(key);
                        }
                        list.append(&mut slots, other);
                    }
                    Step::SplitOdd => {
                        for key in list.iter(&slots).collect::<Vec<_>>() {
                            slots[key].submission = key % 2;
                        }
                        let odd = list.split(&mut slots, u32::MAX, |slot| slot.submission == 1);
                        prop_assert!(odd.iter(&slots).eq(model.iter().copied().filter(|key| key % 2 == 1)));
                        model.retain(|key| key % 2 == 0);
                        for key in odd.iter(&slots).collect::<Vec<_>>() {
                            slots.remove(key);
                        }
                    }
                }
                prop_assert_eq!(list.len() as usize, model.len());
                prop_assert_eq!(list.front(), model.front().copied());
                prop_assert!(list.iter(&slots).eq(model.iter().copied()));
            }
        }
    }
}
