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
        d("accept-invalid-recipients", Bool, "false", LATER, "Accept and then bounce syntactically bad or suppressed recipients instead of rejecting RCPT"),
        d("add-date-header", BoolOr(&["override"]), "no", ON, "Not for mail merge"),
        d("add-message-id-header", Bool, "false", ON, "Only if missing"),
        d("add-received-header", Bool, "true", ON, "Add our Received line"),
        d("add-x-virtual-mta-header", Bool, "false", LATER, "Add the header naming the VMTA used"),
        d("allow-auth", Bool, "true", LATER, "Offer AUTH"),
        d("allow-chunking", Bool, "true", LATER, "BDAT"),
        d("allow-empty-x-virtual-mta", Bool, "false", LATER, "Empty value means `{default}`"),
        d("allow-mailmerge", Bool, "false", LATER, "Offer XMRG and friends"),
        d("allow-smtputf8", Bool, "true", ON, "SMTPUTF8; bounce if the next hop lacks it"),
        d("allow-starttls", Bool, "false", LATER, "Offer STARTTLS (off by default)"),
        d("allow-unencrypted-plain-auth", Bool, "false", LATER, "PLAIN/LOGIN without TLS"),
        d("always-allow-api-submission", Bool, "false", LATER, "Same as `allow-mailmerge yes`"),
        d("always-allow-relaying", Bool, "false", ON, "Relay from here"),
        d("auto-qualify-domain", Bool, "true", LATER, "Complete unqualified address domains"),
        d("bcc", Email, "", LATER, "Copy every message"),
        d("broken-auth-clients", Unchecked, "", no("it is obsolete since PowerMTA 4.5"), "Older workaround for clients that parse AUTH badly"),
        d("check-dkim-inbound", Bool, "false", LATER, "Verify signatures, add Authentication-Results"),
        d("check-mfrom-inbound", Bool, "false", instead("`check-spf-inbound`"), "Older name of `check-spf-inbound`"),
        d("check-iprev-inbound", Bool, "false", LATER, "Reverse DNS against EHLO name"),
        d("check-spf-inbound", Bool, "false", LATER, "Adds Authentication-Results"),
        d("check-spf-inbound-best-guess", Unchecked, "", no("it is obsolete since PowerMTA 4.5"), "SPF guess for domains without a record"),
        d("check-spf-inbound-max-void-lookups", Number(0, u32::MAX as u64), "2", LATER, "Empty answers allowed before permerror"),
        d("date-header-time", Keyword(&["reception", "delivery"]), "reception", LATER, "Which time the added Date carries; needs `add-date-header`"),
        d("default-virtual-mta", DefaultVirtualMta, "", ON, "Lowest-priority choice"),
        d("disconnect-on-transient-error", Bool, "false", LATER, "Close instead of replying 4xx"),
        d("dsn-return-default", Keyword(&["headers", "full", "system"]), "system", LATER, "RET default"),
        d("hide-message-source", Bool, "false", ON, "Leave client name and address out of our Received header"),
        d("include", Include, "", ON, "Pull in another file, see 1.3").repeats(),
        d("jobid-header", Text, "", LATER, "Another header for the job id; `x-job` and `*jobid` win"),
        d("jobid-prefix", Text, "", LATER, "Prefix for the job id; `{auth}` = user name"),
        d("log-commands", Bool, "false", LATER, "Log-data dumps ASCII and hex"),
        d("log-connections", Bool, "false", LATER, "Log-data dumps ASCII and hex"),
        d("log-data", Bool, "false", LATER, "Log-data dumps ASCII and hex"),
        d("log-tls", Bool, "false", LATER, "Log-data dumps ASCII and hex"),
        d("max-message-hops", Number(1, 10_000), "100", ON, "Received headers allowed"),
        d("max-message-size", SizeOrUnlimited, "unlimited", ON, "Largest message accepted over SMTP"),
        d("max-rcpt-per-message", Limit, "0", ON, "Recipients accepted per message"),
        d("pattern-list", Name(Named::PatternList), "", LATER, "Must be defined earlier").once(),
        d("process-x-dkim-key", Bool, "false", LATER, "Key in the message"),
        d("process-x-dkim-options", Bool, "false", LATER, "Honour / keep the DKIM options header"),
        d("process-x-envid", Bool, "false", ON, "ENVID from header; header removed"),
        d("process-x-job", Bool, "false", ON, "Job id from `x-job`. No white space or control characters"),
        d("process-x-schedule", Bool, "false", LATER, "See 6.2. With both false the header is dropped unprocessed"),
        d("process-x-virtual-mta", Bool, "false", ON, "Honour / keep the header"),
        d("reject-invalid-virtual-mta", Bool, "true", ON, "Refuse messages naming an unknown or empty VMTA"),
        d("reject-iprev-check-fail", Bool, "false", LATER, "Refuse on that reverse-DNS result"),
        d("reject-iprev-check-permerror", Bool, "false", LATER, "Refuse on that reverse-DNS result"),
        d("reject-iprev-check-temperror", Bool, "false", LATER, "Refuse on that reverse-DNS result"),
        d("reject-spf-check-fail", Bool, "true", LATER, "MAIL answered 5xx"),
        d("reject-spf-check-permerror", Bool, "true", LATER, "MAIL answered 5xx"),
        d("reject-spf-check-temperror", Bool, "true", LATER, "MAIL answered 4xx / 5xx / 5xx"),
        d("remove-header", List, "", LATER, "Removed at delivery time. Also in `<domain>`"),
        d("remove-received-headers", Bool, "false", LATER, "Strip existing Received headers; not in the 5.0 guide"),
        d("require-auth", Bool, "false", LATER, "Refuse mail before AUTH, even for local domains"),
        d("require-starttls-before-auth", Bool, "false", LATER, "Refuse AUTH until STARTTLS is done"),
        d("retain-x-dkim-key", Bool, "false", LATER, "Key in the message"),
        d("retain-x-dkim-options", Bool, "false", LATER, "Honour / keep the DKIM options header"),
        d("retain-x-job", Bool, "false", ON, "Job id from `x-job`. No white space or control characters"),
        d("retain-x-schedule", Bool, "false", LATER, "See 6.2. With both false the header is dropped unprocessed"),
        d("retain-x-virtual-mta", Bool, "false", ON, "Honour / keep the header"),
        d("rewrite-list", Name(Named::RewriteList), "", LATER, "Envelope sender and From rewriting to apply"),
        d("smtp-command-timeout", TimeWithin(1, 315_360_000), "10m", ON, "Inbound waits for the next command / for message data"),
        d("smtp-data-timeout", TimeWithin(1, 315_360_000), "10m", ON, "Inbound waits for the next command / for message data"),
        d("smtp-max-auth-failure-rate", Rate, "unlimited", LATER, "Lock AUTH from this source after N failures, counted from the first"),
        d("smtp-service", Bool, "true", ON, "False: greet with 521 and refuse"),
        d("source-group", Name(Named::SourceGroup), "", LATER, "Join a group that shares inbound limits"),
        d("suppress-local-dsn", Bool, "false", LATER, "Never generate DSNs for mail from here"),
        d("suppression-lists", Names(Named::AddressList), "", LATER, "Named `<address-list>`s").repeats(),
        d("too-many-rcpts-fails-message", Bool, "false", LATER, "Over the limit: reject at DATA rather than the extra RCPTs"),
        d("trace-dkim-check", Bool, "false", LATER, "Put DNS traces into Authentication-Results"),
        d("trace-iprev-check", Bool, "false", LATER, "Put DNS traces into Authentication-Results"),
        d("trace-spf-check", Bool, "false", LATER, "Put DNS traces into Authentication-Results"),
        d("verp-default", Bool, "no", LATER, "VERP every message, see 8.6"),
    ]
};

/// `<smtp-user>`.
#[rustfmt::skip]
pub(super) const SMTP_USER: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::SmtpUser]), "2.4", name, syntax, default, status, doc)
    }
    &[
        d("authentication-method", Keyword(&["password", "system", "certificate"]), "password", LATER, "System = Linux accounts"),
        d("password", Text, "", LATER, "Stored in clear (needed for CRAM-MD5)"),
        d("source", Name(Named::Source), "{auth}", LATER, "Named source to apply"),
        d("tls-certificate", File, "", LATER, "For certificate log-in"),
    ]
};

/// `<source-group>`.
#[rustfmt::skip]
pub(super) const SOURCE_GROUP: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::SourceGroup]), "2.4", name, syntax, default, status, doc)
    }
    &[
        d("max-smtp-in", Limit, "unlimited", LATER, "Inbound cap for the group"),
        d("reserved-smtp-in", Limit, "unlimited", LATER, "Slots held back for the group"),
    ]
};

/// `<smtp-listener>`.
#[rustfmt::skip]
pub(super) const LISTENER: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::SmtpListener]), "2.4", name, syntax, default, status, doc)
    }
    &[
        d("await-slot", Bool, "false", LATER, "As `smtp-await-slot`, for this listener"),
        d("immediate-tls", Bool, "false", LATER, "SMTPS"),
        d("source", Name(Named::Source), "{auth}", ON, "Named source to apply"),
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
        d("tls-allow-tlsv1.2", Bool, "true", LATER, "Whether TLS 1.2 may be spoken"),
        d("tls-allow-tlsv1.3", Bool, "true", LATER, "Whether TLS 1.3 may be spoken"),
        d("tls-ca-file", File, "", LATER, "CAs to verify the peer with"),
        d("tls-certificate", File, "", LATER, "For certificate log-in"),
        d("tls-ciphers", Text, "", LATER, "Ciphers up to TLS 1.2"),
        d("tls-dh-key-length", Keyword(&["1024", "2048", "4096"]), "", no("only elliptic-curve key exchange is used"), "DH parameter size"),
        d("tls-tlsv1.3-ciphersuites", Text, "", LATER, "Cipher suites of TLS 1.3"),
    ]
};
