//! Compiles header fields: each is copied, encoded ahead, or made a step that merges it, as its kind allows.

use super::address;
use super::compile::{Compiler, span};
use super::content::Syntax;
use super::encoded_word;
use super::fault::TemplateProblem;
use super::header::{Header, InjectionError, forbidden, is_name};
use super::lines::{MAX_LINE, survey};
use super::mailbox_list;
use super::plain::message_name;
use super::program::{Mailbox, Step};
use super::tags::{self, Token};
use mail_parser::MessageParser;

/// What the value of a field is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unstructured,
    Mailboxes,
    /// Tokens, URLs, message ids: ASCII, never encoded.
    Structured,
    /// Tells how the body is made.
    Mime,
}

const MAILBOXES: [&str; 15] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Reply-To",
    "Return-Receipt-To",
    "Disposition-Notification-To",
    "Errors-To",
    "Mail-Reply-To",
    "Mail-Followup-To",
];
const STRUCTURED: [&str; 12] = [
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Resent-Date",
    "Resent-Message-ID",
    "Received",
    "Auto-Submitted",
    "Precedence",
    "Feedback-ID",
    "CFBL-Address",
    "CFBL-Feedback-ID",
];
/// Meant for us or for nobody: such fields of a template never leave (A22; RFC 5322 section 3.6.3 for Bcc).
const CONSUMED: [&str; 13] = [
    "Bcc",
    "Resent-Bcc",
    "Return-Path",
    "X-Virtual-MTA",
    "X-Job",
    "X-Envid",
    "X-Schedule",
    "X-DKIM-Options",
    "X-DKIM-Key",
    "X-Sender",
    "X-Receiver",
    "X-Sender-Override",
    "Content-Length",
];
/// Fields of which a message has one at most (RFC 5322 section 3.6); large receivers refuse a second one.
const SINGLE: [&str; 8] = ["From", "Subject", "Sender", "Reply-To", "To", "Cc", "Date", "Message-ID"];

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|n| n.eq_ignore_ascii_case(name))
}

fn kind(name: &str) -> Kind {
    let begins = |prefix: &str| name.get(..prefix.len()).is_some_and(|p| p.eq_ignore_ascii_case(prefix));
    if is_one_of(name, &MAILBOXES) {
        Kind::Mailboxes
    } else if begins("Content-") || name.eq_ignore_ascii_case("MIME-Version") {
        Kind::Mime
    } else if is_one_of(name, &STRUCTURED)
        || begins("List-")
        || begins("ARC-")
        || name.eq_ignore_ascii_case("DKIM-Signature")
    {
        Kind::Structured
    } else {
        Kind::Unstructured
    }
}

impl Compiler<'_> {
    /// The fields of the message: those of `header` (of a template with one; `without` is made elsewhere), those of
    /// [`super::content::Template::headers`], and the ones every message has.
    pub fn message_fields(&mut self, raw: &[u8], without: &[&str]) {
        let header = Header::scan(raw);
        let overrides = self.template.headers;
        let mut names: Vec<String> = Vec::new();
        let mut placed = vec![false; overrides.len()];
        for field in header.fields() {
            let line = u32::try_from(field.line).unwrap_or(u32::MAX);
            let name = std::str::from_utf8(header.name(field)).unwrap_or_default();
            if name.is_empty() {
                self.error("header", line, TemplateProblem::NotAField);
                continue;
            }
            if is_one_of(name, &CONSUMED) || is_one_of(name, without) {
                continue;
            }
            if let Some(index) = overrides.iter().position(|(n, _)| n.eq_ignore_ascii_case(name)) {
                if !std::mem::replace(&mut placed[index], true) {
                    self.added_field(index, &mut names);
                }
                continue;
            }
            names.push(name.to_string());
            match String::from_utf8(header.unfolded(field)) {
                Ok(value) => self.field_line(name, &value, Some(&raw[field.whole.clone()]), line),
                Err(_) => self.error(&format!("header {name}"), line, TemplateProblem::NotUtf8),
            }
        }
        for index in (0..overrides.len()).filter(|i| !placed[*i]) {
            self.added_field(index, &mut names);
        }
        self.count(&names);
        self.missing_fields(&names);
    }

    fn count(&mut self, names: &[String]) {
        for single in SINGLE {
            let count = names.iter().filter(|n| n.eq_ignore_ascii_case(single)).count();
            if count > 1 {
                self.error(&format!("header {single}"), 1, TemplateProblem::DuplicateHeader(count));
            } else if count == 0 && single == "From" {
                self.error("header From", 1, TemplateProblem::MissingHeader);
            }
        }
    }

    fn missing_fields(&mut self, names: &[String]) {
        let has = |name: &str| names.iter().any(|n| n.eq_ignore_ascii_case(name));
        let fixed = self.fixed;
        if !has("Date") && !fixed.dated_later {
            self.raw(format!("Date: {}\r\n", fixed.date).as_bytes());
        }
        if !has("Message-ID") {
            let name = message_name(fixed.submission_id, fixed.host_id);
            self.raw(format!("Message-ID: <{name}.").as_bytes());
            self.step(Step::RowNumber);
            self.raw(format!("@{}>\r\n", fixed.host).as_bytes());
        }
        if !has("To") {
            let address = self.store(&[super::program::Piece::Recipient { html: false }]);
            let name = self.literal("To");
            self.mailbox_step(name, &[Mailbox { phrase: span(0, 0), address }]);
        }
        if !has("MIME-Version") {
            self.raw(b"MIME-Version: 1.0\r\n");
        }
    }

    /// A field from [`super::content::Template::headers`].
    fn added_field(&mut self, index: usize, names: &mut Vec<String>) {
        let (name, value) = &self.template.headers[index];
        let place = format!("header {name}");
        names.push(name.clone());
        if !is_name(name.as_bytes()) {
            self.error(&place, 1, TemplateProblem::Injection(InjectionError::Name { name: name.clone() }));
        } else if let Some(what) = forbidden(value) {
            self.error(
                &place,
                1,
                TemplateProblem::Injection(InjectionError::Value { field: name.clone(), what }),
            );
        } else if kind(name) == Kind::Mime || is_one_of(name, &CONSUMED) {
            self.error(&place, 1, TemplateProblem::StructureHeader);
        } else {
            self.field_line(name, value.trim(), None, 1);
        }
    }

    /// One field with its `value` on one line. `raw` is the field as it stood in the template.
    fn field_line(&mut self, name: &str, value: &str, raw: Option<&[u8]>, line: u32) {
        let place = format!("header {name}");
        if let Some(what) = forbidden(value) {
            let error = InjectionError::Value { field: name.into(), what };
            return self.error(&place, line, TemplateProblem::Injection(error));
        }
        let decoded = decode_words(value);
        let tokens = self.scan(&place, line, if kind(name) == Kind::Mailboxes { value } else { &decoded });
        let hidden =
            kind(name) == Kind::Mailboxes && decoded != value && has_tags(&self.scan(&place, line, &decoded));
        let merged = has_tags(&tokens) || hidden;
        let kept = raw.filter(|r| !merged && r.is_ascii() && survey(r).longest_line <= MAX_LINE);
        match kind(name) {
            Kind::Mime if merged => self.error(&place, line, TemplateProblem::NoFieldsHere),
            Kind::Mailboxes => self.mailboxes(name, value, &tokens, kept, line),
            _ if kept.is_some() => self.copy_line(kept.unwrap_or_default()),
            Kind::Mime | Kind::Structured if !merged && !value.is_ascii() => {
                self.error(&place, line, TemplateProblem::NotAscii);
            }
            kind => {
                // Compiled even when nothing is merged: the step encodes and folds.
                let pieces = self.pieces(&place, line, &decoded, false);
                let pieces = self.store(&pieces);
                let literal = self.literal(name);
                self.step(match kind {
                    Kind::Unstructured => Step::Unstructured { name: literal, pieces },
                    _ => Step::Structured { name: literal, pieces },
                });
            }
        }
    }

    /// A field as it stood in the template.
    fn copy_line(&mut self, raw: &[u8]) {
        self.raw(raw);
        if !raw.ends_with(b"\r\n") {
            self.raw(b"\r\n");
        }
    }

    fn mailboxes(&mut self, name: &str, value: &str, tokens: &[Token<'_>], kept: Option<&[u8]>, line: u32) {
        let place = format!("header {name}");
        let (marked, sources) = self.mark(tokens);
        let list = match mailbox_list::split(&marked) {
            // A group without fields (`undisclosed-recipients:;`) may stay, but not as a sender.
            Err(_) if kept.is_some() && !name.eq_ignore_ascii_case("From") && value.contains(':') => {
                Vec::new()
            }
            Err(problem) => return self.error(&place, line, TemplateProblem::AddressList(problem)),
            Ok(list) => list,
        };
        let mut mailboxes = Vec::with_capacity(list.len());
        for one in &list {
            let phrase = decode_words(&restore(&one.phrase, &sources));
            let text = restore(&one.address, &sources);
            if !has_tags(&self.scan(&place, line, &text)) {
                match address::check(text.as_bytes()) {
                    Ok(parsed) => self.program.smtputf8 |= parsed.needs_smtputf8(),
                    Err(error) => {
                        self.error(&place, line, TemplateProblem::Address { text: text.clone(), error });
                    }
                }
            }
            if kept.is_none() {
                let phrase = self.pieces(&place, line, &phrase, false);
                let phrase = self.store(&phrase);
                let address = self.pieces(&place, line, &text, false);
                let address = self.store(&address);
                mailboxes.push(Mailbox { phrase, address });
            }
        }
        match kept {
            Some(raw) => self.copy_line(raw),
            None => {
                let name = self.literal(name);
                self.mailbox_step(name, &mailboxes);
            }
        }
    }

    fn mailbox_step(&mut self, name: super::program::Span, mailboxes: &[Mailbox]) {
        let at = self.program.mailboxes.len();
        self.program.mailboxes.extend_from_slice(mailboxes);
        let mailboxes = span(at, self.program.mailboxes.len());
        self.step(Step::Mailboxes { name, mailboxes });
    }

    /// The text of `tokens` with a private-use character for each tag, and what each stands for.
    fn mark(&self, tokens: &[Token<'_>]) -> (String, Vec<String>) {
        let mut marked = String::new();
        let mut sources = Vec::new();
        for token in tokens {
            let source = match token {
                Token::Literal(text) if self.template.syntax == Syntax::Minijinja => {
                    marked.push_str(text);
                    continue;
                }
                Token::Literal(text) => {
                    // What the scan made of `[[` must survive the next one.
                    marked.push_str(&text.replace('[', "[["));
                    continue;
                }
                Token::Tag { source, .. } => *source,
            };
            marked.extend(char::from_u32(MARK + u32::try_from(sources.len()).unwrap_or(0)));
            sources.push(source.to_string());
        }
        (marked, sources)
    }
}

/// First of the characters that stand for tags: supplementary private use area A.
const MARK: u32 = 0xf0000;

fn restore(marked: &str, sources: &[String]) -> String {
    let mut text = String::with_capacity(marked.len());
    for c in marked.chars() {
        match (c as u32).checked_sub(MARK).and_then(|i| sources.get(i as usize)) {
            Some(source) => text.push_str(source),
            None => text.push(c),
        }
    }
    text
}

fn has_tags(tokens: &[Token<'_>]) -> bool {
    tokens.iter().any(|t| matches!(t, tags::Token::Tag { .. }))
}

/// The text of a value with its encoded-words decoded.
fn decode_words(value: &str) -> String {
    if !value.contains("=?") {
        return value.into();
    }
    let raw = format!("Subject: {value}\r\n\r\n");
    let parsed = MessageParser::default().parse_headers(raw.as_bytes());
    parsed.and_then(|m| m.subject().map(String::from)).unwrap_or_else(|| value.into())
}

/// The `Content-Type` of a text part that is carried in UTF-8, its other parameters kept.
pub(super) fn text_content_type(of: Option<&mail_parser::ContentType<'_>>) -> String {
    // What is no token (RFC 2045, 5.1) is no type that anybody knows, and may hold what must not stand in a header.
    let is_token = |s: &&str| {
        !s.is_empty() && s.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
    };
    let kind = of.map(|t| (t.ctype(), t.subtype().unwrap_or("plain")));
    let (kind, subtype) = kind.filter(|(k, s)| is_token(k) && is_token(s)).unwrap_or(("text", "plain"));
    let mut line = format!("Content-Type: {kind}/{subtype}; charset=utf-8");
    for attribute in of.and_then(|t| t.attributes.as_deref()).unwrap_or_default() {
        let (name, value) = (attribute.name.as_ref(), attribute.value.as_ref());
        if name.eq_ignore_ascii_case("charset") || !is_name(name.as_bytes()) {
            continue;
        }
        line.push_str(";\r\n\t");
        line.push_str(name);
        if encoded_word::is_printable(value) && value.len() <= MAX_LINE / 2 {
            line.push_str("=\"");
            line.push_str(&value.replace('\\', "\\\\").replace('"', "\\\""));
            line.push('"');
        } else {
            line.push_str("*=utf-8''");
            super::escape::url(value, |piece| line.push_str(piece));
        }
    }
    line.push_str("\r\n");
    line
}
