//! Finds the merge tags in a template text, in either syntax. Tags that only name a field (perhaps with `|e`, `|safe`,
//! `|urlencode`, `|default("...")`) are understood here and merge at the speed of a copy; any other minijinja tag
//! makes its text a full template.

use super::content::Syntax;

/// What is done to a value before it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Filters<'a> {
    /// Written where the value is empty.
    pub default: Option<&'a str>,
    pub url: bool,
    /// `|e`
    pub escape: bool,
    /// `|safe`
    pub safe: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tag<'a> {
    Field {
        name: &'a str,
        filters: Filters<'a>,
    },
    /// `[*to]`, `[*from]`, `[*date]`.
    Recipient,
    Sender,
    Date,
    /// A minijinja tag that only minijinja understands, or a comment.
    Full,
    /// A reserved name of the pmta syntax that means nothing in a campaign.
    Reserved(&'a str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Literal(&'a str),
    Tag {
        tag: Tag<'a>,
        source: &'a str,
        /// Counted from one within the text.
        line: u32,
    },
}

/// A tag that does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unclosed {
    pub line: u32,
    pub open: &'static str,
}

pub(super) fn scan(text: &str, syntax: Syntax) -> Result<Vec<Token<'_>>, Unclosed> {
    match syntax {
        Syntax::Minijinja => scan_minijinja(text),
        Syntax::Pmta => Ok(scan_pmta(text)),
    }
}

/// Counts lines as the scan moves on, so that the whole scan is linear.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Lines<'a> {
        Lines { text, at: 0, line: 1 }
    }

    fn at(&mut self, offset: usize) -> u32 {
        let passed = &self.text.as_bytes()[self.at..offset];
        self.line += u32::try_from(memchr::memchr_iter(b'\n', passed).count()).unwrap_or(u32::MAX);
        self.at = offset;
        self.line
    }
}

fn scan_minijinja(text: &str) -> Result<Vec<Token<'_>>, Unclosed> {
    let mut tokens = Vec::new();
    let mut lines = Lines::new(text);
    let (mut from, mut at) = (0, 0);
    while let Some(brace) = memchr::memchr(b'{', &text.as_bytes()[at..]).map(|n| at + n) {
        let (open, close) = match text.as_bytes().get(brace + 1) {
            Some(b'{') => ("{{", "}}"),
            Some(b'%') => ("{%", "%}"),
            Some(b'#') => ("{#", "#}"),
            _ => {
                at = brace + 1;
                continue;
            }
        };
        let line = lines.at(brace);
        let end = match tag_end(text, brace + 2, close) {
            Some(end) => end,
            // Perhaps inside `{% raw %}`: minijinja will tell.
            None if tokens.iter().any(is_full) => text.len(),
            None => return Err(Unclosed { line, open }),
        };
        if brace > from {
            tokens.push(Token::Literal(&text[from..brace]));
        }
        let source = &text[brace..end];
        let inside = source.strip_prefix("{{").and_then(|s| s.strip_suffix("}}"));
        let tag = inside.and_then(simple);
        tokens.push(Token::Tag { tag: tag.unwrap_or(Tag::Full), source, line });
        (from, at) = (end, end);
    }
    if from < text.len() {
        tokens.push(Token::Literal(&text[from..]));
    }
    Ok(tokens)
}

/// Whether only minijinja can merge the text this token stands in.
pub(super) fn is_full(token: &Token<'_>) -> bool {
    matches!(token, Token::Tag { tag: Tag::Full, .. })
}

/// Where the tag whose inside begins at `from` ends, `close` included; quotes hide what they hold, except in comments.
fn tag_end(text: &str, from: usize, close: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut i = from;
    while i < bytes.len() {
        match (quote, bytes[i]) {
            (None, _) if bytes[i..].starts_with(close.as_bytes()) => return Some(i + 2),
            (None, q @ (b'"' | b'\'')) if close != "#}" => quote = Some(q),
            (Some(_), b'\\') => i += 1,
            (Some(q), b) if q == b => quote = None,
            _ => {}
        }
        i += 1;
    }
    None
}

/// The inside of `{{ ... }}` when it is a field with no more than the filters above.
fn simple(inside: &str) -> Option<Tag<'_>> {
    let (name, mut rest) = identifier(inside.trim_start())?;
    if matches!(name, "true" | "false" | "none" | "True" | "False" | "None" | "not" | "loop" | "self") {
        return None;
    }
    let mut filters = Filters::default();
    while let Some(after) = rest.trim_start().strip_prefix('|') {
        let (filter, after) = identifier(after.trim_start())?;
        rest = after;
        match filter {
            "e" | "escape" => filters.escape = true,
            "safe" => filters.safe = true,
            // What follows an escape works on escaped text; leave such chains to minijinja.
            "urlencode" if !filters.escape && !filters.url => filters.url = true,
            "default" | "d" if filters == Filters::default() => {
                let (text, after) = argument(after)?;
                filters.default = Some(text);
                rest = after;
            }
            _ => return None,
        }
    }
    let whole = rest.trim().is_empty() && !(filters.escape && filters.safe);
    whole.then_some(Tag::Field { name, filters })
}

fn identifier(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let first = *text.as_bytes().first()?;
    (end > 0 && !first.is_ascii_digit()).then(|| text.split_at(end))
}

/// `("text")` or `('text')` without escapes.
fn argument(text: &str) -> Option<(&str, &str)> {
    let inner = text.trim_start().strip_prefix('(')?.trim_start();
    let quote = inner.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (value, after) = inner[1..].split_once(quote)?;
    let after = after.trim_start().strip_prefix(')')?;
    (!value.contains('\\')).then_some((value, after))
}

/// PowerMTA's `[name]` (reference 6.4): `[[` writes `[`; a bracket that does not enclose a name is text.
fn scan_pmta(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut lines = Lines::new(text);
    let (mut from, mut at) = (0, 0);
    while let Some(open) = memchr::memchr(b'[', &text.as_bytes()[at..]).map(|n| at + n) {
        if text.as_bytes().get(open + 1) == Some(&b'[') {
            tokens.push(Token::Literal(&text[from..open + 1]));
            (from, at) = (open + 2, open + 2);
            continue;
        }
        let Some((name, end)) = pmta_name(text.as_bytes(), open + 1) else {
            at = open + 1;
            continue;
        };
        if open > from {
            tokens.push(Token::Literal(&text[from..open]));
        }
        let tag = match name.to_ascii_lowercase().as_str() {
            "*to" => Tag::Recipient,
            "*from" => Tag::Sender,
            "*date" => Tag::Date,
            _ if name.starts_with('*') => Tag::Reserved(name),
            _ => Tag::Field { name, filters: Filters::default() },
        };
        tokens.push(Token::Tag { tag, source: &text[open..end], line: lines.at(open) });
        (from, at) = (end, end);
    }
    if from < text.len() {
        tokens.push(Token::Literal(&text[from..]));
    }
    tokens
}

/// `name]` or `*name]` at `from`, and the offset behind it.
pub(super) fn pmta_name(text: &[u8], from: usize) -> Option<(&str, usize)> {
    let star = usize::from(text[from..].starts_with(b"*"));
    let rest = &text[from + star..];
    let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    let named = rest.first().is_some_and(u8::is_ascii_alphabetic) && rest[length..].starts_with(b"]");
    let name = std::str::from_utf8(&text[from..from + star + length]).ok()?;
    named.then_some((name, from + star + length + 1))
}

/// The word in `words` nearest to `word`, when it is near enough to be what was meant.
pub fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.len().div_ceil(3).max(1);
    words
        .filter(|w| w.len() <= 200 && w.len().abs_diff(word.len()) <= limit)
        .map(|w| (distance(&word.to_lowercase(), &w.to_lowercase()), w))
        .filter(|(d, _)| *d <= limit)
        .min()
        .map(|(_, w)| w)
}

/// Edit distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let next = (corner + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod test {
    use super::*;

    fn tags(text: &str, syntax: Syntax) -> Vec<(Tag<'_>, u32)> {
        let tokens = scan(text, syntax).expect("closed");
        tokens
            .into_iter()
            .filter_map(|t| if let Token::Tag { tag, line, .. } = t { Some((tag, line)) } else { None })
            .collect()
    }

    fn field<'a>(name: &'a str, filters: Filters<'a>) -> Tag<'a> {
        Tag::Field { name, filters }
    }

    #[test]
    fn simple_tags_are_understood() {
        let found = tags(
            "Hi {{ name }}{{a|e}}\n{{ b | safe }}{{ c|default('you') }}{{ d|urlencode }}",
            Syntax::Minijinja,
        );
        assert_eq!(
            found,
            [
                (field("name", Filters::default()), 1),
                (field("a", Filters { escape: true, ..Filters::default() }), 1),
                (field("b", Filters { safe: true, ..Filters::default() }), 2),
                (field("c", Filters { default: Some("you"), ..Filters::default() }), 2),
                (field("d", Filters { url: true, ..Filters::default() }), 2),
            ]
        );
    }

    #[test]
    fn everything_else_is_left_to_minijinja() {
        for text in [
            "{% if a %}",
            "{# note #}",
            "{{ a.b }}",
            "{{ a|upper }}",
            "{{- a }}",
            "{{ 'x}}' }}",
            "{{ a|default(b) }}",
            "{{ true }}",
        ] {
            assert_eq!(tags(text, Syntax::Minijinja), [(Tag::Full, 1)], "{text}");
        }
        assert_eq!(tags("{ a } css { b: {c} }", Syntax::Minijinja), []);
    }

    #[test]
    fn an_open_tag_is_named_with_its_line() {
        assert_eq!(scan("a\nb {{ name }", Syntax::Minijinja), Err(Unclosed { line: 2, open: "{{" }));
        assert_eq!(scan("{% if 'x %}", Syntax::Minijinja), Err(Unclosed { line: 1, open: "{%" }));
    }

    #[test]
    fn pmta_brackets() {
        let found = tags("[FName]\n[*To] [*date][*vmta]", Syntax::Pmta);
        assert_eq!(
            found,
            [
                (field("FName", Filters::default()), 1),
                (Tag::Recipient, 2),
                (Tag::Date, 2),
                (Tag::Reserved("*vmta"), 2),
            ]
        );
        let literal = |text: &str| -> String {
            let tokens = scan(text, Syntax::Pmta).expect("closed");
            tokens.iter().map(|t| if let Token::Literal(l) = t { l } else { "?" }).collect()
        };
        assert_eq!(literal("[[]"), "[]");
        assert_eq!(literal("[[name]"), "[name]");
        assert_eq!(literal("<!--[if mso]> [1] [] [a-b] ["), "<!--[if mso]> [1] [] [a-b] [");
        assert_eq!(literal("[[[a]"), "[?");
    }

    #[test]
    fn the_nearest_word_is_offered_only_when_near() {
        let words = ["first_name", "email", "city"];
        assert_eq!(nearest("frist_name", words.into_iter()), Some("first_name"));
        assert_eq!(nearest("Email", words.into_iter()), Some("email"));
        assert_eq!(nearest("unrelated", words.into_iter()), None);
    }
}
