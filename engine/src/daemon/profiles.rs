//! From the configuration to the profiles the shards work with.

use super::queue_profile::{queue_profile, rate, volume};
use super::reply_rules::PatternList;
use super::rerouting;
use super::rewriting;
use super::rolled_up::{RolledUp, named_hosts};
use super::smtp_tls::ServerTls;
use crate::base::Wall;
use crate::mail::plain;
use crate::mail::rewrite::Rewrites;
use crate::queue::QueueName;
use crate::route::choose::SourceHost;
use crate::route::{AddressPolicy, HostList, Route, RoutePolicy};
use crate::shard::{Profiles, QueueProfile, ReplyRules, Reroutes, VmtaProfile};
use crate::smtp::tls::{TlsClientConfig, TlsError};
use crate::smtp::users::Users;
use hashbrown::HashMap;
use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use vmta_config::{Authentication, Config, DomainSettings, Resolved, SmtpUser, VirtualMta};

/// What all shards' profiles are made from.
#[derive(Debug)]
pub struct Configured {
    pub config: Arc<Config>,
    /// The main host name.
    pub host: Arc<str>,
    pub server_tls: ServerTls,
    /// Those who may log in with a password; `None` when there are none.
    pub users: Option<Arc<Users>>,
    vmtas: HashMap<String, Arc<VmtaProfile>>,
    /// The first virtual MTA that has an address.
    owners: HashMap<IpAddr, String>,
    rolled_up: RolledUp,
    has_queue_to: bool,
    has_cold: bool,
}

/// Why a configuration cannot be put into effect on this machine.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("the addresses of this machine cannot be listed: {0}")]
    Interfaces(std::io::Error),
    #[error(
        "{origin}: no address of this machine is inside {network}; give smtp-source-host an address that is \
         configured on an interface"
    )]
    NoAddress { origin: String, network: String },
    #[error("{0}")]
    Certificate(String),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] TlsError),
}

impl Configured {
    pub fn new(config: Arc<Config>, host: &str) -> Result<Configured, ProfileError> {
        Configured::made(config, host, &HashMap::new(), RolledUp::default())
    }

    /// What follows `before` at a reload: a virtual MTA that stays keeps its memory of TLS sessions.
    pub fn after(config: Arc<Config>, host: &str, before: &Configured) -> Result<Configured, ProfileError> {
        Configured::made(config, host, &before.vmtas, RolledUp::after(&before.rolled_up))
    }

    fn made(
        config: Arc<Config>,
        host: &str,
        before: &HashMap<String, Arc<VmtaProfile>>,
        rolled_up: RolledUp,
    ) -> Result<Configured, ProfileError> {
        let host: Arc<str> = host.into();
        let mut vmtas = HashMap::new();
        let default = config.global().source_hosts.clone();
        let mut add = |name: &str, hosts: &[vmta_config::SourceHost], vmta: Option<&VirtualMta>| {
            let helo = vmta.and_then(|vmta| vmta.host_name.as_deref());
            let origin = vmta.map_or_else(|| "smtp-source-host".to_owned(), |vmta| vmta.origin.to_string());
            let sources = source_hosts(hosts, helo, &host, &origin)?.into();
            let limits = vmta.map(|vmta| config.vmta_settings(vmta));
            let tls = match before.get(name).and_then(|v| v.tls.clone()) {
                Some(tls) => tls,
                None => Arc::new(TlsClientConfig::new(trusted_roots())?),
            };
            let tls = Some(tls);
            let limits = limits.as_ref();
            let vmta = config.virtual_mta(name);
            let rewrites = vmta.and_then(|vmta| config.rewrite_list_of(vmta)).map(rewriting::by_list);
            let profile = VmtaProfile {
                name: name.into(),
                sources,
                max_smtp_out: limits.and_then(|limits| limits.max_smtp_out),
                max_msg_rate: limits.and_then(|limits| rate(limits.max_smtp_msg_rate)),
                max_data_volume_rate: limits.and_then(|limits| volume(limits.max_smtp_data_volume_rate)),
                tls,
                rewrites,
                include_headers: config.included_headers(vmta).into(),
            };
            vmtas.insert(name.to_owned(), Arc::new(profile));
            Ok::<_, ProfileError>(())
        };
        add("{default}", &default, None)?;
        for vmta in config.virtual_mtas() {
            add(&vmta.name, &vmta.source_hosts, Some(vmta))?;
        }
        let server_tls = ServerTls::read(&config).map_err(ProfileError::Certificate)?;
        let users = users(&config);
        let mut owners = HashMap::new();
        for vmta in config.virtual_mtas() {
            for address in vmtas[&vmta.name].sources.iter().filter_map(|source| source.address) {
                owners.entry(address).or_insert_with(|| vmta.name.clone());
            }
        }
        let has_queue_to = config.has_queue_to();
        let has_cold = config.virtual_mtas().iter().any(|vmta| !vmta.cold.is_empty());
        Ok(Configured { config, host, server_tls, users, vmtas, owners, rolled_up, has_queue_to, has_cold })
    }

    /// Whether a virtual MTA is warmed up by another one.
    pub fn is_cold(&self, name: &str) -> bool {
        self.config.virtual_mtas().iter().any(|vmta| vmta.cold.iter().any(|cold| cold == name))
    }

    /// Whether any virtual MTA warms another one up.
    pub fn has_cold(&self) -> bool {
        self.has_cold
    }

    /// The rules for what a stranger's DNS may lead to.
    pub fn route_policy(&self, seed: u64) -> RoutePolicy {
        let global = self.config.global();
        let addresses = self.vmtas.values().flat_map(|v| v.sources.iter().map(|s| s.address));
        let sources: Vec<Option<IpAddr>> = addresses.collect();
        let any = |wanted: fn(&IpAddr) -> bool| sources.iter().any(|s| s.as_ref().is_none_or(wanted));
        RoutePolicy {
            addresses: AddressPolicy::new(global.allow_destinations.clone()),
            own_names: global.host_names.iter().map(|n| n.to_ascii_lowercase()).collect(),
            own_addresses: Vec::new(),
            ipv4: any(IpAddr::is_ipv4),
            ipv6: any(IpAddr::is_ipv6),
            seed,
            ..RoutePolicy::default()
        }
    }

    /// What stands behind domains of a single label in the addresses of envelopes; empty for nothing.
    pub fn domain_suffix(&self) -> &str {
        self.config.global().domain_suffix.as_deref().unwrap_or_default()
    }

    /// The queue that takes mail for a domain through a virtual MTA: by `queue-to`, or that of the rollup which the domain is
    /// known to belong to.
    pub fn queue_of(&self, domain: &Arc<str>, vmta: &Arc<str>, now: Wall) -> QueueName {
        let vmta = vmta.clone();
        if self.has_queue_to
            && let Some(other) = &self.config.queue(domain, &vmta).queue_to
        {
            return QueueName { domain: other.to_ascii_lowercase().into(), vmta };
        }
        let rollup = self.rolled_up.of(domain, now);
        let rollup = rollup.filter(|_| !self.config.queue(domain, &vmta).disable_mx_rollup);
        QueueName { domain: rollup.unwrap_or_else(|| domain.clone()), vmta }
    }

    /// Where mail of a rollup's queue goes.
    fn rollup_hosts(&self, queue: &str) -> Option<Arc<HostList>> {
        if !queue.ends_with(".rollup") {
            return None;
        }
        let named = self.config.rollup(queue).filter(|rollup| !rollup.hosts.is_empty());
        named.map(|rollup| Arc::new(named_hosts(rollup))).or_else(|| self.rolled_up.hosts(queue))
    }

    /// The virtual MTA that sends from an address.
    pub fn owner(&self, address: IpAddr) -> Option<&str> {
        self.owners.get(&address).map(String::as_str)
    }

    /// What rewrites the senders of messages that go through `vmta`: its list, or else that of their source.
    pub fn rewrites(&self, vmta: &str, of_source: &str) -> Option<Arc<dyn Rewrites>> {
        let own = self.vmtas.get(vmta).and_then(|vmta| vmta.rewrites.clone());
        own.or_else(|| self.config.rewrite_list(of_source).map(rewriting::by_list))
    }

    /// Left side of the Message-IDs of a submission, but for the number of the row.
    pub fn message_name(&self, submission: u64) -> String {
        plain::message_name(submission, self.config.global().host_id)
    }

    /// The VMTAs a name stands for: itself, or the members of a pool.
    pub fn members(&self, name: &str) -> Option<Vec<String>> {
        match self.config.resolve_vmta(if name.is_empty() { "{default}" } else { name }) {
            Resolved::Default => Some(vec!["{default}".to_owned()]),
            Resolved::Vmta(vmta) => Some(vec![vmta.name.clone()]),
            Resolved::Pool(pool) => Some(pool.members.clone()),
            Resolved::Unknown => None,
        }
    }
}

/// The main host name: the first `host-name`, or what the operating system says.
pub fn host_name(config: &Config) -> String {
    let own = config.global().host_names.first().cloned();
    own.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

fn users(config: &Config) -> Option<Arc<Users>> {
    let by = |method| {
        let by_it = move |user: &&SmtpUser| user.settings.authentication == method;
        config.smtp_users().iter().filter(by_it)
    };
    let with_password = by(Authentication::Password)
        .filter_map(|user| Some((user.name.clone(), user.settings.password.clone()?)));
    let of_system = by(Authentication::System).map(|user| user.name.clone());
    let mut key = [0; 32];
    // It only keeps salts of users apart from those of nobody.
    if aws_lc_rs::rand::fill(&mut key).is_err() {
        fastrand::fill(&mut key);
    }
    let users = Users::new(with_password, &key).with_system(of_system);
    (!users.is_empty()).then(|| Arc::new(users))
}

fn trusted_roots() -> rustls::RootCertStore {
    rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn source_hosts(
    hosts: &[vmta_config::SourceHost],
    helo: Option<&str>,
    main: &Arc<str>,
    origin: &str,
) -> Result<Vec<SourceHost>, ProfileError> {
    let mut sources = Vec::new();
    for host in hosts {
        let name: Arc<str> = helo.unwrap_or(&host.host_name).into();
        if let Some(address) = host.address() {
            sources.push(SourceHost { address: Some(address), helo: name });
            continue;
        }
        let before = sources.len();
        for address in local_addresses().map_err(ProfileError::Interfaces)? {
            // Reference 2.1: never 127.0.0.1.
            if host.network.contains(&address) && address != IpAddr::from([127, 0, 0, 1]) {
                sources.push(SourceHost { address: Some(address), helo: name.clone() });
            }
        }
        if sources.len() == before {
            let network = host.network.to_string();
            return Err(ProfileError::NoAddress { origin: origin.to_owned(), network });
        }
    }
    if sources.is_empty() {
        sources.push(SourceHost { address: None, helo: helo.map_or_else(|| main.clone(), Arc::from) });
    }
    Ok(sources)
}

/// Every address that an interface of this machine has.
pub fn local_addresses() -> std::io::Result<Vec<IpAddr>> {
    let interfaces = nix::ifaddrs::getifaddrs()?;
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    });
    Ok(addresses.collect())
}

type Made = (Arc<DomainSettings>, Arc<QueueProfile>);

/// The profiles of one shard. Queues with the same settings share one.
#[derive(Debug)]
pub struct ConfigProfiles {
    configured: Arc<Configured>,
    /// By the address of the settings, which are kept so that it stays theirs.
    made: RefCell<HashMap<usize, Made>>,
}

impl ConfigProfiles {
    pub fn new(configured: Arc<Configured>) -> ConfigProfiles {
        ConfigProfiles { configured, made: RefCell::default() }
    }

    fn replies(&self, settings: &DomainSettings) -> Option<Arc<dyn ReplyRules>> {
        let list = self.configured.config.smtp_pattern_list(settings.smtp_pattern_list.as_deref()?)?;
        Some(Arc::new(PatternList::new(list.clone())))
    }
}

impl Profiles for ConfigProfiles {
    fn queue(&self, domain: &str, vmta: &str) -> Arc<QueueProfile> {
        let settings = self.configured.config.queue(domain, vmta);
        let mut made = self.made.borrow_mut();
        let (_, profile) = made.entry(Arc::as_ptr(&settings) as usize).or_insert_with(|| {
            let profile = Arc::new(queue_profile(&settings, self.replies(&settings)));
            (settings, profile)
        });
        match self.configured.rollup_hosts(domain).filter(|_| profile.hosts.is_none()) {
            Some(hosts) => Arc::new(QueueProfile { hosts: Some(hosts), ..(**profile).clone() }),
            None => profile.clone(),
        }
    }

    fn vmta(&self, name: &str) -> Option<Arc<VmtaProfile>> {
        self.configured.vmtas.get(name).cloned()
    }

    fn host_limit(&self, host: &str) -> Option<u32> {
        let limits = &self.configured.config.global().mx_connection_limits;
        if limits.is_empty() {
            return None;
        }
        let host = host.to_ascii_lowercase();
        limits.iter().find(|(pattern, _)| pattern.matches(&host)).map(|(_, limit)| *limit)
    }

    fn address_limit(&self, address: IpAddr) -> Option<u32> {
        let limits = self.configured.config.global().ip_connection_limits.iter();
        let fits = limits.filter(|(network, _)| network.contains(&address));
        fits.max_by_key(|(network, _)| network.prefix_len()).map(|(_, limit)| *limit)
    }

    fn pool_of(&self, vmta: &str) -> String {
        let vmta = self.configured.config.virtual_mta(vmta);
        vmta.and_then(|v| v.pools.first().cloned()).unwrap_or_default()
    }

    fn reroutes(&self, queue: &QueueName) -> Reroutes {
        rerouting::reroutes(&self.configured, queue)
    }

    fn rollup(&self, queue: &QueueName, route: &Route, now: Wall) -> Option<Arc<str>> {
        let Configured { config, rolled_up, .. } = &*self.configured;
        let best: Vec<&str> = route.mx.iter().map(|host| &**host).collect();
        let rollup = config.rollup_of(&best)?;
        let stays =
            queue.domain.ends_with(".rollup") || config.queue(&queue.domain, &queue.vmta).disable_mx_rollup;
        (!stays).then(|| rolled_up.learn(&queue.domain, rollup, route, now))
    }

    fn rewrites(&self, list: &str) -> Option<Arc<dyn Rewrites>> {
        self.configured.config.rewrite_list(list).map(rewriting::by_list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn mail_without_mx_is_given_up_as_the_queue_says() {
        let sections = [("a", "yes"), ("b", "1h"), ("c", "never")].map(|(domain, value)| {
            format!("<domain {domain}.example>\n bounce-upon-no-mx {value}\n</domain>\n")
        });
        let text = format!("<spool /s>\n</spool>\nlog-file /l\n{}", sections.concat());
        let loaded = vmta_config::load("config", &vmta_config::MemoryFiles::new([("config", text)]), false);
        let config = loaded.config.map(Arc::new).expect("a configuration");
        let profiles =
            ConfigProfiles::new(Arc::new(Configured::new(config, "mx.example").expect("profiles")));
        let life = |domain| profiles.queue(domain, "{default}").bounce_upon_no_mx;
        assert_eq!(
            (life("a.example"), life("b.example")),
            (Some(Duration::ZERO), Some(Duration::from_secs(3600)))
        );
        assert_eq!((life("c.example"), life("d.example")), (None, None));
    }
}
