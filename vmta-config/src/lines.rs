//! Directive lines into settings, by the table: unknown, misplaced and wrong ones are reported and left out.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::diagnostic::{Diagnostic, Findings, Origin};
use crate::explain::Note;
use crate::lex::{Cursor, shorten};
use crate::macros::{MacroError, Macros, is_macro_name};
use crate::nearest::nearest;
use crate::older::today;
use crate::report::Usage;
use crate::scope::{Scope, Scopes};
use crate::slots::Setting;
use crate::source::{Place, Sources};
use crate::table::{self, RowId, Status};
use crate::tree::{Item, Line};
use crate::value::{Choice, Named, Syntax, Value, known_ciphers};

/// A reference to something that must be defined.
#[derive(Debug)]
pub(crate) struct Reference {
    pub kind: Named,
    pub name: String,
    pub place: Place,
}

/// Turns lines into settings and collects what is wrong, what is referred to and what is not in effect.
pub(crate) struct Lines<'a> {
    pub sources: &'a Sources,
    pub findings: &'a mut Findings,
    usage: &'a mut Usage,
    pub macros: Macros,
    pub references: Vec<Reference>,
    used: BTreeMap<RowId, Vec<Origin>>,
}

impl<'a> Lines<'a> {
    /// Macros are collected first, since they may be used before their definition.
    pub fn new(
        sources: &'a Sources,
        findings: &'a mut Findings,
        usage: &'a mut Usage,
        items: &[Item],
    ) -> Lines<'a> {
        let mut lines = Lines {
            sources,
            findings,
            usage,
            macros: Macros::default(),
            references: Vec::new(),
            used: BTreeMap::new(),
        };
        lines.define_macros(items);
        lines
    }

    fn define_macros(&mut self, items: &[Item]) {
        let (mut definitions, mut places) = (HashMap::new(), HashMap::new());
        for item in items {
            let Item::Line(line) = item else { continue };
            let Some((name, members)) = self.macro_line(line) else { continue };
            if let Some(before) = places.insert(name.clone(), line.args_at) {
                let message = format!("macro `{name}` is defined a second time; this definition counts");
                let help = format!("the first one is at {}", self.sources.origin(before));
                self.findings
                    .add_fatal(Diagnostic::at(self.sources, line.args_at, message).help(help).warning());
            }
            definitions.insert(name, members);
        }
        let (macros, faults) = Macros::resolve(&definitions);
        for (name, error) in faults {
            let help = match error {
                MacroError::Loop(..) => "take one of these macros out of the list of another",
                MacroError::Unknown(_) => "define it with `domain-macro NAME a.com,b.com`",
                MacroError::NoName => "write `$` and the name of a macro",
                MacroError::Depth | MacroError::TooMany => "name the domains themselves, or use `[*.]domain`",
            };
            self.error(places[&name], error.to_string(), Some(help.to_string()));
        }
        self.macros = macros;
    }

    fn macro_line(&mut self, line: &Line) -> Option<(String, Vec<String>)> {
        if line.name != "domain-macro" {
            return None;
        }
        let mut cursor = Cursor::new(&line.args);
        // A fault in the list is reported when the line itself is checked.
        let name = cursor.word("a name").ok()?;
        if !is_macro_name(&name.text) {
            let message = format!("`{}` is not a macro name", shorten(&name.text));
            self.error(line.args_at.part(&name.at), message, Some("letters, digits and `_`".into()));
            return None;
        }
        let members = cursor.list("a list of domains").ok()?;
        Some((name.text, members.into_iter().map(|w| w.text).collect()))
    }

    pub fn error(&mut self, place: Place, message: String, help: Option<String>) {
        if self.findings.only_counted() {
            return;
        }
        self.findings.add(Diagnostic::at(self.sources, place, message).help(help));
    }

    /// The settings of one tag, or of the top level.
    pub fn settings(&mut self, items: &[Item], scope: Scope) -> Vec<Setting> {
        let mut settings: Vec<Setting> = Vec::new();
        let mut once: HashMap<RowId, Origin> = HashMap::new();
        for item in items {
            let Item::Line(line) = item else { continue };
            let Some(written) = self.row(line, scope) else { continue };
            if written.row().once
                && let Some(before) = once.insert(written, self.sources.origin(line.name_at))
            {
                let message = format!("`{}` may be given only once here", line.name);
                self.left_out(line, line.name_at, message, Some(format!("the first one is at {before}")));
                continue;
            }
            self.read(line, scope, written, &mut settings);
        }
        settings
    }

    /// The row a line is about; an unknown or misplaced one is reported.
    fn row(&mut self, line: &Line, scope: Scope) -> Option<RowId> {
        let found = find(scope, &line.name);
        if found.is_none() {
            self.usage.left_out(line.name_at.file);
            self.unknown(line, scope);
        }
        found
    }

    fn left_out(&mut self, line: &Line, place: Place, message: String, help: Option<String>) {
        self.usage.left_out(line.name_at.file);
        self.error(place, message, help);
    }

    /// One line, as what it says today.
    fn read(&mut self, line: &Line, scope: Scope, written: RowId, settings: &mut Vec<Setting>) {
        let row = written.row();
        let before = settings.len();
        let read = match row.status {
            Status::Replaced(by) => match today(scope, row.name, &line.args) {
                Some(lines) if lines.is_empty() => self.value(line, scope, written, &line.args, settings),
                Some(lines) => lines.iter().all(|(name, args)| {
                    find(scope, name).is_some_and(|newer| self.value(line, scope, newer, args, settings))
                }),
                None => {
                    let message = format!("{}: `{}` cannot be read", line.name, shorten(&line.args));
                    self.error(line.name_at, message, Some(format!("write {by}")));
                    false
                }
            },
            _ => self.value(line, scope, written, &line.args, settings),
        };
        if !read {
            settings.truncate(before);
            return self.usage.left_out(line.name_at.file);
        }
        self.usage.understood(line.name_at.file, row.status);
        let origin = self.sources.origin(line.name_at);
        self.used.entry(written).or_default().push(origin);
    }

    fn value(
        &mut self,
        line: &Line,
        scope: Scope,
        row: RowId,
        args: &str,
        settings: &mut Vec<Setting>,
    ) -> bool {
        let syntax = row.row().syntax;
        let value = match syntax.parse(args, &self.macros) {
            Ok(value) => value,
            Err(e) => {
                let place = match args != line.args || line.args.is_empty() {
                    true => line.name_at,
                    false => line.args_at.part(&e.at),
                };
                let message = match line.name.is_empty() {
                    true => e.message,
                    false => format!("{}: {}", line.name, e.message),
                };
                let example = || match line.name.as_str() {
                    "" => format!("for example: /user unknown/ {}", row.row().example()),
                    _ => format!("for example: {} {}", row.row().name, row.row().example()),
                };
                self.error(place, message, e.help.or_else(|| Some(example())));
                return false;
            }
        };
        self.refer(syntax, &value, line.args_at);
        self.tell_of_idle_ciphers(line, syntax, &value);
        let origin = self.sources.origin(line.name_at);
        let (text, place) = (args.to_string(), line.args_at);
        settings.push(Setting { written: row, slot: row.slot(scope), value, text, origin, place });
        true
    }

    /// Words of a cipher list may select nothing, as long as others do: lists are written for any library.
    fn tell_of_idle_ciphers(&mut self, line: &Line, syntax: Syntax, value: &Value) {
        let (Syntax::Ciphers { v1_3 }, Value::Ciphers(_, idle)) = (syntax, value) else { return };
        if idle.is_empty() {
            return;
        }
        let message = format!("{}: these select nothing: {}", line.name, shorten(&idle.join(", ")));
        let found = Diagnostic::at(self.sources, line.args_at, message);
        self.findings.add_fatal(found.help(known_ciphers(v1_3)).warning());
    }

    /// Remembers the names a value refers to, to be checked when everything is read.
    fn refer(&mut self, syntax: Syntax, value: &Value, place: Place) {
        let (kind, names): (Named, Vec<&String>) = match (syntax, value) {
            (Syntax::Name(kind), Value::Text(name)) => (kind, vec![name]),
            (Syntax::Names(kind), Value::List(names)) => (kind, names.iter().collect()),
            (Syntax::DefaultVirtualMta, Value::Text(name)) if name != "by-smtp-source-ip" => {
                (Named::VirtualMta, vec![name])
            }
            (_, Value::Listener(_, _, Some(name))) => (Named::Source, vec![name]),
            (_, Value::Choice(_, _, results)) => return self.refer_choices(results, place),
            _ => return,
        };
        self.references.extend(names.into_iter().map(|name| Reference { kind, name: name.clone(), place }));
    }

    fn refer_choices(&mut self, results: &[Choice], place: Place) {
        self.references.extend(results.iter().filter_map(|result| match result {
            Choice::VirtualMta(name) => {
                Some(Reference { kind: Named::VirtualMta, name: name.clone(), place })
            }
            Choice::CallTo(name) => Some(Reference { kind: Named::PatternList, name: name.clone(), place }),
            Choice::Priority(_) | Choice::Nested => None,
        }));
    }

    fn unknown(&mut self, line: &Line, scope: Scope) {
        if self.findings.only_counted() {
            return;
        }
        let shown = if line.name.is_empty() { shorten(&line.args) } else { shorten(&line.name) };
        let elsewhere = table::scopes_of(&line.name);
        if !elsewhere.is_empty() {
            let message = format!("`{shown}` is not allowed in {scope}");
            let help = format!("it belongs in {}", Scopes::of(&elsewhere));
            return self.error(line.name_at, message, Some(help));
        }
        if line.name.is_empty() {
            let message = format!("a pattern is not expected in {scope}");
            return self.error(
                line.args_at,
                message,
                Some("patterns stand in `<bounce-category-patterns>`".into()),
            );
        }
        self.error(
            line.name_at,
            format!("unknown directive `{shown}` in {scope}"),
            advice(&line.name, scope),
        );
    }

    /// Directives used that the engine does not act on, in the order of the files.
    pub fn notes(&self) -> Vec<Note> {
        let idle = self.used.iter().filter(|(row, _)| row.row().status != Status::InEffect);
        let mut notes: Vec<Note> =
            idle.map(|(row, origins)| Note { directive: row.row(), origins: origins.clone() }).collect();
        let order: HashMap<&std::sync::Arc<str>, usize> =
            (0..self.sources.len()).rev().map(|i| (self.sources.path(i as u32), i)).collect();
        notes.sort_by_key(|n| n.origins.first().map(|o| (order[&o.file], o.line)));
        notes
    }
}

/// The row of a keyword; other case is accepted, since nothing else could be meant.
fn find(scope: Scope, name: &str) -> Option<RowId> {
    if name.is_empty() {
        return table::find(scope, "/REGEX/");
    }
    table::find(scope, name).or_else(|| table::find(scope, &name.to_ascii_lowercase()))
}

/// Keywords that circulate but that PowerMTA never had, or spelt otherwise, and what to write.
#[rustfmt::skip]
const MISTAKES: &[(&str, &str)] = &[
    ("421-means-mx-unavailable", "write `smtp-421-means-mx-unavailable`"),
    ("acct-file", "accounting files are tags: `<acct-file PATH>` ... `</acct-file>`"),
    ("bounce-classification-file", "write `/expression/ category` lines in `<bounce-category-patterns>`"),
    ("category", "write `/expression/ category` on one line of `<bounce-category-patterns>`"),
    ("dkim-key", "write `domain-key SELECTOR,DOMAIN,FILE` at the top level or in `<virtual-mta>`"),
    ("dkim-private-key-file", "write `domain-key SELECTOR,DOMAIN,FILE` at the top level or in `<virtual-mta>`"),
    ("dkim-selector", "the selector is the first part of `domain-key SELECTOR,DOMAIN,FILE`"),
    ("domain-selection", "pools take their virtual MTAs in turn; leave this line out"),
    ("error-file", "errors go to `log-file`"),
    ("http-mgmt-allow", "write `http-access CIDR LEVEL`"),
    ("map-header-to-column", "write `map-header-to-field TYPE header_X FIELD`"),
    ("<pattern>", "write `/expression/ category` on one line of `<bounce-category-patterns>`"),
    ("require-starttls-before-mail", "write `require-starttls-before-auth`"),
    ("routing-file", "write `smtp-hosts` in `<domain>`"),
    ("virtual-mta-pool-map", "choose by sender with a `<pattern-list>` named in `<source>`"),
    ("}", "this language has no braces blocks; write `<name ARGUMENT>` ... `</name>`"),
];

pub(crate) fn known_mistake(name: &str) -> Option<String> {
    MISTAKES.iter().find(|(wrong, _)| *wrong == name).map(|(_, advice)| (*advice).to_string())
}

fn advice(name: &str, scope: Scope) -> Option<String> {
    if let Some(advice) = known_mistake(name) {
        return Some(advice);
    }
    if scope == Scope::BounceCategoryPatterns {
        return Some("a line here is `/expression/ category`, and an expression stands on one line".into());
    }
    if let Some(near) = nearest(name, table::names_in(scope)) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: HashSet<&str> = table::directives().map(|d| d.name).collect();
    let mut all: Vec<&str> = all.into_iter().collect();
    all.sort_unstable();
    let Some(near) = nearest(name, all) else {
        return Some("docs/directives.md lists all directives".to_string());
    };
    Some(format!("did you mean `{near}`? It belongs in {}", Scopes::of(&table::scopes_of(near))))
}
