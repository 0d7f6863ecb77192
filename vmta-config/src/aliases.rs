//! `alias`: whose mail goes to whom instead (reference 2.1).

use std::collections::HashMap;

use crate::value::ascii_domain;

/// All `alias` lines. Lines for the same address add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases(HashMap<String, Vec<String>>);

impl Aliases {
    /// `source` is `user@domain`, `*@domain` or a local part, as its syntax has it.
    pub(crate) fn add(&mut self, source: &str, targets: &[String]) {
        let key = match source.rsplit_once('@') {
            Some((local, domain)) => {
                let domain = ascii_domain(domain).unwrap_or_else(|_| domain.to_ascii_lowercase());
                format!("{}@{domain}", local.to_lowercase())
            }
            None => source.to_lowercase(),
        };
        self.0.entry(key).or_default().extend_from_slice(targets);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the mail of an address goes, by the line that is closest to it: the address, then at a name of this host its
    /// local part, then `*` at its domain (lower case, A-labels). A target without a domain is one of this host.
    pub fn of(&self, local: &str, domain: &str, is_here: bool) -> Option<&[String]> {
        let local = local.to_lowercase();
        let exact = self.0.get(&format!("{local}@{domain}"));
        let by_local = || is_here.then(|| self.0.get(&local))?;
        let found = exact.or_else(by_local).or_else(|| self.0.get(&format!("*@{domain}")));
        found.map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use crate::files::MemoryFiles;
    use crate::load::load;

    #[test]
    fn the_closest_line_counts() {
        let text = "log-file /l\n<spool /s>\n</spool>\nalias *@d.example all@e.example\n\
            alias Root ann@e.example,bob\n<aliases>\n alias Sales@D.example ann@e.example\n\
            alias sales@d.example \"bob@e.example\"\n alias *@b\u{fc}cher.example b@e.example\n</aliases>\n";
        let loaded = load("/c", &MemoryFiles::new([("/c", text)]), false);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        assert!(config.notes().is_empty(), "{:?}", config.notes());
        let of = |local, domain, here| config.aliases().of(local, domain, here).map(|to| to.join(" "));
        assert_eq!(of("SALES", "d.example", false).as_deref(), Some("ann@e.example bob@e.example"));
        assert_eq!(of("root", "d.example", true).as_deref(), Some("ann@e.example bob"));
        assert_eq!(of("root", "d.example", false).as_deref(), Some("all@e.example"));
        assert_eq!(of("root", "x.example", false), None);
        assert_eq!(of("any", "xn--bcher-kva.example", false).as_deref(), Some("b@e.example"));
    }
}
