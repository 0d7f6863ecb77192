//! DNS as the routing sees it: what is asked, and the answers boiled down to what they mean for mail.

use super::hosts::{HostList, HostSpec, is_host_name, literal_domain};
use super::mx::Route;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a route leads to; the key of the route table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A recipient domain: by its MX records. Lower case, in ASCII form (IDNA), without a final dot.
    Domain(Arc<str>),
    /// Hosts of the configuration (`smtp-hosts`, `route`).
    Hosts(Arc<HostList>),
}

impl Destination {
    /// [`Destination::domain`] without a second copy of a name that is already as it has to be.
    pub fn of(domain: &Arc<str>) -> Destination {
        if domain.is_ascii() && !domain.ends_with('.') && !domain.bytes().any(|b| b.is_ascii_uppercase()) {
            return Destination::Domain(Arc::clone(domain));
        }
        Destination::domain(domain)
    }

    /// The destination of mail for `domain`, which may be international or an address literal (`[1.2.3.4]`).
    pub fn domain(domain: &str) -> Destination {
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        // What cannot be converted is no name and finds no route; that is said when it is looked up.
        let ascii = if domain.is_ascii() { None } else { idna::domain_to_ascii(domain).ok() };
        Destination::Domain(ascii.unwrap_or_else(|| domain.to_ascii_lowercase()).into())
    }

    /// Whether it takes no DNS to get there.
    pub fn is_literal(&self) -> bool {
        match self {
            Destination::Domain(domain) => literal_domain(domain).is_some() || !is_host_name(domain),
            Destination::Hosts(list) => {
                list.hosts.iter().all(|host| matches!(host.host, HostSpec::Address(_)))
            }
        }
    }
}

/// As an operator would write it.
impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Destination::Domain(domain) => f.write_str(domain),
            Destination::Hosts(list) => list.fmt(f),
        }
    }
}

/// A destination to be resolved by the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub destination: Destination,
}

/// What the shell found out.
#[derive(Clone, Debug)]
pub struct Answer {
    pub destination: Destination,
    pub route: Result<Route, RouteError>,
}

/// Records of one type under one name, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    pub records: Vec<T>,
    /// The smallest of the records' and of the aliases on the way.
    pub ttl: Duration,
    /// Whether the name is an alias (CNAME) of the one with the records.
    pub alias: bool,
}

/// Why there are no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The name does not exist (NXDOMAIN), which a second question has confirmed where it matters.
    NoName { ttl: Duration },
    /// The name exists and has no such records (NODATA).
    NoRecords { ttl: Duration },
    /// SERVFAIL, REFUSED, no answer in time, an answer that makes no sense: in words.
    Transient(String),
}

pub type Lookup<T> = Result<Found<T>, NoAnswer>;

/// One MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxRecord {
    pub preference: u16,
    /// Lower case, without the final dot: the root is empty.
    pub host: String,
}

/// Puts the A and the AAAA records of a name together: one family's failure does not matter where the other answers.
pub fn either_family(v4: Lookup<IpAddr>, v6: Lookup<IpAddr>) -> Lookup<IpAddr> {
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => Ok(Found {
            records: v4.records.into_iter().chain(v6.records).collect(),
            ttl: v4.ttl.min(v6.ttl),
            alias: v4.alias || v6.alias,
        }),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(transient @ NoAnswer::Transient(_)), _) | (_, Err(transient @ NoAnswer::Transient(_))) => {
            Err(transient)
        }
        (Err(NoAnswer::NoName { ttl }), _) | (_, Err(NoAnswer::NoName { ttl })) => {
            Err(NoAnswer::NoName { ttl })
        }
        (none, _) => none,
    }
}

/// Why there is no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {text}")]
pub struct RouteError {
    /// Whether trying again is pointless: the recipients bounce. Else they wait.
    pub permanent: bool,
    /// Enhanced status (RFC 3463), e.g. `5.1.10`.
    pub status: &'static str,
    pub text: String,
    /// How long it is to be believed.
    pub ttl: Duration,
    /// What is certain: the domain has no MX records.
    pub no_mx: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_family_is_enough() {
        let found =
            || Ok(Found { records: vec![IpAddr::from([192, 0, 2, 1])], ttl: Duration::ZERO, alias: false });
        let none = || Err(NoAnswer::NoRecords { ttl: Duration::ZERO });
        let fails = || Err(NoAnswer::Transient("timeout".into()));
        assert_eq!(either_family(found(), none()), found());
        assert_eq!(either_family(fails(), found()), found());
        assert_eq!(either_family(none(), fails()), fails());
        assert_eq!(either_family(none(), none()), none());
        assert_eq!(either_family(found(), found()).expect("both").records.len(), 2);
    }

    #[test]
    fn destinations() {
        assert_eq!(Destination::domain("Example.COM."), Destination::Domain("example.com".into()));
        assert_eq!(
            Destination::domain("Bücher.example"),
            Destination::Domain("xn--bcher-kva.example".into())
        );
        assert!(!Destination::domain("example.com").is_literal());
        assert!(Destination::domain("[1.2.3.4]").is_literal());
        let hosts = |text: &str| Destination::Hosts(Arc::new(text.parse().expect(text)));
        assert!(hosts("[1.2.3.4];127.0.0.1:2525").is_literal());
        assert!(!hosts("[1.2.3.4];mx.example").is_literal());
        assert_eq!(hosts("127.0.0.1:2525").to_string(), "[127.0.0.1]:2525");
    }
}
