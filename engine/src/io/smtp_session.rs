//! The shell around one inbound SMTP session: its socket and its timer. What is said is decided by
//! [`crate::smtp::server`].

use super::clock::Clock;
use super::failpoint::{Point, pass};
use super::failpoint_wire::Replies;
use super::smtp_listener::{Arrival, Caller, Login, PATIENCE, Reception, Submit};
use crate::base::Time;
use crate::smtp::server::{ServerEvent, Session};
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
        let Caller { socket, peer, reception, place } = caller;
        let Reception { options, served, tls_at_once } = reception;
        let now = self.clock.now();
        let session = match (served, &place) {
            (false, _) => Session::refused(options, now),
            (true, None) => Session::busy(options, now),
            (true, Some(_)) => Session::new(options, now, nonce()),
        };
        let wire = if tls_at_once { Wire::secured(session, now) } else { Wire::new(session) };
        // Errors of a client's socket end its session; there is nobody else to tell.
        if let Ok(conversation) = Conversation::new(socket, wire, &self) {
            let _ = conversation.run(peer).await;
        }
        // Held to the very end.
        drop(place);
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
    fn new(socket: std::net::TcpStream, wire: Wire, hall: &'h Hall<S>) -> io::Result<Conversation<'h, S>> {
        Ok(Conversation {
            hall,
            socket: TcpStream::from_std(socket)?,
            wire,
            sleep: Box::pin(tokio::time::sleep(Duration::MAX)),
            armed: Time::NEVER,
            end: Some(Box::pin(hall.end.clone().notified_owned())),
        })
    }

    async fn run(mut self, peer: SocketAddr) -> io::Result<()> {
        let words = |address: SocketAddr| Rc::<str>::from(address.ip().to_string());
        let (peer_ip, local_ip) = (words(peer), words(self.socket.local_addr()?));
        let mut replies = Replies::default();
        loop {
            while let Some(event) = self.wire.poll_event() {
                self.flush().await?;
                match event {
                    ServerEvent::Closed => return self.socket.shutdown().await,
                    ServerEvent::Login { user, right } => {
                        let answer = self.hall.submit.login(peer, &user, right);
                        let (now, session) = (self.hall.clock.now(), self.wire.session());
                        match answer {
                            Login::Served(options) => session.logged_in(now, &user, options),
                            Login::Wrong => session.login_refused(now, false),
                            Login::Locked => session.login_refused(now, true),
                        }
                    }
                    ServerEvent::Message(envelope, message) => {
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
            replies.note(self.wire.session().output());
            self.flush().await?;
            poll_fn(|cx| self.poll_heard(cx)).await?;
        }
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
