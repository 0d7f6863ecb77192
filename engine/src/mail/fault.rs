//! What can be wrong with a template, with a row that is merged into it, and with stored content.

use super::address::AddressError;
use super::header::InjectionError;
use super::lines::{BareCr, MAX_LINE};
use super::printable::Printable;
use thiserror::Error;

/// One fault of a template; compiling reports all it finds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}, line {line}: {}", Printable(problem))]
pub struct TemplateError {
    /// `header Subject`, `html part`, `text part`, `template`.
    pub place: String,
    /// Counted from one: within the header block for a template's header, within the decoded part for a part.
    pub line: u32,
    pub problem: TemplateProblem,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateProblem {
    #[error("there is no field `{name}`{}; the fields are: {known}", suggestion(nearest.as_deref()))]
    UnknownField { name: String, nearest: Option<String>, known: String },
    #[error("`{0}` is not available in a campaign; [*to], [*from] and [*date] are")]
    Reserved(String),
    #[error("`{0}` is not closed; to write it as text: {{{{ '{0}' }}}}")]
    Unclosed(&'static str),
    #[error("{0}")]
    Syntax(String),
    #[error("`{0}` is not allowed: a template stands alone")]
    Forbidden(String),
    #[error("it cannot be rendered: {0}")]
    Unrenderable(String),
    #[error("the header is missing; add it to the template or to [headers]")]
    MissingHeader,
    #[error("the header stands there {0} times; receivers refuse more than one")]
    DuplicateHeader(usize),
    #[error("this is not a header field; a field is `Name: value`, and an empty line ends the header")]
    NotAField,
    #[error("this header cannot be set here; the structure of the message comes from its parts")]
    StructureHeader,
    #[error("fields cannot be merged into this header")]
    NoFieldsHere,
    #[error("the value is not ASCII, and this header knows no encoding")]
    NotAscii,
    #[error("the value is not valid UTF-8")]
    NotUtf8,
    #[error("a word is longer than 998 characters")]
    WordTooLong,
    #[error("`{text}` is not an address: {error}")]
    Address { text: String, error: AddressError },
    #[error("an address list is `Name <user@domain>, user@domain`; {0}")]
    AddressList(&'static str),
    #[error(transparent)]
    Injection(InjectionError),
    #[error(transparent)]
    BareCr(BareCr),
    #[error("the text is not valid in its charset{}", charset.as_deref().map(|c| format!(" ({c})")).unwrap_or_default())]
    Charset { charset: Option<String> },
    #[error(
        "the part cannot be decoded: its transfer encoding is broken, or the boundary that ends it is missing"
    )]
    Undecodable,
    #[error("the MIME structure is broken: {0}")]
    Structure(&'static str),
    #[error("a line of {0} octets in a part that cannot be re-encoded; at most 998 are allowed")]
    LineTooLong(usize),
    #[error("there is neither a text nor an HTML body")]
    NoBody,
    #[error("the template is {0} bytes long; at most {max} are allowed", max = super::content::MAX_TEMPLATE)]
    TooLarge(usize),
    #[error("{0}")]
    Attachment(&'static str),
    #[error("too many fields, pieces or templates")]
    TooMany,
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default()
}

/// Why a row cannot be merged. The message is not sent to this recipient; nothing is ever cleaned silently (A30).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RenderError {
    #[error("the row has {got} values, the content has {expected} fields")]
    Values { expected: usize, got: usize },
    #[error("field `{}` contains {what}, but header {header} must stay on one line", Printable(field))]
    Injection { header: String, field: String, what: &'static str },
    #[error(
        "header {header}: the value is not ASCII, and this header knows no encoding (use |urlencode in URLs)"
    )]
    NotAscii { header: String },
    #[error("header {header}: a word is longer than 998 characters")]
    WordTooLong { header: String },
    #[error("a line of {octets} octets; at most {MAX_LINE} are allowed")]
    LineTooLong { octets: usize },
    #[error("a NUL, or a line end that is not CR LF")]
    Unclean,
    #[error("header {header}: `{}` is not an address: {error}", Printable(text))]
    Address { header: String, text: String, error: AddressError },
    #[error(
        "header {header}: the local part of `{}` needs SMTPUTF8, the recipient's does not",
        Printable(text)
    )]
    NeedsSmtpUtf8 { header: String, text: String },
    /// `endless`: it ran out of fuel, or called itself too often.
    #[error("{place}: {}", Printable(message))]
    Template { place: String, message: String, endless: bool },
    #[error("the message would be larger than {limit} bytes")]
    TooLarge { limit: usize },
}

/// Why stored content cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ContentError {
    #[error("the content ends early")]
    Short,
    #[error("content version {0} is not known; this program reads version {known}", known = super::stored::VERSION)]
    Version(u8),
    #[error("the content is damaged: {0}")]
    Damaged(&'static str),
    #[error("a template in the content does not compile: {0}")]
    Template(String),
}
