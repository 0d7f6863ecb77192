//! Compiles bodies: the MIME structure of a template is kept byte by byte, and only parts that hold fields (or could not
//! leave as they are) are encoded anew.

use super::compile::Compiler;
use super::encode::{Encoding, base64};
use super::fault::TemplateProblem;
use super::header::Header;
use super::header_fields::text_content_type;
use super::lines::{MAX_LINE, survey, text_to_crlf, to_crlf};
use super::tags::Token;
use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};

/// Fields that describe an encoding which is replaced; the first only where the charset is.
const REPLACED: [&str; 4] = ["Content-Type", "Content-Transfer-Encoding", "Content-MD5", "Content-Length"];

/// What becomes of a part that has no parts of its own.
enum Plan {
    /// Every byte stays.
    Keep,
    /// Text: decoded, merged, encoded.
    Text { text: String, html: bool },
    /// Anything else that is not 7bit.
    Base64(Vec<u8>),
}

impl Plan {
    /// The fields that [`Compiler::leaf`] writes anew or that would be wrong.
    fn replaced(&self) -> &'static [&'static str] {
        match self {
            Plan::Keep => &[],
            Plan::Text { .. } => &REPLACED,
            Plan::Base64(_) => &REPLACED[1..],
        }
    }
}

pub(super) fn without_bom(raw: &[u8]) -> &[u8] {
    raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw)
}

impl Compiler<'_> {
    /// A whole message.
    pub fn eml(&mut self, source: &[u8]) {
        let mut raw = Vec::new();
        if let Err(bare) = to_crlf(without_bom(source), &mut raw) {
            return self.error(
                "template",
                u32::try_from(bare.line).unwrap_or(u32::MAX),
                TemplateProblem::BareCr(bare),
            );
        }
        let header = Header::scan(&raw);
        let message = MessageParser::default().parse(&raw);
        let Some((message, root)) = message.as_ref().and_then(|m| Some((m, m.parts.first()?))) else {
            return self.error("template", 1, TemplateProblem::Structure("there is no header"));
        };
        let plan = self.plan(root, &raw);
        self.message_fields(&raw[..header.end()], plan.replaced());
        match plan {
            Plan::Keep => {
                self.raw(b"\r\n");
                self.structure(message, &raw, header.body());
            }
            plan => self.leaf(root, plan),
        }
    }

    /// Copies the body from `at`, encoding anew the parts that need it.
    fn structure(&mut self, message: &Message<'_>, raw: &[u8], mut at: usize) {
        for part in message.parts.iter().skip(1) {
            let plan = self.plan(part, raw);
            if matches!(plan, Plan::Keep) {
                continue;
            }
            let (start, body, end) = offsets(part);
            if start < at || body < start || end < body || end > raw.len() {
                return self.error("template", 1, TemplateProblem::Structure("its parts overlap"));
            }
            self.copy(&raw[at..start]);
            let fields = Header::scan(&raw[start..body]);
            for field in fields.fields() {
                let name = String::from_utf8_lossy(fields.name(field)).into_owned();
                if plan.replaced().iter().any(|r| r.eq_ignore_ascii_case(&name)) {
                    continue;
                }
                let line = &raw[start..body][field.whole.clone()];
                let place = format!("header {name} of a part");
                let text = String::from_utf8_lossy(line);
                if self.scan(&place, 1, &text).iter().any(|t| matches!(t, Token::Tag { .. })) {
                    self.error(&place, 1, TemplateProblem::NoFieldsHere);
                }
                self.copy(line);
            }
            self.leaf(part, plan);
            at = end;
        }
        self.copy(&raw[at.min(raw.len())..]);
    }

    /// Bytes of the template as they are, if they can leave so.
    fn copy(&mut self, bytes: &[u8]) {
        let found = survey(bytes);
        if found.longest_line > MAX_LINE {
            self.error("template", 1, TemplateProblem::LineTooLong(found.longest_line));
        }
        if found.unclean {
            self.error("template", 1, TemplateProblem::Structure("it contains a NUL"));
        }
        self.program.eight_bit |= found.eight_bit;
        self.raw(bytes);
    }

    fn plan(&mut self, part: &MessagePart<'_>, raw: &[u8]) -> Plan {
        let (_, body, end) = offsets(part);
        let seven_bit = raw.get(body..end).is_some_and(|b| survey(b).is_7bit());
        let (text, html) = match &part.body {
            PartType::Text(text) => (text, false),
            PartType::Html(text) => (text, true),
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) if !seven_bit => {
                return Plan::Base64(bytes.to_vec());
            }
            _ => return Plan::Keep,
        };
        let place = place(html);
        let merged = self.scan(place, 1, text).iter().any(|t| matches!(t, Token::Tag { .. }));
        if seven_bit && !merged {
            return Plan::Keep;
        }
        if part.is_encoding_problem {
            self.error(place, 1, TemplateProblem::Undecodable);
        } else if let Some(at) = text.find('\u{fffd}') {
            let line = text[..at].matches('\n').count() + 1;
            let charset = part.content_type().and_then(|t| t.attribute("charset")).map(String::from);
            self.error(place, u32::try_from(line).unwrap_or(u32::MAX), TemplateProblem::Charset { charset });
        }
        let mut lines = Vec::with_capacity(text.len());
        text_to_crlf(text.as_bytes(), &mut lines);
        Plan::Text { text: String::from_utf8(lines).unwrap_or_default(), html }
    }

    /// The last fields of a part, the empty line, and the body.
    fn leaf(&mut self, part: &MessagePart<'_>, plan: Plan) {
        match plan {
            Plan::Keep => {}
            Plan::Text { text, html } => {
                self.text_part(&text_content_type(part.content_type()), &text, html, None);
            }
            Plan::Base64(bytes) => {
                self.raw(b"Content-Transfer-Encoding: base64\r\n\r\n");
                base64(&bytes, &mut self.program.raw);
            }
        }
    }

    /// A text part from its Content-Type on; `text` has CRLF lines.
    pub(super) fn text_part(&mut self, content_type: &str, text: &str, html: bool, boundary: Option<&str>) {
        let merged = self.scan(place(html), 1, text).iter().any(|t| matches!(t, Token::Tag { .. }));
        let encoding = match merged {
            // What the values hold is not known.
            true => Encoding::QuotedPrintable,
            false => Compiler::static_encoding(text.as_bytes(), boundary),
        };
        self.raw(content_type.as_bytes());
        self.raw(format!("Content-Transfer-Encoding: {}\r\n\r\n", encoding.name()).as_bytes());
        if merged {
            self.body(place(html), text, html);
        } else {
            encoding.write(text.as_bytes(), &mut self.program.raw);
        }
    }
}

fn place(html: bool) -> &'static str {
    if html { "html part" } else { "text part" }
}

fn offsets(part: &MessagePart<'_>) -> (usize, usize, usize) {
    (part.offset_header as usize, part.offset_body as usize, part.offset_end as usize)
}
