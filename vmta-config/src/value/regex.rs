//! Regular expressions: unanchored, ignoring case unless `(?-i)` (reference 1.3), matched in linear time wherever the
//! expression allows it.

use std::fmt;
use std::sync::Arc;

use super::ParseError;
use crate::lex::{Cursor, Word};

/// Longest expression, in bytes.
const MAX_SOURCE: usize = 16 << 10;
/// Bound on the compiled size, in bytes.
const MAX_COMPILED: usize = 4 << 20;
/// Bound on backtracking of the few expressions that need look-around or back-references.
const MAX_BACKTRACK: usize = 100_000;

#[derive(Clone)]
enum Engine {
    Linear(regex::Regex),
    /// Look-around and back-references, which only a backtracking engine knows.
    Backtracking(Arc<fancy_regex::Regex>),
}

/// A compiled expression. Cloning shares the compiled form.
#[derive(Clone)]
pub struct Pattern {
    source: Arc<str>,
    engine: Engine,
}

impl Pattern {
    pub fn new(source: &str) -> Result<Pattern, String> {
        if source.len() > MAX_SOURCE {
            return Err(format!("the expression is longer than {MAX_SOURCE} bytes"));
        }
        let linear = regex::RegexBuilder::new(source).case_insensitive(true).size_limit(MAX_COMPILED).build();
        let engine = match linear {
            Ok(regex) => Engine::Linear(regex),
            Err(error @ regex::Error::CompiledTooBig(_)) => return Err(error.to_string()),
            Err(first) => {
                let options = fancy_regex::RegexBuilder::new(&format!("(?i){source}"))
                    .backtrack_limit(MAX_BACKTRACK)
                    .delegate_size_limit(MAX_COMPILED)
                    .build();
                // Most faults are plain ones, and the first engine describes those better.
                Engine::Backtracking(Arc::new(options.map_err(|_| last_line(&first.to_string()))?))
            }
        };
        Ok(Pattern { source: source.into(), engine })
    }

    /// The expression as written between the slashes.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the expression is found in `text`. One that gives up for its bound on backtracking does not match.
    pub fn is_match(&self, text: &str) -> bool {
        match &self.engine {
            Engine::Linear(regex) => regex.is_match(text),
            Engine::Backtracking(regex) => regex.is_match(text).unwrap_or(false),
        }
    }

    /// Whether it can go into a set of the `regex` crate.
    pub fn is_linear(&self) -> bool {
        matches!(self.engine, Engine::Linear(_))
    }
}

/// The regex crate draws a picture over several lines; its last one says what is wrong.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or(message).trim();
    line.strip_prefix("error: ").unwrap_or(line).to_string()
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source
    }
}

pub(super) fn pattern(c: &mut Cursor) -> Result<Pattern, ParseError> {
    let Word { text, at, .. } = c.regex()?;
    Pattern::new(&text).map_err(|message| ParseError::new(at, format!("the expression is wrong: {message}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_ignore_case_and_are_not_anchored() {
        let pattern = Pattern::new("Service Not Available").unwrap();
        assert!(pattern.is_match("421 4.3.2 service not available; later"));
        assert!(!Pattern::new("(?-i)Service").unwrap().is_match("service"));
        assert!(Pattern::new("").unwrap().is_match("anything"));
        assert!(Pattern::new(r"http:\/\/a\.b\/c \x23\d").unwrap().is_match("http://a.b/c #7"));
    }

    #[test]
    fn look_ahead_takes_the_backtracking_engine() {
        let pattern = Pattern::new(r"^4(?!21)\d\d").unwrap();
        assert!(!pattern.is_linear());
        assert!(pattern.is_match("450 x") && !pattern.is_match("421 x"));
    }

    #[test]
    fn faults_are_described_on_one_line() {
        assert_eq!(Pattern::new("a(b").unwrap_err(), "unclosed group");
        assert!(Pattern::new("(a{1000}){1000}").unwrap_err().lines().count() == 1);
    }
}
