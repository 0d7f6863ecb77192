//! What goes into a client connection (transactions) and what comes out of it (events).

use super::extensions::Extensions;
use super::reply::{Reply, ReplyError};
use super::tls::{TlsError, TlsSeen};
use smallvec::SmallVec;
use thiserror::Error;

/// One message for some recipients: MAIL, RCPT …, content.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// The caller's name for it; every event about it carries the token.
    pub token: u64,
    /// Without angle brackets; empty for the null sender.
    pub sender: String,
    /// Without angle brackets, 1 to 65,535 of them.
    pub recipients: SmallVec<[String; 1]>,
    /// Bytes of the message with CR LF line ends, or the best estimate.
    pub size: u32,
    /// The content has bytes above 127.
    pub eight_bit: bool,
    /// The headers have UTF-8 beyond ASCII (RFC 6531).
    pub smtputf8: bool,
    pub dsn: Option<Box<Dsn>>,
}

/// Parameters of delivery status notifications (RFC 3461), sent where DSN is offered. Values are xtext where the RFC
/// says so; empty ones are left out.
#[derive(Clone, Debug, Default)]
pub struct Dsn {
    pub ret: String,
    pub envid: String,
    /// NOTIFY and ORCPT of each recipient, in the order of the recipients.
    pub recipients: Vec<(String, String)>,
}

/// How far a connection or transaction had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Greeting,
    Hello,
    StartTls,
    Mail,
    Rcpt,
    Data,
    /// Content was on its way.
    Content,
    /// The final dot (or the last chunk) was sent.
    Final,
    Rset,
    /// No command was open.
    Idle,
    Quit,
}

/// Why something cannot be sent over this connection at all; the remote server was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum LocalFailure {
    /// S17.
    #[error("message has 8-bit content and the host does not offer 8BITMIME")]
    NoEightBit,
    /// S18.
    #[error("address or headers need SMTPUTF8 and the host does not offer it")]
    NoSmtpUtf8,
    /// S20.
    #[error("message is larger than the host accepts (SIZE)")]
    TooLarge,
    /// A31: the writer's own check; addresses are validated long before.
    #[error("sender address cannot be sent")]
    BadSender,
    #[error("recipient address cannot be sent")]
    BadRecipient,
}

/// How the peer broke the protocol (S11-S13, S23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    #[error(transparent)]
    Reply(#[from] ReplyError),
    #[error("reply {0} to no command")]
    Unsolicited(u16),
    #[error("reply {0} to a command before it was sent")]
    Early(u16),
    #[error("reply {0} is none to this command")]
    Unexpected(u16),
    #[error("bytes behind the reply to STARTTLS")]
    Injection,
}

/// Why a connection came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// A refusal of the connection: at greeting or HELO, or 421 anywhere.
    #[error("{}", .0.text())]
    Reply(Reply),
    /// Closed, reset or broken; in the shell's words.
    #[error("{0}")]
    Lost(Box<str>),
    #[error("no reply in time")]
    Timeout,
    #[error("host takes no bytes")]
    Blocked,
    #[error("session took too long")]
    SessionDeadline,
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS is required and the host does not offer it.
    #[error("host does not offer STARTTLS, which is required")]
    NoStartTls,
    /// The certificate has to be verified and is not valid for the host.
    #[error("certificate is not valid for the host")]
    Unverified,
    /// Closed from our side by [`super::client::Client::abort`].
    #[error("connection given up")]
    Aborted,
}

/// What became of one recipient before the end of its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientFate {
    /// RCPT was refused.
    Refused(Reply),
    /// Too many recipients for one transaction (S09, S10): to be sent in a following one, at once and unpenalised.
    Postponed(Reply),
    Local(LocalFailure),
}

/// How a transaction ended, for all its recipients that have had no [`Event::Recipient`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The server's word at [`Stage::Mail`], [`Stage::Data`] or [`Stage::Final`]. A 2xx at the last is delivery.
    Replied { stage: Stage, reply: Reply },
    /// Refused here.
    Local(LocalFailure),
    /// Every recipient had its event; no content was sent.
    AllRefused,
    /// The connection ended before all content was sent.
    Broken { stage: Stage, failure: Failure },
    /// All content was sent, and no reply came (R11, S05).
    InDoubt(Failure),
    /// Never really begun on this connection: to be handed back, unpenalised.
    Untried,
}

/// What the connection stopped using, because the peer cannot cope. Worth remembering for the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retreat {
    /// No commands behind the final dot any more.
    AcrossData,
    /// PIPELINING is offered and does not work (S16).
    Pipelining,
    /// CHUNKING is offered and does not work (S19).
    Chunking,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The session is open.
    Ready {
        extensions: Extensions,
        tls: Option<TlsSeen>,
    },
    /// A transaction can be started: now, or behind the message whose content is about to be asked for.
    WantTransaction,
    /// Recipients were accepted: the content is wanted, by `body`.
    NeedBody {
        token: u64,
    },
    Recipient {
        token: u64,
        /// Position among the transaction's recipients.
        index: u16,
        fate: RecipientFate,
    },
    /// The last event about a transaction.
    Finished {
        token: u64,
        end: End,
    },
    Retreat(Retreat),
    /// The connection failed; `Closed` follows.
    Failed {
        stage: Stage,
        failure: Failure,
        /// TLS failed where it is opportunistic: try the host again, once, with TLS off (S21).
        retry_in_clear: bool,
    },
    /// What is left of the output may be sent; then the socket is to be closed.
    Closed,
}
