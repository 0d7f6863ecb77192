//! Text with variables, and what becomes of it.

use super::*;
use crate::mail::{RenderError, Row};
use proptest::prelude::*;

const HEAD: &str = "From: a@x.example\r\nSubject: Hi [Name]\r\n\r\n";

/// Names in upper case are fields, `to` is the recipient, all others are written in angle brackets.
fn means(name: &str) -> Meaning {
    match name {
        "*to" => Meaning::Recipient,
        name if name.starts_with(|c: char| c.is_ascii_uppercase()) => {
            Meaning::Field(name.to_ascii_lowercase())
        }
        name => Meaning::Text(format!("<{name}>")),
    }
}

fn compiled(text: &str) -> Result<Content, MergeError> {
    compile(Before::default(), text.as_bytes(), &[], false, means)
}

fn rendered(content: &Content, values: &[&str]) -> Result<String, RenderError> {
    let mut out = Vec::new();
    content.render(&Row { to: "r@x.example", number: 255, values }, &mut out)?;
    // Stored and read again, it says the same.
    let (mut stored, mut again) = (Vec::new(), Vec::new());
    content.encode(&mut stored);
    let read = Content::decode(&stored).expect("a content");
    read.render(&Row { to: "r@x.example", number: 255, values }, &mut again)?;
    assert_eq!(out, again);
    Ok(String::from_utf8(out).expect("text"))
}

fn body(text: &str, values: &[&str]) -> String {
    let content = compiled(&format!("From: a@x.example\r\n\r\n{text}")).expect(text);
    rendered(&content, values).expect(text)[21..].to_owned()
}

#[test]
fn values_are_put_in_as_they_are() {
    let content = compiled(&format!("{HEAD}Dear [NAME] <[*to]>,\r\n[note]\r\n")).unwrap();
    assert_eq!(content.fields(), ["name"]);
    assert_eq!(content.fields_in_headers(), [true]);
    assert!(!content.is_plain() && !content.needs_8bit());
    assert_eq!(
        rendered(&content, &["J. <b>"]).unwrap(),
        "From: a@x.example\r\nSubject: Hi J. <b>\r\n\r\nDear J. <b> <r@x.example>,\r\n<note>\r\n"
    );
}

#[test]
fn brackets() {
    for (text, expected) in [
        ("[[", "["),
        ("[[]", "[]"),
        ("[[x]", "[x]"),
        ("[[[X]", "[1"),
        ("a]b", "a]b"),
        ("[", "["),
        ("[]", "[]"),
        ("[a b] [1] [-] [a", "[a b] [1] [-] [a"),
        ("[X][X]", "11"),
        ("[x]", "<x>"),
        ("[*date]", "<*date>"),
        ("[**x]", "[**x]"),
    ] {
        let values: &[&str] = if text.contains("[X]") { &["1"] } else { &[] };
        assert_eq!(body(text, values), expected, "{text}");
    }
}

#[test]
fn a_value_makes_no_header() {
    let content = compiled(&format!("{HEAD}[Note]\r\n")).unwrap();
    assert_eq!(content.fields(), ["name", "note"]);
    assert!(rendered(&content, &["x", "one\r\ntwo"]).unwrap().ends_with("one\r\ntwo\r\n"));
    for value in ["x\r\nBcc: b@x.example", "x\r\n\r\nbody", "x\n", "x\r", "x\0"] {
        let error = rendered(&content, &[value, ""]).unwrap_err();
        assert!(matches!(&error, RenderError::Injection { field, .. } if field == "name"), "{error}");
    }
    for head in ["[X]: 1", "X-[X]: 1", "[X]", "[x]Subject: s"] {
        let error = compiled(&format!("From: a@x.example\r\n{head}\r\n\r\n")).unwrap_err().to_string();
        assert!(error.starts_with("line 2"), "{head}: {error}");
    }
    // On a continuation line there is no name.
    assert!(compiled("From: a@x.example\r\nSubject: a\r\n [X]\r\n\r\n").is_ok());
}

#[test]
fn what_could_not_leave_is_refused_for_its_recipient() {
    let content = compiled("From: a@x.example\r\n\r\n[X]\r\n").unwrap();
    let long = "x".repeat(999);
    assert_eq!(rendered(&content, &[&long]), Err(RenderError::LineTooLong { octets: 999 }));
    assert!(rendered(&content, &[&long[1..]]).is_ok());
    assert_eq!(rendered(&content, &["a\0"]), Err(RenderError::Unclean));
}

#[test]
fn headers_that_confuse_are_refused() {
    for (text, said) in [
        ("Subject: x\r\n\r\n", "the message has no From header"),
        ("From: a\r\nfrom: b\r\n\r\n", "the message has a second From header; there may be one"),
        (
            "From: a\r\nSubject: b\r\nSubject: c\r\n\r\n",
            "the message has a second Subject header; there may be one",
        ),
        (
            "From: a\r\nhello\r\n\r\n",
            "line 2 is neither a header (`Name: value`) nor the empty line that ends the headers",
        ),
        ("", "the message has no From header"),
    ] {
        assert_eq!(compiled(text).unwrap_err().to_string(), said, "{text:?}");
    }
}

#[test]
fn places_and_fields_are_bounded() {
    let text = |name: &dyn Fn(usize) -> String, count| {
        let places: String = (0..count).map(|n| format!("[{}]\r\n", name(n))).collect();
        compiled(&format!("From: a\r\n\r\n{places}")).map(|content| content.fields().len())
    };
    assert_eq!(text(&|_| "X".to_owned(), MAX_PLACES), Ok(1));
    assert_eq!(text(&|_| "X".to_owned(), MAX_PLACES + 1), Err(MergeError::ManyPlaces));
    assert_eq!(text(&|n| format!("X{n}"), MAX_FIELDS), Ok(MAX_FIELDS));
    assert_eq!(text(&|n| format!("X{n}"), MAX_FIELDS + 1), Err(MergeError::ManyFields));
}

#[test]
fn what_goes_before() {
    let before = Before { lines: b"Received: from [x] by [X]\r\n", message_id: Some(("1a", "mx.example")) };
    let content = compile(before, b"From: a\r\n\r\n", &[], true, means).unwrap();
    assert!(content.needs_8bit());
    // Our own lines are not the client's to merge.
    assert_eq!(
        rendered(&content, &[]).unwrap(),
        "Message-ID: <1a.ff@mx.example>\r\nReceived: from [x] by [X]\r\nFrom: a\r\n\r\n"
    );
    let own = compile(before, b"From: a\r\nmessage-id: <[x]@y>\r\n\r\n", &["unused"], false, means).unwrap();
    assert!(rendered(&own, &["v"]).unwrap().starts_with("Received:"));
}

#[test]
fn bytes_that_are_no_text_stay() {
    let content =
        compile(Before::default(), b"From: a\r\n\r\n\xff[X]\xfe[\xfd]\r\n", &[], false, means).unwrap();
    let mut out = Vec::new();
    content.render(&Row { to: "r@x.example", number: 0, values: &["v"] }, &mut out).unwrap();
    assert_eq!(out, b"From: a\r\n\r\n\xffv\xfe[\xfd]\r\n");
    assert!(content.needs_8bit());
}

proptest! {
    #[test]
    fn merging_is_replacing(pieces in prop::collection::vec(("[a-z \r\n]{0,9}", any::<bool>()), 0..9), value in "[^\r\n\0]{0,30}") {
        let mut text = String::new();
        let mut expected = String::new();
        for (literal, variable) in &pieces {
            let literal = literal.replace(['\r', '\n'], "\r\n");
            text += &literal;
            expected += &literal;
            if *variable {
                text += "[V]";
                expected += &value;
            }
        }
        let values: &[&str] = if text.contains("[V]") { &[&value] } else { &[] };
        prop_assert_eq!(body(&text, values), expected);
    }
}
