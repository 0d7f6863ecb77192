//! Mail merge: each recipient gets the text with his own values in it and nothing else, as plain replacing would make it;
//! and no value, whatever is in it, adds a header or a line end of another kind.

use std::collections::HashMap;

use posthaste::ingest::merged::{Common, Filled, Text, join, variants};
use posthaste::mail::header::Header;
use posthaste::mail::merge::Before;
use posthaste::mail::row::row_view;
use posthaste::mail::{Content, Row};
use posthaste::smtp::dsn::RecipientDsn;
use posthaste::smtp::merge::{Merge, Part, part_argument};

use super::input::{Input, assert_printable, is_crlf_only};

const DATE: &str = "Mon, 23 Nov 2026 03:00:00 +0000";
const SENDER: &str = "bounce@news.example";

/// A byte of choices, the lines of two recipients, the numbers of two parts, and their texts.
pub fn merge(data: &[u8]) {
    let mut input = Input::new(data);
    let expand_undefined = input.flag();
    let mut merge = Merge::default();
    for to in ["ann@site.example", "bob@site.example"] {
        for line in input.string().lines() {
            if let Err(error) = merge.define(line, "", true) {
                assert_printable(&error.to_string());
                // A session would not take this recipient.
                merge.forget_open();
                return;
            }
        }
        merge.push(to, &RecipientDsn::default()).expect("there is room for two");
    }
    let mut message = Vec::new();
    for _ in 0..2 {
        let Some((number, _)) = part_argument(&input.string()).filter(|(n, _)| !merge.has_part(*n)) else {
            return;
        };
        message.extend_from_slice(input.string().replace(['\r', '\0'], "").replace('\n', "\r\n").as_bytes());
        merge.parts.push(Part { number, end: message.len() });
    }
    let before = Before { lines: b"X-Before: [name]\r\n", message_id: None };
    let common = Common { merge: &merge, before, sender: SENDER, date: DATE, expand_undefined, max_hops: 3 };
    let mut reached = 0;
    for variant in variants(&merge) {
        reached += variant.rows.len();
        let text = join(&merge, &message, variant.parts, "ann@site.example", 100_000);
        let compiled =
            text.and_then(|text| Text::compile(&common, &text, "ann@site.example").map(|made| (text, made)));
        let rows = compiled.and_then(|(text, made)| {
            made.rows(&merge, &variant, &mut Filled::new(&[0; 16])).map(|rows| (text, made, rows))
        });
        match rows {
            Err(error) => assert_printable(&error.to_string()),
            Ok((text, made, rows)) => {
                let mut wanted = variant.rows.iter();
                for record in rows {
                    let mut start = 0;
                    for end in &record.draft.ends {
                        let index = *wanted.next().expect("as many rows as recipients") as usize;
                        received(
                            &common,
                            &text,
                            &made.content,
                            index,
                            &record.draft.bytes[start..*end as usize],
                        );
                        start = *end as usize;
                    }
                }
                assert!(wanted.next().is_none());
            }
        }
    }
    assert_eq!(reached, merge.len(), "everybody is in one variant");
}

/// What a recipient gets, against what replacing makes of the text.
fn received(common: &Common<'_>, text: &[u8], content: &Content, index: usize, row: &[u8]) {
    let view = row_view(row).expect("a row");
    let values: Vec<&str> = view.values().map(|value| value.expect("a value")).collect();
    let row = Row { to: view.address, number: 0, values: &values };
    let mut stored = Vec::new();
    content.encode(&mut stored);
    let again = Content::decode(&stored).expect("stored content");
    let (mut out, mut second) = (Vec::new(), Vec::new());
    let rendered = content.render(&row, &mut out);
    assert_eq!(rendered, again.render(&row, &mut second));
    if let Err(error) = rendered {
        return assert_printable(&error.to_string());
    }
    assert_eq!(out, second);
    assert!(is_crlf_only(&out) && !out.contains(&0));
    assert!(out.is_ascii() || content.needs_8bit());
    let out = out.strip_prefix(b"X-Before: [name]\r\n").expect("it goes before");
    let replaced = replaced(common, std::str::from_utf8(text).expect("text"), index);
    assert_eq!(String::from_utf8_lossy(out), replaced);
    assert_eq!(names(out), names(text), "a header more or less: {replaced:?}");
}

fn names(message: &[u8]) -> Vec<Vec<u8>> {
    let header = Header::scan(message);
    header.fields().iter().map(|field| message[field.name.clone()].to_vec()).collect()
}

/// Said as plainly as possible.
fn replaced(common: &Common<'_>, text: &str, index: usize) -> String {
    let row = common.merge.row(index);
    let values: HashMap<u16, &str> = row.values().collect();
    let mut out = String::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('[') {
        out += literal;
        if let Some(after) = after.strip_prefix('[') {
            out.push('[');
            rest = after;
            continue;
        }
        let name = after.split_once(']').map(|(name, _)| name).filter(|name| {
            let bare = name.strip_prefix('*').unwrap_or(name);
            bare.starts_with(|c: char| c.is_ascii_alphabetic())
                && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        let Some(name) = name else {
            out.push('[');
            rest = after;
            continue;
        };
        let lower = name.to_ascii_lowercase();
        let defined = common.merge.number(name).and_then(|number| values.get(&number).copied());
        match (lower.as_str(), defined) {
            ("*to", _) => out += row.address,
            ("*date", _) => out += DATE,
            (_, Some(value)) => out += value,
            ("*from", None) => out += SENDER,
            (_, None) if common.expand_undefined => {}
            // Whose name is reserved is written as we know it, once somebody has defined it.
            (lower, None) if lower.starts_with('*') && common.merge.number(lower).is_some() => {
                out += &format!("[{lower}]");
            }
            (_, None) => out += &format!("[{name}]"),
        }
        rest = &after[name.len() + 1..];
    }
    out + rest
}
