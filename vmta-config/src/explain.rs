//! Where a value comes from, and what was written but is not in effect.

use std::fmt;

use crate::config::Config;
use crate::diagnostic::Origin;
use crate::scope::Scope;
use crate::slots::Setting;
use crate::table::{Directive, RowId, Status, directives, find};

/// A directive that was used and that the engine does not act on.
#[derive(Clone, Debug)]
pub struct Note {
    pub directive: &'static Directive,
    /// Every use, in the order of reading; never empty.
    pub origins: Vec<Origin>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` ", self.origins[0], self.directive.name)?;
        match self.directive.status {
            Status::InEffect | Status::Planned => f.write_str("is not in effect yet")?,
            Status::NoEffect(reason) => write!(f, "has no effect: {reason}")?,
            Status::Replaced(by) => write!(f, "is an older form, read as {by}")?,
        }
        match self.origins.len() {
            1 => Ok(()),
            2 => f.write_str(" (and 1 more use)"),
            n => write!(f, " (and {} more uses)", n - 1),
        }
    }
}

/// One value that a queue has or would have had.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// As written: perhaps an older spelling.
    pub directive: &'static str,
    /// As written; `None` where nothing is set and there is no default.
    pub value: Option<String>,
    /// `None` for a default.
    pub origin: Option<Origin>,
    /// The entry it stands in, such as `<domain *>` or `<virtual-mta a> <domain *>`; empty for a default.
    pub entry: String,
    /// A more specific entry says otherwise.
    pub overridden: bool,
}

impl Config {
    /// Every `<domain>` directive that applies to the queue `domain/vmta`, from the most general to the most
    /// specific, by directive; with the defaults of those in effect that nobody set.
    pub fn explain_queue(&self, domain: &str, vmta: &str) -> Vec<Explained> {
        let written: Vec<(&Setting, String)> = self
            .domain_sections(domain, vmta)
            .into_iter()
            .flat_map(|section| section.settings.iter().map(|s| (s, section.label.clone())))
            .collect();
        let mut explained = Vec::new();
        for row in directives().filter(|d| d.scopes.contains(Scope::Domain) && d.same_as.is_none()) {
            let Some(slot) = find(Scope::Domain, row.name) else { continue };
            let of_slot: Vec<_> = written.iter().filter(|(s, _)| s.slot == slot).collect();
            if of_slot.is_empty() && row.status == Status::InEffect && row.name != "include" {
                explained.push(default(slot));
            }
            for (i, (setting, entry)) in of_slot.iter().enumerate() {
                explained.push(Explained {
                    directive: setting.written.row().name,
                    value: Some(setting.text.clone()),
                    origin: Some(setting.origin.clone()),
                    entry: entry.clone(),
                    overridden: !row.repeats && i + 1 < of_slot.len(),
                });
            }
        }
        explained
    }
}

fn default(slot: RowId) -> Explained {
    let row = slot.row();
    let value = (!row.default.is_empty()).then(|| row.default.to_string());
    Explained { directive: row.name, value, origin: None, entry: String::new(), overridden: false }
}
