//! How a server session behaves: what `<source>` and the listener say.

use super::tls::TlsServerConfig;
use super::undot::LineEnds;
use super::users::Users;
use crate::mail::suppression::Suppression;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Says of a local part and a domain whether they are meant.
type Meant = dyn Fn(&str, &str) -> bool + Send + Sync;

/// Addresses whose mail is taken from anybody: asked by local part, and domain in normal form (lower case, A-labels).
#[derive(Clone)]
pub struct RelayTo(Arc<Meant>);

impl RelayTo {
    pub fn new(contains: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> RelayTo {
        RelayTo(Arc::new(contains))
    }

    pub fn none() -> RelayTo {
        RelayTo::new(|_, _| false)
    }

    pub fn contains(&self, local: &str, domain: &str) -> bool {
        (self.0)(local, domain)
    }
}

impl fmt::Debug for RelayTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayTo")
    }
}

/// For whom mail is taken.
#[derive(Clone, Debug)]
pub enum Relay {
    /// Only for these (ours, for bounces and complaints). The default, with none (A20).
    Closed { to: RelayTo },
    /// For everybody: `always-allow-relaying`.
    Open,
}

/// How clients may say who they are.
#[derive(Clone, Debug, Default)]
pub struct AuthOptions {
    /// Those who may log in with a password; `None`: nobody.
    pub users: Option<Arc<Users>>,
    /// Whoever has shown the certificate of a user may log in as that.
    pub by_certificate: bool,
    /// PLAIN and LOGIN without TLS too: `allow-unencrypted-plain-auth`.
    pub plain_in_clear: bool,
    /// Nothing of AUTH without TLS: `require-starttls-before-auth`.
    pub after_tls: bool,
}

/// What the log is told of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `log-commands`: commands and replies.
    pub commands: bool,
    /// `log-data`: messages byte by byte.
    pub data: bool,
    /// `log-tls`
    pub tls: bool,
}

/// Settings of a session, shared by all sessions of a source.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Our name in greeting and replies.
    pub host: String,
    /// Product and version in the greeting.
    pub software: String,
    pub relay: Relay,
    /// Whoever may not relay is told to come again: `relay-debug`.
    pub relay_debug: bool,
    /// True while there is no memory for mail: MAIL is answered with 452.
    pub exhausted: Arc<AtomicBool>,
    /// Recipients that are refused: `suppression-lists`.
    pub suppression: Option<Suppression>,
    /// Recipients that are no addresses or suppressed are taken in and bounced: `accept-invalid-recipients`. Counts for
    /// clients who may relay.
    pub accept_invalid: bool,
    /// Stands behind domains of a single label; empty for none.
    pub domain_suffix: String,
    pub smtputf8: bool,
    /// CHUNKING is offered: BDAT.
    pub chunking: bool,
    /// STARTTLS is offered with this, where a session does not begin with TLS.
    pub tls: Option<TlsServerConfig>,
    pub auth: AuthOptions,
    /// Senders are looked into before MAIL is answered.
    pub check_sender: bool,
    /// Mail only after AUTH.
    pub require_auth: bool,
    /// The client may say for whom it speaks: `allow-xclient`.
    pub xclient: bool,
    /// What the session tells for the log.
    pub told: Told,
    pub line_ends: LineEnds,
    /// Bytes of a message; 0 for no limit.
    pub max_message_size: usize,
    pub max_recipients: usize,
    /// Recipients above the limit fail the message at its end: `too-many-rcpts-fails-message`.
    pub too_many_fail: bool,
    /// XACK and XMRG are offered: mail merge.
    pub merge: bool,
    /// Recipients of a merged message.
    pub max_merged: usize,
    /// The session ends where a message would be answered with 4xx: `disconnect-on-transient-error`.
    pub close_on_transient: bool,
    /// `Received` fields in a message.
    pub max_hops: usize,
    /// Bytes of a message's header section.
    pub max_header: usize,
    /// Refused commands before the session is ended.
    pub max_errors: u32,
    /// Commands that serve no message, before the session is ended.
    pub max_junk: u32,
    /// Between commands.
    pub command_timeout: Duration,
    /// Between pieces of a message, and for a message as a whole on top of its bytes at `min_data_rate`.
    pub data_timeout: Duration,
    /// Bytes a second.
    pub min_data_rate: u64,
}

impl ServerOptions {
    /// The defaults (reliability 1.3), under our name `host`.
    pub fn new(host: &str) -> ServerOptions {
        ServerOptions {
            host: host.to_owned(),
            software: concat!("Posthaste v", env!("CARGO_PKG_VERSION")).to_owned(),
            relay: Relay::Closed { to: RelayTo::none() },
            relay_debug: false,
            exhausted: Arc::default(),
            suppression: None,
            accept_invalid: false,
            domain_suffix: String::new(),
            smtputf8: true,
            chunking: true,
            tls: None,
            auth: AuthOptions::default(),
            check_sender: false,
            require_auth: false,
            xclient: false,
            told: Told::default(),
            line_ends: LineEnds::Reject,
            max_message_size: 25_000_000,
            max_recipients: 1000,
            too_many_fail: false,
            merge: false,
            max_merged: 100_000,
            close_on_transient: false,
            max_hops: 50,
            max_header: 102_400,
            max_errors: 20,
            max_junk: 100,
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(300),
            min_data_rate: 500,
        }
    }
}

impl ServerOptions {
    /// How many recipients a message may have.
    pub(super) fn room_for(&self, merged: bool) -> usize {
        if merged { self.max_merged } else { self.max_recipients }
    }
}

/// Longest command line, line end included: RFC 5321 4.5.3.1.4 and the additions of the extensions, with room.
pub const MAX_COMMAND: usize = 2048;
/// Bytes of one overlong command line that are read before the session is ended.
pub const MAX_OVERLONG: usize = 64 * 1024;
/// Bytes kept of what a client sends behind a message that is still being stored.
pub const MAX_WAITING: usize = 64 * 1024;
