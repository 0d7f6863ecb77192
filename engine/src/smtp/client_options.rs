//! How a client connection behaves: what the configuration and the site's history say about it.

use super::tls::TlsClientConfig;
use std::sync::Arc;
use std::time::Duration;

/// Whether STARTTLS (RFC 3207) is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartTls {
    #[default]
    Off,
    /// Where offered, with any certificate. When it fails the site is tried again in clear (S21).
    Opportunistic,
    /// Never in clear; any certificate will do.
    Required,
    /// Never in clear, and only with a certificate valid for the host's name.
    Verified,
}

impl StartTls {
    pub fn is_required(self) -> bool {
        matches!(self, StartTls::Required | StartTls::Verified)
    }
}

/// Settings of a connection. Shared by all connections that agree in them.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Our name in EHLO and HELO.
    pub helo: String,
    pub starttls: StartTls,
    /// Needed unless `starttls` is off.
    pub tls: Option<Arc<TlsClientConfig>>,
    /// Name of the MX host, as TLS is to verify it and to remember sessions by.
    pub host: String,
    pub ignore_pipelining: bool,
    pub ignore_chunking: bool,
    pub ignore_8bitmime: bool,
    pub ignore_dsn: bool,
    /// Send the next MAIL, RCPT and DATA behind the final dot, in the same write (RFC 2920 3.1), once a first transaction
    /// on the connection went through.
    pub pipeline_across_data: bool,
    /// Use BDAT (RFC 3030) instead of DATA where offered.
    pub prefer_chunking: bool,
    pub timeouts: Timeouts,
}

impl ClientOptions {
    /// The defaults, under our name `helo`.
    pub fn new(helo: &str) -> ClientOptions {
        ClientOptions {
            helo: helo.to_owned(),
            starttls: StartTls::Off,
            tls: None,
            host: String::new(),
            ignore_pipelining: false,
            ignore_chunking: false,
            ignore_8bitmime: false,
            ignore_dsn: false,
            pipeline_across_data: true,
            prefer_chunking: false,
            timeouts: Timeouts::default(),
        }
    }
}

/// How long the peer may take. RFC 5321 4.5.3.2 gives the least values for most of them; those are the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub greeting: Duration,
    pub hello: Duration,
    /// For the reply to STARTTLS, and again for the whole handshake.
    pub starttls: Duration,
    pub mail: Duration,
    pub rcpt: Duration,
    pub data: Duration,
    /// Without the peer taking a single byte of what is to be sent (`data-send-timeout`).
    pub block: Duration,
    /// For the reply to the final dot. Less than 10 minutes risks duplicates (S06).
    pub end: Duration,
    pub rset: Duration,
    pub quit: Duration,
    /// A connection without mail is given up after this time (`connection-idle-timeout`).
    pub idle: Duration,
    /// For everything but content, from one finished transaction to the next (S01).
    pub session: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Timeouts {
            greeting: minutes(5),
            hello: minutes(5),
            starttls: Duration::from_secs(60),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            block: minutes(3),
            end: minutes(10),
            rset: minutes(1),
            quit: Duration::from_secs(5),
            idle: minutes(5),
            session: minutes(15),
        }
    }
}
