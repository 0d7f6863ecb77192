//! What the operator asks of a shard, and what it answers. Counts of several shards add up.

use super::profile::Profiles;
use crate::base::Wall;
use crate::queue::{Level, QueueName, Step};
use crate::route::RoutePolicy;
use crate::spool::record::Location;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A queue name pattern: `domain[/vmta]`, see [`QueueName::matches`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePattern(String);

impl QueuePattern {
    pub fn all() -> QueuePattern {
        QueuePattern("*".to_owned())
    }

    pub fn parse(text: &str) -> QueuePattern {
        QueuePattern(text.to_ascii_lowercase())
    }

    pub fn matches(&self, name: &QueueName) -> bool {
        name.matches(&self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A new configuration for every shard: each makes profiles of its own from it.
#[derive(Clone)]
pub struct NewProfiles {
    make: Arc<dyn Fn() -> Box<dyn Profiles> + Send + Sync>,
    /// Where routes are to be looked for anew.
    routes: Option<Arc<RoutePolicy>>,
}

impl NewProfiles {
    pub fn new(make: impl Fn() -> Box<dyn Profiles> + Send + Sync + 'static) -> NewProfiles {
        NewProfiles { make: Arc::new(make), routes: None }
    }

    /// With other rules for routes, or other name servers: nothing that is known from DNS counts any longer.
    pub fn with_routes(self, routes: Option<Arc<RoutePolicy>>) -> NewProfiles {
        NewProfiles { routes, ..self }
    }

    pub(super) fn make(&self) -> Box<dyn Profiles> {
        (self.make)()
    }

    pub(super) fn routes(&self) -> Option<Arc<RoutePolicy>> {
        self.routes.clone()
    }
}

impl fmt::Debug for NewProfiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewProfiles")
    }
}

/// Queues with mail that a new configuration does not reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreached {
    /// Their virtual MTA or route is gone: their mail is held.
    pub held: u64,
    /// They keep their `type` until a restart.
    pub keep_type: u64,
    /// Those whose route this configuration has taken away: to be remembered over a restart (F39).
    pub routes_lost: Vec<QueueName>,
}

/// Which recipients `delete` removes; all given conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub queue: Option<QueuePattern>,
    pub job: Option<String>,
    pub envid: Option<String>,
    pub sender: Option<String>,
    pub recipient: Option<String>,
}

#[derive(Clone, Debug)]
pub enum ShardRequest {
    /// Takes a new configuration.
    Configure(NewProfiles),
    /// Everything that waited before the start is back in its queues.
    Recovered,
    Status,
    /// What waits, over all queues.
    Waiting,
    Queues,
    Jobs,
    Pause {
        queue: QueuePattern,
        paused: bool,
    },
    /// The mode of the queues that fit.
    SetMode {
        queue: QueuePattern,
        backoff: bool,
    },
    DisableSource {
        queue: QueuePattern,
        address: IpAddr,
        /// `None`: as the configuration says.
        reenable_after: Option<Duration>,
    },
    EnableSource {
        queue: QueuePattern,
        address: IpAddr,
    },
    /// Removes recipients that are not being sent right now.
    Delete {
        selection: Selection,
        quiet: bool,
    },
    /// Recipients whose address is `address`, at most `limit`; `None` looks at queues only.
    Find {
        address: Option<String>,
        queue: QueuePattern,
        limit: usize,
    },
    /// The submissions that have recipients here, and when they were accepted.
    Submissions,
    /// Recipients of these submissions, at most `limit`; only that of one row, if it is given.
    FindOf {
        submissions: Vec<Location>,
        row: Option<u64>,
        limit: usize,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStatus {
    pub waiting: u64,
    pub queues: u64,
    pub connections: u64,
    pub delivered: u64,
    pub delivered_bytes: u64,
    pub bounced: u64,
    pub deferrals: u64,
    pub in_doubt: u64,
    /// Messages (transactions) accepted by next hops.
    pub messages: u64,
}

impl ShardStatus {
    /// Adds what another shard counted.
    pub fn add(&mut self, other: &ShardStatus) {
        self.waiting += other.waiting;
        self.queues += other.queues;
        self.connections += other.connections;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.bounced += other.bounced;
        self.deferrals += other.deferrals;
        self.in_doubt += other.in_doubt;
        self.messages += other.messages;
    }
}

/// Since when a queue is in backoff, why, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackoffState {
    pub since: Wall,
    pub reason: String,
    /// `None`: until a reply or the operator ends it.
    pub until: Option<Wall>,
}

/// What a queue that adapts lets through at present, and how it came to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdaptiveState {
    /// Less than is configured.
    pub eased: bool,
    pub level: Level,
    /// The latest first.
    pub steps: Vec<Step>,
}

/// A source address that a queue does not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisabledState {
    /// `None` is the one that the system chooses.
    pub address: Option<IpAddr>,
    pub since: Wall,
    pub reason: String,
    /// `None`: until the operator enables it.
    pub until: Option<Wall>,
}

/// One line of `show queues`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueState {
    pub name: QueueName,
    pub waiting: u64,
    pub in_flight: u64,
    /// Bytes of the messages of those who wait or are in flight, each counted for each recipient.
    pub bytes: u64,
    pub connections: u64,
    pub paused: bool,
    /// `None` in normal mode.
    pub backoff: Option<BackoffState>,
    /// Where `adaptive-rate` is on.
    pub adaptive: Option<AdaptiveState>,
    pub disabled_sources: Vec<DisabledState>,
    /// When the queue will try again after a failure.
    pub retry_at: Option<Wall>,
    pub last_error: Option<(Wall, String)>,
    pub delivered: u64,
    pub bounced: u64,
    pub deferrals: u64,
    /// What the queue waits for right now, in words; empty while it is sending.
    pub waits_for: String,
    /// The directive behind it; empty where none is.
    pub limited_by: &'static str,
    /// It is the virtual MTA's, and not the queue's of the same name.
    pub limited_by_vmta: bool,
    /// When that is over by itself, if it is known.
    pub waits_until: Option<Wall>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobState {
    pub job: Arc<str>,
    pub waiting: u64,
    pub bytes: u64,
    pub delivered: u64,
    pub bounced: u64,
    pub deferrals: u64,
}

/// A waiting recipient, for `why ADDRESS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub recipient: String,
    pub queue: QueueName,
    pub job: Arc<str>,
    pub accepted_at: Wall,
    pub attempts: u16,
    /// Not tried again before this.
    pub due: Option<Wall>,
    /// Its submission says when mail may go (`schedule`, send hours).
    pub by_schedule: bool,
    /// Recipients that go before it; `None` where it is put off or in flight.
    pub ahead: Option<u64>,
    pub in_flight: bool,
}

#[derive(Clone, Debug)]
pub enum ShardReply {
    Configured(Unreached),
    Status(ShardStatus),
    /// Bytes of all messages, and a hash of each domain that has mail: queues of one domain may be on several shards, and
    /// the names of a million are not worth copying to count them.
    Waiting {
        bytes: u64,
        domains: Vec<u64>,
    },
    Queues(Vec<QueueState>),
    Jobs(Vec<JobState>),
    Submissions(Vec<(Location, Wall)>),
    /// Number of queues or recipients concerned.
    Count(u64),
    Found {
        recipients: Vec<Found>,
        queues: Vec<QueueState>,
    },
}
