//! What the configuration says about a queue and a VMTA, as the shard needs it. Profiles are made by the shell from
//! the configuration (and by tests by hand); queues with the same settings share one.

use super::steer::ReplyRules;
use crate::base::Wall;
use crate::limit::{Rate, VolumeRate};
use crate::mail::rewrite::Rewrites;
use crate::queue::{AdaptiveTerms, QueueName, QueueSettings, SourceRules};
use crate::route::choose::SourceHost;
use crate::route::{HostList, Route};
use crate::smtp::client::{StartTls, Timeouts};
use crate::smtp::tls::TlsClientConfig;
use crate::smtp::verdict::VerdictOptions;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How mail of a queue leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    #[default]
    Smtp,
    /// `type discard`: accepted and thrown away.
    Discard,
}

impl Delivery {
    /// Accounting's `dlvType`.
    pub fn name(self) -> &'static str {
        match self {
            Delivery::Smtp => "smtp",
            Delivery::Discard => "discard",
        }
    }
}

#[derive(Clone, Debug)]
pub struct QueueProfile {
    pub scheduling: Arc<QueueSettings>,
    pub backoff: BackoffProfile,
    /// `adaptive-rate`: instead of entering backoff the queue eases itself.
    pub adaptive: Option<AdaptiveTerms>,
    /// `source-ip-max-*`
    pub per_source: Arc<SourceRules>,
    /// `smtp-pattern-list`.
    pub replies: Option<Arc<dyn ReplyRules>>,
    /// `reenable-source-ip-after`; `None` is never.
    pub reenable_source_after: Option<Duration>,
    pub delivery: Delivery,
    /// Explicit next hops (`smtp-hosts`, `route`); None means MX look-up.
    pub hosts: Option<Arc<HostList>>,
    /// `default-smtp-port`.
    pub port: u16,
    /// Addresses that one try goes through, at most (`mx-connection-attempts`).
    pub attempts: usize,
    /// Age at which mail for a domain without MX records is given up; zero is at once.
    pub bounce_upon_no_mx: Option<Duration>,
    pub connect_timeout: Duration,
    pub timeouts: Timeouts,
    pub starttls: StartTls,
    pub ignore_8bitmime: bool,
    pub ignore_chunking: bool,
    pub ignore_pipelining: bool,
    pub ignore_dsn: bool,
    /// Whether senders are told what becomes of their mail.
    pub reports: bool,
    /// None: delays are not reported.
    pub notify_of_delay_every: Option<Duration>,
    pub pipeline_across_data: bool,
    pub prefer_chunking: bool,
    /// How long an idle connection is kept for new mail.
    pub idle_timeout: Duration,
    pub verdict: VerdictOptions,
    pub max_errors_per_connection: Option<u32>,
    /// Headers that leave with no message.
    pub remove_headers: Arc<[String]>,
}

/// PowerMTA's defaults (reference 2.5), without TLS.
impl Default for QueueProfile {
    fn default() -> QueueProfile {
        QueueProfile {
            scheduling: Arc::default(),
            backoff: BackoffProfile::default(),
            per_source: Arc::default(),
            replies: None,
            reenable_source_after: None,
            delivery: Delivery::Smtp,
            hosts: None,
            port: 25,
            attempts: 10,
            adaptive: None,
            bounce_upon_no_mx: None,
            connect_timeout: Duration::from_secs(120),
            timeouts: Timeouts::default(),
            starttls: StartTls::Off,
            ignore_8bitmime: false,
            ignore_chunking: false,
            ignore_dsn: false,
            reports: true,
            notify_of_delay_every: Some(Duration::from_secs(4 * 3600)),
            ignore_pipelining: false,
            pipeline_across_data: true,
            prefer_chunking: false,
            idle_timeout: Duration::ZERO,
            verdict: VerdictOptions::default(),
            max_errors_per_connection: None,
            remove_headers: Arc::default(),
        }
    }
}

/// What is different in backoff, and when that ends.
#[derive(Clone, Debug, Default)]
pub struct BackoffProfile {
    /// Instead of [`QueueProfile::scheduling`].
    pub scheduling: Arc<QueueSettings>,
    /// `None` is never.
    pub to_normal_after: Option<Duration>,
    pub to_normal_after_delivery: bool,
    pub upon_all_sources_disabled: bool,
}

#[derive(Clone, Debug)]
pub struct VmtaProfile {
    pub name: Arc<str>,
    /// Used in rotation, one per connection; never empty.
    pub sources: Arc<[SourceHost]>,
    /// `max-smtp-out`: connections of all its queues.
    pub max_smtp_out: Option<u32>,
    /// `max-smtp-msg-rate` and `max-smtp-data-volume-rate`, over all its queues.
    pub max_msg_rate: Option<Rate>,
    pub max_data_volume_rate: Option<VolumeRate>,
    /// TLS settings with the VMTA's own session cache: a session must not link two VMTAs.
    pub tls: Option<Arc<TlsClientConfig>>,
    /// Its own list, or that of its pool.
    pub rewrites: Option<Arc<dyn Rewrites>>,
    /// Whole header lines that its messages get; empty for none.
    pub include_headers: Arc<str>,
}

impl VmtaProfile {
    /// One without limits of its own and without TLS.
    pub fn new(name: Arc<str>, sources: Arc<[SourceHost]>) -> VmtaProfile {
        VmtaProfile {
            name,
            sources,
            max_smtp_out: None,
            max_msg_rate: None,
            max_data_volume_rate: None,
            tls: None,
            rewrites: None,
            include_headers: "".into(),
        }
    }
}

/// Virtual MTAs that have a queue's mail instead of its own; they take turns. Empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reroutes {
    /// `reroute-to-virtual-mta`
    pub always: Vec<Arc<str>>,
    /// `backoff-reroute-to-virtual-mta`
    pub in_backoff: Vec<Arc<str>>,
}

/// Where profiles come from.
pub trait Profiles: std::fmt::Debug + Send {
    fn queue(&self, domain: &str, vmta: &str) -> Arc<QueueProfile>;
    /// None when the configuration has no such VMTA.
    fn vmta(&self, name: &str) -> Option<Arc<VmtaProfile>>;
    /// `mx-connection-limit` of a host, from each source address.
    fn host_limit(&self, host: &str) -> Option<u32>;
    /// `ip-connection-limit` of an address, from each source address.
    fn address_limit(&self, address: IpAddr) -> Option<u32>;
    /// The pool a VMTA was chosen through, for accounting; empty if none has it.
    fn pool_of(&self, vmta: &str) -> String;
    fn reroutes(&self, _queue: &QueueName) -> Reroutes {
        Reroutes::default()
    }
    /// The domain whose queue has the mail of this one, because it leads to the same MX hosts (`<mx-rollup-list>`).
    fn rollup(&self, _queue: &QueueName, _route: &Route, _now: Wall) -> Option<Arc<str>> {
        None
    }
    /// The list of this name, by which senders are rewritten.
    fn rewrites(&self, list: &str) -> Option<Arc<dyn Rewrites>>;
}
