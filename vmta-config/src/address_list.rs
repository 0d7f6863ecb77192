//! `<address-list>`: addresses, whole domains and expressions, asked for one address at a time (reference 2.8, 8.7).
//! Letters of either case are the same, in local parts too: who has unsubscribed has done so however he is written.

use crate::domains::DomainIndex;
use crate::lex::shorten;
use crate::value::{DomainPattern, Pattern, ascii_domain, literal};

/// One `<address-list>`. Millions of addresses cost their bytes and eight more each.
#[derive(Debug, Default)]
pub struct AddressList {
    /// Addresses, and local parts alone, one behind the other.
    text: String,
    /// Where each of them begins and how long it is, in the order of their text.
    entries: Vec<(u32, u8)>,
    patterns: Vec<Pattern>,
    domains: DomainIndex<()>,
}

impl AddressList {
    /// Whether the address is in the list. The domain is in lower case, with A-labels.
    pub fn contains(&self, local: &str, domain: &str) -> bool {
        if self.domains.covers(domain) {
            return true;
        }
        let mut address = local.to_lowercase();
        if self.holds(&address) {
            return true;
        }
        address.push('@');
        address.push_str(domain);
        self.holds(&address) || self.patterns.iter().any(|pattern| pattern.is_match(&address))
    }

    fn holds(&self, wanted: &str) -> bool {
        self.entries.binary_search_by(|&entry| self.entry(entry).cmp(wanted)).is_ok()
    }

    fn entry(&self, (start, length): (u32, u8)) -> &str {
        self.text.get(start as usize..start as usize + usize::from(length)).unwrap_or_default()
    }

    /// # Errors
    /// What is wrong with an entry that is neither an address nor a local part.
    pub(crate) fn add(&mut self, entry: &str) -> Result<(), String> {
        let normal = normal(entry)?;
        let (Ok(start), Ok(length)) = (u32::try_from(self.text.len()), u8::try_from(normal.len())) else {
            return Err(match normal.len() > usize::from(u8::MAX) {
                true => format!("`{}` is longer than an address may be", shorten(entry)),
                false => "the list is larger than 4 GiB".to_string(),
            });
        };
        self.text.push_str(&normal);
        self.entries.push((start, length));
        Ok(())
    }

    pub(crate) fn add_pattern(&mut self, pattern: Pattern) {
        self.patterns.push(pattern);
    }

    pub(crate) fn add_domain(&mut self, pattern: &DomainPattern) {
        self.domains.add(pattern, false, ());
    }

    /// Puts the entries in order: to be called when all are there, and before any is looked for.
    pub(crate) fn sort(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by(|a, b| self.entry(*a).cmp(self.entry(*b)));
        entries.dedup_by(|a, b| self.entry(*a) == self.entry(*b));
        entries.shrink_to_fit();
        self.entries = entries;
    }
}

/// As addresses are compared: `a@b`, or `a` for a local part at any domain (also written `a@*`).
fn normal(entry: &str) -> Result<String, String> {
    let (local, domain) = match entry.rsplit_once('@') {
        Some((local, "*")) => (local, None),
        Some((local, domain)) => (local, Some(domain)),
        None => (entry, None),
    };
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',' | ';');
    if local.is_empty() || (!local.starts_with('"') && local.contains(strange)) {
        return Err(format!("`{}` is neither an address nor a local part", shorten(entry)));
    }
    let mut normal = local.to_lowercase();
    if let Some(domain) = domain {
        let domain = match literal(domain) {
            Some(_) => domain.to_ascii_lowercase(),
            None => ascii_domain(domain)?,
        };
        normal.push('@');
        normal.push_str(&domain);
    }
    Ok(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> AddressList {
        let mut list = AddressList::default();
        entries.iter().for_each(|entry| list.add(entry).expect(entry));
        list.sort();
        list
    }

    #[test]
    fn addresses_and_local_parts_in_any_case() {
        let list =
            list(&["Jim@Example.com", "abuse", "noreply@*", "ü@bücher.example", "a@[192.0.2.1]", "abuse"]);
        for (local, domain) in [
            ("jim", "example.com"),
            ("JIM", "example.com"),
            ("abuse", "any.example"),
            ("NoReply", "x.example"),
            ("Ü", "xn--bcher-kva.example"),
            ("a", "[192.0.2.1]"),
        ] {
            assert!(list.contains(local, domain), "{local}@{domain}");
        }
        for (local, domain) in [("jim", "example.org"), ("jimm", "example.com"), ("", "example.com")] {
            assert!(!list.contains(local, domain), "{local}@{domain}");
        }
        assert_eq!(list.entries.len(), 5, "what is there twice is kept once");
    }

    #[test]
    fn domains_and_expressions() {
        let mut list = list(&[]);
        list.add_domain(&"gone.example".parse().expect("a domain"));
        list.add_domain(&"*.old.example".parse().expect("a pattern"));
        list.add_pattern(Pattern::new("^test[0-9]+@").expect("an expression"));
        assert!(list.contains("x", "gone.example") && !list.contains("x", "sub.gone.example"));
        assert!(list.contains("x", "a.old.example") && !list.contains("x", "old.example"));
        assert!(list.contains("TEST12", "b.example") && !list.contains("test", "b.example"));
    }

    #[test]
    fn what_is_no_entry() {
        let mut list = AddressList::default();
        for wrong in ["", "@b.example", "a b@c.example", "Jim <jim@b.example>", "a@b..c", "a,b", "a@b c"] {
            assert!(list.add(wrong).is_err(), "{wrong}");
        }
        assert!(list.add(&format!("{}@b.example", "x".repeat(300))).is_err());
    }
}
