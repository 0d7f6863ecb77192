//! The addresses that SMTP is served on: opened at the start, and changed by a reload while sessions go on.

use super::intake::Intake;
use super::owners::Stopping;
use super::profiles::local_addresses;
use super::submission::{self, Door, Opened};
use crate::io::smtp_listener::{listen, serve};
use crate::io::smtp_places::Clients;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use vmta_config::{Config, ListenerSettings};

/// An address that the configuration listens on.
#[derive(Clone, Debug)]
struct Wanted {
    address: SocketAddr,
    settings: ListenerSettings,
    /// Where it is configured; none for the address of a configuration that names none, which the engine can do without.
    origin: Option<String>,
}

/// An address that clients are accepted on.
struct Listening {
    wanted: Wanted,
    /// What was bound: another port where any free one was asked for.
    bound: SocketAddr,
    door: Arc<Door>,
    close: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
    sessions: Sessions,
}

/// Ends when the last session of an address has.
type Sessions = mpsc::Receiver<Infallible>;

#[derive(Default)]
struct State {
    open: Vec<Listening>,
    /// Addresses that are closed and whose sessions go on.
    leaving: Vec<Sessions>,
}

/// What a new configuration changes: bound, and not yet served.
pub struct Change {
    wanted: Vec<Wanted>,
    bound: Vec<(Wanted, TcpListener)>,
}

/// See the module's text.
pub struct Listeners {
    intake: Arc<Intake>,
    clients: Arc<Clients>,
    stop: watch::Receiver<bool>,
    state: Mutex<State>,
}

impl Listeners {
    pub fn new(intake: Arc<Intake>, clients: Arc<Clients>, stop: watch::Receiver<bool>) -> Listeners {
        Listeners { intake, clients, stop, state: Mutex::default() }
    }

    /// What is bound.
    pub async fn addresses(&self) -> Vec<SocketAddr> {
        self.state.lock().await.open.iter().map(|open| open.bound).collect()
    }

    /// Binds what `config` listens on and is not open yet; all of it or nothing. An address that is in the way of a new one
    /// and no longer wanted is closed for it, and opened again when that was of no use.
    pub async fn bind(&self, config: &Config) -> io::Result<Change> {
        let wanted = wanted(config)?;
        let mut state = self.state.lock().await;
        let mut bound = Vec::new();
        let mut closed = Vec::new();
        for new in &wanted {
            if state.open.iter().any(|open| open.wanted.address == new.address) {
                continue;
            }
            let mut listener = listen(new.address);
            if listener.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::AddrInUse) {
                let in_the_way = |open: &mut Listening| {
                    open.wanted.address.port() == new.address.port()
                        && wanted.iter().all(|w| w.address != open.wanted.address)
                };
                let leaving: Vec<Listening> = state.open.extract_if(.., in_the_way).collect();
                for open in leaving {
                    closed.push(open.wanted.clone());
                    close(&mut state, open).await;
                }
                listener = listen(new.address);
            }
            match (listener, &new.origin) {
                (Ok(listener), _) => bound.push((new.clone(), listener)),
                (Err(e), None) => {
                    let address = new.address;
                    tracing::warn!(
                        "no smtp-listener is given, and the default one, {address}, is not to be had: {e}"
                    );
                }
                (Err(e), Some(origin)) => {
                    let why = format!("{origin}: cannot listen on {}: {e}", new.address);
                    let e = io::Error::new(e.kind(), why);
                    drop(bound);
                    self.reopen(&mut state, closed).await;
                    return Err(e);
                }
            }
        }
        Ok(Change { wanted, bound })
    }

    /// What was closed for a change that did not come about.
    async fn reopen(&self, state: &mut State, closed: Vec<Wanted>) {
        for wanted in closed {
            let address = wanted.address;
            match listen(address) {
                // Stopping: then nobody misses it.
                Ok(listener) => drop(self.serve(state, wanted, listener).await),
                Err(e) => tracing::error!("{address}: cannot be listened on again: {e}"),
            }
        }
    }

    /// Closes what is no longer wanted, whose sessions go on, and serves what is new.
    pub async fn apply(&self, change: Change) -> Result<(), Stopping> {
        let mut state = self.state.lock().await;
        let Change { wanted, bound } = change;
        let gone = |open: &mut Listening| wanted.iter().all(|w| w.address != open.wanted.address);
        let leaving: Vec<Listening> = state.open.extract_if(.., gone).collect();
        for open in leaving {
            close(&mut state, open).await;
        }
        for open in &mut state.open {
            if let Some(new) = wanted.iter().find(|w| w.address == open.wanted.address) {
                open.door.set_listener(new.settings.clone());
                open.wanted = new.clone();
            }
        }
        for (wanted, listener) in bound {
            self.serve(&mut state, wanted, listener).await?;
        }
        state.leaving.retain(|sessions| !sessions.is_closed());
        Ok(())
    }

    async fn serve(&self, state: &mut State, wanted: Wanted, listener: TcpListener) -> Result<(), Stopping> {
        let bound = listener.local_addr().unwrap_or(wanted.address);
        let Opened { door, halls, ended } =
            submission::open(&self.intake, &wanted.settings, &self.stop).await?;
        let receive = {
            let door = door.clone();
            Arc::new(move |peer: SocketAddr, _: SocketAddr| door.receive(peer, ""))
        };
        let (close, closed) = oneshot::channel();
        let serving = serve(listener, receive, self.clients.clone(), halls, closed, self.stop.clone());
        let accepting = tokio::spawn(serving);
        state.open.push(Listening { wanted, bound, door, close, accepting, sessions: ended });
        Ok(())
    }

    /// Waits, after the stop, until every session has ended.
    pub async fn ended(&self) {
        let mut state = self.state.lock().await;
        let State { open, leaving } = std::mem::take(&mut *state);
        for mut sessions in open.into_iter().map(|open| open.sessions).chain(leaving) {
            while sessions.recv().await.is_some() {}
        }
    }
}

/// Accepts no more clients on an address. Those who are there stay.
async fn close(state: &mut State, open: Listening) {
    // Errors: the task has ended already, because the engine stops.
    let _ = open.close.send(());
    let _ = open.accepting.await;
    state.leaving.push(open.sessions);
}

/// The addresses a configuration listens on. Reference 2.1: one listener on 0.0.0.0:25 if none is given.
fn wanted(config: &Config) -> io::Result<Vec<Wanted>> {
    let mut all: Vec<Wanted> = Vec::new();
    for listener in config.listeners() {
        let addresses = match listener.address() {
            Some(address) => vec![address],
            None => {
                let local = local_addresses()?.into_iter().filter(|ip| listener.network.contains(ip));
                local.map(|ip| SocketAddr::new(ip, listener.port)).collect()
            }
        };
        for address in addresses {
            let (settings, origin) = (listener.settings.clone(), Some(listener.origin.to_string()));
            all.push(Wanted { address, settings, origin });
        }
    }
    if config.listeners().is_empty() {
        let address = SocketAddr::from(([0, 0, 0, 0], 25));
        all.push(Wanted { address, settings: ListenerSettings::default(), origin: None });
    }
    Ok(all)
}
