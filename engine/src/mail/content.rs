//! Message content: compiled once, stored once, merged with each recipient's row at delivery. A finished message is the
//! trivial case.

use super::compile;
use super::fault::{ContentError, RenderError, TemplateError};
use super::program::{Program, TYPED};
use super::stored;

/// Bytes in a template file with its attachments.
pub const MAX_TEMPLATE: usize = 64 << 20;
/// Bytes in a rendered message.
pub const MAX_RENDERED: usize = 128 << 20;
/// Fields that a campaign may have.
pub const MAX_FIELDS: usize = 4096;

/// How fields are written in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Syntax {
    /// `{{ name }}`
    #[default]
    Minijinja,
    /// `[name]`
    Pmta,
}

/// Where the message comes from.
#[derive(Debug, Clone, Copy)]
pub enum TemplateSource<'a> {
    /// A message with header and MIME structure, lines ended by LF or CR LF.
    Eml(&'a [u8]),
    /// Bodies alone; all headers come from [`Template::headers`]. With both, the message is multipart/alternative.
    Parts { html: Option<&'a str>, text: Option<&'a str>, attached: &'a [Attached<'a>] },
}

/// A file in a message that is made from parts.
#[derive(Debug, Clone, Copy)]
pub struct Attached<'a> {
    /// As the header says it, with its parameters.
    pub content_type: &'a str,
    pub file_name: Option<&'a str>,
    /// What the HTML body calls it by, without angle brackets; it is shown there then.
    pub content_id: Option<&'a str>,
    pub bytes: &'a [u8],
}

/// What a campaign is made from.
#[derive(Debug, Clone, Copy)]
pub struct Template<'a> {
    pub source: TemplateSource<'a>,
    /// Added to the template's headers, or replacing those of the same name. Values are plain text (not encoded) and may
    /// hold fields.
    pub headers: &'a [(String, String)],
    pub syntax: Syntax,
    /// The fields there are. Which of them the template uses is told by [`Content::fields`].
    pub fields: &'a [String],
}

/// What is decided at import, so that the same row rendered twice gives the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fixed {
    /// As a Date header says it (RFC 5322 section 3.3).
    pub date: String,
    pub submission_id: u64,
    /// `host-id`.
    pub host_id: u32,
    /// Messages without a Date header get it when they are delivered.
    pub dated_later: bool,
    /// Right side of the Message-IDs.
    pub host: String,
    /// Envelope sender, which `[*from]` writes; may be empty.
    pub sender: String,
}

/// One recipient and what is merged for him.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The envelope recipient.
    pub to: &'a str,
    /// Number of the row within its submission.
    pub number: u64,
    /// One value for each of [`Content::fields`], in that order.
    pub values: &'a [&'a str],
}

/// A message, perhaps with fields.
#[derive(Debug)]
pub struct Content {
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Plain { raw: Vec<u8>, eight_bit: bool, smtputf8: bool },
    Merged(Box<Program>),
}

impl Content {
    /// A finished message: CRLF lines, not dot-stuffed. It leaves exactly as it is (R12).
    pub fn plain(raw: Vec<u8>) -> Content {
        Content::plain_utf8(raw, false)
    }

    /// As [`Content::plain`], saying whether the message came in with SMTPUTF8.
    pub fn plain_utf8(raw: Vec<u8>, smtputf8: bool) -> Content {
        let eight_bit = !raw.is_ascii();
        Content { body: Body::Plain { raw, eight_bit, smtputf8 } }
    }

    /// Compiles a template, or tells everything that is wrong with it.
    pub fn compile(template: &Template<'_>, fixed: &Fixed) -> Result<Content, Vec<TemplateError>> {
        let program = compile::compile(template, fixed, false)?;
        Ok(Content { body: Body::Merged(Box::new(program)) })
    }

    /// The same for a template that may use more fields than [`Template::fields`]: what a row does not have is empty.
    /// Where [`Content::is_typed`], numbers, booleans, lists and objects are written into rows by way of [`typed`].
    pub fn compile_open(template: &Template<'_>, fixed: &Fixed) -> Result<Content, Vec<TemplateError>> {
        let program = compile::compile(template, fixed, true)?;
        Ok(Content { body: Body::Merged(Box::new(program)) })
    }

    /// Whether the template does more with values than write them.
    pub fn is_typed(&self) -> bool {
        matches!(&self.body, Body::Merged(program) if program.typed)
    }

    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        stored::encode(self, out);
    }

    /// Reads the stored form back. Full minijinja templates are compiled again; all else is copied.
    pub fn decode(bytes: &[u8]) -> Result<Content, ContentError> {
        stored::decode(bytes)
    }

    /// Appends the message for `row`: CRLF lines, not dot-stuffed. On error `out` is as it was.
    pub fn render(&self, row: &Row<'_>, out: &mut Vec<u8>) -> Result<(), RenderError> {
        match &self.body {
            Body::Plain { raw, .. } => {
                out.extend_from_slice(raw);
                Ok(())
            }
            Body::Merged(program) => {
                let start = out.len();
                program.render(row, out).inspect_err(|_| out.truncate(start))
            }
        }
    }

    /// The fields that the content uses, in the order of [`Template::fields`]; rows hold exactly these.
    pub fn fields(&self) -> &[String] {
        match &self.body {
            Body::Plain { .. } => &[],
            Body::Merged(program) => &program.fields,
        }
    }

    /// The finished message when there is nothing to merge, to be sent without a copy.
    pub fn as_plain(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Plain { raw, .. } => Some(raw),
            Body::Merged(_) => None,
        }
    }

    pub fn is_plain(&self) -> bool {
        self.as_plain().is_some()
    }

    /// Bytes of a rendered message: exact for a plain one, else what a trial with short values gave.
    pub fn size_estimate(&self) -> usize {
        match &self.body {
            Body::Plain { raw, .. } => raw.len(),
            Body::Merged(program) => program.size as usize,
        }
    }

    /// Whether the next hop must offer 8BITMIME.
    pub fn needs_8bit(&self) -> bool {
        match &self.body {
            Body::Plain { eight_bit, .. } => *eight_bit,
            Body::Merged(program) => program.eight_bit,
        }
    }

    /// Whether the next hop must offer SMTPUTF8 whoever the recipient is.
    pub fn needs_smtputf8(&self) -> bool {
        match &self.body {
            Body::Plain { smtputf8, .. } => *smtputf8,
            Body::Merged(program) => program.smtputf8,
        }
    }
}

/// The form that a value which is no string has in the rows of a typed content.
pub fn typed(json: &str) -> String {
    format!("{TYPED}{json}")
}

/// Whether a string would pass for such a value.
pub fn looks_typed(text: &str) -> bool {
    text.starts_with(TYPED)
}

#[cfg(test)]
#[path = "content_test.rs"]
mod test;
