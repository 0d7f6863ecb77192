//! Delivery reports: parameters that are taken mean the same when they are written again, and whatever others have said,
//! a report has one recipient, the parts it should have, and no line that is not its own.

use mail_parser::{MessageParser, MimeHeaders};
use posthaste::report::{Action, Format, Notification, Original, compose, one_line};
use posthaste::smtp::dsn::{Notify, RecipientDsn, envid, from_xtext, xtext};

use super::input::Input;

pub fn report(data: &[u8]) {
    let mut input = Input::new(data);
    let action = [Action::Failed, Action::Delayed, Action::Relayed][input.below(3)];
    let (full, plain) = (input.flag(), input.flag());
    let (notify, orcpt, id) = (input.string(), input.string(), input.string());
    parameters(&notify, &orcpt, &id);
    let (status, diagnostic, mta, category, source) =
        (input.string(), input.string(), input.string(), input.string(), input.string());
    let message = header(input.rest());
    // As templates are filled in: each value is one line.
    let words = format!("> {}\n", one_line(&diagnostic));
    let report = compose(&Notification {
        action,
        host: "mx.example",
        from: full.then_some(&*status),
        subject: full.then_some(&*mta),
        words: full.then_some(&*words),
        to: "sender@news.example",
        date: "Fri, 27 Nov 2026 03:00:00 +0000",
        arrived: "Fri, 27 Nov 2026 02:00:00 +0000",
        give_up: "Wed, 02 Dec 2026 02:00:00 +0000",
        message_id: "<1@mx.example>",
        boundary: "0123abcd",
        vmta: "v",
        source_mta: &source,
        envid: &id,
        recipient: "reader@site.example",
        orcpt: &orcpt,
        status: &status,
        diagnostic: &diagnostic,
        mta: &mta,
        category: &category,
        original: Some(Original { message: &message, full }),
        format: if plain { Format::PlainText } else { Format::Standard },
    });
    let lines: Vec<&[u8]> = report.split_inclusive(|b| *b == b'\n').collect();
    assert!(lines.iter().all(|line| line.ends_with(b"\r\n") && !line[..line.len() - 2].contains(&b'\r')));
    let recipients = lines.iter().filter(|line| line.starts_with(b"Final-Recipient:")).count();
    assert_eq!(recipients, 1);
    let parsed = MessageParser::default().parse(&report).expect("a message");
    if plain {
        return assert!(parsed.is_content_type("text", "plain"));
    }
    assert!(parsed.parts.len() >= 4, "{:?}", parsed.parts);
    assert!(parsed.parts[2].content_type().is_some_and(|kind| {
        matches!(kind.subtype(), Some("delivery-status" | "global-delivery-status"))
    }));
}

fn parameters(notify: &str, orcpt: &str, id: &str) {
    if let Some(notify) = Notify::parse(notify) {
        assert_eq!(Notify::parse(&notify.to_string()), Some(notify));
        assert!(notify.is_given());
    }
    let mut dsn = RecipientDsn::default();
    if dsn.take("ORCPT", orcpt).is_ok() {
        assert!(dsn.is_given() && !orcpt.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'='));
    }
    if let Some(id) = envid(id) {
        assert_eq!(envid(&xtext(&id)), Some(id));
    }
    assert_eq!(from_xtext(&xtext(id)).as_deref(), Some(id.as_bytes()));
    let _ = from_xtext(orcpt);
}

/// A message as the spool holds it: CR LF lines, and no part of the header that is no field.
fn header(bytes: &[u8]) -> Vec<u8> {
    let mut message = b"From: a@news.example\r\n".to_vec();
    for line in bytes.split(|b| matches!(b, b'\n' | b'\r')) {
        message.extend_from_slice(b"X-Line: ");
        message.extend_from_slice(line);
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"\r\nbody\r\n");
    message
}
