//! A connection as the shard sees it: the SMTP machine, the recipients in its hands, and where it leads.

use super::ConnectionId;
use super::outcomes::AttemptKey;
use super::per_source::Charged;
use super::submissions::SubmissionKey;
use super::targets::Next;
use crate::base::Time;
use crate::limit::{ConnectionGrant, Hold, Place};
use crate::mail::content::Content;
use crate::smtp::client::{Client, ClientOptions};
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// TCP is being established; `Time` is when that is given up (`connect-timeout`).
    Connecting(Time),
    /// TCP stands; greeting, EHLO or TLS are under way.
    Opening,
    Open,
    /// Nothing more is to be sent over it than what the SMTP machine says in parting.
    Closing,
}

/// A recipient in a connection's hands.
#[derive(Clone, Copy, Debug)]
pub struct InHand {
    pub slot: u32,
    /// Had its answer before the end of the transaction.
    pub answered: bool,
}

#[derive(Debug)]
pub struct Transaction {
    pub token: u64,
    /// When the message rate was charged.
    pub granted: Time,
    pub submission: SubmissionKey,
    pub content: Rc<Content>,
    pub recipients: SmallVec<[InHand; 1]>,
    /// The message, until the SMTP machine has all of it; empty for a plain content that goes as it is.
    pub body: Vec<u8>,
    /// What its bytes count for.
    pub charge: Charged,
    /// Bytes of the message; known once it was asked for.
    pub size: u32,
}

#[derive(Debug)]
pub struct Connection {
    pub id: ConnectionId,
    pub queue: u32,
    pub to: SocketAddr,
    pub host: Arc<str>,
    /// The source address as configured.
    pub from: Option<IpAddr>,
    pub client: Client,
    pub options: Arc<ClientOptions>,
    pub phase: Phase,
    /// The right to be open, of its queue; given back when it is gone.
    pub grant: ConnectionGrant,
    /// What it counts for beside its queue.
    pub places: Hold,
    pub attempt: AttemptKey,
    /// Where to go when it fails before it carried anything.
    pub next: Option<Next>,
    /// In the order in which they were started; at most two.
    pub transactions: SmallVec<[Transaction; 2]>,
    /// Messages after which another queue is to have its place.
    pub part_after: Option<u32>,
    /// Messages started over it (`max-msg-per-connection`).
    pub messages: u32,
    /// Recipients refused over it (`max-errors-per-connection`).
    pub errors: u32,
    /// Counts in its queue's [`super::entries::Entry::coming`].
    pub coming: bool,
    /// Waits for something to send: it stands in its queue's list of idle connections.
    pub idle: bool,
    /// Closed at this time if nothing comes to send (`connection-idle-timeout`).
    pub idle_until: Option<Time>,
    /// Waits for a content to come from storage.
    pub loading: bool,
    /// The host has answered for a message or recipient, whatever it said.
    pub proven: bool,
    /// The host takes over the reporting of what becomes of mail (RFC 3461).
    pub sends_reports: bool,
    /// The host takes 8-bit bodies.
    pub eight_bit: bool,
}

impl Connection {
    pub fn transaction(&mut self, token: u64) -> Option<&mut Transaction> {
        self.transactions.iter_mut().find(|t| t.token == token)
    }

    pub fn take_transaction(&mut self, token: u64) -> Option<Transaction> {
        let at = self.transactions.iter().position(|t| t.token == token)?;
        Some(self.transactions.remove(at))
    }

    pub fn holds(&self, place: &Place) -> bool {
        self.places.needs.iter().any(|(held, _)| held == place)
    }

    /// Whether it will ask for a further message with the one it is about to send.
    pub fn is_coming(&self) -> bool {
        self.phase == Phase::Open && self.client.is_across() && self.transactions.iter().any(|t| t.size == 0)
    }

    pub fn in_hand(&self) -> usize {
        self.transactions.iter().flat_map(|t| &t.recipients).filter(|r| !r.answered).count()
    }
}

/// The connections of a shard. A key is used again once its connection is gone; the id is not.
#[derive(Debug, Default)]
pub struct Connections {
    entries: Vec<Option<Box<Connection>>>,
    free: Vec<u32>,
    opened: u32,
    len: usize,
}

impl Connections {
    /// A place for a new connection: the id holds the place in its low half and a running number in the other.
    pub fn reserve(&mut self) -> ConnectionId {
        self.opened = self.opened.wrapping_add(1);
        let key = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        ConnectionId(u64::from(self.opened) << 32 | u64::from(key))
    }

    pub fn insert(&mut self, connection: Connection) {
        let key = key(connection.id);
        self.entries[key as usize] = Some(Box::new(connection));
        self.len += 1;
    }

    pub fn get(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.at(key(id)).filter(|c| c.id == id)
    }

    pub fn at(&mut self, key: u32) -> Option<&mut Connection> {
        self.entries.get_mut(key as usize)?.as_deref_mut()
    }

    pub fn remove(&mut self, key: u32) -> Option<Box<Connection>> {
        let connection = self.entries.get_mut(key as usize)?.take()?;
        self.free.push(key);
        self.len -= 1;
        Some(connection)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.entries.iter().filter_map(|c| c.as_deref())
    }

    pub fn keys(&self) -> Vec<u32> {
        (0..self.entries.len() as u32).filter(|&k| self.entries[k as usize].is_some()).collect()
    }
}

/// The place of a connection: dense, for timers and lists.
pub fn key(id: ConnectionId) -> u32 {
    id.0 as u32
}
