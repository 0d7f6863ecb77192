//! Bounce categories: a regular expression list, the operator's before ours, first match wins (reference 8.1, 8.2).
//!
//! The matched text is `status;diagnostic`, the status without its explanation, so that patterns such as
//! `/^[45]\.1\.[1346];/` mean what they mean elsewhere.

use super::patterns::DEFAULT;
use crate::spool::record::Said;
use hashbrown::HashMap;
use regex::{RegexSet, RegexSetBuilder};
use thiserror::Error;

/// Patterns an operator may list.
const MAX_PATTERNS: usize = 5_000;
/// Compiled size of all linear patterns together, bytes.
const MAX_COMPILED: usize = 64 << 20;
/// Steps a backtracking pattern may take on one reply before it counts as no match.
const MAX_STEPS: usize = 20_000;
/// Replies whose category is remembered.
const REMEMBERED: usize = 4_096;
/// Of a longer reply only this much is looked at, bytes.
const MAX_TEXT: usize = 2_048;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    #[error("bounce category pattern /{pattern}/: {reason}")]
    Syntax { pattern: String, reason: String },
    #[error("bounce category patterns: `/{pattern}/` has no category; write /REGEX/ CATEGORY")]
    NoCategory { pattern: String },
    #[error("bounce category patterns: more than {MAX_PATTERNS} lines")]
    TooMany,
    #[error("bounce category patterns: together too large to compile ({0}); use fewer or shorter ones")]
    TooLarge(String),
}

/// A category, as an index into [`Categories::name`]. Cheap to keep beside a [`Said`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Category(u16);

/// A pattern only a backtracking matcher understands, with its place in the list.
#[derive(Clone)]
struct Backtracking {
    place: usize,
    regex: fancy_regex::Regex,
}

/// The compiled list. Clones share the compiled patterns.
#[derive(Clone)]
pub struct Categories {
    names: Vec<String>,
    /// Category of each pattern.
    of: Vec<Category>,
    /// Linear-time patterns; `places[i]` is the place of pattern `i` of the set in the list.
    set: RegexSet,
    places: Vec<usize>,
    backtracking: Vec<Backtracking>,
    remembered: HashMap<Said, Category>,
    text: String,
}

impl Categories {
    /// Compiles the operator's patterns (regular expression without slashes, category) followed by the default list.
    pub fn new<S: AsRef<str>>(operator: &[(S, S)]) -> Result<Categories, PatternError> {
        if operator.len() > MAX_PATTERNS {
            return Err(PatternError::TooMany);
        }
        let mut made = Categories {
            names: Vec::new(),
            of: Vec::new(),
            set: RegexSet::empty(),
            places: Vec::new(),
            backtracking: Vec::new(),
            remembered: HashMap::new(),
            text: String::new(),
        };
        let mut linear = Vec::new();
        let operator = operator.iter().map(|(pattern, category)| (pattern.as_ref(), category.as_ref()));
        for (place, (pattern, category)) in operator.chain(DEFAULT.iter().copied()).enumerate() {
            if category.is_empty() {
                return Err(PatternError::NoCategory { pattern: pattern.to_owned() });
            }
            let category = made.intern(category);
            made.of.push(category);
            if regex::RegexBuilder::new(pattern).case_insensitive(true).build().is_ok() {
                linear.push(pattern);
                made.places.push(place);
            } else {
                made.backtracking.push(Backtracking { place, regex: backtracking(pattern)? });
            }
        }
        made.set = RegexSetBuilder::new(&linear)
            .case_insensitive(true)
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(16 << 20)
            .build()
            .map_err(|e| PatternError::TooLarge(e.to_string()))?;
        Ok(made)
    }

    fn intern(&mut self, name: &str) -> Category {
        let at = self.names.iter().position(|n| n == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        // At most one new name a pattern, and fewer patterns than u16 holds.
        Category(at as u16)
    }

    pub fn name(&self, category: Category) -> &str {
        &self.names[usize::from(category.0)]
    }

    /// The category of what was said; remembers recent answers.
    pub fn of_said(&mut self, said: &Said) -> Category {
        if let Some(known) = self.remembered.get(said) {
            return *known;
        }
        let category = self.of_text(&said.status, &said.diagnostic);
        if self.remembered.len() >= REMEMBERED {
            // Starting over costs a match per reply still in use; keeping an order of age would cost more.
            self.remembered.clear();
        }
        self.remembered.insert(said.clone(), category);
        category
    }

    /// The category of a status (its explanation in parentheses is not looked at) and a diagnostic.
    pub fn of_text(&mut self, status: &str, diagnostic: &str) -> Category {
        let code = status.split([' ', '(']).next().unwrap_or_default();
        let mut end = diagnostic.len().min(MAX_TEXT);
        while !diagnostic.is_char_boundary(end) {
            end -= 1;
        }
        self.text.clear();
        self.text.push_str(code);
        self.text.push(';');
        self.text.push_str(&diagnostic[..end]);
        let mut first = self.set.matches(&self.text).iter().next().map(|i| self.places[i]);
        for pattern in &self.backtracking {
            if first.is_some_and(|place| place < pattern.place) {
                break;
            }
            if pattern.regex.is_match(&self.text).unwrap_or(false) {
                first = Some(pattern.place);
                break;
            }
        }
        // The default list ends with a pattern that matches everything.
        first.map_or(Category(0), |place| self.of[place])
    }
}

fn backtracking(pattern: &str) -> Result<fancy_regex::Regex, PatternError> {
    fancy_regex::RegexBuilder::new(pattern)
        .case_insensitive(true)
        .backtrack_limit(MAX_STEPS)
        .build()
        .map_err(|e| PatternError::Syntax { pattern: pattern.to_owned(), reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(categories: &mut Categories, status: &str, diagnostic: &str) -> String {
        let category = categories.of_text(status, diagnostic);
        categories.name(category).to_owned()
    }

    fn default() -> Categories {
        Categories::new::<&str>(&[]).unwrap()
    }

    #[test]
    fn status_alone_decides_when_the_text_is_silent() {
        let mut c = default();
        for (status, category) in [
            ("5.1.1 (bad destination mailbox address)", "bad-mailbox"),
            ("5.1.2 (bad destination system: no such domain)", "bad-domain"),
            ("5.1.8", "invalid-sender"),
            ("5.2.0", "bad-mailbox"),
            ("5.2.1", "inactive-mailbox"),
            ("4.2.2", "quota-issues"),
            ("5.3.3", "content-related"),
            ("5.3.5", "bad-configuration"),
            ("4.4.1 (no answer from host)", "no-answer-from-host"),
            ("4.4.2", "bad-connection"),
            ("5.4.6", "routing-errors"),
            ("4.4.7 (delivery time expired)", "message-expired"),
            ("5.5.3", "policy-related"),
            ("5.5.1", "protocol-errors"),
            ("5.6.1", "content-related"),
            ("5.7.1", "policy-related"),
            ("5.7.7", "content-related"),
            ("4.0.0 (undefined status)", "other"),
            ("", "other"),
        ] {
            assert_eq!(name(&mut c, status, ""), category, "{status}");
        }
    }

    #[test]
    fn the_operators_list_goes_first_and_its_first_match_wins() {
        let mut c = Categories::new(&[
            ("kitten", "too-cute"),
            (r"^5\.1\.1;", "hard"),
            (r"(?<!not )over quota", "full"), // look-behind: needs the backtracking matcher
        ])
        .unwrap();
        assert_eq!(name(&mut c, "5.1.1 (x)", "smtp;550 KITTEN"), "too-cute");
        assert_eq!(name(&mut c, "5.1.1 (x)", "smtp;550 dog"), "hard");
        assert_eq!(name(&mut c, "5.0.0", "smtp;550 over quota"), "full");
        assert_eq!(name(&mut c, "5.1.1", "smtp;550 over quota"), "hard");
        assert_eq!(name(&mut c, "5.0.0", "smtp;550 user unknown"), "bad-mailbox");
    }

    #[test]
    fn a_catch_all_of_the_operator_hides_the_default_list() {
        let mut c = Categories::new(&[("", "unclassified")]).unwrap();
        assert_eq!(name(&mut c, "5.1.1", "smtp;550 user unknown"), "unclassified");
    }

    #[test]
    fn a_hostile_reply_ends_quickly_in_a_backtracking_pattern() {
        let mut c = Categories::new(&[(r"(a+)+\1$", "slow")]).unwrap();
        let reply = format!("{}!{}", "a".repeat(1_000), "b".repeat(1_000_000));
        assert_eq!(name(&mut c, "5.0.0", &reply), "other");
        assert_eq!(name(&mut c, "5.0.0", &"é".repeat(5_000)), "other");
    }

    #[test]
    fn mistakes_name_the_pattern() {
        assert!(
            matches!(Categories::new(&[("(", "x")]), Err(PatternError::Syntax { pattern, .. }) if pattern == "(")
        );
        assert!(matches!(Categories::new(&[("x", "")]), Err(PatternError::NoCategory { .. })));
    }

    #[test]
    fn answers_are_remembered_and_the_memory_is_bounded() {
        let mut c = default();
        for i in 0..REMEMBERED + 10 {
            let said = Said { status: "5.1.1 (x)".into(), diagnostic: format!("smtp;550 no {i}") };
            let category = c.of_said(&said);
            assert_eq!(c.of_said(&said), category);
        }
        assert!(c.remembered.len() <= REMEMBERED);
    }

    /// Real replies of mailbox providers with the categories a person accepts; the corpus is not part of the
    /// project, so the test passes over its absence.
    #[test]
    fn real_replies_get_an_accepted_category() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora/isp-replies.csv");
        let path = std::env::var("POSTHASTE_ISP_REPLIES").unwrap_or_else(|_| path.to_owned());
        let Ok(mut reader) = ::csv::Reader::from_path(&path) else {
            eprintln!("skipped: {path} is not there");
            return;
        };
        let mut c = default();
        let enhanced = regex::Regex::new(r"^\d{3}[ -]#?([245]\.\d{1,3}\.\d{1,3})\b").unwrap();
        let (mut right, mut all) = (0, 0);
        for row in reader.records() {
            let row = row.unwrap();
            let (reply, accepted) = (&row[2], &row[5]);
            let status = match enhanced.captures(reply) {
                Some(found) => found[1].to_owned(),
                None => format!("{}.0.0", &reply[..1]),
            };
            let found = name(&mut c, &status, &format!("smtp;{reply}"));
            all += 1;
            if accepted.split('|').any(|a| a == found) {
                right += 1;
            } else {
                eprintln!("{} {found}, accepted {accepted}: {}", &row[0], &reply[..reply.len().min(120)]);
            }
        }
        eprintln!(
            "{right} of {all} replies in an accepted category ({:.1} %)",
            100.0 * right as f64 / all as f64
        );
        assert!(right * 100 >= all * 85, "{right} of {all}");
    }
}
