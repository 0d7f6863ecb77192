//! A row to stand in: those of the highest priority first, of equal ones those that have the least, and then those that
//! came first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// `queue-priority`: 0 to 100, the highest first.
pub type QueuePriority = u8;

/// Where somebody stands in a row; the highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    pub priority: QueuePriority,
    least: Reverse<u8>,
}

impl Rank {
    /// Of one who has so many connections already.
    pub fn new(priority: QueuePriority, has: u32) -> Rank {
        Rank { priority, least: Reverse(has.min(255) as u8) }
    }
}

/// Whoever comes twice stands there twice.
#[derive(Debug)]
pub struct Row<T>(BTreeMap<Reverse<Rank>, VecDeque<T>>);

impl<T> Default for Row<T> {
    fn default() -> Row<T> {
        Row(BTreeMap::new())
    }
}

impl<T: Copy + PartialEq> Row<T> {
    pub fn push(&mut self, rank: Rank, who: T) {
        self.0.entry(Reverse(rank)).or_default().push_back(who);
    }

    /// The next one and its rank.
    pub fn front(&self) -> Option<(Rank, T)> {
        let (rank, row) = self.0.first_key_value()?;
        row.front().map(|who| (rank.0, *who))
    }

    pub fn pop(&mut self) -> Option<T> {
        let mut first = self.0.first_entry()?;
        let who = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        who
    }

    /// Takes `who` out, wherever it stands.
    pub fn remove(&mut self, who: T) {
        self.0.retain(|_, row| {
            row.retain(|one| *one != who);
            !row.is_empty()
        });
    }

    /// `who` has less than when it came: it stands where it belongs now. Those that came with nothing are not looked
    /// through, since they may be very many.
    pub fn rise(&mut self, who: T, rank: Rank) {
        let mut rows = self.0.iter_mut().filter(|(rank, _)| rank.0.least != Reverse(0));
        let Some((old, at)) =
            rows.find_map(|(rank, row)| Some((*rank, row.iter().position(|one| *one == who)?)))
        else {
            return;
        };
        if let Some(row) = self.0.get_mut(&old) {
            row.remove(at);
            if row.is_empty() {
                self.0.remove(&old);
            }
        }
        self.push(rank, who);
    }

    /// Where it stands.
    pub fn rank_of(&self, who: T) -> Option<Rank> {
        self.0.iter().find(|(_, row)| row.contains(&who)).map(|(rank, _)| rank.0)
    }

    pub fn len(&self) -> usize {
        self.0.values().map(VecDeque::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in their order.
    pub fn into_all(self) -> impl Iterator<Item = T> {
        self.0.into_values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_first_and_of_equals_the_one_that_has_least_and_came_first() {
        let mut row = Row::default();
        for (priority, has, who) in
            [(50, 0, 'a'), (90, 1, 'b'), (50, 0, 'c'), (0, 0, 'd'), (90, 2, 'e'), (50, 3, 'f')]
        {
            row.push(Rank::new(priority, has), who);
        }
        let (of_b, of_c) = (Rank::new(90, 1), Rank::new(50, 0));
        assert_eq!((row.len(), row.front(), row.rank_of('c')), (6, Some((of_b, 'b')), Some(of_c)));
        row.remove('e');
        row.rise('f', Rank::new(50, 0));
        assert_eq!(row.pop(), Some('b'));
        assert_eq!(row.into_all().collect::<String>(), "acfd");
    }
}
