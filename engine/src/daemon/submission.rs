//! SMTP submission: which clients are served and how, by their `<source>`, and where their messages go.

use super::authenticity::{self, Sender};
use super::handed::Handed;
use super::intake::{Intake, Refused};
use super::owners::Stopping;
use super::system_accounts::Unavailable;
use super::{reception, suppressed};
use crate::io::reactor::Reactor;
use crate::io::smtp_listener::{Arrival, Caller, Login, Reception, Refusal, Submit, hall};
use crate::smtp::certificates::Certificates;
use crate::smtp::password::Password;
use crate::smtp::server::{AuthOptions, Relay, RelayTo, ServerOptions};
use crate::smtp::tls::TlsServerConfig;
use crate::spool::SpoolError;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};
use vmta_config::{ListenerSettings, SourceSettings};

use super::profiles::Configured;

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
struct Known {
    configured: Arc<Configured>,
    strangers: HashMap<IpAddr, Arc<Client>>,
    /// Those who have logged in.
    users: HashMap<(IpAddr, String), Arc<Client>>,
}

impl Known {
    fn nobody(configured: Arc<Configured>) -> Known {
        Known { configured, strangers: HashMap::new(), users: HashMap::new() }
    }
}

/// Messages of one listener.
pub struct Door {
    intake: Arc<Intake>,
    configured: Arc<ArcSwap<Configured>>,
    listener: ArcSwap<ListenerSettings>,
    known: Mutex<Known>,
}

impl Door {
    /// Another configuration of the listener; clients that are known are looked at again.
    pub fn set_listener(&self, listener: ListenerSettings) {
        self.listener.store(Arc::new(listener));
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
            Known::nobody(self.configured.load_full());
    }

    /// How a client is received that has just come, or that somebody else speaks for; `user` is empty for nobody.
    pub fn receive(&self, peer: SocketAddr, user: &str) -> Reception {
        let client = self.client(peer, user);
        let configured = self.configured.load();
        reception::reception(&client.settings, &client.options, &self.listener.load(), &configured)
    }

    /// A client's settings; `user` is empty until it has logged in.
    fn client(&self, peer: SocketAddr, user: &str) -> Arc<Client> {
        let configured = self.configured.load_full();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // One configuration is kept, not one a client: reloads must not pile them up (F40).
        let remembered = known.strangers.len() + known.users.len();
        if !Arc::ptr_eq(&known.configured, &configured) || remembered >= REMEMBERED {
            *known = Known::nobody(configured.clone());
        }
        let make = || Arc::new(self.look_up(&configured, peer.ip(), user));
        match user {
            "" => known.strangers.entry(peer.ip()).or_insert_with(make).clone(),
            _ => known.users.entry((peer.ip(), user.to_owned())).or_insert_with(make).clone(),
        }
    }

    fn look_up(&self, configured: &Arc<Configured>, peer: IpAddr, user: &str) -> Client {
        let listener = self.listener.load();
        let user = Some(user).filter(|user| !user.is_empty());
        let settings = configured.config.source_for(peer, listener.source.as_deref(), user);
        let suppression = suppressed::current(&self.configured, &settings);
        let options = Arc::new(ServerOptions {
            suppression,
            exhausted: self.intake.memory.flag(),
            ..options(configured, &settings, &listener)
        });
        Client { settings, options }
    }
}

fn options(
    configured: &Arc<Configured>,
    settings: &SourceSettings,
    listener: &ListenerSettings,
) -> ServerOptions {
    let relay = if settings.always_allow_relaying {
        Relay::Open
    } else {
        let configured = configured.clone();
        Relay::Closed {
            to: RelayTo::new(move |local, domain| {
                configured.config.relays_address(local, domain) || configured.is_postmaster(local, domain)
            }),
        }
    };
    let tls = (settings.allow_starttls || listener.immediate_tls)
        .then(|| configured.server_tls.of(listener, &configured.config))
        .flatten();
    let certificates = tls.as_ref().and_then(TlsServerConfig::certificates);
    let defaults = ServerOptions::new(&configured.host);
    ServerOptions {
        relay,
        domain_suffix: match settings.auto_qualify_domain {
            true => configured.domain_suffix().to_owned(),
            false => String::new(),
        },
        relay_debug: configured.config.global().relay_debug,
        accept_invalid: settings.accept_invalid_recipients,
        smtputf8: settings.allow_smtputf8,
        chunking: settings.allow_chunking,
        auth: AuthOptions {
            users: configured.users.clone().filter(|_| settings.allow_auth),
            by_certificate: settings.allow_auth && certificates.is_some_and(Certificates::log_in),
            plain_in_clear: settings.allow_unencrypted_plain_auth,
            after_tls: settings.require_starttls_before_auth,
        },
        tls,
        check_sender: authenticity::checks_sender(settings),
        require_auth: settings.require_auth,
        xclient: settings.allow_xclient,
        told: reception::told(settings),
        max_message_size: settings
            .max_message_size
            .map_or(MAX_MESSAGE, |n| usize::try_from(n).unwrap_or(MAX_MESSAGE)),
        max_recipients: settings.max_rcpt_per_message.map_or(defaults.max_recipients, |n| n as usize),
        merge: settings.allow_mailmerge || settings.always_allow_api_submission,
        max_merged: settings.max_rcpt_per_message.map_or(defaults.max_merged, |n| n as usize),
        too_many_fail: settings.too_many_rcpts_fails_message,
        close_on_transient: settings.disconnect_on_transient_error,
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
    fn receive(&self, peer: SocketAddr, user: &str) -> Reception {
        self.door.receive(peer, user)
    }

    fn login(&self, peer: SocketAddr, user: &str, right: bool) -> Login {
        let failures = &self.door.intake.login_failures;
        let rate = self.door.client(peer, "").settings.smtp_max_auth_failure_rate;
        let now = self.reactor.clock().now().mono;
        if failures.is_locked(peer.ip(), rate, now) {
            return Login::Locked;
        }
        if !right {
            failures.note(peer.ip(), rate, now);
            tracing::warn!(client = %peer.ip(), user, "login failed");
            return Login::Wrong;
        }
        Login::Served(self.door.client(peer, user).options.clone())
    }

    async fn password(&self, peer: SocketAddr, user: &str, password: Password) -> Login {
        let client = self.door.client(peer, "");
        let (now, rate) = (self.reactor.clock().now().mono, client.settings.smtp_max_auth_failure_rate);
        if self.door.intake.login_failures.is_locked(peer.ip(), rate, now) {
            return Login::Locked;
        }
        let (intake, users) = (self.door.intake.clone(), client.options.auth.users.clone());
        let name = user.to_owned();
        let ask = async move {
            let Some((account, his)) = users.as_ref().and_then(|users| users.account(&name)) else {
                return Ok(false);
            };
            Ok(intake.accounts.knows(account, &password).await? && his)
        };
        match self.reactor.control().spawn(ask).await {
            Ok(Ok(right)) => self.login(peer, user, right),
            Ok(Err(why)) => {
                let why: Unavailable = why;
                tracing::error!(client = %peer.ip(), user, "login could not be checked: {why}");
                Login::Unavailable
            }
            Err(_) => Login::Unavailable,
        }
    }

    async fn sender(
        &self,
        peer: SocketAddr,
        user: &str,
        sender: String,
        helo: String,
    ) -> Result<String, Refusal> {
        let client = self.door.client(peer, user);
        let (resolver, host) = (self.reactor.resolver(), self.door.configured.load().host.clone());
        let from = Sender { ip: peer.ip(), helo, sender };
        let look = async move { authenticity::of_sender(&resolver, &host, &client.settings, &from).await };
        self.reactor.control().spawn(look).await.unwrap_or_else(|_| Err(not_now()))
    }

    async fn submit(&self, mut arrival: Arrival) -> Result<String, Refusal> {
        let client = self.door.client(arrival.peer, &arrival.envelope.user);
        let authentication = self.authenticate(&mut arrival, &client).await?;
        let envelope = &arrival.envelope;
        let handed = Handed {
            sender: &envelope.sender,
            recipients: &envelope.recipients,
            refused: &envelope.refused,
            message: &arrival.message,
            smtputf8: envelope.smtputf8,
            envid: Some(envelope.envid.as_str()).filter(|id| !id.is_empty()),
            verp: envelope.verp,
            dsn_ret: envelope.ret,
            dsn: &envelope.dsn,
            merge: envelope.merge.as_deref(),
            source_type: "smtp",
            smtp_user: &envelope.user,
            client_name: &envelope.helo,
            client_ip: &arrival.peer_ip,
            local_ip: &arrival.local_ip,
            authentication: &authentication,
            ..Handed::default()
        };
        let taken = self.door.intake.take(&self.reactor, &handed, &client.settings).await;
        taken.map_err(|e| refusal(&e))
    }
}

impl Entrance {
    /// What is known of a message's origin, as a header field; nothing where nothing was to be checked.
    async fn authenticate(&self, arrival: &mut Arrival, client: &Arc<Client>) -> Result<String, Refusal> {
        let mut found = std::mem::take(&mut arrival.envelope.found);
        // A text that is still to be merged cannot have been signed.
        let signed = client.settings.check_dkim_inbound && arrival.envelope.merge.is_none();
        if !signed && found.is_empty() {
            return Ok(found);
        }
        let host = self.door.configured.load().host.clone();
        if signed {
            let (resolver, message, name) =
                (self.reactor.resolver(), std::mem::take(&mut arrival.message), host.clone());
            let (client, ip) = (client.clone(), arrival.peer.ip());
            let check = async move {
                let settings = &client.settings;
                (authenticity::of_message(&resolver, &name, settings, ip, &message).await, message)
            };
            let (signatures, message) = self.reactor.control().spawn(check).await.map_err(|_| not_now())?;
            found.push_str(&signatures);
            arrival.message = message;
        }
        Ok(authenticity::field(&host, &found))
    }
}

/// A check did not come to its end.
fn not_now() -> Refusal {
    Refusal { code: 451, text: "4.3.0 the message could not be checked, try again later".to_owned() }
}

/// The reply that tells a client why its message is not taken.
fn refusal(refused: &Refused) -> Refusal {
    let (code, status) = match refused {
        Refused::NoSuchVmta(_) => (550, "5.5.0"),
        Refused::Message(_) => (550, "5.6.0"),
        Refused::Header { .. } | Refused::Merged(_) => (550, "5.6.0"),
        Refused::Spool(SpoolError::TooBig { .. }) => (552, "5.3.4"),
        Refused::Recipients(_) => (550, "5.1.3"),
        Refused::Pool(_) => (451, "4.3.5"),
        Refused::Memory | Refused::Crowded => (452, "4.3.1"),
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
    listener: &ListenerSettings,
    stop: &watch::Receiver<bool>,
) -> Result<Opened, Stopping> {
    let door = Arc::new(Door {
        intake: intake.clone(),
        configured: intake.configured.clone(),
        listener: ArcSwap::from_pointee(listener.clone()),
        known: Mutex::new(Known::nobody(intake.configured.load_full())),
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
