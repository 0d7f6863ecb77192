//! Directives of the top level: monitor, logs, reports, inbound TLS, test listener (reference 2.1).

use super::{Directive, Status, instead, no};
use crate::scope::{Scope, Scopes};
use crate::value::Syntax::*;

const ON: Status = Status::InEffect;
const LATER: Status = Status::Planned;
const UNDOCUMENTED: &str = "it is an undocumented part of the test listener";

/// The top level, everything around the mail.
#[rustfmt::skip]
pub(super) const MANAGEMENT: &[Directive] = {
    const fn d(name: &'static str, syntax: crate::value::Syntax, default: &'static str, status: Status, doc: &'static str) -> Directive {
        Directive::new(Scopes::of(&[Scope::Global]), "2.1", name, syntax, default, status, doc)
    }
    &[
        d("custom-dsn-from-header", Text, "", LATER, "From header of generated DSNs"),
        d("dsn-failed-body-template-from", File, "", LATER, "Text part of the failure DSN, same variables"),
        d("dsn-failed-from-template", Text, "", LATER, "From header of failure DSNs, with `${hostname}`, `${originator}` and the like"),
        d("dsn-failed-subject-template", Text, "", LATER, "Subject of failure DSNs, with the same variables"),
        d("dummy-smtp-await-slot", Bool, "false", LATER, "Its behaviour"),
        d("dummy-smtp-has-chunking", Bool, "false", LATER, "Its behaviour"),
        d("dummy-smtp-has-pipelining", Bool, "false", LATER, "Its behaviour"),
        d("dummy-smtp-has-verp", Bool, "false", LATER, "Its behaviour"),
        d("dummy-smtp-ip", Ip, "", LATER, "Address of the black-hole listener"),
        d("dummy-smtp-latency", Number(0, u32::MAX as u64), "0", LATER, "Simulated latency"),
        d("dummy-smtp-port", Number(0, 65_535), "0", LATER, "Port of the black-hole listener; 0 is off"),
        d("dummy-smtp-update-stats", Bool, "true", LATER, "Count dummy traffic in statistics"),
        d("enable-signals", Unchecked, "", no("it feeds the vendor's cloud service"), "Cloud analytics opt-in (also VMTA, pool)"),
        d("http-access", HttpAccess, "", LATER, "Ordered access list").repeats(),
        d("http-api-key", Text, "", LATER, "Header `X-API-Key`; gives admin from any address").repeats(),
        d("http-csrf-protection", Bool, "true", LATER, "State changes only by POST, with API key or CSRF token"),
        d("http-default-max-items", Number(0, u32::MAX as u64), "10", LATER, "Rows on the \"top\" pages"),
        d("http-default-sort-order", Keyword(&["rcpt", "name", "size"]), "rcpt", LATER, "Their order"),
        d("http-log-data", Bool, "false", LATER, "Web-monitor logging"),
        d("http-log-requests", Bool, "false", LATER, "Web-monitor logging"),
        d("http-log-tls", Bool, "false", LATER, "Web-monitor logging"),
        d("http-mgmt-port", Number(0, 65_535), "8080", LATER, "Web monitor; needs restart of `pmtahttp`"),
        d("http-mgmt-source", Unchecked, "", instead("`http-access CIDR LEVEL`"), "Older form of `http-access`").repeats(),
        d("http-redirect-to-https", Bool, "true", LATER, "Plain HTTP only redirects"),
        d("http-strict-transport-security-max-age", Number(0, u32::MAX as u64), "0", LATER, "HSTS"),
        d("http-tls-allow-sslv3", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether SSL 3.0 may be spoken"),
        d("http-tls-allow-tlsv1", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.0 may be spoken"),
        d("http-tls-allow-tlsv1.1", Bool, "true", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.1 may be spoken"),
        d("http-tls-allow-tlsv1.2", Bool, "true", LATER, "Whether TLS 1.2 may be spoken"),
        d("http-tls-allow-tlsv1.3", Bool, "true", LATER, "Whether TLS 1.3 may be spoken"),
        d("http-tls-ca-file", File, "", LATER, "CAs to verify the peer with"),
        d("http-tls-ciphers", Text, "HIGH:!ADH:@STRENGTH", LATER, "Ciphers up to TLS 1.2"),
        d("http-tls-dh-key-length", Keyword(&["1024", "2048", "4096"]), "", no("only elliptic-curve key exchange is used"), "DH parameter size"),
        d("http-tls-tlsv1.3-ciphersuites", Text, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256", LATER, "Cipher suites of TLS 1.3"),
        d("log-auto-rotation", Bool, "true", LATER, "Rotate at midnight"),
        d("log-file", File, "", ON, "Main log; also places the HTTP and SNMP logs"),
        d("log-file-world-readable", Bool, "false", LATER, "Readable by every local user"),
        d("log-rotate", Number(0, u32::MAX as u64), "8", LATER, "Files kept including the current one; 0 = never rotate; `log` to `log.1` (Windows `log-1.txt`)"),
        d("no-http-mgmt-source", Unchecked, "", instead("`http-access CIDR none`"), "Older form of `http-access`").repeats(),
        d("pmc-acct-min-free-space", Unchecked, "", no("the Management Console was discontinued"), "When to drop files queued for the (discontinued) Management Console"),
        d("smtp-server-tls-allow-sslv3", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether SSL 3.0 may be spoken"),
        d("smtp-server-tls-allow-tlsv1", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.0 may be spoken"),
        d("smtp-server-tls-allow-tlsv1.1", Bool, "true", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.1 may be spoken"),
        d("smtp-server-tls-allow-tlsv1.2", Bool, "true", LATER, "Whether TLS 1.2 may be spoken"),
        d("smtp-server-tls-allow-tlsv1.3", Bool, "true", LATER, "Whether TLS 1.3 may be spoken"),
        d("smtp-server-tls-ca-file", File, "", LATER, "CAs to verify the peer with"),
        d("smtp-server-tls-certificate", FileAndPassword, "", LATER, "PEM certificate and key for inbound STARTTLS"),
        d("smtp-server-tls-ciphers", Text, "HIGH:!ADH:@STRENGTH", LATER, "Ciphers up to TLS 1.2"),
        d("smtp-server-tls-dh-key-length", Keyword(&["1024", "2048", "4096"]), "", no("only elliptic-curve key exchange is used"), "DH parameter size"),
        d("smtp-server-tls-v1.3-ciphersuites", Text, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256", LATER, "Cipher suites of TLS 1.3"),
        d("volume-audit-api-key", Text, "", no("there is no licence to audit"), "Licensing; no function for us"),
        d("dummy-smtp-blacklist", File, "", no(UNDOCUMENTED), "Addresses the test listener refuses"),
        d("dummy-smtp-blacklist-bounce-method", Text, "", no(UNDOCUMENTED), "How the test listener refuses"),
        d("dummy-smtp-blacklist-bounce-percent", Number(0, 100), "", no(UNDOCUMENTED), "How often the test listener refuses"),
        d("dummy-smtp-has-mailmerge", Bool, "", no(UNDOCUMENTED), "Whether the test listener offers mail merge"),
        d("dummy-smtp-log-blacklist", Bool, "", no(UNDOCUMENTED), "Whether the test listener logs what it refuses"),
    ]
};
