//! What the command line asks a running engine, and what it answers: one line of JSON each way.
//!
//! The types are the protocol. Times are Unix milliseconds, sizes bytes; a field that is missing has its default, so
//! that an older command line understands a newer engine.

pub use super::control_why::{Estimate, Limit, Setting, WhyQueue, WhyRecipient, WhyReport};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A question or an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    Status,
    Queues(QueueQuery),
    Domains(QueueQuery),
    Vmtas(ListQuery),
    Jobs(ListQuery),
    /// Stops deliveries of the queues that fit `domain[/vmta]`, wildcards allowed.
    PauseQueue {
        queue: String,
    },
    ResumeQueue {
        queue: String,
    },
    Delete(DeleteQuery),
    SetMode {
        queue: String,
        mode: Mode,
    },
    /// The queues that fit use this source address no more.
    DisableSource {
        queue: String,
        address: IpAddr,
        /// Seconds; by default as the configuration says.
        #[serde(default)]
        reenable_after: Option<u64>,
    },
    EnableSource {
        queue: String,
        address: IpAddr,
    },
    /// Source addresses that queues do not use.
    DisabledSources {
        queue: String,
    },
    /// Why an address, or a queue (`domain/vmta`), is not being delivered to.
    Why {
        what: String,
    },
    /// Begins new accounting files: the one configured with this path, or all.
    RotateAcct {
        file: Option<String>,
    },
    /// The warm-ups of cold virtual MTAs.
    Warming,
    /// Changes one of them.
    SetWarming {
        vmta: String,
        domain: String,
        order: WarmingOrder,
    },
    /// Reads the configuration again and puts it into effect.
    Reload,
    Stop,
}

/// What is to become of a warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WarmingOrder {
    /// Goes on with this place in the list of daily limits; the first is 1.
    Day(u32),
    /// Stays where it is.
    Hold,
    /// Goes on by itself again.
    Release,
}

/// Order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    #[default]
    Name,
    /// Most recipients first.
    Rcpt,
    /// Most bytes first.
    Size,
}

/// Mode of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    #[default]
    Normal,
    Backoff,
    /// Only to list queues by: those that have eased themselves.
    Adaptive,
}

/// Which queues or domains to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueQuery {
    /// `domain[/vmta]`, wildcards allowed; empty means all.
    pub pattern: String,
    /// Only queues of this VMTA (`show domains --vmta`).
    pub vmta: Option<String>,
    /// Only queues with connections open, or only those without.
    pub connected: Option<bool>,
    pub paused: Option<bool>,
    pub mode: Option<Mode>,
    pub sort: Sort,
    /// Rows at most; 0 means all.
    pub max_items: u32,
    /// Whether `errors` of each row is wanted, not just the last one.
    pub errors: bool,
}

/// How to list VMTAs or jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListQuery {
    pub sort: Sort,
    /// Rows at most; 0 means all.
    pub max_items: u32,
}

/// Which recipients to delete: those that fit everything given. A queue or a job must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteQuery {
    pub queue: Option<String>,
    /// Envelope sender.
    pub orig: Option<String>,
    pub rcpt: Option<String>,
    pub job: Option<String>,
    pub envid: Option<String>,
    /// Write no accounting lines about it.
    pub quiet: bool,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    Status(Box<Status>),
    Queues(Listing<QueueRow>),
    Domains(Listing<DomainRow>),
    Vmtas(Listing<VmtaRow>),
    Jobs(Listing<JobRow>),
    Warming(Listing<WarmingRow>),
    DisabledSources(Listing<DisabledRow>),
    /// The order was carried out; `count` is the number of queues, recipients or files it was about.
    Done {
        message: String,
        #[serde(default)]
        count: u64,
    },
    Why(WhyReport),
    Reloaded(ReloadReport),
    /// It was not; `message` says why and what would be right.
    Error {
        message: String,
    },
}

/// Rows of a list, and how many there would be without `max_items`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing<R> {
    pub rows: Vec<R>,
    pub total: u64,
}

/// An error met in delivering.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastError {
    pub at: i64,
    pub text: String,
}

/// Since when and why a queue is in backoff.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backoff {
    pub since: i64,
    /// When it ends by itself, if it does.
    pub until: Option<i64>,
    /// The reply and the line of the pattern list, or who.
    pub reason: String,
}

/// What a queue with `adaptive-rate` lets through at present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Adaptive {
    /// Less than is configured.
    pub eased: bool,
    /// The rate and the connections it keeps to, in words; empty where it keeps to none of its own.
    pub ceiling: String,
    /// The latest first.
    pub steps: Vec<AdaptiveStep>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdaptiveStep {
    pub at: i64,
    /// `down` or `up`.
    pub direction: String,
    pub to: String,
    /// The reply and the line of the pattern list, or what let it step up, or who.
    pub cause: String,
}

/// A source address that a queue does not use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DisabledRow {
    pub queue: String,
    /// Empty for the one that the system chooses.
    pub address: String,
    pub since: i64,
    /// When it comes back by itself, if it does.
    pub until: Option<i64>,
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueRow {
    /// `domain/vmta`.
    pub name: String,
    pub rcpts: u64,
    pub bytes: u64,
    pub connections: u32,
    pub paused: bool,
    pub mode: Mode,
    /// Where the mode is that.
    pub backoff: Option<Backoff>,
    /// Where `adaptive-rate` is on.
    pub adaptive: Option<Adaptive>,
    /// When the queue, waiting after a failure, tries again.
    pub retry_at: Option<i64>,
    /// Why nothing is sent at present, in a few words; empty when something is.
    pub waiting_for: String,
    pub last_error: Option<LastError>,
    /// Latest first; only when asked for.
    pub errors: Vec<LastError>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DomainRow {
    pub name: String,
    pub rcpts: u64,
    pub bytes: u64,
    pub connections: u32,
    pub last_error: Option<LastError>,
    pub errors: Vec<LastError>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VmtaRow {
    pub name: String,
    pub domains: u64,
    pub rcpts: u64,
    pub bytes: u64,
    pub connections: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRow {
    pub name: String,
    /// Recipients that wait.
    pub rcpts: u64,
    pub bytes: u64,
    /// Since the engine started.
    pub delivered: u64,
    pub bounced: u64,
    pub deferrals: u64,
}

/// The warm-up of a cold virtual MTA at the domain of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WarmingRow {
    pub vmta: String,
    pub domain: String,
    /// Days since the first recipient, that day included.
    pub day: u32,
    /// Place in the list of daily limits, and how many it has; the first is 1.
    pub step: u32,
    pub steps: u32,
    /// Recipients today, and at most.
    pub given: u64,
    pub limit: u64,
    /// `begun`, `raised`, `held`, `lowered`, `set`, `released` or `closed`.
    pub state: String,
    pub why: String,
    /// Attempts today.
    pub delivered: u64,
    pub deferred: u64,
    pub bounced: u64,
}

/// An amount of mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    pub rcpts: u64,
    pub msgs: u64,
    pub bytes: u64,
}

/// Mail in one direction since the start, and in the last and the busiest hour and minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flow {
    pub total: Traffic,
    pub last_hour: Traffic,
    pub top_hour: Traffic,
    pub last_minute: Traffic,
    pub top_minute: Traffic,
}

/// Connections in one direction: now, the most at any time, the most allowed (0: no limit).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connections {
    pub active: u64,
    pub top: u64,
    pub maximum: u64,
}

/// Mail waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    pub rcpts: u64,
    pub domains: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpoolStatus {
    /// `uring` or `blocking`.
    pub back_end: String,
    /// Bytes of commits, and how many writes and syncs they took.
    pub bytes_written: u64,
    pub writes: u64,
    pub syncs: u64,
    pub segments_used: u64,
    pub segments_free: u64,
    /// Recipients whose message was sent and never answered; each may arrive twice (R11).
    pub in_doubt: u64,
    /// Whether the queues are rebuilt from the spool.
    pub recovered: bool,
}

/// The answer to [`Request::Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub version: String,
    pub host: String,
    /// `starting`, `running`, `stopping`.
    pub state: String,
    pub now: i64,
    pub started_at: i64,
    pub shards: u32,
    pub inbound: Flow,
    pub outbound: Flow,
    pub connections_in: Connections,
    pub connections_out: Connections,
    pub names_cached: u64,
    pub names_pending: u64,
    pub smtp_queues: Waiting,
    pub other_queues: Waiting,
    pub spool: SpoolStatus,
    /// Reloads since the start: done, and refused because something was wrong.
    pub reloads: u64,
    pub failed_reloads: u64,
    /// What an operator should look at: accounting stalled, disk nearly full …
    pub alarms: Vec<String>,
}

/// The answer to [`Request::Reload`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadReport {
    pub file: String,
    pub at: i64,
    /// What is different from before, in words.
    pub changes: Vec<String>,
    /// What is different from the start and takes a restart.
    pub restart: Vec<String>,
    /// Queues with mail whose virtual MTA or route is gone: it is held.
    pub held: u64,
    /// Queues with mail that keep their `type` until a restart.
    pub keep_type: u64,
    /// Directives in use that are not in effect.
    pub notes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_reads_as_documented() {
        let json = |r: &Request| serde_json::to_string(r).unwrap();
        assert_eq!(json(&Request::Status), r#"{"request":"status"}"#);
        assert_eq!(
            json(&Request::PauseQueue { queue: "a.example/*".into() }),
            r#"{"request":"pause-queue","queue":"a.example/*"}"#
        );
        let queues: Request =
            serde_json::from_str(r#"{"request":"queues","paused":true,"sort":"rcpt"}"#).unwrap();
        assert_eq!(
            queues,
            Request::Queues(QueueQuery { paused: Some(true), sort: Sort::Rcpt, ..QueueQuery::default() })
        );
        let reply: Reply = serde_json::from_str(
            r#"{"reply":"queues","rows":[{"name":"a/b","rcpts":3,"later":1}],"total":9}"#,
        )
        .unwrap();
        let row = QueueRow { name: "a/b".into(), rcpts: 3, ..QueueRow::default() };
        assert_eq!(reply, Reply::Queues(Listing { rows: vec![row], total: 9 }));
    }
}
