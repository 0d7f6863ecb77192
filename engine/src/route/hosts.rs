//! Hosts written in the configuration: `smtp-hosts` and the older `route` (reference 2.5), and address literals.
//!
//! `h1,h2;h3:2525;[10.1.1.1];[IPv6:..];lookup-mx:dom`: `,` is the same preference, `;` the next.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Hosts in one list at most; the rest of the engine is bounded by it.
const MOST_HOSTS: usize = 64;

/// Where to look for a host's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostSpec {
    /// Its A and AAAA records.
    Name(Box<str>),
    /// This address, whatever its range: the operator wrote it.
    Address(IpAddr),
    /// The hosts that the MX records of this domain name.
    LookupMx(Box<str>),
}

/// One host of the list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// Position of its group in the list, counted from zero.
    pub preference: u16,
    pub host: HostSpec,
    /// `None`: the queue's `default-smtp-port`.
    pub port: Option<u16>,
}

/// A parsed `smtp-hosts`, never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostList {
    pub hosts: Vec<Host>,
}

/// What is wrong with a list of hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostsError {
    #[error("the list names no host; write for example mx1.example.com,mx2.example.com:2525;[10.1.1.1]")]
    Empty,
    #[error(
        "{0:?} is not a host name, an address as in [10.1.1.1] or [IPv6:2001:db8::1], or lookup-mx:DOMAIN"
    )]
    Host(String),
    #[error("{0:?} does not end in a port from 1 to 65535")]
    Port(String),
    #[error("more than {MOST_HOSTS} hosts in one list")]
    TooMany,
}

impl FromStr for HostList {
    type Err = HostsError;

    fn from_str(text: &str) -> Result<HostList, HostsError> {
        let mut hosts = Vec::new();
        for (preference, group) in text.split(';').filter(|group| !group.trim().is_empty()).enumerate() {
            for host in group.split(',').map(str::trim) {
                if hosts.len() == MOST_HOSTS {
                    return Err(HostsError::TooMany);
                }
                let (host, port) = parse_host(host)?;
                hosts.push(Host { preference: preference as u16, host, port });
            }
        }
        if hosts.is_empty() { Err(HostsError::Empty) } else { Ok(HostList { hosts }) }
    }
}

fn parse_host(text: &str) -> Result<(HostSpec, Option<u16>), HostsError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or_else(|| HostsError::Host(text.to_owned()))?;
        let address = literal(inside).ok_or_else(|| HostsError::Host(text.to_owned()))?;
        let port = match after {
            "" => None,
            after => Some(parse_port(text, after.strip_prefix(':').unwrap_or_default())?),
        };
        return Ok((HostSpec::Address(address), port));
    }
    let (lookup_mx, rest) = match text.get(..10) {
        Some(prefix) if prefix.eq_ignore_ascii_case("lookup-mx:") => (true, &text[10..]),
        _ => (false, text),
    };
    let (name, port) = match rest.split_once(':') {
        None => (rest, None),
        Some((name, port)) => (name, Some(parse_port(text, port)?)),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if let (false, Ok(address)) = (lookup_mx, name.parse::<Ipv4Addr>()) {
        return Ok((HostSpec::Address(IpAddr::V4(address)), port));
    }
    if !is_host_name(name) {
        return Err(HostsError::Host(text.to_owned()));
    }
    let name = name.to_ascii_lowercase().into_boxed_str();
    Ok((if lookup_mx { HostSpec::LookupMx(name) } else { HostSpec::Name(name) }, port))
}

fn parse_port(text: &str, port: &str) -> Result<u16, HostsError> {
    match port.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(HostsError::Port(text.to_owned())),
    }
}

/// The inside of an address literal (RFC 5321 4.1.3): `10.1.1.1` or `IPv6:2001:db8::1`.
fn literal(inside: &str) -> Option<IpAddr> {
    match inside.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => {
            inside[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => inside.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// The address of a domain that is a literal: `[10.1.1.1]`. `None` for names.
pub fn literal_domain(domain: &str) -> Option<IpAddr> {
    literal(domain.strip_prefix('[')?.strip_suffix(']')?)
}

/// A name that may be asked DNS for: labels of 1 to 63 letters, digits, `-` and `_`, 253 bytes in all (RFC 1035 2.3.4),
/// the last label not a number (RFC 3696 2; else an address would pass for a name).
pub fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253
        && name.split('.').all(label)
        && !name.rsplit('.').next().is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostSpec::Name(name) => write!(f, "{name}")?,
            HostSpec::LookupMx(domain) => write!(f, "lookup-mx:{domain}")?,
            HostSpec::Address(IpAddr::V4(address)) => write!(f, "[{address}]")?,
            HostSpec::Address(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// As it is written in the configuration.
impl fmt::Display for HostList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before: Option<u16> = None;
        for host in &self.hosts {
            match before {
                None => {}
                Some(preference) if preference == host.preference => f.write_str(",")?,
                Some(_) => f.write_str(";")?,
            }
            before = Some(host.preference);
            write!(f, "{host}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_reference_parse() {
        let text = "h1.example,h2.example;h3.example:2525;[10.1.1.1];[IPv6:2001:db8::1]:26;lookup-mx:dom.example:2526";
        let list: HostList = text.parse().expect("a list");
        assert_eq!(list.to_string(), text);
        let preferences: Vec<u16> = list.hosts.iter().map(|host| host.preference).collect();
        assert_eq!(preferences, [0, 0, 1, 2, 3, 4]);
        assert_eq!(list.hosts[3].host, HostSpec::Address(IpAddr::from([10, 1, 1, 1])));
        assert_eq!(list.hosts[5].host, HostSpec::LookupMx("dom.example".into()));
        assert_eq!(list.hosts[5].port, Some(2526));
    }

    #[test]
    fn blanks_case_and_trailing_dots_do_not_matter() {
        let list: HostList =
            " H1.Example. , [ipv6:::1] ; LOOKUP-MX:Dom.Example; 127.0.0.1:2525;".parse().expect("a list");
        assert_eq!(list.to_string(), "h1.example,[IPv6:::1];lookup-mx:dom.example;[127.0.0.1]:2525");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("", HostsError::Empty),
            (" ; ", HostsError::Empty),
            ("a,,b", HostsError::Host(String::new())),
            ("[10.1.1]", HostsError::Host("[10.1.1]".into())),
            ("[10.1.1.1", HostsError::Host("[10.1.1.1".into())),
            ("[10.1.1.1]:0", HostsError::Port("[10.1.1.1]:0".into())),
            ("[10.1.1.1]25", HostsError::Port("[10.1.1.1]25".into())),
            ("host:99999", HostsError::Port("host:99999".into())),
            ("host name", HostsError::Host("host name".into())),
            ("1.2.3.4.5", HostsError::Host("1.2.3.4.5".into())),
            ("lookup-mx:", HostsError::Host("lookup-mx:".into())),
            ("é", HostsError::Host("é".into())),
        ] {
            assert_eq!(text.parse::<HostList>(), Err(error), "{text}");
        }
        assert_eq!(vec!["a"; 65].join(",").parse::<HostList>(), Err(HostsError::TooMany));
    }

    #[test]
    fn literal_domains() {
        assert_eq!(literal_domain("[1.2.3.4]"), Some(IpAddr::from([1, 2, 3, 4])));
        assert_eq!(literal_domain("[IPv6:::1]"), Some(IpAddr::from(Ipv6Addr::LOCALHOST)));
        for domain in ["1.2.3.4", "[1.2.3]", "[::1]", "[example.com]", "[]", "[1.2.3.4", "example.com"] {
            assert_eq!(literal_domain(domain), None, "{domain}");
        }
    }
}
