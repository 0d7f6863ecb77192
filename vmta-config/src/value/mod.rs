//! The value types of reference 1.3: how each is written (`Syntax`), what it becomes (`Value`), and the parser.

mod acct;
mod ciphers;
mod hosts;
mod names;
mod numbers;
mod regex;
mod remote;
mod reply;
mod rules;
mod template;

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;

pub use acct::{FieldSelection, HeaderField, QueueFilter, RecordType};
pub(crate) use ciphers::known as known_ciphers;
pub use hosts::{HostAndPort, MailHost, Route, SourceHost};
pub use names::DomainPattern;
pub(crate) use names::{ascii_domain, expand_patterns, literal, matches_net, network};
pub use numbers::{DailyLimit, Rate, VolumeRate};
pub use regex::Pattern;
pub use reply::SmtpAction;
pub(crate) use rules::NESTED;
pub use rules::{Choice, Subject};
pub use template::{ReportTemplate, ReportVariable, TemplatePiece};

use crate::lex::{Cursor, shorten};
use crate::macros::Macros;
use crate::nearest::nearest;
pub(crate) use remote::{URL_HELP, check_url};

/// Why a value was refused; `at` counts bytes in the text that was parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    pub at: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

impl ParseError {
    pub(crate) fn new(at: Range<usize>, message: impl Into<String>) -> ParseError {
        ParseError { at, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> ParseError {
        self.help = Some(help.into());
        self
    }
}

/// `1h`, `4d12h`, as in the configuration; the error says what would be right.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let mut cursor = Cursor::new(text);
    numbers::time(&mut cursor).map_err(|e| match e.help {
        Some(help) => format!("{}: {help}", e.message),
        None => e.message,
    })
}

/// A kind of named thing that a directive may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Named {
    /// A virtual MTA or a pool.
    VirtualMta,
    Source,
    SourceGroup,
    PatternList,
    SmtpPatternList,
    RewriteList,
    AddressList,
    Proxy,
}

/// How the value of a directive is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// `yes`, `no`, `true`, `false`
    Bool,
    /// A boolean or one of these words.
    BoolOr(&'static [&'static str]),
    /// One of these words.
    Keyword(&'static [&'static str]),
    /// A number within these bounds.
    Number(u64, u64),
    /// A number or `unlimited`; 0 means unlimited too.
    Limit,
    /// A number or this word.
    NumberOr(&'static str),
    Time,
    /// A time within these bounds, in seconds.
    TimeWithin(u64, u64),
    TimeOrNever,
    TimeList,
    /// A boolean, a time or `never`.
    BoolOrTime,
    /// `Nd` or `never`.
    DaysOrNever,
    Rate,
    VolumeRate,
    DailyLimits,
    /// `N%`, up to 100.
    Percent,
    Size,
    /// A size within these bounds, in bytes.
    SizeWithin(u64, u64),
    /// A size, a bare number of bytes, `0` or `unlimited`.
    SizeOrUnlimited,
    /// One word or quoted string; `""` clears.
    Text,
    /// A comma list; `""` clears.
    List,
    /// The name of something defined elsewhere; `""` clears.
    Name(Named),
    /// A comma list of such names; `""` clears.
    Names(Named),
    /// A VMTA, a pool or `by-smtp-source-ip`.
    DefaultVirtualMta,
    HostName,
    DomainPattern,
    Email,
    /// A comma list of addresses; `""` clears.
    Emails,
    EmailOrRegex,
    Regex,
    Ip,
    Cidr,
    CidrNumber,
    CidrRate,
    CidrVolume,
    PatternNumber,
    SourceHost,
    Listener,
    File,
    /// A file, then perhaps the password of the key in it.
    FileAndPassword,
    TwoDirectories,
    /// Hosts with `,` `;` `[ip]` `host:port` `lookup-mx:`
    Hosts,
    DomainMacro,
    Include,
    DomainKey,
    HttpAccess,
    Reply,
    Category,
    /// A line of a `<pattern-list>`.
    Choice(Subject),
    Alias,
    /// A text with variables of failure reports; `""` clears.
    Template,
    /// The same with an address in it.
    FromTemplate,
    /// `SRC DST` of a `<rewrite-list>`.
    Rewrite,
    FromDomain,
    MxRollup,
    /// Names of headers and `/expressions/`; `""` clears.
    HeaderList,
    Url,
    ApiKey,
    ProxyServer,
    ProxyClient,
    ProxySource,
    DkimIdentity,
    Privacy,
    Records,
    RecordFields,
    HeaderField,
    QueueFilter,
    /// A cipher list of OpenSSL's, for TLS 1.3 or for what was before.
    Ciphers {
        v1_3: bool,
    },
    /// Taken as written; for what has no effect here.
    Unchecked,
}

/// The parsed value of a directive.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Keyword(&'static str),
    Number(u64),
    Unlimited,
    Never,
    Time(Duration),
    Times(Vec<Duration>),
    Rate(Rate),
    Volume(VolumeRate),
    Daily(Vec<DailyLimit>),
    /// Bytes.
    Size(u64),
    Text(String),
    List(Vec<String>),
    /// Set to `""`: nothing, whatever was inherited.
    Cleared,
    Ip(IpAddr),
    Cidr(IpNet),
    CidrNumber(IpNet, u64),
    CidrRate(IpNet, Rate),
    CidrVolume(IpNet, VolumeRate),
    Domains(Vec<DomainPattern>),
    DomainsNumber(Vec<DomainPattern>, u64),
    /// Patterns of MX hosts, the rollup of domains that have them, and whether it is `rollup-by-ip`.
    Rollup(Vec<DomainPattern>, String, bool),
    SourceHost(SourceHost),
    Listener(IpNet, u16, Option<String>),
    Pair(String, String),
    /// Domains, and the one that stands in for them.
    DomainsTo(Vec<DomainPattern>, String),
    Hosts(Route),
    Pattern(Pattern),
    Template(ReportTemplate),
    Reply(Pattern, Vec<SmtpAction>),
    Category(Pattern, String),
    Records(Vec<RecordType>),
    RecordFields(RecordType, FieldSelection),
    HeaderField(HeaderField),
    QueueFilter(QueueFilter),
    /// Suites in their order, and the words that select nothing.
    Ciphers(Vec<&'static str>, Vec<String>),
    /// The name of a header, the expression and the results of a line that chooses.
    Choice(Option<String>, Option<Pattern>, Vec<Choice>),
}

impl Syntax {
    /// Parses the whole of `args`.
    pub(crate) fn parse(&self, args: &str, macros: &Macros) -> Result<Value, ParseError> {
        let mut cursor = Cursor::new(args);
        let value = self.parse_from(&mut cursor, macros)?;
        cursor.finish()?;
        Ok(value)
    }

    fn parse_from(&self, c: &mut Cursor, macros: &Macros) -> Result<Value, ParseError> {
        Ok(match *self {
            Syntax::Bool => Value::Bool(numbers::boolean(c)?),
            Syntax::BoolOr(words) => keyword(c, words, true)?,
            Syntax::Keyword(words) => keyword(c, words, false)?,
            Syntax::Number(low, high) => Value::Number(numbers::number(c, low, high)?),
            Syntax::Limit => numbers::limit(c)?,
            Syntax::NumberOr(word) => numbers::number_or(c, word)?,
            Syntax::Time => Value::Time(numbers::time(c)?),
            Syntax::TimeWithin(low, high) => Value::Time(numbers::time_within(c, low, high)?),
            Syntax::TimeOrNever => numbers::time_or_never(c)?,
            Syntax::TimeList => Value::Times(numbers::times(c)?),
            Syntax::BoolOrTime => numbers::boolean_or_time(c)?,
            Syntax::DaysOrNever => numbers::days_or_never(c)?,
            Syntax::Rate => Value::Rate(numbers::rate(c)?),
            Syntax::VolumeRate => Value::Volume(numbers::volume_rate(c)?),
            Syntax::DailyLimits => Value::Daily(numbers::daily_limits(c)?),
            Syntax::Percent => Value::Number(numbers::percent(c)?),
            Syntax::Size => Value::Size(numbers::size(c, false)?),
            Syntax::SizeWithin(low, high) => Value::Size(numbers::size_within(c, low, high)?),
            Syntax::SizeOrUnlimited => numbers::size_or_unlimited(c)?,
            Syntax::Text => text(c, "a value")?,
            Syntax::File => text(c, "a file or directory")?,
            Syntax::FileAndPassword => {
                let file = c.word("a file")?.text;
                match c.at_end() {
                    true => Value::Text(file),
                    false => Value::Pair(file, c.word("a password")?.text),
                }
            }
            Syntax::Name(_) => text(c, "a name")?,
            Syntax::DefaultVirtualMta => text(c, "the name of a virtual MTA or pool")?,
            Syntax::List | Syntax::Names(_) => list(c)?,
            Syntax::TwoDirectories => {
                Value::Pair(c.word("the pickup directory")?.text, c.word("the directory for bad files")?.text)
            }
            Syntax::Include => Value::Text(c.word("a file")?.text),
            Syntax::Unchecked => Value::Text(c.remainder("a value").map(|w| w.text).unwrap_or_default()),
            Syntax::Regex => Value::Pattern(regex::pattern(c)?),
            Syntax::Reply => reply::reply(c)?,
            Syntax::Category => reply::category(c)?,
            Syntax::Choice(subject) => rules::choice(c, subject)?,
            Syntax::Alias => rules::alias(c)?,
            Syntax::Template => template::template(c)?,
            Syntax::FromTemplate => template::from_template(c)?,
            Syntax::Rewrite => rules::rewrite(c)?,
            Syntax::FromDomain => rules::from_domain(c, macros)?,
            Syntax::MxRollup => rules::rollup(c, macros)?,
            Syntax::HeaderList => rules::header_list(c)?,
            Syntax::Ciphers { v1_3 } => ciphers::ciphers(c, v1_3)?,
            _ => return self.parse_named(c, macros),
        })
    }

    fn parse_named(&self, c: &mut Cursor, macros: &Macros) -> Result<Value, ParseError> {
        Ok(match *self {
            Syntax::HostName => Value::Text(names::host_name(c)?),
            Syntax::DomainPattern => Value::Domains(names::domain_patterns(c, macros)?),
            Syntax::Email => names::email_or_clear(c)?,
            Syntax::Emails => names::emails(c)?,
            Syntax::EmailOrRegex => names::email_or_regex(c)?,
            Syntax::Ip => Value::Ip(names::ip(c)?),
            Syntax::Cidr => Value::Cidr(names::cidr(c)?),
            Syntax::CidrNumber => Value::CidrNumber(names::cidr(c)?, numbers::number(c, 0, u64::MAX)?),
            Syntax::CidrRate => Value::CidrRate(names::cidr(c)?, numbers::rate(c)?),
            Syntax::CidrVolume => Value::CidrVolume(names::cidr(c)?, numbers::volume_rate(c)?),
            Syntax::PatternNumber => {
                Value::DomainsNumber(names::domain_patterns(c, macros)?, numbers::number(c, 0, u64::MAX)?)
            }
            Syntax::SourceHost => Value::SourceHost(hosts::source_host(c)?),
            Syntax::Listener => hosts::listener(c)?,
            Syntax::Hosts => hosts::route(c)?,
            Syntax::DomainMacro => {
                let name = c.word("the name of the macro")?;
                Value::Pair(name.text, c.list("a list of domains")?.len().to_string())
            }
            Syntax::DomainKey => remote::domain_key(c, macros)?,
            Syntax::Url => remote::url(c)?,
            Syntax::ApiKey => remote::api_key(c)?,
            Syntax::ProxyServer => remote::server(c)?,
            Syntax::ProxyClient => remote::client(c)?,
            Syntax::ProxySource => remote::proxy_source(c)?,
            Syntax::DkimIdentity => remote::identity(c)?,
            Syntax::Privacy => remote::privacy(c)?,
            Syntax::HttpAccess => hosts::http_access(c)?,
            Syntax::Records => Value::Records(acct::records(c)?),
            Syntax::RecordFields => acct::record_fields(c)?,
            Syntax::HeaderField => Value::HeaderField(acct::header_field(c)?),
            Syntax::QueueFilter => Value::QueueFilter(acct::queue_filter(c, macros)?),
            _ => unreachable!("parse_from covers the rest"),
        })
    }
}

/// A word or quoted string; `""` clears.
fn text(c: &mut Cursor, what: &str) -> Result<Value, ParseError> {
    let word = c.word(what)?;
    Ok(if word.text.is_empty() { Value::Cleared } else { Value::Text(word.text) })
}

fn list(c: &mut Cursor) -> Result<Value, ParseError> {
    let words: Vec<String> = c.list("a list")?.into_iter().map(|w| w.text).collect();
    Ok(if words.is_empty() { Value::Cleared } else { Value::List(words) })
}

fn keyword(c: &mut Cursor, words: &[&'static str], boolean: bool) -> Result<Value, ParseError> {
    let word = c.word("a value")?;
    if let Some(found) = words.iter().find(|w| word.text.eq_ignore_ascii_case(w)) {
        return Ok(Value::Keyword(found));
    }
    if boolean && let Some(value) = numbers::boolean_word(&word.text) {
        return Ok(Value::Bool(value));
    }
    let mut allowed: Vec<&str> = words.to_vec();
    if boolean {
        allowed.extend(["yes", "no"]);
    }
    let message = format!("`{}` is not one of: {}", shorten(&word.text), allowed.join(", "));
    let error = ParseError::new(word.at, message);
    Err(match nearest(&word.text, allowed.iter().copied()) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error,
    })
}
