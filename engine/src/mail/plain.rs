//! Finished messages on their way in: line ends made right, control headers taken out, trace headers put on top. Not
//! another byte changes (R12).

use super::header::{Header, InjectionError, forbidden, insert};
use super::lines::{BareCr, MAX_LINE, survey, to_crlf};
use crate::base::Wall;
use thiserror::Error;

/// Headers that speak to the engine (reference 6.2) and leave with no message. `x-dkim-key` holds a private key.
pub const CONTROL_HEADERS: [&str; 7] =
    ["x-virtual-mta", "x-job", "x-envid", "x-schedule", "x-sender-override", "x-dkim-options", "x-dkim-key"];

/// What [`prepare_plain`] does to a message.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainOptions<'a> {
    /// LF ends a line too and becomes CR LF (files; never SMTP).
    pub lf_ends_lines: bool,
    /// Fields that are taken out, in any case of letters.
    pub remove: &'a [&'a str],
    /// A whole field that stands before all others; may be empty.
    pub authentication: &'a str,
    /// The trace field, put on top.
    pub received: Option<Received<'a>>,
    /// Put on top where the message has none: the value of `Date`.
    pub date: Option<&'a str>,
    /// Put on top where the message has none: the value of `Message-ID`, with its angle brackets.
    pub message_id: Option<&'a str>,
}

/// What the trace field says (RFC 5321 section 4.4, in the shape of reference 6.1).
#[derive(Debug, Clone, Copy, Default)]
pub struct Received<'a> {
    /// The name the client gave, and its address.
    pub from: &'a str,
    pub ip: &'a str,
    /// Our name.
    pub by: &'a str,
    pub id: &'a str,
    /// Only where there is one recipient: others must not learn of each other.
    pub recipient: Option<&'a str>,
    /// RFC 5322 date.
    pub date: &'a str,
    /// Envelope sender, empty for `<>`.
    pub sender: &'a str,
}

/// Why a message cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlainError {
    #[error(transparent)]
    BareCr(#[from] BareCr),
    #[error("line {line}: a line feed stands alone; lines end with CR LF")]
    BareLf { line: usize },
    #[error("line {line}: a NUL stands there; messages are text")]
    Nul { line: usize },
    #[error(
        "line {line} is {octets} octets long; at most {MAX_LINE} are allowed (encode the part as quoted-printable or base64)"
    )]
    LongLine { line: usize, octets: usize },
    #[error(transparent)]
    Injection(#[from] InjectionError),
}

/// The message in `raw` as [`super::Content::plain`] wants it.
pub fn prepare_plain(raw: &[u8], options: &PlainOptions<'_>) -> Result<Vec<u8>, PlainError> {
    let mut converted = Vec::new();
    let mut text = raw;
    if options.lf_ends_lines {
        to_crlf(raw, &mut converted)?;
        text = &converted;
    }
    check(text)?;
    let header = Header::scan(text);
    let mut out = Vec::with_capacity(text.len() + 512);
    out.extend_from_slice(options.authentication.as_bytes());
    if let Some(received) = &options.received {
        received.write(&mut out)?;
    }
    for (name, value) in [("Date", options.date), ("Message-ID", options.message_id)] {
        if let (Some(value), None) = (value, header.find(name)) {
            insert(&mut out, name, value)?;
        }
    }
    if header.fields().first().is_some_and(|f| f.name.is_empty()) && !out.is_empty() {
        // The message begins with its body; our headers must not swallow it.
        out.extend_from_slice(b"\r\n");
    }
    header.copy_without(options.remove, &mut out);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    Ok(out)
}

/// Refuses what may not leave (A04), naming the line.
fn check(text: &[u8]) -> Result<(), PlainError> {
    let found = survey(text);
    if !found.unclean && found.longest_line <= MAX_LINE {
        return Ok(());
    }
    for (index, with_end) in text.split_inclusive(|b| *b == b'\n').enumerate() {
        let line = index + 1;
        let bare = with_end.strip_suffix(b"\n");
        let inside = bare.and_then(|l| l.strip_suffix(b"\r"));
        if bare.is_some() && inside.is_none() {
            return Err(PlainError::BareLf { line });
        }
        let inside = inside.unwrap_or(with_end);
        if inside.contains(&b'\r') {
            return Err(BareCr { line }.into());
        }
        if inside.contains(&0) {
            return Err(PlainError::Nul { line });
        }
        if inside.len() > MAX_LINE {
            return Err(PlainError::LongLine { line, octets: inside.len() });
        }
    }
    Ok(())
}

impl Received<'_> {
    /// `from NAME (IP) by HOST id ID for <rcpt>; DATE (envelope-from <sender>)`, folded.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), InjectionError> {
        let Received { from, ip, by, id, recipient, date, sender } = *self;
        for value in [from, ip, by, id, recipient.unwrap_or_default(), date, sender] {
            if let Some(what) = forbidden(value) {
                return Err(InjectionError::Value { field: "Received".into(), what });
            }
        }
        let mut put = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        put(&["Received: from ", from, " (", ip, ")\r\n\tby ", by, " id ", id]);
        if let Some(recipient) = recipient {
            put(&[" for <", recipient, ">"]);
        }
        put(&[";\r\n\t", date, " (envelope-from <", sender, ">)\r\n"]);
        Ok(())
    }
}

/// What Message-IDs of a submission begin with. The number of this host (`host-id`) keeps those of hosts with one name apart;
/// 0 is none.
pub fn message_name(submission: u64, host: u32) -> String {
    match host {
        0 => format!("{submission:x}"),
        host => format!("{submission:x}-{host}"),
    }
}

/// `at` as a Date header says it, in UTC: `Mon, 23 Nov 2026 03:00:00 +0000`.
pub fn date(at: Wall) -> String {
    let zoned = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
    zoned.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    fn prepared(raw: &str, options: &PlainOptions<'_>) -> String {
        String::from_utf8(prepare_plain(raw.as_bytes(), options).expect(raw)).expect("text")
    }

    #[test]
    fn without_options_nothing_changes() {
        let raw = "From: a@example.com\r\nX-Job: j\r\n\r\n.\r\n..dots\r\n";
        assert_eq!(prepared(raw, &PlainOptions::default()), raw);
    }

    #[test]
    fn trace_headers_go_on_top_and_control_headers_away() {
        let received = Received {
            from: "app.example",
            ip: "192.0.2.1",
            by: "mx.example",
            id: "h1",
            recipient: Some("b@example.com"),
            date: "Mon, 23 Nov 2026 03:00:00 +0000",
            sender: "",
        };
        let options = PlainOptions {
            authentication: "",
            lf_ends_lines: true,
            remove: &CONTROL_HEADERS,
            received: Some(received),
            date: Some("Mon, 23 Nov 2026 03:00:00 +0000"),
            message_id: Some("<1@mx.example>"),
        };
        assert_eq!(
            prepared("from: a@example.com\nX-JOB: j\n folded\ndate: today\n\nbody", &options),
            "Received: from app.example (192.0.2.1)\r\n\tby mx.example id h1 for <b@example.com>;\r\n\t\
             Mon, 23 Nov 2026 03:00:00 +0000 (envelope-from <>)\r\nMessage-ID: <1@mx.example>\r\n\
             from: a@example.com\r\ndate: today\r\n\r\nbody\r\n"
        );
    }

    #[test]
    fn a_message_that_starts_with_its_body_keeps_it() {
        let options = PlainOptions { date: Some("today"), ..PlainOptions::default() };
        assert_eq!(prepared("no header here\r\n", &options), "Date: today\r\n\r\nno header here\r\n");
        assert_eq!(prepared("\r\nbody\r\n", &options), "Date: today\r\n\r\nbody\r\n");
    }

    #[test]
    fn what_may_not_leave_is_refused_with_its_line() {
        let refused = |raw: &[u8], lf| {
            prepare_plain(raw, &PlainOptions { lf_ends_lines: lf, ..PlainOptions::default() })
        };
        assert_eq!(refused(b"a: b\nc: d\r\n", false), Err(PlainError::BareLf { line: 1 }));
        assert_eq!(refused(b"a: b\r\n\r\nx\ry\r\n", false), Err(BareCr { line: 3 }.into()));
        assert_eq!(refused(b"a: b\n\nx\ry\n", true), Err(BareCr { line: 3 }.into()));
        assert_eq!(refused(b"a: b\r\n\0", false), Err(PlainError::Nul { line: 2 }));
        let long = format!("a: b\r\n\r\n{}\r\n", "x".repeat(999));
        assert_eq!(refused(long.as_bytes(), false), Err(PlainError::LongLine { line: 3, octets: 999 }));
        let options =
            PlainOptions { message_id: Some("<a>\r\nBcc: x@example.com"), ..PlainOptions::default() };
        assert!(matches!(prepare_plain(b"a: b\r\n", &options), Err(PlainError::Injection(_))));
    }

    #[test]
    fn dates_are_written_in_utc() {
        assert_eq!(date(Wall::from_secs(1_795_402_800)), "Mon, 23 Nov 2026 03:00:00 +0000");
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_and_what_passes_is_clean(raw in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), any::<u8>()], 0..80), lf: bool) {
            let options = PlainOptions { lf_ends_lines: lf, date: Some("d"), remove: &["x"], ..PlainOptions::default() };
            if let Ok(out) = prepare_plain(&raw, &options) {
                prop_assert!(!survey(&out).unclean);
                prop_assert!(out.ends_with(b"\r\n"));
            }
        }
    }
}
