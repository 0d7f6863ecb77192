//! What a change of the configuration changes, and what of it takes a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::config::{Config, Level, Resolved, Section};
use crate::domains::Names;
use crate::scope::{Scope, TAGS};
use crate::slots::Setting;
use crate::table::{RowId, Status};
use crate::value::Value;

/// One directive that has another value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    pub directive: &'static str,
    /// As written, one text a line; empty where it is not written.
    pub old: Vec<String>,
    pub new: Vec<String>,
    /// What counts where nothing is written; empty for what is inherited or nothing.
    pub default: &'static str,
    /// The engine does not act on it.
    pub idle: bool,
    /// Why it takes a restart; empty where a reload is enough.
    pub restart: &'static str,
}

/// What is different about one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In words: queues, a tag, the top level.
    pub subject: String,
    /// In words, where more has to be said; empty otherwise.
    pub remark: String,
    /// Why what the remark says takes a restart; empty where a reload is enough.
    pub restart: &'static str,
    pub differences: Vec<Difference>,
}

impl Change {
    pub fn takes_restart(&self) -> bool {
        !self.restart.is_empty() || self.differences.iter().any(Difference::takes_restart)
    }

    /// Only what takes a restart.
    pub fn restart_part(&self) -> Change {
        let differences = self.differences.iter().filter(|d| d.takes_restart()).cloned().collect();
        Change { differences, ..self.clone() }
    }
}

impl Difference {
    fn takes_restart(&self) -> bool {
        !self.restart.is_empty() && !self.idle
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed: Vec<&String> = self.old.iter().filter(|t| !self.new.contains(t)).collect();
        let added: Vec<&String> = self.new.iter().filter(|t| !self.old.contains(t)).collect();
        let absent =
            if self.default.is_empty() { "not set".into() } else { format!("{} (default)", self.default) };
        write!(f, "{}: ", self.directive)?;
        match (&self.old[..], &self.new[..]) {
            ([], [new]) => write!(f, "{absent} -> {new}")?,
            ([old], []) => write!(f, "{old} -> {absent}")?,
            ([old], [new]) => write!(f, "{old} -> {new}")?,
            _ if removed.is_empty() && added.is_empty() => f.write_str("the same lines in another order")?,
            _ => {
                let removed = removed.iter().map(|t| format!("- {t}"));
                let lines: Vec<String> = removed.chain(added.iter().map(|t| format!("+ {t}"))).collect();
                f.write_str(&lines.join("; "))?;
            }
        }
        match (self.idle, self.restart) {
            (true, _) => f.write_str(" (not in effect)"),
            (false, why) => takes_restart(f, why),
        }
    }
}

fn takes_restart(f: &mut fmt::Formatter<'_>, why: &str) -> fmt::Result {
    if why.is_empty() { Ok(()) } else { write!(f, " (takes a restart: {why})") }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)?;
        if !self.remark.is_empty() {
            write!(f, ": {}", self.remark)?;
            takes_restart(f, self.restart)?;
        }
        self.differences.iter().try_for_each(|d| write!(f, "\n    {d}"))
    }
}

/// Everything that differs, in words. Nothing where the two mean the same, however they are written.
pub fn compare(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    let (before, after) = (sections(old), sections(new));
    let names: BTreeSet<&(Scope, String)> = before.keys().chain(after.keys()).collect();
    for name @ (scope, label) in names {
        let (before, after) = (before.get(name), after.get(name));
        let remark = remark(*scope, before.is_some(), after.is_some());
        let empty = Vec::new();
        let differences = differing(before.unwrap_or(&empty), after.unwrap_or(&empty), true);
        let restart =
            TAGS.iter().find(|t| t.scope == *scope && t.status == Status::InEffect).map_or("", |t| t.restart);
        let of_tag = |d: Difference| if restart.is_empty() { d } else { Difference { restart, ..d } };
        let differences: Vec<Difference> = differences.into_iter().map(of_tag).collect();
        if !remark.is_empty() || !differences.is_empty() {
            let subject = if label.is_empty() { "the top level".to_string() } else { label.clone() };
            let restart = if remark.is_empty() { "" } else { restart };
            changes.push(Change { subject, remark: remark.to_string(), restart, differences });
        }
    }
    changes.extend(queues(old, new));
    changes
}

fn remark(scope: Scope, before: bool, after: bool) -> &'static str {
    match (before, after, scope) {
        (true, false, Scope::VirtualMta) => "is gone; mail queued for it is held until it is back or deleted",
        (true, false, _) => "is gone",
        (false, true, _) => "is new",
        _ => "",
    }
}

/// The directives of every tag but `<domain>`, whose effect on queues is compared instead. Tags of the same name are one.
fn sections(config: &Config) -> BTreeMap<(Scope, String), Vec<&Setting>> {
    let mut all: BTreeMap<(Scope, String), Vec<&Setting>> = BTreeMap::new();
    for Section { scope, label, settings, .. } in &config.sections {
        if *scope != Scope::Domain {
            all.entry((*scope, label.clone())).or_default().extend(settings);
        }
    }
    let by_network = config.sources_by_network.iter().map(|(net, settings)| (net.to_string(), settings));
    let by_name = config.sources_by_name.iter().map(|(name, settings)| (name.clone(), settings));
    for (name, settings) in by_network.chain(by_name) {
        all.insert((Scope::Source, format!("<source {name}>")), settings.iter().collect());
    }
    all
}

/// The values by directive: of one that repeats all, of others the last.
fn values<'a>(settings: &[&'a Setting]) -> BTreeMap<RowId, Vec<&'a Setting>> {
    let mut values: BTreeMap<RowId, Vec<&Setting>> = BTreeMap::new();
    for setting in settings {
        let row = setting.slot.row();
        // Their effect shows where they are used.
        if matches!(row.name, "domain-macro" | "include") {
            continue;
        }
        let of = values.entry(setting.slot).or_default();
        if !row.repeats {
            of.clear();
        }
        of.push(setting);
    }
    values
}

/// Inside a virtual MTA or pool what is not written is inherited, and has no default.
fn differing(old: &[&Setting], new: &[&Setting], has_default: bool) -> Vec<Difference> {
    let (old, new) = (values(old), values(new));
    let slots: BTreeSet<&RowId> = old.keys().chain(new.keys()).collect();
    let difference = |slot: &RowId| {
        let row = slot.row();
        let (old, new) = (old.get(slot), new.get(slot));
        let default = slot.default().filter(|_| has_default);
        let read = |written: Option<&Vec<&Setting>>| -> Vec<Value> {
            match written {
                Some(settings) => settings.iter().map(|s| s.value.clone()).collect(),
                None => default.cloned().into_iter().collect(),
            }
        };
        if read(old) == read(new) {
            return None;
        }
        let texts = |written: Option<&Vec<&Setting>>| -> Vec<String> {
            written.into_iter().flatten().map(|s| s.text.clone()).collect()
        };
        Some(Difference {
            directive: row.name,
            old: texts(old),
            new: texts(new),
            default: if has_default { row.default } else { "" },
            idle: row.status != Status::InEffect,
            restart: row.restart,
        })
    };
    slots.into_iter().filter_map(difference).collect()
}

/// Where `<domain>` entries stand: at the top (empty), in a pool, in a virtual MTA.
fn levels(config: &Config) -> BTreeMap<String, &Level> {
    let level = |i: u32| &config.levels[i as usize];
    let vmtas =
        config.vmtas.iter().filter_map(|v| Some((format!("virtual MTA {}", v.name), level(v.level?))));
    let pools = config.pools.iter().filter_map(|p| Some((format!("pool {}", p.name), level(p.level?))));
    std::iter::once((String::new(), level(0))).chain(vmtas).chain(pools).collect()
}

/// Sets of names with the same differences.
type Grouped = BTreeMap<Vec<Difference>, BTreeSet<Names>>;

/// Differences of queues, those that are alike together.
fn queues(old: &Config, new: &Config) -> Vec<Change> {
    let (before, after) = (levels(old), levels(new));
    let none = Level::default();
    // (names, differences) to the virtual MTAs and pools they are about.
    let mut alike: BTreeMap<(BTreeSet<Names>, Vec<Difference>), Vec<String>> = BTreeMap::new();
    for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        if !remains(old, new, name) {
            continue;
        }
        let sides = (*before.get(name).unwrap_or(&&none), *after.get(name).unwrap_or(&&none));
        for (differences, names) in level_differences((old, sides.0), (new, sides.1), name.is_empty()) {
            alike.entry((names, differences)).or_default().push(name.clone());
        }
    }
    let change = |((names, differences), owners): (_, Vec<String>)| Change {
        subject: subject(&names, &owners),
        remark: String::new(),
        restart: "",
        differences,
    };
    alike.into_iter().map(change).collect()
}

/// Whether the virtual MTA or pool is in both; one that is new or gone is told of as such.
fn remains(old: &Config, new: &Config, name: &str) -> bool {
    let plain = name.strip_prefix("virtual MTA ").or(name.strip_prefix("pool ")).unwrap_or(name);
    let known = |config: &Config| !matches!(config.resolve_vmta(plain), Resolved::Unknown);
    plain.is_empty() || (known(old) && known(new))
}

fn level_differences(old: (&Config, &Level), new: (&Config, &Level), top: bool) -> Grouped {
    let all: BTreeSet<Names> = old.1.names().chain(new.1.names()).collect();
    let of =
        |names: &Names| -> Vec<Difference> { differing(&written(old, names), &written(new, names), top) };
    let mut grouped = Grouped::new();
    for names in all {
        let mut differences = of(&names);
        if differences.is_empty() {
            continue;
        }
        // What a wider set has the same way is told of there.
        if let Some(wider) = new.1.wider(&names) {
            let inherited = of(&wider);
            differences.retain(|d| !inherited.contains(d));
        }
        if !differences.is_empty() {
            grouped.entry(differences).or_default().insert(names);
        }
    }
    grouped
}

/// What a level says about names, from the most general to the most specific entry.
fn written<'a>((config, level): (&'a Config, &Level), names: &Names) -> Vec<&'a Setting> {
    let sections = level.chain_of(names).into_iter();
    sections.flat_map(|section| &config.sections[*section as usize].settings).collect()
}

/// Names shown of a long list.
const SHOWN: usize = 6;

fn subject(names: &BTreeSet<Names>, owners: &[String]) -> String {
    let mut shown: Vec<String> = Vec::new();
    for name in names {
        match name {
            Names::Others => shown.push("all domains that are not named otherwise".into()),
            Names::Exactly(name) if names.contains(&Names::Below(name.clone())) => {
                shown.push(format!("{name} and its subdomains"));
            }
            Names::Exactly(name) => shown.push(name.clone()),
            Names::Below(name) if names.contains(&Names::Exactly(name.clone())) => {}
            Names::Below(name) => shown.push(format!("subdomains of {name}")),
            Names::Literals(net) => shown.push(format!("[{net}]")),
        }
    }
    let owners: Vec<String> = owners.iter().filter(|o| !o.is_empty()).cloned().collect();
    match owners.is_empty() {
        true => format!("queues of {}", listed(&shown)),
        false => format!("queues of {}, {}", listed(&shown), listed(&owners)),
    }
}

fn listed(words: &[String]) -> String {
    let more = words.len().saturating_sub(SHOWN);
    let shown = words[..words.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
