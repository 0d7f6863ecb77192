//! A delivery status notification (RFC 3464) in the form that PowerMTA gives it (reference 8.3). What others said goes in
//! as data: one line, printable (reliability A05).

use super::text::{Text, one_line, wrapped};
use crate::mail::encoded_word::{structured, unstructured};
use crate::mail::header::Header;
use std::fmt;

/// Bytes of a message that is given back whole; of a longer one only the header is (RFC 3461 section 4.3 leaves that to us).
const MOST_RETURNED: usize = 1 << 20;
/// Bytes of a header that is given back; of a longer one nothing is.
const MOST_HEADER: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Failed,
    Delayed,
    /// Handed to a host that sends no reports.
    Relayed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Standard,
    /// Only the status, as text (`dsn-format plain-text`).
    PlainText,
}

/// The message that the report is about.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// CR LF lines.
    pub message: &'a [u8],
    /// It is given back whole (RET=FULL).
    pub full: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    pub action: Action,
    /// Our name.
    pub host: &'a str,
    /// The From field; ours if there is none.
    pub from: Option<&'a str>,
    /// The Subject field, and the part for people; the usual ones if there is none.
    pub subject: Option<&'a str>,
    pub words: Option<&'a str>,
    /// To whom it goes: the sender of the message.
    pub to: &'a str,
    /// As header fields have them.
    pub date: &'a str,
    pub arrived: &'a str,
    /// When a recipient that waits is given up.
    pub give_up: &'a str,
    pub message_id: &'a str,
    /// Not to be guessed by whoever wrote the message: 8 hexadecimal digits.
    pub boundary: &'a str,
    pub vmta: &'a str,
    /// `name (ip)` of the client that the message came from; may be empty.
    pub source_mta: &'a str,
    pub envid: &'a str,
    pub recipient: &'a str,
    /// ORCPT as it was written; may be empty.
    pub orcpt: &'a str,
    /// `5.1.1 (bad destination mailbox address)`.
    pub status: &'a str,
    /// `smtp;550 ...`; may be empty, and without a type for what no server said.
    pub diagnostic: &'a str,
    /// `host (ip)`; may be empty.
    pub mta: &'a str,
    /// Bounce category; may be empty.
    pub category: &'a str,
    /// None: nothing of it is at hand.
    pub original: Option<Original<'a>>,
    pub format: Format,
}

/// The message: CR LF lines, not dot-stuffed.
pub fn compose(n: &Notification<'_>) -> Vec<u8> {
    let mut out = Out::default();
    origin(n, &mut out);
    out.line(format_args!("To: <{}>", Text(n.to)));
    out.line(format_args!("Subject: {}", subject(n.subject.unwrap_or("Delivery report"))));
    out.line(format_args!("Date: {}", n.date));
    out.line(format_args!("Message-ID: {}", n.message_id));
    out.line("Auto-Submitted: auto-replied");
    out.line("MIME-Version: 1.0");
    match n.format {
        Format::PlainText => {
            out.line("Content-Type: text/plain; charset=utf-8");
            out.line("Content-Transfer-Encoding: 8bit");
            out.line("");
            status(n, &mut out);
        }
        Format::Standard => multipart(n, &mut out),
    }
    out.0
}

fn origin(n: &Notification<'_>, out: &mut Out) {
    let custom = n.from.and_then(|from| {
        let mut value = Vec::new();
        structured(&one_line(from), "From: ".len(), &mut value).ok()?;
        String::from_utf8(value).ok()
    });
    match custom {
        Some(from) => out.line(format_args!("From: {from}")),
        None => out.line(format_args!("From: Mail Delivery System <mailer-daemon@{}>", n.host)),
    }
}

fn subject(text: &str) -> String {
    let mut value = Vec::new();
    unstructured(&one_line(text), "Subject: ".len(), &mut value);
    String::from_utf8_lossy(&value).into_owned()
}

fn multipart(n: &Notification<'_>, out: &mut Out) {
    // RFC 2046 5.1.1: at most 70 characters.
    let host: String = n.host.chars().take(50).collect();
    let boundary = format!("report{}@{host}", n.boundary);
    let global = !n.recipient.is_ascii() || !n.orcpt.is_ascii() || !n.to.is_ascii();
    out.line("Content-Type: multipart/report; report-type=delivery-status;");
    out.line(format_args!("\tboundary=\"{boundary}\""));
    out.line("");
    out.line(format_args!("--{boundary}"));
    out.line("Content-Type: text/plain; charset=utf-8");
    out.line("Content-Transfer-Encoding: 8bit");
    out.line("");
    match n.words {
        Some(text) => text.lines().flat_map(wrapped).for_each(|line| out.line(line)),
        None => words(n, out),
    }
    out.line("");
    out.line(format_args!("--{boundary}"));
    // RFC 6533 section 3.
    out.line(match global {
        true => "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit",
        false => "Content-Type: message/delivery-status",
    });
    out.line("");
    status(n, out);
    if let Some(original) = n.original {
        returned(original, &boundary, global, out);
    }
    out.line(format_args!("--{boundary}--"));
}

/// For people. Third-party programs know PowerMTA's reports by the first two sentences.
fn words(n: &Notification<'_>, out: &mut Out) {
    out.line(format_args!("Hello, this is the mail server on {}.", n.host));
    out.line("");
    out.line("I am sending you this message to inform you on the delivery status of a");
    out.line("message you previously sent.  Immediately below you will find a list of");
    out.line("the affected recipients;  also attached is a Delivery Status Notification");
    out.line("(DSN) report in standard format, as well as the headers of the original");
    out.line("message.");
    out.line("");
    let became = match n.action {
        Action::Failed => "delivery failed; will not continue trying",
        Action::Delayed => "delivery delayed; will continue trying",
        Action::Relayed => "relayed to a mail server that sends no reports",
    };
    out.line(format_args!("  <{}>  {became}", Text(n.recipient)));
}

fn status(n: &Notification<'_>, out: &mut Out) {
    if !n.envid.is_empty() {
        out.line(format_args!("Original-Envelope-Id: {}", Text(n.envid)));
    }
    out.line(format_args!("Reporting-MTA: dns;{}", n.host));
    out.line(format_args!("X-PowerMTA-VirtualMTA: {}", Text(n.vmta)));
    if !n.source_mta.is_empty() {
        out.line(format_args!("Received-From-MTA: dns;{}", Text(n.source_mta)));
    }
    out.line(format_args!("Arrival-Date: {}", n.arrived));
    out.line("");
    if !n.orcpt.is_empty() {
        out.line(format_args!("Original-Recipient: {}", Text(n.orcpt)));
    }
    let kind = if n.recipient.is_ascii() { "rfc822" } else { "utf-8" };
    out.line(format_args!("Final-Recipient: {kind};{}", Text(n.recipient)));
    out.line(match n.action {
        Action::Failed => "Action: failed",
        Action::Delayed => "Action: delayed",
        Action::Relayed => "Action: relayed",
    });
    out.line(format_args!("Status: {}", Text(n.status)));
    if !n.mta.is_empty() {
        out.line(format_args!("Remote-MTA: dns;{}", Text(n.mta)));
    }
    if n.diagnostic.starts_with("smtp;") {
        out.line(format_args!("Diagnostic-Code: {}", Text(n.diagnostic)));
    } else if !n.diagnostic.is_empty() {
        out.line(format_args!("Diagnostic-Code: X-Posthaste;{}", Text(n.diagnostic)));
    }
    if n.action == Action::Delayed {
        out.line(format_args!("Will-Retry-Until: {}", n.give_up));
    }
    if !n.category.is_empty() {
        out.line(format_args!("X-PowerMTA-BounceCategory: {}", Text(n.category)));
    }
    out.line("");
}

fn returned(original: Original<'_>, boundary: &str, global: bool, out: &mut Out) {
    let header = Header::scan(original.message);
    let full = original.full && original.message.len() <= MOST_RETURNED;
    let bytes = if full { original.message } else { &original.message[..header.end()] };
    if !full && bytes.len() > MOST_HEADER {
        return;
    }
    out.line(format_args!("--{boundary}"));
    out.line(match (full, global) {
        (true, false) => "Content-Type: message/rfc822",
        (true, true) => "Content-Type: message/global",
        (false, false) => "Content-Type: text/rfc822-headers",
        (false, true) => "Content-Type: message/global-headers",
    });
    if !bytes.is_ascii() {
        out.line("Content-Transfer-Encoding: 8bit");
    }
    out.line("");
    out.0.extend_from_slice(bytes);
    out.line("");
}

#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn line(&mut self, line: impl fmt::Display) {
        use std::io::Write;
        // Writing to memory cannot fail.
        let _ = write!(self.0, "{line}\r\n");
    }
}

#[cfg(test)]
#[path = "notification_test.rs"]
mod test;
