//! Source addresses that one queue does not use for now (reference 3.2, 9.4). Kept in memory only.

use crate::base::{Now, Time, Wall};
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisabledSource {
    /// As in `smtp-source-host`; `None` is the system's choice.
    pub address: Option<IpAddr>,
    pub since: Wall,
    /// `None`: until somebody enables it.
    pub until: Option<Time>,
    pub reason: String,
}

/// Costs nothing while there is none.
#[derive(Clone, Debug, Default)]
pub struct Disabled(Box<[DisabledSource]>);

impl Disabled {
    pub fn has(&self, address: Option<IpAddr>) -> bool {
        self.0.iter().any(|source| source.address == address)
    }

    pub fn iter(&self) -> impl Iterator<Item = &DisabledSource> {
        self.0.iter()
    }

    /// False where it is disabled already: then its time goes on as it was.
    pub fn add(&mut self, source: DisabledSource) -> bool {
        let new = !self.has(source.address);
        if new {
            self.change(|all| all.push(source));
        }
        new
    }

    /// False where it was not disabled.
    pub fn remove(&mut self, address: Option<IpAddr>) -> bool {
        let was = self.has(address);
        if was {
            self.change(|all| all.retain(|source| source.address != address));
        }
        was
    }

    /// When the first one comes back.
    pub fn next(&self) -> Option<Time> {
        self.0.iter().filter_map(|source| source.until).min()
    }

    /// Takes out one whose time is over.
    pub fn take_due(&mut self, now: Now) -> Option<DisabledSource> {
        let due = self.0.iter().find(|source| source.until.is_some_and(|until| until <= now.mono)).cloned();
        if let Some(source) = &due {
            self.remove(source.address);
        }
        due
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<DisabledSource>)) {
        let mut all = std::mem::take(&mut self.0).into_vec();
        change(&mut all);
        self.0 = all.into();
    }
}
