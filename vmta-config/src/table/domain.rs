//! Directives of `<domain>`: routing, limits, retry, timeouts (reference 2.5).

use super::{Directive, Status, instead, no};
use crate::scope::{Scope, Scopes};
use crate::value::{Named, Syntax::*};

const ON: Status = Status::InEffect;
const LATER: Status = Status::Planned;

/// Routing, concurrency, retry, backoff, protocol.
#[rustfmt::skip]
pub(super) const DOMAIN: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Domain]), "2.5", name, syntax, default, status, doc)
    }
    &[
        d("allow-cancel-during-transfer", Bool, "true", LATER, "May a shutdown cut a transfer"),
        d("allow-priority-interruption", Bool, "yes", LATER, "Whether higher-priority queues may take this queue's connections"),
        d("allow-priority-interruption-during-transfer", Bool, "no", LATER, "Interrupt at once instead of after the message"),
        d("assume-delivery-upon-data-termination-timeout", Bool, "false", LATER, "Count a missing final reply as success"),
        d("auth-password", Text, "", LATER, "Outbound AUTH (CRAM-MD5, LOGIN, PLAIN), only if both sides support it"),
        d("auth-username", Text, "", LATER, "Outbound AUTH (CRAM-MD5, LOGIN, PLAIN), only if both sides support it"),
        d("backoff-max-connect-rate", Rate, "", LATER, "New connections"),
        d("backoff-max-data-volume-rate", VolumeRate, "", LATER, "Successful bytes"),
        d("backoff-max-msg-per-hour", Number(0, u32::MAX as u64), "", instead("`backoff-max-msg-rate N/h`"), "Older form of `backoff-max-msg-rate`"),
        d("backoff-max-msg-rate", Rate, "", LATER, "Attempted recipients, successes and failures"),
        d("backoff-max-smtp-out", Number(0, u32::MAX as u64), "20", LATER, "While in backoff"),
        d("backoff-notify", Emails, "", LATER, "Mail on entering and leaving"),
        d("backoff-reroute-to-virtual-mta", Name(Named::VirtualMta), "", LATER, "Move while in backoff; see 3.4"),
        d("backoff-retry-after", TimeList, "1h", LATER, "While in backoff"),
        d("backoff-to-normal-after", TimeOrNever, "never", LATER, "Leave backoff after this long"),
        d("backoff-to-normal-after-delivery", Bool, "false", LATER, "Leave backoff after one success"),
        d("backoff-upon-all-sources-disabled", Bool, "false", LATER, "Enter backoff when no source address is left"),
        d("bounce-after", TimeWithin(1, 315_360_000), "4d12h", ON, "Age limit"),
        d("bounce-upon-5xx-greeting", Bool, "false", ON, "Bounce upon a 5xx greeting; off here, unlike PowerMTA"),
        d("bounce-upon-no-mx", BoolOrTime, "false", LATER, "With a time: try A/AAAA meanwhile"),
        d("bounce-upon-pix-transfer-failure", Bool, "false", no("the firewalls with this fault are long gone"), "Bounce if the link breaks during content"),
        d("bounce-upon-transfer-failure", Bool, "false", LATER, "Bounce if the link breaks during content"),
        d("connect-timeout", TimeWithin(1, 315_360_000), "2m", ON, "Establishing the TCP connection"),
        d("connection-idle-timeout", TimeWithin(0, 600), "0", ON, "Keep an idle connection for new mail"),
        d("data-send-timeout", TimeWithin(1, 315_360_000), "3m", ON, "Sending one chunk of content"),
        d("default-smtp-port", Number(1, 65_535), "25", ON, "Destination port unless `smtp-hosts` says otherwise"),
        d("delivery-priority", Number(0, u32::MAX as u64), "", instead("`queue-priority 0..100`"), "Older spelling of `queue-priority`"),
        d("disable-mx-rollup", Bool, "false", LATER, "Never roll this domain up"),
        d("disabled-source-ip-notify", Emails, "", LATER, "Mail on entering and leaving"),
        d("ignore-8bitmime", Bool, "false", ON, "Pretend the peer lacks the extension"),
        d("ignore-chunking", Bool, "false", ON, "Pretend the peer lacks the extension"),
        d("ignore-dsn", Bool, "false", LATER, "Pretend the peer lacks the extension"),
        d("ignore-pipelining", Bool, "false", ON, "Pretend the peer lacks the extension"),
        d("include", Include, "", ON, "Pull in another file, see 1.3").repeats(),
        d("max-cold-virtual-mta-msg", DailyLimits, "0/d", LATER, "See 9.1"),
        d("max-connect-rate", Rate, "unlimited", ON, "New connections"),
        d("max-data-volume-rate", VolumeRate, "unlimited", LATER, "Successful bytes"),
        d("max-errors-per-connection", Limit, "unlimited", ON, "Drop the connection after N recipient errors"),
        d("max-msg-per-connection", Limit, "0", ON, "Messages per connection, then reconnect"),
        d("max-msg-per-hour", Number(0, u32::MAX as u64), "", instead("`max-msg-rate N/h`"), "Older form of `max-msg-rate`"),
        d("max-msg-rate", Rate, "unlimited", ON, "Attempted recipients, successes and failures"),
        d("max-rcpt-per-message", Limit, "1000", ON, "Same thing; splits a message's recipients"),
        d("max-rcpt-per-transaction", Limit, "1000", ON, "Same thing; splits a message's recipients").same_as("max-rcpt-per-message"),
        d("max-smtp-out", Number(0, u32::MAX as u64), "20", ON, "Connections for this queue (domain **and** VMTA)"),
        d("max-smtp-out-per-source-ip", Unchecked, "", instead("`source-ip-max-smtp-out CIDR N`"), "Older form of `source-ip-max-smtp-out`"),
        d("mx-connection-attempts", Number(1, 1000), "10", ON, "MX hosts tried per round; shown by `show settings` and in CFG, not documented"),
        d("notify-of-delay-every", TimeOrNever, "4h", LATER, "Only where NOTIFY=DELAY was asked"),
        d("pipeline-across-data", Bool, "true", ON, "One round trip a message after a clean first transaction (RFC 2920 3.1)").ours(),
        d("pix-bug-workaround", Bool, "true", no("the firewalls with this fault are long gone"), "Send the final dot in its own segment if the banner has ten or more asterisks"),
        d("prefer-chunking", Bool, "false", ON, "BDAT instead of DATA where CHUNKING is offered (RFC 3030)").ours(),
        d("queue-priority", Number(0, 100), "50", LATER, "Higher queues interrupt lower ones when slots run out"),
        d("queue-to", Text, "", LATER, "Puts this domain's mail into another queue"),
        d("reenable-source-ip-after", TimeOrNever, "never", LATER, "When a disabled source address comes back"),
        d("replace-smtp-421-service-response", Bool, "false", LATER, "Replace the text after 421 (and the enhanced code) by \"service unavailable\" in records"),
        d("reroute-to-virtual-mta", Name(Named::VirtualMta), "", LATER, "Always move to that VMTA"),
        d("retry-after", TimeList, "10m", ON, "Queue retry schedule; a delivery restarts it; a restart of the server too"),
        d("retry-after-dns-error", Time, "1m", LATER, "Also in backoff"),
        d("retry-recipients-after", Time, "10m", ON, "Minimum wait of one recipient after its own 4xx"),
        d("retry-upon-new-mail", Bool, "false", LATER, "New mail wakes a queue in retry"),
        d("route", Hosts, "", ON, "Older spelling of `smtp-hosts`").same_as("smtp-hosts"),
        d("smtp-421-means-mx-unavailable", Bool, "no", ON, "Yes: close and go to the next MX; no: RSET and reuse"),
        d("smtp-553-means-invalid-mailbox", Bool, "yes", ON, "553 on RCPT without enhanced code counts as 5.1.1"),
        d("smtp-data-termination-timeout", TimeWithin(1, 315_360_000), "10m", ON, "Waiting for the reply to the final dot; too low makes duplicates"),
        d("smtp-greeting-timeout", TimeWithin(1, 315_360_000), "5m", ON, "Waiting for the 220 banner"),
        d("smtp-hosts", Hosts, "", ON, "Next hops: `,` takes turns, `;` falls back"),
        d("smtp-multiple-line-response-timeout", Time, "5m", LATER, "Only seen in `show settings`"),
        d("smtp-out-rampup-interval", Time, "0", LATER, "Gap between opening connections"),
        d("smtp-pattern-list", Name(Named::SmtpPatternList), "", LATER, "See 3"),
        d("source-ip-max-connect-rate", CidrRate, "", LATER, "New connections per local source address").repeats(),
        d("source-ip-max-data-volume-rate", CidrVolume, "", LATER, "Successful bytes per local source address").repeats(),
        d("source-ip-max-msg-rate", CidrRate, "", LATER, "Per local source address in this queue").repeats(),
        d("source-ip-max-smtp-out", CidrNumber, "", LATER, "Per local source address").repeats(),
        d("type", Keyword(&["smtp", "pipe", "file", "discard", "http-delivery"]), "smtp", ON, "Restart needed if the queue holds mail"),
        d("use-unencrypted-plain-auth", Bool, "false", LATER, "Allow PLAIN/LOGIN outbound without TLS"),
    ]
};
