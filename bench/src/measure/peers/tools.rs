//! Where the mail comes from and where it goes.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::site::SiteHandle;
use crate::smtp_tools::{self, Running, Sent};
use crate::source::{self, Load, SourceConfig};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tools {
    /// `smtp-source` and `smtp-sink`
    Postfix,
    /// The source and the sink of this program, which cost less
    Own,
}

/// Ended when dropped.
pub(super) struct Sink {
    pub(super) addr: SocketAddr,
    _running: (Option<Running>, Option<SiteHandle>),
}

impl Tools {
    pub const BOTH: [Tools; 2] = [Tools::Postfix, Tools::Own];

    pub(super) fn told(self) -> &'static str {
        match self {
            Tools::Postfix => "smtp-source to smtp-sink",
            Tools::Own => "our source to our sink",
        }
    }

    pub(super) fn sink(self) -> io::Result<Sink> {
        match self {
            Tools::Postfix => {
                smtp_tools::sink().map(|(running, addr)| Sink { addr, _running: (Some(running), None) })
            }
            Tools::Own => {
                crate::measure::sink().map(|(site, addr)| Sink { addr, _running: (None, Some(site)) })
            }
        }
    }

    /// Sends messages and returns after the last of them is accepted.
    pub(super) fn send(
        self,
        messages: u64,
        sessions: u32,
        size: u32,
        to: SocketAddr,
    ) -> io::Result<Duration> {
        match self {
            Tools::Postfix => smtp_tools::source(Sent { messages, sessions, size }, to),
            Tools::Own => {
                let begun = Instant::now();
                let load = Load {
                    messages,
                    size: size as usize,
                    domains: vec!["sink.example".into()],
                    ..Load::default()
                };
                let report = source::start(SourceConfig { sessions, ..SourceConfig::new(to, load) })?.join();
                match report.acked.len() as u64 {
                    all if all == messages => Ok(begun.elapsed()),
                    some => Err(io::Error::other(format!("{some} of {messages} messages were accepted"))),
                }
            }
        }
    }
}
