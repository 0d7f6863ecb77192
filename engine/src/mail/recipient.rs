//! The column with the addresses, used in a template: its value is the recipient's address, which every row holds anyway,
//! so that it need not be stored a second time.

use super::content::{Body, Content};
use super::program::Piece;

impl Content {
    /// Writes the recipient wherever `field` is used, and uses the field no longer. Where the template does more with it
    /// than write it, the field stays.
    pub fn take_recipient_for(&mut self, field: &str) {
        let Body::Merged(program) = &mut self.body else { return };
        let Some(at) = program.fields.iter().position(|name| name == field) else { return };
        let encoded = |piece: &Piece| matches!(*piece, Piece::Field { field, url: true, .. } if usize::from(field) == at);
        if !program.sources.is_empty() || program.pieces.iter().any(encoded) {
            return;
        }
        program.fields.remove(at);
        for piece in &mut program.pieces {
            if let Piece::Field { field, html, .. } = piece {
                match usize::from(*field) {
                    same if same == at => *piece = Piece::Recipient { html: *html },
                    later if later > at => *field -= 1,
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::{Fixed, Row, Syntax, Template, TemplateSource};
    use super::*;

    fn content(text: &str) -> Content {
        let template = Template {
            source: TemplateSource::Parts { html: None, text: Some(text), attached: &[] },
            headers: &[("From".to_owned(), "a@b.example".to_owned())],
            syntax: Syntax::Minijinja,
            fields: &["first", "mail", "last"].map(str::to_owned),
        };
        let mut content = Content::compile(&template, &Fixed::default()).expect("compiles");
        content.take_recipient_for("mail");
        content
    }

    fn rendered(content: &Content, values: &[&str]) -> String {
        let mut out = Vec::new();
        let row = Row { to: "jim@site.example", number: 0, values };
        content.render(&row, &mut out).expect("renders");
        String::from_utf8(out).expect("text").trim_end().to_owned()
    }

    #[test]
    fn the_address_is_no_value_of_its_own() {
        let content = content("{{ last }}, {{ first }}: {{ mail }}");
        assert_eq!(content.fields(), ["first", "last"]);
        assert!(rendered(&content, &["Jim", "Fox"]).ends_with("Fox, Jim: jim@site.example"));
    }

    #[test]
    fn it_stays_one_where_more_is_done_with_it() {
        let url = content("{{ last }} {{ mail|urlencode }}");
        assert_eq!(url.fields(), ["mail", "last"]);
        assert!(rendered(&url, &["a b@c", "Fox"]).ends_with("Fox a%20b%40c"));
        let full = content("{% if mail %}{{ mail|upper }}{% endif %}");
        assert_eq!(full.fields(), ["mail"]);
        assert!(rendered(&full, &["x@y"]).ends_with("X@Y"));
    }
}
