//! One outbound TCP connection: a task on the reactor's thread that connects from the source address the shard
//! chose, carries bytes, and reports what happens. It decides nothing; deadlines are the shard's.

use super::failpoint::{Point, pass};
use super::reactor::Reactor;
use crate::shard::{ConnectionId, Input};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

/// How the reactor reaches a socket's task.
#[derive(Debug, Default)]
pub struct SocketCell {
    pub kick: Notify,
    pub closing: Cell<bool>,
}

/// Runs the connection to its end.
pub async fn run(
    reactor: Rc<Reactor>,
    id: ConnectionId,
    cell: Rc<SocketCell>,
    from: Option<IpAddr>,
    to: SocketAddr,
) {
    let connecting = async {
        match connect(from, to) {
            Ok(connecting) => connecting.await,
            Err(e) => Err(e),
        }
    };
    let stream = tokio::select! {
        biased;
        () = closed(&cell) => return,
        stream = connecting => stream,
    };
    match stream {
        Ok(stream) => {
            pass(Point::OutboundConnected);
            let local = stream.local_addr().map(|a| a.ip()).unwrap_or(IpAddr::from([0, 0, 0, 0]));
            reactor.input(Input::Connected { connection: id, local });
            if let Err(cause) = carry(&reactor, id, &cell, &stream).await {
                reactor.input(Input::Closed { connection: id, cause });
            }
        }
        Err(cause) => reactor.input(Input::Closed { connection: id, cause }),
    }
}

async fn closed(cell: &SocketCell) {
    while !cell.closing.get() {
        cell.kick.notified().await;
    }
}

/// Starts to connect, from `from` if one is given. `IP_BIND_ADDRESS_NO_PORT` leaves the choice of the port to
/// connect(2), which knows the destination: a bind that picks the port runs out of them after 28,000
/// connections, whatever their destinations.
fn connect(
    from: Option<IpAddr>,
    to: SocketAddr,
) -> io::Result<impl std::future::Future<Output = io::Result<TcpStream>>> {
    let domain = if to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(from) = from {
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()).connect(to))
}

/// Moves bytes until the shard wants the connection closed (`Ok`) or it breaks (`Err`).
async fn carry(
    reactor: &Rc<Reactor>,
    id: ConnectionId,
    cell: &SocketCell,
    stream: &TcpStream,
) -> io::Result<()> {
    loop {
        let blocked = !reactor.write(id, stream)?;
        if cell.closing.get() {
            return Ok(());
        }
        let interest = if blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let ready = tokio::select! {
            biased;
            ready = stream.ready(interest) => ready?,
            () = cell.kick.notified() => continue,
        };
        if ready.is_readable() {
            reactor.read(id, stream)?;
        }
    }
}
