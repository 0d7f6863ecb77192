//! A configuration that was understood, and the questions the engine asks it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::IpNet;

use crate::address_list::AddressList;
use crate::aliases::Aliases;
use crate::choose::PatternList;
use crate::diagnostic::Origin;
use crate::domains::{Class, DomainIndex};
use crate::explain::Note;
use crate::patterns::{BouncePattern, SmtpPatternList};
use crate::rewrite_list::RewriteList;
use crate::rollup::{MxRollup, MxRollups};
use crate::scope::Scope;
use crate::settings::{
    AcctSettings, ApiListenerSettings, ApiSettings, DomainSettings, Global, GroupSettings, ListenerSettings,
    SourceSettings, SpoolSettings, UserSettings, VmtaSettings,
};
use crate::slots::{Setting, Slots};
use crate::value::{ReportTemplate, SourceHost, matches_net};

/// One spool directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    pub directory: String,
    pub settings: SpoolSettings,
    pub origin: Origin,
}

/// One listening address.
#[derive(Clone, Debug, PartialEq)]
pub struct SmtpListener {
    /// One address, a network (every local address inside it), or prefix length 0: all addresses.
    pub network: IpNet,
    pub port: u16,
    pub settings: ListenerSettings,
    pub origin: Origin,
}

/// One `<smtp-user>`.
#[derive(Clone, Debug, PartialEq)]
pub struct SmtpUser {
    pub name: String,
    pub settings: UserSettings,
    pub origin: Origin,
}

/// One `<source-group>`.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceGroup {
    pub name: String,
    pub settings: GroupSettings,
    pub origin: Origin,
}

impl SmtpListener {
    /// The address to bind, where it is one or all; `None` for a network whose local addresses must be looked up.
    pub fn address(&self) -> Option<SocketAddr> {
        bind_address(self.network, self.port)
    }
}

/// The address to bind for a network that is one address or all of them.
fn bind_address(network: IpNet, port: u16) -> Option<SocketAddr> {
    let whole = network.prefix_len() == network.max_prefix_len();
    match network {
        net if whole => Some(SocketAddr::new(net.addr(), port)),
        net if net.prefix_len() == 0 && net.addr().is_ipv4() => {
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
        }
        net if net.prefix_len() == 0 => Some(SocketAddr::new(net.addr(), port)),
        _ => None,
    }
}

/// One `<transmissions-api-listener>`.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiListener {
    pub address: SocketAddr,
    pub settings: ApiListenerSettings,
    pub origin: Origin,
}

impl ApiListener {
    /// `None` for a network of several addresses.
    pub(crate) fn new(
        network: IpNet,
        port: u16,
        settings: ApiListenerSettings,
        origin: Origin,
    ) -> Option<ApiListener> {
        Some(ApiListener { address: bind_address(network, port)?, settings, origin })
    }
}

/// Where accounting records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcctTarget {
    File(String),
    /// The command line after the pipe sign.
    Pipe(String),
}

/// One `<acct-file>`.
#[derive(Clone, Debug, PartialEq)]
pub struct AcctFile {
    pub target: AcctTarget,
    pub settings: AcctSettings,
    pub origin: Origin,
}

/// One `<virtual-mta>`.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualMta {
    pub name: String,
    /// Its own source hosts, or the global ones if it has none; used in turn. Empty: any local address.
    pub source_hosts: Vec<SourceHost>,
    /// HELO name that goes before the one of the source host.
    pub host_name: Option<String>,
    /// The pools it is a member of.
    pub pools: Vec<String>,
    /// Those it warms up, its own or else those of a pool.
    pub cold: Vec<String>,
    /// Its own `rewrite-list`.
    pub(crate) rewrite_list: Option<String>,
    /// Of its own `include-headers-from`.
    pub(crate) included: Option<String>,
    pub origin: Origin,
    /// Its own `<domain>` entries, and those of the one pool that has some.
    pub(crate) level: Option<u32>,
    pub(crate) pool_level: Option<u32>,
    pub(crate) section: usize,
}

/// One `<virtual-mta-pool>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    pub name: String,
    /// Virtual MTAs, used in turn; never empty.
    pub members: Vec<String>,
    /// Cold virtual MTAs of the members that name none.
    pub cold: Vec<String>,
    pub origin: Origin,
    /// Of members that have none of their own.
    pub(crate) rewrite_list: Option<String>,
    pub(crate) included: Option<String>,
    pub(crate) level: Option<u32>,
    pub(crate) section: usize,
}

/// What a virtual MTA name stands for: VMTAs and pools share one namespace.
#[derive(Clone, Copy, Debug)]
pub enum Resolved<'a> {
    /// `{default}`: the global source hosts.
    Default,
    Vmta(&'a VirtualMta),
    Pool(&'a Pool),
    Unknown,
}

/// One tag with its directives, or the top level.
#[derive(Debug)]
pub(crate) struct Section {
    pub scope: Scope,
    /// As in `<virtual-mta a> <domain *>`; empty for the top level.
    pub label: String,
    /// The argument as written.
    pub arg: String,
    pub settings: Vec<Setting>,
}

/// `<domain>` entries of one level; the entries are indexes of sections.
pub(crate) type Level = DomainIndex<u32>;

/// Queues with the same key have the same settings: (level, class) of the global entries, the pool's and the VMTA's.
type QueueKey = [(u32, Class); 3];

const NO_LEVEL: (u32, Class) = (u32::MAX, 0);

/// A configuration without errors.
#[derive(Debug)]
pub struct Config {
    pub(crate) global: Global,
    /// Of the `include-headers-from` of the top level.
    pub(crate) included: Option<String>,
    pub(crate) spools: Vec<Spool>,
    pub(crate) listeners: Vec<SmtpListener>,
    pub(crate) smtp_users: Vec<SmtpUser>,
    pub(crate) source_groups: Vec<SourceGroup>,
    pub(crate) acct_files: Vec<AcctFile>,
    pub(crate) api: ApiSettings,
    pub(crate) api_listeners: Vec<ApiListener>,
    /// What the top level says about all sources.
    pub(crate) source_base: Vec<Setting>,
    /// From the widest network to the narrowest.
    pub(crate) sources_by_network: Vec<(IpNet, Vec<Setting>)>,
    pub(crate) sources_by_name: HashMap<String, Vec<Setting>>,
    /// Every tag, in the order of the files; the first one is the top level.
    pub(crate) sections: Vec<Section>,
    /// The first one is the global level.
    pub(crate) levels: Vec<Level>,
    pub(crate) vmtas: Vec<VirtualMta>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) by_name: HashMap<String, VmtaOrPool>,
    pub(crate) categories: Vec<BouncePattern>,
    pub(crate) smtp_pattern_lists: HashMap<String, Arc<SmtpPatternList>>,
    /// Those with a name and those inside others.
    pub(crate) pattern_lists: Vec<PatternList>,
    pub(crate) pattern_lists_by_name: HashMap<String, usize>,
    pub(crate) address_lists: HashMap<String, Arc<AddressList>>,
    pub(crate) rollups: MxRollups,
    pub(crate) rewrite_lists: HashMap<String, Arc<RewriteList>>,
    pub(crate) aliases: Aliases,
    pub(crate) relay: DomainIndex<()>,
    pub(crate) relay_addresses: AddressList,
    /// Of `dsn-failed-body-template-from`.
    pub(crate) failure_words: Option<ReportTemplate>,
    pub(crate) notes: Vec<Note>,
    /// Settings already merged. Only a memory: the same key always gives the same settings.
    pub(crate) merged: RwLock<HashMap<QueueKey, Arc<DomainSettings>>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum VmtaOrPool {
    Vmta(usize),
    Pool(usize),
}

impl Config {
    pub fn global(&self) -> &Global {
        &self.global
    }

    /// Spool directories, of `<spool>` and `spool`.
    pub fn spools(&self) -> &[Spool] {
        &self.spools
    }

    /// Listening addresses, of `smtp-listener` and `<smtp-listener>`. Empty means one on 0.0.0.0:25 (reference 2.1).
    pub fn listeners(&self) -> &[SmtpListener] {
        &self.listeners
    }

    /// Those who may log in, by name.
    pub fn smtp_users(&self) -> &[SmtpUser] {
        &self.smtp_users
    }

    /// Sources that share limits, by name.
    pub fn source_groups(&self) -> &[SourceGroup] {
        &self.source_groups
    }

    pub fn acct_files(&self) -> &[AcctFile] {
        &self.acct_files
    }

    /// Who may submit over HTTP, of `<transmissions-api>`.
    pub fn api(&self) -> &ApiSettings {
        &self.api
    }

    /// Where HTTP submission is served; nowhere unless `<transmissions-api-listener>` says so.
    pub fn api_listeners(&self) -> &[ApiListener] {
        &self.api_listeners
    }

    /// In the order of the file; the first match counts.
    pub fn bounce_category_patterns(&self) -> &[BouncePattern] {
        &self.categories
    }

    /// The `<smtp-pattern-list>` of this name.
    pub fn smtp_pattern_list(&self, name: &str) -> Option<&Arc<SmtpPatternList>> {
        self.smtp_pattern_lists.get(name)
    }

    /// The `<address-list>` of this name.
    pub fn address_list(&self, name: &str) -> Option<&Arc<AddressList>> {
        self.address_lists.get(name)
    }

    /// Whose mail goes to others, of `alias`.
    pub fn aliases(&self) -> &Aliases {
        &self.aliases
    }

    /// The text part of failure reports, where it is not the usual one.
    pub fn failure_words(&self) -> Option<&ReportTemplate> {
        self.failure_words.as_ref()
    }

    /// The `<rewrite-list>` of this name.
    pub fn rewrite_list(&self, name: &str) -> Option<&Arc<RewriteList>> {
        self.rewrite_lists.get(name)
    }

    /// What a virtual MTA rewrites by: its own list, or that of the first of its pools that has one.
    pub fn rewrite_list_of(&self, vmta: &VirtualMta) -> Option<&Arc<RewriteList>> {
        let inherited = || vmta.pools.iter().find_map(|pool| self.pool(pool)?.rewrite_list.as_deref());
        self.rewrite_list(vmta.rewrite_list.as_deref().or_else(inherited)?)
    }

    /// Header lines that messages of a virtual MTA get: those of the top level, then its own, or those of the first of its
    /// pools that has some.
    pub fn included_headers(&self, vmta: Option<&VirtualMta>) -> String {
        let pool = |vmta: &VirtualMta| vmta.pools.iter().find_map(|pool| self.pool(pool)?.included.clone());
        let own = vmta.and_then(|vmta| vmta.included.clone().or_else(|| pool(vmta)));
        self.included.clone().unwrap_or_default() + &own.unwrap_or_default()
    }

    /// Directives used that are not in effect.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    pub fn virtual_mtas(&self) -> &[VirtualMta] {
        &self.vmtas
    }

    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    pub fn virtual_mta(&self, name: &str) -> Option<&VirtualMta> {
        match self.resolve_vmta(name) {
            Resolved::Vmta(vmta) => Some(vmta),
            _ => None,
        }
    }

    /// The limits of a virtual MTA, inherited from its first pool.
    pub fn vmta_settings(&self, vmta: &VirtualMta) -> VmtaSettings {
        let pool = vmta.pools.first().and_then(|pool| self.pool(pool)).map(|pool| pool.section);
        let sections = pool.into_iter().chain([vmta.section]);
        VmtaSettings::read(&Slots::merge(sections.map(|at| self.sections[at].settings.as_slice())))
    }

    pub fn pool(&self, name: &str) -> Option<&Pool> {
        match self.resolve_vmta(name) {
            Resolved::Pool(pool) => Some(pool),
            _ => None,
        }
    }

    pub fn resolve_vmta(&self, name: &str) -> Resolved<'_> {
        match self.by_name.get(name) {
            Some(VmtaOrPool::Vmta(i)) => Resolved::Vmta(&self.vmtas[*i]),
            Some(VmtaOrPool::Pool(i)) => Resolved::Pool(&self.pools[*i]),
            None if name == "{default}" => Resolved::Default,
            None => Resolved::Unknown,
        }
    }

    /// Whether mail for `domain` is accepted from anybody: a `relay-domain` or a name of this host.
    pub fn relays(&self, domain: &str) -> bool {
        self.relay.covers(&normal(domain))
    }

    /// Whether mail for this address is accepted from anybody: by its domain (lower case, A-labels), or as a `relay-address`.
    pub fn relays_address(&self, local: &str, domain: &str) -> bool {
        self.relays(domain) || self.relay_addresses.contains(local, domain)
    }

    /// Whether any queue's mail goes into another by `queue-to`.
    pub fn has_queue_to(&self) -> bool {
        let is_one = |setting: &Setting| setting.written.row().name == "queue-to";
        self.sections.iter().any(|section| section.settings.iter().any(is_one))
    }

    /// The rollup that a domain with these MX hosts of the best preference belongs to.
    pub fn rollup_of(&self, best: &[&str]) -> Option<&MxRollup> {
        self.rollups.of(best)
    }

    /// The rollup of this name, `.rollup` included.
    pub fn rollup(&self, name: &str) -> Option<&MxRollup> {
        self.rollups.named(name)
    }

    /// The settings of the queue `domain/vmta`. Queues with the same settings share them: a million queues cost a
    /// pointer each, and a call costs a hash look-up per label and level.
    pub fn queue(&self, domain: &str, vmta: &str) -> Arc<DomainSettings> {
        let domain = normal(domain);
        let domain = self.rollups.settings_of(&domain);
        let key = self.queue_key(domain, vmta);
        if let Some(found) = self.merged.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return found.clone();
        }
        let chain = self.sections_of(domain, &key);
        let slots = Slots::merge(chain.iter().map(|b| b.settings.as_slice()));
        let settings = Arc::new(DomainSettings::read(&slots));
        let mut merged = self.merged.write().unwrap_or_else(PoisonError::into_inner);
        merged.entry(key).or_insert(settings).clone()
    }

    fn queue_key(&self, domain: &str, vmta: &str) -> QueueKey {
        let (pool, own) = match self.resolve_vmta(vmta) {
            Resolved::Vmta(vmta) => (vmta.pool_level, vmta.level),
            Resolved::Pool(pool) => (pool.level, None),
            Resolved::Default | Resolved::Unknown => (None, None),
        };
        let class = |level: u32| (level, self.levels[level as usize].class(domain));
        [class(0), pool.map_or(NO_LEVEL, class), own.map_or(NO_LEVEL, class)]
    }

    fn sections_of(&self, domain: &str, key: &QueueKey) -> Vec<&Section> {
        let levels = key.iter().filter(|(level, _)| *level != NO_LEVEL.0);
        levels
            .flat_map(|(level, _)| self.levels[*level as usize].chain(domain))
            .map(|section| &self.sections[*section as usize])
            .collect()
    }

    /// The `<domain>` entries that apply to a queue, from the most general to the most specific.
    pub(crate) fn domain_sections(&self, domain: &str, vmta: &str) -> Vec<&Section> {
        let domain = normal(domain);
        let domain = self.rollups.settings_of(&domain);
        self.sections_of(domain, &self.queue_key(domain, vmta))
    }

    /// Every `<domain>` entry: the tags it stands in, and its argument as written.
    pub fn domains_with_settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sections.iter().filter(|s| s.scope == Scope::Domain).map(|s| (s.label.as_str(), s.arg.as_str()))
    }

    /// What applies to a client: entries by address from the widest to the narrowest network, then the named source
    /// of the listener, if any, then that of the user it has logged in as.
    pub fn source_for(
        &self,
        client: IpAddr,
        listener_source: Option<&str>,
        user: Option<&str>,
    ) -> SourceSettings {
        let by_address = self.sources_by_network.iter().filter(|(net, _)| matches_net(net, client));
        let chain = std::iter::once(&self.source_base).chain(by_address.map(|(_, settings)| settings));
        let users = user.map(|name| {
            let user = self.smtp_users.iter().find(|user| user.name == name);
            user.and_then(|user| user.settings.source.as_deref()).unwrap_or("{auth}")
        });
        let named = listener_source.into_iter().chain(users);
        let named = named.filter_map(|name| self.sources_by_name.get(name));
        SourceSettings::read(&Slots::merge(chain.chain(named).map(Vec::as_slice)))
    }

    /// What applies to mail that comes in under a name alone, such as `{pickup}`.
    pub fn source_named(&self, name: &str) -> SourceSettings {
        let named = self.sources_by_name.get(name);
        SourceSettings::read(&Slots::merge(
            std::iter::once(&self.source_base).chain(named).map(Vec::as_slice),
        ))
    }

    pub fn has_source(&self, name: &str) -> bool {
        self.sources_by_name.contains_key(name)
    }
}

/// Lower case, without a final dot. Names on the wire are ASCII by the time they reach a queue.
fn normal(domain: &str) -> Cow<'_, str> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    match domain.bytes().any(|b| b.is_ascii_uppercase()) && !domain.starts_with('{') {
        true => Cow::Owned(domain.to_ascii_lowercase()),
        false => Cow::Borrowed(domain),
    }
}
