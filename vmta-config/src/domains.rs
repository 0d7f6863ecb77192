//! Which `<domain>` entries apply to a name, found by hash look-ups on its suffixes (reference 1.4 rule 1).

use std::collections::HashMap;
use std::hash::Hash;

use ipnet::IpNet;

use crate::value::{DomainPattern, literal, matches_net};

/// Entries of one level (global, one pool, one virtual MTA). `T` is what an entry holds.
#[derive(Clone, Debug)]
pub(crate) struct DomainIndex<T> {
    any: Vec<Entry<T>>,
    by_name: HashMap<Box<str>, u32>,
    nodes: Vec<Node<T>>,
    /// From the widest to the narrowest.
    literals: Vec<(IpNet, Vec<Entry<T>>)>,
    /// Class by state, made by `classify`.
    classes: HashMap<State, Class>,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    /// A literal name beats the same name produced by a macro.
    from_macro: bool,
    held: T,
}

#[derive(Clone, Debug)]
struct Node<T> {
    at_or_below: Vec<Entry<T>>,
    below: Vec<Entry<T>>,
    exact: Vec<Entry<T>>,
}

impl<T> Default for DomainIndex<T> {
    fn default() -> DomainIndex<T> {
        DomainIndex {
            any: Vec::new(),
            by_name: HashMap::new(),
            nodes: Vec::new(),
            literals: Vec::new(),
            classes: HashMap::new(),
        }
    }
}

/// Where a name falls in the index.
type State = u32;
/// Names of one class have the same entries, so that settings can be kept by class: a macro of a thousand domains is
/// one class.
pub(crate) type Class = u32;

const LITERAL: State = 1 << 31;

impl<T> DomainIndex<T> {
    /// Adds an entry after those already there. `Local` has been replaced by the names of the host.
    pub fn add(&mut self, pattern: &DomainPattern, from_macro: bool, held: T) {
        let list = match pattern {
            DomainPattern::Any => &mut self.any,
            DomainPattern::Exact(name) | DomainPattern::Reserved(name) => &mut self.node(name).exact,
            DomainPattern::Below(name) => &mut self.node(name).below,
            DomainPattern::AtOrBelow(name) => &mut self.node(name).at_or_below,
            DomainPattern::Literal(net) => self.literal(*net),
            DomainPattern::Local => return,
        };
        // Macro-produced entries come first, so that a literal one overrides them.
        let at = if from_macro { list.partition_point(|e| e.from_macro) } else { list.len() };
        list.insert(at, Entry { from_macro, held });
    }

    fn node(&mut self, name: &str) -> &mut Node<T> {
        let next = self.nodes.len() as u32;
        let index = *self.by_name.entry(name.into()).or_insert(next);
        if index == next {
            self.nodes.push(Node { at_or_below: Vec::new(), below: Vec::new(), exact: Vec::new() });
        }
        &mut self.nodes[index as usize]
    }

    fn literal(&mut self, net: IpNet) -> &mut Vec<Entry<T>> {
        let at = match self.literals.iter().position(|(n, _)| *n == net) {
            Some(at) => at,
            None => {
                let at = self.literals.partition_point(|(n, _)| n.prefix_len() <= net.prefix_len());
                self.literals.insert(at, (net, Vec::new()));
                at
            }
        };
        &mut self.literals[at].1
    }

    /// Whether any entry applies to a name.
    pub fn covers(&self, domain: &str) -> bool {
        if domain.starts_with('[') {
            return !self.chain(domain).is_empty();
        }
        let applies = |(start, suffix): (usize, &str)| match self.by_name.get(suffix) {
            Some(node) => {
                let node = &self.nodes[*node as usize];
                let narrow = if start == 0 { &node.exact } else { &node.below };
                !narrow.is_empty() || !node.at_or_below.is_empty()
            }
            None => false,
        };
        !self.any.is_empty() || suffixes(domain).any(applies)
    }

    /// One hash look-up a label, from the whole name upwards.
    fn state(&self, domain: &str) -> State {
        if domain.starts_with('[') {
            return self.narrowest(domain).map_or(0, |i| LITERAL | i as u32);
        }
        for (start, suffix) in suffixes(domain) {
            if let Some(node) = self.by_name.get(suffix) {
                return 1 + node * 2 + u32::from(start == 0);
            }
        }
        0
    }

    /// The narrowest network that an address literal lies in.
    fn narrowest(&self, domain: &str) -> Option<usize> {
        let ip = literal(domain)?;
        self.literals.iter().rposition(|(net, _)| matches_net(net, ip))
    }

    /// The entries of a network and of those around it, from the widest.
    fn around(&self, narrowest: usize) -> impl Iterator<Item = &Vec<Entry<T>>> {
        let inner = self.literals[narrowest].0;
        let holds = move |net: &IpNet| net.prefix_len() == 0 || net.contains(&inner);
        self.literals[..=narrowest].iter().filter(move |(net, _)| holds(net)).map(|(_, list)| list)
    }

    /// What applies to a name, from the most general to the most specific.
    pub fn chain(&self, domain: &str) -> Vec<&T> {
        let mut lists = vec![&self.any];
        if domain.starts_with('[') {
            lists.extend(self.narrowest(domain).into_iter().flat_map(|i| self.around(i)));
        } else {
            let mut upwards = Vec::new();
            for (start, suffix) in suffixes(domain) {
                if let Some(node) = self.by_name.get(suffix) {
                    let node = &self.nodes[*node as usize];
                    let narrow = if start == 0 { &node.exact } else { &node.below };
                    upwards.extend([narrow, &node.at_or_below]);
                }
            }
            lists.extend(upwards.into_iter().rev());
        }
        lists.into_iter().flatten().map(|e| &e.held).collect()
    }
}

/// A set of names that the entries of a level tell apart from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Names {
    /// Every name that nothing more specific is about.
    Others,
    Exactly(String),
    /// Its subdomains that nothing more specific is about.
    Below(String),
    /// Address literals.
    Literals(IpNet),
}

impl Names {
    /// A name of this set.
    fn sample(&self) -> String {
        match self {
            Names::Others => String::new(),
            Names::Exactly(name) => name.clone(),
            // A label that no pattern can hold stands for every subdomain.
            Names::Below(name) => format!("\0.{name}"),
            Names::Literals(net) => format!("[{}]", net.addr()),
        }
    }
}

impl<T> DomainIndex<T> {
    /// Every set of names that entries are about.
    pub fn names(&self) -> impl Iterator<Item = Names> + '_ {
        let nodes = self.by_name.keys().flat_map(|name| {
            let below = (!name.starts_with('{')).then(|| Names::Below(name.to_string()));
            std::iter::once(Names::Exactly(name.to_string())).chain(below)
        });
        let literals = self.literals.iter().map(|(net, _)| Names::Literals(*net));
        std::iter::once(Names::Others).chain(nodes).chain(literals)
    }

    /// The next larger set that entries are about.
    pub fn wider(&self, names: &Names) -> Option<Names> {
        let (Names::Exactly(name) | Names::Below(name)) = names else {
            return matches!(names, Names::Literals(_)).then_some(Names::Others);
        };
        let known = |(_, suffix): &(usize, &str)| self.by_name.contains_key(*suffix);
        let parent = suffixes(name).skip(1).find(known);
        Some(parent.map_or(Names::Others, |(_, suffix)| Names::Below(suffix.to_string())))
    }

    /// What applies to the names of a set, from the most general to the most specific.
    pub fn chain_of(&self, names: &Names) -> Vec<&T> {
        self.chain(&names.sample())
    }
}

impl<T: Copy + Eq + Hash> DomainIndex<T> {
    /// Finds the classes, once every entry is there.
    pub fn classify(&mut self) {
        let copied = |chain: Vec<&T>| chain.into_iter().copied().collect::<Vec<T>>();
        let mut chains = vec![(0, copied(self.chain("")))];
        for (name, node) in &self.by_name {
            chains.push((1 + node * 2 + 1, copied(self.chain(name))));
            // A label that no pattern can hold stands for every other subdomain.
            chains.push((1 + node * 2, copied(self.chain(&format!("\0.{name}")))));
        }
        for i in 0..self.literals.len() {
            let chain = self.any.iter().chain(self.around(i).flatten());
            chains.push((LITERAL | i as u32, chain.map(|e| e.held).collect()));
        }
        let mut known: HashMap<Vec<T>, Class> = HashMap::new();
        for (state, chain) in chains {
            let next = known.len() as Class;
            self.classes.insert(state, *known.entry(chain).or_insert(next));
        }
    }

    /// The class of a name (lower-case ASCII).
    pub fn class(&self, domain: &str) -> Class {
        self.classes.get(&self.state(domain)).copied().unwrap_or_default()
    }
}

/// A name and each of its parent domains, with where it starts.
fn suffixes(domain: &str) -> impl Iterator<Item = (usize, &str)> {
    let starts = domain.bytes().enumerate().filter(|(_, b)| *b == b'.').map(|(i, _)| i + 1);
    std::iter::once(0).chain(starts).map(|start| (start, &domain[start..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(patterns: &[&'static str]) -> DomainIndex<&'static str> {
        let mut index = DomainIndex::default();
        for text in patterns {
            index.add(&text.parse().unwrap(), false, *text);
        }
        index
    }

    fn chain(index: &DomainIndex<&'static str>, domain: &str) -> Vec<&'static str> {
        index.chain(domain).into_iter().copied().collect()
    }

    #[test]
    fn entries_apply_from_the_general_to_the_specific_whatever_their_order() {
        let index = index(&["a.b.c", "*.b.c", "*", "[*.]b.c", "[*.]c", "x.y", "[*.]a.b.c", "*.a.b.c"]);
        assert_eq!(chain(&index, "a.b.c"), ["*", "[*.]c", "[*.]b.c", "*.b.c", "[*.]a.b.c", "a.b.c"]);
        assert_eq!(chain(&index, "b.c"), ["*", "[*.]c", "[*.]b.c"]);
        assert_eq!(chain(&index, "z.a.b.c"), ["*", "[*.]c", "[*.]b.c", "*.b.c", "[*.]a.b.c", "*.a.b.c"]);
        assert_eq!(chain(&index, "elsewhere"), ["*"]);
        assert_eq!(chain(&index, "xb.c"), ["*", "[*.]c"]);
    }

    #[test]
    fn address_literals_go_from_the_widest_network_to_the_narrowest() {
        let index = index(&["[10.1/16]", "*", "[0/0]", "[10/8]", "10.com"]);
        assert_eq!(chain(&index, "[10.1.2.3]"), ["*", "[0/0]", "[10/8]", "[10.1/16]"]);
        assert_eq!(chain(&index, "[IPv6:2001:db8::1]"), ["*", "[0/0]"]);
    }

    #[test]
    fn names_with_the_same_entries_are_one_class() {
        let mut index = DomainIndex::default();
        for name in ["a.com", "b.com", "[10/8]", "[10.1/16]"] {
            index.add(&name.parse().unwrap(), true, 7);
        }
        index.classify();
        assert_eq!(index.class("a.com"), index.class("b.com"));
        assert_eq!(index.class("x.a.com"), index.class("elsewhere"));
        assert_ne!(index.class("a.com"), index.class("elsewhere"));
        assert_ne!(index.class("[10.1.0.1]"), index.class("[10.2.0.1]"));
        assert_eq!(index.chain("[10.1.0.1]").len(), 2);
        assert_eq!(index.class("[11.0.0.1]"), index.class("elsewhere"));
    }

    #[test]
    fn a_literal_name_beats_one_from_a_macro() {
        let mut index = DomainIndex::default();
        let name: DomainPattern = "a.b".parse().unwrap();
        index.add(&name, false, "literal");
        index.add(&name, true, "macro");
        assert_eq!(index.chain("a.b"), [&"macro", &"literal"]);
    }

    proptest! {
        #[test]
        fn the_index_agrees_with_matching_every_pattern(
            patterns in prop::collection::vec("(\\*\\.|\\[\\*\\.\\])?[ab](\\.[ab]){0,2}", 0..12),
            names in prop::collection::vec("[ab](\\.[ab]){0,3}", 2),
        ) {
            let mut index = DomainIndex::default();
            let parsed: Vec<DomainPattern> = patterns.iter().map(|p| p.parse().unwrap()).collect();
            for (i, pattern) in parsed.iter().enumerate() {
                index.add(pattern, false, i);
            }
            for name in &names {
                let mut found: Vec<usize> = index.chain(name).into_iter().copied().collect();
                found.sort_unstable();
                let expected: Vec<usize> = (0..parsed.len()).filter(|i| parsed[*i].matches(name)).collect();
                prop_assert_eq!(index.covers(name), !expected.is_empty());
                prop_assert_eq!(found, expected);
            }
            index.classify();
            let same = index.class(&names[0]) == index.class(&names[1]);
            prop_assert_eq!(same, index.chain(&names[0]) == index.chain(&names[1]));
        }
    }
}
