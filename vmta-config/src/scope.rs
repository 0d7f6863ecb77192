//! The tags of the language and where each may stand (reference 1.5).

use std::fmt;

use crate::table::Status;

/// A place directives can stand in: the top of the file or inside a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scope {
    Global,
    Spool,
    Source,
    SourceGroup,
    SmtpUser,
    SmtpListener,
    Domain,
    VirtualMta,
    VirtualMtaPool,
    AcctFile,
    PatternList,
    SmtpPatternList,
    BounceCategoryPatterns,
    BounceProcessor,
    FeedbackLoopProcessor,
    AddressList,
    EmailPatterns,
    MxRollupList,
    RewriteList,
    DomainKeyList,
    Aliases,
    Dns,
    Proxy,
    TransmissionsApi,
    TransmissionsApiListener,
    Signals,
    SignalsFilter,
    Vault,
    GmImprinter,
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes(u32);

impl Scopes {
    pub const fn of(scopes: &[Scope]) -> Scopes {
        let (mut set, mut i) = (0, 0);
        while i < scopes.len() {
            set |= 1 << scopes[i] as u32;
            i += 1;
        }
        Scopes(set)
    }

    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u32) != 0
    }

    /// In the order of the tag table, the top level last.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        let usual = |i: &usize| TAGS[..*i].iter().all(|t| t.scope != TAGS[*i].scope);
        let tagged = (0..TAGS.len()).filter(usual).map(|i| TAGS[i].scope);
        tagged.chain([Scope::Global]).filter(move |s| self.contains(*s))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.iter().enumerate() {
            write!(f, "{}{scope}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TAGS.iter().find(|t| t.scope == *self) {
            Some(tag) => write!(f, "<{}>", tag.name),
            None => f.write_str("the top level"),
        }
    }
}

/// Whether a tag takes an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    Optional(&'static str),
    Required(&'static str),
}

/// One tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag {
    pub name: &'static str,
    pub scope: Scope,
    /// Where it may stand.
    pub within: Scopes,
    pub takes: Takes,
    pub status: Status,
    /// Why what stands in it takes a restart; empty where a reload applies it.
    pub restart: &'static str,
}

const TOP: Scopes = Scopes::of(&[Scope::Global]);
const fn tag(name: &'static str, scope: Scope, takes: Takes) -> Tag {
    Tag { name, scope, within: TOP, takes, status: Status::InEffect, restart: "" }
}

impl Tag {
    const fn within(mut self, within: &[Scope]) -> Tag {
        self.within = Scopes::of(within);
        self
    }

    /// The engine does not act on it yet.
    const fn later(mut self) -> Tag {
        self.status = Status::Planned;
        self
    }

    const fn no_effect(mut self, reason: &'static str) -> Tag {
        self.status = Status::NoEffect(reason);
        self
    }

    const fn older(mut self, newer: &'static str) -> Tag {
        self.status = Status::Replaced(newer);
        self
    }

    const fn restart(mut self, why: &'static str) -> Tag {
        self.restart = why;
        self
    }
}

use Scope::{BounceProcessor as BP, FeedbackLoopProcessor as FP, Global};
use Takes::{Nothing, Optional, Required};

const CLOUD: &str = "it feeds the vendor's cloud service";

/// Every tag; the first of a scope is its usual name, later ones are older spellings.
#[rustfmt::skip]
pub(crate) const TAGS: &[Tag] = &[
    tag("spool", Scope::Spool, Required("a directory")).restart("the spool is opened at the start"),
    tag("source", Scope::Source, Required("an address, a CIDR or a name")),
    tag("source-group", Scope::SourceGroup, Required("a name")),
    tag("smtp-user", Scope::SmtpUser, Required("a user name")),
    tag("smtp-listener", Scope::SmtpListener, Required("ADDRESS:PORT")),
    tag("domain", Scope::Domain, Required("a domain pattern")).within(&[Global, Scope::VirtualMta, Scope::VirtualMtaPool]),
    tag("virtual-mta", Scope::VirtualMta, Required("a name")),
    tag("virtual-mta-pool", Scope::VirtualMtaPool, Required("a name")),
    tag("acct-file", Scope::AcctFile, Required("a file, or `|` and a command")),
    tag("pattern-list", Scope::PatternList, Optional("a name")).within(&[Global, Scope::PatternList]),
    tag("smtp-pattern-list", Scope::SmtpPatternList, Required("a name")).later(),
    tag("bounce-category-patterns", Scope::BounceCategoryPatterns, Nothing),
    tag("bounce-processor", Scope::BounceProcessor, Nothing).later().restart("as in PowerMTA, reference 1.1"),
    tag("feedback-loop-processor", Scope::FeedbackLoopProcessor, Nothing).later(),
    tag("address-list", Scope::AddressList, Optional("a name")).within(&[Global, BP, FP]),
    tag("suppression-list", Scope::AddressList, Required("a name")).older("`<address-list NAME>`"),
    tag("email-patterns", Scope::EmailPatterns, Nothing).within(&[BP, FP]).later(),
    tag("mx-rollup-list", Scope::MxRollupList, Nothing),
    tag("rewrite-list", Scope::RewriteList, Required("a name")),
    tag("domain-key-list", Scope::DomainKeyList, Required("a name")).later(),
    tag("aliases", Scope::Aliases, Nothing),
    tag("dns", Scope::Dns, Nothing).later(),
    tag("proxy", Scope::Proxy, Required("a name")).later(),
    tag("transmissions-api", Scope::TransmissionsApi, Nothing),
    tag("transmissions-api-listener", Scope::TransmissionsApiListener, Required("ADDRESS:PORT")),
    tag("signals", Scope::Signals, Nothing).no_effect(CLOUD),
    tag("sparkpost-analytics", Scope::Signals, Nothing).older("`<signals>`"),
    tag("signals-filter", Scope::SignalsFilter, Required("a name")).no_effect(CLOUD),
    tag("vault", Scope::Vault, Nothing).later(),
    tag("gm-imprinter", Scope::GmImprinter, Optional("a name")).no_effect("Goodmail, which it was for, is gone"),
];

pub(crate) fn tag_named(name: &str) -> Option<&'static Tag> {
    TAGS.iter().find(|t| t.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_named_as_they_are_written() {
        assert_eq!(Scope::VirtualMtaPool.to_string(), "<virtual-mta-pool>");
        let both = Scopes::of(&[Scope::Domain, Scope::Global]);
        assert_eq!(both.to_string(), "<domain>, the top level");
        assert!(!both.contains(Scope::Source));
    }
}
