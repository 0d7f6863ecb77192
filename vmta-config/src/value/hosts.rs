//! Source hosts, listeners, explicit routes, and the three-part arguments of DKIM keys and monitor access.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::names::{ascii_domain, cidr, cidr_word, literal, network};
use super::{ParseError, Value};
use crate::lex::{Cursor, Word, shorten};

/// One source of outgoing connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceHost {
    /// One address, or a network: then every local address inside it, never 127.0.0.1 (reference 2.1).
    pub network: IpNet,
    /// The name given in EHLO.
    pub host_name: String,
}

impl SourceHost {
    /// The address, where it is one.
    pub fn address(&self) -> Option<IpAddr> {
        (self.network.prefix_len() == self.network.max_prefix_len()).then(|| self.network.addr())
    }
}

/// A next hop given in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailHost {
    Address(IpAddr),
    /// A host name: its addresses, not its MX.
    Name(String),
    /// The MX hosts of this domain.
    LookupMx(String),
}

/// A next hop and its port; `None` means `default-smtp-port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAndPort {
    pub host: MailHost,
    pub port: Option<u16>,
}

/// Explicit hosts: groups in order of preference; hosts of a group take turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    pub groups: Vec<Vec<HostAndPort>>,
}

impl fmt::Display for HostAndPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            MailHost::Address(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]")?,
            MailHost::Address(ip) => write!(f, "[{ip}]")?,
            MailHost::Name(name) => f.write_str(name)?,
            MailHost::LookupMx(domain) => write!(f, "lookup-mx:{domain}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |g: &Vec<HostAndPort>| g.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        f.write_str(&self.groups.iter().map(group).collect::<Vec<_>>().join(";"))
    }
}

pub(super) fn source_host(c: &mut Cursor) -> Result<SourceHost, ParseError> {
    let network = cidr(c)?;
    let word = c.word("the host name")?;
    let host_name = ascii_domain(&word.text).map_err(|m| {
        ParseError::new(word.at, m).help("write ADDRESS HOSTNAME, such as 192.0.2.1 mail.example.com")
    })?;
    Ok(SourceHost { network, host_name })
}

const LISTENER_HELP: &str = "write ADDRESS:PORT, such as 0.0.0.0:25, 127.0.0.1:2525 or [::1]:25";

/// `CIDR:PORT [source=NAME]`
pub(super) fn listener(c: &mut Cursor) -> Result<Value, ParseError> {
    let word = c.word("ADDRESS:PORT")?;
    let refused = || {
        ParseError::new(word.at.clone(), format!("`{}` is not ADDRESS:PORT", shorten(&word.text)))
            .help(LISTENER_HELP)
    };
    let (address, port) = word.text.rsplit_once(':').ok_or_else(refused)?;
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    let net = network(address).ok_or_else(refused)?;
    let port = port_number(port).ok_or_else(refused)?;
    let mut source = None;
    if !c.at_end() {
        let option = c.clone().word("source=NAME")?;
        if let Some(name) = option.text.strip_prefix("source=").filter(|n| !n.is_empty()) {
            c.word("source=NAME")?;
            source = Some(name.to_string());
        }
    }
    Ok(Value::Listener(net, port, source))
}

fn port_number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|p| *p != 0)
}

/// The host list of `smtp-hosts` and `route` (reference 2.5).
pub(super) fn route(c: &mut Cursor) -> Result<Value, ParseError> {
    let word = c.remainder("a host")?;
    if word.text.is_empty() {
        return Ok(Value::Cleared);
    }
    // Inside quotes the offsets are one further on.
    let mut at = word.at.start + usize::from(word.quoted);
    let mut groups = Vec::new();
    for part in word.text.split(';') {
        let mut group = Vec::new();
        for host in part.split(',') {
            let lead = host.len() - host.trim_start().len();
            let place = at + lead..at + lead + host.trim().len();
            group.push(host_and_port(&Word { text: host.trim().into(), at: place, quoted: false })?);
            at += host.len() + 1;
        }
        groups.push(group);
    }
    Ok(Value::Hosts(Route { groups }))
}

fn host_and_port(word: &Word) -> Result<HostAndPort, ParseError> {
    let refused = |message: String| {
        ParseError::new(word.at.clone(), message)
            .help("write name, name:port, [192.0.2.1]:port, [IPv6:2001:db8::1] or lookup-mx:domain; `,` same, `;` next preference")
    };
    let text = word.text.as_str();
    if text.is_empty() {
        return Err(refused("a host is missing".into()));
    }
    let port_of = |port: Option<&str>| match port {
        None => Ok(None),
        Some(port) => {
            port_number(port).map(Some).ok_or_else(|| refused(format!("`{}` is not a port", shorten(port))))
        }
    };
    if let Some(end) = text.starts_with('[').then(|| text.find(']')).flatten() {
        let ip =
            literal(&text[..=end]).ok_or_else(|| refused(format!("`{}` is no IP address", &text[..=end])))?;
        let rest = &text[end + 1..];
        if !rest.is_empty() && !rest.starts_with(':') {
            return Err(refused(format!("`{}` is not a port", shorten(rest))));
        }
        return Ok(HostAndPort { host: MailHost::Address(ip), port: port_of(rest.strip_prefix(':'))? });
    }
    let (mx, text) = match text.strip_prefix("lookup-mx:") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, port_of(Some(port))?),
        None => (text, None),
    };
    let host = match name.parse::<IpAddr>() {
        Ok(ip) if !mx => MailHost::Address(ip),
        _ => {
            let name = ascii_domain(name).map_err(refused)?;
            if mx { MailHost::LookupMx(name) } else { MailHost::Name(name) }
        }
    };
    Ok(HostAndPort { host, port })
}

/// `CIDR none | monitor[,deny-logs] | operator | admin`
pub(super) fn http_access(c: &mut Cursor) -> Result<Value, ParseError> {
    let net = cidr_word(&c.word("an IP address or network")?)?;
    let level = c.word("none, monitor, operator or admin")?;
    if !["none", "monitor", "monitor,deny-logs", "operator", "admin"].contains(&level.text.as_str()) {
        return Err(ParseError::new(level.at, format!("`{}` is not an access level", shorten(&level.text)))
            .help("write none, monitor, monitor,deny-logs, operator or admin"));
    }
    Ok(Value::List(vec![net.to_string(), level.text]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Route, ParseError> {
        match route(&mut Cursor::new(text))? {
            Value::Hosts(route) => Ok(route),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn routes_have_preferences_ports_literals_and_lookups() {
        let text =
            "h1.example,h2.example;h3.example:2525;[10.1.1.1];[IPv6:2001:db8::1]:26;lookup-mx:dom.example";
        let route = parsed(text).unwrap();
        assert_eq!(route.to_string(), text);
        assert_eq!(route.groups.len(), 5);
        assert_eq!(route.groups[1][0].port, Some(2525));
        assert_eq!(parsed("192.0.2.25:587").unwrap().to_string(), "[192.0.2.25]:587");
        assert_eq!(parsed("[127.0.0.1]:25, [127.0.0.2]:25").unwrap().groups[0].len(), 2);
        assert_eq!(route_value("\"\""), Value::Cleared);
    }

    fn route_value(text: &str) -> Value {
        route(&mut Cursor::new(text)).unwrap()
    }

    #[test]
    fn wrong_routes_are_marked_where_they_are_wrong() {
        for wrong in ["a..b", "h:0", "h:99999", "[10.1.1]", "[10.1.1.1]25", "a,,b", "a;", "h:x", "a b"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parsed("good.example;ba!d").unwrap_err().at, 13..17);
    }

    #[test]
    fn listeners_take_networks_ports_and_a_source() {
        let of = |text| listener(&mut Cursor::new(text));
        let all: IpNet = "0.0.0.0/0".parse().unwrap();
        assert_eq!(of("0/0:2525"), Ok(Value::Listener(all, 2525, None)));
        let local: IpNet = "::1/128".parse().unwrap();
        assert_eq!(of("[::1]:25 source={in}"), Ok(Value::Listener(local, 25, Some("{in}".into()))));
        for wrong in ["25", "1.2.3.4", "x:25", "1.2.3.4:0", "1.2.3.4:x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
