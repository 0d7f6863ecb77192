//! What a shard is told and what it wants done.

use super::{Admit, Notice, Profiles, Report, Wish};
use crate::limit::Place;
use crate::queue::QueueName;
use crate::route;
use crate::spool::record::{Location, OutcomeBatch};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Names one connection over the life of the shard; numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What has happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// Recipients became durable and wait here from now on.
    Admit(Admit),
    /// The TCP connection stands; `local` is its source address.
    Connected {
        connection: ConnectionId,
        local: IpAddr,
    },
    /// The TCP connection could not be made, or is gone.
    Closed {
        connection: ConnectionId,
        cause: std::io::Error,
    },
    Received {
        connection: ConnectionId,
        bytes: &'a [u8],
    },
    /// The answer to [`Output::Resolve`].
    Answered(route::Answer),
    /// The answer to [`Output::Load`]; `None` when it cannot be read.
    Content {
        at: Location,
        bytes: Option<Arc<[u8]>>,
    },
    /// Another shard has given back a connection that this one waits for ([`Output::Nudge`]).
    Nudged(Place),
    /// A queue of another shard wants a connection that this one has.
    Asked(Wish),
    /// A report of [`Output::Report`] is done with, and its outcome stored.
    Reported,
    /// The configuration has changed.
    Profiles(Box<dyn Profiles>),
    /// Finish the transactions in flight and start no new ones.
    Drain,
    /// It is [`Shard::next_wake`] or later.
    Wake,
}

/// What the shard wants done.
#[derive(Debug)]
pub enum Output {
    /// Connect to `to`, from `from` if given.
    Connect {
        connection: ConnectionId,
        from: Option<IpAddr>,
        to: SocketAddr,
    },
    /// There are bytes to send.
    Send {
        connection: ConnectionId,
    },
    Close {
        connection: ConnectionId,
    },
    Resolve(route::Query),
    /// Read the content at this location.
    Load(Location),
    /// Store these outcomes.
    Settle(OutcomeBatch),
    /// Store this outcome with a report of it, if one is wanted.
    Report(Box<Report>),
    /// Give this shard [`Input::Nudged`].
    Nudge {
        shard: u32,
        place: Place,
    },
    /// Give this shard [`Input::Asked`].
    Ask {
        shard: u32,
        wish: Wish,
    },
    /// The mail of this queue is no longer held for want of its route: that need not be remembered any longer (F39).
    RouteRegained(QueueName),
    /// Recipients for other queues: to be admitted by their owners.
    Move(Vec<Admit>),
    /// An operator should hear of this.
    Notice(Box<Notice>),
}
