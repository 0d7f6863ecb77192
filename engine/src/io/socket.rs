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

/// How the reactor reaches a socket's task. What the task itself causes by reading it finds here before it sleeps, and
/// nobody is woken for it.
#[derive(Default)]
pub struct SocketCell {
    outgoing: Cell<bool>,
    closing: Cell<bool>,
    asleep: Cell<Option<Waker>>,
}

impl SocketCell {
    /// There are bytes to send.
    pub fn send(&self) {
        self.outgoing.set(true);
        self.wake();
    }

    /// The connection is not wanted any longer.
    pub fn close(&self) {
        self.closing.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.asleep.take() {
            waker.wake();
        }
    }

    fn sleep<T>(&self, cx: &Context<'_>) -> Poll<T> {
        self.asleep.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    async fn closed(&self) {
        poll_fn(|cx| if self.closing.get() { Poll::Ready(()) } else { self.sleep(cx) }).await;
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
        () = cell.closed() => return,
        stream = connecting => stream,
    };
    match stream {
        Ok(mut stream) => {
            pass(Point::OutboundConnected);
            let local = stream.local_addr().map(|a| a.ip()).unwrap_or(IpAddr::from([0, 0, 0, 0]));
            reactor.input(Input::Connected { connection: id, local });
            let carried = poll_fn(|cx| carry(&reactor, id, &cell, &mut stream, cx)).await;
            if let Err(cause) = carried {
                reactor.input(Input::Closed { connection: id, cause });
            }
        }
        Err(cause) => reactor.input(Input::Closed { connection: id, cause }),
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
fn carry(
    reactor: &Rc<Reactor>,
    id: ConnectionId,
    cell: &SocketCell,
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    cell.asleep.take();
    loop {
        while cell.outgoing.get() {
            if reactor.write(id, stream)? {
                cell.outgoing.set(false);
            } else if stream.poll_write_ready(cx)?.is_pending() {
                break;
            }
        }
        if cell.closing.get() {
            return Poll::Ready(Ok(()));
        }
        if reactor.poll_read(id, stream, cx)?.is_pending() {
            return cell.sleep(cx);
        }
    }
}
