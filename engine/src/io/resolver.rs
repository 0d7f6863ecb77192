//! DNS for the route table: asks through hickory-resolver and puts what comes back in the words of
//! [`crate::route::dns`]. What the answers mean for mail is decided there.

use crate::route::dns::either_family;
use crate::route::{
    Answer, Candidates, Destination, Found, HostSpec, Lookup, MxRecord, NoAnswer, Query, Route, RouteError,
    RoutePolicy,
};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;

/// DNS questions out at once, over all destinations.
const AT_ONCE: usize = 256;
/// For one question to all name servers, retries included.
const PATIENCE: Duration = Duration::from_secs(20);
/// One name server's time to answer (tests of silence need not take so long), and how often it is asked.
const TIMEOUT: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 3000 });
const TRIES: usize = 2;
/// Names and types that hickory remembers: hosts that many domains share. The route table remembers the rest.
const CACHED: u64 = 20_000;
const DAY: Duration = Duration::from_secs(86_400);
/// For a missing name whose zone does not say how long it is missing (no SOA).
const MISSING: Duration = Duration::from_secs(300);

/// Why there is no resolver.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    #[error("no name servers: /etc/resolv.conf is of no use ({0}); configure name-server ADDRESS")]
    System(NetError),
    #[error("the resolver could not be built: {0}")]
    Build(NetError),
}

/// Resolves destinations. Cheap to clone; all clones share the cache and the bound on questions.
#[derive(Clone)]
pub struct Resolver {
    dns: TokioResolver,
    policy: Arc<RoutePolicy>,
    room: Arc<Semaphore>,
}

impl Resolver {
    /// A resolver that asks `name_servers`, or those of `/etc/resolv.conf` when there are none.
    pub fn new(name_servers: &[SocketAddr], policy: Arc<RoutePolicy>) -> Result<Resolver, ResolverError> {
        let mut builder = if name_servers.is_empty() {
            TokioResolver::builder_tokio().map_err(ResolverError::System)?
        } else {
            let servers = name_servers.iter().map(|&server| name_server(server)).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        set_options(builder.options_mut(), name_servers.is_empty());
        let dns = builder.build().map_err(ResolverError::Build)?;
        Ok(Resolver { dns, policy, room: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Who is asked, for questions that are not about routes.
    pub fn dns(&self) -> TokioResolver {
        self.dns.clone()
    }

    /// Finds the route of a destination. Always answers, within minutes at the worst.
    pub async fn resolve(&self, query: Query) -> Answer {
        let Query { destination } = query;
        let route = self.route(&destination).await;
        Answer { destination, route }
    }

    async fn route(&self, destination: &Destination) -> Result<Route, RouteError> {
        if destination.is_literal() {
            return Candidates::literal(destination, &self.policy);
        }
        let mut candidates = Candidates::new(destination, &self.policy);
        match destination {
            Destination::Domain(domain) => candidates.add_mx(0, domain, None, self.mx(domain).await),
            Destination::Hosts(list) => {
                for host in &list.hosts {
                    if let HostSpec::LookupMx(domain) = &host.host {
                        candidates.add_mx(host.preference, domain, host.port, self.mx(domain).await);
                    } else {
                        candidates.add_host(host.preference, &host.host, host.port);
                    }
                }
            }
        }
        let mut lookups = JoinSet::new();
        for name in candidates.names() {
            let resolver = self.clone();
            lookups.spawn(async move {
                let addresses = resolver.addresses(&name).await;
                (name, addresses)
            });
        }
        let addresses = lookups.join_all().await;
        candidates.route(&addresses)
    }

    async fn mx(&self, domain: &str) -> Lookup<MxRecord> {
        let answer = self
            .lookup(domain, RecordType::MX, |data| match data {
                RData::MX(mx) => Some(MxRecord { preference: mx.preference, host: host_name(&mx.exchange) }),
                _ => None,
            })
            .await;
        // D02: mail bounces on this answer, so it has to be given twice. Missing is missing for every type.
        if let Err(NoAnswer::NoName { .. }) = answer {
            return match self.lookup(domain, RecordType::A, address).await {
                Err(NoAnswer::NoName { .. }) => answer,
                Err(NoAnswer::Transient(text)) => Err(NoAnswer::Transient(text)),
                _ => Err(NoAnswer::Transient(format!("name servers disagree whether {domain} exists"))),
            };
        }
        answer
    }

    async fn addresses(&self, name: &str) -> Lookup<IpAddr> {
        match (self.policy.ipv4, self.policy.ipv6) {
            (true, true) => {
                let v4 = self.lookup(name, RecordType::A, address);
                let v6 = self.lookup(name, RecordType::AAAA, address);
                let (v4, v6) = tokio::join!(v4, v6);
                either_family(v4, v6)
            }
            (true, false) => self.lookup(name, RecordType::A, address).await,
            (false, _) => self.lookup(name, RecordType::AAAA, address).await,
        }
    }

    /// The records of a fully qualified name without its final dot, as far as they are wanted.
    pub async fn lookup<T>(
        &self,
        name: &str,
        record_type: RecordType,
        wanted: impl Fn(&RData) -> Option<T>,
    ) -> Lookup<T> {
        // Fully qualified: the search list of resolv.conf is for people at a prompt.
        let Ok(name) = Name::from_ascii(format!("{name}.")) else {
            return Err(NoAnswer::NoName { ttl: DAY });
        };
        let _room = self.room.acquire().await.expect("the semaphore is never closed");
        let answer = match tokio::time::timeout(PATIENCE, self.dns.lookup(name, record_type)).await {
            Err(_) => return Err(NoAnswer::Transient("no answer in time".to_owned())),
            Ok(Err(error)) => return Err(no_answer(error)),
            Ok(Ok(answer)) => answer,
        };
        let records: Vec<T> = answer.answers().iter().filter_map(|record| wanted(&record.data)).collect();
        let ttl = answer.valid_until().saturating_duration_since(Instant::now());
        if records.is_empty() {
            return Err(NoAnswer::NoRecords { ttl });
        }
        let alias = answer.answers().iter().any(|record| matches!(record.data, RData::CNAME(_)));
        Ok(Found { records, ttl, alias })
    }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for ConnectionConfig { port, .. } in &mut config.connections {
        *port = server.port();
    }
    config
}

fn set_options(options: &mut ResolverOpts, system: bool) {
    options.timeout = TIMEOUT;
    options.attempts = TRIES;
    options.cache_size = CACHED;
    options.positive_max_ttl = Some(DAY);
    options.negative_max_ttl = Some(Duration::from_secs(3600));
    options.max_active_requests = AT_ONCE;
    options.preserve_intermediates = true;
    // /etc/hosts belongs to the system's way of resolving, as resolv.conf does.
    options.use_hosts_file = if system { ResolveHosts::Always } else { ResolveHosts::Never };
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

/// Lower case, without the final dot; the root is empty. Bytes that do not belong in a host name stay escaped and so are
/// refused by the routing.
fn host_name(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

/// D01, D02, D03: which failures are an answer, and which only the lack of one.
fn no_answer(error: NetError) -> NoAnswer {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => missing(&none),
        NetError::Dns(DnsError::ResponseCode(code)) => {
            NoAnswer::Transient(format!("the name server answered {code}"))
        }
        NetError::Timeout => NoAnswer::Transient("no answer in time".to_owned()),
        other => NoAnswer::Transient(other.to_string()),
    }
}

fn missing(none: &NoRecords) -> NoAnswer {
    let ttl = none.negative_ttl.map_or(MISSING, |ttl| Duration::from_secs(u64::from(ttl)));
    match none.response_code {
        ResponseCode::NXDomain => NoAnswer::NoName { ttl },
        // A referral instead of an answer: this server is not responsible (lame), and nobody has said that there are none.
        ResponseCode::NoError if none.soa.is_none() && none.ns.is_some() => {
            NoAnswer::Transient("the name server gave a referral instead of an answer".to_owned())
        }
        ResponseCode::NoError => NoAnswer::NoRecords { ttl },
        code => NoAnswer::Transient(format!("the name server answered {code}")),
    }
}
