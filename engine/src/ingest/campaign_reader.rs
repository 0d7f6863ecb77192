//! Entries of a TOML table read one by one, errors gathered with their places.

use crate::mail::nearest;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong with a `campaign.toml`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("campaign.toml, line {line}, column {column}: {problem}")]
pub struct CampaignError {
    /// Counted from one.
    pub line: usize,
    /// In characters, counted from one.
    pub column: usize,
    pub problem: CampaignProblem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CampaignProblem {
    #[error("the file is {bytes} bytes long; at most {max} are allowed")]
    TooLong { bytes: usize, max: usize },
    #[error("the line is not UTF-8")]
    NotUtf8,
    #[error("{0}")]
    Toml(String),
    #[error("there is no key `{key}`{}; the keys are {known}", near.as_ref().map_or(String::new(), |near| format!(" (did you mean `{near}`?)")))]
    UnknownKey { key: String, near: Option<String>, known: String },
    #[error("the key `{key}` is missing and has no default")]
    Missing { key: &'static str },
    #[error("`{key}` has to be {right}")]
    Value { key: String, right: String },
    #[error("there is no message; name it by `template` (a whole message), or by `html`, `text` or both")]
    NoTemplate,
    #[error("`template` is a whole message; `html` and `text` cannot stand beside it")]
    TwoTemplates,
    #[error("{have} headers; at most {max} are allowed")]
    ManyHeaders { have: usize, max: usize },
    #[error("`{name}` cannot be the name of a header; printable ASCII without colon and blanks can")]
    HeaderName { name: String },
    #[error("the header `{name}` is there twice (case does not count)")]
    HeaderTwice { name: String },
}

/// A text whose entries are being read.
pub(super) struct Entries<'t> {
    text: &'t str,
    pub(super) errors: Vec<CampaignError>,
}

impl<'t> Entries<'t> {
    pub(super) fn new(text: &'t str) -> Entries<'t> {
        Entries { text, errors: Vec::new() }
    }

    /// The table that the text is; none, and an error, when it is not TOML.
    pub(super) fn parse(&mut self) -> Option<DeTable<'t>> {
        match DeTable::parse(self.text) {
            Ok(table) => Some(table.into_inner()),
            Err(error) => {
                self.refuse(error.span().unwrap_or(0..0), CampaignProblem::Toml(error.message().to_owned()));
                None
            }
        }
    }

    /// Adds an error at the place where `span` starts.
    pub(super) fn refuse(&mut self, span: Range<usize>, problem: CampaignProblem) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        self.errors.push(CampaignError { line, column: before[start..].chars().count() + 1, problem });
    }

    /// Adds an error for each key that is none of `keys`.
    pub(super) fn refuse_unknown(&mut self, table: &DeTable<'_>, keys: &[&str]) {
        for (key, _) in table {
            let name = key.get_ref();
            if !keys.contains(&&**name) {
                let near = nearest(name, keys.iter().copied()).map(str::to_owned);
                let problem =
                    CampaignProblem::UnknownKey { key: name.to_string(), near, known: keys.join(", ") };
                self.refuse(key.span(), problem);
            }
        }
    }

    /// The value of `key` as `read` takes it; an error when it is not there. `read` says what would be right.
    pub(super) fn required<T>(
        &mut self,
        table: &DeTable<'_>,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !table.contains_key(key) {
            self.refuse(0..0, CampaignProblem::Missing { key });
        }
        self.optional(table, key, read)
    }

    pub(super) fn optional<T>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.text(key, table.get(key)?, read)
    }

    pub(super) fn text<T>(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let result = match value.get_ref() {
            DeValue::String(text) => read(text),
            _ => Err("a text in quotes".to_owned()),
        };
        result
            .map_err(|right| self.refuse(value.span(), CampaignProblem::Value { key: key.to_owned(), right }))
            .ok()
    }

    /// A whole number from 0 to `most`.
    pub(super) fn number(&mut self, table: &DeTable<'_>, key: &str, most: u8) -> Option<u8> {
        let value = table.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => number.as_str().parse().ok().filter(|number| *number <= most),
            _ => None,
        };
        if number.is_none() {
            let right = format!("a number from 0 to {most}, without quotes");
            self.refuse(value.span(), CampaignProblem::Value { key: key.to_owned(), right });
        }
        number
    }

    pub(super) fn boolean(&mut self, table: &DeTable<'_>, key: &str) -> Option<bool> {
        let value = table.get(key)?;
        if let DeValue::Boolean(boolean) = value.get_ref() {
            return Some(*boolean);
        }
        let right = "true or false, without quotes".to_owned();
        self.refuse(value.span(), CampaignProblem::Value { key: key.to_owned(), right });
        None
    }
}
