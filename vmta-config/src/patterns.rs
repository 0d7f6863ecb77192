//! Lists of patterns: bounce categories and SMTP replies (reference 3 and 8.2). The first match counts.

use crate::diagnostic::Origin;
use crate::value::{Pattern, SmtpAction};

/// One line of `<bounce-category-patterns>`. The text it is matched with is the status, a semicolon and the diagnostic.
#[derive(Clone, Debug)]
pub struct BouncePattern {
    pub pattern: Pattern,
    pub category: String,
    pub origin: Origin,
}

/// One `reply` line.
#[derive(Clone, Debug)]
pub struct SmtpPattern {
    /// Searched in the full text of the reply.
    pub pattern: Pattern,
    /// Never empty, without contradictions.
    pub actions: Vec<SmtpAction>,
    pub origin: Origin,
}

/// One `<smtp-pattern-list>`.
#[derive(Clone, Debug)]
pub struct SmtpPatternList {
    pub name: String,
    pub rules: Vec<SmtpPattern>,
}
