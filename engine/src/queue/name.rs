//! The name of a queue, `domain/vmta`, and the patterns an operator names queues by.

use std::fmt;
use std::sync::Arc;

/// `domain/vmta`: the domain in lower case, the VMTA as the configuration writes it. What mail is scheduled, limited, paused and shown by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName {
    pub domain: Arc<str>,
    pub vmta: Arc<str>,
}

impl QueueName {
    pub fn new(domain: &str, vmta: &str) -> QueueName {
        QueueName { domain: domain.to_ascii_lowercase().into(), vmta: vmta.into() }
    }

    /// Whether `pattern` names this queue: `domain/vmta`, either half with a `*` at its beginning or end; a half that is
    /// `*` or empty is any, and without a slash it is a domain with any VMTA. Case does not matter. A pattern that is
    /// empty altogether names nothing: it is a mistake, and `delete` would take it for everything.
    pub fn matches(&self, pattern: &str) -> bool {
        if matches!(pattern, "" | "/") {
            return false;
        }
        let (domain, vmta) = pattern.split_once('/').unwrap_or((pattern, "*"));
        part_matches(&self.domain, domain) && part_matches(&self.vmta.to_ascii_lowercase(), vmta)
    }
}

fn part_matches(part: &str, pattern: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    if pattern.is_empty() || pattern == "*" {
        true
    } else if let Some(end) = pattern.strip_prefix('*') {
        part.ends_with(end)
    } else if let Some(beginning) = pattern.strip_suffix('*') {
        part.starts_with(beginning)
    } else {
        part == pattern
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.vmta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_queues() {
        let queue = QueueName::new("Mail.Example.com", "VMTA-1");
        assert_eq!(queue.to_string(), "mail.example.com/VMTA-1");
        for pattern in [
            "mail.example.com/vmta-1",
            "MAIL.EXAMPLE.COM",
            "*",
            "*/*",
            "*/vmta-1",
            "*.example.com/vmta*",
            "mail*/*",
            "/vmta-1",
            "mail.example.com/",
        ] {
            assert!(queue.matches(pattern), "{pattern}");
        }
        for pattern in ["example.com/vmta-1", "mail.example.com/vmta-2", "*.example.org", "/", ""] {
            assert!(!queue.matches(pattern), "{pattern}");
        }
    }
}
