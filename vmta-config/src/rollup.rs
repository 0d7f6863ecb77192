//! `<mx-rollup-list>`: domains that share MX hosts share a queue (reference 9.3).

use crate::domains::DomainIndex;
use crate::value::DomainPattern;

/// The queue of all domains whose mail goes to certain hosts.
#[derive(Clone, Debug, Default)]
pub struct MxRollup {
    /// `NAME.rollup`, the domain of the queue.
    pub name: String,
    /// Hosts named one by one; none when there are patterns alone. Mail of the queue goes to exactly these.
    pub hosts: Vec<String>,
    patterns: Vec<DomainIndex<()>>,
    /// A queue for each set of addresses that the hosts have.
    pub by_ip: bool,
}

impl MxRollup {
    /// Whether a domain with these best MX hosts belongs to it: every host that is named must be among them, or one of
    /// them must fit a pattern.
    fn takes(&self, best: &[&str]) -> bool {
        let named = !self.hosts.is_empty() && self.hosts.iter().all(|host| best.contains(&host.as_str()));
        named || self.patterns.iter().any(|pattern| best.iter().any(|host| pattern.covers(host)))
    }

    /// Whether mail of its queue can be delivered without `smtp-hosts`.
    fn leads_somewhere(&self) -> bool {
        self.by_ip || self.patterns.is_empty()
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct MxRollups(Vec<MxRollup>);

impl MxRollups {
    pub fn add(&mut self, patterns: &[DomainPattern], name: &str, by_ip: bool) {
        let at = self.0.iter().position(|rollup| rollup.name == name).unwrap_or_else(|| {
            self.0.push(MxRollup { name: name.to_string(), ..MxRollup::default() });
            self.0.len() - 1
        });
        let rollup = &mut self.0[at];
        rollup.by_ip |= by_ip;
        for pattern in patterns {
            if let DomainPattern::Exact(host) = pattern {
                rollup.hosts.push(host.clone());
            } else {
                let mut index = DomainIndex::default();
                index.add(pattern, false, ());
                rollup.patterns.push(index);
            }
        }
    }

    /// The first that takes a domain with these MX hosts of the best preference, in lower case.
    pub fn of(&self, best: &[&str]) -> Option<&MxRollup> {
        self.0.iter().find(|rollup| rollup.takes(best))
    }

    pub fn named(&self, name: &str) -> Option<&MxRollup> {
        self.0.iter().find(|rollup| rollup.name == name)
    }

    /// The rollup whose settings a queue has: its own, or, where it is one of those by address, that behind its first label.
    pub fn settings_of<'d>(&self, domain: &'d str) -> &'d str {
        match domain.split_once('.') {
            Some((_, rest)) if rest.ends_with(".rollup") && self.named(rest).is_some_and(|r| r.by_ip) => rest,
            _ => domain,
        }
    }

    /// Those whose mail has nowhere to go unless `<domain NAME.rollup>` has `smtp-hosts`.
    pub fn lost(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|rollup| !rollup.leads_somewhere()).map(|rollup| rollup.name.as_str())
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|rollup| rollup.name != name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollups(lines: &[(&str, &str, bool)]) -> MxRollups {
        let mut rollups = MxRollups::default();
        for (pattern, name, by_ip) in lines {
            let pattern = match pattern.strip_prefix("*.") {
                Some(parent) => DomainPattern::Below(parent.to_string()),
                None => DomainPattern::Exact((*pattern).to_string()),
            };
            rollups.add(&[pattern], name, *by_ip);
        }
        rollups
    }

    /// The table of reference 9.3, behind the choice of the best hosts.
    #[test]
    fn every_host_that_is_listed_must_be_there() {
        let both = rollups(&[("mx1.x", "x.rollup", false), ("mx2.x", "x.rollup", false)]);
        let one = rollups(&[("mx1.x", "x.rollup", false)]);
        for (rollups, best, takes) in [
            (&both, &["mx1.x", "mx2.x"][..], true),
            (&both, &["mx1.x"], false),
            (&both, &["mx1.x", "mx2.x", "mx3.x"], true),
            (&one, &["mx1.x", "mx2.x"], true),
            (&one, &["mx.other"], false),
        ] {
            assert_eq!(rollups.of(best).is_some(), takes, "{best:?}");
        }
        assert_eq!(both.of(&["mx1.x", "mx2.x"]).unwrap().hosts, ["mx1.x", "mx2.x"]);
    }

    #[test]
    fn one_host_that_fits_is_enough_for_a_pattern() {
        let rollups =
            rollups(&[("*.google.com", "google.rollup", true), ("*.googlemail.com", "google.rollup", true)]);
        assert!(rollups.of(&["gmail-smtp-in.l.google.com"]).is_some());
        assert!(rollups.of(&["google.com"]).is_none());
    }

    #[test]
    fn a_queue_by_address_has_the_settings_of_its_rollup() {
        let rollups = rollups(&[("*.x", "x.rollup", true), ("y", "y.rollup", false)]);
        assert_eq!(rollups.settings_of("192-0-2-1.x.rollup"), "x.rollup");
        for other in ["x.rollup", "192-0-2-1.y.rollup", "a.example", "192-0-2-1.z.rollup"] {
            assert_eq!(rollups.settings_of(other), other);
        }
    }
}
