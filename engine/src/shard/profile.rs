//! What the configuration says about a queue and a VMTA, as the shard needs it. Profiles are made by the shell from
//! the configuration (and by tests by hand); queues with the same settings share one.

use crate::queue::QueueSettings;
use crate::smtp::client::Timeouts;
use crate::smtp::client::StartTls;
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

/// One entry of `smtp-hosts`; the index of its group is its preference.
pub use crate::route::hosts::HostSpec;

#[derive(Clone, Debug)]
pub struct QueueProfile {
    pub scheduling: QueueSettings,
    pub delivery: Delivery,
    /// Explicit next hops (`smtp-hosts`, `route`); empty means MX look-up.
    pub hosts: Vec<HostSpec>,
    pub port: u16,
    pub timeouts: Timeouts,
    pub starttls: StartTls,
    pub ignore_8bitmime: bool,
    pub ignore_chunking: bool,
    pub ignore_pipelining: bool,
    pub pipeline_across_data: bool,
    pub prefer_chunking: bool,
    /// How long an idle connection is kept for new mail.
    pub idle_timeout: Duration,
    pub bounce_upon_no_mx: bool,
    pub bounce_upon_5xx_greeting: bool,
    pub smtp_421_means_mx_unavailable: bool,
    pub smtp_553_means_invalid_mailbox: bool,
    pub mx_connection_attempts: u32,
    pub max_errors_per_connection: Option<u32>,
}

/// A source address and the HELO name that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceHost {
    /// None: the system chooses.
    pub address: Option<IpAddr>,
    pub helo: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmtaProfile {
    pub name: Arc<str>,
    /// Used in rotation, one per connection; never empty.
    pub sources: Vec<SourceHost>,
}

/// Where profiles come from.
pub trait Profiles: std::fmt::Debug + Send {
    fn queue(&self, domain: &str, vmta: &str) -> Arc<QueueProfile>;
    /// None when the configuration has no such VMTA.
    fn vmta(&self, name: &str) -> Option<Arc<VmtaProfile>>;
    /// The pool a VMTA was chosen through, for accounting; empty if none has it.
    fn pool_of(&self, vmta: &str) -> String;
}
