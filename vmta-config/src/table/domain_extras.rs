//! Directives of `<domain>`: TLS, DKIM, logs, non-SMTP delivery (reference 2.5).

use super::{Directive, Status, no};
use crate::scope::{Scope, Scopes};
use crate::value::Syntax::*;

const ON: Status = Status::InEffect;
const LATER: Status = Status::Planned;

/// TLS, DKIM, reports, logs, files and programs.
#[rustfmt::skip]
pub(super) const DOMAIN_EXTRAS: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Domain]), "2.5", name, syntax, default, status, doc)
    }
    &[
        d("add-x-msys-api-header", Bool, "", no("it is for the vendor's cloud relay"), "Cloud relay"),
        d("bcc-upon-delivery", Email, "", LATER, "Copy each delivered message"),
        d("check-spf-outbound", Bool, "false", LATER, "Deliver on Pass, retry on TempError, bounce otherwise; needs a configured source address"),
        d("command", Text, "", LATER, "One process per recipient, message on stdin"),
        d("deliver-local-dsn", Bool, "true", LATER, "Whether failure reports are made; PowerMTA now prefers `suppress-local-dsn` in `<source>`"),
        d("disable-acct-records", Records, "", LATER, "Skip these records for the queue"),
        d("discard-as-bounce", Bool, "false", LATER, "Record b instead of d"),
        d("dk-sign", Bool, "", no("DomainKeys was replaced by DKIM (RFC 6376); see `dkim-sign`"), "Old DomainKeys signing; not in the 5.0 guide"),
        d("dkim-add-body-limit", Bool, "false", LATER, "L=, t="),
        d("dkim-add-timestamp", Bool, "false", LATER, "L=, t="),
        d("dkim-algorithm", Keyword(&["rsa-sha256", "rsa-sha1"]), "rsa-sha256", LATER, "A= tag"),
        d("dkim-body-canon", Keyword(&["relaxed", "simple"]), "relaxed", LATER, "C= tag"),
        d("dkim-disallow-adding-headers", List, "", LATER, "Over-sign"),
        d("dkim-expire-after", TimeOrNever, "never", LATER, "X="),
        d("dkim-headers", Unchecked, "", LATER, "Extra headers to sign: names and /expressions/"),
        d("dkim-headers-canon", Keyword(&["relaxed", "simple"]), "relaxed", LATER, "C= tag"),
        d("dkim-identity", Text, "sender-or-from", LATER, "Sets i= and picks the key"),
        d("dkim-identity-fallback", Text, "", LATER, "Used when no key fits the first"),
        d("dkim-query-method", Text, "", LATER, "Q="),
        d("dkim-sign", BoolOr(&["if-x-dkim-options-present"]), "no", LATER, "Sign mail to this domain; needs a key"),
        d("dsn-format", Keyword(&["standard", "plain-text"]), "standard", LATER, "Plain-text sends only the status part, as text/plain"),
        d("file-destination", Text, "", LATER, "See 5.5"),
        d("file-format", Keyword(&["newfile-plain", "newfile-pickup", "append-mbox"]), "newfile-plain", LATER, "New files are written as `.tmp`, renamed `.msg`"),
        d("http-delivery-extra-headers", File, "", LATER, "One header per line"),
        d("http-delivery-url", Text, "", LATER, "See 6.6"),
        d("log-commands", Bool, "false", LATER, "Log the SMTP dialogue of the queue"),
        d("log-connections", Bool, "false", LATER, "Log connections of the queue"),
        d("log-data", Bool, "false", LATER, "Log raw bytes of the queue"),
        d("log-disabled-ips", Bool, "false", LATER, "Log disabled source addresses of the queue"),
        d("log-messages", Bool, "", LATER, "In `<domain {bounce}>`: log what the bounce filter sees"),
        d("log-resolution", Bool, "false", LATER, "Log DNS look-ups of the queue"),
        d("log-tls", Bool, "false", LATER, "Log TLS negotiation"),
        d("log-transfer-failures", Bool, "false", LATER, "Log broken transfers of the queue"),
        d("macro-variables-preserve-case", Bool, "false", LATER, "Keep case of `$from`, `$to`"),
        d("max-events-recorded", Number(0, u32::MAX as u64), "10", LATER, "Errors kept per queue in memory"),
        d("remove-header", List, "", LATER, "Headers to drop at delivery"),
        d("require-starttls", Bool, "false", ON, "Abort rather than send in clear"),
        d("reuse-ssl-session", Bool, "false", LATER, "Not with TLS 1.3"),
        d("second-dkim-add-body-limit", Bool, "false", LATER, "As `dkim-add-body-limit`, for the second signature"),
        d("second-dkim-add-timestamp", Bool, "false", LATER, "As `dkim-add-timestamp`, for the second signature"),
        d("second-dkim-algorithm", Keyword(&["rsa-sha256", "rsa-sha1"]), "rsa-sha256", LATER, "As `dkim-algorithm`, for the second signature"),
        d("second-dkim-body-canon", Keyword(&["relaxed", "simple"]), "relaxed", LATER, "As `dkim-body-canon`, for the second signature"),
        d("second-dkim-disallow-adding-headers", List, "", LATER, "As `dkim-disallow-adding-headers`, for the second signature"),
        d("second-dkim-expire-after", TimeOrNever, "never", LATER, "As `dkim-expire-after`, for the second signature"),
        d("second-dkim-headers", Unchecked, "", LATER, "As `dkim-headers`, for the second signature"),
        d("second-dkim-headers-canon", Keyword(&["relaxed", "simple"]), "relaxed", LATER, "As `dkim-headers-canon`, for the second signature"),
        d("second-dkim-identity", Text, "sender-or-from", LATER, "As `dkim-identity`, for the second signature"),
        d("second-dkim-identity-fallback", Text, "", LATER, "As `dkim-identity-fallback`, for the second signature"),
        d("second-dkim-query-method", Text, "", LATER, "As `dkim-query-method`, for the second signature"),
        d("second-dkim-sign", BoolOr(&["if-x-dkim-options-present"]), "no", LATER, "As `dkim-sign`, for the second signature"),
        d("smtp-client-certificate", FileAndPassword, "", LATER, "(shown by `show settings` earlier)"),
        d("smtp-tls-allow-sslv3", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether SSL 3.0 may be spoken"),
        d("smtp-tls-allow-tlsv1", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.0 may be spoken"),
        d("smtp-tls-allow-tlsv1.1", Bool, "true", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.1 may be spoken"),
        d("smtp-tls-allow-tlsv1.2", Bool, "true", LATER, "Whether TLS 1.2 may be spoken"),
        d("smtp-tls-allow-tlsv1.3", Bool, "true", LATER, "Whether TLS 1.3 may be spoken"),
        d("smtp-tls-ca-file", File, "", LATER, "CAs to verify the peer with; required TLS then gives 4xx on failure"),
        d("smtp-tls-ciphers", Text, "HIGH:!ADH:@STRENGTH", LATER, "Ciphers up to TLS 1.2"),
        d("smtp-tls-tlsv1.3-ciphersuites", Text, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256", LATER, "Cipher suites of TLS 1.3"),
        d("sparkpost-ip-pool", Text, "", no("it is for the vendor's cloud relay"), "Cloud relay"),
        d("sparkpost-sandbox", Bool, "false", no("it is for the vendor's cloud relay"), "Cloud relay"),
        d("track-recipient-events", Bool, "false", LATER, "Keep the last 50 recipient events"),
        d("use-dane", Bool, "false", LATER, "Needs a DNSSEC-validating resolver"),
        d("use-mta-sts", Bool, "false", LATER, "Enforce the recipient domain's MTA-STS policy"),
        d("use-starttls", Bool, "true", ON, "Opportunistic"),
    ]
};
