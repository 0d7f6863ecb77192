//! Objects read in pieces of every size.

use super::*;
use proptest::prelude::*;

/// All events, in words; the error last.
fn read(body: &[u8], piece: usize) -> Vec<String> {
    let mut stream = JsonStream::new("list", 40, 20);
    let mut told = Vec::new();
    let mut take = |stream: &mut JsonStream| -> Result<(), StreamError> {
        while let Some(event) = stream.event()? {
            told.push(match event {
                Event::Member { key, value } => format!("{key}={}", String::from_utf8_lossy(value)),
                Event::Element(value) => String::from_utf8_lossy(value).into_owned(),
                Event::End => "end".to_owned(),
            });
        }
        Ok(())
    };
    let mut outcome = Ok(());
    for piece in body.chunks(piece) {
        stream.push(piece);
        outcome = take(&mut stream);
        if outcome.is_err() {
            break;
        }
    }
    let outcome = outcome.and_then(|()| stream.finish());
    told.extend(outcome.err().map(|error| error.to_string()));
    told
}

#[test]
fn members_and_elements_come_whole_whatever_the_pieces() {
    let body = br#" {"a" : "x,]}\"\\", "list": [ {"e": [1, "]"]} ,"two", 3,null ], "b\u0041":{"c":[{}]} , "n":-1.5} "#;
    let told = [
        r#"a="x,]}\"\\""#,
        r#"{"e": [1, "]"]}"#,
        r#""two""#,
        "3",
        "null",
        r#"bA={"c":[{}]}"#,
        "n=-1.5",
        "end",
    ];
    for piece in 1..body.len() {
        assert_eq!(read(body, piece), told, "pieces of {piece}");
    }
    assert_eq!(read(b"{}", 1), ["end"]);
    assert_eq!(read(br#"{"list":[]}"#, 3), ["end"]);
    assert_eq!(read(br#"{"list":7}"#, 3), ["list=7", "end"]);
}

#[test]
fn what_is_no_such_object_is_told_with_its_place() {
    for (body, says) in [
        ("[]", "at byte 0: an object"),
        ("{a", "at byte 1: a key in double quotes"),
        (r#"{"a" 1}"#, "at byte 5: `:`"),
        (r#"{"a":}"#, "at byte 5: a value"),
        (r#"{"a":1 2}"#, "at byte 7: `,` or `}`"),
        (r#"{"list":[1 2]}"#, "at byte 11: `,` or `]`"),
        (r#"{"list":[1,]}"#, "at byte 11: a value"),
        (r#"{"a":1,"a":2}"#, "at byte 7: the key `a` is there a second time"),
        (r#"{"a":1}x"#, "at byte 7: nothing"),
        (r#"{"a":"1"#, "at byte 7: the JSON ends"),
        ("", "at byte 0: the JSON ends"),
        (
            r#"{"list":["123456789012345678901234567890"]}"#,
            "at byte 9: the value that begins here is longer than 20 bytes",
        ),
        ("{\"\u{ff}\\x\":1}", "at byte 1: this key is no string"),
    ] {
        for piece in [1, 2, 100] {
            let told = read(body.as_bytes(), piece);
            let last = told.last().unwrap();
            assert!(last.starts_with(says), "{body}: {last}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered_alike_in_all_pieces(body in prop::collection::vec(prop::sample::select(b"{}[]\",:\\1 elist".to_vec()), 0..60)) {
        let whole = read(&body, 100);
        for piece in [1, 2, 7] {
            prop_assert_eq!(&read(&body, piece), &whole);
        }
    }
}
