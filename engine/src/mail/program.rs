//! Compiled content: a flat list of steps. All that does not depend on the row is already encoded, so rendering copies
//! bytes and encodes only what fields touch.

use super::address;
use super::content::{MAX_RENDERED, Row};
use super::encode::Quoted;
use super::encoded_word;
use super::escape;
use super::fault::RenderError;
use super::header::forbidden;
use super::jinja::{Jinja, Source, describe};
use super::lines::{MAX_LINE, survey};
use minijinja::{ErrorKind, Value};

/// A range of [`Program::raw`], [`Program::text`], [`Program::pieces`] or [`Program::mailboxes`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub at: u32,
    pub len: u32,
}

impl Span {
    pub fn range(self) -> std::ops::Range<usize> {
        self.at as usize..self.at as usize + self.len as usize
    }
}

/// A bit of merged text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// Of `text`.
    Literal(Span),
    /// A value, `default` (of `text`) where it is empty, then percent-encoded, then escaped.
    Field { field: u16, default: Option<Span>, url: bool, html: bool },
    /// A full minijinja template.
    Full(u16),
    /// The envelope recipient.
    Recipient { html: bool },
}

/// What follows a merged run of quoted-printable text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It ended with a line end.
    Line,
    /// Text that was encoded as if it began a line.
    Soft,
    /// The end of the part.
    End,
}

/// A mailbox in a header: pieces of the display name and of the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mailbox {
    pub phrase: Span,
    pub address: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Copies a range of `raw`.
    Raw(Span),
    /// Encodes pieces as quoted-printable, going on at `column`.
    Quoted { column: u8, after: After, pieces: Span },
    /// A header with text that is encoded where needed (`name` is of `text`).
    Unstructured { name: Span, pieces: Span },
    /// A header with ASCII only.
    Structured { name: Span, pieces: Span },
    /// A header with mailboxes.
    Mailboxes { name: Span, mailboxes: Span },
    /// The number of the row in hexadecimal.
    RowNumber,
    /// Pieces as they are; in the header, on the line they stand on.
    Bytes { header: bool, pieces: Span },
}

#[derive(Debug, Default)]
pub(super) struct Program {
    pub fields: Vec<String>,
    pub raw: Vec<u8>,
    pub text: String,
    pub steps: Vec<Step>,
    pub pieces: Vec<Piece>,
    pub mailboxes: Vec<Mailbox>,
    pub sources: Vec<Source>,
    /// The compiled `sources`; none when there are none.
    pub jinja: Option<Jinja>,
    /// Bytes of a message rendered on trial.
    pub size: u32,
    pub eight_bit: bool,
    pub smtputf8: bool,
    /// There are steps of [`Step::Bytes`].
    pub copies_values: bool,
    /// Values that begin with [`TYPED`] are JSON, for full templates to reckon with.
    pub typed: bool,
}

/// Stands before the JSON of a value that is no string.
pub const TYPED: char = '\u{1}';

/// A row on its way through a program.
struct Rendering<'p, 'r> {
    program: &'p Program,
    row: &'r Row<'r>,
    /// Merged header text; kept between headers, so that a message costs one allocation.
    scratch: String,
    /// The values as minijinja sees them, made when the first full template asks.
    values: Option<Value>,
}

impl Program {
    pub fn render(&self, row: &Row<'_>, out: &mut Vec<u8>) -> Result<(), RenderError> {
        if row.values.len() != self.fields.len() {
            return Err(RenderError::Values { expected: self.fields.len(), got: row.values.len() });
        }
        let start = out.len();
        out.reserve(self.size as usize + self.size as usize / 8);
        let mut rendering = Rendering { program: self, row, scratch: String::new(), values: None };
        for step in &self.steps {
            rendering.step(*step, out)?;
            if out.len() - start > MAX_RENDERED {
                return Err(RenderError::TooLarge { limit: MAX_RENDERED });
            }
        }
        if self.copies_values {
            check_lines(&out[start..])?;
        }
        Ok(())
    }

    /// Renders each step on its own with short values: the bytes they make and what went wrong. (A value that is no
    /// address, say, proves nothing; a template that never ends does.)
    pub fn trial(&self) -> (usize, Vec<RenderError>) {
        let values: Vec<&str> = self.fields.iter().map(|_| "12345678").collect();
        let row = Row { to: "recipient@example.com", number: 0, values: &values };
        let mut rendering = Rendering { program: self, row: &row, scratch: String::new(), values: None };
        let (mut out, mut size, mut errors) = (Vec::new(), 0, Vec::new());
        for step in &self.steps {
            out.clear();
            errors.extend(rendering.step(*step, &mut out).err());
            size += out.len();
        }
        (size, errors)
    }

    pub fn text(&self, span: Span) -> &str {
        &self.text[span.range()]
    }
}

impl<'p> Rendering<'p, '_> {
    fn step(&mut self, step: Step, out: &mut Vec<u8>) -> Result<(), RenderError> {
        match step {
            Step::Raw(span) => out.extend_from_slice(&self.program.raw[span.range()]),
            Step::Quoted { column, after, pieces } => self.quoted(column, after, pieces, out)?,
            Step::Unstructured { name, pieces } => {
                let name = self.open(name, pieces, out)?;
                encoded_word::unstructured(&self.scratch, name.len() + 2, out);
                out.extend_from_slice(b"\r\n");
            }
            Step::Structured { name, pieces } => {
                let name = self.open(name, pieces, out)?;
                if !encoded_word::is_printable(&self.scratch) {
                    return Err(RenderError::NotAscii { header: name.into() });
                }
                encoded_word::structured(&self.scratch, name.len() + 2, out)
                    .map_err(|_| RenderError::WordTooLong { header: name.into() })?;
                out.extend_from_slice(b"\r\n");
            }
            Step::Mailboxes { name, mailboxes } => self.mailboxes(name, mailboxes, out)?,
            Step::RowNumber => hexadecimal(self.row.number, out),
            Step::Bytes { header: false, pieces } => {
                for &piece in &self.program.pieces[pieces.range()] {
                    self.write(piece, |text| out.extend_from_slice(text.as_bytes()))?;
                }
            }
            Step::Bytes { header: true, pieces } => {
                self.merge_line("(of the message)", pieces)?;
                out.extend_from_slice(self.scratch.as_bytes());
            }
        }
        Ok(())
    }

    fn quoted(&mut self, column: u8, after: After, span: Span, out: &mut Vec<u8>) -> Result<(), RenderError> {
        let mut quoted = Quoted::at(column.into());
        for &piece in &self.program.pieces[span.range()] {
            self.write(piece, |text| quoted.push(text.as_bytes(), out))?;
        }
        match after {
            After::Line => {}
            After::Soft => quoted.soft_break(out),
            After::End => quoted.finish(out),
        }
        Ok(())
    }

    /// Gives what `piece` stands for to `sink`, in one or more bits.
    fn write(&mut self, piece: Piece, mut sink: impl FnMut(&str)) -> Result<(), RenderError> {
        match piece {
            Piece::Literal(span) => sink(self.program.text(span)),
            Piece::Field { field, default, url, html } => {
                let mut value = self.row.values[field as usize];
                if self.program.typed {
                    value = value.strip_prefix(TYPED).unwrap_or(value);
                }
                if let (true, Some(span)) = (value.is_empty(), default) {
                    value = self.program.text(span);
                }
                match (url, html) {
                    // Percent-encoded text holds nothing that HTML would take amiss.
                    (true, _) => escape::url(value, sink),
                    (false, true) => escape::html(value, sink),
                    (false, false) => sink(value),
                }
            }
            Piece::Recipient { html: true } => escape::html(self.row.to, sink),
            Piece::Recipient { html: false } => sink(self.row.to),
            Piece::Full(index) => sink(&self.full(index)?),
        }
        Ok(())
    }

    fn full(&mut self, index: u16) -> Result<String, RenderError> {
        let Program { fields, sources, jinja, typed, .. } = self.program;
        let source = &sources[index as usize];
        let row = self.row;
        let values = self.values.get_or_insert_with(|| {
            let pairs = fields.iter().zip(row.values);
            Value::from_pairs(pairs.map(|(name, value)| (name.as_str(), as_value(value, *typed))))
        });
        let rendered = match jinja {
            Some(jinja) => jinja.render(index.into(), source.html, values),
            None => Ok(String::new()),
        };
        rendered.map_err(|e| RenderError::Template {
            place: format!("{}, line {}", source.place, e.line().unwrap_or(1)),
            message: describe(&e),
            endless: e.kind() == ErrorKind::OutOfFuel || e.detail() == Some("recursion limit exceeded"),
        })
    }

    /// Merges `span` into the scratch text, refusing whatever would break out of the header called `name`.
    fn merge_line(&mut self, name: &str, span: Span) -> Result<(), RenderError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        for &piece in &self.program.pieces[span.range()] {
            let from = scratch.len();
            self.write(piece, |text| scratch.push_str(text))?;
            if let Some(what) = forbidden(&scratch[from..]) {
                let field = match piece {
                    Piece::Field { field, .. } => self.program.fields[field as usize].clone(),
                    Piece::Full(_) => "(template)".into(),
                    Piece::Literal(_) => "(literal)".into(),
                    Piece::Recipient { .. } => "(recipient)".into(),
                };
                return Err(RenderError::Injection { header: name.into(), field, what });
            }
        }
        self.scratch = scratch;
        Ok(())
    }

    /// Merges a header's value and writes its name.
    fn open(&mut self, name: Span, pieces: Span, out: &mut Vec<u8>) -> Result<&'p str, RenderError> {
        let name = self.program.text(name);
        self.merge_line(name, pieces)?;
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        Ok(name)
    }

    fn mailboxes(&mut self, name: Span, span: Span, out: &mut Vec<u8>) -> Result<(), RenderError> {
        let name = self.program.text(name);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        for (i, mailbox) in self.program.mailboxes[span.range()].iter().enumerate() {
            if i > 0 {
                out.extend_from_slice(b",\r\n ");
            }
            self.merge_line(name, mailbox.phrase)?;
            let named = !self.scratch.trim().is_empty();
            if named {
                let column = if i == 0 { name.len() + 2 } else { 1 };
                encoded_word::phrase(&self.scratch, column, out);
                // The address may need a line of its own behind a long name.
                let line = out.iter().rev().take_while(|b| **b != b'\n').count();
                out.extend_from_slice(if line > 50 { b"\r\n <" } else { b" <" });
            }
            self.merge_line(name, mailbox.address)?;
            self.address(name, out)?;
            if named {
                out.push(b'>');
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Writes the address in the scratch text.
    fn address(&self, name: &str, out: &mut Vec<u8>) -> Result<(), RenderError> {
        let text = self.scratch.as_str();
        let wrong = |error| RenderError::Address { header: name.into(), text: text.into(), error };
        let parsed = address::check(text.as_bytes()).map_err(wrong)?;
        if parsed.needs_smtputf8() && !self.program.smtputf8 && self.row.to.is_ascii() {
            return Err(RenderError::NeedsSmtpUtf8 { header: name.into(), text: text.into() });
        }
        if parsed.domain().is_ascii() {
            out.extend_from_slice(text.as_bytes());
        } else {
            let mut domain = String::new();
            address::normalise_domain(parsed.domain(), &mut domain).map_err(wrong)?;
            for part in [parsed.local(), "@", &domain] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        Ok(())
    }
}

/// What nothing has encoded must be fit to leave (A04).
fn check_lines(message: &[u8]) -> Result<(), RenderError> {
    let found = survey(message);
    match found.unclean {
        true => Err(RenderError::Unclean),
        false if found.longest_line > MAX_LINE => {
            Err(RenderError::LineTooLong { octets: found.longest_line })
        }
        false => Ok(()),
    }
}

/// A row's value as minijinja sees it.
fn as_value(value: &str, typed: bool) -> Value {
    let json = value.strip_prefix(TYPED).filter(|_| typed);
    let read = json.and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok());
    read.map_or_else(|| Value::from(value), of_json)
}

fn of_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(b) => Value::from(b),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(n), _) => Value::from(n),
            (None, n) => Value::from(n.unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(list) => Value::from(list.into_iter().map(of_json).collect::<Vec<Value>>()),
        serde_json::Value::Object(pairs) => {
            Value::from_pairs(pairs.into_iter().map(|(key, value)| (key, of_json(value))))
        }
    }
}

/// Appends `number` in lower-case hexadecimal.
fn hexadecimal(number: u64, out: &mut Vec<u8>) {
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    for i in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (4 * i) & 15) as usize]);
    }
}
