//! Messages made from bodies and attachments, read back by another reader.

use super::super::content::{Attached, Content, Fixed, Row, Syntax, Template, TemplateSource};
use mail_parser::{MessageParser, MimeHeaders};

fn compiled(attached: &[Attached<'_>]) -> Result<Vec<u8>, String> {
    let template = Template {
        source: TemplateSource::Parts { html: Some("<b>{{ n }}</b>"), text: Some("{{ n }}"), attached },
        headers: &[("From".to_owned(), "a@b.example".to_owned())],
        syntax: Syntax::Minijinja,
        fields: &[],
    };
    let content = Content::compile_open(&template, &Fixed::default()).map_err(|e| e[0].to_string())?;
    let mut out = Vec::new();
    let row = Row { to: "jim@site.example", number: 0, values: &["Jim"] };
    content.render(&row, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

#[test]
fn files_are_attached_and_pictures_stand_with_the_html() {
    let csv = b"{{ n }};1\r\n".repeat(20);
    let long = "M\u{fc}nchen \"quoted\" and longer than sixty bytes, so that it takes three pieces.csv";
    let message = compiled(&[
        Attached {
            content_type: "text/csv; charset=utf-8",
            file_name: Some(long),
            content_id: None,
            bytes: &csv,
        },
        Attached {
            content_type: "image/gif",
            file_name: None,
            content_id: Some("my-image"),
            bytes: b"GIF89a\0\xff",
        },
    ])
    .unwrap();
    assert!(message.is_ascii() && !message.split(|b| *b == b'\n').any(|line| line.len() > 80));
    let parsed = MessageParser::default().parse(&message).unwrap();
    let kinds: Vec<_> = parsed.parts.iter().filter_map(|part| part.content_type()?.subtype()).collect();
    assert_eq!(kinds, ["mixed", "related", "alternative", "plain", "html", "gif", "csv"]);
    assert_eq!(parsed.body_text(0).unwrap().trim_end(), "Jim");
    assert_eq!(parsed.body_html(0).unwrap().trim_end(), "<b>Jim</b>");
    let (gif, csv_part) = (&parsed.parts[5], &parsed.parts[6]);
    assert_eq!((gif.contents(), gif.content_id()), (&b"GIF89a\0\xff"[..], Some("my-image")));
    assert_eq!(
        (csv_part.contents(), csv_part.attachment_name()),
        (&csv[..], Some(long)),
        "nothing is merged"
    );
}

#[test]
fn what_would_break_a_header_is_refused() {
    let good = Attached { content_type: "image/gif", file_name: None, content_id: None, bytes: b"" };
    assert!(compiled(&[good]).is_ok());
    for bad in [
        Attached { content_type: "image", ..good },
        Attached { content_type: "image/gif\r\nBcc: x", ..good },
        Attached { content_type: "multipart/mixed", ..good },
        Attached { content_type: "message/rfc822", ..good },
        Attached { content_id: Some("a>b"), ..good },
        Attached { file_name: Some("a\r\nb"), ..good },
    ] {
        let told = compiled(&[good, bad]).unwrap_err();
        assert!(told.starts_with("attachment 2, line 1: "), "{told}");
    }
}
