//! Directives of accounting files and spools (reference 2.2, 2.7).

use super::{Directive, Status, no};
use crate::scope::{Scope, Scopes};
use crate::value::Syntax::*;

const ON: Status = Status::InEffect;
const LATER: Status = Status::Planned;

/// `<acct-file>`.
#[rustfmt::skip]
pub(super) const ACCT_FILE: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::AcctFile]), "2.7", name, syntax, default, status, doc)
    }
    &[
        d("count-moved-records", Bool, "false", LATER, "Log how many records a file has when it is moved"),
        d("delete-after", DaysOrNever, "8d", ON, "When finished files are deleted; only without `move-to`").eg("30d"),
        d("http-webhook-ca-file", File, "", LATER, "CAs the receiver of records is checked with").eg("/etc/posthaste/ca.pem"),
        d("http-webhook-certificate", File, "", LATER, "Certificate shown to the receiver of records").eg("/etc/posthaste/client.pem"),
        d("http-webhook-connect-timeout", Time, "5s", LATER, "How long a connection for records may take to stand").eg("10s"),
        d("http-webhook-extra-headers", File, "", LATER, "Headers of requests with records, one a line in a file").eg("/etc/posthaste/headers"),
        d("http-webhook-io-timeout", Time, "5s", LATER, "How long one read or write of a request with records may take").eg("10s"),
        d("http-webhook-log-verbose", Bool, "false", LATER, "Log every request with records, not only errors"),
        d("http-webhook-max-interval", TimeWithin(60, 315_360_000), "5m", LATER, "Age at which a batch of records is posted").eg("1m"),
        d("http-webhook-transfer-encoding", Keyword(&["gzip"]), "", LATER, "Compress requests with records").eg("gzip"),
        d("http-webhook-url", Url, "", LATER, "Where records are posted; the file is the place they wait in").eg("https://hooks.example.com/acct"),
        d("iso-times", Bool, "yes", ON, "Times as 2026-01-31 12:00:00+0000, otherwise Unix seconds"),
        d("map-header-to-field", HeaderField, "", LATER, "The first of these headers that is there fills a field; not for tq").repeats().eg("d header_X-Customer userString"),
        d("max-size", Size, "250M", ON, "A new file is begun at this size; at least 1M").eg("100M"),
        d("move-interval", TimeWithin(1, 315_360_000), "1d", ON, "A new file is begun at this age; only with `move-to`").eg("5m"),
        d("move-to", File, "", ON, "Directory that finished files are moved to, on the same file system").eg("/var/log/posthaste/done"),
        d("privacy-policy", Privacy, "retain", LATER, "How the local part of recipients is shown").eg("siphash secretkey"),
        d("queue-filter", QueueFilter, "", ON, "Queues whose records are written; the first entry that fits decides").eg("!gmail.com/*,*/vmta1"),
        d("record-fields", RecordFields, "", ON, "Columns of a record type: `*`, names, `!name`, `header_X`, `arf_X`").repeats().eg("d *,!dlvSize,header_X-Campaign"),
        d("records", Records, "d,b", ON, "Kinds of records that are written").once().eg("d,b,t"),
        d("retry-interval", Time, "5m", LATER, "When a program that failed is started again").eg("1m"),
        d("sync", Bool, "false", LATER, "Flush to disk regularly"),
        d("user-string", Text, "", ON, "Value of the field `userString`").eg("server1"),
        d("world-readable", Bool, "no", ON, "Whether every local user may read the file"),
        d("write-timeout", Time, "1m", LATER, "How long a program may take to read a record").eg("30s"),
    ]
};

/// `<spool>`.
#[rustfmt::skip]
pub(super) const SPOOL: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Spool]), "2.2", name, syntax, default, status, doc)
    }
    &[
        d("delete-file-holders", Bool, "false", no("the spool keeps no placeholder files"), "Remove the empty placeholder files kept for reuse"),
        d("deliver-only", Bool, "false", LATER, "Deliver what is there and take nothing new"),
        d("min-free-space", Size, "0", ON, "Below this much free disk space new mail is refused; unset, a tenth of the file system, at most 1G").eg("2G"),
        d("priority", Number(1, 100), "1", LATER, "The spool of highest priority is used until it is full").eg("2"),
    ]
};
