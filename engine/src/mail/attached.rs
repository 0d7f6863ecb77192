//! Compiles a message that is made from bodies and attachments: its MIME structure is ours.

use super::compile::Compiler;
use super::content::Attached;
use super::encode::base64;
use super::fault::TemplateProblem;
use super::lines::text_to_crlf;
use super::parts::without_bom;
use std::fmt::Write as _;

const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";
const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";

fn normal(body: &str) -> String {
    let mut lines = Vec::with_capacity(body.len());
    text_to_crlf(without_bom(body.as_bytes()), &mut lines);
    if !lines.ends_with(b"\r\n") {
        lines.extend_from_slice(b"\r\n");
    }
    String::from_utf8(lines).unwrap_or_default()
}

impl Compiler<'_> {
    /// A message from its bodies, with what is attached.
    pub fn parts(&mut self, html: Option<&str>, text: Option<&str>, attached: &[Attached<'_>]) {
        let (html, text) = (html.map(normal), text.map(normal));
        self.message_fields(b"", &[]);
        if html.is_none() && text.is_none() {
            return self.error("template", 1, TemplateProblem::NoBody);
        }
        let places: Vec<String> = (1..=attached.len()).map(|n| format!("attachment {n}")).collect();
        for (place, attached) in places.iter().zip(attached) {
            if let Err(what) = check(attached) {
                return self.error(place, 1, TemplateProblem::Attachment(what));
            }
        }
        let (inline, files): (Vec<_>, Vec<_>) = attached.iter().partition(|a| a.content_id.is_some());
        self.multipart("mixed", &files, |this| {
            this.multipart("related", &inline, |this| this.bodies(html.as_deref(), text.as_deref()));
        });
    }

    /// What `first` writes and the attachments after it; what `first` writes alone where there are none.
    fn multipart(&mut self, kind: &str, attached: &[&Attached<'_>], first: impl FnOnce(&mut Self)) {
        if attached.is_empty() {
            return first(self);
        }
        let boundary = self.open_multipart(kind);
        first(self);
        for attached in attached {
            self.raw(format!("\r\n--{boundary}\r\n").as_bytes());
            self.raw(fields(attached).as_bytes());
            base64(attached.bytes, &mut self.program.raw);
        }
        self.raw(format!("\r\n--{boundary}--\r\n").as_bytes());
    }

    /// Begins a multipart and its first part.
    fn open_multipart(&mut self, kind: &str) -> String {
        // "=_" cannot occur in quoted-printable text, nor in base64.
        let boundary = match kind {
            "alternative" => format!("=_{}", self.boundary_stem()),
            kind => format!("=_{kind}_{}", self.boundary_stem()),
        };
        self.raw(format!("Content-Type: multipart/{kind};\r\n\tboundary=\"{boundary}\"\r\n\r\n").as_bytes());
        self.raw(format!("--{boundary}\r\n").as_bytes());
        boundary
    }

    /// Part of every boundary of this message.
    fn boundary_stem(&self) -> String {
        format!("{:016x}", self.fixed.submission_id)
    }

    fn bodies(&mut self, html: Option<&str>, text: Option<&str>) {
        let stem = self.boundary_stem();
        match (html, text) {
            (None, None) => {}
            (Some(html), None) => self.text_part(HTML, html, true, Some(&stem)),
            (None, Some(text)) => self.text_part(TEXT, text, false, Some(&stem)),
            (Some(html), Some(text)) => {
                let boundary = self.open_multipart("alternative");
                self.text_part(TEXT, text, false, Some(&stem));
                self.raw(format!("\r\n--{boundary}\r\n").as_bytes());
                self.text_part(HTML, html, true, Some(&stem));
                self.raw(format!("\r\n--{boundary}--\r\n").as_bytes());
            }
        }
    }
}

fn check(attached: &Attached<'_>) -> Result<(), &'static str> {
    let kind = attached.content_type;
    let (main, rest) = kind.split_once('/').unwrap_or((kind, ""));
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let sub = rest.split(';').next().unwrap_or_default().trim_end();
    if !token(main) || !token(sub) || !rest.bytes().all(|b| matches!(b, b' '..=b'~')) || kind.len() > 500 {
        return Err("content_type is no media type, as in image/png");
    }
    if main.eq_ignore_ascii_case("multipart") || main.eq_ignore_ascii_case("message") {
        return Err("content_type: what is multipart or a message cannot be attached as a file");
    }
    let id = attached.content_id.unwrap_or("x");
    let printable = |b: u8| matches!(b, b'!'..=b'~') && b != b'<' && b != b'>';
    if id.is_empty() || id.len() > 500 || !id.bytes().all(printable) {
        return Err(
            "content_id holds something other than printable ASCII without blanks and angle brackets",
        );
    }
    let name = attached.file_name.unwrap_or("x");
    if name.is_empty() || name.len() > 500 || name.chars().any(char::is_control) {
        return Err("file_name is empty, longer than 500 bytes or holds control characters");
    }
    Ok(())
}

/// The fields of an attachment's part, and the empty line.
fn fields(attached: &Attached<'_>) -> String {
    let mut fields = format!("Content-Type: {}\r\n", attached.content_type.trim_end());
    let how = if attached.content_id.is_some() { "inline" } else { "attachment" };
    let name = attached.file_name.map(file_name).unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = write!(fields, "Content-Disposition: {how}{name}\r\n");
    if let Some(id) = attached.content_id {
        let _ = write!(fields, "Content-ID: <{id}>\r\n");
    }
    fields.push_str("Content-Transfer-Encoding: base64\r\n\r\n");
    fields
}

/// The parameter `filename` (RFC 2183), by RFC 2231 where it is not ASCII or long.
fn file_name(name: &str) -> String {
    if name.len() <= 60 && name.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\') {
        return format!(";\r\n\tfilename=\"{name}\"");
    }
    let mut encoded = String::new();
    for (n, piece) in name.as_bytes().chunks(18).enumerate() {
        let charset = if n == 0 { "utf-8''" } else { "" };
        let _ = write!(encoded, ";\r\n\tfilename*{n}*={charset}");
        for byte in piece {
            match byte {
                b if b.is_ascii_alphanumeric() => encoded.push(char::from(*b)),
                b => {
                    let _ = write!(encoded, "%{b:02X}");
                }
            }
        }
    }
    encoded
}

#[cfg(test)]
#[path = "attached_test.rs"]
mod test;
