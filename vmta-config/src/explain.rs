//! Where a value comes from, and what was written but is not in effect.

use std::fmt;

use crate::config::{Config, Resolved};
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

/// One value that a queue or virtual MTA has or would have had.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// As written: perhaps another spelling.
    pub directive: &'static str,
    /// The usual spelling; values of the same one stand together, the effective one last.
    pub usual: &'static str,
    /// As written; `None` where nothing is set and there is no default.
    pub value: Option<String>,
    /// `None` for a default.
    pub origin: Option<Origin>,
    /// The entry it stands in, such as `<domain *>` or `<virtual-mta a> <domain *>`; empty for a default and for the top
    /// level.
    pub entry: String,
    /// A more specific entry says otherwise.
    pub overridden: bool,
    pub status: Status,
}

/// A setting and the entry it stands in.
type Entered<'a> = (&'a Setting, &'a str);

impl Config {
    /// Every `<domain>` directive that applies to the queue `domain/vmta`, from the most general to the most
    /// specific, by directive; with the defaults of those in effect that nobody set.
    pub fn explain_queue(&self, domain: &str, vmta: &str) -> Vec<Explained> {
        let written: Vec<Entered> = self
            .domain_sections(domain, vmta)
            .into_iter()
            .flat_map(|section| section.settings.iter().map(|s| (s, section.label.as_str())))
            .collect();
        explain(Scope::Domain, &written, true)
    }

    /// The same for the directives of a virtual MTA or pool itself: what the top level and its pools say, and what it
    /// says.
    pub fn explain_vmta(&self, name: &str) -> Vec<Explained> {
        let mut written: Vec<Entered> = Vec::new();
        let own = match self.resolve_vmta(name) {
            Resolved::Vmta(vmta) => {
                let pools = vmta.pools.iter().filter_map(|p| self.pool(p));
                pools.for_each(|pool| written.extend(self.entered(pool.section)));
                self.entered(vmta.section)
            }
            Resolved::Pool(pool) => self.entered(pool.section),
            Resolved::Default | Resolved::Unknown => Vec::new(),
        };
        written.extend(own);
        // A virtual MTA without source addresses of its own has those of the top level (reference 1.4 rule 11).
        for inherited in ["smtp-source-host", "smtp-proxy-source-host", "use-proxy"] {
            if written.iter().all(|(s, _)| s.slot.row().name != inherited) {
                let top = self.sections.first().map_or(&[][..], |s| s.settings.as_slice());
                let top = top.iter().filter(|s| s.slot.row().name == inherited);
                written.extend(top.map(|s| (s, "")));
            }
        }
        written.retain(|(s, _)| s.slot.row().name != "virtual-mta");
        explain(Scope::VirtualMta, &written, false)
    }

    /// The same for the top level.
    pub fn explain_global(&self) -> Vec<Explained> {
        explain(Scope::Global, &self.entered(0), true)
    }

    fn entered(&self, section: usize) -> Vec<Entered<'_>> {
        let section = &self.sections[section];
        section.settings.iter().map(|s| (s, section.label.as_str())).collect()
    }
}

fn explain(scope: Scope, written: &[Entered], defaults: bool) -> Vec<Explained> {
    let mut explained = Vec::new();
    for row in directives().filter(|d| d.scopes.contains(scope) && d.same_as.is_none()) {
        let Some(slot) = find(scope, row.name) else { continue };
        let of_slot: Vec<&Entered> =
            written.iter().filter(|(s, _)| s.slot == slot || s.slot.row().name == row.name).collect();
        if of_slot.is_empty() && defaults && row.status == Status::InEffect && row.name != "include" {
            explained.push(default(slot));
        }
        for (i, (setting, entry)) in of_slot.iter().enumerate() {
            explained.push(Explained {
                directive: setting.written.row().name,
                usual: row.name,
                value: Some(setting.text.clone()),
                origin: Some(setting.origin.clone()),
                entry: (*entry).to_string(),
                overridden: !row.repeats && i + 1 < of_slot.len(),
                status: row.status,
            });
        }
    }
    explained
}

fn default(slot: RowId) -> Explained {
    let row = slot.row();
    Explained {
        directive: row.name,
        usual: row.name,
        value: (!row.default.is_empty()).then(|| row.default.to_string()),
        origin: None,
        entry: String::new(),
        overridden: false,
        status: row.status,
    }
}
