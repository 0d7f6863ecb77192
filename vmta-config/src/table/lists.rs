//! Directives of lists and processors (reference 2.8, 3.1, 8.2).

use super::{Directive, Status, instead, no};
use crate::scope::{Scope, Scopes};
use crate::value::{Subject, Syntax::*};

const ON: Status = Status::InEffect;
const LATER: Status = Status::Planned;

/// [`Scope::PatternList`].
#[rustfmt::skip]
pub(super) const PATTERNS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::PatternList]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("*", Choice(Subject::Always), "", ON, "What applies when nothing else fits").repeats().eg("virtual-mta=vmta1"),
        d("header", Choice(Subject::Header), "", ON, "Choose by the body of a header, folding included").repeats().eg("Subject /offer/ virtual-mta=vmta1"),
        d("mail-from", Choice(Subject::Address), "", ON, "Choose by the envelope sender").repeats().eg("/news@/ virtual-mta=vmta1"),
        d("rcpt-to", Choice(Subject::Address), "", ON, "Choose by the recipient").repeats().eg("/@gmail\\.com$/ virtual-mta=vmta1,recipient-priority=80"),
    ]
};

/// [`Scope::SmtpPatternList`].
#[rustfmt::skip]
pub(super) const SMTP_PATTERNS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::SmtpPatternList]), "3.1", name, syntax, default, status, doc)
    }
    &[
        d("include", Include, "", ON, "Read another file here; `*` and `?` name several; `builtin:replies` too").repeats().eg("builtin:replies"),
        d("reply", Reply, "", ON, "What a matching reply of the receiver causes").repeats().eg("/421 .*too many/ mode=backoff"),
    ]
};

/// [`Scope::BounceCategoryPatterns`].
#[rustfmt::skip]
pub(super) const CATEGORIES: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::BounceCategoryPatterns]), "8.2", name, syntax, default, status, doc)
    }
    &[
        d("/REGEX/", Category, "", ON, "Bounce category of diagnostics that fit; the first that fits counts").repeats().eg("bad-mailbox"),
    ]
};

/// [`Scope::BounceProcessor`], [`Scope::FeedbackLoopProcessor`].
#[rustfmt::skip]
pub(super) const PROCESSORS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::BounceProcessor, Scope::FeedbackLoopProcessor]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("deliver-email", Bool, "", instead("`deliver-matched-email` and `deliver-unmatched-email`"), "Older switch for passing mail on").eg("no"),
        d("deliver-matched-email", Bool, "false", LATER, "Pass recognised reports on"),
        d("deliver-unmatched-email", Bool, "true", LATER, "Pass on mail that is no report"),
        d("forward-errors-to", Email, "", LATER, "Where reports that cannot be read go too").repeats().eg("errors@example.com"),
        d("forward-unmatched-to", Email, "", LATER, "Where mail that is no report goes too").repeats().eg("postmaster@example.com"),
    ]
};

/// [`Scope::AddressList`].
#[rustfmt::skip]
pub(super) const ADDRESSES: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::AddressList]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("address", EmailOrRegex, "", ON, "An address, a local part at any domain, or a pattern").repeats().eg("bounce@example.com"),
        d("address-file", File, "", ON, "A file of addresses and local parts, one a line").repeats().eg("/etc/posthaste/unsubscribed"),
        d("domain", DomainPattern, "", ON, "Every address of that domain").repeats().eg("bounce.example.com"),
    ]
};

/// [`Scope::EmailPatterns`].
#[rustfmt::skip]
pub(super) const EMAIL_PATTERNS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::EmailPatterns]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("body-pattern-file", File, "", LATER, "A file with one expression that finds addresses in reports by named groups").repeats().eg("/etc/posthaste/pattern"),
        d("log-match-info", Bool, "", LATER, "Log what was found and by which file").eg("yes"),
    ]
};

/// [`Scope::MxRollupList`].
#[rustfmt::skip]
pub(super) const ROLLUP: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::MxRollupList]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("mx", MxRollup, "", ON, "MX hosts whose domains share a queue; `rollup-by-ip` makes one for each set of addresses").repeats().eg("*.yahoodns.net yahoo.rollup"),
    ]
};

/// [`Scope::RewriteList`].
#[rustfmt::skip]
pub(super) const REWRITE: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::RewriteList]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("from-domain", FromDomain, "", ON, "Rewrite the domain of the From header; the first line that fits counts").repeats().eg("[*.]old.example new.example"),
        d("mail-from", Rewrite, "", ON, "Rewrite the envelope sender; `*` in the target copies; the first line that fits counts").repeats().eg("*@old.example *@bounce.new.example"),
    ]
};

/// [`Scope::DomainKeyList`].
#[rustfmt::skip]
pub(super) const KEYS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::DomainKeyList]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("domain-key", DomainKey, "", LATER, "DKIM key; none of another list is tried").repeats().eg("s2026,example.com,/etc/posthaste/example.com.pem"),
    ]
};

/// [`Scope::Aliases`].
#[rustfmt::skip]
pub(super) const ALIASES: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Aliases]), "2.1", name, syntax, default, status, doc)
    }
    &[
        d("alias", Alias, "", ON, "Forward an address: `user@d`, `*@d`, or the bare local part of a local host name").repeats().eg("sales@example.com ann@example.com"),
    ]
};

/// [`Scope::Dns`].
#[rustfmt::skip]
pub(super) const DNS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Dns]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("precached-domains-file", File, "", LATER, "Domains whose DNS data is kept fresh, one a line").eg("/etc/posthaste/domains"),
        d("precached-max-domains", Number(0, u32::MAX as u64), "500", LATER, "How many lines of that file count").eg("1000"),
        d("precached-refresh-interval", Time, "5m", LATER, "How often it is refreshed, instead of by TTL").eg("10m"),
    ]
};

/// [`Scope::TransmissionsApi`].
#[rustfmt::skip]
pub(super) const API: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::TransmissionsApi]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("api-key", ApiKey, "", ON, "A key that `Authorization` may carry").repeats().eg("0123456789abcdef0123456789abcdef"),
        d("log-data", Bool, "false", ON, "Log the first 4 KiB of each injection request"),
        d("log-requests", Bool, "false", ON, "Log injection requests"),
        d("log-tls", Bool, "false", ON, "Log the TLS version and cipher of HTTPS connections"),
    ]
};

/// [`Scope::Vault`].
#[rustfmt::skip]
pub(super) const VAULT: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Vault]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("access-token", Text, "", LATER, "Token for the Vault server").eg("token"),
        d("cache-ttl", Time, "24h", LATER, "How long a secret is kept").eg("1h"),
        d("server-url", Url, "", LATER, "The Vault server that keys are fetched from").eg("https://vault.example.com:8200"),
    ]
};

/// [`Scope::Signals`].
#[rustfmt::skip]
pub(super) const SIGNALS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Signals]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("api-key", Text, "", no("it feeds the vendor's cloud service"), "Key of the vendor's cloud service").repeats().eg("key"),
        d("custom-message-id-header", Unchecked, "", no("it feeds the vendor's cloud service"), "Header that carries a message id").eg("X-Message-Id"),
        d("engagement-tracking", Unchecked, "", no("it feeds the vendor's cloud service"), "Rewrite links to track opens and clicks").eg("no"),
        d("log-verbose", Unchecked, "", no("it feeds the vendor's cloud service"), "Log uploads").eg("no"),
        d("min-free-space", Size, "20M", no("it feeds the vendor's cloud service"), "Free disk space below which uploads stop").eg("50M"),
        d("privacy-policy", Unchecked, "", no("it feeds the vendor's cloud service"), "How the local part of recipients is shown").eg("sha1"),
        d("process-x-sp-subaccount-id", Unchecked, "", no("it feeds the vendor's cloud service"), "Obey `x-sp-subaccount-id`").eg("no"),
        d("retain-x-sp-subaccount-id", Unchecked, "", no("it feeds the vendor's cloud service"), "Keep `x-sp-subaccount-id`").eg("no"),
        d("upload-url", Unchecked, "", no("it feeds the vendor's cloud service"), "Where reports go").eg("https://signals.example/"),
    ]
};

/// [`Scope::SignalsFilter`].
#[rustfmt::skip]
pub(super) const SIGNALS_FILTER: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::SignalsFilter]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("sender-or-from", Unchecked, "", no("it feeds the vendor's cloud service"), "Chooses sender domains that are reported").repeats().eg("*.example.com enable-signals"),
    ]
};

/// [`Scope::GmImprinter`]: its directives are not in any text, so that every line is this one.
#[rustfmt::skip]
pub(super) const GM_IMPRINTER: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::GmImprinter]), "2.1", name, syntax, default, status, doc)
    }
    &[
        d("*", Unchecked, "", no("Goodmail, which it was for, is gone"), "Whatever stood here").repeats().eg("..."),
    ]
};
