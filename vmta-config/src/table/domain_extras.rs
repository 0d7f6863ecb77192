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
        d("add-x-msys-api-header", Bool, "", no("it is for the vendor's cloud relay"), "A header for the vendor's cloud relay").eg("no"),
        d("bcc-upon-delivery", Email, "", LATER, "Where a copy of each delivered message goes").eg("archive@example.com"),
        d("check-spf-outbound", Bool, "false", LATER, "Deliver only where our own SPF passes"),
        d("command", Text, "", LATER, "The program that gets the message, one process a recipient (`type pipe`)").eg("\"/usr/local/bin/store $to\""),
        d("deliver-local-dsn", Bool, "true", ON, "Whether senders have reports of recipients here; PowerMTA prefers `suppress-local-dsn` in `<source>`"),
        d("disable-acct-records", Records, "", LATER, "Accounting records the queue does not write").eg("t,tq"),
        d("discard-as-bounce", Bool, "false", LATER, "Record what `type discard` throws away as b instead of d"),
        d("dk-sign", Bool, "", no("DomainKeys was replaced by DKIM (RFC 6376); see `dkim-sign`"), "Sign with DomainKeys").eg("no"),
        d("dkim-add-body-limit", Bool, "false", LATER, "Add the length of the body (l=) to the signature"),
        d("dkim-add-timestamp", Bool, "false", LATER, "Add the time (t=) to the signature"),
        d("dkim-algorithm", Keyword(&["rsa-sha256", "rsa-sha1"]), "rsa-sha256", LATER, "Algorithm of the signature (a=)").eg("rsa-sha256"),
        d("dkim-body-canon", Keyword(&["relaxed", "simple"]), "relaxed", LATER, "Canonicalization of the body (c=)").eg("simple"),
        d("dkim-disallow-adding-headers", HeaderList, "", LATER, "Headers that may not be added later (signed once more than they are there)").eg("From,Subject"),
        d("dkim-expire-after", TimeOrNever, "never", LATER, "When the signature expires (x=)").eg("7d"),
        d("dkim-headers", HeaderList, "", LATER, "Further headers to sign: names and `/expressions/`").eg("List-Unsubscribe,/^X-Campaign/"),
        d("dkim-headers-canon", Keyword(&["relaxed", "simple"]), "relaxed", LATER, "Canonicalization of headers (c=)").eg("simple"),
        d("dkim-identity", DkimIdentity, "sender-or-from", LATER, "Who signs (i=): an address, `@domain`, or from which header it is taken").eg("@example.com"),
        d("dkim-identity-fallback", DkimIdentity, "", LATER, "Who signs where no key fits `dkim-identity`").eg("@example.com"),
        d("dkim-query-method", Text, "", LATER, "How the key is found (q=)").eg("dns/txt"),
        d("dkim-sign", BoolOr(&["if-x-dkim-options-present"]), "no", LATER, "Sign mail to this domain; needs a `domain-key`"),
        d("dsn-format", Keyword(&["standard", "plain-text"]), "standard", ON, "Failure reports as RFC 3464 says, or only their text").eg("plain-text"),
        d("file-destination", Text, "", LATER, "Where `type file` writes, with `$to`, `$domain` and the like").eg("/var/mail/out"),
        d("file-format", Keyword(&["newfile-plain", "newfile-pickup", "append-mbox"]), "newfile-plain", LATER, "What `type file` writes").eg("append-mbox"),
        d("http-delivery-extra-headers", File, "", LATER, "Headers of the request of `type http-delivery`, one a line in a file").eg("/etc/posthaste/headers"),
        d("http-delivery-url", Url, "", LATER, "Where `type http-delivery` posts messages").eg("https://hooks.example.com/mail"),
        d("log-commands", Bool, "false", LATER, "Log the SMTP dialogue of the queue"),
        d("log-connections", Bool, "false", LATER, "Log connections of the queue"),
        d("log-data", Bool, "false", LATER, "Log raw bytes of the queue"),
        d("log-disabled-ips", Bool, "false", LATER, "Log disabled source addresses of the queue"),
        d("log-messages", Bool, "", LATER, "In `<domain {bounce}>`: log what bounce processing sees").eg("yes"),
        d("log-resolution", Bool, "false", LATER, "Log DNS look-ups of the queue"),
        d("log-tls", Bool, "false", LATER, "Log TLS negotiation"),
        d("log-transfer-failures", Bool, "false", LATER, "Log broken transfers of the queue"),
        d("macro-variables-preserve-case", Bool, "false", LATER, "Keep the case of `$from` and `$to`"),
        d("max-events-recorded", Number(0, u32::MAX as u64), "10", LATER, "Errors of the queue that are remembered").eg("20"),
        d("remove-header", List, "", ON, "Headers removed at delivery").eg("X-Internal,X-Trace"),
        d("require-starttls", Bool, "false", ON, "Deliver with TLS or not at all"),
        d("reuse-ssl-session", Bool, "false", LATER, "Resume TLS sessions"),
        d("second-dkim-add-body-limit", Bool, "false", LATER, "As `dkim-add-body-limit`, for the second signature"),
        d("second-dkim-add-timestamp", Bool, "false", LATER, "As `dkim-add-timestamp`, for the second signature"),
        d("second-dkim-algorithm", Keyword(&["rsa-sha256", "rsa-sha1"]), "rsa-sha256", LATER, "As `dkim-algorithm`, for the second signature").eg("rsa-sha256"),
        d("second-dkim-body-canon", Keyword(&["relaxed", "simple"]), "relaxed", LATER, "As `dkim-body-canon`, for the second signature").eg("simple"),
        d("second-dkim-disallow-adding-headers", HeaderList, "", LATER, "As `dkim-disallow-adding-headers`, for the second signature").eg("From"),
        d("second-dkim-expire-after", TimeOrNever, "never", LATER, "As `dkim-expire-after`, for the second signature").eg("7d"),
        d("second-dkim-headers", HeaderList, "", LATER, "As `dkim-headers`, for the second signature").eg("List-Unsubscribe"),
        d("second-dkim-headers-canon", Keyword(&["relaxed", "simple"]), "relaxed", LATER, "As `dkim-headers-canon`, for the second signature").eg("simple"),
        d("second-dkim-identity", DkimIdentity, "sender-or-from", LATER, "As `dkim-identity`, for the second signature").eg("@esp.example"),
        d("second-dkim-identity-fallback", DkimIdentity, "", LATER, "As `dkim-identity-fallback`, for the second signature").eg("@esp.example"),
        d("second-dkim-query-method", Text, "", LATER, "As `dkim-query-method`, for the second signature").eg("dns/txt"),
        d("second-dkim-sign", BoolOr(&["if-x-dkim-options-present"]), "no", LATER, "As `dkim-sign`, for the second signature"),
        d("smtp-client-certificate", FileAndPassword, "", LATER, "Certificate and key shown to the receiver").eg("/etc/posthaste/client.pem"),
        d("smtp-tls-allow-sslv3", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether SSL 3.0 may be spoken"),
        d("smtp-tls-allow-tlsv1", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.0 may be spoken"),
        d("smtp-tls-allow-tlsv1.1", Bool, "true", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.1 may be spoken"),
        d("smtp-tls-allow-tlsv1.2", Bool, "true", LATER, "Whether TLS 1.2 may be spoken"),
        d("smtp-tls-allow-tlsv1.3", Bool, "true", LATER, "Whether TLS 1.3 may be spoken"),
        d("smtp-tls-ca-file", File, "", LATER, "CAs to verify the peer with; required TLS then gives 4xx on failure").eg("/etc/posthaste/ca.pem"),
        d("smtp-tls-ciphers", Text, "HIGH:!ADH:@STRENGTH", LATER, "Ciphers up to TLS 1.2"),
        d("smtp-tls-tlsv1.3-ciphersuites", Text, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256", LATER, "Cipher suites of TLS 1.3"),
        d("sparkpost-ip-pool", Text, "", no("it is for the vendor's cloud relay"), "Pool of the vendor's cloud relay").eg("pool"),
        d("sparkpost-sandbox", Bool, "false", no("it is for the vendor's cloud relay"), "Test mode of the vendor's cloud relay"),
        d("track-recipient-events", Bool, "false", LATER, "Remember the last 50 events of recipients"),
        d("use-dane", Bool, "false", LATER, "Follow DANE (TLSA records); needs a resolver that validates DNSSEC"),
        d("use-mta-sts", Bool, "false", LATER, "Follow the MTA-STS policy of the receiving domain"),
        d("use-starttls", Bool, "true", ON, "Use TLS where the receiver offers it"),
    ]
};
