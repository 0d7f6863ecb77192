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
        d("alias", Alias, "", ON, "Forward an address: `user@d`, `*@d`, or the bare local part of a local host name").repeats().eg("sales@example.com ann@example.com"),
        d("allow-destination", Cidr, "", ON, "Private or loopback addresses from DNS that may be connected to").repeats().ours().eg("10.1.0.0/16"),
        d("always-allow-relaying", Bool, "false", ON, "Relay for everybody; normally set in `<source>`, for some only"),
        d("auto-cold-virtual-mta", SourceHost, "", no("it is obsolete since PowerMTA 4.5; write a `<virtual-mta>` and name it by `cold-virtual-mta`"), "An implicit cold virtual MTA, in the manner of 4.x").repeats().eg("192.0.2.9 cold.example.com"),
        d("control-socket", File, "", ON, "Socket that the commands talk to").ours().eg("/run/posthaste/control.sock").restart("it is opened at the start"),
        d("domain-key", DomainKey, "", LATER, "DKIM key; the first that fits the identity is used").repeats().eg("s2026,example.com,/etc/posthaste/example.com.pem"),
        d("domain-macro", DomainMacro, "", ON, "Names a list of domains, used as `$NAME` in the argument of a tag").repeats().eg("microsoft hotmail.com,outlook.com,live.com"),
        d("domain-suffix", HostName, "", ON, "Appended to envelope addresses whose domain has no dot").eg("example.com"),
        d("edns-udp-length", Number(0, u32::MAX as u64), "", LATER, "EDNS payload size for DNS look-ups, 512 to 2048").eg("1232"),
        d("host-id", Number(0, u32::MAX as u64), "0", ON, "Goes into generated Message-IDs to keep servers apart").eg("2"),
        d("host-name", HostName, "", ON, "Names of this host; the first is the main one (banner, EHLO). Mail for them is accepted").repeats().eg("mail.example.com"),
        d("include", Include, "", ON, "Read another file; `*` and `?` name several; http and https URLs and `builtin:providers` too").repeats().eg("/etc/posthaste/vmtas/*.conf"),
        d("include-headers-from", File, "", ON, "Headers put right after our Received header, from a file").eg("/etc/posthaste/headers"),
        d("invalid-virtual-mta-fallback", Name(Named::VirtualMta), "", ON, "Virtual MTA for messages that name an unknown one; needs `reject-invalid-virtual-mta no`").eg("vmta1"),
        d("ip-connection-limit", CidrNumber, "", ON, "Connections to each address of a network, by source address; the smallest network counts").repeats().eg("203.0.113.0/24 10"),
        d("mailmerge-expands-undefined-variables", Bool, "true", ON, "Whether an undefined `[x]` becomes empty or stays as it is"),
        d("max-memory-usage-percent", Number(1, 100), "75", ON, "Part of the memory the engine may use; above it MAIL is answered 452 4.3.2; 100 switches it off").eg("80"),
        d("max-name-queries", Number(0, u32::MAX as u64), "", no("look-ups are bounded by the resolver"), "Most DNS look-ups at once").eg("500"),
        d("mx-connection-limit", PatternNumber, "", ON, "Connections to each MX host whose name fits, by source address; the first line that fits counts").repeats().eg("*.mail.protection.outlook.com 20"),
        d("name-server", Ip, "", ON, "Resolvers, used in turn; those of the operating system unless told").repeats().eg("192.0.2.53"),
        d("pickup", TwoDirectories, "", ON, "Pickup directory and where rejected files go").once().eg("/var/spool/pickup /var/spool/pickup-bad"),
        d("pickup-remove-dot", Bool, "false", ON, "Undo dot-stuffing that the feeder wrongly applied to pickup files"),
        d("pickup-retry-interval", Time, "", no("the pickup directory is watched, files are taken at once"), "How often the pickup directory is looked at again").eg("1m"),
        d("memory-soft-limit", SizeWithin(1 << 10, 1 << 60), "", ON, "Memory past which no new mail is taken, instead of `max-memory-usage-percent`").ours().eg("6G"),
        d("postmaster", Email, "", ON, "Mail to the local postmaster@ and abuse@ goes here").repeats().eg("postmaster@example.com"),
        d("relay-address", EmailOrRegex, "", ON, "Accept mail for this address from everybody").repeats().eg("abuse@example.com"),
        d("relay-debug", Bool, "false", ON, "Answer refused relaying with 4xx instead of 5xx"),
        d("relay-domain", DomainPattern, "", ON, "Accept mail for these domains from everybody").repeats().eg("[*.]bounce.example.com"),
        d("reports", File, "", ON, "Directory for campaign reports; unless told, `reports` beside the pickup directory").ours().eg("/var/log/posthaste/reports"),
        d("run-as-root", Bool, "true", LATER, "Stay root after the start, or change to an account of its own").restart("as in PowerMTA, reference 1.1"),
        d("runtime", Keyword(&["auto", "uring", "blocking"]), "auto", ON, "How what is no longer in RAM is read from the spool: io_uring, or threads where it is refused").ours().eg("blocking").restart("the spool is opened at the start"),
        d("segment-size", SizeWithin(1 << 20, 1 << 32), "32M", ON, "Size of a spool segment, 4M to 1G").ours().eg("64M").restart("the spool is opened at the start"),
        d("smtp-await-slot", Bool, "false", ON, "Wait for a free inbound slot instead of answering 421 and closing"),
        d("smtp-ip", Ip, "", instead("`smtp-listener ADDRESS:PORT`"), "Older way to set the listening address; counts only where no listener is given").repeats().eg("192.0.2.1"),
        d("smtp-listener", Listener, "", ON, "An address to listen on; `source=` applies a named source instead of the one by address").repeats().eg("192.0.2.1:25"),
        d("smtp-port", Number(1, 65_535), "", instead("`smtp-listener ADDRESS:PORT`"), "Older way to set the listening port; counts only where no listener is given").repeats().eg("25"),
        d("smtp-proxy-source-host", ProxySource, "", LATER, "A source reached through a server that speaks the PROXY protocol").repeats().eg("10.0.0.1 192.0.2.7:5000 198.51.100.1 mta1.example.com"),
        d("smtp-source-host", SourceHost, "", ON, "An address to send from, with its EHLO name; several are used in turn").repeats().eg("192.0.2.10 mta1.example.com"),
        d("smtp-source-ip", Ip, "", instead("`smtp-source-host ADDRESS HOSTNAME`"), "Older form of `smtp-source-host`; its EHLO name is `host-name`").repeats().eg("192.0.2.10"),
        d("spool", File, "", ON, "A spool directory without options; `<spool>` takes some").repeats().eg("/var/spool/posthaste").restart("the spool is opened at the start"),
        d("spool-delete-corrupted", Bool, "false", no("damaged records are always set aside, never deleted"), "Delete spool files that cannot be read"),
        d("spool-max-recipients", NumberOr("auto"), "auto", ON, "Waiting recipients from which on new mail is put off with 4xx; `auto` leaves it to `memory-soft-limit`").eg("20000000"),
        d("spool-min-free-space", Number(0, u32::MAX as u64), "0", instead("`min-free-space` in `<spool>`"), "Older form of `min-free-space` in `<spool>`, in megabytes").eg("512"),
        d("sync-msg-create", Bool, "", no("mail is always on stable storage before it is acknowledged"), "Old switch: sync a message to disk before it is acknowledged").eg("yes"),
        d("sync-msg-update", Bool, "", no("mail is always on stable storage before it is acknowledged"), "Old switch: sync a change of a message").eg("yes"),
        d("thread-max-priority", Number(0, u32::MAX as u64), "0", no("threads are one per core and permanent; see `threads`"), "Highest Unix priority of threads").eg("0"),
        d("thread-min-priority", Number(0, u32::MAX as u64), "15", no("threads are one per core and permanent; see `threads`"), "Lowest Unix priority of threads"),
        d("thread-reuse", Bool, "true", no("threads are one per core and permanent; see `threads`"), "Keep idle threads"),
        d("threads", Number(1, 1024), "", ON, "Shards, each a thread that owns a share of the queues; one per core unless told").ours().eg("4").restart("queues are shared out to the threads at the start"),
        d("total-max-smtp-in", Number(0, u32::MAX as u64), "100", ON, "Incoming connections, all together").eg("500"),
        d("total-max-smtp-out", Number(0, u32::MAX as u64), "1200", ON, "Outgoing connections, all together").eg("3000"),
        d("track-time-first-attempt", Bool, "false", LATER, "Fills the accounting field `timeFirstAttempt`"),
        d("use-proxy", Names(Named::Proxy), "", LATER, "Proxies in order of preference; a virtual MTA may name its own").eg("proxy1,proxy2"),
        d("total-max-file", Number(0, u32::MAX as u64), "", LATER, "Files written at once; undocumented, seen in published files").eg("100"),
    ]
};
