//! Letters as programs write them, and what becomes of them.

use super::*;
use proptest::prelude::*;

const MISSING: Missing<'_> = Missing {
    full_name: "",
    address: "ann@here.example",
    date: "Mon, 23 Nov 2026 03:00:00 +0000",
    message_id: "<1@here.example>",
};

fn read(input: &[u8], dot_ends: bool) -> Result<Letter, LetterError> {
    let mut reader = LetterReader::new(dot_ends);
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        if !reader.take(line)? {
            break;
        }
    }
    Ok(reader.finish())
}

fn completed(input: &str) -> String {
    let letter = read(input.as_bytes(), true).expect(input);
    String::from_utf8(letter.complete(&MISSING).expect(input)).expect("text")
}

fn recipients(input: &str) -> String {
    let found = read(input.as_bytes(), true).expect(input).recipients().expect(input);
    found.into_iter().map(|(_, address)| address).collect::<Vec<_>>().join(" ")
}

/// All three fields that a letter needs.
const WHOLE: &str = "From: b@x.example\nDate: today\nMessage-ID: <2@x.example>\n";

#[test]
fn a_whole_letter_gets_its_line_ends_and_nothing_else() {
    let whole = WHOLE.replace('\n', "\r\n");
    assert_eq!(
        completed(&format!("{WHOLE}Subject: s\n t\n\nbody\n\n.x\n")),
        format!("{whole}Subject: s\r\n t\r\n\r\nbody\r\n\r\n.x\r\n")
    );
    assert_eq!(completed(&format!("{whole}\r\nbody")), format!("{whole}\r\nbody\r\n"));
    // What PHP makes of CR LF on some machines.
    assert_eq!(completed(&format!("{WHOLE}X: y\r\r\n\nbody\n")), format!("{whole}X: y\r\n\r\nbody\r\n"));
    // A letter may be all header.
    assert_eq!(completed(WHOLE), format!("{whole}\r\n"));
}

#[test]
fn what_is_missing_stands_on_top() {
    let added =
        "From: ann@here.example\r\nDate: Mon, 23 Nov 2026 03:00:00 +0000\r\nMessage-ID: <1@here.example>\r\n";
    assert_eq!(completed("Subject: s\n\nbody\n"), format!("{added}Subject: s\r\n\r\nbody\r\n"));
    assert_eq!(completed("hello\nworld\n"), format!("{added}\r\nhello\r\nworld\r\n"));
    assert_eq!(completed("\nhello: world\n"), format!("{added}\r\nhello: world\r\n"));
    assert_eq!(completed(""), format!("{added}\r\n"));
    // The header ends where a line is no field, as if an empty line stood there.
    assert_eq!(
        completed("Subject: s\nDear all\nTo: x\n"),
        format!("{added}Subject: s\r\n\r\nDear all\r\nTo: x\r\n")
    );
    assert_eq!(completed(" indented\n"), format!("{added}\r\n indented\r\n"));
}

#[test]
fn an_author_has_his_full_name() {
    let author = |full_name: &str| {
        let letter = read(b"Date: d\nMessage-ID: <m>\n\nx\n", false).expect("a letter");
        letter.complete(&Missing { full_name, ..MISSING }).map(|text| String::from_utf8(text).expect("text"))
    };
    let rest = "Date: d\r\nMessage-ID: <m>\r\n\r\nx\r\n";
    assert_eq!(author("Ann Lee"), Ok(format!("From: Ann Lee <ann@here.example>\r\n{rest}")));
    assert_eq!(author("Lee, Ann"), Ok(format!("From: \"Lee, Ann\" <ann@here.example>\r\n{rest}")));
    assert_eq!(author("Zoë"), Ok(format!("From: =?utf-8?B?Wm/Dqw==?= <ann@here.example>\r\n{rest}")));
    let long = "Ann Augusta Bertha Cecilia Dorothea Elisabeth Friederike";
    assert_eq!(
        author(&format!("{long} Lee")),
        Ok(format!("From: {long} Lee\r\n <ann@here.example>\r\n{rest}"))
    );
    assert!(author("Ann\nBcc: x@y.example").is_err());
}

#[test]
fn a_dot_alone_ends_the_letter_only_where_it_is_to() {
    let body = |dot_ends| {
        let letter = read(b"a: b\n\nx\n.\ny\n", dot_ends).expect("a letter");
        String::from_utf8(letter.text).expect("text")
    };
    assert_eq!(body(true), "a: b\r\n\r\nx\r\n");
    assert_eq!(body(false), "a: b\r\n\r\nx\r\n.\r\ny\r\n");
    assert_eq!(read(b"x\n.\r\ny", true).expect("a letter").text, b"\r\nx\r\n");
}

#[test]
fn separators_of_mail_boxes_are_no_part_of_it() {
    let whole = WHOLE.replace('\n', "\r\n");
    assert_eq!(
        completed(&format!("From ann Mon Nov 23\n>From x\n{WHOLE}\nFrom me\n")),
        format!("{whole}\r\nFrom me\r\n")
    );
}

#[test]
fn blind_copies_are_sent_and_not_told() {
    let letter = format!(
        "{WHOLE}To: Ann <a@x.example>\nbcc: c@x.example,\n d@x.example\nCc:\nReturn-Path: <e@x.example>\nX-Sender: ann\n\nBcc: f@x.example\n"
    );
    assert_eq!(recipients(&letter), "a@x.example c@x.example d@x.example");
    let sent = completed(&letter);
    assert!(sent.ends_with("To: Ann <a@x.example>\r\nCc:\r\n\r\nBcc: f@x.example\r\n"), "{sent}");
}

#[test]
fn no_field_of_a_letter_speaks_for_its_envelope() {
    let forged = "X-Sender: e@x.example\nx-receiver: e@x.example\nX-Sender-Override: e@x.example\n";
    let whole = WHOLE.replace('\n', "\r\n");
    assert_eq!(completed(&format!("{forged}{WHOLE}\nbody\n")), format!("{whole}\r\nbody\r\n"));
}

#[test]
fn fields_of_who_sends_it_on_rule() {
    let letter = format!(
        "{WHOLE}To: a@x.example\nResent-To: b@x.example\nResent-Bcc: c@x.example\nResent-Date: now\n\nx\n"
    );
    assert_eq!(recipients(&letter), "b@x.example c@x.example");
    let sent = completed(&letter);
    assert!(
        sent.starts_with("Resent-From: ann@here.example\r\nResent-Message-ID: <1@here.example>\r\nFrom: b@"),
        "{sent}"
    );
    assert!(!sent.contains("c@x.example") && sent.contains("To: a@x.example"), "{sent}");
    assert_eq!(recipients("To: a@x.example\nResent-From: b@x.example\n\nx\n"), "");
}

#[test]
fn what_cannot_be_understood_is_named() {
    assert_eq!(read(b"a: b\nx\ry\n", false).unwrap_err(), LetterError::BareCr { line: 2 });
    let error = read(b"Cc: a@x.example b@x.example\n\n", false).expect("a letter").recipients().unwrap_err();
    assert!(error.to_string().starts_with("the Cc field: a comma is missing"), "{error}");
    assert_eq!(recipients("To: undisclosed-recipients:;\nBcc: Staff: a@x.example;\n\n"), "a@x.example");
}

proptest! {
    #[test]
    fn any_letter_is_complete_with_its_body_untouched(
        input in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b':'), Just(b' '), Just(b'.'), Just(b'x')], 0..80)
    ) {
        let letter = read(&input, false).expect("no carriage return");
        let sent = letter.complete(&MISSING).expect("clean");
        let header = Header::scan(&sent);
        prop_assert!(header.fields().iter().all(|field| !field.name.is_empty()));
        prop_assert_eq!(header.all("From").count(), 1);
        prop_assert!(header.end() < sent.len());
        prop_assert_eq!(&sent[header.body()..], &letter.text[Header::scan(&letter.text).body()..]);
    }
}
