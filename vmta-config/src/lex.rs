//! The lexer: comments, tags, words, quoted strings, regular expressions and lists (reference 1.2 and 1.3).

use std::ops::Range;

use crate::value::ParseError;

/// Longest line accepted, in bytes. Real macro lists reach some tens of thousands.
const MAX_LINE: usize = 1 << 20;
/// Most elements of one list.
const MAX_LIST: usize = 200_000;

/// One line, as byte ranges into it. A comment is already left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lexed {
    Blank,
    /// `<name ARG>`; the argument may be empty.
    Open {
        name: Range<usize>,
        arg: Range<usize>,
    },
    /// `</name>`, perhaps with the argument repeated.
    Close {
        name: Range<usize>,
    },
    /// A keyword and what follows it. A pattern line (`/re/ category`) has an empty name and the whole line as `args`.
    Directive {
        name: Range<usize>,
        args: Range<usize>,
    },
}

/// Splits one line. There is no escape for `#`: it starts a comment wherever it stands (reference 1.2).
pub(crate) fn lex_line(line: &str) -> Result<Lexed, ParseError> {
    if line.len() > MAX_LINE {
        return Err(ParseError::new(0..1, format!("the line is longer than {MAX_LINE} bytes")));
    }
    let text = trim(line, 0..line.find('#').unwrap_or(line.len()));
    if text.is_empty() {
        return Ok(Lexed::Blank);
    }
    match line.as_bytes()[text.start] {
        b'<' => lex_tag(line, text),
        b'/' => Ok(Lexed::Directive { name: text.start..text.start, args: text }),
        _ => {
            let end = line[text.clone()].find(char::is_whitespace).map_or(text.end, |i| text.start + i);
            Ok(Lexed::Directive { name: text.start..end, args: trim(line, end..text.end) })
        }
    }
}

fn lex_tag(line: &str, text: Range<usize>) -> Result<Lexed, ParseError> {
    let closes = line[text.clone()].starts_with("</");
    let Some(end) = line[text.clone()].rfind('>').map(|i| text.start + i) else {
        return Err(ParseError::new(text, "the tag is not closed with `>`").help("write `>` at its end"));
    };
    if end + 1 != text.end {
        let rest = trim(line, end + 1..text.end);
        return Err(ParseError::new(rest, "a tag stands on a line of its own")
            .help("move this text to the next line"));
    }
    let inner = trim(line, text.start + 1 + usize::from(closes)..end);
    let name_end = line[inner.clone()].find(char::is_whitespace).map_or(inner.end, |i| inner.start + i);
    let name = inner.start..name_end;
    if name.is_empty() {
        return Err(ParseError::new(text, "the tag has no name"));
    }
    if let Some(i) = line[name.clone()].find(['<', '>']) {
        let rest = trim(line, name.start + i + 1..text.end);
        return Err(ParseError::new(rest, "a tag stands on a line of its own")
            .help("move this text to the next line"));
    }
    Ok(match closes {
        true => Lexed::Close { name },
        false => Lexed::Open { name, arg: trim(line, name_end..inner.end) },
    })
}

fn trim(line: &str, range: Range<usize>) -> Range<usize> {
    let part = &line[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    if part.trim().is_empty() { start..start } else { start..start + part.trim().len() }
}

/// A word with its place in the argument text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub text: String,
    pub at: Range<usize>,
    pub quoted: bool,
}

/// Reads an argument text from left to right.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    pos: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, pos: 0 }
    }

    /// What is left, without leading blanks.
    pub fn rest(&mut self) -> &'a str {
        let rest = self.text[self.pos..].trim_start();
        self.pos = self.text.len() - rest.len();
        rest
    }

    /// Where reading goes on, with the given number of bytes.
    pub fn here(&mut self, len: usize) -> Range<usize> {
        self.rest();
        self.pos..(self.pos + len).min(self.text.len()).max(self.pos)
    }

    pub fn at_end(&mut self) -> bool {
        self.rest().is_empty()
    }

    /// The next bare or quoted word.
    pub fn word(&mut self, what: &str) -> Result<Word, ParseError> {
        self.element(what, &[])
    }

    /// Everything that is left, as one word; quotes are taken off when they enclose all of it.
    pub fn remainder(&mut self, what: &str) -> Result<Word, ParseError> {
        if self.rest().starts_with('"') {
            return self.word(what);
        }
        let rest = self.rest();
        if rest.is_empty() {
            return Err(self.missing(what));
        }
        let at = self.pos..self.text.len();
        self.pos = self.text.len();
        Ok(Word { text: rest.to_string(), at, quoted: false })
    }

    /// Takes `c` if it is next.
    pub fn eat(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.pos += c.len_utf8();
        }
        found
    }

    /// A comma list; blanks around commas are accepted. `""` is the empty list.
    pub fn list(&mut self, what: &str) -> Result<Vec<Word>, ParseError> {
        let mut words = vec![self.element(what, &[','])?];
        while self.eat(',') {
            // A comma at the end of the line is a slip that real files contain; nothing is lost by accepting it.
            if self.at_end() {
                break;
            }
            words.push(self.element(what, &[','])?);
            if words.len() > MAX_LIST {
                return Err(ParseError::new(self.here(1), format!("more than {MAX_LIST} elements")));
            }
        }
        words.retain(|w| !(w.quoted && w.text.is_empty()));
        Ok(words)
    }

    /// A word that also ends before any of `stops`.
    pub fn element(&mut self, what: &str, stops: &[char]) -> Result<Word, ParseError> {
        let rest = self.rest();
        if rest.starts_with('"') {
            return self.quoted();
        }
        let end = rest.find(|c: char| c.is_whitespace() || stops.contains(&c)).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.missing(what));
        }
        let at = self.pos..self.pos + end;
        self.pos += end;
        Ok(Word { text: rest[..end].to_string(), at, quoted: false })
    }

    /// Inside quotes a backslash escapes backslash, quote, space and `$`; before anything else it is itself.
    fn quoted(&mut self) -> Result<Word, ParseError> {
        let start = self.pos;
        let mut text = String::new();
        let mut chars = self.text[start + 1..].char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.pos = start + 1 + i + 1;
                    return Ok(Word { text, at: start..self.pos, quoted: true });
                }
                '\\' => match chars.next_if(|(_, next)| matches!(next, '\\' | '"' | ' ' | '$')) {
                    Some((_, escaped)) => text.push(escaped),
                    None => text.push('\\'),
                },
                _ => text.push(c),
            }
        }
        Err(ParseError::new(start..self.text.len(), "the closing quote is missing")
            .help("a `#` starts a comment even inside quotes"))
    }

    /// `/.../`: the text between the slashes; `\/` does not end it.
    pub fn regex(&mut self) -> Result<Word, ParseError> {
        let rest = self.rest();
        let start = self.pos;
        let Some(inner) = rest.strip_prefix('/') else {
            return Err(ParseError::new(
                self.here(first_word(rest)),
                "a regular expression `/.../` is expected here",
            ));
        };
        let mut escaped = false;
        for (i, c) in inner.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '/' => {
                    self.pos = start + 1 + i + 1;
                    let next = self.text[self.pos..].chars().next();
                    if next.is_some_and(|c| !c.is_whitespace()) {
                        let at = self.here(first_word(&self.text[self.pos..]));
                        return Err(ParseError::new(at, "text directly after the closing `/`").help(
                            "inside the expression write `/` as `\\/`; flags are not needed, case is ignored anyway",
                        ));
                    }
                    return Ok(Word { text: inner[..i].to_string(), at: start..self.pos, quoted: true });
                }
                _ => {}
            }
        }
        Err(ParseError::new(start..self.text.len(), "the closing `/` of the expression is missing")
            .help("an expression stands on one line; write `#` as `\\x23`"))
    }

    /// Fails unless everything was read.
    pub fn finish(&mut self) -> Result<(), ParseError> {
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(());
        }
        let error =
            ParseError::new(self.here(rest.len()), format!("`{}` is not expected here", shorten(rest)));
        Err(match rest {
            "{" => error.help("this language has no braces blocks; write `<name ARGUMENT>` ... `</name>`"),
            _ => {
                error.help("nothing may follow the value; one that holds blanks is written in double quotes")
            }
        })
    }

    fn missing(&mut self, what: &str) -> ParseError {
        ParseError::new(self.here(1), format!("{what} is missing"))
    }
}

fn first_word(text: &str) -> usize {
    text.find(char::is_whitespace).unwrap_or(text.len())
}

/// A value as quoted in a message: never longer than a line.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((i, _)) => format!("{}...", &text[..i]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(line: &str) -> (String, String) {
        match lex_line(line).unwrap() {
            Lexed::Directive { name, args } => (line[name].into(), line[args].into()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hash_starts_a_comment_anywhere() {
        assert_eq!(lex_line("  # all of it").unwrap(), Lexed::Blank);
        assert_eq!(split("\tmax-smtp-out 20\t# not more"), ("max-smtp-out".into(), "20".into()));
        assert_eq!(split("password a#b"), ("password".into(), "a".into()));
        assert_eq!(split("/x/ other # catch-all"), ("".into(), "/x/ other".into()));
    }

    #[test]
    fn tags_have_a_name_and_an_argument() {
        let line = "<domain   $hotmail >  # note";
        match lex_line(line).unwrap() {
            Lexed::Open { name, arg } => assert_eq!((&line[name], &line[arg]), ("domain", "$hotmail")),
            other => panic!("{other:?}"),
        }
        let line = "<acct-file |cmd --x \">\" >";
        match lex_line(line).unwrap() {
            Lexed::Open { arg, .. } => assert_eq!(&line[arg], "|cmd --x \">\""),
            other => panic!("{other:?}"),
        }
        assert!(matches!(lex_line("</domain-key-list keylist1>").unwrap(), Lexed::Close { .. }));
        assert!(lex_line("</spool>http-access 0/0 none").is_err());
        assert!(lex_line("</spool><virtual-mta x>").is_err());
        assert!(lex_line("<domain x").is_err());
    }

    #[test]
    fn quotes_escape_four_characters() {
        let mut cursor = Cursor::new(r#""a \"b\" \\ \$x \d" next"#);
        assert_eq!(cursor.word("x").unwrap().text, r#"a "b" \ $x \d"#);
        assert_eq!(cursor.word("x").unwrap().text, "next");
        assert!(cursor.at_end());
        assert!(Cursor::new("\"open").word("x").is_err());
    }

    #[test]
    fn an_expression_ends_at_the_first_bare_slash() {
        let mut cursor = Cursor::new(r"/a\/b\\/ rest");
        assert_eq!(cursor.regex().unwrap().text, r"a\/b\\");
        assert_eq!(Cursor::new("// other").regex().unwrap().text, "");
        assert!(Cursor::new("/a/b/ x").regex().unwrap_err().message.contains("after the closing"));
        assert!(Cursor::new("/open").regex().is_err());
    }

    #[test]
    fn lists_accept_blanks_around_commas() {
        let words =
            |text| Cursor::new(text).list("x").unwrap().into_iter().map(|w| w.text).collect::<Vec<_>>();
        assert_eq!(words("a, b ,c"), ["a", "b", "c"]);
        assert_eq!(words("\"\""), Vec::<String>::new());
        assert!(Cursor::new("a,,b").list("x").is_err());
    }

    proptest! {
        #[test]
        fn any_line_is_lexed_without_panic(line in ".{0,80}") {
            if let Ok(Lexed::Directive { args, .. }) = lex_line(&line) {
                let mut cursor = Cursor::new(&line[args]);
                let _ = cursor.clone().regex();
                let _ = cursor.clone().list("x");
                let _ = cursor.word("x");
            }
        }

        #[test]
        fn a_quoted_word_comes_back(text in "[^#\n]{0,40}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(Cursor::new(&quoted).word("x").unwrap().text, text);
        }
    }
}
