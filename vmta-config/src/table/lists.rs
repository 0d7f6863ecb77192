//! Directives of lists and processors (reference 2.8, 3.1, 8.2).

use super::{Directive, Status, instead, no};
use crate::scope::{Scope, Scopes};
use crate::value::Syntax::*;

const ON: Status = Status::InEffect;
const LATER: Status = Status::Planned;

/// [`Scope::PatternList`].
#[rustfmt::skip]
pub(super) const PATTERNS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::PatternList]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("*", Unchecked, "", LATER, "What applies when nothing else matched").repeats(),
        d("header", Unchecked, "", LATER, "Choose by a header body, folding included").repeats(),
        d("mail-from", Unchecked, "", LATER, "Choose by the envelope sender").repeats(),
        d("rcpt-to", Unchecked, "", LATER, "Choose by the recipient").repeats(),
    ]
};

/// [`Scope::SmtpPatternList`].
#[rustfmt::skip]
pub(super) const SMTP_PATTERNS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::SmtpPatternList]), "3.1", name, syntax, default, status, doc)
    }
    &[
        d("include", Include, "", ON, "Read another file here; `*` and `?` name several").repeats(),
        d("reply", Reply, "", LATER, "What to do when a reply of the receiver matches").repeats(),
    ]
};

/// [`Scope::BounceCategoryPatterns`].
#[rustfmt::skip]
pub(super) const CATEGORIES: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::BounceCategoryPatterns]), "8.2", name, syntax, default, status, doc)
    }
    &[
        d("/REGEX/", Category, "", ON, "Bounce category of diagnostics that match; the first match counts").repeats(),
    ]
};

/// [`Scope::BounceProcessor`], [`Scope::FeedbackLoopProcessor`].
#[rustfmt::skip]
pub(super) const PROCESSORS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::BounceProcessor, Scope::FeedbackLoopProcessor]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("deliver-email", Unchecked, "", instead("`deliver-matched-email` and `deliver-unmatched-email`"), "Older switch for passing mail on"),
        d("deliver-matched-email", Bool, "false", LATER, "Pass recognised reports on"),
        d("deliver-unmatched-email", Bool, "true", LATER, "Pass unrecognised mail on"),
        d("forward-errors-to", Email, "", LATER, "Copy unrecognised / unparsable mail to an address").repeats(),
        d("forward-unmatched-to", Email, "", LATER, "Copy unrecognised / unparsable mail to an address").repeats(),
    ]
};

/// [`Scope::AddressList`].
#[rustfmt::skip]
pub(super) const ADDRESSES: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::AddressList]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("address", EmailOrRegex, "", LATER, "One address, local part or pattern").repeats(),
        d("address-file", File, "", LATER, "Bulk list").repeats(),
        d("domain", HostName, "", LATER, "Every address of that domain").repeats(),
    ]
};

/// [`Scope::EmailPatterns`].
#[rustfmt::skip]
pub(super) const EMAIL_PATTERNS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::EmailPatterns]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("body-pattern-file", File, "", LATER, "One regex with named groups, 8.5").repeats(),
        d("log-match-info", Bool, "", LATER, "Log what was extracted and by which file"),
    ]
};

/// [`Scope::MxRollupList`].
#[rustfmt::skip]
pub(super) const ROLLUP: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::MxRollupList]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("mx", Unchecked, "", LATER, "9.3").repeats(),
    ]
};

/// [`Scope::RewriteList`].
#[rustfmt::skip]
pub(super) const REWRITE: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::RewriteList]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("from-domain", Unchecked, "", LATER, "Domain of the From header").repeats(),
        d("mail-from", Unchecked, "", LATER, "Rewrite the envelope sender; `*` in the target copies").repeats(),
    ]
};

/// [`Scope::DomainKeyList`].
#[rustfmt::skip]
pub(super) const KEYS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::DomainKeyList]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("domain-key", DomainKey, "", LATER, "DKIM key").repeats(),
    ]
};

/// [`Scope::Aliases`].
#[rustfmt::skip]
pub(super) const ALIASES: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Aliases]), "2.1", name, syntax, default, status, doc)
    }
    &[
        d("alias", Unchecked, "", LATER, "Forward an address: `user@d`, `*@d`, or a bare local part of a local host name").repeats(),
    ]
};

/// [`Scope::Dns`].
#[rustfmt::skip]
pub(super) const DNS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Dns]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("precached-domains-file", File, "", LATER, "Domains whose DNS data is always kept fresh, one per line"),
        d("precached-max-domains", Number(0, u32::MAX as u64), "500", LATER, "How many lines of the file to use"),
        d("precached-refresh-interval", Time, "5m", LATER, "Replaces the TTL"),
    ]
};

/// [`Scope::TransmissionsApi`].
#[rustfmt::skip]
pub(super) const API: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::TransmissionsApi]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("api-key", Text, "", LATER, "Accepted `Authorization` values").repeats(),
        d("log-data", Bool, "false", LATER, "Log-data dumps ASCII and hex"),
        d("log-requests", Bool, "false", LATER, "Injection logging"),
        d("log-tls", Bool, "false", LATER, "Log-data dumps ASCII and hex"),
    ]
};

/// [`Scope::Vault`].
#[rustfmt::skip]
pub(super) const VAULT: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Vault]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("access-token", Text, "", LATER, "Misses cached one hour"),
        d("cache-ttl", Time, "24h", LATER, "Misses cached one hour"),
        d("server-url", Text, "", LATER, "Misses cached one hour"),
    ]
};

/// [`Scope::Signals`].
#[rustfmt::skip]
pub(super) const SIGNALS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Signals]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("api-key", Text, "", no("it feeds the vendor's cloud service"), "Vendor cloud").repeats(),
        d("custom-message-id-header", Unchecked, "", no("it feeds the vendor's cloud service"), "Vendor cloud"),
        d("engagement-tracking", Unchecked, "", no("it feeds the vendor's cloud service"), "Vendor cloud"),
        d("log-verbose", Unchecked, "", no("it feeds the vendor's cloud service"), "Vendor cloud"),
        d("min-free-space", Size, "20M", no("it feeds the vendor's cloud service"), "Vendor cloud"),
        d("privacy-policy", Unchecked, "", no("it feeds the vendor's cloud service"), "Hides recipients"),
        d("process-x-sp-subaccount-id", Unchecked, "", no("it feeds the vendor's cloud service"), "Vendor cloud"),
        d("retain-x-sp-subaccount-id", Unchecked, "", no("it feeds the vendor's cloud service"), "Vendor cloud"),
        d("upload-url", Unchecked, "", no("it feeds the vendor's cloud service"), "Vendor cloud"),
    ]
};

/// [`Scope::SignalsFilter`].
#[rustfmt::skip]
pub(super) const SIGNALS_FILTER: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::SignalsFilter]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("sender-or-from", Unchecked, "", no("it feeds the vendor's cloud service"), "Chooses sender domains for the vendor cloud; parse and ignore").repeats(),
    ]
};
