//! The table of every directive: one row each, from which parsing, checks, notes and the manual are made.

mod acct;
mod domain;
mod domain_extras;
mod global;
mod lists;
mod management;
mod source;
mod vmta;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::macros::Macros;
use crate::scope::{Scope, Scopes};
use crate::value::{Syntax, Value};

/// Whether the engine acts on a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    InEffect,
    /// Parsed and checked; the engine does not act on it yet.
    Planned,
    /// Accepted for the sake of existing files; the reason completes "has no effect: ...".
    NoEffect(&'static str),
    /// An older form. It is read as the newer one, which the text names.
    Replaced(&'static str),
}

/// One row of the table. Rows of the same name in different scopes are different directives.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    pub name: &'static str,
    pub scopes: Scopes,
    /// Section of the compatibility reference.
    pub section: &'static str,
    pub syntax: Syntax,
    /// As it would be written; empty means not set.
    pub default: &'static str,
    pub status: Status,
    /// One line.
    pub doc: &'static str,
    /// Several lines accumulate instead of replacing each other.
    pub repeats: bool,
    /// A second line in the same scope is an error.
    pub once: bool,
    /// Not PowerMTA's, but our own.
    pub ours: bool,
    /// Another spelling of this directive of the same scope.
    pub same_as: Option<&'static str>,
    /// Why a change takes a restart; empty for everything else, which a reload applies.
    pub restart: &'static str,
    /// A value as it might be written.
    example: &'static str,
}

const fn no(reason: &'static str) -> Status {
    Status::NoEffect(reason)
}

const fn instead(what: &'static str) -> Status {
    Status::Replaced(what)
}

impl Directive {
    const fn new(
        scopes: Scopes,
        section: &'static str,
        name: &'static str,
        syntax: Syntax,
        default: &'static str,
        status: Status,
        doc: &'static str,
    ) -> Directive {
        let (repeats, once, ours, same_as, restart, example) = (false, false, false, None, "", "");
        Directive {
            name,
            scopes,
            section,
            syntax,
            default,
            status,
            doc,
            repeats,
            once,
            ours,
            same_as,
            restart,
            example,
        }
    }

    /// A value as it might be written: the one given, or one that differs from the default, or the default.
    pub fn example(&self) -> &'static str {
        match (self.example, self.syntax) {
            ("", Syntax::Bool) if matches!(self.default, "true" | "yes") => "no",
            ("", Syntax::Bool) => "yes",
            ("", Syntax::BoolOr([word, ..])) => word,
            ("", _) => self.default,
            (example, _) => example,
        }
    }

    const fn eg(mut self, value: &'static str) -> Directive {
        self.example = value;
        self
    }

    const fn restart(mut self, why: &'static str) -> Directive {
        self.restart = why;
        self
    }

    const fn repeats(mut self) -> Directive {
        self.repeats = true;
        self
    }

    const fn once(mut self) -> Directive {
        self.once = true;
        self
    }

    const fn ours(mut self) -> Directive {
        self.ours = true;
        self
    }

    const fn same_as(mut self, name: &'static str) -> Directive {
        self.same_as = Some(name);
        self
    }
}

/// Index of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RowId(u16);

struct Table {
    rows: Vec<&'static Directive>,
    defaults: Vec<Option<Value>>,
    by_name: HashMap<(Scope, &'static str), RowId>,
}

const PARTS: [&[Directive]; 31] = [
    global::GLOBAL,
    management::MANAGEMENT,
    acct::SPOOL,
    source::SOURCE,
    source::SMTP_USER,
    source::SOURCE_GROUP,
    source::LISTENER,
    source::LISTENER_TLS,
    source::API_LISTENER_TLS,
    domain::DOMAIN,
    domain_extras::DOMAIN_EXTRAS,
    vmta::VIRTUAL_MTA,
    vmta::VMTA_AND_POOL,
    vmta::POOL,
    vmta::PROXY,
    acct::ACCT_FILE,
    lists::PATTERNS,
    lists::SMTP_PATTERNS,
    lists::CATEGORIES,
    lists::PROCESSORS,
    lists::ADDRESSES,
    lists::EMAIL_PATTERNS,
    lists::ROLLUP,
    lists::REWRITE,
    lists::KEYS,
    lists::ALIASES,
    lists::DNS,
    lists::API,
    lists::VAULT,
    lists::SIGNALS,
    lists::GM_IMPRINTER,
];

/// Constant data, indexed once: the only state outside a `Config`.
static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let rows: Vec<&Directive> = PARTS.into_iter().chain([lists::SIGNALS_FILTER]).flatten().collect();
    let mut by_name = HashMap::new();
    for (i, row) in rows.iter().enumerate() {
        for scope in row.scopes.iter() {
            by_name.insert((scope, row.name), RowId(i as u16));
        }
    }
    let none = Macros::default();
    let default = |row: &&Directive| match row.default {
        "" => None,
        text => row.syntax.parse(text, &none).ok(),
    };
    Table { defaults: rows.iter().map(default).collect(), rows, by_name }
});

/// Every directive, in the order of the table.
pub fn directives() -> impl Iterator<Item = &'static Directive> {
    TABLE.rows.iter().copied()
}

pub(crate) fn find(scope: Scope, name: &str) -> Option<RowId> {
    let by_name: &HashMap<(Scope, &str), RowId> = &TABLE.by_name;
    let exact = by_name.get(&(scope, name)).copied();
    // What Goodmail's tag held is not known by name.
    exact.or_else(|| (scope == Scope::GmImprinter).then(|| by_name.get(&(scope, "*")).copied())?)
}

impl RowId {
    pub fn row(self) -> &'static Directive {
        TABLE.rows[self.0 as usize]
    }

    pub fn default(self) -> Option<&'static Value> {
        TABLE.defaults[self.0 as usize].as_ref()
    }

    /// The row whose value this one sets: another spelling sets that of the usual one.
    pub fn slot(self, scope: Scope) -> RowId {
        self.row().same_as.and_then(|name| find(scope, name)).unwrap_or(self)
    }
}

/// The names of a scope, for "did you mean".
pub(crate) fn names_in(scope: Scope) -> impl Iterator<Item = &'static str> {
    directives().filter(move |d| d.scopes.contains(scope)).map(|d| d.name)
}

/// Every scope that knows `name`.
pub(crate) fn scopes_of(name: &str) -> Vec<Scope> {
    directives().filter(|d| d.name == name).flat_map(|d| d.scopes.iter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_directive_has_two_rows_in_a_scope() {
        let mut seen = HashSet::new();
        for row in directives() {
            for scope in row.scopes.iter() {
                assert!(seen.insert((scope, row.name)), "{} twice in {scope}", row.name);
            }
        }
        assert!(seen.len() > 430, "{} entries", seen.len());
    }

    #[test]
    fn every_default_is_a_value_that_could_be_written() {
        for row in directives().filter(|r| !r.default.is_empty()) {
            let parsed = row.syntax.parse(row.default, &Macros::default());
            assert!(parsed.is_ok(), "{} `{}`: {}", row.name, row.default, parsed.unwrap_err());
        }
    }

    #[test]
    fn every_row_says_what_it_is_for_on_one_line() {
        for row in directives() {
            assert!(!row.doc.is_empty() && row.doc.len() <= 120 && !row.doc.contains('\n'), "{}", row.name);
            assert!(row.doc.starts_with(|c: char| c.is_uppercase() || c == '`'), "{}", row.name);
            assert!(!row.doc.contains("see ") && !row.doc.contains("See "), "{}: {}", row.name, row.doc);
            assert!(row.section.starts_with(['2', '3', '8']), "{}", row.name);
        }
    }

    #[test]
    fn every_example_is_a_value_that_could_be_written() {
        for row in directives().filter(|r| r.syntax != Syntax::DomainMacro) {
            let example = row.example();
            assert!(!example.is_empty(), "{} of {} has no example", row.name, row.scopes);
            // A pattern stands before the value of a line that has no name.
            let line =
                if row.name == "/REGEX/" { format!("/user unknown/ {example}") } else { example.into() };
            let parsed = row.syntax.parse(&line, &Macros::default());
            assert!(parsed.is_ok(), "{} `{line}`: {}", row.name, parsed.unwrap_err());
        }
    }

    #[test]
    fn another_spelling_has_the_syntax_of_the_usual_one() {
        for row in directives() {
            for (scope, name) in row.scopes.iter().zip(row.same_as) {
                assert_eq!(find(scope, name).expect(name).row().syntax, row.syntax, "{}", row.name);
            }
        }
    }
}
