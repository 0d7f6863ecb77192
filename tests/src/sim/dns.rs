//! DNS as the plan has it, and as it fails. The routes are made by the engine's own reading of answers.

use super::plan::{Plan, Zone};
use posthaste::route::{
    Candidates, Destination, Found, HostSpec, Lookup, MxRecord, NoAnswer, Query, Route, RouteError,
    RoutePolicy,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const TTL: Duration = Duration::from_secs(60);

/// The number of the domain that a query is about.
pub fn domain_of(plan: &Plan, query: &Query) -> Option<usize> {
    let name = query.destination.to_string();
    plan.domains.iter().position(|domain| domain.name == name)
}

/// How the name servers of a domain are unwell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsIll {
    ServFail,
    Timeout,
    /// The MX records are there, the addresses are not.
    NoAddresses,
}

/// The route of `query`.
pub fn resolve(
    plan: &Plan,
    policy: &RoutePolicy,
    query: &Query,
    ill: Option<DnsIll>,
) -> Result<Route, RouteError> {
    let mut candidates = Candidates::new(&query.destination, policy);
    match &query.destination {
        Destination::Domain(name) => candidates.add_mx(0, name, None, mx(plan, name, ill)),
        Destination::Hosts(list) => {
            for host in &list.hosts {
                match &host.host {
                    HostSpec::LookupMx(name) => {
                        candidates.add_mx(host.preference, name, host.port, mx(plan, name, ill));
                    }
                    _ => candidates.add_host(host.preference, &host.host, host.port),
                }
            }
        }
    }
    let names = candidates.names();
    let found: Vec<(Arc<str>, Lookup<IpAddr>)> =
        names.into_iter().map(|name| (name.clone(), addresses(plan, &name, ill))).collect();
    candidates.route(&found)
}

fn mx(plan: &Plan, name: &str, ill: Option<DnsIll>) -> Lookup<MxRecord> {
    match ill {
        Some(DnsIll::ServFail) => {
            return Err(NoAnswer::Transient("the name server answered SERVFAIL".into()));
        }
        Some(DnsIll::Timeout) => return Err(NoAnswer::Transient("no answer in time".into())),
        _ => {}
    }
    let records = match plan.domains.iter().find(|domain| domain.name == name).map(|domain| &domain.zone) {
        None | Some(Zone::Missing) => return Err(NoAnswer::NoName { ttl: TTL }),
        Some(Zone::Fixed(_)) => return Err(NoAnswer::NoRecords { ttl: TTL }),
        Some(Zone::NullMx) => vec![MxRecord { preference: 0, host: String::new() }],
        Some(Zone::Mx(hosts)) => hosts
            .iter()
            .map(|(preference, host, _)| MxRecord { preference: *preference, host: host.clone() })
            .collect(),
    };
    Ok(Found { records, ttl: TTL, alias: false })
}

fn addresses(plan: &Plan, name: &str, ill: Option<DnsIll>) -> Lookup<IpAddr> {
    if ill == Some(DnsIll::NoAddresses) {
        return Err(NoAnswer::Transient("the name server answered SERVFAIL".into()));
    }
    let hosts = plan.domains.iter().filter_map(|domain| match &domain.zone {
        Zone::Mx(hosts) => Some(hosts),
        _ => None,
    });
    let found = hosts.flatten().find(|(_, host, _)| host == name);
    match found {
        Some((_, _, addresses)) => Ok(Found { records: addresses.clone(), ttl: TTL, alias: false }),
        None => Err(NoAnswer::NoName { ttl: TTL }),
    }
}
