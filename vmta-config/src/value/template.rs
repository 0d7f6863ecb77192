//! Templates of failure reports (reference 2.1): text with variables such as `${hostname}`.

use super::{ParseError, Value};
use crate::lex::{Cursor, shorten};
use crate::nearest::nearest;

/// What a variable stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportVariable {
    Hostname,
    Originator,
    Recipient,
    Subject,
    Date,
    TimeQueued,
    RetryAfter,
    BounceAfter,
    Response,
}

const VARIABLES: [(&str, ReportVariable); 9] = [
    ("hostname", ReportVariable::Hostname),
    ("originator", ReportVariable::Originator),
    ("recipient", ReportVariable::Recipient),
    ("subject", ReportVariable::Subject),
    ("date", ReportVariable::Date),
    ("timeQueued", ReportVariable::TimeQueued),
    ("retryAfter", ReportVariable::RetryAfter),
    ("bounceAfter", ReportVariable::BounceAfter),
    ("response", ReportVariable::Response),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePiece {
    Text(String),
    Variable(ReportVariable),
}

/// A text of a failure report, to be filled in for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportTemplate {
    pub pieces: Vec<TemplatePiece>,
}

impl ReportTemplate {
    /// A `$` without a brace behind it is a `$`.
    pub(crate) fn parse(text: &str) -> Result<ReportTemplate, ParseError> {
        let (mut pieces, mut at) = (Vec::new(), 0);
        while let Some(start) = text[at..].find("${").map(|found| at + found) {
            let inside = start + 2;
            let line_end = text[inside..].find('\n').map_or(text.len(), |found| inside + found);
            let Some(end) = text[inside..line_end].find('}').map(|found| inside + found) else {
                return Err(ParseError::new(start..inside, "`${` without a `}` on its line").help(known()));
            };
            if at < start {
                pieces.push(TemplatePiece::Text(text[at..start].to_string()));
            }
            pieces.push(TemplatePiece::Variable(variable(text, inside, end)?));
            at = end + 1;
        }
        if at < text.len() {
            pieces.push(TemplatePiece::Text(text[at..].to_string()));
        }
        Ok(ReportTemplate { pieces })
    }

    /// Whether it may become an address: text with an `@`, or a variable that is one.
    fn has_address(&self) -> bool {
        self.pieces.iter().any(|piece| match piece {
            TemplatePiece::Text(text) => text.contains('@'),
            TemplatePiece::Variable(v) => {
                matches!(v, ReportVariable::Originator | ReportVariable::Recipient)
            }
        })
    }
}

fn variable(text: &str, start: usize, end: usize) -> Result<ReportVariable, ParseError> {
    let name = &text[start..end];
    if let Some((_, found)) = VARIABLES.iter().find(|(known, _)| *known == name) {
        return Ok(*found);
    }
    let error = ParseError::new(start - 2..end + 1, format!("there is no variable `${{{}}}`", shorten(name)));
    let same = VARIABLES.iter().map(|(known, _)| *known).find(|known| known.eq_ignore_ascii_case(name));
    Err(match same.or_else(|| nearest(name, VARIABLES.map(|(known, _)| known))) {
        Some(near) => error.help(format!("did you mean `${{{near}}}`?")),
        None => error.help(known()),
    })
}

fn known() -> String {
    let names = VARIABLES.map(|(name, _)| format!("${{{name}}}"));
    format!("write one of {}", names.join(" "))
}

/// One word or quoted string; `""` clears.
pub(super) fn template(c: &mut Cursor) -> Result<Value, ParseError> {
    let word = c.word("a text")?;
    if word.text.is_empty() {
        return Ok(Value::Cleared);
    }
    let behind = word.at.start + usize::from(word.quoted);
    let made = ReportTemplate::parse(&word.text).map_err(|e| {
        // Escapes in front of it move it to the right.
        let at = behind + e.at.start..(behind + e.at.end).min(word.at.end);
        ParseError { at, ..e }
    })?;
    match word.text.contains(char::is_control) {
        true => Err(ParseError::new(word.at, "a header field cannot hold control characters")),
        false => Ok(Value::Template(made)),
    }
}

/// The same for a From field.
pub(super) fn from_template(c: &mut Cursor) -> Result<Value, ParseError> {
    let at = c.here(1).start;
    let value = template(c)?;
    let Value::Template(made) = &value else { return Ok(value) };
    let refused = |why: &str| {
        let help = "write \"Mail Delivery <postmaster@${hostname}>\"";
        Err(ParseError::new(at..at + 1, why).help(help))
    };
    let ascii = |piece: &TemplatePiece| match piece {
        TemplatePiece::Text(text) => text.is_ascii(),
        TemplatePiece::Variable(_) => true,
    };
    match (made.has_address(), made.pieces.iter().all(ascii)) {
        (false, _) => refused("a From field needs an address"),
        (true, false) => refused("a From field is ASCII"),
        (true, true) => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<ReportTemplate, ParseError> {
        ReportTemplate::parse(text)
    }

    #[test]
    fn text_and_variables_alternate() {
        let text = |text: &str| TemplatePiece::Text(text.into());
        let variable = TemplatePiece::Variable;
        assert_eq!(
            of("Not delivered: ${subject} (${response})").unwrap().pieces,
            [
                text("Not delivered: "),
                variable(ReportVariable::Subject),
                text(" ("),
                variable(ReportVariable::Response),
                text(")")
            ]
        );
        assert_eq!(of("").unwrap().pieces, []);
        assert_eq!(of("costs $5 or $x {y}").unwrap().pieces, [text("costs $5 or $x {y}")]);
        for (name, meant) in VARIABLES {
            assert_eq!(of(&format!("${{{name}}}")).unwrap().pieces, [variable(meant)]);
        }
    }

    #[test]
    fn what_is_no_variable_is_named() {
        let error = of("Hello ${hostnam}!").unwrap_err();
        assert_eq!(error.message, "there is no variable `${hostnam}`");
        assert_eq!((error.at, error.help.as_deref()), (6..16, Some("did you mean `${hostname}`?")));
        assert_eq!(of("${timequeued}").unwrap_err().help.as_deref(), Some("did you mean `${timeQueued}`?"));
        let error = of("${vmta} x").unwrap_err();
        assert!(error.help.unwrap().starts_with("write one of ${hostname} ${originator} "));
        for wrong in ["${subject", "a ${", "${sub\nject}", "${}", "${ subject }"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_from_field_has_an_address() {
        let from = |text| from_template(&mut Cursor::new(text));
        for right in ["postmaster@${hostname}", "\"Mail <a@b.example>\"", "${originator}", "\"\""] {
            assert!(from(right).is_ok(), "{right}");
        }
        for wrong in ["${hostname}", "\"Jürgen <a@b.example>\"", "Mail", "a@${host}"] {
            assert!(from(wrong).is_err(), "{wrong}");
        }
        assert_eq!(from("a@${host}").unwrap_err().at, 2..9);
        assert_eq!(from("\"a@${host}\"").unwrap_err().at, 3..10);
    }
}
