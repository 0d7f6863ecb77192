//! Inbound SMTP: clients are counted and accepted in one place, and served in halls, one on each reactor's thread (their
//! sessions are in `smtp_session`). What becomes of a message is decided by the [`Submit`] that the daemon plugs in.

use super::clock::Clock;
use super::panics::contained;
use super::smtp_places::{Clients, Place};
use super::smtp_session::Hall;
use crate::smtp::password::Password;
use crate::smtp::server::{Envelope, ServerOptions};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// How long a client may take none of our bytes, and a stopped listener waits for messages being stored.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// After `accept` failed for want of descriptors or memory (F35).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Clients that may wait to be accepted; the kernel has a limit of its own (`net.core.somaxconn`). One too many is not
/// told, and waits for its greeting in vain.
const BACKLOG: u32 = 65_535;

/// Listens on an address, for as many clients at once as the kernel allows.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A received message on its way to the spool.
#[derive(Debug)]
pub struct Arrival {
    pub envelope: Box<Envelope>,
    /// CR LF lines, as received.
    pub message: Vec<u8>,
    pub peer: SocketAddr,
    /// The addresses of both sides in words, made once a session.
    pub peer_ip: Rc<str>,
    pub local_ip: Rc<str>,
}

/// Why a message is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400 to 599.
    pub code: u16,
    /// Beginning with an enhanced status, e.g. `4.3.1 not enough space`.
    pub text: String,
}

/// Where the messages of one hall go. The future ends when the message is durable, with the name to tell the client.
pub trait Submit: 'static {
    /// How a client is received that is not the one on the wire, logged in as `user` if that is not empty.
    fn receive(&self, peer: SocketAddr, user: &str) -> Reception;

    /// A client at `peer` wants to be `user`, and what it knows of the password is right or not.
    fn login(&self, peer: SocketAddr, user: &str, right: bool) -> Login;

    /// A client at `peer` wants to be `user`, whose password only the system knows.
    fn password(&self, peer: SocketAddr, user: &str, password: Password) -> impl Future<Output = Login>;

    /// Looks into a sender that a client at `peer` has named. Gives what is known of it, or the reply to MAIL.
    fn sender(
        &self,
        peer: SocketAddr,
        user: &str,
        sender: String,
        helo: String,
    ) -> impl Future<Output = Result<String, Refusal>>;

    fn submit(&self, arrival: Arrival) -> impl Future<Output = Result<String, Refusal>>;
}

/// What comes of a login.
#[derive(Clone, Debug)]
pub enum Login {
    /// The client is served with these options from now on.
    Served(Arc<ServerOptions>),
    Wrong,
    /// Too many have failed lately, and the rest are not looked at.
    Locked,
    /// The system could not be asked.
    Unavailable,
}

/// How a client is received, by its `<source>` and the listener.
#[derive(Clone, Debug)]
pub struct Reception {
    pub options: Arc<ServerOptions>,
    /// Not with `smtp-service false`.
    pub served: bool,
    /// `immediate-tls`.
    pub tls_at_once: bool,
    /// `source-group`
    pub group: Option<Arc<str>>,
    /// Waits for a place instead of being told that there is none: `await-slot`.
    pub awaits_place: bool,
    /// Begins with the header of a proxy: `require-proxy-protocol`.
    pub proxied: bool,
    /// `log-connections`
    pub told: bool,
}

impl Reception {
    /// Of a client that nothing particular is said about.
    pub fn new(options: Arc<ServerOptions>) -> Reception {
        Reception {
            options,
            served: true,
            tls_at_once: false,
            group: None,
            awaits_place: false,
            proxied: false,
            told: false,
        }
    }
}

/// Chooses the reception for a client (first argument) that came to an address of ours (second).
pub type Receive = Arc<dyn Fn(SocketAddr, SocketAddr) -> Reception + Send + Sync>;

/// A client that has been let in, on its way to the hall that serves it.
pub struct Caller {
    pub(super) socket: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) reception: Reception,
    /// `None`: there is no room for it, or it is not known yet who it is.
    pub(super) place: Option<Place>,
    pub(super) clients: Arc<Clients>,
}

/// Accepts clients and hands them round to `halls`, until `close` is told or gone, or `stop` becomes true or its sender is
/// gone. When it returns the address is free.
pub async fn serve(
    listener: TcpListener,
    receive: Receive,
    clients: Arc<Clients>,
    halls: Vec<mpsc::UnboundedSender<Caller>>,
    mut close: oneshot::Receiver<()>,
    mut stop: watch::Receiver<bool>,
) {
    let mut turn = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut close => break,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok((socket, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Errors of a client's socket end its session; there is nobody else to tell.
        if let Ok(caller) = Caller::new(socket, peer, &receive, &clients) {
            turn += 1;
            // A hall that is gone has ended because of the same stop.
            let _ = halls[turn % halls.len()].send(caller);
        }
    }
}

impl Caller {
    fn new(
        socket: TcpStream,
        peer: SocketAddr,
        receive: &Receive,
        clients: &Arc<Clients>,
    ) -> io::Result<Caller> {
        let reception = receive(peer, socket.local_addr()?);
        let place = match reception.proxied {
            true => None,
            false => clients.admit(peer.ip(), reception.group.as_ref()),
        };
        socket.set_nodelay(true)?;
        Ok(Caller { socket: socket.into_std()?, peer, reception, place, clients: clients.clone() })
    }
}

/// A hall: serves the clients handed to it, on one thread, to the end of their sessions once no more can come; or until
/// `stop` becomes true or its sender is gone. Then the sessions are ended with 421, those whose message is being stored
/// after its reply.
pub async fn hall<S: Submit>(
    mut callers: mpsc::UnboundedReceiver<Caller>,
    submit: S,
    clock: Clock,
    mut stop: watch::Receiver<bool>,
) {
    let hall = Rc::new(Hall::new(submit, clock));
    let mut sessions = JoinSet::new();
    let mut more = true;
    while more || !sessions.is_empty() {
        tokio::select! {
            caller = callers.recv(), if more => match caller {
                Some(caller) => drop(sessions.spawn_local(contained(hall.clone().receive(caller)))),
                // The address is no longer listened on.
                None => more = false,
            },
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = sessions.join_next() => {}
        }
    }
    hall.end();
    let ended = async { while sessions.join_next().await.is_some() {} };
    // What has not ended by then is dropped with the set: its messages have had no 250.
    let _ = tokio::time::timeout(PATIENCE, ended).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::smtp_places::Limits;
    use crate::smtp::server::Relay;
    use std::net::IpAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    /// Passes messages on, and answers when told to.
    struct Inbox {
        arrived: mpsc::UnboundedSender<Arrival>,
        stored: Arc<Notify>,
    }

    impl Submit for Inbox {
        fn receive(&self, _: SocketAddr, _: &str) -> Reception {
            Reception::new(Arc::new(ServerOptions::new("mx.test")))
        }

        fn login(&self, _: SocketAddr, _: &str, _: bool) -> Login {
            Login::Wrong
        }

        async fn password(&self, _: SocketAddr, _: &str, _: Password) -> Login {
            Login::Unavailable
        }

        async fn sender(&self, _: SocketAddr, _: &str, _: String, _: String) -> Result<String, Refusal> {
            Ok(String::new())
        }

        async fn submit(&self, arrival: Arrival) -> Result<String, Refusal> {
            let full = arrival.message.starts_with(b"full");
            let _ = self.arrived.send(arrival);
            self.stored.notified().await;
            if full {
                return Err(Refusal { code: 452, text: "4.3.1 not enough space".into() });
            }
            Ok("1.1".into())
        }
    }

    struct Service {
        address: SocketAddr,
        arrived: mpsc::UnboundedReceiver<Arrival>,
        stored: Arc<Notify>,
        clients: Arc<Clients>,
        stop: watch::Sender<bool>,
        close: oneshot::Sender<()>,
        task: tokio::task::JoinHandle<()>,
    }

    async fn service(max_per_client: usize) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = Arc::new(ServerOptions { relay: Relay::Open, ..ServerOptions::new("mx.test") });
        let receive: Receive = Arc::new(move |peer, _| {
            let served = peer.ip() != IpAddr::from([127, 0, 0, 9]);
            Reception { served, ..Reception::new(options.clone()) }
        });
        let (sender, arrived) = mpsc::unbounded_channel();
        let stored = Arc::new(Notify::new());
        let inbox = Inbox { arrived: sender, stored: stored.clone() };
        let limits = Limits { total: 100, ..Limits::default() };
        let clients = Clients::new(limits, max_per_client);
        let (stop, stopped) = watch::channel(false);
        let (callers, called) = mpsc::unbounded_channel();
        tokio::task::spawn_local(hall(called, inbox, Clock::start(), stopped.clone()));
        let (close, closed) = oneshot::channel();
        let task = tokio::spawn(serve(listener, receive, clients.clone(), vec![callers], closed, stopped));
        Service { address, arrived, stored, clients, stop, close, task }
    }

    /// Reads up to and including a reply line that begins with `code` and a blank.
    async fn expect(socket: &mut TcpStream, code: &str) -> String {
        let mut all = String::new();
        let mut byte = [0];
        loop {
            socket.read_exact(&mut byte).await.unwrap_or_else(|e| panic!("{e} after {all}"));
            all.push(byte[0] as char);
            if all.ends_with('\n') && all.lines().any(|l| l.starts_with(&format!("{code} "))) {
                return all;
            }
        }
    }

    async fn ready(service: &Service) -> TcpStream {
        let mut socket = TcpStream::connect(service.address).await.unwrap();
        expect(&mut socket, "220").await;
        socket.write_all(b"EHLO me.test\r\n").await.unwrap();
        expect(&mut socket, "250").await;
        socket.write_all(b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n").await.unwrap();
        expect(&mut socket, "354").await;
        socket
    }

    fn run(test: impl Future<Output = ()>) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build_local(tokio::runtime::LocalOptions::default()).unwrap();
        runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(20), test).await })
            .expect("in time");
    }

    #[test]
    fn reply_follows_the_commit() {
        run(async {
            let mut service = service(50).await;
            let mut socket = ready(&service).await;
            socket.write_all(b"text\r\n.\r\n").await.unwrap();
            let arrival = service.arrived.recv().await.unwrap();
            assert_eq!((&arrival.message[..], &*arrival.local_ip), (&b"text\r\n"[..], "127.0.0.1"));
            assert_eq!(arrival.envelope.recipients, ["b@b.test"]);
            // Not stored yet: nothing to read.
            let mut byte = [0];
            assert_eq!(socket.try_read(&mut byte).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            service.stored.notify_one();
            assert!(expect(&mut socket, "250").await.contains("1.1"));
            socket.write_all(b"MAIL FROM:<>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n").await.unwrap();
            expect(&mut socket, "354").await;
            socket.write_all(b"full\r\n.\r\n").await.unwrap();
            service.arrived.recv().await.unwrap();
            service.stored.notify_one();
            expect(&mut socket, "452").await;
            socket.write_all(b"QUIT\r\n").await.unwrap();
            expect(&mut socket, "221").await;
            assert_eq!(socket.read(&mut byte).await.unwrap(), 0);
        });
    }

    #[test]
    fn one_client_too_many() {
        run(async {
            let service = service(2).await;
            let first = ready(&service).await;
            let _second = ready(&service).await;
            let mut third = TcpStream::connect(service.address).await.unwrap();
            expect(&mut third, "421").await;
            assert_eq!(third.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(service.clients.total(), 2);
            // A place is given back.
            drop(first);
            while service.clients.total() == 2 {
                tokio::task::yield_now().await;
            }
            ready(&service).await;
        });
    }

    #[test]
    fn a_lower_limit_sends_nobody_away() {
        run(async {
            let service = service(50).await;
            let (mut first, _second) = (ready(&service).await, ready(&service).await);
            let limits = |total| Limits { total, ..Limits::default() };
            service.clients.set_limits(limits(1));
            let mut third = TcpStream::connect(service.address).await.unwrap();
            expect(&mut third, "421").await;
            service.clients.set_limits(limits(3));
            ready(&service).await;
            first.write_all(b".\r\n").await.unwrap();
            service.stored.notify_one();
            expect(&mut first, "250").await;
        });
    }

    #[test]
    fn who_is_here_when_the_address_is_closed_stays() {
        run(async {
            let mut service = service(50).await;
            let mut socket = ready(&service).await;
            service.close.send(()).unwrap();
            service.task.await.unwrap();
            assert!(TcpStream::connect(service.address).await.is_err());
            socket.write_all(b"text\r\n.\r\n").await.unwrap();
            service.arrived.recv().await.unwrap();
            service.stored.notify_one();
            expect(&mut socket, "250").await;
            // A stop ends it like any other.
            service.stop.send(true).unwrap();
            expect(&mut socket, "421").await;
        });
    }

    #[test]
    fn refused_source() {
        run(async {
            let service = service(50).await;
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
            let mut socket = socket.connect(service.address).await.unwrap();
            expect(&mut socket, "521").await;
        });
    }

    #[test]
    fn stopping_waits_for_the_message_being_stored() {
        run(async {
            let mut service = service(50).await;
            let mut idle = ready(&service).await;
            let mut storing = ready(&service).await;
            storing.write_all(b"text\r\n.\r\n").await.unwrap();
            service.arrived.recv().await.unwrap();
            service.stop.send(true).unwrap();
            expect(&mut idle, "421").await;
            service.stored.notify_one();
            expect(&mut storing, "250").await;
            expect(&mut storing, "421").await;
            service.task.await.unwrap();
            assert!(TcpStream::connect(service.address).await.is_err());
        });
    }
}
