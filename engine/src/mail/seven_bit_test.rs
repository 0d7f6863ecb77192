//! What comes out decodes to what went in, and leaves over any host.

use super::*;
use proptest::prelude::*;

fn text(message: &str) -> Vec<u8> {
    message.replace('\n', "\r\n").into_bytes()
}

/// Leaf contents, nested messages included.
fn contents(message: &Message<'_>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for part in &message.parts {
        match &part.body {
            PartType::Text(text) | PartType::Html(text) => all.push(text.as_bytes().to_vec()),
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => all.push(bytes.to_vec()),
            PartType::Message(inner) => all.extend(contents(inner)),
            PartType::Multipart(_) => {}
        }
    }
    all
}

/// The lines of the message that are not in the other.
fn new_lines<'a>(before: &str, after: &'a str) -> Vec<&'a str> {
    after.lines().filter(|line| !before.lines().any(|known| known == *line)).collect()
}

fn converted(raw: &[u8]) -> Vec<u8> {
    let out = to_seven_bit(raw).expect("it can be converted");
    assert!(survey(&out).is_7bit(), "{}", String::from_utf8_lossy(&out));
    let (before, after) = (MessageParser::default().parse(raw), MessageParser::default().parse(&out));
    let (before, after) = (before.expect("a message"), after.expect("a message"));
    assert_eq!(contents(&before), contents(&after), "{}", String::from_utf8_lossy(&out));
    out
}

#[test]
fn a_single_text_is_encoded_and_its_header_left() {
    let raw = text(
        "From: a@x.example\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
        Content-Transfer-Encoding: 8bit\nSubject: One\n\nCaf\u{e9} au lait, every morning.\nAnd a second line.\n",
    );
    let out = String::from_utf8(converted(&raw)).expect("text");
    assert_eq!(
        new_lines(&String::from_utf8(raw).expect("text"), &out),
        ["Content-Transfer-Encoding: quoted-printable", "Caf=C3=A9 au lait, every morning."]
    );
}

#[test]
fn only_the_parts_of_a_multipart_that_need_it_change() {
    let raw = text(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\npreamble\n--b\n\
         Content-Type: text/plain; charset=utf-8\n\nna\u{ef}ve question\n--b\nContent-Type: text/plain\n\nplain text\n--b\n\
         Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n--b\n\n\u{e9}\u{e9}\u{e9}\n--b--\nthe end\n",
    );
    let out = String::from_utf8(converted(&raw)).expect("text");
    assert_eq!(
        new_lines(&String::from_utf8(raw).expect("text"), &out),
        [
            "Content-Transfer-Encoding: 7bit",
            "Content-Transfer-Encoding: quoted-printable",
            "na=C3=AFve question",
            "w6nDqcOp"
        ]
    );
}

#[test]
fn a_message_in_a_message_is_encoded_inside() {
    let raw = text(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\
         Content-Transfer-Encoding: 8bit\n\nMIME-Version: 1.0\nSubject: inner\nContent-Type: text/html; charset=utf-8\n\n\
         <p>caf\u{e9} and some more words around it</p>\n--b--\n",
    );
    let out = String::from_utf8(converted(&raw)).expect("text");
    assert!(
        out.contains("Content-Transfer-Encoding: 7bit\r\n\r\nMIME-Version: 1.0\r\nSubject: inner"),
        "{out}"
    );
    assert!(out.contains("<p>caf=C3=A9 and"), "{out}");
}

#[test]
fn what_must_not_be_changed_is_refused() {
    let signed = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\
        Content-Type: multipart/SIGNED; boundary=b\n\n--b\nContent-Type: text/plain\n\n";
    let rest =
        "\n--b\nContent-Type: application/pgp-signature\n\nx\n--b--\n--a\nContent-Type: text/plain\n\n";
    let whole = |inside: &str, beside: &str| text(&format!("{signed}{inside}{rest}{beside}\n--a--\n"));
    assert_eq!(to_seven_bit(&whole("\u{e9}", "plain")), None);
    let out = converted(&whole("plain", "caf\u{e9}, with milk and sugar"));
    let sealed = whole("plain", "");
    let sealed = &sealed[text("MIME-Version: 1.0\n").len()..sealed.len() - text("\n--a--\n").len()];
    let seal = &sealed[sealed.windows(3).position(|w| w == b"--b").expect("there")..];
    assert!(
        out.windows(seal.len() - 40).any(|w| w == &seal[..seal.len() - 40]),
        "the signed part is untouched"
    );
    for raw in [
        "Subject: none\n\ncaf\u{e9}\n",
        "MIME-Version: 1.0\nSubject: caf\u{e9}\n\nplain\n",
        "MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\nw6\u{e9}nD\n",
        "MIME-Version: 1.0\nContent-Type: message/partial; id=1\n\ncaf\u{e9}\n",
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Description: caf\u{e9}\n\nx\n--b--\n",
        "",
    ] {
        assert_eq!(to_seven_bit(raw.replace('\n', "\r\n").as_bytes()), None, "{raw}");
    }
}

proptest! {
    #[test]
    fn contents_survive(
        parts in prop::collection::vec((0..4u8, prop::collection::vec(any::<u8>(), 0..300), "(\\PC{0,80}\n){0,5}\\PC{0,40}"), 1..5),
        long in any::<bool>(),
    ) {
        let mut raw = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=-limit-=\"\r\n\r\n".to_vec();
        for (kind, bytes, words) in &parts {
            raw.extend_from_slice(b"--=-limit-=\r\n");
            match kind {
                0 => raw.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n\r\n"),
                1 => raw.extend_from_slice(b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"),
                2 => raw.extend_from_slice(b"Content-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n"),
                _ => raw.extend_from_slice(b"\r\n"),
            }
            let words = words.replace('\n', "\r\n");
            let words = if long { words.replace(' ', &"\u{e9}".repeat(600)) } else { words };
            raw.extend_from_slice(if *kind == 2 { bytes } else { words.as_bytes() });
            raw.extend_from_slice(b"\r\n");
        }
        raw.extend_from_slice(b"--=-limit-=--\r\n");
        converted(&raw);
    }

    #[test]
    fn any_bytes_are_answered_without_panic(tail in prop::collection::vec(any::<u8>(), 0..300), head in "[a-zA-Z:;=/\\- \r\n\"]{0,200}") {
        let raw = [b"MIME-Version: 1.0\r\n", head.as_bytes(), b"\r\n\r\n", &tail].concat();
        if let Some(out) = to_seven_bit(&raw) {
            prop_assert!(survey(&out).is_7bit());
        }
    }
}
