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
        d("auto-cold-virtual-mta", SourceHost, "", no("it is obsolete since PowerMTA 4.5; write a `<virtual-mta>` and name it by `cold-virtual-mta`"), "Implicit cold virtual MTA").repeats().eg("192.0.2.9 cold.example.com"),
        d("smtp-source-ip", Ip, "", instead("`smtp-source-host ADDRESS HOSTNAME`"), "Older form of `smtp-source-host`; its EHLO name is `host-name`").repeats().eg("192.0.2.10"),
        d("host-name", HostName, "", ON, "EHLO name, before those of `smtp-source-host`").eg("mta1.example.com"),
        d("include", Include, "", ON, "Read another file here").repeats().eg("/etc/posthaste/limits.conf"),
        d("proxy-protocol", Number(1, 2), "1", LATER, "Version of the PROXY protocol for `smtp-proxy-source-host`").eg("2"),
        d("smtp-proxy-source-host", ProxySource, "", LATER, "A source reached through a server that speaks the PROXY protocol").repeats().eg("10.0.0.1 192.0.2.7:5000 198.51.100.1 mta1.example.com"),
        d("smtp-source-host", SourceHost, "", ON, "An address to send from, with its EHLO name; several are used in turn").repeats().eg("192.0.2.10 mta1.example.com"),
        d("use-proxy", Names(Named::Proxy), "", LATER, "Proxies in order of preference, instead of those of the top level").eg("proxy1"),
    ]
};

/// Both.
#[rustfmt::skip]
pub(super) const VMTA_AND_POOL: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::VirtualMta, Scope::VirtualMtaPool]), "2.6", name, syntax, default, status, doc)
    }
    &[
        d("cold-virtual-mta", Name(Named::VirtualMta), "", ON, "A cold virtual MTA that takes a daily share of this one's mail").repeats().eg("vmta-new"),
        d("domain-key", DomainKey, "", LATER, "DKIM key, tried before those of the top level").repeats().eg("s2026,example.com,/etc/posthaste/example.com.pem"),
        d("enable-signals", Unchecked, "", no("it feeds the vendor's cloud service"), "Whether mail is reported to the vendor's cloud service").eg("no"),
        d("include-headers-from", File, "", ON, "Headers put after our Received header, from a file; besides those of the top level").eg("/etc/posthaste/headers"),
        d("max-smtp-data-volume-rate", VolumeRate, "unlimited", ON, "Bytes delivered in a time, over all queues of the virtual MTA").eg("1G/h"),
        d("max-smtp-msg-rate", Rate, "unlimited", ON, "Recipients attempted in a time, over all queues of the virtual MTA").eg("10000/h"),
        d("rewrite-list", Name(Named::RewriteList), "", ON, "How envelope senders and From headers are rewritten, instead of the list of the source").eg("brand"),
        d("max-smtp-out", Limit, "unlimited", ON, "Connections of all queues of the virtual MTA").eg("200"),
    ]
};

/// `<virtual-mta-pool>` only.
#[rustfmt::skip]
pub(super) const POOL: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::VirtualMtaPool]), "2.6", name, syntax, default, status, doc)
    }
    &[
        d("virtual-mta", Name(Named::VirtualMta), "", ON, "A member; members take turns").repeats().eg("vmta1"),
    ]
};

/// `<proxy>`.
#[rustfmt::skip]
pub(super) const PROXY: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Proxy]), "2.8", name, syntax, default, status, doc)
    }
    &[
        d("client", ProxyClient, "", LATER, "Address and EHLO name that receivers see").eg("198.51.100.1 mta1.example.com"),
        d("protocol-version", Number(1, 2), "1", LATER, "PROXY protocol version").eg("2"),
        d("server", ProxyServer, "", LATER, "Where the proxy listens").eg("192.0.2.7:5000"),
    ]
};
