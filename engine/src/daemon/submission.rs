//! SMTP submission: which clients are served and how, by their `<source>`, and where their messages go.

use super::intake::{Handed, Intake, Refused};
use super::owners::Stopping;
use crate::io::reactor::Reactor;
use crate::io::smtp_listener::{Arrival, Caller, Clients, Reception, Refusal, Submit, hall};
use crate::smtp::server::{Relay, RelayDomains, ServerOptions};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};
use vmta_config::SourceSettings;

use super::profiles::Configured;

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
pub struct Door {
    intake: Arc<Intake>,
    configured: Arc<ArcSwap<Configured>>,
    /// The named source that applies to its clients.
    source: ArcSwap<Option<String>>,
    known: Mutex<Known>,
}

impl Door {
    /// Another named source. Clients that are known are looked at again with the next configuration.
    pub fn set_source(&self, source: Option<String>) {
        self.source.store(Arc::new(source));
    }

    /// How a client is received that has just come.
    pub fn receive(&self, peer: SocketAddr) -> Reception {
        let client = self.client(peer);
        if client.settings.smtp_service {
            Reception::Serve(client.options.clone())
        } else {
            Reception::Refuse(client.options.clone())
        }
    }

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
        let settings = configured.config.source_for(peer.ip(), (**self.source.load()).as_deref());
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

/// A door that is open on every reactor's thread.
pub struct Opened {
    pub door: Arc<Door>,
    pub halls: Vec<mpsc::UnboundedSender<Caller>>,
    /// Ends when the last session has.
    pub ended: mpsc::Receiver<Infallible>,
}

/// Opens a door for clients to be handed to, until `stop` is true.
pub async fn open(
    intake: &Arc<Intake>,
    source: Option<String>,
    stop: &watch::Receiver<bool>,
) -> Result<Opened, Stopping> {
    let door = Arc::new(Door {
        intake: intake.clone(),
        configured: intake.configured.clone(),
        source: ArcSwap::from_pointee(source),
        known: Mutex::new((intake.configured.load_full(), HashMap::new())),
    });
    let (here, ended) = mpsc::channel(1);
    let mut halls = Vec::new();
    let begin = || {
        let (hall_of, called) = mpsc::unbounded_channel();
        halls.push(hall_of);
        let (door, stop, here) = (door.clone(), stop.clone(), here.clone());
        move |reactor: &Rc<Reactor>| {
            let (entrance, clock) = (Entrance { door, reactor: reactor.clone() }, *reactor.clock());
            tokio::task::spawn_local(async move {
                hall(called, entrance, clock, stop).await;
                drop(here);
            });
        }
    };
    intake.owners.begin(begin).await?;
    Ok(Opened { door, halls, ended })
}

/// Room for sessions, over all listeners.
pub fn clients(configured: &Configured) -> Arc<Clients> {
    Clients::new(configured.config.global().total_max_smtp_in as usize, MAX_PER_CLIENT)
}
