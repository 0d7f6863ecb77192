//! Domains, domain patterns, host names, addresses and networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::IpNet;

use super::{ParseError, Value};
use crate::lex::{Cursor, Word, shorten};
use crate::macros::Macros;
use crate::nearest::nearest;

/// Which domains an entry is for (reference 1.3). Names are lower-case ASCII without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DomainPattern {
    /// `*`
    Any,
    /// `a.b`: that name only
    Exact(String),
    /// `*.a.b`: strict subdomains
    Below(String),
    /// `[*.]a.b`: the name and its subdomains
    AtOrBelow(String),
    /// `[10.0.0.0/8]`: address literals
    Literal(IpNet),
    /// `local`: every name of this host
    Local,
    /// `{bounce}`: a reserved name, braces included
    Reserved(String),
}

/// Reserved domains (reference 1.3).
const RESERVED: [&str; 5] =
    ["{bounce}", "{bounceProcessor}", "{feedbackLoop}", "{sparkpost}", "{gmImprinter}"];

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DomainPattern::Any => f.write_str("*"),
            DomainPattern::Exact(name) | DomainPattern::Reserved(name) => f.write_str(name),
            DomainPattern::Below(name) => write!(f, "*.{name}"),
            DomainPattern::AtOrBelow(name) => write!(f, "[*.]{name}"),
            DomainPattern::Literal(net) if net.prefix_len() == net.max_prefix_len() => {
                write!(f, "[{}]", net.addr())
            }
            DomainPattern::Literal(net) => write!(f, "[{net}]"),
            DomainPattern::Local => f.write_str("local"),
        }
    }
}

impl FromStr for DomainPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<DomainPattern, String> {
        if text == "*" {
            return Ok(DomainPattern::Any);
        }
        if text.eq_ignore_ascii_case("local") {
            return Ok(DomainPattern::Local);
        }
        if let Some(name) = text.strip_prefix("[*.]") {
            return ascii_domain(name).map(DomainPattern::AtOrBelow);
        }
        if let Some(name) = text.strip_prefix("*.") {
            return ascii_domain(name).map(DomainPattern::Below);
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            let address = strip_ipv6_tag(inner);
            let net = network(address).ok_or_else(|| format!("`{inner}` is not an address or network"))?;
            return Ok(DomainPattern::Literal(net));
        }
        if text.starts_with('{') {
            return match RESERVED.iter().find(|r| r.eq_ignore_ascii_case(text)) {
                Some(known) => Ok(DomainPattern::Reserved(known.to_string())),
                None => Err(format!("`{text}` is not a reserved domain; these are: {}", RESERVED.join(", "))),
            };
        }
        ascii_domain(text).map(DomainPattern::Exact)
    }
}

fn strip_ipv6_tag(text: &str) -> &str {
    match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => &text[5..],
        _ => text,
    }
}

/// A domain in lower-case ASCII, without a final dot; internationalised names become A-labels (RFC 5891).
pub(crate) fn ascii_domain(text: &str) -> Result<String, String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let name = match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => idna::domain_to_ascii(text).map_err(|_| format!("`{text}` is not a valid domain name"))?,
    };
    if name.is_empty() || name.len() > 253 {
        return Err(format!("`{}` is not a domain name: 1 to 253 characters are", shorten(&name)));
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err(format!(
                "`{}` is not a domain name: a part between dots has 1 to 63 characters",
                shorten(&name)
            ));
        }
        if let Some(c) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-' && *c != '_') {
            return Err(format!("`{}` is not a domain name: it may not hold `{c}`", shorten(&name)));
        }
    }
    Ok(name)
}

/// Every pattern that `word` stands for, each with whether a macro produced it.
pub(crate) fn expand_patterns(
    word: &Word,
    macros: &Macros,
) -> Result<Vec<(DomainPattern, bool)>, ParseError> {
    let expanded = macros.expand(&word.text).map_err(|error| {
        let refused = ParseError::new(word.at.clone(), error.to_string());
        let name = word.text.trim_start_matches('$');
        match nearest(name, macros.names()) {
            Some(near) if near != name => refused.help(format!("did you mean `${near}`?")),
            _ => refused.help("define it with `domain-macro NAME a.com,b.com`"),
        }
    })?;
    let parse = |e: crate::macros::Expanded| match e.text.parse() {
        Ok(pattern) => Ok((pattern, e.from_macro)),
        Err(message) => Err(ParseError::new(word.at.clone(), message)
            .help("write `*`, `a.b`, `*.a.b`, `[*.]a.b`, `[10/8]` or `$macro`")),
    };
    expanded.into_iter().map(parse).collect()
}

pub(super) fn domain_patterns(c: &mut Cursor, macros: &Macros) -> Result<Vec<DomainPattern>, ParseError> {
    let word = c.word("a domain")?;
    Ok(expand_patterns(&word, macros)?.into_iter().map(|(pattern, _)| pattern).collect())
}

pub(super) fn host_name(c: &mut Cursor) -> Result<String, ParseError> {
    let word = c.word("a host name")?;
    ascii_domain(&word.text)
        .map_err(|m| ParseError::new(word.at, m).help("write a full name, such as mail.example.com"))
}

/// An address or network; with a prefix length, trailing zero octets may be dropped (`10/8`). Host bits are cleared.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let Some((address, prefix)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(IpNet::from);
    };
    let prefix: u8 = (!prefix.starts_with('+')).then(|| prefix.parse().ok())??;
    let address = match address.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => IpAddr::V4(short_ipv4(address)?),
    };
    IpNet::new(address, prefix).ok().map(|net| net.trunc())
}

fn short_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > 4 {
        return None;
    }
    for (octet, part) in octets.iter_mut().zip(parts) {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        *octet = digits.then(|| part.parse().ok())??;
    }
    Some(octets.into())
}

/// Whether `ip` lies in `net`. A prefix of 0 means every address of either family, as `<source 0/0>` is used.
pub(crate) fn matches_net(net: &IpNet, ip: IpAddr) -> bool {
    net.prefix_len() == 0 || net.contains(&ip.to_canonical())
}

pub(super) fn ip(c: &mut Cursor) -> Result<IpAddr, ParseError> {
    let word = c.word("an IP address")?;
    let text = word.text.trim_start_matches('[').trim_end_matches(']');
    text.parse()
        .map_err(|_| ParseError::new(word.at, format!("`{}` is not an IP address", shorten(&word.text))))
}

pub(super) fn cidr(c: &mut Cursor) -> Result<IpNet, ParseError> {
    let word = c.word("an IP address or network")?;
    cidr_word(&word)
}

pub(super) fn cidr_word(word: &Word) -> Result<IpNet, ParseError> {
    network(&word.text).ok_or_else(|| {
        ParseError::new(word.at.clone(), format!("`{}` is not an IP address or network", shorten(&word.text)))
            .help("write an address (192.0.2.1, ::1) or a network (192.0.2.0/24, 10/8, 0/0)")
    })
}

pub(super) fn email(word: &Word) -> Result<String, ParseError> {
    let refused =
        |message: String| Err(ParseError::new(word.at.clone(), message).help("write user@example.com"));
    let Some((local, domain)) = word.text.rsplit_once('@') else {
        return refused(format!("`{}` is not an email address", shorten(&word.text)));
    };
    if local.is_empty() || local.len() > 64 || local.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return refused(format!("`{}` is not a valid local part", shorten(local)));
    }
    let dots = local.starts_with('.') || local.ends_with('.') || local.contains("..");
    if !local.starts_with('"')
        && (dots || local.contains(['(', ')', '<', '>', '[', ']', ':', ';', '@', ',', '\\', '"']))
    {
        return refused(format!("`{}` is not a valid local part", shorten(local)));
    }
    match ascii_domain(domain) {
        Ok(_) => Ok(word.text.clone()),
        Err(message) => refused(message),
    }
}

pub(super) fn email_or_clear(c: &mut Cursor) -> Result<Value, ParseError> {
    let word = c.word("an email address")?;
    if word.text.is_empty() {
        return Ok(Value::Cleared);
    }
    email(&word).map(Value::Text)
}

pub(super) fn emails(c: &mut Cursor) -> Result<Value, ParseError> {
    let list = c.list("an email address")?.iter().map(email).collect::<Result<Vec<_>, _>>()?;
    Ok(if list.is_empty() { Value::Cleared } else { Value::List(list) })
}

/// Local parts without a domain are accepted too (`<address-list>` `address`).
pub(super) fn email_or_regex(c: &mut Cursor) -> Result<Value, ParseError> {
    if c.rest().starts_with('/') {
        return super::regex::pattern(c).map(Value::Pattern);
    }
    let word = c.word("an email address or `/expression/`")?;
    if word.text.contains('@') && !word.text.ends_with("@*") {
        return email(&word).map(Value::Text);
    }
    Ok(Value::Text(word.text))
}

impl DomainPattern {
    /// Whether `domain` (lower-case ASCII) is one of those meant. `Local` matches nothing: it is replaced when loading.
    pub fn matches(&self, domain: &str) -> bool {
        let below =
            |name: &str| domain.strip_suffix(name).is_some_and(|head| head.len() > 1 && head.ends_with('.'));
        match self {
            DomainPattern::Any => true,
            DomainPattern::Exact(name) | DomainPattern::Reserved(name) => domain == name,
            DomainPattern::Below(name) => below(name),
            DomainPattern::AtOrBelow(name) => domain == name || below(name),
            DomainPattern::Literal(net) => literal(domain).is_some_and(|ip| matches_net(net, ip)),
            DomainPattern::Local => false,
        }
    }
}

/// The address of an address literal (`[192.0.2.1]`, `[IPv6:::1]`; RFC 5321 4.1.3).
pub(crate) fn literal(domain: &str) -> Option<IpAddr> {
    strip_ipv6_tag(domain.strip_prefix('[')?.strip_suffix(']')?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, domain: &str) -> bool {
        pattern.parse::<DomainPattern>().unwrap().matches(domain)
    }

    #[test]
    fn patterns_match_as_the_reference_says() {
        assert!(matches("*", "x.y") && matches("A.b.", "a.b"));
        assert!(!matches("a.b", "x.a.b"));
        assert!(matches("*.a.b", "x.a.b") && !matches("*.a.b", "a.b") && !matches("*.a.b", "xa.b"));
        assert!(matches("[*.]a.b", "a.b") && matches("[*.]a.b", "y.x.a.b") && !matches("[*.]a.b", "xa.b"));
        assert!(
            matches("[10/8]", "[10.1.2.3]") && !matches("[10/8]", "[11.1.2.3]") && !matches("[10/8]", "a.b")
        );
        assert!(matches("[0/0]", "[IPv6:2001:db8::1]"));
        assert!(matches("{bounce}", "{bounce}"));
        assert!(matches("münchen.de", "xn--mnchen-3ya.de"));
        for wrong in ["", "a..b", "a b", "*.*.a", "[10.0.0/x]", "{nosuch}", "a,b", "-", "a.b/c"] {
            assert_eq!(wrong.parse::<DomainPattern>().is_ok(), wrong == "-", "{wrong}");
        }
    }

    #[test]
    fn networks_may_drop_zero_octets() {
        let shown = |text| network(text).map(|n| n.to_string());
        assert_eq!(shown("0/0").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(shown("10/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(shown("173.194/16").as_deref(), Some("173.194.0.0/16"));
        assert_eq!(shown("188.138.125.135/27").as_deref(), Some("188.138.125.128/27"));
        assert_eq!(shown("::1").as_deref(), Some("::1/128"));
        for wrong in ["10", "10/33", "1.2.3.4.5/8", "10./8", "300/8", "x", "10/+8", ""] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
        assert!(matches_net(&network("0/0").unwrap(), "2001:db8::1".parse().unwrap()));
        assert!(matches_net(&network("10/8").unwrap(), "::ffff:10.0.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn a_pattern_prints_as_it_is_read(name in "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,3}", form in 0..3) {
            let text = match form { 0 => name, 1 => format!("*.{name}"), _ => format!("[*.]{name}") };
            prop_assert_eq!(text.parse::<DomainPattern>().unwrap().to_string(), text);
        }
    }
}
