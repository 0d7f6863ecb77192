//! Directives of virtual MTAs, pools and proxies (reference 2.6, 2.8).

use super::{Directive, Status, instead, no};
use crate::scope::{Scope, Scopes};
use crate::value::{Named, Syntax::*};

const ON: Status = Status::InEffect;
const LATER: Status = Status::Planned;

/// `<virtual-mta>` only.
#[rustfmt::skip]
pub(super) const VIRTUAL_MTA: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::VirtualMta]), "2.6", name, syntax, default, status, doc)
    }
    &[
        d("auto-cold-virtual-mta", SourceHost, "", no("it is obsolete since PowerMTA 4.5"), "Implicit cold virtual MTA").repeats(),
        d("smtp-source-ip", Ip, "", instead("`smtp-source-host ADDRESS HOSTNAME`"), "Older form of `smtp-source-host`").repeats(),
        d("host-name", HostName, "", ON, "HELO name"),
        d("include", Include, "", ON, "Pull in another file").repeats(),
        d("proxy-protocol", Number(1, 2), "1", LATER, "PROXY protocol version"),
        d("smtp-proxy-source-host", Unchecked, "", LATER, "Sources reached through a PROXY-protocol server").repeats(),
        d("smtp-source-host", SourceHost, "", ON, "Own source addresses with their HELO names, in turn").repeats(),
        d("use-proxy", Names(Named::Proxy), "", LATER, "Overrides global"),
    ]
};

/// Both.
#[rustfmt::skip]
pub(super) const VMTA_AND_POOL: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::VirtualMta, Scope::VirtualMtaPool]), "2.6", name, syntax, default, status, doc)
    }
    &[
        d("cold-virtual-mta", Name(Named::VirtualMta), "", LATER, "See 9.1").repeats(),
        d("domain-key", DomainKey, "", LATER, "Own DKIM keys, tried before the global ones").repeats(),
        d("enable-signals", Unchecked, "", no("it feeds the vendor's cloud service"), "Vendor cloud switch"),
        d("include-headers-from", File, "", LATER, "Extra headers, besides the global ones"),
        d("max-smtp-data-volume-rate", VolumeRate, "unlimited", LATER, "Successful bytes over all queues of the VMTA"),
        d("max-smtp-msg-rate", Rate, "unlimited", LATER, "Attempted recipients; event text names `max-smtp-msg-rate`"),
        d("max-smtp-out", Limit, "unlimited", LATER, "All queues of the VMTA together"),
        d("rewrite-list", Name(Named::RewriteList), "", LATER, "Envelope sender and From rewriting to apply"),
    ]
};

/// `<virtual-mta-pool>` only.
#[rustfmt::skip]
pub(super) const POOL: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::VirtualMtaPool]), "2.6", name, syntax, default, status, doc)
    }
    &[
        d("virtual-mta", Name(Named::VirtualMta), "", ON, "Members, round-robin").repeats(),
    ]
};

/// `<proxy>`.
#[rustfmt::skip]
pub(super) const PROXY: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Proxy]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("client", Unchecked, "", LATER, "External address and HELO"),
        d("protocol-version", Number(1, 2), "1", LATER, "PROXY protocol version"),
        d("server", Unchecked, "", LATER, "Where the proxy listens"),
    ]
};
