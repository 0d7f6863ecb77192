//! Recipients put together, and the rows they become.

use super::*;
use crate::mail::Row;
use crate::mail::row::row_view;
use crate::smtp::dsn::RecipientDsn;
use crate::smtp::merge::Part;
use crate::smtp::refused::RefusedRecipient;

fn merge(recipients: &[(&str, &str)]) -> Merge {
    let mut merge = Merge::default();
    for (to, definitions) in recipients {
        if !definitions.is_empty() {
            merge.define(definitions, "", false).expect(definitions);
        }
        merge.push(to, &RecipientDsn::default()).expect("room");
    }
    merge
}

fn common(merge: &Merge) -> Common<'_> {
    Common {
        merge,
        before: Before::default(),
        sender: "bounce@x.example",
        date: "Mon, 23 Nov 2026 03:00:00 +0000",
        expand_undefined: true,
        max_hops: 5,
    }
}

/// What each recipient gets.
fn messages(common: &Common<'_>, text: &str) -> Result<Vec<String>, MergedError> {
    let text = Text::compile(common, text.as_bytes(), "first@x.example")?;
    let rows = (0..common.merge.len() as u32).collect();
    let variant = Variant {
        parts: None,
        job: None,
        envid: None,
        virtual_mta: None,
        schedule: None,
        priority: None,
        refused: false,
        rows,
    };
    let records = text.rows(common.merge, &variant, &mut Filled::new(&[1; 16]))?;
    let mut messages = Vec::new();
    let mut start = 0;
    for record in &records {
        for end in &record.draft.ends {
            let row = row_view(&record.draft.bytes[start..*end as usize]).expect("a row");
            start = *end as usize;
            let values: Vec<&str> = row.values().map(|value| value.expect("a value")).collect();
            let mut out = Vec::new();
            text.content
                .render(&Row { to: row.address, number: 0, values: &values }, &mut out)
                .expect("a message");
            messages.push(String::from_utf8(out).expect("text"));
        }
    }
    Ok(messages)
}

#[test]
fn who_gets_the_same_is_put_together() {
    let merge = merge(&[
        ("a@x.example", "n=1 *jobid=j *parts=1-2"),
        ("b@x.example", "n=2"),
        ("c@x.example", "*jobid=j n=3 *parts=\"1,2\""),
        ("d@x.example", "*from=\"\""),
        ("e@x.example", "*vmta=v *envid=e"),
    ]);
    let found = variants(&merge);
    let rows: Vec<_> = found.iter().map(|variant| variant.rows.clone()).collect();
    // A sender of one's own is a value like others.
    assert_eq!(rows, [vec![0, 2], vec![1, 3], vec![4]]);
    assert_eq!((found[0].parts, found[0].job), (Some("1,2"), Some("j")));
    assert_eq!((found[1].parts, found[1].job), (None, None));
    assert_eq!((found[2].virtual_mta, found[2].envid), (Some("v"), Some("e")));
}

#[test]
fn parts_are_joined_in_the_order_asked_for() {
    let mut merge = merge(&[("a@x.example", "")]);
    merge.parts = vec![Part { number: 3, end: 5 }, Part { number: 1, end: 9 }, Part { number: 2, end: 9 }];
    let joined =
        |parts| join(&merge, b"thirdone.", parts, "a@x.example", 14).map(|t| String::from_utf8(t).unwrap());
    assert_eq!(joined(None).unwrap(), "one.third");
    assert_eq!(joined(Some("3,1")).unwrap(), "thirdone.");
    assert_eq!(joined(Some("2")).unwrap(), "");
    assert_eq!(joined(Some("3,1,3")).unwrap(), "thirdone.third");
    assert_eq!(
        joined(Some("1,4")).unwrap_err().to_string(),
        "*parts of <a@x.example> names part 4, which did not come"
    );
    assert_eq!(
        joined(Some("3,3,3")).unwrap_err().to_string(),
        "the message is 15 bytes long with the parts of <a@x.example>; at most 14 are allowed"
    );
}

#[test]
fn everybody_gets_his_own_values() {
    let merge = merge(&[
        ("a@x.example", "Name=Ann *from=f@x.example unused=1"),
        ("b@y.example", "NAME=\"Bob\""),
        ("c@x.example", ""),
    ]);
    let text = "From: [*from]\r\nTo: [*TO]\r\nDate: [*date]\r\n\r\nHi [name], [missing][[x]\r\n";
    let date = "Date: Mon, 23 Nov 2026 03:00:00 +0000";
    let expected =
        [("f", "a@x", "Ann"), ("bounce", "b@y", "Bob"), ("bounce", "c@x", "")].map(|(from, to, name)| {
            format!("From: {from}@x.example\r\nTo: {to}.example\r\n{date}\r\n\r\nHi {name}, [x]\r\n")
        });
    assert_eq!(messages(&common(&merge), text).unwrap(), expected);
    let untouched = Common { expand_undefined: false, ..common(&merge) };
    let expected = [("Ann", "Ann"), ("Bob", "Bob"), ("[name]", "[NAME]")]
        .map(|(name, other)| format!("From: x\r\n\r\n{name} {other} [Missing] [*vmta]\r\n"));
    assert_eq!(messages(&untouched, "From: x\r\n\r\n[name] [NAME] [Missing] [*vmta]\r\n").unwrap(), expected);
}

#[test]
fn a_line_break_in_the_header_refuses_the_message_by_name() {
    let merge = merge(&[("a@x.example", "n=1"), ("b@x.example", r#"n="1\r\nBcc: c@x.example""#)]);
    let error = messages(&common(&merge), "From: x\r\nSubject: [N]\r\n\r\n").unwrap_err();
    assert_eq!(error.to_string(), "<b@x.example>: n has a line break and stands in the header");
    assert!(messages(&common(&merge), "From: x\r\n\r\n[N]\r\n").is_ok());
}

#[test]
fn headers_are_bounded() {
    let merge = merge(&[("a@x.example", "")]);
    let text = format!("{}From: x\r\n\r\n", "Received: x\r\n".repeat(6));
    assert_eq!(messages(&common(&merge), &text), Err(MergedError::Hops));
    let text = format!("From: x\r\n{}\r\n", "X-Long: xxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(4000));
    assert_eq!(messages(&common(&merge), &text), Err(MergedError::LongHeader));
}

#[test]
fn many_recipients_are_few_records_of_rows() {
    let mut merge = Merge::default();
    for n in 0..3000 {
        merge.define(&format!("n={n}"), "", false).unwrap();
        merge.push(&format!("r{n}@d{}.example", n % 7), &RecipientDsn::default()).unwrap();
    }
    let found = variants(&merge);
    assert_eq!(found.len(), 1);
    let text = Text::compile(&common(&merge), b"From: x\r\n\r\n[n]\r\n", "r0@x.example").unwrap();
    let mut filled = Filled { next_row: 5, ..Filled::new(&[1; 16]) };
    let records = text.rows(&merge, &found[0], &mut filled).unwrap();
    assert_eq!((filled.next_row, filled.domains.len()), (3005, 7));
    let counted: Vec<_> =
        records.iter().map(|r| (r.draft.first_row, r.draft.ends.len(), r.domains.len())).collect();
    assert_eq!(counted, [(5, 1024, 1024), (1029, 1024, 1024), (2053, 952, 952)]);
}

/// One who defines much, and many who define nothing: every row would have thousands of empty values.
#[test]
fn what_would_be_stored_is_bounded() {
    let mut merge = Merge::default();
    let mut text = String::from("From: x\r\n\r\n");
    for n in 0..4000 {
        merge.define(&format!("a{n}="), "", false).unwrap();
        text += &format!("[a{n}]\r\n");
    }
    (0..20_000).for_each(|n| merge.push(&format!("r{n}@x.example"), &RecipientDsn::default()).unwrap());
    let found = variants(&merge);
    let text = Text::compile(&common(&merge), text.as_bytes(), "r0@x.example").unwrap();
    let error = text.rows(&merge, &found[0], &mut Filled::new(&[1; 16])).unwrap_err();
    assert_eq!(error, MergedError::ManyBytes);
}

#[test]
fn texts_are_counted() {
    let names: Vec<String> = (0..=MAX_TEXTS).map(|n| n.to_string()).collect();
    let mut texts = Texts::default();
    for (n, name) in names.iter().take(MAX_TEXTS).enumerate() {
        assert_eq!(texts.number(Some(name)), Ok((n, true)));
        assert_eq!(texts.number(Some(name)), Ok((n, false)));
    }
    assert_eq!(texts.number(Some(&names[MAX_TEXTS])), Err(MergedError::ManyTexts));
    texts.grow(MAX_TEXT_BYTES - 5);
    assert_eq!((texts.room(3), texts.room(99)), (3, 5));
}

#[test]
fn who_bounces_is_apart_and_no_text_has_why() {
    let mut merge = merge(&[("a@x.example", "n=1")]);
    let why = address::check(b"jim").expect_err("no address");
    let refused = RefusedRecipient::malformed("jim", &why, false, RecipientDsn::default());
    merge.define("n=2 *from=own@x.example", "", false).expect("defined");
    merge.push_refused(&refused).expect("room");
    let found = variants(&merge);
    let told: Vec<_> = found.iter().map(|variant| (variant.refused, variant.rows.clone())).collect();
    assert_eq!(told, [(false, vec![0]), (true, vec![1])]);

    let common = common(&merge);
    let text = Text::compile(&common, b"From: a@x.example\r\n\r\n[n][*refused].\r\n", "a@x.example")
        .expect("a text");
    let fields = text.content.fields();
    assert!(!fields.contains(&REFUSED_FIELD.to_owned()), "{fields:?}");
    let rows = |variant| {
        let records = text.rows(&merge, variant, &mut Filled::new(&[1; 16])).expect("rows");
        let row = row_view(&records[0].draft.bytes).expect("a row");
        let values: Vec<String> = row.values().map(|value| value.expect("a value").to_owned()).collect();
        (row.address.to_owned(), records[0].domains[0].to_string(), values)
    };
    let own = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
    let (first, second) = (rows(&found[0]), rows(&found[1]));
    assert_eq!(
        (first.0.as_str(), first.1.as_str(), first.2.len()),
        ("a@x.example", "x.example", fields.len())
    );
    assert_eq!((second.0.as_str(), second.1.as_str()), ("jim", "invalid"));
    assert_eq!(second.2[fields.len()..], own(&[&refused.reply]));
}
