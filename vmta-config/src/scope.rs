//! The tags of the language and where each may stand (reference 1.5).

use std::fmt;

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
}

const TOP: Scopes = Scopes::of(&[Scope::Global]);
const PROCESSORS: Scopes = Scopes::of(&[Scope::BounceProcessor, Scope::FeedbackLoopProcessor]);

const fn tag(name: &'static str, scope: Scope, takes: Takes) -> Tag {
    Tag { name, scope, within: TOP, takes }
}

const fn inner(name: &'static str, scope: Scope, within: Scopes, takes: Takes) -> Tag {
    Tag { name, scope, within, takes }
}

/// Every tag; the first of a scope is its usual name, later ones are older spellings.
#[rustfmt::skip]
pub(crate) const TAGS: &[Tag] = &[
    tag("spool", Scope::Spool, Takes::Required("a directory")),
    tag("source", Scope::Source, Takes::Required("an address, a CIDR or a name")),
    tag("source-group", Scope::SourceGroup, Takes::Required("a name")),
    tag("smtp-user", Scope::SmtpUser, Takes::Required("a user name")),
    tag("smtp-listener", Scope::SmtpListener, Takes::Required("ADDRESS:PORT")),
    inner("domain", Scope::Domain, Scopes::of(&[Scope::Global, Scope::VirtualMta, Scope::VirtualMtaPool]), Takes::Required("a domain pattern")),
    tag("virtual-mta", Scope::VirtualMta, Takes::Required("a name")),
    tag("virtual-mta-pool", Scope::VirtualMtaPool, Takes::Required("a name")),
    tag("acct-file", Scope::AcctFile, Takes::Required("a file, or `|` and a command")),
    inner("pattern-list", Scope::PatternList, Scopes::of(&[Scope::Global, Scope::PatternList]), Takes::Optional("a name")),
    tag("smtp-pattern-list", Scope::SmtpPatternList, Takes::Required("a name")),
    tag("bounce-category-patterns", Scope::BounceCategoryPatterns, Takes::Nothing),
    tag("bounce-processor", Scope::BounceProcessor, Takes::Nothing),
    tag("feedback-loop-processor", Scope::FeedbackLoopProcessor, Takes::Nothing),
    inner("address-list", Scope::AddressList, Scopes::of(&[Scope::Global, Scope::BounceProcessor, Scope::FeedbackLoopProcessor]), Takes::Optional("a name")),
    inner("suppression-list", Scope::AddressList, TOP, Takes::Required("a name")),
    inner("email-patterns", Scope::EmailPatterns, PROCESSORS, Takes::Nothing),
    tag("mx-rollup-list", Scope::MxRollupList, Takes::Nothing),
    tag("rewrite-list", Scope::RewriteList, Takes::Required("a name")),
    tag("domain-key-list", Scope::DomainKeyList, Takes::Required("a name")),
    tag("aliases", Scope::Aliases, Takes::Nothing),
    tag("dns", Scope::Dns, Takes::Nothing),
    tag("proxy", Scope::Proxy, Takes::Required("a name")),
    tag("transmissions-api", Scope::TransmissionsApi, Takes::Nothing),
    tag("transmissions-api-listener", Scope::TransmissionsApiListener, Takes::Required("ADDRESS:PORT")),
    tag("signals", Scope::Signals, Takes::Nothing),
    tag("sparkpost-analytics", Scope::Signals, Takes::Nothing),
    tag("signals-filter", Scope::SignalsFilter, Takes::Required("a name")),
    tag("vault", Scope::Vault, Takes::Nothing),
    tag("gm-imprinter", Scope::GmImprinter, Takes::Optional("a name")),
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
