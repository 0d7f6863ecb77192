//! Reports as their readers see them.

use super::*;
use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

const MESSAGE: &[u8] = b"From: a@news.example\r\nSubject: hello\r\n\r\nbody\r\n";

const FAILED: Notification<'_> = Notification {
    action: Action::Failed,
    host: "mx.example",
    from: None,
    subject: None,
    words: None,
    to: "bounce@news.example",
    date: "Fri, 27 Nov 2026 03:00:00 +0000",
    arrived: "Fri, 27 Nov 2026 02:00:00 +0000",
    give_up: "Wed, 02 Dec 2026 02:00:00 +0000",
    message_id: "<1@mx.example>",
    boundary: "0123abcd",
    vmta: "v1",
    source_mta: "app.example (192.0.2.7)",
    envid: "",
    recipient: "jim@site.example",
    orcpt: "rfc822;jimmy@old.example",
    status: "5.1.1 (bad destination mailbox address)",
    diagnostic: "smtp;550 5.1.1 no such user",
    mta: "mx.site.example (192.0.2.9)",
    category: "bad-mailbox",
    original: Some(Original { message: MESSAGE, full: false }),
    format: Format::Standard,
};

fn text(n: &Notification<'_>) -> String {
    String::from_utf8(compose(n)).expect("text")
}

#[test]
fn a_failure_is_reported_as_programs_for_powermta_expect() {
    let said = text(&FAILED).replace("\r\n", "\n");
    let status = "Content-Type: message/delivery-status

Reporting-MTA: dns;mx.example
X-PowerMTA-VirtualMTA: v1
Received-From-MTA: dns;app.example (192.0.2.7)
Arrival-Date: Fri, 27 Nov 2026 02:00:00 +0000

Original-Recipient: rfc822;jimmy@old.example
Final-Recipient: rfc822;jim@site.example
Action: failed
Status: 5.1.1 (bad destination mailbox address)
Remote-MTA: dns;mx.site.example (192.0.2.9)
Diagnostic-Code: smtp;550 5.1.1 no such user
X-PowerMTA-BounceCategory: bad-mailbox

--report0123abcd@mx.example
Content-Type: text/rfc822-headers

From: a@news.example
Subject: hello

--report0123abcd@mx.example--
";
    assert!(said.ends_with(status), "{said}");
    assert!(
        said.starts_with(
            "From: Mail Delivery System <mailer-daemon@mx.example>\nTo: <bounce@news.example>\n"
        )
    );
    assert!(said.contains("\nAuto-Submitted: auto-replied\n"));
    assert!(said.contains("Hello, this is the mail server on mx.example.\n"));
    assert!(said.contains("  <jim@site.example>  delivery failed; will not continue trying\n"));
}

#[test]
fn a_whole_message_comes_back_if_it_is_asked_for_and_not_long() {
    let full = Original { message: MESSAGE, full: true };
    let said = text(&Notification { original: Some(full), ..FAILED });
    assert!(said.contains(
        "Content-Type: message/rfc822\r\n\r\nFrom: a@news.example\r\nSubject: hello\r\n\r\nbody\r\n"
    ));
    let long = [MESSAGE, &b"x\r\n".repeat(MOST_RETURNED / 3)].concat();
    let said = text(&Notification { original: Some(Original { message: &long, full: true }), ..FAILED });
    assert!(said.len() < 4000 && said.contains("text/rfc822-headers\r\n\r\nFrom: a@news.example\r\n"));
    assert!(!text(&Notification { original: None, ..FAILED }).contains("rfc822-headers"));
}

#[test]
fn a_delay_says_until_when_it_is_tried() {
    let delayed = Notification {
        action: Action::Delayed,
        diagnostic: "ECONNREFUSED connecting",
        category: "",
        ..FAILED
    };
    let said = text(&delayed);
    for part in [
        "Action: delayed\r\n",
        "Will-Retry-Until: Wed, 02 Dec 2026 02:00:00 +0000\r\n",
        "Diagnostic-Code: X-Posthaste;ECONNREFUSED connecting\r\n",
        "delivery delayed; will continue trying",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("BounceCategory"));
    assert!(text(&Notification { action: Action::Relayed, ..FAILED }).contains("Action: relayed\r\n"));
}

#[test]
fn addresses_beyond_ascii_need_the_global_forms() {
    let said = text(&Notification { recipient: "z\u{f6}e@site.example", ..FAILED });
    assert!(said.contains("message/global-delivery-status") && said.contains("message/global-headers"));
    assert!(said.contains("Final-Recipient: utf-8;z\u{f6}e@site.example\r\n"));
}

#[test]
fn a_report_may_be_only_its_text_and_come_from_elsewhere() {
    let from = Some("Mail Delivery <postmaster@news.example>");
    let said = text(&Notification { format: Format::PlainText, from, ..FAILED });
    assert!(said.starts_with("From: Mail Delivery <postmaster@news.example>\r\n"), "{said}");
    assert!(said.contains("\r\n\r\nReporting-MTA: dns;mx.example\r\n") && !said.contains("multipart"));
}

#[test]
fn texts_of_its_own_take_the_place_of_the_usual_ones() {
    let told = Notification {
        from: Some("postmaster@mx.example"),
        subject: Some("Nicht zugestellt: Gr\u{fc}\u{df}e"),
        words: Some("Dear sender,\n\n.\nit is gone.\n"),
        ..FAILED
    };
    let said = text(&told);
    assert!(said.contains("\r\nSubject: =?utf-8?Q?Nicht_zugestellt=3A_Gr=C3=BC=C3=9Fe?=\r\n"), "{said}");
    assert!(said.contains("\r\n\r\nDear sender,\r\n\r\n.\r\nit is gone.\r\n\r\n--report0123abcd@"), "{said}");
    assert!(!said.contains("Hello, this is the mail server"));
}

proptest! {
    #[test]
    fn no_text_becomes_a_field_of_its_own(said in "(?s).{0,2000}") {
        let told = Notification { from: Some(&said), subject: Some(&said), ..FAILED };
        let report = compose(&told);
        let header = Header::scan(&report);
        let names: Vec<_> = header.fields().iter().map(|field| header.name(field)).collect();
        let usual = compose(&FAILED);
        let usual = Header::scan(&usual);
        let as_usual: Vec<_> = usual.fields().iter().map(|field| usual.name(field)).collect();
        prop_assert_eq!(names, as_usual);
        prop_assert!(report.split(|b| *b == b'\n').all(|line| line.len() <= 999));
    }

    #[test]
    fn nothing_that_others_said_becomes_a_line_of_its_own(said in "(?s).{0,2000}") {
        let told = Notification { diagnostic: &said, status: &said, envid: &said, mta: &said, ..FAILED };
        let report = compose(&told);
        let parsed = MessageParser::default().parse(&report).expect("a message");
        prop_assert_eq!(parsed.parts.len(), 4, "the whole, words, status, header");
        prop_assert!(parsed.parts[2].is_content_type("message", "delivery-status"));
        prop_assert!(report.split(|b| *b == b'\n').all(|line| line.len() <= 999));
        let fields = String::from_utf8(report).expect("text");
        prop_assert_eq!(fields.matches("\r\nFinal-Recipient:").count(), 1);
    }
}
