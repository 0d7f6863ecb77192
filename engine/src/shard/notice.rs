//! What happens to a queue that an operator should hear of.

use crate::queue::{QueueName, Step};
use std::fmt;
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    Mode {
        queue: QueueName,
        backoff: bool,
        reason: String,
    },
    /// A source address is used no more, or again.
    Source {
        queue: QueueName,
        /// `None` is the one that the system chooses.
        address: Option<IpAddr>,
        disabled: bool,
        /// None is left.
        last: bool,
        reason: String,
    },
    /// A queue has eased its rate and connections, or lets more through again.
    Adapted {
        queue: QueueName,
        step: Step,
    },
}

impl Notice {
    pub fn queue(&self) -> &QueueName {
        match self {
            Notice::Mode { queue, .. } | Notice::Source { queue, .. } | Notice::Adapted { queue, .. } => {
                queue
            }
        }
    }

    /// The heading of a mail about it.
    pub fn subject(&self) -> String {
        match self {
            Notice::Mode { queue, backoff: true, .. } => format!("{queue} is in backoff"),
            Notice::Mode { queue, backoff: false, .. } => format!("{queue} is no longer in backoff"),
            Notice::Source { queue, last: true, .. } => {
                format!("all source addresses of {queue} are disabled")
            }
            Notice::Source { queue, disabled: true, .. } => {
                format!("a source address of {queue} is disabled")
            }
            Notice::Source { queue, .. } => format!("a source address of {queue} is enabled again"),
            Notice::Adapted { queue, .. } => format!("{queue} adapts its rate"),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Mode { queue, backoff: true, reason } => {
                write!(f, "queue {queue} enters backoff: {reason}")
            }
            Notice::Mode { queue, backoff: false, reason } => {
                write!(f, "queue {queue} leaves backoff: {reason}")
            }
            Notice::Adapted { queue, step } => {
                let word = if step.down { "eases down" } else { "steps up" };
                write!(f, "queue {queue} {word} to {}: {}", step.to, step.cause)
            }
            Notice::Source { queue, address, disabled, last, reason } => {
                let word = if *disabled { "disabled" } else { "enabled" };
                match address {
                    Some(address) => write!(f, "source address {address} is {word} for {queue}: {reason}")?,
                    None => write!(f, "the system's source address is {word} for {queue}: {reason}")?,
                }
                match last {
                    true => write!(f, ". All SMTP sources for queue {queue} are now disabled."),
                    false => Ok(()),
                }
            }
        }
    }
}
