//! From DNS answers to the hosts to connect to, in order (RFC 5321 5.1; faults D01-D09).
//!
//! [`Candidates`] goes through it in two steps, between which the shell asks for addresses: MX records to candidate hosts,
//! then their addresses to a [`Route`]. A candidate that is of no use is dropped and the reason kept, so that when none
//! is left the error is the one that matters most.

use super::address_policy::AddressPolicy;
use super::dns::{Destination, Lookup, MxRecord, NoAnswer, RouteError};
use super::hosts::{HostSpec, is_host_name, literal_domain};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Hosts whose addresses are asked for, at most (D08).
const LOOKED_UP: usize = 10;
/// Addresses of one family in a route, at most (D08). One try takes 5 of them (`choose`).
const ADDRESSES: usize = 16;
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(86_400);
/// A name that is missing is asked for again after this long (RFC 2308 5 suggests 1 to 3 hours).
const LONGEST_MISSING: Duration = Duration::from_secs(3600);
/// A route that lacks hosts because of a passing failure is kept no longer.
const INCOMPLETE: Duration = Duration::from_secs(300);

/// What a stranger's DNS may do with us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePolicy {
    pub addresses: AddressPolicy,
    /// Names we go by (`host-name`, HELO names), lower case: an MX record with one of them is ourselves.
    pub own_names: Vec<String>,
    /// Addresses we listen on.
    pub own_addresses: Vec<IpAddr>,
    /// Whether an MX record may point at an alias. RFC 2181 10.3 forbids it.
    pub mx_alias: bool,
    /// Which families to ask for: those that source addresses exist of.
    pub ipv4: bool,
    pub ipv6: bool,
    /// Makes the order of hosts of equal preference.
    pub seed: u64,
}

impl Default for RoutePolicy {
    fn default() -> Self {
        RoutePolicy {
            addresses: AddressPolicy::default(),
            own_names: Vec::new(),
            own_addresses: Vec::new(),
            mx_alias: false,
            ipv4: true,
            ipv6: true,
            seed: 0,
        }
    }
}

/// A host with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteHost {
    /// Its name, or its address as a literal (`[1.2.3.4]`).
    pub name: Arc<str>,
    /// Lower is tried first.
    pub preference: u32,
    /// `None`: the queue's `default-smtp-port`.
    pub port: Option<u16>,
    /// Never empty.
    pub addresses: Vec<IpAddr>,
}

/// Where mail for a destination goes: hosts by preference, those of equal preference in random order. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub hosts: Vec<RouteHost>,
    /// How long it is good for: 30 s to 1 day, whatever the records say (D09).
    pub ttl: Duration,
    /// There are no MX records: the domain is its own host.
    pub no_mx: bool,
    /// The hosts of the best preference as the domain's MX records name them, whether or not they can be reached.
    pub mx: Vec<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    name: Arc<str>,
    preference: u32,
    port: Option<u16>,
    /// Named by an MX record (or by its absence), not by the configuration.
    by_mx: bool,
    /// The domain itself, for want of MX records.
    implicit: bool,
    /// Known already: an address of the configuration.
    address: Option<IpAddr>,
}

/// Hosts that may become a route.
#[derive(Debug)]
pub struct Candidates<'a> {
    policy: &'a RoutePolicy,
    destination: String,
    list: Vec<Candidate>,
    ttl: Duration,
    /// The destination itself is a domain without MX records.
    no_mx: bool,
    /// [`Route::mx`].
    best: Vec<Arc<str>>,
    /// The gravest reason why candidates were dropped.
    failure: Option<RouteError>,
}

impl<'a> Candidates<'a> {
    pub fn new(destination: &Destination, policy: &'a RoutePolicy) -> Candidates<'a> {
        let destination = destination.to_string();
        let (list, no_mx) = (Vec::new(), false);
        Candidates { policy, destination, list, ttl: LONGEST, no_mx, best: Vec::new(), failure: None }
    }

    /// A destination that takes no DNS: addresses of the configuration, whatever their range, or a domain that is an
    /// address literal, if its range is permitted (a stranger wrote it).
    pub fn literal(destination: &Destination, policy: &RoutePolicy) -> Result<Route, RouteError> {
        let mut candidates = Candidates::new(destination, policy);
        match destination {
            Destination::Hosts(list) => {
                for host in &list.hosts {
                    candidates.add_host(host.preference, &host.host, host.port);
                }
            }
            Destination::Domain(domain) => match literal_domain(domain) {
                Some(address)
                    if policy.addresses.permits(address) && !policy.own_addresses.contains(&address) =>
                {
                    candidates.add_host(0, &HostSpec::Address(address), None);
                }
                Some(address) => candidates.drop_because(refused(domain, address)),
                None => candidates.drop_because(no_name(domain, LONGEST_MISSING)),
            },
        }
        candidates.route(&[])
    }

    /// A host of the configuration; `group` is its preference.
    pub fn add_host(&mut self, group: u16, host: &HostSpec, port: Option<u16>) {
        let (name, address) = match host {
            HostSpec::Name(name) => (Arc::from(&**name), None),
            HostSpec::Address(address @ IpAddr::V4(v4)) => (format!("[{v4}]").into(), Some(*address)),
            HostSpec::Address(address @ IpAddr::V6(v6)) => (format!("[IPv6:{v6}]").into(), Some(*address)),
            HostSpec::LookupMx(_) => return,
        };
        let preference = u32::from(group) << 16;
        self.list.push(Candidate { name, preference, port, by_mx: false, implicit: false, address });
    }

    /// The hosts that the MX records of `domain` name, as far as they are of use.
    pub fn add_mx(&mut self, group: u16, domain: &str, port: Option<u16>, answer: Lookup<MxRecord>) {
        let (mut records, implicit) = match answer {
            Ok(found) => {
                self.ttl = self.ttl.min(found.ttl);
                (found.records, false)
            }
            // Implicit MX (D03): the domain is its own host.
            Err(NoAnswer::NoRecords { ttl }) => {
                self.ttl = self.ttl.min(ttl);
                self.no_mx = self.destination == domain;
                (vec![MxRecord { preference: 0, host: domain.to_owned() }], true)
            }
            Err(NoAnswer::NoName { ttl }) => return self.drop_because(no_name(domain, ttl)),
            Err(NoAnswer::Transient(text)) => return self.drop_because(unresolved("4.4.3", domain, &text)),
        };
        // Null MX (RFC 7505), which counts only where it stands alone (D04).
        if let [MxRecord { host, .. }] = &records[..]
            && host.is_empty()
        {
            let text = format!("{domain} does not accept mail (null MX)");
            return self.drop_because(permanent("5.1.10", text, self.ttl));
        }
        self.drop_ourselves(domain, &mut records);
        if !implicit && self.destination == domain {
            let best = records.iter().map(|record| record.preference).min();
            let best = records.iter().filter(|record| Some(record.preference) == best);
            self.best = best.map(|record| record.host.as_str().into()).collect();
        }
        let before = self.list.len();
        for MxRecord { preference, host } in records {
            if is_host_name(&host) {
                let preference = u32::from(group) << 16 | u32::from(preference);
                let name = host.into();
                self.list.push(Candidate { name, preference, port, by_mx: true, implicit, address: None });
            }
        }
        if self.list.len() == before {
            let text = format!("no MX record of {domain} names a host that mail could go to");
            self.drop_because(permanent("5.4.4", text, self.ttl));
        }
    }

    /// RFC 5321 5.1: records that are ourselves go, and with them all of equal or worse preference (D06).
    fn drop_ourselves(&mut self, domain: &str, records: &mut Vec<MxRecord>) {
        let own = |record: &&MxRecord| self.policy.own_names.contains(&record.host);
        if let Some(limit) = records.iter().filter(own).map(|record| record.preference).min() {
            records.retain(|record| record.preference < limit);
            self.drop_because(looped(domain, self.ttl));
        }
    }

    /// Puts the candidates in order and returns the names whose addresses are wanted, each once.
    pub fn names(&mut self) -> Vec<Arc<str>> {
        let mut rng = fastrand::Rng::with_seed(self.policy.seed ^ hash(&self.destination));
        rng.shuffle(&mut self.list);
        self.list.sort_by_key(|candidate| candidate.preference);
        self.list.truncate(LOOKED_UP);
        let mut names: Vec<Arc<str>> = Vec::new();
        for candidate in self.list.iter().filter(|candidate| candidate.address.is_none()) {
            if !names.contains(&candidate.name) {
                names.push(Arc::clone(&candidate.name));
            }
        }
        names
    }

    /// The route, from the addresses of all [`Candidates::names`].
    pub fn route(mut self, addresses: &[(Arc<str>, Lookup<IpAddr>)]) -> Result<Route, RouteError> {
        let mut hosts = Vec::new();
        let mut own: Option<u32> = None;
        for candidate in std::mem::take(&mut self.list) {
            let Some(addresses) = self.addresses_of(&candidate, addresses) else { continue };
            if candidate.by_mx && addresses.iter().any(|a| self.policy.own_addresses.contains(a)) {
                own = Some(own.map_or(candidate.preference, |own| own.min(candidate.preference)));
            }
            let Candidate { name, preference, port, .. } = candidate;
            hosts.push(RouteHost { name, preference, port, addresses });
        }
        if let Some(limit) = own {
            hosts.retain(|host| host.preference < limit);
            self.drop_because(looped(&self.destination, self.ttl));
        }
        let (mut v4, mut v6) = (0, 0);
        for host in &mut hosts {
            host.addresses.retain(|address| {
                let count = if address.is_ipv4() { &mut v4 } else { &mut v6 };
                *count += 1;
                *count <= ADDRESSES
            });
        }
        hosts.retain(|host| !host.addresses.is_empty());
        let incomplete = self.failure.as_ref().is_some_and(|failure| !failure.permanent);
        let longest = if incomplete { INCOMPLETE } else { LONGEST };
        match (hosts.is_empty(), self.failure) {
            (false, _) => {
                let ttl = self.ttl.clamp(SHORTEST, longest);
                Ok(Route { hosts, ttl, no_mx: self.no_mx, mx: self.best })
            }
            (true, Some(failure)) => Err(RouteError { no_mx: self.no_mx, ..failure }),
            (true, None) => {
                let text = format!("no host of {} has an address", self.destination);
                Err(RouteError { no_mx: self.no_mx, ..permanent("5.4.4", text, self.ttl) })
            }
        }
    }

    /// The addresses that a candidate may be reached at; `None` when it is of no use (D05, D07).
    fn addresses_of(
        &mut self,
        candidate: &Candidate,
        answers: &[(Arc<str>, Lookup<IpAddr>)],
    ) -> Option<Vec<IpAddr>> {
        if let Some(address) = candidate.address {
            return Some(vec![address]);
        }
        let name = &candidate.name;
        let found = match answers.iter().find(|(answered, _)| answered == name).map(|(_, answer)| answer) {
            Some(Ok(found)) => found,
            Some(Err(NoAnswer::NoName { ttl } | NoAnswer::NoRecords { ttl })) => {
                self.drop_because(permanent("5.4.4", format!("{name} has no address"), *ttl));
                return None;
            }
            Some(Err(NoAnswer::Transient(text))) => {
                self.drop_because(unresolved("4.4.4", name, text));
                return None;
            }
            None => return None,
        };
        if found.alias && candidate.by_mx && !candidate.implicit && !self.policy.mx_alias {
            let text = format!("{name}, named by an MX record, is an alias (RFC 2181 10.3)");
            self.drop_because(permanent("5.4.4", text, found.ttl));
            return None;
        }
        self.ttl = self.ttl.min(found.ttl);
        let mut permitted = Vec::new();
        for &address in &found.records {
            if !self.policy.addresses.permits(address) {
                self.drop_because(refused(name, address));
            } else if !permitted.contains(&address) && permitted.len() < 2 * ADDRESSES {
                permitted.push(address);
            }
        }
        (!permitted.is_empty()).then_some(permitted)
    }

    /// Keeps the gravest failure: one that may pass (the mail must then wait), else that we are the destination, else
    /// the first.
    fn drop_because(&mut self, failure: RouteError) {
        let weight = |failure: &RouteError| (!failure.permanent, failure.status == "5.4.6");
        if self.failure.as_ref().is_none_or(|kept| weight(&failure) > weight(kept)) {
            self.failure = Some(failure);
        }
    }
}

fn permanent(status: &'static str, text: String, ttl: Duration) -> RouteError {
    let ttl = ttl.clamp(SHORTEST, LONGEST_MISSING);
    RouteError { permanent: true, status, text, ttl, no_mx: false }
}

fn unresolved(status: &'static str, name: &str, text: &str) -> RouteError {
    let text = format!("{name} could not be resolved: {text}");
    RouteError { permanent: false, status, text, ttl: SHORTEST, no_mx: false }
}

fn no_name(domain: &str, ttl: Duration) -> RouteError {
    permanent("5.1.2", format!("domain {domain} does not exist"), ttl)
}

fn looped(domain: &str, ttl: Duration) -> RouteError {
    permanent("5.4.6", format!("mail for {domain} would come back to ourselves"), ttl)
}

fn refused(name: &str, address: IpAddr) -> RouteError {
    permanent("5.4.4", format!("{name} points at {address}, which is not a public address"), LONGEST_MISSING)
}

/// FNV-1a: so that different domains get different orders from one seed.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
