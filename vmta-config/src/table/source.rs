//! Directives of `<source>`, its users, groups and listeners (reference 2.3, 2.4).

use super::{Directive, Status, instead, no};
use crate::scope::{Scope, Scopes};
use crate::value::{Named, Syntax::*};

const ON: Status = Status::InEffect;
const LATER: Status = Status::Planned;

/// `<source>`.
#[rustfmt::skip]
pub(super) const SOURCE: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Source]), "2.3", name, syntax, default, status, doc)
    }
    &[
        d("accept-invalid-recipients", Bool, "false", ON, "Accept malformed and suppressed recipients and bounce them, instead of refusing them"),
        d("add-date-header", BoolOr(&["override"]), "no", ON, "Add a Date header where there is none, or instead of the one there is").eg("yes"),
        d("add-message-id-header", Bool, "false", ON, "Add a Message-ID where there is none"),
        d("add-received-header", Bool, "true", ON, "Add our Received header"),
        d("add-x-virtual-mta-header", Bool, "false", ON, "Add a header that names the virtual MTA or pool, where a message is no template"),
        d("allow-auth", Bool, "true", ON, "Offer AUTH"),
        d("allow-chunking", Bool, "true", ON, "Offer CHUNKING"),
        d("allow-empty-x-virtual-mta", Bool, "false", ON, "Whether an empty `x-virtual-mta` means `{default}`"),
        d("allow-mailmerge", Bool, "false", ON, "Offer the mail merge commands"),
        d("allow-smtputf8", Bool, "true", ON, "Offer SMTPUTF8; such mail bounces where the next host lacks it"),
        d("allow-starttls", Bool, "false", ON, "Offer STARTTLS"),
        d("allow-unencrypted-plain-auth", Bool, "false", ON, "Allow AUTH PLAIN and LOGIN without TLS"),
        d("allow-xclient", Bool, "false", ON, "Let clients say for whom they speak, by XCLIENT: for proxies of one's own").ours(),
        d("always-allow-api-submission", Bool, "false", ON, "Another name of `allow-mailmerge`"),
        d("always-allow-relaying", Bool, "false", ON, "Relay for clients from here"),
        d("auto-qualify-domain", Bool, "true", ON, "Complete addresses whose domain is not qualified"),
        d("bcc", Email, "", ON, "Where a copy of each message goes; campaigns, merged messages and `/api/inject/v1` make none").eg("archive@example.com"),
        d("broken-auth-clients", Bool, "", no("it is obsolete since PowerMTA 4.5"), "Workaround for clients that read AUTH badly").eg("no"),
        d("check-dkim-inbound", Bool, "false", ON, "Check DKIM signatures and say so in Authentication-Results"),
        d("check-mfrom-inbound", Bool, "false", instead("`check-spf-inbound`"), "Older name of `check-spf-inbound`").eg("yes"),
        d("check-iprev-inbound", Bool, "false", ON, "Compare the reverse DNS of the client with its EHLO name"),
        d("check-spf-inbound", Bool, "false", ON, "Check SPF and say so in Authentication-Results"),
        d("check-spf-inbound-best-guess", Unchecked, "", no("it is obsolete since PowerMTA 4.5"), "What SPF is taken for where a domain has none").eg("\"v=spf1 a mx ~all\""),
        d("check-spf-inbound-max-void-lookups", Number(0, u32::MAX as u64), "2", ON, "Empty DNS answers allowed in an SPF check").eg("4"),
        d("date-header-time", Keyword(&["reception", "delivery"]), "reception", ON, "Which time the added Date has").eg("delivery"),
        d("default-virtual-mta", DefaultVirtualMta, "", ON, "Virtual MTA or pool of mail that asks for none; `by-smtp-source-ip` takes the one with the address connected to").eg("news"),
        d("disconnect-on-transient-error", Bool, "false", ON, "Close the connection instead of answering 4xx"),
        d("dsn-return-default", Keyword(&["headers", "full", "system"]), "system", ON, "What a failure report returns where RET is not given").eg("headers"),
        d("hide-message-source", Bool, "false", ON, "Leave client name and address out of our Received header"),
        d("include", Include, "", ON, "Read another file here").repeats().eg("/etc/posthaste/source.conf"),
        d("jobid-header", Text, "", ON, "Another header that names the job; `x-job` goes before it").eg("X-Campaign"),
        d("jobid-prefix", Text, "", ON, "Put before job names; `{auth}` is the user name").eg("server1-"),
        d("log-commands", Bool, "false", ON, "Log the SMTP dialogue with clients, without what AUTH says"),
        d("log-connections", Bool, "false", ON, "Log connections of clients"),
        d("log-data", Bool, "false", ON, "Log the messages that clients send, byte by byte"),
        d("log-tls", Bool, "false", ON, "Log TLS with clients"),
        d("max-message-hops", Number(1, 10_000), "100", ON, "Received headers that a message may have").eg("50"),
        d("max-message-size", SizeOrUnlimited, "unlimited", ON, "Largest message that is taken").eg("20M"),
        d("max-rcpt-per-message", Limit, "0", ON, "Recipients that a message may have; 0 is no limit").eg("1000"),
        d("pattern-list", Name(Named::PatternList), "", ON, "List that chooses virtual MTA and priority by sender, recipient or header").once().eg("choose"),
        d("process-x-dkim-key", Bool, "false", LATER, "Obey `x-dkim-key`: a key in the message"),
        d("process-x-dkim-options", Bool, "false", LATER, "Obey `x-dkim-options`"),
        d("process-x-envid", Bool, "false", ON, "Take the envelope id from `x-envid` and remove the header"),
        d("process-x-job", Bool, "false", ON, "Take the job from `x-job`"),
        d("process-x-schedule", Bool, "false", ON, "Deliver only in the times that `x-schedule` names"),
        d("process-x-virtual-mta", Bool, "false", ON, "Take the virtual MTA or pool from `x-virtual-mta`"),
        d("reject-invalid-virtual-mta", Bool, "true", ON, "Refuse messages that name an unknown virtual MTA"),
        d("reject-iprev-check-fail", Bool, "false", ON, "Refuse clients whose reverse DNS differs"),
        d("reject-iprev-check-permerror", Bool, "false", ON, "Refuse clients without usable reverse DNS"),
        d("reject-iprev-check-temperror", Bool, "false", ON, "Refuse clients whose reverse DNS cannot be had now"),
        d("reject-spf-check-fail", Bool, "true", ON, "Refuse senders whose SPF fails, with 5xx"),
        d("reject-spf-check-permerror", Bool, "true", ON, "Refuse senders whose SPF is broken, with 5xx"),
        d("reject-spf-check-temperror", Bool, "true", ON, "Put senders off whose SPF cannot be had now, with 4xx"),
        d("remove-header", List, "", ON, "Headers removed at delivery").eg("X-Internal,X-Trace"),
        d("remove-received-headers", Bool, "false", ON, "Remove the Received headers a message comes with"),
        d("require-auth", Bool, "false", ON, "Take mail only after AUTH, for local domains too"),
        d("require-proxy-protocol", Bool, "false", ON, "Connections begin with HAProxy's PROXY header, version 1 or 2, which says who the client is").ours(),
        d("require-starttls-before-auth", Bool, "false", ON, "Refuse AUTH before STARTTLS"),
        d("retain-x-dkim-key", Bool, "false", ON, "Keep the header `x-dkim-key`"),
        d("retain-x-dkim-options", Bool, "false", ON, "Keep the header `x-dkim-options`"),
        d("retain-x-job", Bool, "false", ON, "Keep the header `x-job`"),
        d("retain-x-schedule", Bool, "false", ON, "Keep the header `x-schedule`"),
        d("retain-x-virtual-mta", Bool, "false", ON, "Keep the header `x-virtual-mta`"),
        d("rewrite-list", Name(Named::RewriteList), "", ON, "How envelope senders and From headers are rewritten, where the virtual MTA has no list").eg("brand"),
        d("smtp-command-timeout", TimeWithin(1, 315_360_000), "10m", ON, "How long a client may take to the next command").eg("2m"),
        d("smtp-data-timeout", TimeWithin(1, 315_360_000), "10m", ON, "How long a client may take to the next piece of a message").eg("5m"),
        d("smtp-max-auth-failure-rate", Rate, "unlimited", ON, "Failed AUTH in a time, after which AUTH is locked for the address").eg("5/h"),
        d("smtp-service", Bool, "true", ON, "Whether mail is taken at all; if not, clients are greeted with 521"),
        d("source-group", Name(Named::SourceGroup), "", ON, "Group that shares limits for incoming connections").eg("feeders"),
        d("suppress-local-dsn", Bool, "false", ON, "Make no failure reports for mail from here"),
        d("suppression-lists", Names(Named::AddressList), "", ON, "`<address-list>`s of recipients that get no mail").repeats().eg("unsubscribed"),
        d("too-many-rcpts-fails-message", Bool, "false", ON, "Refuse a message with too many recipients, not just those above the limit"),
        d("trace-dkim-check", Bool, "false", ON, "Put DNS traces of the DKIM check into Authentication-Results"),
        d("trace-iprev-check", Bool, "false", ON, "Put DNS traces of the reverse DNS check into Authentication-Results"),
        d("trace-spf-check", Bool, "false", ON, "Put DNS traces of the SPF check into Authentication-Results"),
        d("verp-default", Bool, "no", ON, "As if VERP was asked for: `ann@news.example` becomes `ann-jim=site.example@news.example`"),
    ]
};

/// `<smtp-user>`.
#[rustfmt::skip]
pub(super) const SMTP_USER: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::SmtpUser]), "2.4", name, syntax, default, status, doc)
    }
    &[
        d("authentication-method", Keyword(&["password", "system", "certificate"]), "password", ON, "Whose password counts: our own, or that of the Linux account of this name; `certificate` is not in effect yet").eg("system"),
        d("password", Text, "", ON, "Password, as it is (CRAM-MD5 needs it)").eg("secret"),
        d("source", Name(Named::Source), "{auth}", ON, "Named source that applies to the user").eg("{auth}"),
        d("tls-certificate", File, "", ON, "Certificate the user logs in with, or several").eg("/etc/posthaste/user.pem"),
    ]
};

/// `<source-group>`.
#[rustfmt::skip]
pub(super) const SOURCE_GROUP: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::SourceGroup]), "2.4", name, syntax, default, status, doc)
    }
    &[
        d("max-smtp-in", Limit, "unlimited", ON, "Incoming connections of the group").eg("50"),
        d("reserved-smtp-in", Limit, "unlimited", ON, "Incoming connections kept free for the group").eg("10"),
    ]
};

/// `<smtp-listener>`.
#[rustfmt::skip]
pub(super) const LISTENER: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::SmtpListener]), "2.4", name, syntax, default, status, doc)
    }
    &[
        d("await-slot", Bool, "false", ON, "Wait for a free place instead of answering 421"),
        d("immediate-tls", Bool, "false", ON, "Begin with TLS at once (port 465)"),
        d("source", Name(Named::Source), "", ON, "Named source that applies here, on top of the one by address").eg("inside"),
        d("tls-ca-file", File, "", ON, "CAs that certificates of clients are checked with; otherwise those of `smtp-server-tls-ca-file`").eg("/etc/posthaste/ca.pem"),
        d("tls-allow-tlsv1.2", Bool, "true", ON, "Whether TLS 1.2 may be spoken"),
        d("tls-allow-tlsv1.3", Bool, "true", ON, "Whether TLS 1.3 may be spoken"),
        d("tls-certificate", FileAndPassword, "", ON, "Certificate and key of this listener; otherwise those of `smtp-server-tls-certificate`").eg("/etc/posthaste/smtp.pem"),
    ]
};

/// TLS of the listener for the transmissions API.
#[rustfmt::skip]
pub(super) const API_LISTENER_TLS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::TransmissionsApiListener]), "2.4", name, syntax, default, status, doc)
    }
    &[
        d("tls-allow-tlsv1.2", Bool, "true", ON, "Whether TLS 1.2 may be spoken"),
        d("tls-allow-tlsv1.3", Bool, "true", ON, "Whether TLS 1.3 may be spoken"),
        d("tls-ca-file", File, "", LATER, "CAs that certificates of clients are checked with").eg("/etc/posthaste/ca.pem"),
        d("tls-certificate", FileAndPassword, "", ON, "Certificate and key of this listener, which speaks HTTPS then; without it, HTTP").eg("/etc/posthaste/api.pem"),
    ]
};

/// TLS of both kinds of listener.
#[rustfmt::skip]
pub(super) const LISTENER_TLS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::SmtpListener, Scope::TransmissionsApiListener]), "2.4", name, syntax, default, status, doc)
    }
    &[
        d("tls-allow-sslv3", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether SSL 3.0 may be spoken"),
        d("tls-allow-tlsv1", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.0 may be spoken"),
        d("tls-allow-tlsv1.1", Bool, "true", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.1 may be spoken"),
        d("tls-ciphers", Ciphers { v1_3: false }, "", ON, "Ciphers up to TLS 1.2").eg("HIGH:!ADH"),
        d("tls-dh-key-length", Keyword(&["1024", "2048", "4096"]), "", no("only elliptic-curve key exchange is used"), "DH parameter size").eg("2048"),
        d("tls-tlsv1.3-ciphersuites", Ciphers { v1_3: true }, "", ON, "Cipher suites of TLS 1.3").eg("TLS_AES_256_GCM_SHA384"),
    ]
};
