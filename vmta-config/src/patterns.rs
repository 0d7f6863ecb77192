//! Lists of patterns: bounce categories and SMTP replies (reference 3 and 8.2). The first match counts.

use regex::{RegexSet, RegexSetBuilder};

use crate::diagnostic::Origin;
use crate::value::{Pattern, SmtpAction};

/// Bound on the compiled size of the expressions of one list together, in bytes.
const MAX_COMPILED: usize = 64 << 20;
/// Bound on what matching with one list may keep, in bytes.
const MAX_STATES: usize = 16 << 20;

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

/// One `<smtp-pattern-list>`. However many lines it has, a reply is read once.
#[derive(Clone, Debug)]
pub struct SmtpPatternList {
    name: String,
    rules: Vec<SmtpPattern>,
    /// The expressions that are matched in linear time, and the rule of each.
    set: RegexSet,
    linear: Vec<usize>,
    /// Rules whose expressions only a backtracking engine knows.
    backtracking: Vec<usize>,
}

impl SmtpPatternList {
    pub(crate) fn new(name: &str, rules: Vec<SmtpPattern>) -> Result<SmtpPatternList, String> {
        let (linear, backtracking): (Vec<usize>, Vec<usize>) =
            (0..rules.len()).partition(|rule| rules[*rule].pattern.is_linear());
        let set = RegexSetBuilder::new(linear.iter().map(|rule| rules[*rule].pattern.source()))
            .case_insensitive(true)
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(MAX_STATES)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(SmtpPatternList { name: name.to_string(), rules, set, linear, backtracking })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// In the order of the file, what is included standing where it is included.
    pub fn rules(&self) -> &[SmtpPattern] {
        &self.rules
    }

    /// The first line that fits a reply. Its text begins with the code, and its lines are joined as in accounting.
    pub fn matches(&self, reply: &str) -> Option<&SmtpPattern> {
        let linear = self.set.matches(reply).iter().next().map(|at| self.linear[at]);
        let earlier = |rule: &&usize| linear.is_none_or(|found| **rule < found);
        let mut backtracking = self.backtracking.iter().take_while(earlier);
        let first = backtracking.find(|rule| self.rules[**rule].pattern.is_match(reply)).copied();
        first.or(linear).map(|rule| &self.rules[rule])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::MemoryFiles;
    use crate::load::{Loaded, load};
    use std::sync::Arc;

    fn loaded(files: &[(&str, &str)], lines: &str) -> Loaded {
        let text = format!(
            "log-file /l\n<spool /s>\n</spool>\n<smtp-pattern-list l>\n{lines}\n</smtp-pattern-list>\n\
             <domain *>\n smtp-pattern-list l\n</domain>\n"
        );
        let files = files.iter().copied().chain([("/e/config", text.as_str())]);
        load("/e/config", &MemoryFiles::new(files), false)
    }

    fn list(files: &[(&str, &str)], lines: &str) -> Arc<SmtpPatternList> {
        let loaded = loaded(files, lines);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        config.smtp_pattern_list("l").expect("it is there").clone()
    }

    fn actions<'a>(list: &'a SmtpPatternList, reply: &str) -> Option<&'a [SmtpAction]> {
        list.matches(reply).map(|rule| rule.actions.as_slice())
    }

    const BACKOFF: SmtpAction = SmtpAction::Backoff { to_normal_after: None };

    #[test]
    fn the_first_line_that_fits_counts() {
        let list = list(
            &[],
            "reply /^421 .*too many/ mode=backoff\nreply /too many/ skip-mx,defer-queue\n\
             reply /^4/ defer-queue\nreply /(?-i)Welcome/ mode=normal",
        );
        assert_eq!(actions(&list, "421 4.7.0 Too Many connections"), Some(&[BACKOFF][..]));
        assert_eq!(
            actions(&list, "550 too many errors"),
            Some(&[SmtpAction::SkipMx, SmtpAction::DeferQueue][..])
        );
        assert_eq!(actions(&list, "450 4.2.1 mailbox busy"), Some(&[SmtpAction::DeferQueue][..]));
        assert_eq!(actions(&list, "250 Welcome"), Some(&[SmtpAction::Normal][..]));
        assert_eq!(actions(&list, "250 welcome"), None);
        assert_eq!(list.matches("450 x").unwrap().pattern.source(), "^4");
        assert_eq!(list.matches("450 x").unwrap().origin.to_string(), "/e/config:7");
    }

    #[test]
    fn look_around_keeps_its_place_among_the_others() {
        let list = list(
            &[],
            "reply /^452 / skip-mx\nreply /^4(?!21)\\d\\d / defer-queue\nreply /^4/ mode=backoff\n\
             reply /^5(?!50)/ mode=normal",
        );
        assert_eq!(actions(&list, "452 full"), Some(&[SmtpAction::SkipMx][..]));
        assert_eq!(actions(&list, "450 busy"), Some(&[SmtpAction::DeferQueue][..]));
        assert_eq!(actions(&list, "421 bye"), Some(&[BACKOFF][..]));
        assert_eq!(actions(&list, "554 no"), Some(&[SmtpAction::Normal][..]));
        assert_eq!(actions(&list, "550 no"), None);
    }

    #[test]
    fn what_is_included_stands_where_it_is_included() {
        let common = ("/e/common", "reply /busy/ mode=backoff\n");
        let before = list(&[common], "include common\nreply /very busy/ defer-queue");
        assert_eq!(actions(&before, "450 very busy"), Some(&[BACKOFF][..]));
        let behind = list(&[common], "reply /very busy/ defer-queue\ninclude common");
        assert_eq!(actions(&behind, "450 very busy"), Some(&[SmtpAction::DeferQueue][..]));
        assert_eq!(behind.matches("450 busy").unwrap().origin.to_string(), "/e/common:1");
    }

    #[test]
    fn an_empty_list_fits_nothing() {
        let list = list(&[], "");
        assert_eq!((list.rules().len(), list.name()), (0, "l"));
        assert!(list.matches("421 4.7.0 try later").is_none() && list.matches("").is_none());
    }

    #[test]
    fn expressions_that_are_too_large_together_are_an_error_at_the_list() {
        let lines: Vec<String> =
            (0..80).map(|n| format!("reply /{n}(?:x{{100}}){{250}}/ mode=backoff")).collect();
        let loaded = loaded(&[], &lines.join("\n"));
        let found: Vec<String> =
            loaded.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("/e/config:4") && found[0].contains("too large"), "{found:?}");
    }
}
