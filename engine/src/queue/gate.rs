//! Whether mail may leave a queue, and if not, why and until when. `posthaste why` prints it.

use crate::base::Time;
use crate::limit::{Rate, VolumeRate};
use std::fmt;
use std::time::Duration;

/// The answer to "may it leave now?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Go,
    Wait(Wait),
}

/// Why mail does not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When to ask again. `None`: when something happens (mail comes, a connection closes, the operator resumes it).
    pub until: Option<Time>,
    pub reason: WaitReason,
}

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The operator has paused the queue.
    Paused,
    /// Nobody waits.
    NoRecipients,
    /// All who wait have been put off, or are not to start yet.
    NotDue,
    /// The whole queue waits, after so many failures in a row.
    Retry {
        failures: u16,
    },
    /// The whole queue waits because a reply asked for it.
    Deferred,
    MaxMsgRate(Rate),
    MaxConnectRate(Rate),
    MaxDataVolumeRate(VolumeRate),
    /// Those of the virtual MTA, over all its queues.
    MaxSmtpMsgRate(Rate),
    MaxSmtpDataVolumeRate(VolumeRate),
    /// The last connection was opened less than this ago.
    RampUp(Duration),
    /// `max-smtp-out` connections are open.
    MaxSmtpOut(u32),
    /// No source address has room for another connection, or for a message over it; what the first one lacks.
    OfSource(SourceLimit),
}

/// A limit of each source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceLimit {
    SmtpOut(u32),
    ConnectRate(Rate),
    MsgRate(Rate),
    DataVolumeRate(VolumeRate),
}

impl SourceLimit {
    fn directive(self) -> &'static str {
        match self {
            SourceLimit::SmtpOut(_) => "source-ip-max-smtp-out",
            SourceLimit::ConnectRate(_) => "source-ip-max-connect-rate",
            SourceLimit::MsgRate(_) => "source-ip-max-msg-rate",
            SourceLimit::DataVolumeRate(_) => "source-ip-max-data-volume-rate",
        }
    }
}

impl fmt::Display for SourceLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceLimit::SmtpOut(limit) => write!(f, "{} {limit}", self.directive()),
            SourceLimit::ConnectRate(rate) | SourceLimit::MsgRate(rate) => {
                write!(f, "{} {rate}", self.directive())
            }
            SourceLimit::DataVolumeRate(rate) => write!(f, "{} {rate}", self.directive()),
        }
    }
}

impl WaitReason {
    /// The directive that makes it wait; empty where none does.
    pub fn directive(&self) -> &'static str {
        match self {
            WaitReason::Paused | WaitReason::NoRecipients | WaitReason::NotDue => "",
            WaitReason::Retry { .. } | WaitReason::Deferred => "retry-after",
            WaitReason::MaxMsgRate(_) => "max-msg-rate",
            WaitReason::MaxConnectRate(_) => "max-connect-rate",
            WaitReason::MaxDataVolumeRate(_) => "max-data-volume-rate",
            WaitReason::MaxSmtpMsgRate(_) => "max-smtp-msg-rate",
            WaitReason::MaxSmtpDataVolumeRate(_) => "max-smtp-data-volume-rate",
            WaitReason::RampUp(_) => "smtp-out-rampup-interval",
            WaitReason::MaxSmtpOut(_) => "max-smtp-out",
            WaitReason::OfSource(limit) => limit.directive(),
        }
    }

    /// `Some` where all queues of the virtual MTA wait; whether for its volume, or for its rate of messages.
    pub fn of_vmta(&self) -> Option<bool> {
        match self {
            WaitReason::MaxSmtpMsgRate(_) => Some(false),
            WaitReason::MaxSmtpDataVolumeRate(_) => Some(true),
            _ => None,
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitReason::Paused => write!(f, "queue is paused"),
            WaitReason::NoRecipients => write!(f, "no recipients are waiting"),
            WaitReason::NotDue => write!(f, "all recipients await their retry or start time"),
            WaitReason::Retry { failures: 0 } => write!(f, "queue awaits its retry (retry-after)"),
            WaitReason::Retry { failures } => {
                let s = if *failures == 1 { "" } else { "s" };
                write!(f, "queue awaits its retry after {failures} failure{s} (retry-after)")
            }
            WaitReason::Deferred => write!(f, "queue awaits its retry, as a reply asked (defer-queue)"),
            WaitReason::MaxMsgRate(rate) => write!(f, "message rate limit reached (max-msg-rate {rate})"),
            WaitReason::MaxConnectRate(rate) => {
                write!(f, "connection rate limit reached (max-connect-rate {rate})")
            }
            WaitReason::RampUp(interval) => {
                write!(f, "connections are opened one by one (smtp-out-rampup-interval {interval:?})")
            }
            WaitReason::MaxDataVolumeRate(rate) => {
                write!(f, "data volume limit reached (max-data-volume-rate {rate})")
            }
            WaitReason::MaxSmtpMsgRate(rate) => {
                write!(f, "message rate limit of its virtual MTA reached (max-smtp-msg-rate {rate})")
            }
            WaitReason::MaxSmtpDataVolumeRate(rate) => {
                write!(f, "data volume limit of its virtual MTA reached (max-smtp-data-volume-rate {rate})")
            }
            WaitReason::MaxSmtpOut(limit) => write!(f, "all connections are in use (max-smtp-out {limit})"),
            WaitReason::OfSource(limit) => write!(f, "every source address is at its limit ({limit})"),
        }
    }
}

impl Gate {
    pub(super) fn wait(until: Option<Time>, reason: WaitReason) -> Gate {
        Gate::Wait(Wait { until, reason })
    }

    /// `Err` holds why not.
    pub fn open(self) -> Result<(), Wait> {
        match self {
            Gate::Go => Ok(()),
            Gate::Wait(wait) => Err(wait),
        }
    }
}
