//! A server on the way from the source to the sink.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::engine::Engine;
use crate::ground::Ground;
use crate::measure::BackEnd;
use crate::mta::{Kind, Mta, Role};

#[derive(Debug)]
pub(in crate::measure) enum Server {
    Engine(Ground, Engine),
    Peer(Mta),
}

impl Server {
    pub(in crate::measure) fn engine(
        back_end: BackEnd,
        to: SocketAddr,
        launcher: &[String],
    ) -> io::Result<Server> {
        let mut ground = Ground::new()?;
        ground.runtime = back_end.name();
        ground.route("*", to, "  max-smtp-out 50");
        let mut words = launcher.iter();
        let mut command = Command::new(words.next().map_or("env", String::as_str));
        command.args(words);
        let engine = ground.start_through(command)?;
        Ok(Server::Engine(ground, engine))
    }

    pub(in crate::measure) fn peer(
        kind: Kind,
        to: SocketAddr,
        launcher: &[String],
    ) -> io::Result<Option<Server>> {
        Ok(Mta::start_through(kind, Role::Relay(to), launcher)?.map(Server::Peer))
    }

    pub(in crate::measure) fn addr(&self) -> SocketAddr {
        match self {
            Server::Engine(ground, _) => ground.listen,
            Server::Peer(mta) => mta.addr,
        }
    }

    /// Where its queue lies.
    pub(super) fn directory(&self) -> PathBuf {
        match self {
            Server::Engine(ground, _) => ground.path("spool"),
            Server::Peer(mta) => mta.directory().to_owned(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Server::Engine(_, engine) => {
                engine.status().is_ok_and(|status| status.smtp_queues.rcpts + status.other_queues.rcpts == 0)
            }
            Server::Peer(mta) => mta.is_empty(),
        }
    }

    /// Messages for each sync, by the server's own count, of `messages` since its start; only the engine counts.
    pub(super) fn syncs(&self, messages: u64) -> Option<f64> {
        match self {
            Server::Engine(_, engine) => {
                Some(messages as f64 / engine.status().ok()?.spool.syncs.max(1) as f64)
            }
            Server::Peer(_) => None,
        }
    }

    pub(super) fn log(&self) -> String {
        match self {
            Server::Engine(_, engine) => engine.log_tail(),
            Server::Peer(mta) => mta.log(),
        }
    }
}
