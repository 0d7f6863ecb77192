//! Templates and rows for the tests, compiled and rendered in one call.

use super::content::*;
use super::fault::{RenderError, TemplateError};
use super::lines::survey;

pub(super) fn fixed() -> Fixed {
    Fixed {
        date: "Mon, 23 Nov 2026 03:00:00 +0000".into(),
        submission_id: 0xabc,
        host_id: 0,
        dated_later: false,
        host: "mail.example".into(),
        sender: "bounce@news.example".into(),
    }
}

pub(super) fn names(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|f| f.to_string()).collect()
}

pub(super) fn headers(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
}

pub(super) fn compile_with(
    source: TemplateSource<'_>,
    list: &[(&str, &str)],
    syntax: Syntax,
    fields: &[&str],
) -> Result<Content, Vec<TemplateError>> {
    let (headers, fields) = (headers(list), names(fields));
    Content::compile(&Template { source, headers: &headers, syntax, fields: &fields }, &fixed())
}

pub(super) fn eml(raw: &str, fields: &[&str]) -> Result<Content, Vec<TemplateError>> {
    compile_with(TemplateSource::Eml(raw.as_bytes()), &[], Syntax::Minijinja, fields)
}

pub(super) fn render(content: &Content, values: &[&str]) -> Result<String, RenderError> {
    let mut out = Vec::new();
    content.render(&Row { to: "ann@example.com", number: 255, values }, &mut out)?;
    let found = survey(&out);
    assert!(!found.unclean, "bare line ends in {out:?}");
    assert!(found.longest_line <= 998);
    Ok(String::from_utf8(out).expect("utf-8"))
}

pub(super) fn problems(result: Result<Content, Vec<TemplateError>>) -> Vec<String> {
    result.expect_err("must be refused").iter().map(ToString::to_string).collect()
}
