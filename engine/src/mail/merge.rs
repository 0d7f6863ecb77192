//! Text with `[name]` in it whose values are put in as they are, byte for byte: mail merge over SMTP and batch SMTP
//! (reference 6.4). Nothing is encoded, since nothing is known of the structure that the parts make.

use super::content::{Body, Content, MAX_FIELDS};
use super::header::Header;
use super::program::{Piece, Program, Span, Step};
use super::tags::pmta_name;
use std::collections::HashMap;
use thiserror::Error;

/// Places where values go into one text.
const MAX_PLACES: usize = 100_000;

/// What stands for a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The same for everybody.
    Text(String),
    /// The envelope recipient.
    Recipient,
    /// A value of the row: the field called so.
    Field(String),
}

/// Why text cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MergeError {
    #[error(
        "line {line}: [{name}] stands before the colon of a header; a value must not become a header of its own"
    )]
    InName { line: usize, name: String },
    #[error("line {line} is neither a header (`Name: value`) nor the empty line that ends the headers")]
    NotAHeader { line: usize },
    #[error("the message has no From header")]
    NoFrom,
    #[error("the message has a second {0} header; there may be one")]
    Second(&'static str),
    #[error("more than {MAX_FIELDS} different variables")]
    ManyFields,
    #[error("variables stand in more than {MAX_PLACES} places")]
    ManyPlaces,
}

/// What goes before the text, and is no part of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before<'a> {
    /// Header lines.
    pub lines: &'a [u8],
    /// Left and right side of a Message-ID that is put on top where there is none; the number of the row goes between.
    pub message_id: Option<(&'a str, &'a str)>,
}

/// Compiles `text`: CR LF lines, control headers taken out. `means` says what stands for each name, as it is written.
/// `fields` are there whether the text uses them or not; `eight_bit` says whether values are beyond ASCII.
///
/// # Errors
/// When the header could not be told from what values make of it, or is none that receivers take.
pub fn compile(
    before: Before<'_>,
    text: &[u8],
    fields: &[&str],
    eight_bit: bool,
    means: impl FnMut(&str) -> Meaning,
) -> Result<Content, MergeError> {
    let header = Header::scan(text);
    check_header(&header)?;
    let mut compiler = Compiler { program: Program::default(), numbers: HashMap::new(), copied: 0, means };
    for field in fields {
        compiler.field((*field).to_owned())?;
    }
    if let (Some((left, right)), None) = (before.message_id, header.find("Message-ID")) {
        compiler.program.raw.extend_from_slice(format!("Message-ID: <{left}.").as_bytes());
        compiler.step(Step::RowNumber);
        compiler.program.raw.extend_from_slice(format!("@{right}>\r\n").as_bytes());
    }
    compiler.program.raw.extend_from_slice(before.lines);
    compiler.text(text, header.end())?;
    compiler.flush();
    let mut program = compiler.program;
    program.eight_bit = eight_bit || !program.raw.is_ascii();
    program.copies_values = true;
    program.size = u32::try_from(program.trial().0).unwrap_or(u32::MAX);
    Ok(Content { body: Body::Merged(Box::new(program)) })
}

/// Two of a header that is there once, or none of the one that has to be, confuse whoever signs or checks (A35).
fn check_header(header: &Header<'_>) -> Result<(), MergeError> {
    if let Some(other) = header.fields().iter().find(|field| field.name.is_empty()) {
        return Err(MergeError::NotAHeader { line: other.line });
    }
    if header.find("From").is_none() {
        return Err(MergeError::NoFrom);
    }
    match ["From", "Subject"].into_iter().find(|name| header.all(name).count() > 1) {
        Some(name) => Err(MergeError::Second(name)),
        None => Ok(()),
    }
}

struct Compiler<M> {
    program: Program,
    /// Of its fields.
    numbers: HashMap<String, u16>,
    /// Where `raw` begins that no step copies yet.
    copied: usize,
    means: M,
}

impl<M: FnMut(&str) -> Meaning> Compiler<M> {
    /// `body`: where the header of the text ends.
    fn text(&mut self, text: &[u8], body: usize) -> Result<(), MergeError> {
        let mut from = 0;
        let mut at = 0;
        while let Some(open) = memchr::memchr(b'[', &text[at..]).map(|n| at + n) {
            at = open + 1;
            if text.get(at) == Some(&b'[') {
                self.program.raw.extend_from_slice(&text[from..at]);
                at += 1;
                from = at;
            } else if let Some((name, end)) = pmta_name(text, at) {
                let header = open < body;
                if header && is_in_name(&text[..open]) {
                    let line = memchr::memchr_iter(b'\n', &text[..open]).count() + 1;
                    return Err(MergeError::InName { line, name: name.to_owned() });
                }
                self.program.raw.extend_from_slice(&text[from..open]);
                self.variable(name, header)?;
                (from, at) = (end, end);
            }
        }
        self.program.raw.extend_from_slice(&text[from..]);
        Ok(())
    }

    fn variable(&mut self, name: &str, header: bool) -> Result<(), MergeError> {
        let piece = match (self.means)(name) {
            Meaning::Text(text) => {
                self.program.raw.extend_from_slice(text.as_bytes());
                return Ok(());
            }
            Meaning::Recipient => Piece::Recipient { html: false },
            Meaning::Field(name) => {
                let field = self.field(name)?;
                Piece::Field { field, default: None, url: false, html: false }
            }
        };
        let at = self.program.pieces.len();
        if at == MAX_PLACES {
            return Err(MergeError::ManyPlaces);
        }
        self.program.pieces.push(piece);
        self.step(Step::Bytes { header, pieces: span(at, at + 1) });
        Ok(())
    }

    fn field(&mut self, name: String) -> Result<u16, MergeError> {
        if let Some(known) = self.numbers.get(&name) {
            return Ok(*known);
        }
        let number = self.program.fields.len();
        if number == MAX_FIELDS {
            return Err(MergeError::ManyFields);
        }
        self.program.fields.push(name.clone());
        self.numbers.insert(name, number as u16);
        Ok(number as u16)
    }

    fn step(&mut self, step: Step) {
        self.flush();
        self.program.steps.push(step);
    }

    fn flush(&mut self) {
        let copied = std::mem::replace(&mut self.copied, self.program.raw.len());
        if copied < self.copied {
            self.program.steps.push(Step::Raw(span(copied, self.copied)));
        }
    }
}

/// Whether what follows `text` stands in the name of a header, or in its place.
fn is_in_name(text: &[u8]) -> bool {
    let line = memchr::memrchr(b'\n', text).map_or(0, |n| n + 1);
    !text[line..].starts_with(b" ") && !text[line..].starts_with(b"\t") && !text[line..].contains(&b':')
}

fn span(from: usize, to: usize) -> Span {
    let fits = |n: usize| u32::try_from(n).expect("what a client sends is bounded well below 4 GiB");
    Span { at: fits(from), len: fits(to - from) }
}

#[cfg(test)]
#[path = "merge_test.rs"]
mod test;
