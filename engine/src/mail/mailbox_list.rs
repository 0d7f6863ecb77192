//! Takes the value of an address header apart (RFC 5322 section 3.4): `Name <user@domain>, user@domain`. Merge tags have
//! been replaced by single characters before, so that nothing a value holds can change the structure.

/// Mailboxes in one header.
const MAX_MAILBOXES: usize = 1000;

/// A mailbox as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct MailboxText {
    /// The display name without its quotes; encoded-words are not decoded.
    pub phrase: String,
    pub address: String,
}

/// A run of text without blanks, as it was written and without its quotes.
#[derive(Default)]
struct Word {
    raw: String,
    text: String,
}

/// Splits `value`; the error says what is wrong.
pub(super) fn split(value: &str) -> Result<Vec<MailboxText>, &'static str> {
    let mut parser = Parser { chars: value.chars(), words: Vec::new(), angle: None, found: Vec::new() };
    parser.run()?;
    if parser.found.is_empty() {
        return Err("there is no address in it");
    }
    Ok(parser.found)
}

struct Parser<'a> {
    chars: std::str::Chars<'a>,
    words: Vec<Word>,
    angle: Option<String>,
    found: Vec<MailboxText>,
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), &'static str> {
        let mut joined = false;
        while let Some(c) = self.chars.next() {
            match c {
                ' ' | '\t' => {
                    joined = false;
                    continue;
                }
                ',' => {
                    self.finish()?;
                    joined = false;
                    continue;
                }
                '(' => {
                    self.comment()?;
                    joined = false;
                    continue;
                }
                ':' | ';' => return Err("groups are not supported; write a name with : or ; in quotes"),
                '<' => {
                    self.angle()?;
                    joined = false;
                    continue;
                }
                '>' => return Err("a > stands without its <"),
                _ if self.angle.is_some() => {
                    return Err("text follows the > of an address; a comma is missing");
                }
                _ => {}
            }
            if !joined {
                self.words.push(Word::default());
            }
            joined = true;
            let Some(mut word) = self.words.pop() else { continue };
            if c == '"' {
                self.quoted(&mut word)?;
            } else {
                word.raw.push(c);
                word.text.push(c);
            }
            self.words.push(word);
        }
        self.finish()
    }

    fn quoted(&mut self, word: &mut Word) -> Result<(), &'static str> {
        word.raw.push('"');
        while let Some(c) = self.chars.next() {
            word.raw.push(c);
            match c {
                '"' => return Ok(()),
                '\\' => {
                    let escaped = self.chars.next().ok_or("a quoted name is not closed")?;
                    word.raw.push(escaped);
                    word.text.push(escaped);
                }
                c => word.text.push(c),
            }
        }
        Err("a quoted name is not closed")
    }

    fn angle(&mut self) -> Result<(), &'static str> {
        if self.angle.is_some() {
            return Err("two addresses follow each other; a comma is missing");
        }
        let mut address = String::new();
        let mut quoted = false;
        while let Some(c) = self.chars.next() {
            match c {
                '>' if !quoted => {
                    self.angle = Some(address.trim_matches([' ', '\t']).to_string());
                    return Ok(());
                }
                '\\' if quoted => {
                    address.push(c);
                    address.extend(self.chars.next());
                    continue;
                }
                '"' => quoted = !quoted,
                _ => {}
            }
            address.push(c);
        }
        Err("a < is not closed")
    }

    /// Comments say nothing to receivers and are dropped.
    fn comment(&mut self) -> Result<(), &'static str> {
        let mut depth = 1;
        while let Some(c) = self.chars.next() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                '\\' => {
                    self.chars.next();
                }
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
        Err("a comment is not closed")
    }

    fn finish(&mut self) -> Result<(), &'static str> {
        let mut words = std::mem::take(&mut self.words);
        let address = match self.angle.take() {
            Some(address) => address,
            // Without brackets the last word is the address: `user@domain`, and PowerMTA's `"[Name]" [*to]`.
            None => match words.pop() {
                Some(last) => last.raw,
                None => return Ok(()),
            },
        };
        if self.found.len() == MAX_MAILBOXES {
            return Err("there are more than 1000 addresses in it");
        }
        let phrase = words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ");
        self.found.push(MailboxText { phrase, address });
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    fn shown(value: &str) -> Vec<(String, String)> {
        split(value).expect(value).into_iter().map(|m| (m.phrase, m.address)).collect()
    }

    fn pair(phrase: &str, address: &str) -> (String, String) {
        (phrase.into(), address.into())
    }

    #[test]
    fn names_and_addresses_are_told_apart() {
        assert_eq!(shown("a@b.c"), [pair("", "a@b.c")]);
        assert_eq!(
            shown("News Desk <a@b.c>, \"Doe, \\\"J\\\"\" <d@e.f>"),
            [pair("News Desk", "a@b.c"), pair("Doe, \"J\"", "d@e.f")]
        );
        assert_eq!(shown("(c (d) \\)) Ann <a@b.c> (x), , e@f.g"), [pair("Ann", "a@b.c"), pair("", "e@f.g")]);
        assert_eq!(shown("\"x y\"@b.c"), [pair("", "\"x y\"@b.c")]);
        assert_eq!(shown("<\"a>b\"@c.d>"), [pair("", "\"a>b\"@c.d")]);
        assert_eq!(shown("\"Ann\" a@b.c"), [pair("Ann", "a@b.c")]);
    }

    #[test]
    fn faults_are_explained() {
        for (value, part) in [
            ("", "no address"),
            (" , ", "no address"),
            ("A <a@b", "not closed"),
            ("\"A <a@b>", "not closed"),
            ("A <a@b> <c@d>", "comma"),
            ("A <a@b> c", "comma"),
            ("list: a@b;", "groups"),
            ("a@b>", "without"),
            ("(a", "not closed"),
        ] {
            let error = split(value).expect_err(value);
            assert!(error.contains(part), "{value}: {error}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_answered(value in "[a@.<>\",;:()\\\\ \u{e9}]{0,40}") {
            if let Ok(found) = split(&value) {
                prop_assert!(!found.is_empty());
            }
        }
    }
}
