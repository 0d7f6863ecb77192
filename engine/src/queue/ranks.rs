//! Lists of slots by rank, the lowest first; ranks that are alike may take turns. What has a rank of its own costs one small list, however many share it.

use super::list::List;
use super::slot::{Slot, Slots};
use std::collections::BTreeMap;

/// Small while there is one rank or none: so it is in most of a million queues with a recipient or two each.
#[derive(Debug, Default)]
pub(super) enum Ranks {
    #[default]
    None,
    One(u64, List),
    Many(Box<Many>),
}

const _: () = assert!(size_of::<Ranks>() == 24);

/// No list is empty.
#[derive(Debug, Default)]
pub(super) struct Many {
    lists: BTreeMap<u64, List>,
    len: u32,
    /// By what the ranks that take turns have in common: the one from which on the next turn is.
    turns: BTreeMap<u64, u64>,
}

impl Many {
    /// The rank whose turn it is: of those that differ from the lowest one in their last `within` bits only.
    fn in_turn(&self, within: u32) -> Option<u64> {
        let (&lowest, _) = self.lists.first_key_value()?;
        let from = self.turns.get(&(lowest >> within)).copied().unwrap_or_default();
        let next = self.lists.range(from..).next().map(|(&rank, _)| rank);
        Some(next.filter(|next| next >> within == lowest >> within).unwrap_or(lowest))
    }

    fn pop(&mut self, slots: &mut Slots, rank: u64) -> Option<u32> {
        let list = self.lists.get_mut(&rank)?;
        let key = list.pop_front(slots)?;
        if list.is_empty() {
            self.lists.remove(&rank);
        }
        self.len -= 1;
        Some(key)
    }
}

impl Ranks {
    pub fn len(&self) -> u32 {
        match self {
            Ranks::None => 0,
            Ranks::One(_, list) => list.len(),
            Ranks::Many(many) => many.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lowest rank there is.
    pub fn first(&self) -> Option<u64> {
        match self {
            Ranks::None => None,
            Ranks::One(rank, _) => Some(*rank),
            Ranks::Many(many) => many.lists.first_key_value().map(|(&rank, _)| rank),
        }
    }

    /// The first slot of the rank whose turn it is: of the lowest one and those that differ from it in their last `within`
    /// bits only.
    pub fn front_in_turn(&self, within: u32) -> Option<u32> {
        match self {
            Ranks::None => None,
            Ranks::One(_, list) => list.front(),
            Ranks::Many(many) => many.lists[&many.in_turn(within)?].front(),
        }
    }

    /// Takes [`Ranks::front_in_turn`] out, and says what its rank was.
    pub fn pop_in_turn(&mut self, slots: &mut Slots, within: u32) -> Option<(u64, u32)> {
        let Ranks::Many(many) = self else { return self.pop_front(slots) };
        let rank = many.in_turn(within)?;
        let key = many.pop(slots, rank)?;
        if many.lists.is_empty() {
            *self = Ranks::None;
        }
        Some((rank, key))
    }

    /// The next turn of those that differ from `rank` in their last `within` bits only is that of the first one from `rank`
    /// on. Where one rank is alone there is nothing to note.
    pub fn set_turn(&mut self, within: u32, rank: u64) {
        if let Ranks::Many(many) = self {
            many.turns.insert(rank >> within, rank);
        }
    }

    pub fn push_back(&mut self, slots: &mut Slots, rank: u64, key: u32) {
        self.list(rank, 1).push_back(slots, key);
    }

    pub fn push_front(&mut self, slots: &mut Slots, rank: u64, key: u32) {
        self.list(rank, 1).push_front(slots, key);
    }

    pub fn append(&mut self, slots: &mut Slots, rank: u64, list: List) {
        if !list.is_empty() {
            self.list(rank, list.len()).append(slots, list);
        }
    }

    /// Takes out the first slot of the lowest rank, and says what that was.
    pub fn pop_front(&mut self, slots: &mut Slots) -> Option<(u64, u32)> {
        let (rank, key, over) = match self {
            Ranks::None => return None,
            Ranks::One(rank, list) => (*rank, list.pop_front(slots)?, list.is_empty()),
            Ranks::Many(many) => {
                let (&rank, _) = many.lists.first_key_value()?;
                (rank, many.pop(slots, rank)?, many.lists.is_empty())
            }
        };
        if over {
            *self = Ranks::None;
        }
        Some((rank, key))
    }

    /// Takes all of the lowest rank out.
    pub fn pop_list(&mut self) -> Option<(u64, List)> {
        match std::mem::take(self) {
            Ranks::None => None,
            Ranks::One(rank, list) => Some((rank, list)),
            Ranks::Many(mut many) => {
                let first = many.lists.pop_first();
                many.len -= first.as_ref().map_or(0, |(_, list)| list.len());
                if !many.lists.is_empty() {
                    *self = Ranks::Many(many);
                }
                first
            }
        }
    }

    /// Looks at the first `most` slots of each rank and takes out, in order, those for which `out` says so, until it has
    /// `most` or a few more.
    pub fn split(&mut self, slots: &mut Slots, most: u32, mut out: impl FnMut(&Slot) -> bool) -> List {
        let mut taken = List::default();
        let over = match self {
            Ranks::None => false,
            Ranks::One(_, list) => {
                taken = list.split(slots, most, out);
                list.is_empty()
            }
            Ranks::Many(many) => {
                for list in many.lists.values_mut() {
                    if taken.len() >= most {
                        break;
                    }
                    let out = list.split(slots, most, &mut out);
                    taken.append(slots, out);
                }
                many.lists.retain(|_, list| !list.is_empty());
                many.len -= taken.len();
                many.lists.is_empty()
            }
        };
        if over {
            *self = Ranks::None;
        }
        taken
    }

    /// The keys in their order.
    pub fn iter<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = u32> + 'a {
        let (one, many) = match self {
            Ranks::None => (None, None),
            Ranks::One(_, list) => (Some(list), None),
            Ranks::Many(many) => (None, Some(many.lists.values())),
        };
        one.into_iter().chain(many.into_iter().flatten()).flat_map(|list| list.iter(slots))
    }

    /// The list of a rank, to which `more` are about to come.
    fn list(&mut self, rank: u64, more: u32) -> &mut List {
        if !matches!(self, Ranks::One(only, _) if *only == rank) {
            *self = match std::mem::take(self) {
                Ranks::None => Ranks::One(rank, List::default()),
                Ranks::One(only, list) => {
                    let (len, lists) = (list.len(), BTreeMap::from([(only, list)]));
                    Ranks::Many(Box::new(Many { len, lists, turns: BTreeMap::new() }))
                }
                many @ Ranks::Many(_) => many,
            };
        }
        match self {
            Ranks::Many(many) => {
                many.len += more;
                many.lists.entry(rank).or_default()
            }
            Ranks::One(_, list) => list,
            Ranks::None => unreachable!("it has just been made something else"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::record::RowRef;
    use proptest::prelude::*;

    fn slot(slots: &mut Slots, submission: u32) -> u32 {
        slots.insert(Slot::new(RowRef::default(), submission))
    }

    proptest! {
        /// Whatever comes and goes, the lowest rank is first, and those of one rank stay in their order.
        #[test]
        fn any_order_in_the_lowest_out(steps in prop::collection::vec((0u64..5, 0u8..6), 1..80)) {
            let (mut slots, mut ranks) = (Slots::new(), Ranks::default());
            let mut model: Vec<(u64, u32)> = Vec::new();
            for (rank, step) in steps {
                match step {
                    0..=2 => {
                        let key = slot(&mut slots, rank as u32 % 2);
                        ranks.push_back(&mut slots, rank, key);
                        let at = model.partition_point(|(other, _)| *other <= rank);
                        model.insert(at, (rank, key));
                    }
                    3 => {
                        let key = slot(&mut slots, 0);
                        ranks.push_front(&mut slots, rank, key);
                        let at = model.partition_point(|(other, _)| *other < rank);
                        model.insert(at, (rank, key));
                    }
                    4 => {
                        let first = (!model.is_empty()).then(|| model.remove(0));
                        prop_assert_eq!(ranks.pop_front(&mut slots), first);
                    }
                    _ => {
                        let taken = ranks.split(&mut slots, 3, |slot| slot.submission == 1);
                        let of_rank = |rank| model.iter().filter(move |entry| entry.0 == rank).take(3);
                        let odd = |(_, key): &&(u64, u32)| slots[*key].submission == 1;
                        let mut expected: Vec<u32> = Vec::new();
                        for rank in 0..5 {
                            let more = of_rank(rank).filter(odd).map(|e| e.1).filter(|_| expected.len() < 3);
                            let more: Vec<u32> = more.collect();
                            expected.extend(more);
                        }
                        prop_assert_eq!(taken.iter(&slots).collect::<Vec<_>>(), expected.clone());
                        model.retain(|(_, key)| !expected.contains(key));
                    }
                }
                prop_assert_eq!(ranks.iter(&slots).collect::<Vec<_>>(), model.iter().map(|e| e.1).collect::<Vec<_>>());
                prop_assert_eq!((ranks.first(), ranks.front_in_turn(0)), (model.first().map(|e| e.0), model.first().map(|e| e.1)));
                prop_assert_eq!(ranks.len() as usize, model.len());
            }
        }
    }

    #[test]
    fn ranks_that_are_alike_take_turns() {
        let (mut slots, mut ranks) = (Slots::new(), Ranks::default());
        // Two bits tell apart those that are alike.
        for (rank, count) in [(4, 3), (5, 3), (7, 1), (8, 2), (9, 2)] {
            for _ in 0..count {
                let key = slot(&mut slots, 0);
                ranks.push_back(&mut slots, rank, key);
            }
        }
        let mut order = Vec::new();
        let mut turn = |ranks: &mut Ranks, slots: &mut Slots| {
            let front = ranks.front_in_turn(2);
            let (rank, key) = ranks.pop_in_turn(slots, 2)?;
            assert_eq!(front, Some(key));
            ranks.set_turn(2, rank + 1);
            order.push(rank);
            Some(())
        };
        for _ in 0..4 {
            turn(&mut ranks, &mut slots);
        }
        // A more urgent one comes between, and the others go on where they were.
        let urgent = slot(&mut slots, 0);
        ranks.push_back(&mut slots, 1, urgent);
        while turn(&mut ranks, &mut slots).is_some() {}
        assert_eq!(order, [4, 5, 7, 4, 1, 5, 4, 5, 8, 9, 8, 9]);
        assert!(ranks.is_empty());
    }
}
