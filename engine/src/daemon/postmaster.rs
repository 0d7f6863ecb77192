//! Mail to postmaster@ and abuse@ of this host goes to those whom `postmaster` names, whoever it comes from (RFC 5321 4.5.1,
//! RFC 2142).

use super::handed::Handed;
use super::profiles::Configured;
use crate::smtp::dsn::RecipientDsn;
use vmta_config::ROLES;

impl Configured {
    /// Whether an address is that of a role at this host, and somebody has it.
    pub fn is_postmaster(&self, local: &str, domain: &str) -> bool {
        let global = self.config.global();
        let here = || {
            let mut names = global.host_names.iter().map(String::as_str).chain([&*self.host]);
            names.any(|name| name.eq_ignore_ascii_case(domain))
        };
        !global.postmaster.is_empty() && ROLES.iter().any(|role| role.eq_ignore_ascii_case(local)) && here()
    }
}

/// The recipients with people in the place of roles, each once, and what is to be reported of each; `None` where no role is
/// among them.
pub fn forwarded(handed: &Handed<'_>, configured: &Configured) -> Option<(Vec<String>, Vec<RecipientDsn>)> {
    let is_role = |address: &String| {
        address.rsplit_once('@').is_some_and(|(local, domain)| configured.is_postmaster(local, domain))
    };
    if !handed.recipients.iter().any(is_role) {
        return None;
    }
    let people = &configured.config.global().postmaster;
    let (mut recipients, mut dsn): (Vec<String>, Vec<RecipientDsn>) = Default::default();
    for (index, recipient) in handed.recipients.iter().enumerate() {
        let asked = handed.dsn.get(index).cloned().unwrap_or_default();
        let is_role = is_role(recipient);
        for to in if is_role { people.as_slice() } else { std::slice::from_ref(recipient) } {
            let has_it = |known: &String| known.eq_ignore_ascii_case(to);
            if !is_role || !(recipients.iter().any(has_it) || handed.recipients.iter().any(has_it)) {
                recipients.push(to.clone());
                dsn.push(asked.clone());
            }
        }
    }
    if !dsn.iter().any(RecipientDsn::is_given) {
        dsn.clear();
    }
    Some((recipients, dsn))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use vmta_config::{MemoryFiles, load};

    fn configured(postmaster: &str) -> Configured {
        let text = format!(
            "log-file /l\nhost-name mx.example\nhost-name other.example\n<spool /s>\n</spool>\n{postmaster}"
        );
        let loaded = load("c", &MemoryFiles::new([("c", text)]), false);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        Configured::new(Arc::new(config), "mx.example").expect("profiles")
    }

    fn recipients(postmaster: &str, to: &[&str]) -> Option<Vec<String>> {
        let given: Vec<String> = to.iter().map(|to| (*to).to_owned()).collect();
        let handed = Handed { recipients: &given, ..Handed::default() };
        forwarded(&handed, &configured(postmaster)).map(|(to, dsn)| {
            assert!(dsn.is_empty());
            to
        })
    }

    #[test]
    fn people_stand_in_for_roles() {
        let two = "postmaster ann@x.example\npostmaster bob@x.example\n";
        let both = Some(vec!["ann@x.example".to_owned(), "bob@x.example".to_owned()]);
        assert_eq!(recipients(two, &["Postmaster@MX.example"]), both);
        assert_eq!(recipients(two, &["abuse@other.example", "postmaster@mx.example"]), both, "each once");
        assert_eq!(
            recipients(two, &["postmaster@mx.example", "Ann@x.example"]),
            Some(vec!["bob@x.example".to_owned(), "Ann@x.example".to_owned()])
        );
        assert_eq!(recipients(two, &["postmaster@x.example", "sales@mx.example"]), None);
        assert_eq!(recipients("", &["postmaster@mx.example"]), None);
    }

    #[test]
    fn they_are_reported_as_was_asked_for_the_role() {
        let given = ["a@x.example", "abuse@mx.example"].map(str::to_owned);
        let mut never = RecipientDsn::default();
        never.take("NOTIFY", "NEVER").expect("a NOTIFY");
        let dsn = [RecipientDsn::default(), never];
        let handed = Handed { recipients: &given, dsn: &dsn, ..Handed::default() };
        let (to, dsn) = forwarded(&handed, &configured("postmaster b@x.example\n")).expect("a role");
        let told: Vec<_> = to.iter().zip(&dsn).map(|(to, dsn)| format!("{to} {}", dsn.notify)).collect();
        assert_eq!(told, ["a@x.example ", "b@x.example NEVER"]);
    }
}
