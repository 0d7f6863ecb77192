//! `<rewrite-list>`: what stands in for an envelope sender, and for the domain of a From header (reference 2.8). Of the lines
//! about either the first one that fits counts. Letters of either case are the same.

use crate::value::{DomainPattern, ascii_domain};

/// One `<rewrite-list>`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RewriteList {
    senders: Vec<(Form, Form)>,
    domains: Vec<(Vec<DomainPattern>, String)>,
}

/// A sender as a line writes it; `None` stands for `*`.
#[derive(Clone, Debug, PartialEq)]
enum Form {
    Null,
    Address { local: Option<String>, domain: Option<String> },
}

impl RewriteList {
    /// What `sender` (empty for the null sender) is replaced by; `None` where no line fits.
    pub fn sender(&self, sender: &str) -> Option<String> {
        let (_, to) = self.senders.iter().find(|(from, _)| from.fits(sender))?;
        Some(to.filled(sender))
    }

    /// What stands in for `domain` (lower case, A-labels) in a From header; `None` where no line fits.
    pub fn domain(&self, domain: &str) -> Option<&str> {
        let fits = |patterns: &[DomainPattern]| patterns.iter().any(|pattern| pattern.matches(domain));
        self.domains.iter().find(|(patterns, _)| fits(patterns)).map(|(_, to)| to.as_str())
    }

    pub(crate) fn add_sender(&mut self, from: &str, to: &str) {
        self.senders.push((Form::read(from), Form::read(to)));
    }

    pub(crate) fn add_domain(&mut self, patterns: Vec<DomainPattern>, to: &str) {
        self.domains.push((patterns, to.to_string()));
    }
}

impl Form {
    fn read(text: &str) -> Form {
        let part = |text: &str| (text != "*").then(|| text.to_string());
        match text.rsplit_once('@') {
            None => Form::Null,
            Some((local, domain)) => Form::Address { local: part(local), domain: part(domain) },
        }
    }

    fn fits(&self, sender: &str) -> bool {
        match self {
            Form::Null => sender.is_empty(),
            Form::Address { .. } if sender.is_empty() => false,
            Form::Address { local, domain } => {
                let (its_local, its_domain) = split(sender);
                local.as_deref().is_none_or(|local| local.eq_ignore_ascii_case(its_local))
                    && domain.as_deref().is_none_or(|domain| same_domain(domain, its_domain))
            }
        }
    }

    /// The address, with what `*` copies taken from `sender`.
    fn filled(&self, sender: &str) -> String {
        let Form::Address { local, domain } = self else { return String::new() };
        let (its_local, its_domain) = split(sender);
        let (local, domain) =
            (local.as_deref().unwrap_or(its_local), domain.as_deref().unwrap_or(its_domain));
        if domain.is_empty() { local.to_string() } else { format!("{local}@{domain}") }
    }
}

/// A sender may be a local part alone, as `postmaster`.
fn split(sender: &str) -> (&str, &str) {
    sender.rsplit_once('@').unwrap_or((sender, ""))
}

fn same_domain(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || matches!((ascii_domain(a), ascii_domain(b)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::MemoryFiles;
    use crate::load::load;

    fn list(lines: &str) -> RewriteList {
        let text = format!(
            "log-file /l\nhost-name mx.example\ndomain-macro old a.example,b.example\n<spool /s>\n</spool>\n\
             <rewrite-list l>\n{lines}\n</rewrite-list>\n"
        );
        let loaded = load("c", &MemoryFiles::new([("c", text)]), false);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        RewriteList::clone(config.rewrite_list("l").expect("the list"))
    }

    #[test]
    fn the_first_line_that_fits_gives_the_sender() {
        let list = list(
            "mail-from Ann@old.example boss@new.example\nmail-from keep@* *@*\nmail-from *@old.example *@b.new.example\n\
             mail-from news@* bounce@*\nmail-from *@b\u{fc}cher.example <>\nmail-from <> null@new.example",
        );
        for (sender, becomes) in [
            ("ann@OLD.example", Some("boss@new.example")),
            ("keep@old.example", Some("keep@old.example")),
            ("bob@old.example", Some("bob@b.new.example")),
            ("\"a@b\"@old.example", Some("\"a@b\"@b.new.example")),
            ("news@x.example", Some("bounce@x.example")),
            ("news", Some("bounce")),
            ("x@xn--bcher-kva.example", Some("")),
            ("", Some("null@new.example")),
            ("bob@sub.old.example", None),
        ] {
            assert_eq!(list.sender(sender).as_deref(), becomes, "{sender}");
        }
    }

    #[test]
    fn everybody_is_not_nobody() {
        let list = list("mail-from *@* *@new.example");
        assert_eq!(list.sender("a@b.example").as_deref(), Some("a@new.example"));
        assert_eq!(list.sender(""), None);
    }

    #[test]
    fn domains_of_from_headers_go_by_pattern_and_macro() {
        let list = list(
            "from-domain stays.old.example stays.old.example\nfrom-domain [*.]old.example new.example\n\
             from-domain $old both.example\nfrom-domain local here.example",
        );
        for (domain, becomes) in [
            ("stays.old.example", Some("stays.old.example")),
            ("old.example", Some("new.example")),
            ("x.old.example", Some("new.example")),
            ("b.example", Some("both.example")),
            ("mx.example", Some("here.example")),
            ("c.example", None),
        ] {
            assert_eq!(list.domain(domain), becomes, "{domain}");
        }
    }
}
