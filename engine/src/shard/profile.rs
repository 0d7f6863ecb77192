//! What the configuration says about a queue and a VMTA, as the shard needs it. Profiles are made by the shell from
//! the configuration (and by tests by hand); queues with the same settings share one.

use crate::limit::{Rate, VolumeRate};
use crate::queue::QueueSettings;
use crate::route::HostList;
use crate::route::choose::SourceHost;
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
    /// None: delays are not reported.
    pub notify_of_delay_every: Option<Duration>,
    pub pipeline_across_data: bool,
    pub prefer_chunking: bool,
    /// How long an idle connection is kept for new mail.
    pub idle_timeout: Duration,
    pub verdict: VerdictOptions,
    pub max_errors_per_connection: Option<u32>,
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
}
