//! The shell around inbound SMTP sessions: sockets, timers and the count of clients. What is said is decided by
//! [`crate::smtp::server`]; what becomes of a message by the [`Submit`] that the daemon plugs in.

use super::clock::Clock;
use super::failpoint::{Point, pass};
use super::failpoint_wire::Replies;
use crate::smtp::server::{Envelope, ServerEvent, ServerOptions, Session};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes read at a time.
const READ: usize = 16 * 1024;
/// How long a client may take none of our bytes, and a stopped listener waits for messages being stored.
const PATIENCE: Duration = Duration::from_secs(60);
/// After `accept` failed for want of descriptors or memory (F35).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A received message on its way to the spool.
#[derive(Debug)]
pub struct Arrival {
    pub envelope: Box<Envelope>,
    /// CR LF lines, as received.
    pub message: Vec<u8>,
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// Why a message is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400 to 599.
    pub code: u16,
    /// Beginning with an enhanced status, e.g. `4.3.1 not enough space`.
    pub text: String,
}

/// Where messages go. The future ends when the message is durable, with the name to tell the client.
pub trait Submit: Send + Sync + 'static {
    fn submit(&self, arrival: Arrival) -> impl Future<Output = Result<String, Refusal>> + Send;
}

/// How a client is received, by its `<source>`.
#[derive(Clone, Debug)]
pub enum Reception {
    Serve(Arc<ServerOptions>),
    /// `smtp-service false`.
    Refuse(Arc<ServerOptions>),
}

/// Chooses the reception for a client (first argument) that came to an address of ours (second).
pub type Receive = Arc<dyn Fn(SocketAddr, SocketAddr) -> Reception + Send + Sync>;

/// Limits over all listeners that share it.
#[derive(Debug)]
pub struct Clients {
    /// `total-max-smtp-in`.
    max_total: usize,
    /// Sessions of one client address.
    max_per_client: usize,
    total: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Clients {
    pub fn new(max_total: usize, max_per_client: usize) -> Arc<Clients> {
        Arc::new(Clients {
            max_total,
            max_per_client,
            total: AtomicUsize::new(0),
            by_address: Mutex::default(),
        })
    }

    /// Sessions now open.
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// A place for a client at `address`, if there is one.
    fn admit(self: &Arc<Clients>, address: IpAddr) -> Option<Place> {
        // The map is whole after a panic elsewhere: every change of it is a single step.
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let open = by_address.entry(address).or_insert(0);
        if *open >= self.max_per_client || self.total() >= self.max_total {
            if *open == 0 {
                by_address.remove(&address);
            }
            return None;
        }
        *open += 1;
        self.total.fetch_add(1, Ordering::Relaxed);
        Some(Place { clients: self.clone(), address })
    }
}

/// One admitted client; given back when dropped.
#[derive(Debug)]
struct Place {
    clients: Arc<Clients>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.clients.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = by_address.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                by_address.remove(&self.address);
            }
        }
        self.clients.total.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves clients until `stop` becomes true or its sender is gone. Then sessions are ended with 421, those whose message
/// is being stored after its reply, and the call returns.
pub async fn serve<S: Submit>(
    listener: TcpListener,
    receive: Receive,
    clients: Arc<Clients>,
    submit: Arc<S>,
    mut stop: watch::Receiver<bool>,
) {
    let clock = Clock::start();
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = sessions.join_next() => continue,
        };
        let Ok((socket, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connection = Connection { socket, clock, stop: stop.clone() };
        sessions.spawn(connection.run(peer, receive.clone(), clients.clone(), submit.clone()));
    }
    drop(listener);
    let ended = async { while sessions.join_next().await.is_some() {} };
    // What has not ended by then is dropped with the set: its messages have had no 250.
    let _ = tokio::time::timeout(PATIENCE, ended).await;
}

/// One client's socket.
struct Connection {
    socket: TcpStream,
    clock: Clock,
    stop: watch::Receiver<bool>,
}

impl Connection {
    async fn run<S: Submit>(
        mut self,
        peer: SocketAddr,
        receive: Receive,
        clients: Arc<Clients>,
        submit: Arc<S>,
    ) {
        // Errors of a client's socket end its session; there is nobody else to tell.
        let _ = self.converse(peer, &receive, &clients, &*submit).await;
    }

    async fn converse<S: Submit>(
        &mut self,
        peer: SocketAddr,
        receive: &Receive,
        clients: &Arc<Clients>,
        submit: &S,
    ) -> io::Result<()> {
        pass(Point::SmtpAccepted);
        let local = self.socket.local_addr()?;
        self.socket.set_nodelay(true)?;
        let now = self.clock.now();
        let place = clients.admit(peer.ip());
        let mut session = match receive(peer, local) {
            Reception::Refuse(options) => Session::refused(options, now),
            Reception::Serve(options) if place.is_none() => Session::busy(options, now),
            Reception::Serve(options) => Session::new(options, now),
        };
        let mut buffer = vec![0; READ];
        let mut replies = Replies::default();
        loop {
            while let Some(event) = session.poll_event() {
                self.flush(&mut session).await?;
                match event {
                    ServerEvent::Closed => return self.socket.shutdown().await,
                    ServerEvent::Message(envelope, message) => {
                        pass(Point::SmtpFinalDot);
                        let outcome = submit.submit(Arrival { envelope, message, peer, local }).await;
                        let now = self.clock.now();
                        match outcome {
                            Ok(id) => {
                                pass(Point::SmtpDurable);
                                session.accepted(now, id);
                                pass(Point::SmtpReplyWritten);
                                self.flush(&mut session).await?;
                                pass(Point::SmtpReplyFlushed);
                            }
                            Err(refusal) => session.rejected(now, refusal.code, &refusal.text),
                        }
                    }
                }
            }
            replies.note(session.output());
            self.flush(&mut session).await?;
            self.listen(&mut session, &mut buffer).await?;
        }
    }

    /// Waits for bytes, the session's patience or the end of service, and tells the session.
    async fn listen(&mut self, session: &mut Session, buffer: &mut [u8]) -> io::Result<()> {
        let wait = session.next_timeout().map_or(PATIENCE, |at| at.since(self.clock.now().mono));
        tokio::select! {
            read = self.socket.read(buffer) => match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => session.handle_bytes(self.clock.now(), &buffer[..n]),
            },
            () = tokio::time::sleep(wait) => session.handle_timeout(self.clock.now()),
            _ = self.stop.wait_for(|stop| *stop) => session.stop(),
        }
        Ok(())
    }

    async fn flush(&mut self, session: &mut Session) -> io::Result<()> {
        if session.output().is_empty() {
            return Ok(());
        }
        let written = tokio::time::timeout(PATIENCE, self.socket.write_all(session.output())).await;
        session.output().clear();
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::server::Relay;
    use tokio::sync::{Notify, mpsc};

    /// Passes messages on, and answers when told to.
    struct Inbox {
        arrived: mpsc::UnboundedSender<Arrival>,
        stored: Arc<Notify>,
    }

    impl Submit for Inbox {
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
        task: tokio::task::JoinHandle<()>,
    }

    async fn service(max_per_client: usize) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = Arc::new(ServerOptions { relay: Relay::Open, ..ServerOptions::new("mx.test") });
        let receive: Receive = Arc::new(move |peer, _| match peer.ip() {
            ip if ip == IpAddr::from([127, 0, 0, 9]) => Reception::Refuse(options.clone()),
            _ => Reception::Serve(options.clone()),
        });
        let (sender, arrived) = mpsc::unbounded_channel();
        let stored = Arc::new(Notify::new());
        let inbox = Arc::new(Inbox { arrived: sender, stored: stored.clone() });
        let clients = Clients::new(100, max_per_client);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, receive, clients.clone(), inbox, stopped));
        Service { address, arrived, stored, clients, stop, task }
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
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
            assert_eq!(
                (arrival.message.as_slice(), arrival.local),
                (b"text\r\n".as_slice(), service.address)
            );
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
