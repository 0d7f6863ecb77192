//! Lists of slots by rank, the lowest first. What has a rank of its own costs one small list, however many share it.

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

    /// The first slot of the lowest rank, without taking it out.
    pub fn front(&self) -> Option<u32> {
        match self {
            Ranks::None => None,
            Ranks::One(_, list) => list.front(),
            Ranks::Many(many) => many.lists.first_key_value().and_then(|(_, list)| list.front()),
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

    /// Takes [`Ranks::front`] out, and says what its rank was.
    pub fn pop_front(&mut self, slots: &mut Slots) -> Option<(u64, u32)> {
        let (rank, key, over) = match self {
            Ranks::None => return None,
            Ranks::One(rank, list) => (*rank, list.pop_front(slots)?, list.is_empty()),
            Ranks::Many(many) => {
                let (rank, list) = many.lists.iter_mut().next()?;
                let key = list.pop_front(slots)?;
                many.len -= 1;
                (*rank, key, list.is_empty())
            }
        };
        if over {
            self.pop_list();
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

    /// Looks at the first `most` slots of each rank and takes out, in order, those for which `out` says so.
    pub fn split(&mut self, slots: &mut Slots, most: u32, mut out: impl FnMut(&Slot) -> bool) -> List {
        let mut taken = List::default();
        let mut kept = Ranks::default();
        while let Some((rank, mut list)) = self.pop_list() {
            let out = list.split(slots, most, &mut out);
            taken.append(slots, out);
            kept.append(slots, rank, list);
        }
        *self = kept;
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
                    Ranks::Many(Box::new(Many { len: list.len(), lists: BTreeMap::from([(only, list)]) }))
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
                        let expected: Vec<u32> = (0..5).flat_map(of_rank).filter(odd).map(|e| e.1).collect();
                        prop_assert_eq!(taken.iter(&slots).collect::<Vec<_>>(), expected.clone());
                        model.retain(|(_, key)| !expected.contains(key));
                    }
                }
                prop_assert_eq!(ranks.iter(&slots).collect::<Vec<_>>(), model.iter().map(|e| e.1).collect::<Vec<_>>());
                prop_assert_eq!((ranks.first(), ranks.front()), (model.first().map(|e| e.0), model.first().map(|e| e.1)));
                prop_assert_eq!(ranks.len() as usize, model.len());
            }
        }
    }
}
