//! The shell around one inbound SMTP session: its socket and its timer. What is said is decided by
//! [`crate::smtp::server`].

use super::clock::Clock;
use super::failpoint::{Point, pass};
use super::failpoint_wire::Replies;
use super::smtp_listener::{Arrival, Caller, Login, PATIENCE, Reception, Submit};
use super::smtp_opening::{Opened, open, tell};
use super::smtp_places::Place;
use crate::base::Time;
use crate::smtp::server::{Assumed, ServerEvent, Session};
use crate::smtp::server_wire::Wire;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Sleep;

/// Bytes read at a time; one buffer serves all sessions of a thread.
const READ: usize = 16 * 1024;

/// What the sessions of one thread share.
pub(super) struct Hall<S> {
    submit: S,
    clock: Clock,
    buffer: RefCell<Box<[u8]>>,
    end: Arc<Notify>,
}

impl<S: Submit> Hall<S> {
    pub fn new(submit: S, clock: Clock) -> Hall<S> {
        let buffer = RefCell::new(vec![0; READ].into_boxed_slice());
        Hall { submit, clock, buffer, end: Arc::default() }
    }

    /// Has every session end that does not wait for its message to be stored, and the others after that.
    pub fn end(&self) {
        self.end.notify_waiters();
    }

    /// Serves a client to its end.
    pub async fn receive(self: Rc<Self>, caller: Caller) {
        pass(Point::SmtpAccepted);
        let end = self.end.clone().notified_owned();
        let opened = tokio::select! {
            opened = open(caller, &self.submit) => opened,
            // Who waits for a place when all end has waited for nothing.
            () = self.end.notified() => return,
        };
        // Errors of a client's socket end its session; there is nobody else to tell.
        let Ok(opened) = opened else { return };
        let _told = tell(&opened);
        let Opened { socket, peer, local, reception, place, early } = opened;
        let now = self.clock.now();
        let session = match (reception.served, &place) {
            (false, _) => Session::refused(reception.options, now),
            (true, None) => Session::busy(reception.options, now),
            (true, Some(_)) => Session::new(reception.options, now, nonce()),
        };
        let mut wire = if reception.tls_at_once { Wire::secured(session, now) } else { Wire::new(session) };
        if !early.is_empty() {
            wire.handle_bytes(now, &early);
        }
        let client = Client::new(peer, local, place);
        let _ = Conversation::new(socket, wire, &self, end).run(client).await;
    }
}

/// Who is spoken with; its place is held to the very end.
struct Client {
    peer: SocketAddr,
    /// Both addresses in words.
    peer_ip: Rc<str>,
    local_ip: Rc<str>,
    place: Option<Place>,
}

impl Client {
    fn new(peer: SocketAddr, local: SocketAddr, place: Option<Place>) -> Client {
        let words = |address: SocketAddr| Rc::<str>::from(address.ip().to_string());
        Client { peer, peer_ip: words(peer), local_ip: words(local), place }
    }
}

struct Conversation<'h, S> {
    hall: &'h Hall<S>,
    socket: TcpStream,
    wire: Wire,
    /// One timer for the whole session. It is set later only when it has run out: most of the time something is heard
    /// long before, and the deadline moves on with that.
    sleep: Pin<Box<Sleep>>,
    armed: Time,
    /// `None` once heard.
    end: Option<Pin<Box<OwnedNotified>>>,
}

impl<'h, S: Submit> Conversation<'h, S> {
    fn new(socket: TcpStream, wire: Wire, hall: &'h Hall<S>, end: OwnedNotified) -> Conversation<'h, S> {
        let sleep = Box::pin(tokio::time::sleep(Duration::MAX));
        Conversation { hall, socket, wire, sleep, armed: Time::NEVER, end: Some(Box::pin(end)) }
    }

    async fn run(mut self, mut client: Client) -> io::Result<()> {
        let mut replies = Replies::default();
        loop {
            self.tell(&client);
            while let Some(event) = self.wire.poll_event() {
                self.flush().await?;
                match event {
                    ServerEvent::Closed => return self.socket.shutdown().await,
                    ServerEvent::Login { user, right } => {
                        let answer = self.hall.submit.login(client.peer, &user, right);
                        self.login(&user, answer);
                    }
                    ServerEvent::Password { user, password } => {
                        let answer = self.hall.submit.password(client.peer, &user, password).await;
                        self.login(&user, answer);
                    }
                    ServerEvent::Sender { sender, helo, user } => {
                        let found = self.hall.submit.sender(client.peer, &user, sender, helo).await;
                        let (now, session) = (self.hall.clock.now(), self.wire.session());
                        match found {
                            Ok(found) => session.sender_accepted(now, found),
                            Err(refusal) => session.sender_refused(now, refusal.code, &refusal.text),
                        }
                    }
                    ServerEvent::Assumed(assumed) => self.assume(&mut client, *assumed),
                    ServerEvent::Message(envelope, message) => {
                        let Client { peer, ref peer_ip, ref local_ip, .. } = client;
                        let (peer_ip, local_ip) = (peer_ip.clone(), local_ip.clone());
                        let arrival = Arrival { envelope, message, peer, peer_ip, local_ip };
                        pass(Point::SmtpFinalDot);
                        let outcome = self.hall.submit.submit(arrival).await;
                        let now = self.hall.clock.now();
                        match outcome {
                            Ok(id) => {
                                pass(Point::SmtpDurable);
                                self.wire.session().accepted(now, id);
                                pass(Point::SmtpReplyWritten);
                                self.flush().await?;
                                pass(Point::SmtpReplyFlushed);
                            }
                            Err(refusal) => self.wire.session().rejected(now, refusal.code, &refusal.text),
                        }
                    }
                }
            }
            self.tell(&client);
            replies.note(self.wire.session().output());
            self.flush().await?;
            poll_fn(|cx| self.poll_heard(cx)).await?;
        }
    }

    fn login(&mut self, user: &str, answer: Login) {
        let (now, session) = (self.hall.clock.now(), self.wire.session());
        match answer {
            Login::Served(options) => session.logged_in(now, user, options),
            Login::Wrong => session.login_refused(now, false),
            Login::Locked => session.login_refused(now, true),
            Login::Unavailable => session.login_unavailable(now),
        }
    }

    /// Tells the log what the source wants told.
    fn tell(&mut self, client: &Client) {
        for line in self.wire.session().told().drain(..) {
            tracing::info!(client = %client.peer, "smtp: {line}");
        }
    }

    /// A proxy has said for whom it speaks.
    fn assume(&mut self, client: &mut Client, assumed: Assumed) {
        let before = client.peer;
        let address = assumed.address.unwrap_or(before.ip());
        let peer = SocketAddr::new(address, assumed.port.unwrap_or(before.port()));
        let Reception { options, served, group, told, .. } =
            self.hall.submit.receive(peer, assumed.login.as_deref().unwrap_or_default());
        if told {
            let name = assumed.name.as_deref().unwrap_or_default();
            tracing::info!(client = %peer, name, proxy = %before, "smtp: a proxy speaks for the client");
        }
        let room = client.place.as_mut().is_some_and(|place| place.change(address, group));
        let (now, session) = (self.hall.clock.now(), self.wire.session());
        match served && room {
            true => session.assume(now, assumed, &options),
            false => session.turn_away(served),
        }
        (client.peer, client.peer_ip) = (peer, address.to_string().into());
    }

    /// Waits for bytes, the session's patience or the end of service, and tells the session.
    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // First of all: a client that always has something to say must not keep us from stopping.
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready()) {
            self.end = None;
            self.wire.session().stop();
            return Poll::Ready(Ok(()));
        }
        let mut buffer = self.hall.buffer.borrow_mut();
        let mut read = ReadBuf::new(&mut buffer);
        if Pin::new(&mut self.socket).poll_read(cx, &mut read)?.is_ready() {
            let bytes = read.filled();
            if bytes.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.wire.handle_bytes(self.hall.clock.now(), bytes);
            return Poll::Ready(Ok(()));
        }
        self.poll_patience(cx).map(Ok)
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.hall.clock;
        let until = self.wire.session().next_timeout().unwrap_or(Time::NEVER);
        if until < self.armed {
            self.arm(until);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            let now = clock.now();
            if until <= now.mono {
                self.wire.session().handle_timeout(now);
                return Poll::Ready(());
            }
            self.arm(until);
        }
        Poll::Pending
    }

    fn arm(&mut self, until: Time) {
        self.armed = until;
        self.sleep.as_mut().reset(self.hall.clock.instant(until).into());
    }

    /// Sends what the session has to say.
    async fn flush(&mut self) -> io::Result<()> {
        let output = self.wire.output();
        if output.is_empty() {
            return Ok(());
        }
        let sent = match self.socket.try_write(output) {
            Ok(sent) => sent,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            Err(e) => return Err(e),
        };
        if sent < output.len() {
            let rest = self.socket.write_all(&output[sent..]);
            match tokio::time::timeout(PATIENCE, rest).await {
                Ok(written) => written?,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        self.wire.output().clear();
        Ok(())
    }
}

/// What nobody can guess.
fn nonce() -> u128 {
    let mut bytes = [0; 16];
    // Without randomness nobody's keys would be worth anything; the nonce is then only never the same.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        return fastrand::u128(..);
    }
    u128::from_le_bytes(bytes)
}
