//! Directives of the top level: addresses, limits, spool, relaying, pickup (reference 2.1).

use super::{Directive, Status, instead, no};
use crate::scope::{Scope, Scopes};
use crate::value::{Named, Syntax::*};

const ON: Status = Status::InEffect;
const LATER: Status = Status::Planned;

/// The top level, delivery and intake.
#[rustfmt::skip]
pub(super) const GLOBAL: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Global]), "2.1", name, syntax, default, status, doc)
    }
    &[
        d("alias", Unchecked, "", LATER, "Forward an address: `user@d`, `*@d`, or a bare local part of a local host name").repeats(),
        d("allow-destination", Cidr, "", ON, "Private or loopback addresses from DNS that may be connected to").repeats().ours(),
        d("always-allow-relaying", Bool, "false", ON, "Relay for anyone matching (normally set in `<source>`)"),
        d("auto-cold-virtual-mta", SourceHost, "", no("it is obsolete since PowerMTA 4.5"), "Implicit cold virtual MTA").repeats(),
        d("control-socket", File, "", ON, "Socket that the commands talk to").ours(),
        d("domain-key", DomainKey, "", LATER, "DKIM key; the first that fits the identity is used").repeats(),
        d("domain-macro", DomainMacro, "", ON, "Names a list of domains; used as `$NAME`").repeats(),
        d("domain-suffix", HostName, "", LATER, "Appended to unqualified address domains"),
        d("edns-udp-length", Number(0, u32::MAX as u64), "", LATER, "EDNS payload size for MX/A/AAAA look-ups"),
        d("host-id", Number(0, u32::MAX as u64), "0", LATER, "Goes into generated Message-IDs to keep servers apart"),
        d("host-name", HostName, "", ON, "Names of this host; the first is the main one (banner, HELO). Also accepted as a relay domain").repeats(),
        d("include", Include, "", ON, "Read another file here; `*` and `?` name several").repeats(),
        d("include-headers-from", File, "", LATER, "Raw headers put right after our Received header"),
        d("invalid-virtual-mta-fallback", Name(Named::VirtualMta), "", LATER, "VMTA for messages naming an unknown one"),
        d("ip-connection-limit", CidrNumber, "", LATER, "Connections per destination network and source address").repeats(),
        d("mailmerge-expands-undefined-variables", Bool, "true", LATER, "Undefined `[x]` becomes empty; false leaves it as is"),
        d("max-memory-usage-percent", Number(1, 100), "90", LATER, "Above it MAIL gets `452 4.3.2 Server resources temporarily exhausted`; 100 switches it off"),
        d("max-name-queries", Number(0, u32::MAX as u64), "", no("look-ups are bounded by the resolver"), "Most DNS look-ups at once"),
        d("mx-connection-limit", PatternNumber, "", LATER, "Connections per matching MX host name and per source address; not per pattern as a whole").repeats(),
        d("name-server", Ip, "", ON, "Resolvers, round-robin").repeats(),
        d("pickup", TwoDirectories, "", ON, "Pickup directory and where rejected files go").once(),
        d("pickup-remove-dot", Bool, "false", ON, "Undo dot-stuffing that the feeder wrongly applied"),
        d("pickup-retry-interval", Unchecked, "", no("the pickup directory is watched, files are taken at once"), "How often the pickup directory is looked at again"),
        d("postmaster", Email, "", LATER, "Mail to the local postmaster@ and abuse@ goes here").repeats(),
        d("relay-address", EmailOrRegex, "", LATER, "Accept mail for this address from anybody").repeats(),
        d("relay-debug", Bool, "false", LATER, "Answer 4xx instead of 5xx to refused relaying"),
        d("relay-domain", DomainPattern, "", ON, "Accept recipients here from anybody").repeats(),
        d("reports", File, "", ON, "Directory for campaign reports; unset, `reports` beside the pickup directory").ours(),
        d("run-as-root", Bool, "true", LATER, "Linux: keep root, or drop to account `pmta`. Restart needed"),
        d("runtime", Keyword(&["auto", "uring", "blocking"]), "auto", ON, "How what is no longer in RAM is read from the spool: io_uring, or threads where it is refused").ours(),
        d("segment-size", SizeWithin(1 << 20, 1 << 32), "32M", ON, "Size of a spool segment").ours(),
        d("smtp-await-slot", Bool, "false", LATER, "Wait for a free inbound slot instead of answering 421 and closing"),
        d("smtp-ip", Unchecked, "", instead("`smtp-listener ADDRESS:PORT`"), "Older way to set the listening address").repeats(),
        d("smtp-listener", Listener, "", ON, "Listening address; `source=` overrides address matching").repeats(),
        d("smtp-port", Unchecked, "", instead("`smtp-listener ADDRESS:PORT`"), "Older way to set the listening port").repeats(),
        d("smtp-proxy-source-host", Unchecked, "", LATER, "Source reached through a PROXY-protocol server").repeats(),
        d("smtp-source-host", SourceHost, "", ON, "Outbound source addresses with their HELO name, used round-robin").repeats(),
        d("smtp-source-ip", Ip, "", instead("`smtp-source-host ADDRESS HOSTNAME`"), "Old form of `smtp-source-host`").repeats(),
        d("spool", File, "", ON, "A spool directory; `<spool>` takes options too").repeats(),
        d("spool-delete-corrupted", Bool, "false", no("damaged records are always set aside, never deleted"), "Delete spool files that fail to decode; otherwise they are skipped and kept"),
        d("spool-max-recipients", NumberOr("auto"), "auto", LATER, "Recipients over all spools; above it new mail gets a 4xx"),
        d("spool-min-free-space", Number(0, u32::MAX as u64), "0", instead("`min-free-space` in `<spool>`"), "Free space below which new mail is refused, in MB"),
        d("sync-msg-create", Bool, "", no("mail is always on stable storage before it is acknowledged"), "Old spool fsync switches, set to false in most public configs; not in the 5.0 guide"),
        d("sync-msg-update", Bool, "", no("mail is always on stable storage before it is acknowledged"), "Old spool fsync switches, set to false in most public configs; not in the 5.0 guide"),
        d("thread-max-priority", Number(0, u32::MAX as u64), "0", no("threads are one per core and permanent; see `threads`"), "Unix process priority range"),
        d("thread-min-priority", Number(0, u32::MAX as u64), "15", no("threads are one per core and permanent; see `threads`"), "Unix process priority range"),
        d("thread-reuse", Bool, "true", no("threads are one per core and permanent; see `threads`"), "Keep idle threads"),
        d("threads", Number(1, 1024), "", ON, "Shards, each a thread that owns queues; unset, one per core").ours(),
        d("total-max-smtp-in", Number(0, u32::MAX as u64), "100", ON, "All inbound connections together"),
        d("total-max-smtp-out", Number(0, u32::MAX as u64), "1200", ON, "All outbound connections together; vendor advises staying under 7500"),
        d("track-time-first-attempt", Bool, "false", LATER, "Fills accounting field `timeFirstAttempt` for d, b, t"),
        d("use-proxy", Names(Named::Proxy), "", LATER, "Proxies in strict failover order (never balanced); VMTAs inherit and may override"),
        d("total-max-file", Number(0, u32::MAX as u64), "", LATER, "Files written at once; undocumented, seen in published files"),
    ]
};
