//! The addresses that HTTP submission is served on: opened at the start, and changed by a reload while requests go on.

use super::Entrance;
use super::keys::Keys;
use crate::daemon::intake::Intake;
use crate::daemon::owners::Stopping;
use crate::io::clock::wall;
use crate::io::http_listener::{Secure, Security, hall, serve};
use crate::io::reactor::Reactor;
use crate::io::smtp_listener::listen;
use crate::io::smtp_places::{Clients, Limits};
use crate::io::storage::Recovered;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use vmta_config::Config;

/// Connections at once, of all clients and of one address.
const MAX_CLIENTS: usize = 2000;
const MAX_PER_CLIENT: usize = 500;

/// An address that clients are accepted on.
struct Listening {
    address: SocketAddr,
    close: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
    requests: Requests,
}

/// Ends when the last connection of an address has.
type Requests = mpsc::Receiver<Infallible>;

#[derive(Default)]
struct State {
    open: Vec<Listening>,
    /// Addresses that are closed and whose connections go on.
    leaving: Vec<Requests>,
}

/// What a new configuration changes: bound, and not yet served.
pub struct Change {
    wanted: Vec<SocketAddr>,
    bound: Vec<(SocketAddr, TcpListener)>,
}

/// See the module's text.
pub struct HttpListeners {
    intake: Arc<Intake>,
    keys: Arc<Keys>,
    clients: Arc<Clients>,
    stop: watch::Receiver<bool>,
    state: Mutex<State>,
}

impl HttpListeners {
    pub fn new(intake: Arc<Intake>, recovered: &Recovered, stop: watch::Receiver<bool>) -> HttpListeners {
        let now = wall().as_secs().cast_unsigned();
        let keys = Arc::new(Keys::new(intake.storage.clone(), recovered, now));
        let limits = Limits { total: MAX_CLIENTS, ..Limits::default() };
        let clients = Clients::new(limits, MAX_PER_CLIENT);
        HttpListeners { intake, keys, clients, stop, state: Mutex::default() }
    }

    /// Binds what `config` listens on and is not open yet; all of it or nothing.
    pub async fn bind(&self, config: &Config) -> io::Result<Change> {
        let state = self.state.lock().await;
        let mut bound = Vec::new();
        for listener in config.api_listeners() {
            let address = listener.address;
            if state.open.iter().any(|open| open.address == address) {
                continue;
            }
            let listening = listen(address).map_err(|e| {
                io::Error::new(e.kind(), format!("{}: cannot listen on {address}: {e}", listener.origin))
            });
            bound.push((address, listening?));
        }
        let wanted = config.api_listeners().iter().map(|listener| listener.address).collect();
        Ok(Change { wanted, bound })
    }

    /// Closes what is no longer wanted, whose requests go on, and serves what is new.
    pub async fn apply(&self, change: Change) -> Result<(), Stopping> {
        let mut state = self.state.lock().await;
        let gone = |open: &mut Listening| !change.wanted.contains(&open.address);
        let leaving: Vec<Listening> = state.open.extract_if(.., gone).collect();
        for open in leaving {
            // Errors: the task has ended already, because the engine stops.
            let _ = open.close.send(());
            let _ = open.accepting.await;
            state.leaving.push(open.requests);
        }
        for (address, listener) in change.bound {
            let listening = self.serve(address, listener).await?;
            state.open.push(listening);
        }
        state.leaving.retain(|requests| !requests.is_closed());
        Ok(())
    }

    async fn serve(&self, address: SocketAddr, listener: TcpListener) -> Result<Listening, Stopping> {
        let (here, requests) = mpsc::channel(1);
        let mut halls = Vec::new();
        let begin = || {
            let (hall_of, called) = mpsc::unbounded_channel();
            halls.push(hall_of);
            let (intake, keys) = (self.intake.clone(), self.keys.clone());
            let (stop, here) = (self.stop.clone(), here.clone());
            move |reactor: &Rc<Reactor>| {
                let entrance =
                    Entrance { intake, reactor: reactor.clone(), keys, settings: RefCell::default() };
                tokio::task::spawn_local(async move {
                    hall(called, entrance, stop).await;
                    drop(here);
                });
            }
        };
        self.intake.owners.begin(begin).await?;
        let (close, closed) = oneshot::channel();
        let secure = self.secure(address);
        let serving = serve(listener, self.clients.clone(), secure, halls, closed, self.stop.clone());
        Ok(Listening { address, close, accepting: tokio::spawn(serving), requests })
    }

    /// How connections to `address` are secured by the configuration that is in effect when they come.
    fn secure(&self, address: SocketAddr) -> Secure {
        let configured = self.intake.configured.clone();
        Arc::new(move || {
            let configured = configured.load();
            let config = &configured.config;
            let listener = config.api_listeners().iter().find(|listener| listener.address == address)?;
            let tls = configured.server_tls.of_http(&listener.settings);
            Some(Security { tls, logged: config.api().log_tls })
        })
    }

    /// Waits, after the stop, until every connection has ended.
    pub async fn ended(&self) {
        let mut state = self.state.lock().await;
        let State { open, leaving } = std::mem::take(&mut *state);
        for mut requests in open.into_iter().map(|open| open.requests).chain(leaving) {
            while requests.recv().await.is_some() {}
        }
    }
}
