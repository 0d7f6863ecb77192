//! What others said, as part of a report.

use std::fmt::{self, Write};

/// Characters of a field's value; longer ones are cut.
const MOST: usize = 900;

/// Text from elsewhere as a field's value: one printable line of bounded length.
pub(super) struct Text<'a>(pub &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |c: char| if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) { '?' } else { c };
        let mut left = MOST;
        for c in self.0.chars() {
            left = match left.checked_sub(c.len_utf8()) {
                Some(left) => left,
                None => return f.write_str("..."),
            };
            f.write_char(shown(c))?;
        }
        Ok(())
    }
}

pub fn one_line(text: &str) -> String {
    Text(text).to_string()
}

/// As part of an address or of the name before it: nothing that ends, begins or comments one. Beyond ASCII only where the
/// whole message may be.
pub fn in_mailbox(text: &str, utf8: bool) -> String {
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.@ ".contains(c);
    one_line(text).chars().map(|c| if atom(c) || (utf8 && !c.is_ascii()) { c } else { '?' }).collect()
}

/// A line of a text in pieces that a line of mail can hold (RFC 5321 section 4.5.3.1.6).
pub(super) fn wrapped(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest.take()?;
        if line.len() <= MOST {
            return Some(line);
        }
        let (piece, more) = line.split_at(line.floor_char_boundary(MOST));
        rest = Some(more);
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one() {
        assert_eq!(one_line("a\r\nBcc: b\u{202e}\t"), "a??Bcc: b??");
        assert_eq!(one_line(&"\u{e9}".repeat(600)).len(), MOST + 3);
        assert_eq!(in_mailbox("\"x\" <a@b.c>, (d)", true), "?x? ?a@b.c?? ?d?");
        assert_eq!(in_mailbox("j\u{fc}rg@b.c", true), "j\u{fc}rg@b.c");
        assert_eq!(in_mailbox("j\u{fc}rg@b.c", false), "j?rg@b.c");
    }

    #[test]
    fn long_lines_become_several() {
        let of = |line: &str| wrapped(line).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of(""), [""]);
        assert_eq!(of("word"), ["word"]);
        let long = "\u{4f8b}".repeat(700);
        assert_eq!(of(&long).concat(), long);
        assert_eq!(of(&long).iter().map(String::len).collect::<Vec<_>>(), [900, 900, 300]);
    }
}
