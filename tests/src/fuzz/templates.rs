//! Merging: the same row gives the same bytes, now and after the content was stored; and no value, whatever is in it, adds
//! a header, a part, or a line end of another kind.

use mail_parser::MessageParser;
use posthaste::mail::header::Header;
use posthaste::mail::lines::survey;
use posthaste::mail::{Content, Fixed, Row, Syntax, Template, TemplateSource};

use super::input::{Input, assert_printable, is_crlf_only};

const FIELDS: [&str; 4] = ["name", "email", "n", "html"];

pub fn merge(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let first = input.text();
    let second = input.string();
    let fields = FIELDS.map(str::to_owned);
    let headers = [("From", "{{ name }} <a@news.example>"), ("Subject", "Hello {{ name }}")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let text = String::from_utf8_lossy(first);
    let (source, headers) = match choice & 3 {
        0 => (TemplateSource::Parts { html: Some(&text), text: Some(&second), attached: &[] }, &headers[..]),
        1 => (TemplateSource::Parts { html: None, text: Some(&text), attached: &[] }, &headers[..]),
        _ => (TemplateSource::Eml(first), &[][..]),
    };
    let syntax = if choice & 4 == 0 { Syntax::Minijinja } else { Syntax::Pmta };
    let fixed = Fixed {
        date: "Mon, 23 Nov 2026 03:00:00 +0000".into(),
        submission_id: 7,
        host_id: 0,
        dated_later: false,
        host: "mx.example".into(),
        sender: "bounce@news.example".into(),
    };
    let content = match Content::compile(&Template { source, headers, syntax, fields: &fields }, &fixed) {
        Ok(content) => content,
        Err(errors) => {
            assert!(!errors.is_empty());
            return errors.iter().for_each(|error| assert_printable(&error.to_string()));
        }
    };
    let mut stored = Vec::new();
    content.encode(&mut stored);
    let again = Content::decode(&stored).expect("stored content");
    let values: Vec<String> = content.fields().iter().map(|_| input.string()).collect();
    let plain: Vec<String> = content.fields().iter().map(|_| "x".to_owned()).collect();
    let hostile = rendered(&content, &values);
    assert_eq!(hostile, rendered(&content, &values), "twice");
    assert_eq!(hostile, rendered(&again, &values), "after it was stored");
    if let (Some(hostile), Some(plain)) = (hostile, rendered(&content, &plain)) {
        assert_eq!(structure(&hostile), structure(&plain), "{:?}", String::from_utf8_lossy(&hostile));
    }
}

fn rendered(content: &Content, values: &[String]) -> Option<Vec<u8>> {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut out = b"before".to_vec();
    let row = Row { to: "ann@site.example", number: 255, values: &values };
    if let Err(error) = content.render(&row, &mut out) {
        assert_eq!(out, b"before");
        assert_printable(&error.to_string());
        return None;
    }
    let message = out.split_off(6);
    assert!(is_crlf_only(&message) && !message.contains(&0));
    assert!(survey(&message).longest_line <= 998);
    assert!(message.is_ascii() || content.needs_8bit() || content.needs_smtputf8());
    Some(message)
}

/// The names of the headers, and how many parts there are.
fn structure(message: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let header = Header::scan(message);
    let names = header.fields().iter().map(|field| message[field.name.clone()].to_vec()).collect();
    (names, MessageParser::default().parse(message).map_or(0, |parsed| parsed.parts.len()))
}
