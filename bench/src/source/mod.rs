//! A sender that pours mail into a server over SMTP and remembers exactly what the server took responsibility for:
//! the counterpart of Postfix's smtp-source for measurements, and the witness of the crash tests. It outlives the
//! server: a dropped connection is opened again until all messages are settled or somebody says stop.

mod load;
mod report;
mod session;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::clock::now_us;

pub use load::Load;
pub use report::{Ack, SourceReport};

/// How the load is sent. [`Load`] says what it consists of.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    pub target: SocketAddr,
    /// Addresses to send from, by the sessions in turn; any, if there is none.
    pub from: Vec<IpAddr>,
    /// STARTTLS before anything is sent.
    pub tls: Option<Tls>,
    pub load: Load,
    /// Connections at a time.
    pub sessions: u32,
    /// Messages on a connection before it is closed with QUIT.
    pub per_connection: u64,
    /// MAIL, RCPT and DATA in one write (RFC 2920) where the server offers it.
    pub pipelining: bool,
    /// Messages a second over all sessions; as fast as it goes, if not given.
    pub rate: Option<u32>,
    /// For each reply; after it the connection is given up and, if the final dot was out, the message is in doubt.
    pub reply_timeout: Duration,
    /// How long to keep trying to reach a server that is not there.
    pub patience: Duration,
}

impl SourceConfig {
    /// 20 sessions, pipelined, as fast as it goes.
    pub fn new(target: SocketAddr, load: Load) -> SourceConfig {
        SourceConfig {
            target,
            from: Vec::new(),
            tls: None,
            load,
            sessions: 20,
            per_connection: u64::MAX,
            pipelining: true,
            rate: None,
            reply_timeout: Duration::from_secs(60),
            patience: Duration::from_secs(10),
        }
    }
}

/// How TLS is spoken to the target.
#[derive(Clone, Debug)]
pub struct Tls {
    pub config: Arc<ClientConfig>,
    /// The name that is asked for.
    pub name: ServerName<'static>,
}

/// What the sessions share with each other and with the handle.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    hold: AtomicBool,
    next: AtomicU64,
    acked: AtomicU64,
    report: Mutex<SourceReport>,
}

/// Starts the load on a thread of its own.
pub fn start(config: SourceConfig) -> io::Result<SourceHandle> {
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        hold: AtomicBool::new(false),
        next: AtomicU64::new(config.load.first_id),
        acked: AtomicU64::new(0),
        report: Mutex::new(SourceReport { started_us: now_us(), ..SourceReport::default() }),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let theirs = shared.clone();
    let run = move || {
        let local = tokio::task::LocalSet::new();
        let config = std::rc::Rc::new(config);
        local.block_on(&runtime, async {
            let sessions: Vec<_> = (0..config.sessions.max(1))
                .map(|number| tokio::task::spawn_local(session::run(config.clone(), theirs.clone(), number)))
                .collect();
            for session in sessions {
                let _ = session.await;
            }
        });
    };
    let thread = std::thread::Builder::new().name("source".into()).spawn(run)?;
    Ok(SourceHandle { shared, thread: Some(thread) })
}

/// A load under way.
#[derive(Debug)]
pub struct SourceHandle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl SourceHandle {
    /// Messages acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.shared.acked.load(Ordering::Relaxed)
    }

    pub fn finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Sends nothing new while `hold`; connections stay open.
    pub fn hold(&self, hold: bool) {
        self.shared.hold.store(hold, Ordering::Relaxed);
    }

    /// What came of it so far.
    pub fn report(&self) -> SourceReport {
        self.shared.lock().clone()
    }

    /// Sends no further message; those under way are seen through.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for the end and tells what came of it.
    pub fn join(mut self) -> SourceReport {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let mut report = self.shared.lock().clone();
        report.finish(now_us());
        report
    }
}

impl Drop for SourceHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, SourceReport> {
        self.report.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
