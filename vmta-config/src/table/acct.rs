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
        d("count-moved-records", Bool, "false", LATER, "Log counts when moving"),
        d("delete-after", DaysOrNever, "8d", ON, "Only without `move-to`"),
        d("http-webhook-ca-file", File, "", LATER, "Client certificate; CAs"),
        d("http-webhook-certificate", File, "", LATER, "Client certificate; CAs"),
        d("http-webhook-connect-timeout", Time, "5s", LATER, "Connect wait; any single I/O wait"),
        d("http-webhook-extra-headers", File, "", LATER, "May override Content-Type"),
        d("http-webhook-io-timeout", Time, "5s", LATER, "Connect wait; any single I/O wait"),
        d("http-webhook-log-verbose", Bool, "false", LATER, "Log uploads, not only errors"),
        d("http-webhook-max-interval", Time, "5m", LATER, "Batch age"),
        d("http-webhook-transfer-encoding", Keyword(&["gzip"]), "", LATER, "Compress the request body"),
        d("http-webhook-url", Text, "", LATER, "POST batches; TARGET is then the staging file"),
        d("iso-times", Bool, "yes", ON, "No = Unix seconds"),
        d("map-header-to-field", HeaderField, "", LATER, "First present header wins; not for tq").repeats(),
        d("max-size", Size, "250M", ON, "New file when reached, with or without `move-to`. Webhook: batch size 50K..10M, default 5M"),
        d("move-interval", TimeWithin(1, 315_360_000), "1d", ON, "Silently ignored without `move-to`"),
        d("move-to", File, "", ON, "Finished files go there"),
        d("privacy-policy", Unchecked, "retain", LATER, "Hides the local part of recipients"),
        d("queue-filter", QueueFilter, "", ON, "Ordered"),
        d("record-fields", RecordFields, "", ON, "Columns of a record type: `*`, names, `!name`, `header_X`, `arf_X`").repeats(),
        d("records", Records, "d,b", ON, "Once per file").once(),
        d("retry-interval", Time, "5m", LATER, "Pipe restart"),
        d("sync", Bool, "false", LATER, "Flush regularly"),
        d("user-string", Text, "", ON, "Value of field `userString`"),
        d("world-readable", Bool, "no", ON, "Readable by every local user"),
        d("write-timeout", Time, "1m", LATER, "Pipe write"),
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
        d("deliver-only", Bool, "false", LATER, "Drain this directory, write nothing new (disaster recovery)"),
        d("min-free-space", Size, "0", ON, "Refuse new mail below this"),
        d("priority", Number(1, 100), "1", LATER, "Highest is used until full; equal ones round-robin"),
    ]
};
