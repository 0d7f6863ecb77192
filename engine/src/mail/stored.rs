//! The stored form of content, version 1. The spool vouches for the bytes with a checksum; decoding still checks every
//! range, so that damaged content is an error and never a panic.
//!
//! ```text
//! u8 version (1) · u8 kind (0 plain, 1 merged) · u8 flags (1 eight-bit, 2 smtputf8, 4 typed)
//! plain:  the message, to the end
//! merged: size · fields · raw · text · steps · pieces · mailboxes · sources
//! ```
//!
//! Numbers are LEB128 (at most 32 bits); a list is its length and its elements; a string is its length and its bytes.

use super::content::{Body, Content, MAX_FIELDS};
use super::fault::ContentError;
use super::jinja::{Jinja, Source, describe};
use super::program::{After, Mailbox, Piece, Program, Span, Step};

pub(super) const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const MERGED: u8 = 1;
const EIGHT_BIT: u8 = 1;
const SMTPUTF8: u8 = 2;
const TYPED: u8 = 4;

pub(super) fn encode(content: &Content, out: &mut Vec<u8>) {
    let flags = |eight_bit, smtputf8| u8::from(eight_bit) * EIGHT_BIT + u8::from(smtputf8) * SMTPUTF8;
    match &content.body {
        Body::Plain { raw, eight_bit, smtputf8 } => {
            out.extend_from_slice(&[VERSION, PLAIN, flags(*eight_bit, *smtputf8)]);
            out.extend_from_slice(raw);
        }
        Body::Merged(p) => {
            let flags = flags(p.eight_bit, p.smtputf8) + u8::from(p.typed) * TYPED;
            out.extend_from_slice(&[VERSION, MERGED, flags]);
            encode_program(p, out);
        }
    }
}

fn encode_program(p: &Program, out: &mut Vec<u8>) {
    number(p.size, out);
    list(&p.fields, out, |f, out| string(f.as_bytes(), out));
    string(&p.raw, out);
    string(p.text.as_bytes(), out);
    list(&p.steps, out, |s, out| encode_step(*s, out));
    list(&p.pieces, out, |s, out| encode_piece(*s, out));
    list(&p.mailboxes, out, |m, out| {
        span(m.phrase, out);
        span(m.address, out);
    });
    list(&p.sources, out, |s, out| {
        string(s.text.as_bytes(), out);
        out.push(s.html.into());
        string(s.place.as_bytes(), out);
    });
}

fn encode_step(step: Step, out: &mut Vec<u8>) {
    let mut two = |tag: u8, a: Span, b: Span| {
        out.push(tag);
        span(a, out);
        span(b, out);
    };
    match step {
        Step::Unstructured { name, pieces } => two(2, name, pieces),
        Step::Structured { name, pieces } => two(3, name, pieces),
        Step::Mailboxes { name, mailboxes } => two(4, name, mailboxes),
        Step::Raw(range) => {
            out.push(0);
            span(range, out);
        }
        Step::Quoted { column, after, pieces } => {
            out.extend_from_slice(&[1, column, after as u8]);
            span(pieces, out);
        }
        Step::RowNumber => out.push(5),
        Step::Bytes { header, pieces } => {
            out.extend_from_slice(&[6, header.into()]);
            span(pieces, out);
        }
    }
}

fn encode_piece(piece: Piece, out: &mut Vec<u8>) {
    match piece {
        Piece::Literal(text) => {
            out.push(0);
            span(text, out);
        }
        Piece::Field { field, default, url, html } => {
            out.extend_from_slice(&[
                1,
                u8::from(default.is_some()) | u8::from(url) << 1 | u8::from(html) << 2,
            ]);
            number(field.into(), out);
            if let Some(default) = default {
                span(default, out);
            }
        }
        Piece::Full(index) => {
            out.push(2);
            number(index.into(), out);
        }
        Piece::Recipient { html } => out.extend_from_slice(&[3, html.into()]),
    }
}

fn number(mut n: u32, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn span(s: Span, out: &mut Vec<u8>) {
    number(s.at, out);
    number(s.len, out);
}

fn string(bytes: &[u8], out: &mut Vec<u8>) {
    number(u32::try_from(bytes.len()).expect("content is bounded well below 4 GiB"), out);
    out.extend_from_slice(bytes);
}

fn list<T>(items: &[T], out: &mut Vec<u8>, mut each: impl FnMut(&T, &mut Vec<u8>)) {
    number(u32::try_from(items.len()).expect("content is bounded well below 4 GiB"), out);
    for item in items {
        each(item, out);
    }
}

/// Takes the stored form apart.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, ContentError> {
        let (first, rest) = self.rest.split_first().ok_or(ContentError::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u32, ContentError> {
        let mut n = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let b = self.byte()?;
            n |= u64::from(b & 0x7f) << shift;
            if b < 0x80 {
                return u32::try_from(n).map_err(|_| ContentError::Damaged("a number is too large"));
            }
        }
        Err(ContentError::Damaged("a number does not end"))
    }

    fn small(&mut self) -> Result<u16, ContentError> {
        u16::try_from(self.number()?).map_err(|_| ContentError::Damaged("an index is too large"))
    }

    fn span(&mut self) -> Result<Span, ContentError> {
        Ok(Span { at: self.number()?, len: self.number()? })
    }

    fn bytes(&mut self) -> Result<&'a [u8], ContentError> {
        let length = self.number()? as usize;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ContentError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn string(&mut self) -> Result<String, ContentError> {
        let bytes = self.bytes()?.to_vec();
        String::from_utf8(bytes).map_err(|_| ContentError::Damaged("a text is not UTF-8"))
    }

    /// A list; every element takes at least one byte, so the length bounds the memory.
    fn list<T>(
        &mut self,
        each: impl Fn(&mut Reader<'a>) -> Result<T, ContentError>,
    ) -> Result<Vec<T>, ContentError> {
        let length = self.number()? as usize;
        if length > self.rest.len() {
            return Err(ContentError::Short);
        }
        (0..length).map(|_| each(self)).collect()
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Content, ContentError> {
    let mut reader = Reader { rest: bytes };
    let (version, kind, flags) = (reader.byte()?, reader.byte()?, reader.byte()?);
    if version != VERSION {
        return Err(ContentError::Version(version));
    }
    let (eight_bit, smtputf8) = (flags & EIGHT_BIT != 0, flags & SMTPUTF8 != 0);
    let body = match kind {
        PLAIN => Body::Plain { raw: reader.rest.to_vec(), eight_bit, smtputf8 },
        MERGED => {
            let mut program = decode_program(&mut reader)?;
            (program.eight_bit, program.smtputf8) = (eight_bit, smtputf8);
            program.typed = flags & TYPED != 0;
            program.copies_values = program.steps.iter().any(|step| matches!(step, Step::Bytes { .. }));
            check(&program)?;
            compile_sources(&mut program)?;
            Body::Merged(Box::new(program))
        }
        _ => return Err(ContentError::Damaged("it is of no known kind")),
    };
    Ok(Content { body })
}

fn decode_program(reader: &mut Reader<'_>) -> Result<Program, ContentError> {
    let program = Program {
        size: reader.number()?,
        fields: reader.list(Reader::string)?,
        raw: reader.bytes()?.to_vec(),
        text: reader.string()?,
        steps: reader.list(decode_step)?,
        pieces: reader.list(decode_piece)?,
        mailboxes: reader.list(|r| Ok(Mailbox { phrase: r.span()?, address: r.span()? }))?,
        sources: reader
            .list(|r| Ok(Source { text: r.string()?, html: r.byte()? != 0, place: r.string()? }))?,
        ..Program::default()
    };
    if reader.rest.is_empty() { Ok(program) } else { Err(ContentError::Damaged("bytes follow its end")) }
}

fn decode_step(r: &mut Reader<'_>) -> Result<Step, ContentError> {
    Ok(match r.byte()? {
        0 => Step::Raw(r.span()?),
        1 => {
            let column = r.byte()?;
            let after = match r.byte()? {
                0 => After::Line,
                1 => After::Soft,
                2 => After::End,
                _ => return Err(ContentError::Damaged("a step is unknown")),
            };
            Step::Quoted { column, after, pieces: r.span()? }
        }
        2 => Step::Unstructured { name: r.span()?, pieces: r.span()? },
        3 => Step::Structured { name: r.span()?, pieces: r.span()? },
        4 => Step::Mailboxes { name: r.span()?, mailboxes: r.span()? },
        5 => Step::RowNumber,
        6 => Step::Bytes { header: r.byte()? != 0, pieces: r.span()? },
        _ => return Err(ContentError::Damaged("a step is unknown")),
    })
}

fn decode_piece(r: &mut Reader<'_>) -> Result<Piece, ContentError> {
    Ok(match r.byte()? {
        0 => Piece::Literal(r.span()?),
        1 => {
            let flags = r.byte()?;
            let field = r.small()?;
            let default = if flags & 1 != 0 { Some(r.span()?) } else { None };
            Piece::Field { field, default, url: flags & 2 != 0, html: flags & 4 != 0 }
        }
        2 => Piece::Full(r.small()?),
        3 => Piece::Recipient { html: r.byte()? != 0 },
        _ => return Err(ContentError::Damaged("a piece is unknown")),
    })
}

/// Checks that every range and index points at something.
fn check(p: &Program) -> Result<(), ContentError> {
    let within = |span: Span, length: usize| {
        if span.range().end <= length { Ok(()) } else { Err(ContentError::Damaged("a range points outside")) }
    };
    let text = |span: Span| match p.text.get(span.range()) {
        Some(_) => Ok(()),
        None => Err(ContentError::Damaged("a range points outside the text")),
    };
    if p.fields.len() > MAX_FIELDS {
        return Err(ContentError::Damaged("too many fields"));
    }
    for step in &p.steps {
        match *step {
            Step::Raw(span) => within(span, p.raw.len())?,
            Step::Quoted { pieces, .. } | Step::Bytes { pieces, .. } => within(pieces, p.pieces.len())?,
            Step::Unstructured { name, pieces } | Step::Structured { name, pieces } => {
                text(name)?;
                within(pieces, p.pieces.len())?;
            }
            Step::Mailboxes { name, mailboxes } => {
                text(name)?;
                within(mailboxes, p.mailboxes.len())?;
            }
            Step::RowNumber => {}
        }
    }
    for mailbox in &p.mailboxes {
        within(mailbox.phrase, p.pieces.len())?;
        within(mailbox.address, p.pieces.len())?;
    }
    for piece in &p.pieces {
        match *piece {
            Piece::Literal(span) => text(span)?,
            Piece::Field { field, .. } if usize::from(field) >= p.fields.len() => {
                return Err(ContentError::Damaged("a piece names no field"));
            }
            Piece::Field { default, .. } => default.map_or(Ok(()), text)?,
            Piece::Full(index) if usize::from(index) >= p.sources.len() => {
                return Err(ContentError::Damaged("a piece names no template"));
            }
            Piece::Full(_) | Piece::Recipient { .. } => {}
        }
    }
    Ok(())
}

fn compile_sources(p: &mut Program) -> Result<(), ContentError> {
    if p.sources.is_empty() {
        return Ok(());
    }
    let mut jinja = Jinja::new();
    for (index, source) in p.sources.iter().enumerate() {
        jinja.add(index, source).map_err(|e| ContentError::Template(describe(&e)))?;
    }
    p.jinja = Some(jinja);
    Ok(())
}
