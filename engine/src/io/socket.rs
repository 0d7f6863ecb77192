//! One outbound TCP connection: a task on the reactor's thread that connects from the source address the shard
//! chose, carries bytes, and reports what happens. It decides nothing; deadlines are the shard's.

use super::failpoint::{Point, pass};
use super::reactor::Reactor;
use crate::shard::{ConnectionId, Input};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::net::{TcpSocket, TcpStream};

/// How the reactor reaches a socket's task.
#[derive(Default)]
pub struct SocketCell {
    kicked: Cell<bool>,
    closing: Cell<bool>,
    /// Set while the task waits.
    waker: Cell<Option<Waker>>,
}

impl SocketCell {
    /// There are bytes to send.
    pub fn kick(&self) {
        self.kicked.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The connection is to be closed, after what can be sent at once.
    pub fn close(&self) {
        self.closing.set(true);
        self.kick();
    }

    /// Ready after a kick.
    fn poll_kicked(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.kicked.take() {
            return Poll::Ready(());
        }
        self.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }
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
        Ok(mut stream) => {
            pass(Point::OutboundConnected);
            let local = stream.local_addr().map(|a| a.ip()).unwrap_or(IpAddr::from([0, 0, 0, 0]));
            reactor.input(Input::Connected { connection: id, local });
            if let Err(cause) = carry(&reactor, id, &cell, &mut stream).await {
                reactor.input(Input::Closed { connection: id, cause });
            }
        }
        Err(cause) => reactor.input(Input::Closed { connection: id, cause }),
    }
}

async fn closed(cell: &SocketCell) {
    while !cell.closing.get() {
        poll_fn(|cx| cell.poll_kicked(cx)).await;
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
    stream: &mut TcpStream,
) -> io::Result<()> {
    loop {
        cell.kicked.set(false);
        let blocked = !reactor.write(id, stream)?;
        if cell.closing.get() {
            return Ok(());
        }
        poll_fn(|cx| {
            // While it runs, a kick (by what was read) need not wake it.
            cell.waker.set(None);
            if let Poll::Ready(read) = reactor.poll_read(cx, id, stream) {
                return Poll::Ready(read);
            }
            if blocked && let Poll::Ready(writable) = stream.poll_write_ready(cx) {
                return Poll::Ready(writable);
            }
            cell.poll_kicked(cx).map(Ok)
        })
        .await?;
    }
}
