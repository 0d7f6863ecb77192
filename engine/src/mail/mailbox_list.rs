//! Takes the value of an address header apart (RFC 5322 section 3.4): `Name <user@domain>, user@domain`. Merge tags have
//! been replaced by single characters before, so that nothing a value holds can change the structure.
//!
//! A header that says whom mail is sent to (`sendmail -t`) is read with its groups, and may be empty.

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
    let mut parser = Parser::new(value, false);
    parser.run()?;
    if parser.found.is_empty() {
        return Err("there is no address in it");
    }
    Ok(parser.found)
}

/// The addresses that `value` names, with those in groups, as they are written there; there may be none.
///
/// # Errors
/// What is wrong with it. `a@b.example c@d.example` is wrong: one of them would get nothing.
pub fn addresses(value: &str) -> Result<Vec<String>, &'static str> {
    let mut parser = Parser::new(value, true);
    parser.run()?;
    Ok(parser.found.into_iter().map(|mailbox| mailbox.address).collect())
}

struct Parser<'a> {
    chars: std::str::Chars<'a>,
    /// Groups are taken apart, any number of addresses is allowed, and one with a name has angle brackets.
    recipients: bool,
    words: Vec<Word>,
    angle: Option<String>,
    found: Vec<MailboxText>,
}

impl Parser<'_> {
    fn new(value: &str, recipients: bool) -> Parser<'_> {
        Parser { chars: value.chars(), recipients, words: Vec::new(), angle: None, found: Vec::new() }
    }

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
                ':' if self.recipients && self.angle.is_none() => {
                    // What stood before it is the name of the group.
                    if self.words.drain(..).any(|word| word.text.contains('@')) {
                        return Err("a : follows an address; a comma is missing");
                    }
                    joined = false;
                    continue;
                }
                ';' if self.recipients => {
                    self.finish()?;
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
            None if self.recipients && words.len() > 1 => {
                return Err(
                    "a comma is missing between two addresses, or an address after a name is not in < >",
                );
            }
            // Without brackets the last word is the address: `user@domain`, and PowerMTA's `"[Name]" [*to]`.
            None => match words.pop() {
                Some(last) => last.raw,
                None => return Ok(()),
            },
        };
        if self.found.len() == MAX_MAILBOXES && !self.recipients {
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

    #[test]
    fn recipients_may_stand_in_groups_or_be_none() {
        let found = |value: &str| addresses(value).expect(value).join(" ");
        assert_eq!(found("Ann <a@b.c>, root, \"x y\"@b.c (work)"), "a@b.c root \"x y\"@b.c");
        assert_eq!(found("Friends: a@b.c, Dan <d@e.f>; g@h.i"), "a@b.c d@e.f g@h.i");
        assert_eq!(found("undisclosed-recipients:;"), "");
        assert_eq!(found(" , "), "");
        assert_eq!(found("<>"), "");
        for (value, part) in [
            ("a@b.c d@e.f", "comma"),
            ("Ann a@b.c", "comma"),
            ("Ann <a@b.c", "not closed"),
            ("<a@b.c>: d", "groups"),
            ("a@b.c: d", "comma"),
        ] {
            let error = addresses(value).expect_err(value);
            assert!(error.contains(part), "{value}: {error}");
        }
        assert_eq!(addresses(&"a@b.c,".repeat(3000)).expect("many").len(), 3000);
    }

    proptest! {
        #[test]
        fn anything_is_answered(value in "[a@.<>\",;:()\\\\ \u{e9}]{0,40}") {
            if let Ok(found) = split(&value) {
                prop_assert!(!found.is_empty());
            }
            let _ = addresses(&value);
        }
    }
}
