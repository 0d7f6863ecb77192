//! The engine as a whole: started from a configuration, asked, stopped. `run`, `demo` and the tests start the same one.

use super::accounting::{Accounting, AccountingError, StreamOptions};
use super::accounting_config::{AccountingConfigError, stream_options};
use super::accounting_spool::SpoolLog;
use super::answer::Answerer;
use super::control_socket::{ControlError, ControlSocket};
use super::http::listeners::HttpListeners;
use super::intake::Intake;
use super::listeners::Listeners;
use super::log_file::LogFile;
use super::owners::{Owners, Split, Stopping};
use super::pickup::{Pickup, PickupError};
use super::profiles::{Configured, ProfileError, host_name};
use super::reactors::Start;
use super::reload::Parts;
use super::routing::Routing;
use super::verp_keys::{self, VerpKeysError};
use super::warming::Warmings;
use super::warming_file::WarmingFileError;
use super::{notify, reception, recovery};
use crate::io::clock::{self, Clock};
use crate::io::failpoint::{Point, pass};
use crate::io::resolver::ResolverError;
use crate::io::storage::{BackEnd, Recovered, Storage, StorageOptions};
use crate::limit::Shared;
use crate::mail::verp::VerpKeys;
use crate::shard::{QueuePattern, ShardRequest};
use crate::spool::SpoolError;
use crate::spool::record::{Control, Draft, Group};
use arc_swap::ArcSwap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use vmta_config::{Config, RuntimeChoice};

/// How long transactions in flight are waited for at a stop.
const DRAIN: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error("the configuration names no spool directory; write <spool /var/spool/posthaste> and </spool>")]
    NoSpool,
    #[error("{origin}: one spool directory is supported; the first one given is {first}")]
    TwoSpools { origin: String, first: String },
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    AccountingConfig(#[from] AccountingConfigError),
    #[error(transparent)]
    Accounting(#[from] AccountingError),
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    #[error(transparent)]
    Pickup(#[from] PickupError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Verp(#[from] VerpKeysError),
    #[error(transparent)]
    Warming(#[from] WarmingFileError),
    #[error("{0}")]
    Listen(io::Error),
    #[error(transparent)]
    Stopping(#[from] Stopping),
    #[error("a thread or runtime cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// What is not in the configuration file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Instead of `control-socket`.
    pub control_socket: Option<PathBuf>,
    /// Where neither names one; the engine can do without it.
    pub usual_socket: Option<PathBuf>,
    /// The file the configuration was read from, for `reload`.
    pub config: Option<PathBuf>,
    /// The log, for a reload to open again.
    pub log: Option<LogFile>,
    /// No start with a damaged spool (F18).
    pub strict: bool,
    /// Everything waits for the operator, until he resumes it (F22).
    pub hold: bool,
}

/// A running engine.
pub struct Engine {
    control: tokio::runtime::Runtime,
    stop: watch::Sender<bool>,
    listeners: Arc<Listeners>,
    http: Arc<HttpListeners>,
    pickup: Pickup,
    owners: Owners,
    reactors: Vec<JoinHandle<()>>,
    storage: Storage,
    accounting: Arc<Accounting>,
    intake: Arc<Intake>,
    answerer: Arc<Answerer>,
    listening: Vec<SocketAddr>,
}

impl Engine {
    /// Starts everything: recovers the spool, then takes and delivers mail.
    pub fn start(config: &Arc<Config>, overrides: &Overrides) -> Result<Engine, BootError> {
        let (clock, host) = (Clock::start(), host_name(config));
        let spool = spool_directory(config)?;
        let configured = Arc::new(Configured::new(config.clone(), &host)?);
        let accounting = accounting_options(config, &spool)?;
        let (storage, recovered) = Storage::open(&spool, &storage_options(config, overrides.strict))?;
        let (warming, verp) = remembered(&spool, &configured)?;
        let accounting = Arc::new(Accounting::start(accounting, SpoolLog::new(storage.clone()))?);
        let control = control_runtime()?;
        let shared = Arc::new(Shared::new(config.global().total_max_smtp_out));
        let routing = routing(&control, &configured)?;
        let (reports, reports_wanted) = mpsc::unbounded_channel();
        let (notices, told) = mpsc::unbounded_channel();
        let start = Start {
            clock,
            reports,
            notices,
            configured: configured.clone(),
            storage: storage.clone(),
            shared: shared.clone(),
            routing: routing.clone(),
            pauses: pauses(&storage, &recovered, overrides.hold)?,
            routes_lost: recovered.routes_lost().collect(),
            verp,
            warming: warming.clone(),
        };
        let (owners, reactors) = start.reactors(control.handle(), shard_count(config))?;
        rebuild_queues(&control, &owners, &recovered, &configured)?;
        let configured = Arc::new(ArcSwap::new(configured));
        let intake = Arc::new(Intake::new(storage.clone(), owners.clone(), configured, warming));
        control.spawn(super::reports::serve(intake.clone(), reports_wanted));
        control.spawn(notify::serve(intake.clone(), told));
        let pickup = Pickup::start(config, &intake, &recovered)?;
        let (stop, stopping) = watch::channel(false);
        let http = Arc::new(HttpListeners::new(intake.clone(), &recovered, stopping.clone()));
        drop(recovered);
        let clients = reception::clients(&intake.configured.load().config);
        let listeners = Arc::new(Listeners::new(intake.clone(), clients.clone(), stopping));
        let listening = control.block_on(listen(config, &listeners, &http))?;
        let parts = Parts {
            intake: intake.clone(),
            shared,
            clients,
            listeners: listeners.clone(),
            http: http.clone(),
            accounting: accounting.clone(),
            pickup: pickup.guide(),
            routing,
            log: overrides.log.clone(),
        };
        let answerer = Arc::new(Answerer::new(parts, overrides.config.clone(), clock, stop.clone()));
        serve_control(&control, config, overrides, &answerer)?;
        control.spawn(sample(answerer.clone(), stop.subscribe()));
        control.spawn(save(intake.warming.clone(), stop.subscribe()));
        Ok(Engine {
            control,
            stop,
            listeners,
            http,
            pickup,
            owners,
            reactors,
            storage,
            accounting,
            intake,
            answerer,
            listening,
        })
    }

    /// Addresses that SMTP is served on.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// What answers control requests; works without a control socket too.
    pub fn answerer(&self) -> &Arc<Answerer> {
        &self.answerer
    }

    /// Runs a future on the control runtime, to its end.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.control.block_on(future)
    }

    /// Waits until the engine is told to stop over its control socket, or its log has failed (R2).
    pub async fn told_to_stop(&self) -> Result<(), SpoolError> {
        let mut stop = self.stop.subscribe();
        let storage = self.storage.clone();
        let failed = async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                if let Some(why) = storage.status().failed {
                    return why;
                }
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => Ok(()),
            why = failed => Err(why),
        }
    }

    /// Stops in order: intake, deliveries in flight, log, accounting (F03).
    pub fn stop(self) {
        let Engine {
            control,
            stop,
            listeners,
            http,
            pickup,
            owners,
            reactors,
            storage,
            accounting,
            intake,
            answerer,
            ..
        } = self;
        stop.send_replace(true);
        intake.stopping.store(true, Ordering::Relaxed);
        pickup.stop();
        control.block_on(async {
            listeners.ended().await;
            http.ended().await;
            if tokio::time::timeout(DRAIN, owners.drain()).await.is_err() {
                tracing::warn!("transactions in flight did not end in time; they will be repeated");
            }
        });
        pass(Point::StopDrained);
        intake.warming.end();
        drop((answerer, listeners, http, intake, owners));
        // The last senders are gone with the runtime's tasks, and with them the reactors' reason to run.
        control.shutdown_timeout(Duration::from_secs(5));
        for reactor in reactors {
            let _ = reactor.join();
        }
        storage.stop();
        pass(Point::StopStorage);
        accounting.stop();
    }
}

/// What the operator has paused and resumed. `hold`: and all queues paused just now, as if by him.
fn pauses(
    storage: &Storage,
    recovered: &Recovered,
    hold: bool,
) -> Result<Vec<(QueuePattern, bool)>, SpoolError> {
    let before = recovered.pauses().map(|(queue, paused)| (QueuePattern::parse(queue), paused));
    let mut pauses: Vec<_> = before.collect();
    if hold {
        let all = QueuePattern::all();
        let pause = Control::QueuePaused { queue: all.as_str().to_owned(), paused: true };
        storage.submit(Group { drafts: vec![Draft::Control(pause)] }).wait()?;
        tracing::warn!("everything is held; `resume queue '*'` lets it go");
        pauses.push((all, true));
    }
    Ok(pauses)
}

/// Says what is not as the configuration has it, too.
fn accounting_options(config: &Config, spool: &Path) -> Result<StreamOptions, BootError> {
    let mut notes = Vec::new();
    let options = stream_options(config, spool, jiff::tz::TimeZone::system(), &mut notes)?;
    if cfg!(feature = "failpoints") {
        notes.push("failpoints are compiled in: this build is for tests".to_owned());
    }
    let notes = config.notes().iter().map(ToString::to_string).chain(notes);
    notes.for_each(|note| tracing::warn!("{note}"));
    Ok(options)
}

/// How far warm-ups have come, and the keys of return paths.
fn remembered(spool: &Path, configured: &Configured) -> Result<(Arc<Warmings>, Arc<VerpKeys>), BootError> {
    // Before the keys are made, which tell a spool that has been used.
    let new = !verp_keys::are_there(spool);
    let warming = Arc::new(Warmings::open(spool, new, configured, clock::wall())?);
    Ok((warming, Arc::new(verp_keys::open(spool)?)))
}

/// Everything that waits goes to its owner, and the owners begin.
fn rebuild_queues(
    control: &tokio::runtime::Runtime,
    owners: &Owners,
    recovered: &Recovered,
    configured: &Arc<Configured>,
) -> Result<(), BootError> {
    let new_split = || Split::new(owners.shards(), configured.clone(), clock::wall());
    let waiting = recovery::requeue(recovered, new_split, |split| owners.admit_blocking(split))
        .map_err(|_| SpoolError::Stopped)?;
    control.block_on(owners.ask(&ShardRequest::Recovered))?;
    tracing::info!(recipients = waiting, "queues rebuilt");
    Ok(())
}

fn control_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores() / 2).max(1))
        .thread_name("control")
        .enable_all()
        .build()
}

fn routing(control: &tokio::runtime::Runtime, configured: &Configured) -> Result<Arc<Routing>, BootError> {
    let _inside = control.enter();
    Ok(Arc::new(Routing::new(configured)?))
}

async fn listen(
    config: &Config,
    listeners: &Listeners,
    http: &HttpListeners,
) -> Result<Vec<SocketAddr>, BootError> {
    let change = listeners.bind(config).await.map_err(BootError::Listen)?;
    let http_change = http.bind(config).await.map_err(BootError::Listen)?;
    listeners.apply(change).await?;
    http.apply(http_change).await?;
    Ok(listeners.addresses().await)
}

fn spool_directory(config: &Config) -> Result<PathBuf, BootError> {
    match config.spools() {
        [] => Err(BootError::NoSpool),
        [one] => Ok(PathBuf::from(&one.directory)),
        [first, second, ..] => {
            Err(BootError::TwoSpools { origin: second.origin.to_string(), first: first.directory.clone() })
        }
    }
}

fn storage_options(config: &Config, strict: bool) -> StorageOptions {
    let global = config.global();
    let least = config.spools().first().map_or(0, |spool| spool.settings.min_free_space);
    StorageOptions {
        segment_size: u32::try_from(global.segment_size).unwrap_or(u32::MAX),
        back_end: match global.runtime {
            RuntimeChoice::Auto => BackEnd::Auto,
            RuntimeChoice::Uring => BackEnd::Uring,
            RuntimeChoice::Blocking => BackEnd::Blocking,
        },
        min_free_space: (least > 0).then_some(least),
        strict,
        ..StorageOptions::default()
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn shard_count(config: &Config) -> usize {
    config.global().threads.map_or_else(cores, |n| n.max(1) as usize)
}

/// Measures the traffic, once a second until the engine stops.
async fn sample(answerer: Arc<Answerer>, mut stop: watch::Receiver<bool>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = seconds.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        answerer.look_for_room();
        if answerer.sample().await.is_err() {
            return;
        }
    }
}

/// Writes down once a minute what became of attempts: it is only tomorrow that depends on it.
async fn save(warming: Arc<Warmings>, mut stop: watch::Receiver<bool>) {
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    loop {
        tokio::select! {
            _ = minutes.tick() => warming.save(),
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// The usual socket; its directory in /run is made, since a reboot empties that.
fn open_usual(path: &Path) -> Result<ControlSocket, ControlError> {
    if let Some(parent) = path.parent() {
        // What is wrong with it shows when the socket is opened.
        let _ = std::fs::create_dir(parent);
    }
    ControlSocket::open(path)
}

fn serve_control(
    control: &tokio::runtime::Runtime,
    config: &Config,
    overrides: &Overrides,
    answerer: &Arc<Answerer>,
) -> Result<(), BootError> {
    let configured = config.global().control_socket.as_ref().map(PathBuf::from);
    let _inside = control.enter();
    let socket = match (overrides.control_socket.clone().or(configured), &overrides.usual_socket) {
        (Some(path), _) => ControlSocket::open(&path)?,
        (None, Some(usual)) => match open_usual(usual) {
            Ok(socket) => socket,
            Err(e) => {
                tracing::warn!("no control-socket is given, and the usual one is not to be had: {e}");
                return Ok(());
            }
        },
        (None, None) => return Ok(()),
    };
    let answerer = answerer.clone();
    control.spawn(socket.serve(move |request| {
        let answerer = answerer.clone();
        Box::pin(async move { answerer.answer(request).await })
    }));
    Ok(())
}
