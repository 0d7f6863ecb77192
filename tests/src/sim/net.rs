//! The network between the shards and the receiving hosts: latency, cuts at any byte, narrow pipes.

use super::peer::{Meaning, Peer};
use posthaste::route::Answer;
use posthaste::shard::ConnectionId;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

/// Something that is on its way.
#[derive(Debug)]
pub enum Event {
    /// A connection attempt arrives.
    Syn(u64),
    /// The engine learns that its connection stands.
    Connected(u64),
    /// The engine may write.
    Writable(u64),
    /// Bytes arrive at the receiver.
    ToPeer(u64, Vec<u8>),
    /// Bytes arrive at the engine; what the whole replies among them mean.
    ToEngine(u64, Vec<u8>, Vec<Meaning>),
    /// The receiver sees the connection end.
    PeerGone(u64),
    /// The engine sees it end.
    EngineGone(u64, ErrorKind),
    /// A DNS answer arrives at a shard of a life.
    Answer(usize, usize, Answer),
    Trouble(usize),
    Work(usize),
    /// The operator tries again to let a queue go on.
    Resume(String),
    /// No faults any more.
    Calm,
    /// A trouble's time is over.
    DiskWell,
    /// The process is killed (`false`) or the machine (`true`).
    Crash(bool),
}

/// Where the network will cut a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuts {
    pub never_connects: bool,
    /// After so many bytes from the engine, or to it.
    pub sent: Option<usize>,
    pub received: Option<usize>,
    /// The pipe takes so many bytes in 5 ms.
    pub narrow: Option<usize>,
    /// Replies arrive in pieces.
    pub pieces: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    pub shard: usize,
    pub connection: ConnectionId,
    pub from: Option<IpAddr>,
    pub domain: usize,
    pub latency: Duration,
    pub cuts: Cuts,
    /// The receiver's end; none before it has accepted and after it has closed.
    pub peer: Option<Peer>,
    /// The engine still has its end.
    pub held: bool,
    pub connected: bool,
    /// A write is waiting for its turn.
    pub writing: bool,
    sent: usize,
    received: usize,
    /// Nothing arrives before what was sent earlier.
    last_reply: Duration,
}

impl Wire {
    pub fn new(shard: usize, connection: ConnectionId, from: Option<IpAddr>) -> Wire {
        Wire {
            shard,
            connection,
            from,
            domain: usize::MAX,
            latency: Duration::from_millis(1),
            cuts: Cuts::default(),
            peer: None,
            held: true,
            connected: false,
            writing: false,
            sent: 0,
            received: 0,
            last_reply: Duration::ZERO,
        }
    }

    /// How many of `bytes` go through before the cut, and whether it comes then.
    pub fn send(&mut self, bytes: usize) -> (usize, bool) {
        let left = self.cuts.sent.map_or(usize::MAX, |cut| cut.saturating_sub(self.sent));
        let through = bytes.min(left);
        self.sent += through;
        (through, through < bytes)
    }

    /// The same for bytes to the engine, and when they arrive.
    pub fn reply(&mut self, now: Duration, after: Duration, bytes: usize) -> (usize, bool, Duration) {
        let left = self.cuts.received.map_or(usize::MAX, |cut| cut.saturating_sub(self.received));
        let through = bytes.min(left);
        self.received += through;
        self.last_reply = self.last_reply.max(now) + after;
        (through, through < bytes, self.last_reply + self.latency)
    }

    /// The last piece of a reply arrives then; nothing overtakes it.
    pub fn replied(&mut self, at: Duration) {
        self.last_reply = self.last_reply.max(at.saturating_sub(self.latency));
    }
}

/// What the network did, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetCounts {
    pub connections: u64,
    pub refused: u64,
    pub unanswered: u64,
    pub cut: u64,
    pub bytes: u64,
}

/// Draws what the network will do to a connection.
pub fn cuts(rng: &mut fastrand::Rng, chaos: u32) -> Cuts {
    let often = |rng: &mut fastrand::Rng| chaos > 0 && rng.u32(..4000) < 60 + chaos;
    Cuts {
        never_connects: chaos > 0 && rng.u32(..4000) < 20 + chaos / 4,
        sent: often(rng).then(|| rng.usize(..4000)),
        received: often(rng).then(|| rng.usize(..600)),
        narrow: often(rng).then(|| rng.usize(1..3000)),
        pieces: often(rng),
    }
}

/// Events in the order of their time, then of their making.
#[derive(Default)]
pub struct Agenda {
    events: BTreeMap<(Duration, u64), Event>,
    made: u64,
}

impl Agenda {
    pub fn add(&mut self, at: Duration, event: Event) {
        self.made += 1;
        self.events.insert((at, self.made), event);
    }

    pub fn next(&self) -> Option<Duration> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    pub fn pop(&mut self, now: Duration) -> Option<Event> {
        if self.next()? > now {
            return None;
        }
        self.events.pop_first().map(|(_, event)| event)
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
