//! `<pattern-list>`: which virtual MTA a message goes through, by its sender, recipients and headers (reference 6.3).

use std::borrow::Cow;

use crate::config::Config;
use crate::value::Pattern;

/// What lists ask about a message.
pub trait Letter {
    /// The envelope sender, without angle brackets; empty for the null sender.
    fn sender(&self) -> &str;
    /// Whether `fits` is true of any recipient.
    fn any_recipient(&self, fits: &dyn Fn(&str) -> bool) -> bool;
    /// Whether `fits` is true of any header called `name`, in any case: the bytes behind the colon, folds and all.
    fn any_header(&self, name: &str, fits: &dyn Fn(&[u8]) -> bool) -> bool;
}

/// What a list has decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// A virtual MTA or pool.
    pub virtual_mta: Option<&'a str>,
    /// 0 to 100.
    pub priority: Option<u8>,
}

/// One `<pattern-list>`, or one that stands inside another. The first line that fits decides.
#[derive(Clone, Debug, Default)]
pub(crate) struct PatternList {
    pub(crate) rules: Vec<Rule>,
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub subject: Asks,
    pub outcome: Outcome,
}

#[derive(Clone, Debug)]
pub(crate) enum Asks {
    Sender(Pattern),
    Recipient(Pattern),
    Header(String, Pattern),
    Nothing,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Choose {
        virtual_mta: Option<String>,
        priority: Option<u8>,
    },
    /// The list with this number decides, also when nothing in it fits.
    List(usize),
}

impl Config {
    /// What the list called `list` says of a message. Lists call each other in no circle, so that this ends.
    pub fn choose(&self, list: &str, letter: &dyn Letter) -> Chosen<'_> {
        let mut at = self.pattern_lists_by_name.get(list).copied();
        while let Some(list) = at.and_then(|at| self.pattern_lists.get(at)) {
            match list.rules.iter().find(|rule| rule.subject.fits(letter)).map(|rule| &rule.outcome) {
                Some(Outcome::Choose { virtual_mta, priority }) => {
                    return Chosen { virtual_mta: virtual_mta.as_deref(), priority: *priority };
                }
                Some(Outcome::List(inner)) => at = Some(*inner),
                None => break,
            }
        }
        Chosen::default()
    }
}

impl Config {
    /// Whether the list called `list`, or one that it leads to, has a line about recipients.
    pub fn asks_recipients(&self, list: &str) -> bool {
        let mut rules = self.led_to(list).into_iter().flat_map(|list| &list.rules);
        rules.any(|rule| matches!(rule.subject, Asks::Recipient(_)))
    }

    /// Every virtual MTA and pool that the list called `list` may choose.
    pub fn may_choose(&self, list: &str) -> Vec<&str> {
        let rules = self.led_to(list).into_iter().flat_map(|list| &list.rules);
        let mut names: Vec<&str> = rules
            .filter_map(|rule| match &rule.outcome {
                Outcome::Choose { virtual_mta, .. } => virtual_mta.as_deref(),
                Outcome::List(_) => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// A list and all that it leads to.
    fn led_to(&self, list: &str) -> Vec<&PatternList> {
        let mut numbers: Vec<usize> = self.pattern_lists_by_name.get(list).copied().into_iter().collect();
        let mut at = 0;
        while let Some(list) = numbers.get(at).and_then(|number| self.pattern_lists.get(*number)) {
            for rule in &list.rules {
                match rule.outcome {
                    Outcome::List(inner) if !numbers.contains(&inner) => numbers.push(inner),
                    Outcome::List(_) | Outcome::Choose { .. } => {}
                }
            }
            at += 1;
        }
        numbers.into_iter().filter_map(|number| self.pattern_lists.get(number)).collect()
    }
}

impl Asks {
    fn fits(&self, letter: &dyn Letter) -> bool {
        match self {
            Asks::Sender(pattern) => pattern.is_match(letter.sender()),
            Asks::Recipient(pattern) => letter.any_recipient(&|recipient| pattern.is_match(recipient)),
            Asks::Header(name, pattern) => letter.any_header(name, &|body| pattern.is_match(&text(body))),
            Asks::Nothing => true,
        }
    }
}

/// A header's body without the blanks in front of it.
fn text(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::MemoryFiles;
    use crate::load::load;

    struct Mail<'a>(&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);

    impl Letter for Mail<'_> {
        fn sender(&self) -> &str {
            self.0
        }

        fn any_recipient(&self, fits: &dyn Fn(&str) -> bool) -> bool {
            self.1.iter().any(|recipient| fits(recipient))
        }

        fn any_header(&self, name: &str, fits: &dyn Fn(&[u8]) -> bool) -> bool {
            self.2.iter().any(|(known, body)| known.eq_ignore_ascii_case(name) && fits(body.as_bytes()))
        }
    }

    fn config(lists: &str) -> Config {
        let vmtas: String =
            ["v1", "v2", "v3"].map(|v| format!("<virtual-mta {v}>\n</virtual-mta>\n")).concat();
        let text = format!("log-file /l\n<spool /s>\n</spool>\n{vmtas}{lists}");
        let loaded = load("c", &MemoryFiles::new([("c", text)]), false);
        loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
    }

    fn vmta<'a>(config: &'a Config, mail: &Mail<'_>) -> Option<&'a str> {
        config.choose("l", mail).virtual_mta
    }

    #[test]
    fn the_first_line_that_fits_decides() {
        let config = config(
            "<pattern-list l>\n mail-from /^news@/ virtual-mta=v1\n rcpt-to /@gmail\\.com$/ virtual-mta=v2\n \
             header Subject /offer/ virtual-mta=v3\n</pattern-list>\n",
        );
        let of = |from, to, headers| vmta(&config, &Mail(from, to, headers));
        assert_eq!(of("NEWS@a.example", &["x@gmail.com"], &[]), Some("v1"));
        assert_eq!(of("a@a.example", &["x@y.example", "x@GMAIL.com"], &[]), Some("v2"));
        assert_eq!(of("", &["x@y.example"], &[("SUBJECT", " Our\r\n offer")]), Some("v3"));
        assert_eq!(of("", &["x@y.example"], &[("X-Subject", "offer")]), None);
        assert_eq!(config.choose("nosuch", &Mail("", &[], &[])), Chosen::default());
    }

    #[test]
    fn lists_in_lists_and_lists_by_name() {
        let config = config(
            "<pattern-list l>\n mail-from /@a/ <pattern-list>\n  rcpt-to /@x/ virtual-mta=v1\n \
             rcpt-to /@y/ <pattern-list>\n   * virtual-mta=v2,recipient-priority=9\n  </pattern-list>\n \
             </pattern-list>\n mail-from /@b/ call-to:other\n * virtual-mta=v3\n</pattern-list>\n\
             <pattern-list other>\n header X-Tier /^gold$/ virtual-mta=v1\n</pattern-list>\n",
        );
        let of = |from, to, headers| vmta(&config, &Mail(from, to, headers));
        assert_eq!(of("s@a.e", &["r@x.e"], &[]), Some("v1"));
        assert_eq!(of("s@a.e", &["r@y.e"], &[]), Some("v2"));
        assert_eq!(config.choose("l", &Mail("s@a.e", &["r@y.e"], &[])).priority, Some(9));
        assert_eq!(of("s@a.e", &["r@z.e"], &[]), None, "a list with nothing that fits chooses nothing");
        assert_eq!(of("s@b.e", &[], &[("x-tier", " gold")]), Some("v1"));
        assert_eq!(of("s@b.e", &[], &[]), None);
        assert_eq!(of("s@c.e", &[], &[]), Some("v3"));
        assert_eq!((config.may_choose("l"), config.asks_recipients("l")), (vec!["v1", "v2", "v3"], true));
        assert_eq!((config.may_choose("other"), config.asks_recipients("other")), (vec!["v1"], false));
    }
}
