//! Values of header fields as they go on the wire: RFC 2047 encoded-words where the text asks for them, folding
//! (RFC 5322 section 2.2.3) where the line does.

use super::lines::MAX_LINE;
use data_encoding::BASE64;

/// Characters in a header line that readers like (RFC 5322 section 2.1.1).
const PREFERRED_LINE: usize = 78;
/// Characters in a line that holds an encoded-word (RFC 2047 section 2).
const ENCODED_LINE: usize = 76;
/// `=?utf-8?Q?` and `?=`.
const WRAPPING: usize = 12;

/// A word longer than a line may be, in a field that cannot be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordTooLong;

/// Whether `text` can stand in a header as it is. A control character cannot, and neither can what a reader would
/// take for an encoded-word.
pub fn is_plain(text: &str) -> bool {
    is_printable(text) && !text.contains("=?")
}

/// Whether `text` is ASCII without control characters other than tabs.
pub fn is_printable(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'))
}

/// Appends the value of an unstructured field (Subject, Comments, X-...) whose line stands at `column`; without the
/// line end. `text` must be free of CR, LF and NUL.
pub fn unstructured(text: &str, column: usize, out: &mut Vec<u8>) {
    let text = text.trim_matches([' ', '\t']);
    if is_plain(text) && fold(text, column, out).is_ok() {
        return;
    }
    encode(text, column, out);
}

/// Appends the value of a structured field, which knows no encoded-words: ASCII only, folded between words.
pub fn structured(text: &str, column: usize, out: &mut Vec<u8>) -> Result<(), WordTooLong> {
    fold(text.trim_matches([' ', '\t']), column, out)
}

/// Appends ASCII `text`, folded before the blanks nearest to the preferred length. On error `out` is as it was.
fn fold(text: &str, column: usize, out: &mut Vec<u8>) -> Result<(), WordTooLong> {
    if column + text.len() <= PREFERRED_LINE {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    let start = out.len();
    let bytes = text.as_bytes();
    let (mut at, mut column) = (0, column);
    while at < bytes.len() {
        // A chunk is the blanks before a word and the word.
        let blanks = bytes[at..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let word = bytes[at + blanks..].iter().take_while(|b| !matches!(b, b' ' | b'\t')).count();
        if blanks > 0 && column + blanks + word > PREFERRED_LINE {
            // The blanks open the new line, so that no line consists of blanks alone.
            out.extend_from_slice(b"\r\n");
            column = 0;
        }
        if column + blanks + word > MAX_LINE {
            out.truncate(start);
            return Err(WordTooLong);
        }
        out.extend_from_slice(&bytes[at..at + blanks + word]);
        column += blanks + word;
        at += blanks + word;
    }
    Ok(())
}

/// Appends `text` as encoded-words in utf-8, each on a line of its own where more than one is needed.
fn encode(text: &str, column: usize, out: &mut Vec<u8>) {
    let escaped = text.bytes().filter(|b| !in_q(*b) && *b != b' ').count();
    let q = escaped * 3 <= text.len();
    let mut room = ENCODED_LINE.saturating_sub(column + WRAPPING);
    let mut rest = text;
    let mut first = true;
    while !rest.is_empty() || first {
        let end = if q { q_end(rest, room) } else { b_end(rest, room) };
        if end == 0 && !rest.is_empty() {
            // Not even one character fits behind a long name.
            out.extend_from_slice(b"\r\n ");
            room = ENCODED_LINE - 1 - WRAPPING;
            continue;
        }
        let (word, after) = rest.split_at(end);
        if q {
            out.extend_from_slice(b"=?utf-8?Q?");
            write_q(word, out);
        } else {
            out.extend_from_slice(b"=?utf-8?B?");
            out.extend_from_slice(BASE64.encode(word.as_bytes()).as_bytes());
        }
        out.extend_from_slice(b"?=");
        rest = after;
        first = false;
        if !rest.is_empty() {
            out.extend_from_slice(b"\r\n ");
            room = ENCODED_LINE - 1 - WRAPPING;
        }
    }
}

/// The set that is allowed everywhere, phrases included (RFC 2047 section 5 rule 3).
fn in_q(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'!' | b'*' | b'+' | b'-' | b'/')
}

fn q_cost(c: char) -> usize {
    if c == ' ' || (c.is_ascii() && in_q(c as u8)) { 1 } else { 3 * c.len_utf8() }
}

/// How much of `text` fits into `room` in Q, never splitting a character (RFC 2047 section 5).
fn q_end(text: &str, room: usize) -> usize {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += q_cost(c);
        if used > room {
            return at;
        }
    }
    text.len()
}

fn b_end(text: &str, room: usize) -> usize {
    let mut end = (room / 4 * 3).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

fn write_q(word: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for b in word.bytes() {
        match b {
            b' ' => out.push(b'_'),
            b if in_q(b) => out.push(b),
            b => out.extend_from_slice(&[b'=', HEX[(b >> 4) as usize], HEX[(b & 15) as usize]]),
        }
    }
}

/// Appends a display name: bare where it is made of atoms, quoted where it has specials, encoded otherwise.
pub fn phrase(text: &str, column: usize, out: &mut Vec<u8>) {
    let text = text.trim_matches([' ', '\t']);
    let atoms = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~ ".contains(&b);
    if !is_plain(text) || text.contains('\t') || column + text.len() + 2 > PREFERRED_LINE {
        encode(text, column, out);
    } else if text.bytes().all(atoms) && !text.contains("  ") {
        out.extend_from_slice(text.as_bytes());
    } else {
        out.push(b'"');
        for b in text.bytes() {
            if matches!(b, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(b);
        }
        out.push(b'"');
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::mail::lines::survey;
    use mail_parser::MessageParser;
    use proptest::prelude::*;

    fn subject(text: &str) -> String {
        let mut out = b"Subject: ".to_vec();
        unstructured(text, 9, &mut out);
        String::from_utf8(out).expect("ascii")
    }

    #[test]
    fn ascii_stays_and_folds_between_words() {
        assert_eq!(subject("Hello there"), "Subject: Hello there");
        let long = "word ".repeat(30);
        let folded = subject(&long);
        assert!(folded.lines().all(|l| l.len() <= 78), "{folded}");
        assert_eq!(folded.replace("\r\n", ""), format!("Subject: {}", long.trim_end()));
    }

    #[test]
    fn the_rest_is_encoded_in_words_of_76_at_most() {
        assert_eq!(subject("Hello \u{c9}mile"), "Subject: =?utf-8?Q?Hello_=C3=89mile?=");
        assert_eq!(subject("例子"), "Subject: =?utf-8?B?5L6L5a2Q?=");
        assert_eq!(subject("=?utf-8?Q?x?="), "Subject: =?utf-8?B?PT91dGYtOD9RP3g/PQ==?=");
        assert!(subject(&"x".repeat(3000)).lines().all(|l| l.len() <= 76));
    }

    #[test]
    fn a_display_name_is_an_atom_a_quoted_string_or_encoded() {
        let shown = |text: &str| {
            let mut out = Vec::new();
            phrase(text, 6, &mut out);
            String::from_utf8(out).expect("ascii")
        };
        assert_eq!(shown("News Desk"), "News Desk");
        assert_eq!(shown(r#"Doe, "J" \ <x@y>"#), r#""Doe, \"J\" \\ <x@y>""#);
        assert_eq!(shown("J\u{fc}rgen"), "=?utf-8?Q?J=C3=BCrgen?=");
    }

    #[test]
    fn a_structured_word_may_be_long_but_not_longer_than_a_line() {
        let mut out = Vec::new();
        assert_eq!(structured(&"x".repeat(900), 18, &mut out), Ok(()));
        out.clear();
        assert_eq!(structured(&"x".repeat(990), 18, &mut out), Err(WordTooLong));
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn a_subject_comes_back(text in "[ -~]{0,120}|[ -~\u{e9}\u{4f8b}\u{1f600}\t\u{1}]{1,150}") {
            let text = text.trim_matches([' ', '\t']);
            let raw = format!("{}\r\n\r\n", subject(text));
            prop_assert!(!survey(raw.as_bytes()).unclean);
            prop_assert!(raw.lines().skip(1).all(|l| l.is_empty() || !l.trim().is_empty()));
            let parsed = MessageParser::default().parse(raw.as_bytes()).expect("parses");
            // A parser may join blanks around folds; compare words.
            let words = |t: &str| t.split_whitespace().map(str::to_string).collect::<Vec<_>>();
            prop_assert_eq!(words(parsed.subject().unwrap_or_default()), words(text));
        }

        #[test]
        fn a_display_name_comes_back(text in "[ -~\u{e9}\u{4f8b}]{1,100}") {
            prop_assume!(!text.trim().is_empty());
            let mut out = b"From: ".to_vec();
            phrase(&text, 6, &mut out);
            out.extend_from_slice(b" <a@example.com>\r\n\r\n");
            let parsed = MessageParser::default().parse(&out).expect("parses");
            let from = parsed.from().and_then(|f| f.first()).expect("one address");
            prop_assert_eq!(from.address(), Some("a@example.com"));
            let words = |t: &str| t.split_whitespace().map(str::to_string).collect::<Vec<_>>();
            prop_assert_eq!(words(from.name().unwrap_or_default()), words(&text));
        }
    }
}
