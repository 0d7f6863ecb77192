//! Compiles a template into a [`Program`]: everything is checked, everything that can be encoded before is.

use super::content::{Fixed, MAX_FIELDS, MAX_RENDERED, MAX_TEMPLATE, Syntax, Template, TemplateSource};
use super::encode::{Encoding, Quoted};
use super::fault::{RenderError, TemplateError, TemplateProblem};
use super::jinja::{Jinja, Source, describe};
use super::program::{After, Piece, Program, Span, Step};
use super::tags::{self, Tag, Token};

/// Faults reported at once.
const MAX_ERRORS: usize = 100;
/// A literal that is at most this long is encoded at rendering rather than put behind a soft break.
const SHORT: usize = 48;

/// A template on its way into a program.
pub(super) struct Compiler<'t> {
    pub template: &'t Template<'t>,
    pub fixed: &'t Fixed,
    pub program: Program,
    pub errors: Vec<TemplateError>,
    /// The fields there are.
    fields: Vec<String>,
    /// Fields that are not among them come to be when they are used.
    open: bool,
    /// For each field, whether it is used. Pieces name fields by this index until the end.
    used: Vec<bool>,
    jinja: Option<Jinja>,
    /// Where `raw` begins that no step copies yet.
    flushed: usize,
}

/// With `open`, the template may use whatever fields it likes, and its values are typed where that makes a difference.
pub(super) fn compile(
    template: &Template<'_>,
    fixed: &Fixed,
    open: bool,
) -> Result<Program, Vec<TemplateError>> {
    let mut compiler = Compiler {
        template,
        fixed,
        program: Program::default(),
        errors: Vec::new(),
        fields: template.fields.to_vec(),
        open,
        used: vec![false; template.fields.len()],
        jinja: None,
        flushed: 0,
    };
    let size = match template.source {
        TemplateSource::Eml(raw) => raw.len(),
        TemplateSource::Parts { html, text, attached } => {
            let attached = attached.iter().map(|a| a.bytes.len()).sum::<usize>();
            html.map_or(0, str::len) + text.map_or(0, str::len) + attached
        }
    };
    if size > MAX_TEMPLATE {
        compiler.error("template", 1, TemplateProblem::TooLarge(size));
    } else if template.fields.len() > MAX_FIELDS {
        compiler.error("template", 1, TemplateProblem::TooMany);
    } else {
        match template.source {
            TemplateSource::Eml(raw) => compiler.eml(raw),
            TemplateSource::Parts { html, text, attached } => compiler.parts(html, text, attached),
        }
    }
    compiler.finish()
}

impl Compiler<'_> {
    pub fn error(&mut self, place: &str, line: u32, problem: TemplateProblem) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(TemplateError { place: place.into(), line, problem });
        }
    }

    /// Bytes that are copied as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.program.raw.extend_from_slice(bytes);
    }

    /// Makes a step of the raw bytes since the last one.
    fn flush(&mut self) {
        let span = span(self.flushed, self.program.raw.len());
        if span.len > 0 {
            self.program.steps.push(Step::Raw(span));
        }
        self.flushed = self.program.raw.len();
    }

    pub fn step(&mut self, step: Step) {
        self.flush();
        self.program.steps.push(step);
    }

    pub fn literal(&mut self, text: &str) -> Span {
        let at = self.program.text.len();
        self.program.text.push_str(text);
        span(at, self.program.text.len())
    }

    pub fn store(&mut self, pieces: &[Piece]) -> Span {
        let at = self.program.pieces.len();
        self.program.pieces.extend_from_slice(pieces);
        span(at, self.program.pieces.len())
    }

    /// The tags of `text`, or an error about one that is open.
    pub fn scan<'x>(&mut self, place: &str, line: u32, text: &'x str) -> Vec<Token<'x>> {
        match tags::scan(text, self.template.syntax) {
            Ok(tokens) => tokens,
            Err(open) => {
                self.error(place, line + open.line - 1, TemplateProblem::Unclosed(open.open));
                Vec::new()
            }
        }
    }

    /// Compiles a short text, such as a header's value, into pieces.
    pub fn pieces(&mut self, place: &str, line: u32, text: &str, html: bool) -> Vec<Piece> {
        let tokens = self.scan(place, line, text);
        if tokens.iter().any(tags::is_full) {
            return self.full(place, line, text, html, &tokens).into_iter().collect();
        }
        let mut pieces = Vec::new();
        for token in tokens {
            match token {
                Token::Literal(text) => pieces.push(Piece::Literal(self.literal(text))),
                Token::Tag { tag, line: l, .. } => pieces.extend(self.tag(place, line + l - 1, &tag, html)),
            }
        }
        pieces
    }

    fn tag(&mut self, place: &str, line: u32, tag: &Tag<'_>, html: bool) -> Option<Piece> {
        match tag {
            Tag::Field { name, filters } => {
                let field = self.field(place, line, name)?;
                let default = filters.default.map(|text| self.literal(text));
                let html = (html && !filters.safe) || filters.escape;
                Some(Piece::Field { field, default, url: filters.url, html })
            }
            Tag::Recipient => Some(Piece::Recipient { html }),
            Tag::Sender => Some(Piece::Literal(self.literal(&self.fixed.sender))),
            Tag::Date => Some(Piece::Literal(self.literal(&self.fixed.date))),
            Tag::Reserved(name) => {
                self.error(place, line, TemplateProblem::Reserved(format!("[{name}]")));
                None
            }
            // Texts with such tags are compiled whole.
            Tag::Full => None,
        }
    }

    /// The index of the field called `name`, which is now in use.
    fn field(&mut self, place: &str, line: u32, name: &str) -> Option<u16> {
        let same = |f: &String| match self.template.syntax {
            Syntax::Minijinja => f == name,
            Syntax::Pmta => f.eq_ignore_ascii_case(name),
        };
        if let Some(index) = self.fields.iter().position(same) {
            self.used[index] = true;
            return u16::try_from(index).ok();
        }
        if self.open && self.fields.len() < MAX_FIELDS {
            self.fields.push(name.to_owned());
            self.used.push(true);
            return u16::try_from(self.fields.len() - 1).ok();
        }
        let fields = &self.fields;
        let nearest = tags::nearest(name, fields.iter().map(String::as_str)).map(String::from);
        let mut known = fields.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", ");
        if fields.len() > 20 {
            known.push_str(", ...");
        }
        self.error(place, line, TemplateProblem::UnknownField { name: name.into(), nearest, known });
        None
    }

    /// Compiles `text` as a full minijinja template.
    fn full(
        &mut self,
        place: &str,
        line: u32,
        text: &str,
        html: bool,
        tokens: &[Token<'_>],
    ) -> Option<Piece> {
        for token in tokens {
            if let Token::Tag { tag: Tag::Full, source, line: l } = token {
                let word = source.trim_start_matches(['{', '%', '-', '+', ' ', '\t', '\r', '\n']);
                let word: String = word.chars().take_while(char::is_ascii_alphabetic).collect();
                let alone = ["include", "extends", "import", "from", "block"];
                if source.starts_with("{%") && alone.contains(&word.as_str()) {
                    self.error(place, line + l - 1, TemplateProblem::Forbidden(word));
                    return None;
                }
            }
        }
        let index = self.program.sources.len();
        let source = Source { text: text.into(), html, place: place.into() };
        let jinja = self.jinja.get_or_insert_with(Jinja::new);
        if let Err(e) = jinja.add(index, &source) {
            let line = line + u32::try_from(e.line().unwrap_or(1)).unwrap_or(1) - 1;
            self.error(place, line, TemplateProblem::Syntax(describe(&e)));
            return None;
        }
        for name in jinja.variables(index, html) {
            let at = text.find(&name).map_or(0, |at| text[..at].matches('\n').count());
            self.field(place, line + u32::try_from(at).unwrap_or(0), &name);
        }
        self.program.sources.push(source);
        Some(Piece::Full(u16::try_from(index).unwrap_or(u16::MAX)))
    }

    /// Compiles a body with tags into quoted-printable: `text` has CRLF lines.
    pub fn body(&mut self, place: &str, text: &str, html: bool) {
        let tokens = self.scan(place, 1, text);
        if tokens.iter().any(tags::is_full) {
            if let Some(piece) = self.full(place, 1, text, html, &tokens) {
                let pieces = self.store(&[piece]);
                self.step(Step::Quoted { column: 0, after: After::End, pieces });
            }
            return;
        }
        // Either `quoted` encodes literals ahead, or `run` collects what must wait for the values.
        let mut quoted = Quoted::default();
        let mut run: Vec<Piece> = Vec::new();
        let mut column = 0;
        for token in tokens {
            match token {
                Token::Literal(text) if run.is_empty() => quoted.push(text.as_bytes(), &mut self.program.raw),
                Token::Literal(text) => {
                    let line = memchr::memchr(b'\n', text.as_bytes()).map_or(text.len(), |n| n + 1);
                    let ends_line = text[..line].ends_with('\n');
                    let (head, after) = match (line <= SHORT, ends_line) {
                        (true, false) => (text.len(), None),
                        (true, true) => (line, Some(After::Line)),
                        (false, _) => (0, Some(After::Soft)),
                    };
                    if head > 0 {
                        run.push(Piece::Literal(self.literal(&text[..head])));
                    }
                    if let Some(after) = after {
                        self.close_run(&mut run, column, after);
                        quoted = Quoted::default();
                        quoted.push(&text.as_bytes()[head..], &mut self.program.raw);
                    }
                }
                Token::Tag { tag, line, .. } => {
                    if run.is_empty() {
                        column = quoted.column();
                    }
                    run.extend(self.tag(place, line, &tag, html));
                }
            }
        }
        if run.is_empty() {
            quoted.finish(&mut self.program.raw);
        } else {
            self.close_run(&mut run, column, After::End);
        }
    }

    fn close_run(&mut self, run: &mut Vec<Piece>, column: usize, after: After) {
        let pieces = self.store(run);
        run.clear();
        self.step(Step::Quoted { column: u8::try_from(column).unwrap_or(0), after, pieces });
    }

    /// A body without tags, in the smallest encoding that is safe; says which.
    pub fn static_encoding(body: &[u8], boundary: Option<&str>) -> Encoding {
        let hides_boundary = boundary.is_some_and(|b| memchr::memmem::find(body, b.as_bytes()).is_some());
        match Encoding::choose(body) {
            Encoding::SevenBit if hides_boundary => Encoding::QuotedPrintable,
            encoding => encoding,
        }
    }

    fn finish(mut self) -> Result<Program, Vec<TemplateError>> {
        self.flush();
        let counts =
            [self.program.sources.len(), self.program.pieces.len() >> 8, self.program.steps.len() >> 8];
        if counts.into_iter().any(|n| n > 60_000) {
            self.error("template", 1, TemplateProblem::TooMany);
        }
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        self.number_fields();
        self.program.jinja = self.jinja.take();
        self.program.typed = self.open && !self.program.sources.is_empty();
        self.trial();
        if self.errors.is_empty() { Ok(self.program) } else { Err(self.errors) }
    }

    /// Numbers the fields that are used, in the order of the template's fields.
    fn number_fields(&mut self) {
        let mut numbers = vec![0; self.used.len()];
        for (index, _) in self.used.iter().enumerate().filter(|(_, used)| **used) {
            numbers[index] = u16::try_from(self.program.fields.len()).expect("MAX_FIELDS fits");
            self.program.fields.push(self.fields[index].clone());
        }
        for piece in &mut self.program.pieces {
            if let Piece::Field { field, .. } = piece {
                *field = numbers[*field as usize];
            }
        }
    }

    /// Renders on trial, to learn the size and to find a template that never ends. Other errors may be the fault of the
    /// values.
    fn trial(&mut self) {
        let (size, errors) = self.program.trial();
        for error in errors {
            if let RenderError::Template { place, message, endless: true } = error {
                self.error(&place, 1, TemplateProblem::Unrenderable(message));
            }
        }
        if size > MAX_RENDERED {
            let message = format!("it makes more than {MAX_RENDERED} bytes");
            self.error("template", 1, TemplateProblem::Unrenderable(message));
        }
        self.program.size = u32::try_from(size).unwrap_or(u32::MAX);
    }
}

pub(super) fn span(from: usize, to: usize) -> Span {
    let fits = |n: usize| u32::try_from(n).expect("templates are bounded by MAX_TEMPLATE");
    Span { at: fits(from), len: fits(to - from) }
}
