//! Which fields a content uses in headers: intake refuses rows that hold a line break there (A30), instead of failing
//! at delivery.

use super::content::{Body, Content};
use super::program::{Piece, Program, Span, Step};

impl Content {
    /// For each of [`Content::fields`], whether a header uses it.
    pub fn fields_in_headers(&self) -> Vec<bool> {
        let Body::Merged(program) = &self.body else { return Vec::new() };
        let mut used = vec![false; program.fields.len()];
        for step in &program.steps {
            match *step {
                Step::Unstructured { pieces, .. }
                | Step::Structured { pieces, .. }
                | Step::Bytes { header: true, pieces } => {
                    mark(program, pieces, &mut used);
                }
                Step::Mailboxes { mailboxes, .. } => {
                    for mailbox in &program.mailboxes[mailboxes.range()] {
                        mark(program, mailbox.phrase, &mut used);
                        mark(program, mailbox.address, &mut used);
                    }
                }
                Step::Raw(_) | Step::Quoted { .. } | Step::RowNumber | Step::Bytes { header: false, .. } => {}
            }
        }
        used
    }
}

fn mark(program: &Program, pieces: Span, used: &mut [bool]) {
    for piece in &program.pieces[pieces.range()] {
        match *piece {
            Piece::Field { field, .. } => used[field as usize] = true,
            Piece::Full(index) => {
                let (index, html) = (index as usize, program.sources[index as usize].html);
                let variables =
                    program.jinja.as_ref().map(|jinja| jinja.variables(index, html)).unwrap_or_default();
                for (field, used) in program.fields.iter().zip(used.iter_mut()) {
                    *used |= variables.contains(field);
                }
            }
            Piece::Literal(_) | Piece::Recipient { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::{Fixed, Syntax, Template, TemplateSource};
    use super::*;

    #[test]
    fn fields_of_headers_are_told_from_those_of_bodies() {
        let fields = ["first", "last", "title", "mail", "text", "unused"].map(str::to_owned);
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = [
            header("From", "\"{{ last }}\" <{{ mail }}>"),
            header("Subject", "{% if first %}Dear {{ title }}{% endif %}"),
        ];
        let template = Template {
            source: TemplateSource::Parts { html: None, text: Some("{{ text }} {{ first }}"), attached: &[] },
            headers: &headers,
            syntax: Syntax::Minijinja,
            fields: &fields,
        };
        let content = Content::compile(&template, &Fixed::default()).unwrap();
        let used: Vec<_> = content.fields().iter().zip(content.fields_in_headers()).collect();
        let expected = [("first", true), ("last", true), ("title", true), ("mail", true), ("text", false)];
        assert_eq!(used.len(), expected.len());
        for ((name, in_header), expected) in used.into_iter().zip(expected) {
            assert_eq!((name.as_str(), in_header), expected);
        }
        assert!(Content::plain(b"From: a@x.example\r\n\r\n".to_vec()).fields_in_headers().is_empty());
    }
}
