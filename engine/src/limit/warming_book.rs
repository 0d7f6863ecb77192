//! All warm-ups of an engine: who of the cold virtual MTAs takes a recipient.

use super::warming::{Day, Outcomes, Terms, Warming};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A cold virtual MTA and the domain of its queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    pub vmta: Arc<str>,
    pub domain: Arc<str>,
}

impl hashbrown::Equivalent<Pair> for (&str, &str) {
    fn equivalent(&self, pair: &Pair) -> bool {
        (self.0, self.1) == (&*pair.vmta, &*pair.domain)
    }
}

/// A cold virtual MTA that may take a recipient, and what the configuration says of it.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    pub pair: Pair,
    pub terms: Terms<'a>,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Book {
    pairs: HashMap<Pair, Warming>,
    /// What was given until the end of this day is not known: nothing is given before the next.
    pub closed: Option<Day>,
    /// Those that have been given more since the last [`Book::reserve`], and their limits.
    given: BTreeMap<Pair, u64>,
}

impl Book {
    /// From what was written down.
    pub fn resume(entries: impl IntoIterator<Item = (Pair, Warming)>, closed: Option<Day>) -> Book {
        let pairs = entries.into_iter().map(|(pair, warming)| (pair, warming.resumed()));
        Book { pairs: pairs.collect(), closed, given: BTreeMap::new() }
    }

    /// Gives a recipient to the candidate that has had the fewest today, if one has room; its number. What is given counts
    /// only when what [`Book::reserve`] says has been written.
    pub fn take(&mut self, candidates: &[Candidate<'_>], today: Day) -> Option<usize> {
        if self.closed.is_some_and(|closed| today <= closed) {
            return None;
        }
        let mut least: Option<(u64, usize)> = None;
        for (number, Candidate { pair, terms }) in candidates.iter().enumerate() {
            let given = match self.pairs.get_mut(pair) {
                Some(warming) => {
                    warming.turn(today, terms);
                    warming.has_room(terms).then_some(warming.given)
                }
                None => Warming::begin(today).has_room(terms).then_some(0),
            };
            least = least.into_iter().chain(given.map(|given| (given, number))).min();
        }
        let (_, number) = least?;
        let Candidate { pair, terms } = &candidates[number];
        let warming = self.pairs.entry_ref(pair).or_insert_with(|| Warming::begin(today));
        warming.given += 1;
        self.given.entry(pair.clone()).or_insert_with(|| warming.limit(terms));
        Some(number)
    }

    /// What has to be written before what was taken is used.
    pub fn reserve(&mut self) -> Vec<(Pair, Warming)> {
        let mut changed = Vec::new();
        for (pair, limit) in std::mem::take(&mut self.given) {
            if let Some(warming) = self.pairs.get_mut(&pair)
                && warming.reserve(limit)
            {
                changed.push((pair, *warming));
            }
        }
        changed
    }

    /// Counts what became of attempts `today`; whether that was of interest.
    pub fn note(&mut self, vmta: &str, domain: &str, today: Day, outcomes: Outcomes) -> bool {
        let warming = self.pairs.get_mut(&(vmta, domain));
        warming.map(|warming| warming.note(today, outcomes)).is_some()
    }

    pub fn get(&self, pair: &Pair) -> Option<&Warming> {
        self.pairs.get(pair)
    }

    pub fn put(&mut self, pair: Pair, warming: Warming) {
        self.pairs.insert(pair, warming);
    }

    /// Nothing more is given: what was reserved beyond it is free again.
    pub fn settle(&mut self) {
        self.pairs.values_mut().for_each(|warming| *warming = warming.settled());
    }

    /// The whole, in order.
    pub fn entries(&self) -> Vec<(Pair, Warming)> {
        let mut entries: Vec<_> = self.pairs.iter().map(|(pair, warming)| (pair.clone(), *warming)).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries
    }

    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

#[cfg(test)]
#[path = "warming_book_test.rs"]
mod test;
