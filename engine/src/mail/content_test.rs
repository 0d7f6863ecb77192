//! Templates become messages: what is merged, what is kept, what is refused.

use super::*;
use crate::mail::fault::TemplateProblem;
use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

fn fixed() -> Fixed {
    Fixed {
        date: "Mon, 23 Nov 2026 03:00:00 +0000".into(),
        submission_id: 0xabc,
        host: "mail.example".into(),
        sender: "bounce@news.example".into(),
    }
}

fn names(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|f| f.to_string()).collect()
}

fn headers(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
}

fn compile_with(
    source: TemplateSource<'_>,
    list: &[(&str, &str)],
    syntax: Syntax,
    fields: &[&str],
) -> Result<Content, Vec<TemplateError>> {
    let (headers, fields) = (headers(list), names(fields));
    Content::compile(&Template { source, headers: &headers, syntax, fields: &fields }, &fixed())
}

fn eml(raw: &str, fields: &[&str]) -> Result<Content, Vec<TemplateError>> {
    compile_with(TemplateSource::Eml(raw.as_bytes()), &[], Syntax::Minijinja, fields)
}

fn render(content: &Content, values: &[&str]) -> Result<String, RenderError> {
    let mut out = Vec::new();
    content.render(&Row { to: "ann@example.com", number: 255, values }, &mut out)?;
    let found = survey(&out);
    assert!(!found.unclean, "bare line ends in {out:?}");
    assert!(found.longest_line <= 998);
    Ok(String::from_utf8(out).expect("utf-8"))
}

fn problems(result: Result<Content, Vec<TemplateError>>) -> Vec<String> {
    result.expect_err("must be refused").iter().map(ToString::to_string).collect()
}

const SIMPLE: &str = "From: News <news@news.example>\nSubject: Hello {{ name }}\n\nDear {{ name }},\n\nbye\n";

#[test]
fn a_small_template_becomes_a_whole_message() {
    let content = eml(SIMPLE, &["id", "name"]).expect("compiles");
    assert_eq!(content.fields(), ["name"]);
    assert_eq!(
        render(&content, &["Ann"]).expect("renders"),
        "From: News <news@news.example>\r\n\
        Subject: Hello Ann\r\n\
        Date: Mon, 23 Nov 2026 03:00:00 +0000\r\n\
        Message-ID: <abc.ff@mail.example>\r\n\
        To: ann@example.com\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\
        \r\n\
        Dear Ann,\r\n\r\nbye\r\n"
    );
    assert!(!content.needs_8bit() && !content.needs_smtputf8() && !content.is_plain());
}
