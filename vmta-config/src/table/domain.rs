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
        d("allow-cancel-during-transfer", Bool, "true", LATER, "Whether a shutdown may cut a transfer"),
        d("allow-priority-interruption", Bool, "yes", ON, "Whether higher-priority queues may take this queue's connections"),
        d("allow-priority-interruption-during-transfer", Bool, "no", ON, "Interrupt at once instead of after the message"),
        d("assume-delivery-upon-data-termination-timeout", Bool, "false", LATER, "Count a missing reply to the final dot as success"),
        d("auth-password", Text, "", LATER, "Password for AUTH at the receiver").eg("secret"),
        d("auth-username", Text, "", LATER, "User name for AUTH at the receiver").eg("relay-user"),
        d("backoff-max-connect-rate", Rate, "", ON, "`max-connect-rate` while the queue is in backoff; the same where not given").eg("2/m"),
        d("backoff-max-data-volume-rate", VolumeRate, "", ON, "`max-data-volume-rate` while the queue is in backoff").eg("10M/h"),
        d("backoff-max-msg-per-hour", Number(0, u32::MAX as u64), "", instead("`backoff-max-msg-rate N/h`"), "Older form of `backoff-max-msg-rate`").eg("100"),
        d("backoff-max-msg-rate", Rate, "", ON, "`max-msg-rate` while the queue is in backoff; the same where not given").eg("1/m"),
        d("backoff-max-smtp-out", Number(0, u32::MAX as u64), "20", ON, "`max-smtp-out` while the queue is in backoff; never more than that").eg("1"),
        d("backoff-notify", Emails, "", ON, "Whom to tell when the queue enters and leaves backoff").eg("ops@example.com"),
        d("backoff-reroute-to-virtual-mta", Name(Named::VirtualMta), "", ON, "Virtual MTA or pool that has the queue's mail while it is in backoff").eg("vmta2"),
        d("backoff-retry-after", TimeList, "1h", ON, "`retry-after` while the queue is in backoff").eg("1h,2h"),
        d("backoff-to-normal-after", TimeOrNever, "never", ON, "When backoff ends by itself").eg("1h"),
        d("backoff-to-normal-after-delivery", Bool, "false", ON, "Whether one delivery ends backoff"),
        d("backoff-upon-all-sources-disabled", Bool, "false", ON, "Enter backoff when no source address is left"),
        d("bounce-after", TimeWithin(1, 315_360_000), "4d12h", ON, "Age at which mail is given up").eg("2d"),
        d("bounce-upon-5xx-greeting", Bool, "false", ON, "Give the queue's mail up when the receiver greets with 5xx; off here, unlike PowerMTA"),
        d("bounce-upon-no-mx", BoolOrTime, "false", ON, "Give mail to a domain without MX up: at once, never, or at this age, with A and AAAA until then").eg("1h"),
        d("bounce-upon-pix-transfer-failure", Bool, "false", no("the firewalls with this fault are long gone"), "Give mail up when a firewall of the PIX kind breaks the transfer"),
        d("bounce-upon-transfer-failure", Bool, "false", LATER, "Give mail up when the connection breaks during the content"),
        d("cold-virtual-mta-hold-above", Percent, "", ON, "Share of failed attempts above which the next day of a cold virtual MTA has no more").ours().eg("5%"),
        d("cold-virtual-mta-lower-above", Percent, "", ON, "Share of failed attempts above which the next day of a cold virtual MTA has less").ours().eg("20%"),
        d("connect-timeout", TimeWithin(1, 315_360_000), "2m", ON, "How long a TCP connection may take to stand").eg("30s"),
        d("connection-idle-timeout", TimeWithin(0, 600), "0", ON, "How long a connection waits for new mail, at most 10m").eg("5s"),
        d("data-send-timeout", TimeWithin(1, 315_360_000), "3m", ON, "How long a block of content may take to send").eg("1m"),
        d("default-smtp-port", Number(1, 65_535), "25", ON, "Destination port unless `smtp-hosts` says otherwise").eg("587"),
        d("delivery-priority", Number(0, u32::MAX as u64), "", instead("`queue-priority 0..100`"), "Older spelling of `queue-priority`").eg("80"),
        d("disable-mx-rollup", Bool, "false", ON, "Never roll this domain up"),
        d("disabled-source-ip-notify", Emails, "", ON, "Whom to tell when a source address is disabled, and when it is enabled again").eg("ops@example.com"),
        d("ignore-8bitmime", Bool, "false", ON, "Act as if the receiver did not offer 8BITMIME"),
        d("ignore-chunking", Bool, "false", ON, "Act as if the receiver did not offer CHUNKING"),
        d("ignore-dsn", Bool, "false", ON, "Act as if the receiver did not offer DSN"),
        d("ignore-pipelining", Bool, "false", ON, "Act as if the receiver did not offer PIPELINING"),
        d("include", Include, "", ON, "Read another file here").repeats().eg("/etc/posthaste/limits.conf"),
        d("max-cold-virtual-mta-msg", DailyLimits, "0/d", ON, "Recipients a day that a cold virtual MTA may take of the domain; its first day has the first number").eg("50/d,100/d,200/d"),
        d("max-connect-rate", Rate, "unlimited", ON, "New connections in a time").eg("10/m"),
        d("max-data-volume-rate", VolumeRate, "unlimited", ON, "Bytes delivered in a time").eg("100M/h"),
        d("max-errors-per-connection", Limit, "unlimited", ON, "Recipient errors after which a connection is closed").eg("10"),
        d("max-msg-per-connection", Limit, "0", ON, "Messages after which a connection is closed; 0 is no limit").eg("100"),
        d("max-msg-per-hour", Number(0, u32::MAX as u64), "", instead("`max-msg-rate N/h`"), "Older form of `max-msg-rate`").eg("1000"),
        d("max-msg-rate", Rate, "unlimited", ON, "Recipients attempted in a time, whatever becomes of them").eg("100/s"),
        d("max-rcpt-per-message", Limit, "1000", ON, "Recipients of one transaction; more are split").eg("100"),
        d("max-rcpt-per-transaction", Limit, "1000", ON, "Another name of `max-rcpt-per-message`").same_as("max-rcpt-per-message").eg("100"),
        d("max-smtp-out", Number(0, u32::MAX as u64), "20", ON, "Connections of the queue, that is of domain and virtual MTA").eg("20"),
        d("max-smtp-out-per-source-ip", Number(0, u32::MAX as u64), "", instead("`source-ip-max-smtp-out CIDR N`"), "Older form of `source-ip-max-smtp-out`").eg("5"),
        d("mx-connection-attempts", Number(1, 1000), "10", ON, "MX hosts tried in a round; undocumented, seen in published files").eg("5"),
        d("notify-of-delay-every", TimeOrNever, "4h", ON, "How often a delay is reported where DSN asked for it").eg("never"),
        d("pipeline-across-data", Bool, "true", ON, "One round trip a message after a clean first transaction (RFC 2920 3.1)").ours(),
        d("pix-bug-workaround", Bool, "true", no("the firewalls with this fault are long gone"), "Send the final dot in its own segment if the banner has ten or more asterisks"),
        d("prefer-chunking", Bool, "false", ON, "BDAT instead of DATA where CHUNKING is offered (RFC 3030)").ours(),
        d("queue-priority", Number(0, 100), "50", ON, "Queues of higher priority get connections first").eg("80"),
        d("queue-to", Text, "", ON, "The domain whose queue has this domain's mail, if it has `smtp-hosts` or MX hosts").eg("smarthost.example"),
        d("reenable-source-ip-after", TimeOrNever, "never", ON, "When a disabled source address comes back").eg("1h"),
        d("replace-smtp-421-service-response", Bool, "false", LATER, "Write \"service unavailable\" instead of the text after 421 into records"),
        d("reroute-to-virtual-mta", Name(Named::VirtualMta), "", ON, "Virtual MTA or pool that has the queue's mail, whatever was asked for").eg("vmta2"),
        d("retry-after", TimeList, "10m", ON, "Waits of the queue after failures in a row; a delivery starts it again").eg("10m,30m,1h"),
        d("retry-after-dns-error", Time, "1m", ON, "Wait of the queue after a failed DNS look-up").eg("5m"),
        d("retry-recipients-after", Time, "10m", ON, "Least wait of one recipient after its own 4xx").eg("15m"),
        d("retry-upon-new-mail", Bool, "false", ON, "Whether new mail ends the wait of the queue"),
        d("route", Hosts, "", ON, "Older spelling of `smtp-hosts`").same_as("smtp-hosts").eg("[192.0.2.25]:25"),
        d("smtp-421-means-mx-unavailable", Bool, "no", ON, "Whether 421 ends the connection, to go on at the next MX"),
        d("smtp-553-means-invalid-mailbox", Bool, "yes", ON, "Whether 553 to RCPT without an enhanced code counts as 5.1.1"),
        d("smtp-data-termination-timeout", TimeWithin(1, 315_360_000), "10m", ON, "How long the reply to the final dot may take; too short makes duplicates").eg("10m"),
        d("smtp-greeting-timeout", TimeWithin(1, 315_360_000), "5m", ON, "How long the greeting may take").eg("2m"),
        d("smtp-hosts", Hosts, "", ON, "Next hops instead of MX: `,` takes turns, `;` falls back").eg("relay1.example.com,relay2.example.com;[192.0.2.25]:2525"),
        d("smtp-multiple-line-response-timeout", Time, "5m", LATER, "How long a reply of several lines may take; undocumented"),
        d("smtp-out-rampup-interval", Time, "0", ON, "Least time between two new connections").eg("1s"),
        d("smtp-pattern-list", Name(Named::SmtpPatternList), "", ON, "The `<smtp-pattern-list>` that says what replies of the receiver cause").eg("blocks"),
        d("source-ip-max-connect-rate", CidrRate, "", ON, "New connections in a time, by local address").repeats().eg("192.0.2.0/24 10/m"),
        d("source-ip-max-data-volume-rate", CidrVolume, "", ON, "Bytes delivered in a time, by local address").repeats().eg("192.0.2.0/24 10M/h"),
        d("source-ip-max-msg-rate", CidrRate, "", ON, "Recipients attempted in a time, by local address").repeats().eg("192.0.2.0/24 100/m"),
        d("source-ip-max-smtp-out", CidrNumber, "", ON, "Connections, by local address").repeats().eg("192.0.2.0/24 2"),
        d("type", Keyword(&["smtp", "pipe", "file", "discard", "http-delivery"]), "smtp", ON, "How mail leaves; a queue that holds mail keeps its type until a restart").eg("discard"),
        d("use-unencrypted-plain-auth", Bool, "false", LATER, "Allow AUTH PLAIN and LOGIN at the receiver without TLS"),
    ]
};
