//! The recipient domains of an import, each stored once: rows carry a number, owners of queues get the name once.

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use std::sync::Arc;

/// Normalised domains, numbered from 0 in the order in which they are first seen.
#[derive(Clone)]
pub struct Domains {
    names: Vec<Arc<str>>,
    table: HashTable<u32>,
    hasher: SipHasher13,
}

impl Domains {
    /// No domains yet. `key` is random, so that a list cannot choose domains that collide (A55).
    pub fn new(key: &[u8; 16]) -> Domains {
        Domains { names: Vec::new(), table: HashTable::new(), hasher: SipHasher13::new_with_key(key) }
    }

    /// The number of `name`, which has to be normalised. Allocates for a new name only.
    pub fn intern(&mut self, name: &str) -> u32 {
        let Domains { names, table, hasher } = self;
        let hash = hasher.hash(name.as_bytes());
        if let Some(found) = table.find(hash, |number| &*names[*number as usize] == name) {
            return *found;
        }
        let number =
            u32::try_from(names.len()).expect("four thousand million domains do not fit into memory");
        names.push(Arc::from(name));
        table.insert_unique(hash, number, |number| hasher.hash(names[*number as usize].as_bytes()));
        number
    }

    /// The domain with this number.
    pub fn name(&self, number: u32) -> Option<&Arc<str>> {
        self.names.get(number as usize)
    }

    /// The domains from `first` on.
    pub fn since(&self, first: u32) -> &[Arc<str>] {
        self.names.get(first as usize..).unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_keeps_its_number() {
        let mut domains = Domains::new(&[7; 16]);
        let numbers: Vec<u32> = (0..2000).map(|n| domains.intern(&format!("d{n}.example"))).collect();
        assert_eq!(numbers, (0..2000).collect::<Vec<u32>>());
        assert_eq!(domains.intern("d77.example"), 77);
        assert_eq!(domains.name(77).map(|name| &**name), Some("d77.example"));
        assert_eq!(domains.name(2000), None);
        assert_eq!(domains.since(1999).len(), 1);
        assert_eq!(domains.since(5000).len(), 0);
        assert_eq!(domains.len(), 2000);
    }
}
