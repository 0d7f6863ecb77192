//! The opening of an inbound connection: for whom a proxy connects, whether there is room, and what the log is told.

use super::smtp_listener::{Caller, Reception, Submit};
use super::smtp_places::Place;
use crate::smtp::proxy_header::{self, Ends, Header};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How long a proxy may take to say for whom it connects, and a client waits for a place.
const HEADER: Duration = Duration::from_secs(10);
const PLACE: Duration = Duration::from_secs(300);

/// A connection whose client is known.
pub(super) struct Opened {
    pub socket: TcpStream,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub reception: Reception,
    /// `None`: there is no room.
    pub place: Option<Place>,
    /// What came behind the header of a proxy.
    pub early: Vec<u8>,
}

/// Finds out who the client is, and waits for a place where that is wanted.
pub(super) async fn open(caller: Caller, submit: &impl Submit) -> io::Result<Opened> {
    let Caller { socket, peer, reception, place, clients } = caller;
    let mut socket = TcpStream::from_std(socket)?;
    let local = socket.local_addr()?;
    let mut opened = Opened { socket, peer, local, reception, place, early: Vec::new() };
    if opened.reception.proxied {
        socket = opened.socket;
        let Some(expected) = clients.expect() else { return Err(io::Error::other("too many are expected")) };
        let read = tokio::time::timeout(HEADER, header(&mut socket)).await;
        let said = read.unwrap_or_else(|_| Err(io::Error::other("no PROXY header in time")));
        let (ends, early) = said.inspect_err(|e| {
            tracing::warn!(client = %peer, "smtp: closed: require-proxy-protocol, and {e}");
        })?;
        let Ends { client, local } = ends.unwrap_or(Ends { client: peer, local });
        let reception = submit.receive(client, "");
        drop(expected);
        let place = clients.admit(client.ip(), reception.group.as_ref());
        opened = Opened { socket, peer: client, local, reception, place, early };
        if opened.reception.told {
            tracing::info!(client = %client, proxy = %peer, "smtp: a proxy connects for the client");
        }
    }
    let Reception { group, awaits_place, served, .. } = &opened.reception;
    if opened.place.is_none() && *awaits_place && *served {
        let wait = clients.wait(opened.peer.ip(), group.as_ref());
        opened.place = tokio::time::timeout(PLACE, wait).await.ok().flatten();
    }
    Ok(opened)
}

/// Reads a proxy's header, and what has come with it.
async fn header(socket: &mut TcpStream) -> io::Result<(Option<Ends>, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(256);
    loop {
        match proxy_header::read(&bytes) {
            Header::Whole { ends, length } => return Ok((ends, bytes.split_off(length))),
            Header::Wrong(why) => return Err(io::Error::other(why)),
            Header::More => {}
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Tells the log of a connection that begins, and gives what tells of its end when it is dropped.
pub(super) fn tell(opened: &Opened) -> Option<Connected> {
    let Opened { peer, local, reception, place, .. } = opened;
    let what = match (reception.served, place) {
        (false, _) => "smtp: refused: smtp-service is off for the client",
        (true, None) => "smtp: refused: too many connections",
        (true, Some(_)) => "smtp: connected",
    };
    reception.told.then(|| {
        tracing::info!(client = %peer, local = %local, "{what}");
        Connected(*peer)
    })
}

/// A connection whose end is to be told.
pub(super) struct Connected(SocketAddr);

impl Drop for Connected {
    fn drop(&mut self) {
        tracing::info!(client = %self.0, "smtp: disconnected");
    }
}
