//! `<pattern-list>`, `<smtp-pattern-list>`, `<rewrite-list>` and `<address-list>` tags into lists, and the links between lists.

use std::sync::Arc;

use crate::address_list::AddressList;
use crate::build::{Builder, blocks};
use crate::choose::{Asks, Outcome, PatternList, Rule};
use crate::diagnostic::Diagnostic;
use crate::patterns::{SmtpPattern, SmtpPatternList};
use crate::rewrite_list::RewriteList;
use crate::scope::Scope;
use crate::slots::Setting;
use crate::source::Place;
use crate::tree::{Block, path_help, resolve};
use crate::value::{Choice, DomainPattern, Named, Pattern, Value};

/// A line that calls a list by its name: which line of which list it is, and where it is written.
#[derive(Debug)]
pub(crate) struct Call {
    list: usize,
    rule: usize,
    name: String,
    place: Place,
}

impl Builder<'_> {
    pub(crate) fn pattern_list(&mut self, block: &Block) {
        if block.arg.is_empty() {
            let help =
                "write `<pattern-list NAME>`; without a name it stands behind an expression, as a result";
            return self.lines.error(block.at, "a list needs a name here".into(), Some(help.into()));
        }
        let new = self.define(Named::PatternList, block);
        let number = self.rules(block, "");
        if new {
            self.config.pattern_lists_by_name.insert(block.arg.clone(), number);
        }
    }

    /// Reads the lines of a list and the lists inside it; gives its number.
    fn rules(&mut self, block: &Block, outer: &str) -> usize {
        let settings = self.lines.settings(&block.items, Scope::PatternList);
        let list = self.config.pattern_lists.len();
        self.config.pattern_lists.push(PatternList::default());
        let kept = self.keep_block(block, outer, settings.clone());
        let label = format!("{} ", self.config.sections[kept].label);
        for setting in &settings {
            let Value::Choice(header, pattern, results) = &setting.value else { continue };
            let Some(subject) = subject(setting, header, pattern) else { continue };
            let inner = blocks(&block.items).find(|inner| inner.arg_at == setting.place);
            let outcome = match (results.as_slice(), inner) {
                ([Choice::Nested], Some(inner)) => Outcome::List(self.rules(inner, &label)),
                _ => chosen(results),
            };
            let rule = self.config.pattern_lists[list].rules.len();
            if let [Choice::CallTo(name)] = results.as_slice() {
                self.calls.push(Call { list, rule, name: name.clone(), place: setting.place });
            }
            self.config.pattern_lists[list].rules.push(Rule { subject, outcome });
        }
        let behind_no_line = |inner: &&Block| settings.iter().all(|setting| setting.place != inner.arg_at);
        for inner in blocks(&block.items).filter(behind_no_line) {
            let help = "write it behind an expression: mail-from /expression/ <pattern-list>".to_string();
            self.lines.error(inner.at, "nothing leads to this list".into(), Some(help));
        }
        list
    }

    pub(crate) fn smtp_pattern_list(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::SmtpPatternList);
        let rule = |s: &Setting| match &s.value {
            Value::Reply(pattern, actions) => {
                let (pattern, actions) = (pattern.clone(), actions.clone());
                Some(SmtpPattern { pattern, actions, origin: s.origin.clone() })
            }
            _ => None,
        };
        let rules: Vec<SmtpPattern> = settings.iter().filter_map(rule).collect();
        self.keep_block(block, "", settings);
        if self.define(Named::SmtpPatternList, block) {
            match SmtpPatternList::new(&block.arg, rules) {
                Ok(list) => drop(self.config.smtp_pattern_lists.insert(block.arg.clone(), Arc::new(list))),
                Err(why) => {
                    let message = format!("the expressions of this list are together too large: {why}");
                    let help = "write fewer or shorter ones, or several lists".to_string();
                    self.lines.error(block.arg_at, message, Some(help));
                }
            }
        }
    }

    pub(crate) fn rollups(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::MxRollupList);
        for setting in &settings {
            if let Value::Rollup(patterns, name, by_ip) = &setting.value {
                self.config.rollups.add(patterns, name, *by_ip);
            }
        }
        self.keep_block(block, "", settings);
    }

    pub(crate) fn rewrite_list(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::RewriteList);
        let mut list = RewriteList::default();
        for setting in &settings {
            match &setting.value {
                Value::Pair(from, to) => list.add_sender(from, to),
                Value::DomainsTo(patterns, to) => {
                    let names = &self.config.global.host_names;
                    let each = |pattern: &DomainPattern| match pattern {
                        DomainPattern::Local => names.iter().cloned().map(DomainPattern::Exact).collect(),
                        other => vec![other.clone()],
                    };
                    list.add_domain(patterns.iter().flat_map(each).collect(), to);
                }
                _ => {}
            }
        }
        self.keep_block(block, "", settings);
        if self.define(Named::RewriteList, block) {
            self.config.rewrite_lists.insert(block.arg.clone(), Arc::new(list));
        }
    }

    pub(crate) fn address_list(&mut self, block: &Block) {
        if block.arg.is_empty() {
            let help = "write `<address-list NAME>`".to_string();
            return self.lines.error(block.at, "a list needs a name here".into(), Some(help));
        }
        let settings = self.lines.settings(&block.items, Scope::AddressList);
        let mut list = AddressList::default();
        for setting in &settings {
            match (setting.written.row().name, &setting.value) {
                ("address-file", Value::Text(file)) => self.address_file(&mut list, file, setting.place),
                (_, Value::Text(entry)) => self.address(&mut list, entry, setting.place),
                (_, Value::Pattern(pattern)) => list.add_pattern(pattern.clone()),
                (_, Value::Domains(patterns)) => {
                    patterns.iter().for_each(|pattern| list.add_domain(pattern));
                }
                _ => {}
            }
        }
        list.sort();
        self.keep_block(block, "", settings);
        if self.define(Named::AddressList, block) {
            self.config.address_lists.insert(block.arg.clone(), Arc::new(list));
        }
    }

    fn address(&mut self, list: &mut AddressList, entry: &str, place: Place) {
        if let Err(message) = list.add(entry) {
            let help = "write an address, a local part or /an expression/".to_string();
            self.lines.error(place, message, Some(help));
        }
    }

    /// One entry a line; empty lines and those that begin with `#` are none.
    fn address_file(&mut self, list: &mut AddressList, file: &str, place: Place) {
        let path = resolve(self.lines.sources.path(place.file), file);
        let text = match self.files.read(&path) {
            Ok(text) => text,
            Err(e) => return self.lines.error(place, format!("cannot read {path}: {e}"), path_help(&path)),
        };
        let (mut first, mut wrong) = (None, 0);
        for (number, line) in text.lines().enumerate() {
            let entry = line.trim();
            if entry.is_empty() || entry.starts_with('#') {
                continue;
            }
            if let Err(message) = list.add(entry) {
                first.get_or_insert_with(|| format!("{path}, line {}: {message}", number + 1));
                wrong += 1;
            }
        }
        if let Some(first) = first {
            let more = if wrong > 1 { format!(" (and {} more)", wrong - 1) } else { String::new() };
            let help = "write an address or a local part on each line, with nothing around it".to_string();
            self.lines.error(place, first + &more, Some(help));
        }
    }
}

fn subject(setting: &Setting, header: &Option<String>, pattern: &Option<Pattern>) -> Option<Asks> {
    Some(match (setting.written.row().name, header, pattern) {
        ("mail-from", _, Some(pattern)) => Asks::Sender(pattern.clone()),
        ("rcpt-to", _, Some(pattern)) => Asks::Recipient(pattern.clone()),
        (_, Some(header), Some(pattern)) => Asks::Header(header.clone(), pattern.clone()),
        (_, None, None) => Asks::Nothing,
        _ => return None,
    })
}

fn chosen(results: &[Choice]) -> Outcome {
    let (mut vmta, mut priority) = (None, None);
    for result in results {
        match result {
            Choice::VirtualMta(name) => vmta = Some(name.clone()),
            Choice::Priority(number) => priority = Some(*number),
            Choice::CallTo(_) | Choice::Nested => {}
        }
    }
    Outcome::Choose { virtual_mta: vmta, priority }
}

/// Lists inside tags that are not in effect.
pub(crate) fn idle(builder: &mut Builder, block: &Block, scope: Scope) {
    if scope == Scope::AddressList {
        let message = "this list is not in effect yet: the tag around it is not".to_string();
        let found = Diagnostic::at(builder.lines.sources, block.at, message);
        builder.lines.findings.add_fatal(found.warning());
    }
}

/// Connects calls with the lists that are called. A call that leads back to its own list is left out.
pub(crate) fn link(builder: &mut Builder) {
    for call in std::mem::take(&mut builder.calls) {
        // Unknown names have been reported.
        let Some(&target) = builder.config.pattern_lists_by_name.get(&call.name) else { continue };
        if leads_to(&builder.config.pattern_lists, target, call.list) {
            let message = format!("call-to:{} leads back to this list", call.name);
            let help = "lists may call each other, but in no circle".to_string();
            builder.lines.error(call.place, message, Some(help));
            continue;
        }
        builder.config.pattern_lists[call.list].rules[call.rule].outcome = Outcome::List(target);
    }
}

fn leads_to(lists: &[PatternList], from: usize, to: usize) -> bool {
    let (mut seen, mut open) = (vec![false; lists.len()], vec![from]);
    while let Some(list) = open.pop() {
        if list == to {
            return true;
        }
        if !std::mem::replace(&mut seen[list], true) {
            open.extend(lists[list].rules.iter().filter_map(|rule| match rule.outcome {
                Outcome::List(inner) => Some(inner),
                Outcome::Choose { .. } => None,
            }));
        }
    }
    false
}
