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
        d("custom-dsn-from-header", Text, "", ON, "The From header of failure reports").eg("\"Mail Delivery <postmaster@example.com>\""),
        d("dsn-failed-body-template-from", File, "", ON, "Text part of failure reports, from a file, with the same variables").eg("/etc/posthaste/dsn.txt"),
        d("dsn-failed-from-template", FromTemplate, "", ON, "From header of failure reports, with `${hostname}`, `${originator}` and the like").eg("\"postmaster@${hostname}\""),
        d("dsn-failed-subject-template", Template, "", ON, "Subject of failure reports, with the same variables").eg("\"Not delivered: ${subject}\""),
        d("dummy-smtp-await-slot", Bool, "false", LATER, "The test listener waits for a free place instead of answering 421"),
        d("dummy-smtp-has-chunking", Bool, "false", LATER, "The test listener offers CHUNKING"),
        d("dummy-smtp-has-pipelining", Bool, "false", LATER, "The test listener offers PIPELINING"),
        d("dummy-smtp-has-verp", Bool, "false", LATER, "The test listener offers VERP"),
        d("dummy-smtp-ip", Ip, "", LATER, "Address of the test listener, which throws mail away").eg("127.0.0.1"),
        d("dummy-smtp-latency", Number(0, u32::MAX as u64), "0", LATER, "Milliseconds the test listener takes to answer").eg("50"),
        d("dummy-smtp-port", Number(0, 65_535), "0", LATER, "Port of the test listener; 0 is off").eg("2525"),
        d("dummy-smtp-update-stats", Bool, "true", LATER, "Count the mail of the test listener"),
        d("enable-signals", Unchecked, "", no("it feeds the vendor's cloud service"), "Whether mail is reported to the vendor's cloud service").eg("no"),
        d("http-access", HttpAccess, "", LATER, "Who may use the web monitor and how: none, monitor, operator or admin; the first match counts").repeats().eg("127.0.0.1 admin"),
        d("http-api-key", ApiKey, "", LATER, "A key for the header `X-API-Key`; whoever has it is admin").repeats().eg("0123456789abcdef0123456789abcdef"),
        d("http-csrf-protection", Bool, "true", LATER, "The web monitor changes things only by POST, with a key or a token"),
        d("http-default-max-items", Number(0, u32::MAX as u64), "10", LATER, "Rows on the \"top\" pages of the web monitor").eg("25"),
        d("http-default-sort-order", Keyword(&["rcpt", "name", "size"]), "rcpt", LATER, "Order of rows on the \"top\" pages of the web monitor").eg("name"),
        d("http-log-data", Bool, "false", LATER, "Log the data of web monitor requests"),
        d("http-log-requests", Bool, "false", LATER, "Log web monitor requests"),
        d("http-log-tls", Bool, "false", LATER, "Log TLS of the web monitor"),
        d("http-mgmt-port", Number(0, 65_535), "8080", LATER, "Port of the web monitor; 0 is off").eg("8080").restart("as in PowerMTA, reference 1.1"),
        d("http-mgmt-source", Cidr, "", instead("`http-access CIDR LEVEL`"), "Older form of `http-access`").repeats().eg("127.0.0.1"),
        d("http-redirect-to-https", Bool, "true", LATER, "Plain HTTP only redirects"),
        d("http-strict-transport-security-max-age", Number(0, u32::MAX as u64), "0", LATER, "Seconds for Strict-Transport-Security of the web monitor").eg("31536000"),
        d("http-tls-allow-sslv3", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether SSL 3.0 may be spoken"),
        d("http-tls-allow-tlsv1", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.0 may be spoken"),
        d("http-tls-allow-tlsv1.1", Bool, "true", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.1 may be spoken"),
        d("http-tls-allow-tlsv1.2", Bool, "true", LATER, "Whether TLS 1.2 may be spoken"),
        d("http-tls-allow-tlsv1.3", Bool, "true", LATER, "Whether TLS 1.3 may be spoken"),
        d("http-tls-ca-file", File, "", LATER, "CAs that client certificates of the web monitor are checked with").eg("/etc/posthaste/ca.pem"),
        d("http-tls-ciphers", Text, "HIGH:!ADH:@STRENGTH", LATER, "Ciphers up to TLS 1.2"),
        d("http-tls-dh-key-length", Keyword(&["1024", "2048", "4096"]), "", no("only elliptic-curve key exchange is used"), "DH parameter size").eg("2048"),
        d("http-tls-tlsv1.3-ciphersuites", Text, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256", LATER, "Cipher suites of TLS 1.3"),
        d("log-auto-rotation", Bool, "true", LATER, "Begin a new log at midnight"),
        d("log-file", File, "", ON, "The log; a reload opens it again").eg("/var/log/posthaste/log"),
        d("log-file-world-readable", Bool, "false", LATER, "Whether every local user may read the log"),
        d("log-rotate", Number(0, u32::MAX as u64), "8", LATER, "Log files kept, the current one included; 0 never rotates").eg("14"),
        d("no-http-mgmt-source", Cidr, "", instead("`http-access CIDR none`"), "Older form of `http-access`").repeats().eg("192.0.2.0/24"),
        d("pmc-acct-min-free-space", SizeOrUnlimited, "", no("the Management Console was discontinued"), "When to drop files that wait for the Management Console").eg("1G"),
        d("smtp-server-tls-allow-sslv3", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether SSL 3.0 may be spoken"),
        d("smtp-server-tls-allow-tlsv1", Bool, "false", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.0 may be spoken"),
        d("smtp-server-tls-allow-tlsv1.1", Bool, "true", no("TLS below 1.2 is not spoken (RFC 8996)"), "Whether TLS 1.1 may be spoken"),
        d("smtp-server-tls-allow-tlsv1.2", Bool, "true", ON, "Whether TLS 1.2 may be spoken"),
        d("smtp-server-tls-allow-tlsv1.3", Bool, "true", ON, "Whether TLS 1.3 may be spoken"),
        d("smtp-server-tls-ca-file", File, "", ON, "CAs that certificates of SMTP clients are checked with").eg("/etc/posthaste/ca.pem"),
        d("smtp-server-tls-certificate", FileAndPassword, "", ON, "Certificate and key for STARTTLS of SMTP clients").eg("/etc/posthaste/smtp.pem"),
        d("smtp-server-tls-ciphers", Ciphers { v1_3: false }, "HIGH:!ADH:@STRENGTH", ON, "Ciphers up to TLS 1.2"),
        d("smtp-server-tls-dh-key-length", Keyword(&["1024", "2048", "4096"]), "", no("only elliptic-curve key exchange is used"), "DH parameter size").eg("2048"),
        d("smtp-server-tls-v1.3-ciphersuites", Ciphers { v1_3: true }, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256", ON, "Cipher suites of TLS 1.3"),
        d("volume-audit-api-key", Text, "", no("there is no licence to audit"), "Key of the vendor's licence service").eg("key"),
        d("dummy-smtp-blacklist", File, "", no(UNDOCUMENTED), "Addresses the test listener refuses").eg("/etc/posthaste/refused"),
        d("dummy-smtp-blacklist-bounce-method", Text, "", no(UNDOCUMENTED), "How the test listener refuses").eg("rcpt"),
        d("dummy-smtp-blacklist-bounce-percent", Number(0, 100), "", no(UNDOCUMENTED), "How often the test listener refuses").eg("50"),
        d("dummy-smtp-has-mailmerge", Bool, "", no(UNDOCUMENTED), "Whether the test listener offers mail merge").eg("yes"),
        d("dummy-smtp-log-blacklist", Bool, "", no(UNDOCUMENTED), "Whether the test listener logs what it refuses").eg("yes"),
    ]
};
