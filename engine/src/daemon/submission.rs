//! SMTP submission: which clients are served and how, by their `<source>`, and where their messages go.

use super::intake::{Handed, Intake, Refused};
use super::owners::Stopping;
use crate::io::reactor::Reactor;
use crate::io::smtp_listener::{Arrival, Caller, Clients, Reception, Refusal, Submit, hall, serve};
use crate::smtp::server::{Relay, RelayDomains, ServerOptions};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use vmta_config::{SmtpListener, SourceSettings};

use super::profiles::{Configured, local_addresses};

/// Sessions of one client address (reliability 1.3).
const MAX_PER_CLIENT: usize = 50;
/// Bytes of a message where the configuration sets no limit.
const MAX_MESSAGE: usize = 25_000_000;
/// Clients whose settings are remembered.
const REMEMBERED: usize = 4096;

/// The settings of one client, merged once.
#[derive(Debug)]
struct Client {
    settings: SourceSettings,
    options: Arc<ServerOptions>,
}

/// Settings of clients, and the configuration they all come from.
type Known = (Arc<Configured>, HashMap<IpAddr, Arc<Client>>);

/// Messages of one listener.
struct Door {
    intake: Arc<Intake>,
    configured: Arc<ArcSwap<Configured>>,
    source: Option<String>,
    known: Mutex<Known>,
}

impl Door {
    fn client(&self, peer: SocketAddr) -> Arc<Client> {
        let configured = self.configured.load_full();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // One configuration is kept, not one a client: reloads must not pile them up (F40).
        if !Arc::ptr_eq(&known.0, &configured) || known.1.len() >= REMEMBERED {
            *known = (configured.clone(), HashMap::new());
        }
        if let Some(client) = known.1.get(&peer.ip()) {
            return client.clone();
        }
        let settings = configured.config.source_for(peer.ip(), self.source.as_deref());
        let options = Arc::new(options(&configured, &settings));
        let client = Arc::new(Client { settings, options });
        known.1.insert(peer.ip(), client.clone());
        client
    }
}

fn options(configured: &Arc<Configured>, settings: &SourceSettings) -> ServerOptions {
    let relay = if settings.require_auth {
        // Nobody can authenticate yet: closed to everybody rather than open by mistake.
        Relay::Closed { to: RelayDomains::none() }
    } else if settings.always_allow_relaying {
        Relay::Open
    } else {
        let configured = configured.clone();
        Relay::Closed { to: RelayDomains::new(move |domain| configured.config.relays(domain)) }
    };
    let defaults = ServerOptions::new(&configured.host);
    ServerOptions {
        relay,
        domain_suffix: configured.domain_suffix().to_owned(),
        smtputf8: settings.allow_smtputf8,
        max_message_size: settings
            .max_message_size
            .map_or(MAX_MESSAGE, |n| usize::try_from(n).unwrap_or(MAX_MESSAGE)),
        max_recipients: settings.max_rcpt_per_message.map_or(defaults.max_recipients, |n| n as usize),
        max_hops: settings.max_message_hops as usize,
        command_timeout: settings.smtp_command_timeout,
        data_timeout: settings.smtp_data_timeout,
        ..defaults
    }
}

/// The way from a listener's clients on one reactor's thread to the spool.
struct Entrance {
    door: Arc<Door>,
    reactor: Rc<Reactor>,
}

impl Submit for Entrance {
    async fn submit(&self, arrival: Arrival) -> Result<String, Refusal> {
        let client = self.door.client(arrival.peer);
        let envelope = &arrival.envelope;
        let handed = Handed {
            sender: &envelope.sender,
            recipients: &envelope.recipients,
            message: &arrival.message,
            smtputf8: envelope.smtputf8,
            source_type: "smtp",
            client_name: &envelope.helo,
            client_ip: &arrival.peer_ip,
            local_ip: &arrival.local_ip,
            ..Handed::default()
        };
        let taken = self.door.intake.take(&self.reactor, &handed, &client.settings).await;
        taken.map_err(|e| refusal(&e))
    }
}

/// The reply that tells a client why its message is not taken.
fn refusal(refused: &Refused) -> Refusal {
    let (code, status) = match refused {
        Refused::NoSuchVmta(_) => (550, "5.5.0"),
        Refused::Message(_) => (550, "5.6.0"),
        Refused::Header { .. } => (550, "5.6.0"),
        Refused::Recipients(_) => (550, "5.1.3"),
        Refused::Pool(_) => (451, "4.3.5"),
        Refused::Spool(e) if e.is_transient() => (452, "4.3.1"),
        Refused::Spool(_) => (451, "4.3.0"),
        Refused::Stopping => (421, "4.3.2"),
    };
    Refusal { code, text: format!("{status} {refused}") }
}

/// A listener whose address is bound.
pub struct Bound {
    listeners: Vec<TcpListener>,
    source: Option<String>,
}

impl Bound {
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.iter().filter_map(|l| l.local_addr().ok())
    }
}

/// Binds what the configuration listens on; all of it or nothing.
pub async fn bind(listener: &SmtpListener) -> io::Result<Bound> {
    let addresses = match listener.address() {
        Some(address) => vec![address],
        None => local_addresses()?
            .into_iter()
            .filter(|ip| listener.network.contains(ip))
            .map(|ip| SocketAddr::new(ip, listener.port))
            .collect(),
    };
    let mut listeners = Vec::new();
    for address in addresses {
        let bound = TcpListener::bind(address).await;
        listeners.push(bound.map_err(|e| {
            io::Error::new(e.kind(), format!("{}: cannot listen on {address}: {e}", listener.origin))
        })?);
    }
    Ok(Bound { listeners, source: listener.source.clone() })
}

/// The listener of a configuration that names none.
pub async fn bind_default() -> io::Result<Bound> {
    let address = SocketAddr::from(([0, 0, 0, 0], 25));
    let listener =
        TcpListener::bind(address).await.map_err(|e| io::Error::new(e.kind(), format!("{address}: {e}")))?;
    Ok(Bound { listeners: vec![listener], source: None })
}

/// Serves the bound addresses until `stop` is true, their clients spread over the reactors. The tasks end when every
/// session has.
pub async fn start(
    bound: Bound,
    intake: &Arc<Intake>,
    clients: &Arc<Clients>,
    stop: &watch::Receiver<bool>,
) -> Result<Vec<tokio::task::JoinHandle<()>>, Stopping> {
    let door = Arc::new(Door {
        intake: intake.clone(),
        configured: intake.configured.clone(),
        source: bound.source,
        known: Mutex::new((intake.configured.load_full(), HashMap::new())),
    });
    let receive = {
        let door = door.clone();
        Arc::new(move |peer: SocketAddr, _: SocketAddr| {
            let client = door.client(peer);
            if client.settings.smtp_service {
                Reception::Serve(client.options.clone())
            } else {
                Reception::Refuse(client.options.clone())
            }
        })
    };
    let mut serving = Vec::new();
    for listener in bound.listeners {
        let halls = halls(&door, stop).await?;
        serving.push(tokio::spawn(serve(listener, receive.clone(), clients.clone(), halls, stop.clone())));
    }
    Ok(serving)
}

/// A hall on each reactor's thread.
async fn halls(
    door: &Arc<Door>,
    stop: &watch::Receiver<bool>,
) -> Result<Vec<mpsc::UnboundedSender<Caller>>, Stopping> {
    let mut halls = Vec::new();
    let begin = || {
        let (hall_of, called) = mpsc::unbounded_channel();
        halls.push(hall_of);
        let (door, stop) = (door.clone(), stop.clone());
        move |reactor: &Rc<Reactor>| {
            let (entrance, clock) = (Entrance { door, reactor: reactor.clone() }, *reactor.clock());
            tokio::task::spawn_local(hall(called, entrance, clock, stop));
        }
    };
    door.intake.owners.begin(begin).await?;
    Ok(halls)
}

/// Room for sessions, over all listeners.
pub fn clients(configured: &Configured) -> Arc<Clients> {
    Clients::new(configured.config.global().total_max_smtp_in as usize, MAX_PER_CLIENT)
}
