//! Recipients in whose place others get the mail: those of `alias`, and postmaster@ and abuse@ of this host, for whom
//! `postmaster` names people, whoever the mail comes from (RFC 5321 4.5.1, RFC 2142).

use super::handed::Handed;
use super::profiles::Configured;
use crate::mail::normalise_domain;
use crate::smtp::dsn::{RecipientDsn, orcpt_of};
use std::collections::HashSet;
use vmta_config::ROLES;

/// Aliases of aliases that are followed; who comes behind the last gets the mail.
const DEEPEST: usize = 32;

impl Configured {
    /// Whether an address is that of a role at this host, and somebody has it.
    pub fn is_postmaster(&self, local: &str, domain: &str) -> bool {
        let role = || ROLES.iter().any(|role| role.eq_ignore_ascii_case(local));
        !self.config.global().postmaster.is_empty() && role() && self.is_here(domain)
    }

    fn is_here(&self, domain: &str) -> bool {
        let mut names = self.config.global().host_names.iter().map(String::as_str).chain([&*self.host]);
        names.any(|name| name.eq_ignore_ascii_case(domain))
    }

    /// Who gets the mail of an address, if it is not its owner.
    fn stand_ins(&self, address: &str) -> Option<&[String]> {
        let (local, domain) = address.rsplit_once('@')?;
        let mut normal = String::new();
        normalise_domain(domain, &mut normal).ok()?;
        let aliases = self.config.aliases();
        let by_alias = (!aliases.is_empty()).then(|| aliases.of(local, &normal, self.is_here(&normal)));
        let people = || self.is_postmaster(local, domain).then_some(&*self.config.global().postmaster);
        by_alias.flatten().or_else(people)
    }
}

/// The recipients with others in the place of those who are forwarded, each of these once, and what is to be reported of each;
/// `None` where nobody is forwarded.
pub fn forwarded(handed: &Handed<'_>, configured: &Configured) -> Option<(Vec<String>, Vec<RecipientDsn>)> {
    let global = configured.config.global();
    if configured.config.aliases().is_empty() && global.postmaster.is_empty() {
        return None;
    }
    let stays: Vec<bool> =
        handed.recipients.iter().map(|address| configured.stand_ins(address).is_none()).collect();
    if stays.iter().all(|stays| *stays) {
        return None;
    }
    let staying = handed.recipients.iter().zip(&stays).filter(|(_, stays)| **stays);
    let mut known: HashSet<String> = staying.map(|(address, _)| address.to_lowercase()).collect();
    let (mut recipients, mut dsn): (Vec<String>, Vec<RecipientDsn>) = Default::default();
    for (index, (recipient, stays)) in handed.recipients.iter().zip(&stays).enumerate() {
        let mut asked = handed.dsn.get(index).cloned().unwrap_or_default();
        if *stays {
            recipients.push(recipient.clone());
            dsn.push(asked);
            continue;
        }
        if asked.orcpt.is_empty() {
            // Whom the sender knows, and his reports should name (RFC 3461 section 5.2.7).
            asked.orcpt = orcpt_of(recipient).into();
        }
        let mut way = Way { configured, path: Vec::new(), followed: HashSet::new(), ends: Vec::new() };
        way.follow(recipient);
        for end in way.ends {
            if known.insert(end.to_lowercase()) {
                recipients.push(end);
                dsn.push(asked.clone());
            }
        }
    }
    Some((recipients, dsn))
}

/// From one recipient to all who get his mail.
struct Way<'a> {
    configured: &'a Configured,
    /// The aliases that led here.
    path: Vec<String>,
    followed: HashSet<String>,
    ends: Vec<String>,
}

impl Way<'_> {
    /// Whoever forwards to himself, on whatever way, keeps a copy.
    fn follow(&mut self, address: &str) {
        let key = address.to_lowercase();
        let is_end = self.path.len() >= DEEPEST || self.path.contains(&key);
        let Some(to) = self.configured.stand_ins(address).filter(|_| !is_end) else {
            return self.ends.push(address.to_owned());
        };
        if !self.followed.insert(key.clone()) {
            return;
        }
        self.path.push(key);
        for target in to {
            match target.contains('@') {
                true => self.follow(target),
                false => self.follow(&format!("{target}@{}", self.configured.host)),
            }
        }
        self.path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use vmta_config::{MemoryFiles, load};

    fn configured(lines: &str) -> Configured {
        let text = format!(
            "log-file /l\nhost-name mx.example\nhost-name other.example\n<spool /s>\n</spool>\n{lines}"
        );
        let loaded = load("c", &MemoryFiles::new([("c", text)]), false);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        Configured::new(Arc::new(config), "mx.example").expect("profiles")
    }

    fn recipients(lines: &str, to: &[&str]) -> Option<String> {
        let given: Vec<String> = to.iter().map(|to| (*to).to_owned()).collect();
        let handed = Handed { recipients: &given, ..Handed::default() };
        forwarded(&handed, &configured(lines)).map(|(to, dsn)| {
            assert_eq!(to.len(), dsn.len());
            to.join(" ")
        })
    }

    #[test]
    fn people_stand_in_for_roles() {
        let two = "postmaster ann@x.example\npostmaster bob@x.example\n";
        let both = Some("ann@x.example bob@x.example");
        assert_eq!(recipients(two, &["Postmaster@MX.example"]).as_deref(), both);
        assert_eq!(
            recipients(two, &["abuse@other.example", "postmaster@mx.example"]).as_deref(),
            both,
            "each once"
        );
        assert_eq!(
            recipients(two, &["postmaster@mx.example", "Ann@x.example"]).as_deref(),
            Some("bob@x.example Ann@x.example")
        );
        assert_eq!(recipients(two, &["postmaster@x.example", "sales@mx.example"]), None);
        assert_eq!(recipients("", &["postmaster@mx.example"]), None);
    }

    #[test]
    fn aliases_lead_to_others_and_these_to_others() {
        let lines = "alias sales@x.example ann@y.example,team@x.example\nalias team@x.example bob@y.example,ann@y.example\n\
            alias *@lists.example archive@y.example\nalias root postmaster\npostmaster pat@y.example\n";
        let to = |to: &[&str]| recipients(lines, to);
        assert_eq!(to(&["Sales@X.example"]).as_deref(), Some("ann@y.example bob@y.example"));
        assert_eq!(to(&["a@lists.example", "b@lists.example"]).as_deref(), Some("archive@y.example"));
        assert_eq!(to(&["root@other.example"]).as_deref(), Some("pat@y.example"), "by a role");
        assert_eq!(to(&["root@x.example", "bob@x.example"]), None, "a local part is one of this host");
        assert_eq!(
            to(&["c@z.example", "team@x.example", "Bob@y.example"]).as_deref(),
            Some("c@z.example ann@y.example Bob@y.example")
        );
        let instead = format!("alias abuse desk@y.example\n{lines}");
        assert_eq!(recipients(&instead, &["abuse@mx.example"]).as_deref(), Some("desk@y.example"));
    }

    #[test]
    fn circles_end() {
        let to = |lines: &str, to: &str| recipients(lines, &[to]);
        let copy = "alias a@x.example a@x.example,b@y.example\n";
        assert_eq!(to(copy, "a@x.example").as_deref(), Some("a@x.example b@y.example"), "a copy is kept");
        let circle = "alias a@x.example b@x.example\nalias b@x.example a@x.example\n";
        assert_eq!(to(circle, "a@x.example").as_deref(), Some("a@x.example"));
        let all = "alias *@x.example all@x.example\n";
        assert_eq!(to(all, "a@x.example").as_deref(), Some("all@x.example"));
        let chain: String =
            (0..100).map(|n| format!("alias a{n}@x.example a{}@x.example\n", n + 1)).collect();
        assert_eq!(to(&chain, "a0@x.example").as_deref(), Some("a32@x.example"));
        let wide: String =
            (0..60).map(|n| format!("alias a{n}@x.example a{0}@x.example,b{0}@x.example\nalias b{n}@x.example a{0}@x.example,b{0}@x.example\n", n + 1)).collect();
        assert!(to(&wide, "a0@x.example").is_some(), "two to the power of 32 ways are not gone");
    }

    #[test]
    fn they_are_reported_as_was_asked_for_whom_they_stand_for() {
        let given = ["a@x.example", "abuse@mx.example", "c+d@x.example"].map(str::to_owned);
        let mut never = RecipientDsn::default();
        never.take("NOTIFY", "NEVER").expect("a NOTIFY");
        let mut old = RecipientDsn::default();
        old.take("ORCPT", "rfc822;old@x.example").expect("an ORCPT");
        let lines =
            "postmaster b@x.example\nalias a@x.example a@y.example\nalias c+d@x.example c@y.example\n";
        let told = |dsn: &[RecipientDsn]| {
            let handed = Handed { recipients: &given, dsn, ..Handed::default() };
            let (to, dsn) = forwarded(&handed, &configured(lines)).expect("aliases");
            let told = to.iter().zip(&dsn).map(|(to, dsn)| format!("{to} {} {}", dsn.notify, dsn.orcpt));
            told.collect::<Vec<_>>()
        };
        assert_eq!(
            told(&[old, never]),
            [
                "a@y.example  rfc822;old@x.example",
                "b@x.example NEVER rfc822;abuse@mx.example",
                "c@y.example  rfc822;c+2Bd@x.example"
            ]
        );
        assert_eq!(told(&[])[0], "a@y.example  rfc822;a@x.example");
    }
}
