//! Lines that choose, rewrite or forward: `<pattern-list>`, `<rewrite-list>`, `<mx-rollup-list>`, aliases (reference 2.1,
//! 2.8, 6.3).

use super::names::{ascii_domain, email, expand_patterns};
use super::numbers::digits;
use super::{ParseError, Pattern, Value, regex};
use crate::lex::{Cursor, Word, shorten};
use crate::macros::Macros;
use crate::nearest::nearest;

/// What a line of a `<pattern-list>` decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A virtual MTA or pool.
    VirtualMta(String),
    /// 0 to 100.
    Priority(u8),
    /// The list of this name decides.
    CallTo(String),
    /// The list that follows decides.
    Nested,
}

/// What stands before the results of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `/expression/`
    Address,
    /// `NAME /expression/`
    Header,
    /// Nothing: the line always fits.
    Always,
}

const RESULTS: &str =
    "write virtual-mta=NAME, recipient-priority=0..100 (or both), call-to:LIST or <pattern-list>";

/// `[NAME] [/re/] RESULT`
pub(super) fn choice(c: &mut Cursor, subject: Subject) -> Result<Value, ParseError> {
    let header = match subject {
        Subject::Header => Some(header_name(c)?),
        Subject::Address | Subject::Always => None,
    };
    let pattern: Option<Pattern> = match subject {
        Subject::Always => None,
        Subject::Address | Subject::Header => Some(regex::pattern(c)?),
    };
    if c.at_end() {
        return Err(ParseError::new(c.here(1), "the result is missing").help(RESULTS));
    }
    if let Some(rest) = c.rest().strip_prefix("call-to:") {
        let name = rest.trim().to_string();
        let at = c.here(rest.len());
        c.remainder("the list")?;
        return match name.is_empty() || name.contains(char::is_whitespace) {
            true => Err(ParseError::new(at, "`call-to:` takes the name of one list").help(RESULTS)),
            false => Ok(Value::Choice(header, pattern, vec![Choice::CallTo(name)])),
        };
    }
    let words = c.list("a result")?;
    let results = words.iter().map(result).collect::<Result<Vec<_>, _>>()?;
    for (i, word) in words.iter().enumerate() {
        let same = |other: &Choice| std::mem::discriminant(other) == std::mem::discriminant(&results[i]);
        if results[..i].iter().any(same) {
            return Err(ParseError::new(
                word.at.clone(),
                format!("`{}` is a second one", shorten(&word.text)),
            ));
        }
    }
    Ok(Value::Choice(header, pattern, results))
}

fn result(word: &Word) -> Result<Choice, ParseError> {
    let refused = |message: String| ParseError::new(word.at.clone(), message);
    match word.text.split_once('=') {
        Some(("virtual-mta", name)) if !name.is_empty() => Ok(Choice::VirtualMta(name.to_string())),
        Some(("recipient-priority", number)) => match digits(number) {
            Some(n @ 0..=100) => Ok(Choice::Priority(n as u8)),
            _ => Err(refused(format!("`{}` is not a priority from 0 to 100", shorten(number)))),
        },
        None if word.text == NESTED => Ok(Choice::Nested),
        _ => {
            let error = refused(format!("`{}` is not a result", shorten(&word.text)));
            let name = word.text.split('=').next().unwrap_or("");
            Err(match nearest(name, ["virtual-mta", "recipient-priority", "call-to"]) {
                Some(near) if near != name => error.help(format!("did you mean `{near}`?")),
                _ => error.help(RESULTS),
            })
        }
    }
}

/// How the reader of files writes a list that begins on this line.
pub(crate) const NESTED: &str = "<pattern-list>";

fn header_name(c: &mut Cursor) -> Result<String, ParseError> {
    let word = c.word("the name of a header")?;
    is_header_name(&word.text).then(|| word.text.clone()).ok_or_else(|| {
        ParseError::new(word.at, format!("`{}` is not the name of a header", shorten(&word.text)))
            .help("write HEADER /expression/ RESULT, such as: header Subject /offer/ virtual-mta=NAME")
    })
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':' && b != b'/')
}

/// Header names and `/expressions/`, with commas between them; `""` clears.
pub(super) fn header_list(c: &mut Cursor) -> Result<Value, ParseError> {
    let mut names = Vec::new();
    loop {
        if c.rest().starts_with('/') {
            // The closing slash of an expression may be followed by a comma, which `regex` does not know.
            let rest = c.rest();
            let end = rest[1..].find('/').map_or(rest.len(), |i| i + 2);
            let at = c.here(end);
            let word = c.element("an expression", &[','])?;
            let source = word.text.strip_prefix('/').and_then(|t| t.strip_suffix('/'));
            let source = source.ok_or_else(|| ParseError::new(at.clone(), "the closing `/` is missing"))?;
            Pattern::new(source).map_err(|m| ParseError::new(at, format!("the expression is wrong: {m}")))?;
            names.push(word.text);
        } else {
            let word = c.element("the name of a header", &[','])?;
            if word.quoted && word.text.is_empty() {
                return Ok(Value::Cleared);
            }
            if !is_header_name(&word.text) {
                let message = format!("`{}` is not the name of a header", shorten(&word.text));
                return Err(
                    ParseError::new(word.at, message).help("write names with commas: From,To,Subject")
                );
            }
            names.push(word.text);
        }
        if !c.eat(',') {
            return Ok(Value::List(names));
        }
    }
}

/// `user@d`, `*@d` or a local part of a local host name, then where its mail goes.
pub(super) fn alias(c: &mut Cursor) -> Result<Value, ParseError> {
    let source = c.word("the address to forward")?;
    if source.text.starts_with('/') {
        return Err(
            ParseError::new(source.at, "an alias is no expression").help("write user@d, *@d or a local part")
        );
    }
    let targets = c.list("where to forward it")?;
    for word in std::iter::once(&source).chain(&targets) {
        address_form(word, word.at == source.at)?;
    }
    let all = std::iter::once(source).chain(targets).map(|w| w.text);
    Ok(Value::List(all.collect()))
}

/// `a@b`, with `wild` also `*@b`, or a local part alone.
fn address_form(word: &Word, wild: bool) -> Result<(), ParseError> {
    let text = match word.text.rsplit_once('@') {
        None if word.text.is_empty() => {
            return Err(ParseError::new(word.at.clone(), "an address is missing"));
        }
        None => format!("{}@localhost", word.text),
        Some(("*", _)) if !wild => {
            return Err(ParseError::new(word.at.clone(), "mail cannot be forwarded to `*`"));
        }
        Some(_) => word.text.clone(),
    };
    email(&Word { text, ..word.clone() }).map(drop)
}

const REWRITE: &str = "write a@b, a@*, *@b, *@* or <>, twice: from what, to what";

/// `SRC DST` of `<rewrite-list>` `mail-from`.
pub(super) fn rewrite(c: &mut Cursor) -> Result<Value, ParseError> {
    let (from, to) = (c.word("the sender to rewrite")?, c.word("the sender to write")?);
    for word in [&from, &to] {
        let form = match word.text.rsplit_once('@') {
            Some((local, _)) if local.contains('*') && local != "*" => {
                let message = format!("in `{}`, `*` stands beside other characters", shorten(&word.text));
                return Err(ParseError::new(word.at.clone(), message)
                    .help("`*` is a whole local part or a whole domain: *@b, a@*, *@*"));
            }
            Some((local, domain)) => !local.is_empty() && (domain == "*" || ascii_domain(domain).is_ok()),
            None => word.text == "<>",
        };
        if !form {
            let message = format!("`{}` is not a sender", shorten(&word.text));
            return Err(ParseError::new(word.at.clone(), message).help(REWRITE));
        }
    }
    if !to.text.is_ascii() {
        return Err(ParseError::new(to.at, "the address to write has to be ASCII"));
    }
    if from.text == "<>" && to.text.contains('*') {
        return Err(ParseError::new(to.at, "`*` copies from the sender, and `<>` has nothing to copy"));
    }
    Ok(Value::Pair(from.text, to.text))
}

/// `PATTERN DOMAIN` of `<rewrite-list>` `from-domain`.
pub(super) fn from_domain(c: &mut Cursor, macros: &Macros) -> Result<Value, ParseError> {
    let from = c.word("a domain pattern")?;
    let patterns = expand_patterns(&from, macros)?;
    let to = c.word("the domain to write")?;
    let domain = ascii_domain(&to.text).map_err(|m| ParseError::new(to.at.clone(), m))?;
    Ok(Value::DomainsTo(patterns.into_iter().map(|(pattern, _)| pattern).collect(), domain))
}

const ROLLUP: &str = "write PATTERN NAME.rollup, perhaps with rollup-by-ip: mx *.yahoodns.net yahoo.rollup";

/// `PATTERN NAME.rollup [rollup-by-ip]`
pub(super) fn rollup(c: &mut Cursor, macros: &Macros) -> Result<Value, ParseError> {
    let hosts = c.word("a pattern of MX host names")?;
    let patterns = expand_patterns(&hosts, macros)?.into_iter().map(|(pattern, _)| pattern).collect();
    let name = c.word("the name of the rollup")?;
    if !name.text.ends_with(".rollup") || name.text.len() == ".rollup".len() {
        let message = format!("`{}` is not the name of a rollup", shorten(&name.text));
        return Err(ParseError::new(name.at, message).help(ROLLUP));
    }
    let ascii = ascii_domain(&name.text).map_err(|m| ParseError::new(name.at.clone(), m))?;
    let by_ip = !c.at_end();
    if by_ip {
        let word = c.word("rollup-by-ip")?;
        if word.text != "rollup-by-ip" {
            let message = format!("`{}` is not expected here", shorten(&word.text));
            return Err(ParseError::new(word.at, message).help(ROLLUP));
        }
    }
    Ok(Value::Rollup(patterns, ascii, by_ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(text: &str, subject: Subject) -> Result<Vec<Choice>, ParseError> {
        match choice(&mut Cursor::new(text), subject)? {
            Value::Choice(_, _, results) => Ok(results),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pattern_lists_choose_call_and_nest() {
        let vmta = |name: &str| Choice::VirtualMta(name.into());
        let both = results("/^a@/ virtual-mta=v1,recipient-priority=80", Subject::Address);
        assert_eq!(both.unwrap(), [vmta("v1"), Choice::Priority(80)]);
        for call in ["/x/ call-to:other", "/x/ call-to: other"] {
            assert_eq!(results(call, Subject::Address).unwrap(), [Choice::CallTo("other".into())]);
        }
        assert_eq!(results("virtual-mta=v", Subject::Always).unwrap(), [vmta("v")]);
        assert_eq!(results("Subject /offer/ virtual-mta=v", Subject::Header).unwrap(), [vmta("v")]);
        assert_eq!(results("/x/ <pattern-list>", Subject::Address).unwrap(), [Choice::Nested]);
        for wrong in ["/x/", "/x/ v1", "/x/ recipient-priority=101", "/x/ virtual-mta=a,virtual-mta=b", "x y"]
        {
            assert!(results(wrong, Subject::Address).is_err(), "{wrong}");
        }
        let error = results("/x/ virtual-mat=v", Subject::Address).unwrap_err();
        assert_eq!(error.help.as_deref(), Some("did you mean `virtual-mta`?"));
    }

    #[test]
    fn rewriting_and_forwarding_have_their_forms() {
        for right in ["a@b.c *@x.y", "*@* *@x.y", "<> bounce@x.y", "a@* <>"] {
            assert!(rewrite(&mut Cursor::new(right)).is_ok(), "{right}");
        }
        for wrong in ["a b", "<> *@x.y", "a@b.c", "a@b.c d@ü.x", "*@b.c n-*@x.y"] {
            assert!(rewrite(&mut Cursor::new(wrong)).is_err(), "{wrong}");
        }
        for right in ["a@b.c d@e.f,g@h.i", "*@b.c d@e.f", "root admin@b.c"] {
            assert!(alias(&mut Cursor::new(right)).is_ok(), "{right}");
        }
        for wrong in ["a@b.c", "a@b.c *@e.f", "/x/ a@b.c", "a@b..c d@e.f"] {
            assert!(alias(&mut Cursor::new(wrong)).is_err(), "{wrong}");
        }
        let macros = Macros::default();
        assert!(rollup(&mut Cursor::new("*.yahoodns.net yahoo.rollup rollup-by-ip"), &macros).is_ok());
        assert!(rollup(&mut Cursor::new("*.yahoodns.net yahoo"), &macros).is_err());
    }

    #[test]
    fn headers_to_sign_are_names_and_expressions() {
        let of = |text| header_list(&mut Cursor::new(text));
        assert_eq!(
            of("From, /^X-/,To").unwrap(),
            Value::List(vec!["From".into(), "/^X-/".into(), "To".into()])
        );
        assert_eq!(of("\"\"").unwrap(), Value::Cleared);
        assert!(of("Fr:om").is_err() && of("/a(/").is_err() && of("/a").is_err());
    }
}
