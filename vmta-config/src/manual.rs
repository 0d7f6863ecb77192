//! The manual of the configuration language, written from the directive table.

use std::fmt::{self, Write};

use crate::scope::{Scope, TAGS, Takes};
use crate::table::{Directive, Status, directives};
use crate::value::{Subject, Syntax};

const INTRODUCTION: &str = "\
# Directives

Made from the directive table; do not edit.

One directive a line: a keyword, blanks, a value. `#` starts a comment anywhere, in quotes too. Values with blanks stand in
double quotes, in which a backslash escapes backslash, quote, blank and `$`. `\"\"` clears an inherited value. A tag
opens and closes on lines of its own.

Status:

- *in effect*: the engine acts on it.
- *not yet*: parsed and checked; `check-config` lists those a configuration uses.
- *no effect*: accepted for the sake of existing files, for the reason given.
- *older form*: read as what it names; `convert-config` rewrites it.

**Ours** are not PowerMTA's. **Restart** means that a change takes one, for the reason given; everything else is applied by `reload`.

| type | written |
|---|---|
| BOOLEAN | `yes`, `no`, `true`, `false` |
| TIME | digits and `w`, `d`, `h`, `m`, `s`, added up: `4d12h`, `90s`; `0` where it means off |
| SIZE | digits and `b`, `k`, `m`, `g`, `t`, of either case: `250M` |
| rate | `N/[M]UNIT` with `d`, `h`, `m`, `s` (also `day`, `hr`, `min`, `sec`): `100/s`, `100/15m`; `0` means unlimited |
| CIDR | an address or a network; trailing zero octets may be dropped: `10/8`, `0/0` |
| DOMAIN-PATTERN | `*`, `a.b`, `*.a.b` (its subdomains), `[*.]a.b` (both), `[10/8]` (address literals), `$macro` |
| REGEX | between slashes, not anchored, without regard to case unless it says `(?-i)`; `/` is written `\\/` and `#` as `\\x23` |
";

/// The table of directives as Markdown.
pub fn manual() -> String {
    let mut text = String::from(INTRODUCTION);
    section(&mut text, Scope::Global, "Top level", "");
    for (i, tag) in TAGS.iter().enumerate() {
        // A later tag of the same scope is an older spelling.
        if TAGS[..i].iter().any(|t| t.scope == tag.scope)
            || directives().all(|d| !d.scopes.contains(tag.scope))
        {
            continue;
        }
        let argument = match tag.takes {
            Takes::Nothing => String::new(),
            Takes::Optional(what) | Takes::Required(what) => format!("Takes {what}. "),
        };
        let status = match tag.status {
            Status::InEffect => String::new(),
            status => format!(" Status: {}.", in_words(status)),
        };
        let restart = match tag.restart {
            "" => String::new(),
            why => format!(" A change takes a restart: {why}."),
        };
        let place = format!("{argument}Stands in {}.{status}{restart}\n", tag.within);
        section(&mut text, tag.scope, &format!("`<{}>`", tag.name), &place);
    }
    text
}

fn section(text: &mut String, scope: Scope, title: &str, place: &str) {
    let rows = directives().filter(|d| d.scopes.contains(scope)).map(row);
    let rows: String = rows.collect();
    let head = "| Directive | Value | Default | Status | Meaning | Example |\n|---|---|---|---|---|---|\n";
    let place = if place.is_empty() { String::new() } else { format!("\n{place}") };
    // Writing to a string cannot fail.
    let _ = write!(text, "\n## {title}\n{place}\n{head}{rows}");
}

fn row(d: &Directive) -> String {
    let default = if d.default.is_empty() { String::new() } else { format!("`{}`", d.default) };
    let mut meaning = d.doc.to_string();
    if d.repeats {
        meaning.push_str("; repeatable");
    }
    if !d.restart.is_empty() {
        let _ = write!(meaning, "; **restart**: {}", d.restart);
    }
    if d.ours {
        meaning.push_str(" (**ours**)");
    }
    // A pattern stands where others have their name.
    let name = if d.name == "/REGEX/" { "/user unknown/" } else { d.name };
    let example = format!("`{name} {}`", d.example());
    let cells =
        [format!("`{}`", d.name), d.syntax.to_string(), default, in_words(d.status), meaning, example];
    let cells: Vec<String> = cells.iter().map(|c| c.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn in_words(status: Status) -> String {
    match status {
        Status::InEffect => "in effect".to_string(),
        Status::Planned => "not yet".to_string(),
        Status::NoEffect(reason) => format!("no effect: {reason}"),
        Status::Replaced(by) => format!("older form of {by}"),
    }
}

fn choice(subject: Subject) -> &'static str {
    match subject {
        Subject::Always => "RESULT",
        Subject::Address => "/REGEX/ RESULT",
        Subject::Header => "HEADER /REGEX/ RESULT",
    }
}

/// The syntax as the manual and messages show it.
impl fmt::Display for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Syntax::Bool => "BOOLEAN",
            Syntax::BoolOr(words) => return write!(f, "BOOLEAN | {}", words.join(" | ")),
            Syntax::Keyword(words) => return f.write_str(&words.join(" | ")),
            Syntax::Number(0, high) if high >= u64::from(u32::MAX) => "N",
            Syntax::Number(low, high) => return write!(f, "{low}..{high}"),
            Syntax::Limit => "N | unlimited",
            Syntax::NumberOr(word) => return write!(f, "N | {word}"),
            Syntax::Time | Syntax::TimeWithin(..) => "TIME",
            Syntax::TimeOrNever => "TIME | never",
            Syntax::TimeList => "TIME,TIME,...",
            Syntax::BoolOrTime => "BOOLEAN | TIME | never",
            Syntax::DaysOrNever => "Nd | never",
            Syntax::Rate => "N/[M]UNIT | unlimited",
            Syntax::VolumeRate => "SIZE/[M]UNIT | unlimited",
            Syntax::DailyLimits => "N/d,N/d,...",
            Syntax::Percent => "N%",
            Syntax::Size | Syntax::SizeWithin(..) => "SIZE",
            Syntax::SizeOrUnlimited => "SIZE | unlimited",
            Syntax::Text | Syntax::Template | Syntax::FromTemplate => "STRING",
            Syntax::List => "LIST",
            Syntax::Name(_) => "NAME",
            Syntax::Names(_) => "NAME,NAME,...",
            Syntax::DefaultVirtualMta => "VMTA | POOL | by-smtp-source-ip",
            Syntax::HostName => "HOSTNAME",
            Syntax::DomainPattern => "DOMAIN-PATTERN",
            Syntax::Email => "EMAIL",
            Syntax::Emails => "EMAIL,EMAIL,...",
            Syntax::EmailOrRegex => "EMAIL | /REGEX/",
            Syntax::Regex => "/REGEX/",
            Syntax::Ip => "IP",
            Syntax::Cidr => "CIDR",
            Syntax::CidrNumber => "CIDR N",
            Syntax::CidrRate => "CIDR N/[M]UNIT",
            Syntax::CidrVolume => "CIDR SIZE/[M]UNIT",
            Syntax::PatternNumber => "DOMAIN-PATTERN N",
            Syntax::SourceHost => "CIDR HOSTNAME",
            Syntax::Listener => "CIDR:PORT [source=NAME]",
            Syntax::File | Syntax::Include => "FILE",
            Syntax::FileAndPassword => "FILE [PASSWORD]",
            Syntax::TwoDirectories => "DIR BAD-DIR",
            Syntax::Hosts => "host,host:port;[ip];lookup-mx:domain",
            Syntax::DomainMacro => "NAME DOMAIN,DOMAIN,...",
            Syntax::DomainKey => "SELECTOR,DOMAIN,FILE",
            Syntax::HttpAccess => "CIDR LEVEL",
            Syntax::Reply => "/REGEX/ ACTION,ACTION,...",
            Syntax::Category => "CATEGORY",
            Syntax::Choice(subject) => choice(subject),
            Syntax::Alias => "ADDRESS ADDRESS,ADDRESS,...",
            Syntax::Rewrite => "SENDER SENDER",
            Syntax::FromDomain => "DOMAIN-PATTERN DOMAIN",
            Syntax::MxRollup => "DOMAIN-PATTERN NAME.rollup [rollup-by-ip]",
            Syntax::HeaderList => "HEADER,/REGEX/,...",
            Syntax::Url => "URL",
            Syntax::ApiKey => "KEY",
            Syntax::ProxyServer => "HOST:PORT",
            Syntax::ProxyClient => "IP[:PORT] HOSTNAME",
            Syntax::ProxySource => "IP PROXY:PORT CLIENT-IP[:PORT] HOSTNAME",
            Syntax::DkimIdentity => "EMAIL | @DOMAIN | sender-or-from | strict-from",
            Syntax::Privacy => "retain | redact [TEXT] | siphash KEY | hmac-sha256 KEY | ...-hexkey HEX",
            Syntax::Records => "d,b,t,tq,r,rb,rs,f",
            Syntax::RecordFields => "TYPE FIELD,!FIELD,...",
            Syntax::HeaderField => "TYPE header_NAME FIELD",
            Syntax::QueueFilter => "DOMAIN[/VMTA],!DOMAIN[/VMTA],...",
            Syntax::Ciphers { v1_3: true } => "SUITE:SUITE:...",
            Syntax::Ciphers { v1_3: false } => "OPENSSL-CIPHERS",
            Syntax::Unchecked => "as in PowerMTA",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To renew the file: `UPDATE_MANUAL=1 cargo test -p vmta-config manual`.
    #[test]
    fn the_manual_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/directives.md");
        if std::env::var_os("UPDATE_MANUAL").is_some() {
            std::fs::write(path, manual()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == manual(), "docs/directives.md is not what the table says");
    }
}
