//! Values of `<acct-file>`: record types, field selections, queue filters (reference 2.7, 4.1, 4.2).

use std::fmt;

use super::{DomainPattern, ParseError, Value, expand_patterns};
use crate::lex::{Cursor, Word, shorten};
use crate::macros::Macros;
use crate::nearest::nearest;

/// A kind of accounting record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    Delivery,
    Bounce,
    Transient,
    TransientQueue,
    Receipt,
    RemoteBounce,
    RemoteStatus,
    FeedbackLoop,
}

/// Code, long name and type.
const TYPES: [(&str, &str, RecordType); 8] = [
    ("d", "delivery", RecordType::Delivery),
    ("b", "bounce", RecordType::Bounce),
    ("t", "transient", RecordType::Transient),
    ("tq", "transient-queue", RecordType::TransientQueue),
    ("r", "receipt", RecordType::Receipt),
    ("rb", "remote-bounce", RecordType::RemoteBounce),
    ("rs", "remote-status", RecordType::RemoteStatus),
    ("f", "feedback-loop", RecordType::FeedbackLoop),
];

impl RecordType {
    /// The code in the `type` column.
    pub fn code(self) -> &'static str {
        TYPES.iter().find(|(_, _, t)| *t == self).map_or("", |(code, ..)| code)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

fn record_type(word: &Word) -> Result<RecordType, ParseError> {
    let found = TYPES.iter().find(|(code, name, _)| word.text == *code || word.text == *name);
    // `map-header-to-field` also knows the feedback loop by this name.
    if let Some((_, _, kind)) = found.or_else(|| TYPES.last().filter(|_| word.text == "fbl")) {
        return Ok(*kind);
    }
    let error = ParseError::new(word.at.clone(), format!("`{}` is not a record type", shorten(&word.text)));
    Err(match nearest(&word.text, TYPES.iter().map(|(_, name, _)| *name)) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help("the types are d, b, t, tq, r, rb, rs and f"),
    })
}

pub(super) fn records(c: &mut Cursor) -> Result<Vec<RecordType>, ParseError> {
    let mut types = Vec::new();
    for word in c.list("a record type")? {
        let kind = record_type(&word)?;
        if !types.contains(&kind) {
            types.push(kind);
        }
    }
    Ok(types)
}

/// Which columns a record type has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelection {
    /// `*` was given, or nothing but exclusions.
    pub all: bool,
    /// Named columns, as written; `header_X` and `arf_X` keep their case.
    pub include: Vec<String>,
    /// `!name`
    pub exclude: Vec<String>,
}

/// Columns known by name (reference 4.2).
#[rustfmt::skip]
const FIELDS: [&str; 44] = [
    "type", "timeLogged", "timeQueued", "totalSecondsQueued", "timeFirstAttempt", "timeImprinted", "orig", "rcpt",
    "orcpt", "dsnAction", "dsnStatus", "dsnDiag", "dsnMta", "dsnReportingMta", "bounceCat", "srcType", "srcMta",
    "dlvType", "dlvSourceIp", "dlvDestinationIp", "dlvEsmtpAvailable", "dlvSize", "vmta", "vmtaPool", "jobId",
    "envId", "queue", "dlvTlsProtocol", "dlvTlsCipher", "rcvSmtpUser", "rcvSourceIp", "rcvDestinationIp",
    "userString", "format", "repSourceIp", "feedbackType", "userAgent", "reportingMta", "reportedDomain",
    "dlvProxyHost", "dlvProxyIp", "dlvProxyPort", "header", "arf",
];

/// `TYPE *,!name,header_X`
pub(super) fn record_fields(c: &mut Cursor) -> Result<Value, ParseError> {
    let kind = record_type(&c.word("a record type")?)?;
    let mut selection = FieldSelection::default();
    for word in c.list("a list of fields")? {
        let (excluded, name) = match word.text.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, word.text.as_str()),
        };
        if name == "*" && !excluded {
            selection.all = true;
            continue;
        }
        let name = field(name, &word)?;
        if excluded { selection.exclude.push(name) } else { selection.include.push(name) }
    }
    selection.all |= selection.include.is_empty();
    Ok(Value::RecordFields(kind, selection))
}

fn field(name: &str, word: &Word) -> Result<String, ParseError> {
    let free =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|p| p == prefix) && name.len() > prefix.len();
    if free("header_") || free("arf_") || free("dlvProxy") {
        return Ok(name.to_string());
    }
    if let Some(known) = FIELDS[..FIELDS.len() - 2].iter().find(|f| f.eq_ignore_ascii_case(name)) {
        return Ok(known.to_string());
    }
    let error = ParseError::new(word.at.clone(), format!("`{}` is not an accounting field", shorten(name)));
    Err(match nearest(name, FIELDS) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help("headers are written header_NAME, fields of a complaint arf_NAME"),
    })
}

/// `map-header-to-field TYPE header_X FIELD`: the first such header present fills the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderField {
    pub record: RecordType,
    /// Header name as written, without `header_`.
    pub header: String,
    pub field: String,
}

pub(super) fn header_field(c: &mut Cursor) -> Result<HeaderField, ParseError> {
    let word = c.word("a record type")?;
    let record = record_type(&word)?;
    if record == RecordType::TransientQueue {
        return Err(ParseError::new(word.at, "a tq record is about no message, so it has no headers"));
    }
    let word = c.word("header_NAME")?;
    let Some(header) = word.text.strip_prefix("header_").filter(|h| !h.is_empty()) else {
        return Err(ParseError::new(word.at, "a header is written header_NAME, such as header_X-Mailer"));
    };
    let word_field = c.word("a field")?;
    Ok(HeaderField { record, header: header.to_string(), field: field(&word_field.text, &word_field)? })
}

/// Which queues an accounting file is about; the first entry that fits decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFilter(Vec<FilterEntry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct FilterEntry {
    admits: bool,
    domain: DomainPattern,
    /// `None` is `*`.
    vmta: Option<String>,
}

impl QueueFilter {
    /// Whether records of the queue `domain/vmta` are written. What no entry names is not.
    pub fn admits(&self, domain: &str, vmta: &str) -> bool {
        let fits = |e: &&FilterEntry| e.domain.matches(domain) && e.vmta.as_deref().is_none_or(|v| v == vmta);
        self.0.iter().find(fits).is_some_and(|e| e.admits)
    }
}

pub(super) fn queue_filter(c: &mut Cursor, macros: &Macros) -> Result<QueueFilter, ParseError> {
    let mut entries = Vec::new();
    for word in c.list("a queue")? {
        let (admits, text) = match word.text.strip_prefix('!') {
            Some(text) => (false, text),
            None => (true, word.text.as_str()),
        };
        let (domain, vmta) = match text.rsplit_once('/') {
            // The slash of `[10/8]` is not the one before a VMTA.
            Some((domain, vmta)) if !vmta.ends_with(']') => (domain, vmta),
            _ => (text, "{default}"),
        };
        if vmta.is_empty() {
            return Err(ParseError::new(word.at, "the virtual MTA after `/` is missing"));
        }
        let vmta = (vmta != "*").then(|| vmta.to_string());
        let part = Word { text: domain.to_string(), at: word.at.clone(), quoted: false };
        for (domain, _) in expand_patterns(&part, macros)? {
            if matches!(domain, DomainPattern::Reserved(_)) {
                return Err(ParseError::new(word.at.clone(), "reserved domains cannot be filtered"));
            }
            entries.push(FilterEntry { admits, domain, vmta: vmta.clone() });
        }
    }
    Ok(QueueFilter(entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_types_have_codes_and_long_names() {
        let of = |text| records(&mut Cursor::new(text));
        assert_eq!(of("d,b").unwrap(), [RecordType::Delivery, RecordType::Bounce]);
        assert_eq!(
            of("transient-queue, rb,rb").unwrap().iter().map(|r| r.code()).collect::<Vec<_>>(),
            ["tq", "rb"]
        );
        assert_eq!(of("all").unwrap_err().message, "`all` is not a record type");
    }

    #[test]
    fn fields_are_selected_by_name_or_left_out() {
        let of = |text| match record_fields(&mut Cursor::new(text)).unwrap() {
            Value::RecordFields(kind, selection) => (kind, selection),
            other => panic!("{other:?}"),
        };
        let (kind, selection) = of("bounce *,!dsnDiag,header_X-Job");
        assert_eq!(kind, RecordType::Bounce);
        assert!(selection.all);
        assert_eq!(
            (selection.exclude, selection.include),
            (vec!["dsnDiag".into()], vec!["header_X-Job".into()])
        );
        assert!(of("d !vmta").1.all);
        assert!(!of("d bounceCat,vmta").1.all);
        let error = record_fields(&mut Cursor::new("d dsnDaig")).unwrap_err();
        assert_eq!(error.help.as_deref(), Some("did you mean `dsnDiag`?"));
    }

    #[test]
    fn the_first_entry_of_a_queue_filter_decides() {
        let of = |text| queue_filter(&mut Cursor::new(text), &Macros::default()).unwrap();
        let filter = of("!gmail.com/v1, gmail.com/*, yahoo.com");
        assert!(!filter.admits("gmail.com", "v1"));
        assert!(filter.admits("gmail.com", "v2"));
        assert!(filter.admits("yahoo.com", "{default}") && !filter.admits("yahoo.com", "v1"));
        assert!(!of("!gmail.com/*").admits("yahoo.com", "v1"));
        assert!(of("[10/8]").admits("[10.0.0.1]", "{default}"));
    }
}
