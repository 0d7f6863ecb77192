//! `queue-filter`: which queues an accounting file is about (reference 2.7). The list is ordered, the first
//! pattern that fits decides; a queue that none fits is left out.

use thiserror::Error;

/// Patterns in one list; more is a mistake in the configuration.
const MAX_PATTERNS: usize = 10_000;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    #[error(
        "queue-filter: `{0}` is no queue; write `domain`, `domain/vmta` or `*/vmta`, `!` before it to leave it out"
    )]
    Pattern(String),
    #[error("queue-filter: reserved domain `{0}` cannot be filtered; leave it out")]
    Reserved(String),
    #[error("queue-filter: more than {MAX_PATTERNS} patterns")]
    TooMany,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Domain {
    Any,
    Exactly(String),
    /// `*.a.b`: with the leading dot.
    Below(String),
    /// `[*.]a.b`: without the dot.
    AtOrBelow(String),
}

impl Domain {
    fn fits(&self, domain: &str) -> bool {
        let ends_with = |end: &str| {
            domain
                .len()
                .checked_sub(end.len())
                .is_some_and(|at| domain.as_bytes()[at..].eq_ignore_ascii_case(end.as_bytes()))
        };
        match self {
            Domain::Any => true,
            Domain::Exactly(name) => domain.eq_ignore_ascii_case(name),
            Domain::Below(end) => domain.len() > end.len() && ends_with(end),
            Domain::AtOrBelow(name) => {
                ends_with(name)
                    && (domain.len() == name.len()
                        || domain.as_bytes()[domain.len() - name.len() - 1] == b'.')
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Pattern {
    leave_out: bool,
    domain: Domain,
    /// `None` is `*`.
    vmta: Option<String>,
}

/// An ordered list of queue patterns.
#[derive(Debug, Clone)]
pub struct QueueFilter(Vec<Pattern>);

impl QueueFilter {
    /// Reads a comma or blank separated list such as `!*.test.example,*/vmta1`; without a VMTA `{default}` is
    /// meant.
    pub fn parse(list: &str) -> Result<QueueFilter, FilterError> {
        let mut patterns = Vec::new();
        for word in list.split([',', ' ', '\t']).filter(|w| !w.is_empty()) {
            if patterns.len() == MAX_PATTERNS {
                return Err(FilterError::TooMany);
            }
            patterns.push(parse_pattern(word)?);
        }
        if patterns.is_empty() {
            return Err(FilterError::Pattern(list.to_owned()));
        }
        Ok(QueueFilter(patterns))
    }

    /// Whether lines about `queue` (`domain/vmta`) belong in the file.
    pub fn fits(&self, queue: &str) -> bool {
        let (domain, vmta) = queue.split_once('/').unwrap_or((queue, "{default}"));
        self.0
            .iter()
            .find(|p| p.vmta.as_deref().is_none_or(|v| v.eq_ignore_ascii_case(vmta)) && p.domain.fits(domain))
            .is_some_and(|p| !p.leave_out)
    }
}

fn parse_pattern(word: &str) -> Result<Pattern, FilterError> {
    let bad = || FilterError::Pattern(word.to_owned());
    let (leave_out, queue) = match word.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, word),
    };
    let (domain, vmta) = queue.split_once('/').unwrap_or((queue, "{default}"));
    if domain.is_empty() || vmta.is_empty() || vmta.contains('/') {
        return Err(bad());
    }
    if domain.starts_with('{') {
        return Err(FilterError::Reserved(domain.to_owned()));
    }
    let name =
        |rest: &str| if rest.is_empty() || rest.contains('*') { Err(bad()) } else { Ok(rest.to_owned()) };
    let domain = if domain == "*" {
        Domain::Any
    } else if let Some(rest) = domain.strip_prefix("[*.]") {
        Domain::AtOrBelow(name(rest)?)
    } else if let Some(rest) = domain.strip_prefix("*.") {
        Domain::Below(format!(".{}", name(rest)?))
    } else {
        Domain::Exactly(name(domain)?)
    };
    Ok(Pattern { leave_out, domain, vmta: (vmta != "*").then(|| vmta.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_fits_decides() {
        let filter = QueueFilter::parse("!yahoo.example/*, *.example/vmta1, [*.]org/*, *").unwrap();
        for (queue, fits) in [
            ("yahoo.example/vmta1", false),
            ("Gmail.Example/vmta1", true),
            ("example/vmta1", false),
            ("org/vmta9", true),
            ("a.org/vmta9", true),
            ("zorg/vmta9", false),
            ("anything.example/{default}", true),
            ("anything.net/vmta2", false),
        ] {
            assert_eq!(filter.fits(queue), fits, "{queue}");
        }
    }

    #[test]
    fn all_negated_matches_nothing() {
        assert!(!QueueFilter::parse("!a.example/*").unwrap().fits("b.example/vmta1"));
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        assert!(matches!(QueueFilter::parse("{bounce}/*"), Err(FilterError::Reserved(_))));
        for bad in ["", "a/b/c", "/vmta", "a.*.b", "!"] {
            assert!(matches!(QueueFilter::parse(bad), Err(FilterError::Pattern(_))), "{bad}");
        }
    }
}
