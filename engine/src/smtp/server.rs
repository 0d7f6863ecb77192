//! One inbound SMTP session as a state machine (RFC 5321, 1870, 2034, 2920, 3030, 3207, 4954, 6152, 6531): bytes and time
//! go in; bytes and messages come out.
//!
//! **The 250 after a message is written only when the caller says so** ([`Session::accepted`]), which is after the message
//! is durable; what the client has pipelined behind it waits. The session is strict about line ends: see
//! [`super::undot`].
//!
//! The caller's turn: [`Session::handle_bytes`] while [`Session::wants_input`], act on every [`Session::poll_event`],
//! send all of [`Session::output`], wake at [`Session::next_timeout`].
//!
//! Commands are in `server_commands`, AUTH in `server_auth`, the message in `server_data`, TLS around all of it in
//! [`super::server_wire`].

use super::dsn::RecipientDsn;
use super::merge::{DefinitionError, Merge};
use super::password::Password;
use super::refused::RefusedRecipient;
use super::server_auth::Exchange;
use super::server_data::Chunk;
use super::server_merge::{Reading, Unheard};
pub use super::server_options::{AuthOptions, Relay, RelayTo, ServerOptions, Told};
use super::server_options::{MAX_COMMAND, MAX_OVERLONG, MAX_WAITING};
pub use super::server_xclient::Assumed;
use super::undot::DotReader;
pub use super::undot::LineEnds;
use crate::base::{Now, Time};
use memchr::{memchr, memchr2};
use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;

/// The envelope of a received message, and how it was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Empty for the null sender.
    pub sender: String,
    pub recipients: Vec<String>,
    /// Those that were taken in and are to bounce. Of a merged message they are among the others.
    pub refused: Vec<RefusedRecipient>,
    /// The client's name for itself.
    pub helo: String,
    /// Who the client is, by AUTH; empty where it did not say.
    pub user: String,
    /// The client greeted with EHLO.
    pub esmtp: bool,
    /// BODY=8BITMIME, or more.
    pub eight_bit: bool,
    /// BODY=BINARYMIME.
    pub binary: bool,
    pub smtputf8: bool,
    /// What was found of the sender at MAIL.
    pub found: String,
    /// SIZE as declared, 0 if it was not.
    pub declared_size: u64,
    /// The return path is to name each recipient.
    pub verp: bool,
    /// RET, `FULL` or `HDRS`; empty where it was not given.
    pub ret: &'static str,
    /// ENVID, decoded.
    pub envid: String,
    /// NOTIFY and ORCPT of each recipient; nothing while no recipient has any.
    pub dsn: Vec<RecipientDsn>,
    /// Of a merged message (XMRG): its recipients are here, and its message is made from parts.
    pub merge: Option<Box<Merge>>,
}

impl Envelope {
    /// Adds a recipient. Most mail has nothing to say of reports, and carries no list of it.
    pub(super) fn add(&mut self, recipient: &str, dsn: RecipientDsn) -> Result<(), DefinitionError> {
        if let Some(merge) = &mut self.merge {
            return merge.push(recipient, &dsn);
        }
        if dsn.is_given() || !self.dsn.is_empty() {
            self.dsn.resize(self.recipients.len(), RecipientDsn::default());
            self.dsn.push(dsn);
        }
        self.recipients.push(recipient.to_owned());
        Ok(())
    }

    /// Adds a recipient that is to bounce.
    pub(super) fn add_refused(&mut self, recipient: RefusedRecipient) -> Result<(), DefinitionError> {
        match &mut self.merge {
            Some(merge) => merge.push_refused(&recipient)?,
            None => self.refused.push(recipient),
        }
        Ok(())
    }

    /// The verb that began it.
    pub(super) fn verb(&self) -> &'static str {
        if self.merge.is_some() { "XMRG" } else { "MAIL" }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// A whole message: CR LF lines, dots undone. To be answered by [`Session::accepted`] or [`Session::rejected`].
    Message(Box<Envelope>, Vec<u8>),
    /// MAIL names this sender, and somebody is to look into it. To be answered by [`Session::sender_accepted`] or
    /// [`Session::sender_refused`].
    Sender { sender: String, helo: String, user: String },
    /// Somebody wants to be this user, and what he knows of the password is right or not. To be answered by
    /// [`Session::logged_in`] or [`Session::login_refused`].
    Login { user: String, right: bool },
    /// Somebody says that this is the user's password, which the system knows. To be answered as [`ServerEvent::Login`] is,
    /// or by [`Session::login_unavailable`].
    Password { user: String, password: Password },
    /// A proxy says for whom it speaks. To be answered by [`Session::assume`] or [`Session::turn_away`].
    Assumed(Box<Assumed>),
    /// What is left of the output may be sent; then the socket is to be closed.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Commands,
    /// A command line too long to be one is read to its end.
    Overlong,
    Data,
    /// Bytes of a BDAT.
    Chunk,
    /// A line of an AUTH exchange.
    Auth,
    /// STARTTLS was agreed to.
    Securing,
    /// A message or a login awaits its verdict.
    Deciding,
    Closed,
}

/// One session. See the module's text for the caller's turn.
#[derive(Debug)]
pub struct Session {
    pub(super) options: Arc<ServerOptions>,
    pub(super) phase: Phase,
    /// Bytes not yet looked at: the beginning of a line, or what waits for a verdict.
    input: Vec<u8>,
    pub(super) output: Vec<u8>,
    events: VecDeque<ServerEvent>,
    pub(super) helo: Box<str>,
    pub(super) esmtp: bool,
    /// The transaction: from MAIL to the verdict.
    pub(super) envelope: Option<Box<Envelope>>,
    pub(super) message: Vec<u8>,
    pub(super) reader: DotReader,
    /// Bytes of the message so far, kept or not.
    pub(super) received: u64,
    pub(super) too_large: bool,
    /// The chunk being read, or the last one of this transaction.
    pub(super) chunk: Option<Chunk>,
    /// The part of a merged message being read.
    pub(super) part: Option<Reading>,
    pub(super) unheard: Unheard,
    pub(super) exchange: Option<Box<Exchange>>,
    /// Makes challenges that nobody else has seen.
    pub(super) nonce: u128,
    /// TLS is spoken.
    pub(super) secure: bool,
    /// Whose certificate the client has shown; empty for nobody's.
    pub(super) certified: Box<str>,
    pub(super) user: Box<str>,
    /// XCLIENT is taken from this client, whoever it speaks for.
    pub(super) may_assume: bool,
    pub(super) assumed: Assumed,
    /// Lines for the log.
    pub(super) told: Vec<String>,
    pub(super) failed_logins: u32,
    pub(super) errors: u32,
    pub(super) junk: u32,
    pub(super) overshoot: u32,
    overlong: usize,
    stopping: bool,
    /// The last time a command was complete, or a piece of a message came.
    active: Time,
    pub(super) data_since: Time,
}

impl Session {
    /// A session, greeting the client. The `nonce` must not be guessed and never come again: the challenges of AUTH are
    /// made from it.
    pub fn new(options: impl Into<Arc<ServerOptions>>, now: Now, nonce: u128) -> Session {
        let mut session = Session { nonce, ..Session::silent(options.into(), now) };
        let options = session.options.clone();
        session.reply(format_args!("220 {} ({}) ESMTP service ready", options.host, options.software));
        session
    }

    /// A session with a client that is not served (`smtp-service false`): 521 and the end.
    pub fn refused(options: impl Into<Arc<ServerOptions>>, now: Now) -> Session {
        let mut session = Session::silent(options.into(), now);
        let options = session.options.clone();
        session.reply(format_args!("521 {} does not accept mail from you", options.host));
        session.close();
        session
    }

    /// A session with one client too many: 421 and the end.
    pub fn busy(options: impl Into<Arc<ServerOptions>>, now: Now) -> Session {
        let mut session = Session::silent(options.into(), now);
        let options = session.options.clone();
        session.reply(format_args!("421 {} too many connections, try again later", options.host));
        session.close();
        session
    }

    fn silent(options: Arc<ServerOptions>, now: Now) -> Session {
        Session {
            may_assume: options.xclient,
            assumed: Assumed::default(),
            told: Vec::new(),
            options,
            phase: Phase::Commands,
            input: Vec::new(),
            output: Vec::new(),
            events: VecDeque::new(),
            helo: Box::default(),
            esmtp: false,
            envelope: None,
            message: Vec::new(),
            reader: DotReader::default(),
            received: 0,
            too_large: false,
            chunk: None,
            part: None,
            unheard: Unheard::default(),
            exchange: None,
            nonce: 0,
            secure: false,
            certified: Box::default(),
            user: Box::default(),
            failed_logins: 0,
            errors: 0,
            junk: 0,
            overshoot: 0,
            overlong: 0,
            stopping: false,
            active: now.mono,
            data_since: now.mono,
        }
    }

    /// Bytes from the client.
    pub fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        if self.input.is_empty() {
            let used = self.consume(now, bytes);
            self.keep(&bytes[used..]);
        } else {
            let mut all = std::mem::take(&mut self.input);
            all.extend_from_slice(bytes);
            let used = self.consume(now, &all);
            self.keep(&all[used..]);
        }
    }

    /// Time has passed. Does nothing before [`Session::next_timeout`].
    pub fn handle_timeout(&mut self, now: Now) {
        if self.next_timeout().is_some_and(|at| at <= now.mono) {
            self.end_with("421 4.4.2", "timeout, closing connection");
        }
    }

    /// When [`Session::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Time> {
        match self.phase {
            Phase::Commands | Phase::Overlong | Phase::Auth | Phase::Securing => {
                Some(self.active + self.options.command_timeout)
            }
            Phase::Data | Phase::Chunk => {
                let allowance = self.received / self.options.min_data_rate.max(1);
                let whole = self.options.data_timeout + std::time::Duration::from_secs(allowance);
                Some((self.active + self.options.data_timeout).min(self.data_since + whole))
            }
            Phase::Deciding | Phase::Closed => None,
        }
    }

    /// Whether more bytes should be read for the session.
    pub fn wants_input(&self) -> bool {
        !matches!(self.phase, Phase::Deciding | Phase::Securing | Phase::Closed)
    }

    /// The next event, in the order they came about.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// The bytes to send now. The caller takes them out and sends them in order.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The message is durable, under this name.
    pub fn accepted(&mut self, now: Now, id: impl Display) {
        self.junk = 0;
        self.decide(now, format_args!("250 2.6.0 message received ({id})"));
    }

    /// The message is refused, with a code from 400 to 599 and text that begins with an enhanced status.
    pub fn rejected(&mut self, now: Now, code: u16, text: &str) {
        self.errors += 1;
        if code < 500 && self.options.close_on_transient {
            return self.close();
        }
        self.decide(now, format_args!("{code} {}", OneLine(text)));
    }

    /// Ends the session as soon as no message awaits its verdict.
    pub fn stop(&mut self) {
        self.stopping = true;
        if !matches!(self.phase, Phase::Deciding | Phase::Closed) {
            self.end_with("421 4.3.2", "shutting down, try again later");
        }
    }

    /// TLS is spoken from here on: what was said before counts no more (RFC 3207 4.2).
    pub(super) fn secured(&mut self, now: Now) {
        self.phase = Phase::Commands;
        self.active = now.mono;
        self.secure = true;
        self.helo = Box::default();
        self.esmtp = false;
        self.unheard.quiet = false;
        self.drop_transaction();
    }

    pub(super) fn wants_tls(&self) -> bool {
        self.phase == Phase::Securing
    }

    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    pub(super) fn decide(&mut self, now: Now, reply: std::fmt::Arguments<'_>) {
        if self.phase != Phase::Deciding {
            return;
        }
        self.reply(reply);
        self.phase = Phase::Commands;
        self.active = now.mono;
        if self.stopping {
            return self.stop();
        }
        let waiting = std::mem::take(&mut self.input);
        let used = self.consume(now, &waiting);
        self.keep(&waiting[used..]);
    }

    /// Works on as much of `bytes` as can be; returns how much that was.
    fn consume(&mut self, now: Now, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            used += match self.phase {
                Phase::Commands | Phase::Auth => match self.take_line(now, rest) {
                    0 => break,
                    n => n,
                },
                Phase::Overlong => self.skip_line(rest),
                Phase::Data => {
                    self.active = now.mono;
                    let taken = self.take_data(rest);
                    self.tell_data(&rest[..taken]);
                    taken
                }
                Phase::Chunk => {
                    self.active = now.mono;
                    let taken = self.take_chunk(rest);
                    self.tell_data(&rest[..taken]);
                    taken
                }
                Phase::Deciding | Phase::Securing => break,
                Phase::Closed => rest.len(),
            };
        }
        used
    }

    fn keep(&mut self, rest: &[u8]) {
        if self.phase == Phase::Deciding && rest.len() > MAX_WAITING {
            return self.end_with("421 4.7.0", "too much sent behind a message");
        }
        self.input.clear();
        if rest.is_empty() {
            // An idle session is to cost little.
            self.input.shrink_to(MAX_COMMAND);
        } else {
            self.input.extend_from_slice(rest);
        }
    }

    /// Takes one command line, if it is complete; returns its length.
    fn take_line(&mut self, now: Now, bytes: &[u8]) -> usize {
        let end = memchr(b'\n', bytes);
        if end.unwrap_or(bytes.len()) >= MAX_COMMAND {
            self.phase = Phase::Overlong;
            self.exchange = None;
            self.overlong = 0;
            return self.skip_line(bytes);
        }
        let Some(end) = end else { return 0 };
        let Some(line) = bytes[..end].strip_suffix(b"\r").filter(|l| memchr2(b'\r', 0, l).is_none()) else {
            self.end_with("550 5.5.2", "lines end in CR LF, and no CR, LF or NUL stands within one");
            return end + 1;
        };
        self.active = now.mono;
        let more = end + 1 < bytes.len();
        self.tell_line(line);
        match self.phase {
            Phase::Auth => self.auth_line(line, more),
            _ => self.command(now, line, more),
        }
        end + 1
    }

    /// Skips an overlong line up to its end, if it has one soon.
    fn skip_line(&mut self, bytes: &[u8]) -> usize {
        let end = memchr(b'\n', bytes);
        let used = end.map_or(bytes.len(), |n| n + 1);
        self.overlong += used;
        if self.overlong > MAX_OVERLONG {
            self.end_with("500 5.5.2", "line much too long");
        } else if end.is_some() {
            self.phase = Phase::Commands;
            self.refuse("500 5.5.2 line too long");
        }
        used
    }

    pub(super) fn event(&mut self, event: ServerEvent) {
        self.events.push_back(event);
    }

    /// Writes one reply line.
    pub(super) fn reply(&mut self, line: impl Display) {
        use std::io::Write;
        let from = self.output.len();
        // Writing to a Vec cannot fail.
        let _ = write!(self.output, "{line}\r\n");
        self.tell_reply(from);
    }

    /// Writes a refusal, and ends the session of a client that has had too many.
    pub(super) fn refuse(&mut self, line: impl Display) {
        self.errors += 1;
        self.reply(line);
        if self.errors >= self.options.max_errors {
            self.end_with("421 4.7.0", "too many errors");
        }
    }

    /// Writes a last reply and ends the session.
    pub(super) fn end_with(&mut self, status: &str, why: &str) {
        let options = self.options.clone();
        self.reply(format_args!("{status} {} {why}", options.host));
        self.close();
    }

    pub(super) fn close(&mut self) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.input = Vec::new();
            self.message = Vec::new();
            self.exchange = None;
            self.event(ServerEvent::Closed);
        }
    }
}

/// Text from elsewhere in a reply: one line, printable (A05).
pub(super) struct OneLine<'a>(pub &'a str);

impl Display for OneLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        let fits = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        self.0.chars().take(400).try_for_each(|c| f.write_char(fits(c)))
    }
}
