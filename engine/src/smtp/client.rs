//! One outbound SMTP connection as a state machine (RFC 5321, 2920, 3030, 3207): bytes, time and transactions go
//! in; bytes and events come out.
//!
//! **Every reply is matched to exactly one command.** What is expected stands in a queue, in the order it was
//! written; a reply to nothing, to something not yet sent, or of the wrong kind ends the connection (S13).
//!
//! The caller's turn: hand in what happened (`handle_*`), act on every [`Client::poll_event`], write all of
//! [`Client::output`] to the socket, report the progress by [`Client::sent`], and wake at [`Client::next_timeout`].
//!
//! The machine is split by role: opening the session (`client_opening`), writing commands and content
//! (`client_commands`), taking replies (`client_replies`), failing (`client_failure`), time (`client_time`).

use super::client_envelope::Envelope;
pub use super::client_event::*;
pub use super::client_options::*;
use super::extensions::Extensions;
use super::reply::ReplyParser;
use super::tls::{Tls, TlsSeen};
use crate::base::{Now, Time};
use std::collections::VecDeque;
use std::sync::Arc;

/// Output capacity kept between messages.
pub(super) const KEPT_OUTPUT: usize = 64 * 1024;

/// What a reply is expected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Mail,
    /// With the position among the named recipients.
    Rcpt(u16),
    Data,
    /// The end of the content, by dot or last chunk.
    Content,
    /// The end of nothing: DATA was accepted although no recipient was.
    LoneDot,
    Rset,
    Quit,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub command: Command,
    /// Serial of the envelope it belongs to.
    pub serial: u32,
    /// Position in the output stream just behind the command.
    pub end: u64,
}

/// For [`Expected::end`]: written, and not yet encrypted.
pub(super) const UNENCRYPTED: u64 = u64::MAX;
/// For [`Expected::end`]: content of which there is more to be written.
pub(super) const UNWRITTEN: u64 = u64::MAX - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Up to the reply to EHLO.
    Opening,
    Handshake,
    Ready,
    Quitting,
    Closed,
}

/// One connection. See the module's text for the caller's turn.
#[derive(Debug)]
pub struct Client {
    pub(super) options: Arc<ClientOptions>,
    pub(super) now: Now,
    pub(super) phase: Phase,
    pub(super) parser: ReplyParser,
    pub(super) tls: Option<Box<Tls>>,
    pub(super) tls_seen: Option<TlsSeen>,
    pub(super) extensions: Extensions,
    pub(super) expected: VecDeque<Expected>,
    /// The reply that is being read began before the command it would answer was sent.
    pub(super) began_early: bool,
    /// The transaction under way and, with pipelining across DATA, the next one.
    pub(super) envelopes: VecDeque<Envelope>,
    /// An envelope whose buffers can be used again.
    pub(super) spare: Option<Envelope>,
    pub(super) next_serial: u32,
    events: VecDeque<Event>,
    /// Bytes for the wire, and before TLS.
    pub(super) output: Vec<u8>,
    pub(super) plain: Vec<u8>,
    /// What TLS made of the bytes just received.
    pub(super) received: Vec<u8>,
    /// Stream positions: of the first byte in `output`, behind its last byte, and behind the last byte reported sent.
    pub(super) taken: u64,
    pub(super) appended: u64,
    pub(super) sent: u64,
    /// When the peer last took bytes (or had none to take).
    pub(super) progress: Time,
    /// Since when the first expected reply has been that, or the phase has lasted.
    pub(super) since: Time,
    /// Start of the current session period (S01).
    pub(super) session_since: Time,
    /// A transaction has gone through from MAIL to 250.
    pub(super) clean: bool,
    /// Transactions with a final reply.
    pub(super) completed: u32,
    pub(super) retreat: Option<Retreat>,
    /// The server may still hold a transaction we consider ended.
    pub(super) rset: bool,
    pub(super) quit: bool,
}

impl Client {
    /// A connection that has just been established.
    pub fn new(options: impl Into<Arc<ClientOptions>>, now: Now) -> Client {
        let greeting = Expected { command: Command::Greeting, serial: 0, end: 0 };
        Client {
            options: options.into(),
            now,
            phase: Phase::Opening,
            parser: ReplyParser::default(),
            tls: None,
            tls_seen: None,
            extensions: Extensions::default(),
            expected: VecDeque::from([greeting]),
            began_early: false,
            envelopes: VecDeque::new(),
            spare: None,
            next_serial: 0,
            events: VecDeque::new(),
            output: Vec::new(),
            plain: Vec::new(),
            received: Vec::new(),
            taken: 0,
            appended: 0,
            sent: 0,
            progress: now.mono,
            since: now.mono,
            session_since: now.mono,
            clean: false,
            completed: 0,
            retreat: None,
            rset: false,
            quit: false,
        }
    }

    /// Bytes from the peer.
    pub fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        self.begin(now);
        if self.tls.is_some() {
            self.handle_wire(bytes);
        } else {
            self.handle_plain(bytes);
        }
        self.end();
    }

    /// The connection is gone; `reason` in words a log reader understands.
    pub fn handle_closed(&mut self, now: Now, reason: &str) {
        self.begin(now);
        if self.phase == Phase::Quitting {
            self.close();
        } else {
            self.fail(Failure::Lost(reason.into()));
        }
        self.end();
    }

    /// The next event, in the order they came about.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The bytes to send now. The caller takes them out, all or from the front, and sends them in order.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// `bytes` more have been taken by the operating system.
    pub fn sent(&mut self, now: Now, bytes: usize) {
        self.sent = self.appended.min(self.sent + bytes as u64);
        self.progress = now.mono;
    }

    /// Whether [`Client::start`] may be called.
    pub fn wants_transaction(&self) -> bool {
        self.phase == Phase::Ready
            && !self.quit
            && match self.envelopes.len() {
                0 => self.expected.is_empty(),
                1 => self.is_across(),
                _ => false,
            }
    }

    /// Begins a transaction, or queues it behind the one under way. Only when
    /// [`wants_transaction`](Client::wants_transaction); at any other time it is handed back as untried.
    pub fn start(&mut self, now: Now, transaction: Transaction) {
        self.begin(now);
        if self.wants_transaction() {
            self.enqueue(&transaction);
        } else {
            self.event(Event::Finished { token: transaction.token, end: End::Untried });
        }
        drop(transaction);
        self.end();
    }

    /// The whole content of the message that [`Event::NeedBody`] asked for: CR LF lines, not dot-stuffed. Of a long one no
    /// more than a piece is written ahead of the peer: it is given again whenever [`Client::wants_content`] says so.
    pub fn body(&mut self, now: Now, content: &[u8]) {
        self.begin(now);
        self.write_content(content);
        self.end();
    }

    /// The transaction whose content, begun and still [`Client::unwritten`], goes on once all output is taken.
    pub fn wants_content(&self) -> Option<u64> {
        if self.output.is_empty() { self.unwritten() } else { None }
    }

    /// The transaction of whose content there is more to be written.
    pub fn unwritten(&self) -> Option<u64> {
        self.envelopes.iter().find(|e| e.content_begun && !e.content_written).map(|e| e.token)
    }

    /// Ends the session politely: now when idle, else after the transactions under way.
    pub fn quit(&mut self, now: Now) {
        self.begin(now);
        self.quit = true;
        if self.phase != Phase::Ready {
            self.close();
        } else if self.envelopes.is_empty() && self.expected.is_empty() {
            self.write_quit();
        }
        self.end();
    }

    /// Ends the connection at once.
    pub fn abort(&mut self, now: Now) {
        self.begin(now);
        self.fail(Failure::Aborted);
        self.end();
    }

    /// What the peer offers, less what is ignored.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The TLS in use.
    pub fn tls(&self) -> Option<&TlsSeen> {
        self.tls_seen.as_ref()
    }

    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// No transaction is under way.
    pub fn is_idle(&self) -> bool {
        self.envelopes.is_empty()
    }

    /// Whether the next transaction may follow the final dot.
    pub fn is_across(&self) -> bool {
        self.clean
            && self.options.pipeline_across_data
            && self.extensions.pipelining
            && self.retreat.is_none()
    }

    pub(super) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Every entry point begins with this: the caller can only have taken bytes from the front of the output.
    pub(super) fn begin(&mut self, now: Now) {
        self.now = now;
        self.taken = self.appended - self.output.len() as u64;
        if self.output.is_empty() && self.output.capacity() > KEPT_OUTPUT {
            self.output.shrink_to(KEPT_OUTPUT);
            self.plain.shrink_to(KEPT_OUTPUT);
        }
    }

    /// Every entry point ends with this.
    pub(super) fn end(&mut self) {
        self.encrypt();
        let appended = self.taken + self.output.len() as u64;
        if self.sent == self.appended && appended > self.appended {
            self.progress = self.now.mono;
        }
        self.appended = appended;
    }

    /// Moves what was written so far to the wire and fixes its positions.
    pub(super) fn encrypt(&mut self) {
        if self.plain.is_empty() {
            return;
        }
        if let Some(tls) = &mut self.tls {
            tls.write(&self.plain, &mut self.output);
        }
        self.plain.clear();
        let end = self.taken + self.output.len() as u64;
        for expected in self.expected.iter_mut().rev().take_while(|e| e.end == UNENCRYPTED) {
            expected.end = end;
        }
    }

    /// Where commands are written.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        if self.tls.is_some() { &mut self.plain } else { &mut self.output }
    }

    /// The command just written has a reply to come.
    pub(super) fn expect(&mut self, command: Command, serial: u32) {
        if self.expected.is_empty() {
            self.since = self.now.mono;
        }
        let end = self.end_of_output();
        self.expected.push_back(Expected { command, serial, end });
    }

    /// The position behind what was written last.
    pub(super) fn end_of_output(&self) -> u64 {
        if self.tls.is_some() { UNENCRYPTED } else { self.taken + self.output.len() as u64 }
    }
}
