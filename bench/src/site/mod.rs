//! A receiving site: SMTP servers that behave like the mailbox providers of this world, or worse, and count what
//! they see. It runs on threads of its own, within a program or alone.
//!
//! ```no_run
//! use bench::site::{DoorConfig, Persona, Site, SiteConfig};
//! let site = Site::start(SiteConfig { doors: vec![DoorConfig::new("gmail", Persona::Gmail)], ..SiteConfig::default() })?;
//! println!("{}", site.addr("gmail"));
//! let stats = site.stop();
//! # Ok::<(), std::io::Error>(())
//! ```

mod acceptance;
mod behaviour;
mod content;
mod dialogue;
mod door;
pub mod ledger;
mod link;
mod persona;
mod replies;
mod stats;
mod tls;
mod window;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

use crate::clock::now_us;

pub use behaviour::{Behaviour, Fate, FateRule, Fault, Stage, Storm, What};
pub use dialogue::{Act, Dialogue};
pub use door::Door;
pub use ledger::{Delivery, Ledger, LedgerMode};
pub use persona::Persona;
pub use replies::Wording;
pub use stats::{Counts, DoorStats, SiteStats};
pub use window::Window;

/// Connections waiting to be accepted, per address.
const BACKLOG: u32 = 4096;
const READ_BUFFER: usize = 128 * 1024;

/// One behaviour and where it listens.
#[derive(Clone, Debug)]
pub struct DoorConfig {
    pub name: String,
    /// Any addresses of this machine; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    pub behaviour: Behaviour,
}

impl DoorConfig {
    /// A persona on 127.0.0.1 and a free port.
    pub fn new(name: &str, persona: Persona) -> DoorConfig {
        DoorConfig::with(name, persona.behaviour())
    }

    /// A behaviour on 127.0.0.1 and a free port.
    pub fn with(name: &str, behaviour: Behaviour) -> DoorConfig {
        let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        DoorConfig { name: name.into(), listen: vec![local], behaviour }
    }

    /// Elsewhere.
    pub fn at(mut self, addr: SocketAddr) -> DoorConfig {
        self.listen = vec![addr];
        self
    }
}

#[derive(Clone, Debug)]
pub struct SiteConfig {
    pub doors: Vec<DoorConfig>,
    /// Decides the fate of recipients.
    pub seed: u64,
    /// Doors are dealt out over so many threads, at least one.
    pub threads: usize,
    pub ledger: LedgerMode,
}

impl Default for SiteConfig {
    fn default() -> Self {
        SiteConfig { doors: Vec::new(), seed: 1, threads: 1, ledger: LedgerMode::Off }
    }
}

/// Starts sites.
#[derive(Debug)]
pub struct Site;

impl Site {
    /// Binds every address, so that mail can come in as soon as this returns.
    pub fn start(config: SiteConfig) -> io::Result<SiteHandle> {
        let started_us = now_us();
        let tls = tls::self_signed(vec!["mx.site.example".into(), "localhost".into()])?;
        let threads = config.threads.clamp(1, config.doors.len().max(1));
        let mut shares: Vec<Vec<Listener>> = (0..threads).map(|_| Vec::new()).collect();
        let mut doors = Vec::new();
        for (i, d) in config.doors.into_iter().enumerate() {
            let mut door = Door::new(&d.name, d.behaviour, config.seed, config.ledger, started_us);
            let sockets: Vec<_> = d.listen.iter().map(|a| bind(*a)).collect::<io::Result<_>>()?;
            door.addrs = sockets.iter().map(std::net::TcpListener::local_addr).collect::<io::Result<_>>()?;
            let door = Arc::new(Mutex::new(door));
            doors.push(door.clone());
            shares[i % threads]
                .extend(sockets.into_iter().map(|socket| Listener { socket, door: door.clone() }));
        }
        let mut site = SiteHandle { doors, started_us, threads: Vec::new(), stops: Vec::new() };
        for (i, share) in shares.into_iter().enumerate() {
            let (stop, stopped) = oneshot::channel();
            let tls = tls.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let run = move || run(&runtime, share, &tls, stopped);
            site.threads.push(std::thread::Builder::new().name(format!("site-{i}")).spawn(run)?);
            site.stops.push(stop);
        }
        Ok(site)
    }
}

struct Listener {
    socket: std::net::TcpListener,
    door: Arc<Mutex<Door>>,
}

fn bind(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on {addr}: {e}"));
    // Listening needs no reactor until the first accept, but tokio's socket is the one that takes a backlog.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr).map_err(named)?;
    socket.listen(BACKLOG).map_err(named)?.into_std()
}

fn run(
    runtime: &tokio::runtime::Runtime,
    share: Vec<Listener>,
    tls: &Arc<ServerConfig>,
    stopped: oneshot::Receiver<()>,
) {
    let local = tokio::task::LocalSet::new();
    local.block_on(runtime, async {
        let scratch = Rc::new(RefCell::new(vec![0; READ_BUFFER].into_boxed_slice()));
        for listener in share {
            // The socket is non-blocking and bound; only a runtime without I/O could refuse it.
            let socket = TcpListener::from_std(listener.socket).expect("the runtime has I/O enabled");
            tokio::task::spawn_local(accept(socket, listener.door, tls.clone(), scratch.clone()));
        }
        // Ends with a word from the handle, or with the handle itself.
        let _ = stopped.await;
    });
}

async fn accept(socket: TcpListener, door: Arc<Mutex<Door>>, tls: Arc<ServerConfig>, scratch: link::Scratch) {
    loop {
        let Ok((stream, peer)) = socket.accept().await else {
            // Out of descriptors: give connections time to end.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let serve = link::serve(stream, peer.ip(), now_us(), door.clone(), tls.clone(), scratch.clone());
        tokio::task::spawn_local(serve);
    }
}

/// A site that runs. Stops when dropped.
#[derive(Debug)]
pub struct SiteHandle {
    doors: Vec<Arc<Mutex<Door>>>,
    started_us: u64,
    threads: Vec<JoinHandle<()>>,
    stops: Vec<oneshot::Sender<()>>,
}

impl SiteHandle {
    /// Every address with the name of its door.
    pub fn addrs(&self) -> Vec<(String, SocketAddr)> {
        let doors = self.doors.iter().map(|d| link::lock(d));
        doors.flat_map(|d| d.addrs.iter().map(|a| (d.name.clone(), *a)).collect::<Vec<_>>()).collect()
    }

    /// The first address of the door `name`.
    ///
    /// # Panics
    /// When there is no such door.
    pub fn addr(&self, name: &str) -> SocketAddr {
        let found = self.addrs().into_iter().find(|(n, _)| n == name);
        found.unwrap_or_else(|| panic!("the site has no door called {name}")).1
    }

    /// The counts so far.
    pub fn stats(&self) -> SiteStats {
        let doors = self.doors.iter().map(|d| link::lock(d).stats()).collect();
        SiteStats { elapsed_us: now_us().saturating_sub(self.started_us), doors }
    }

    /// All deliveries so far, door by door; empty with [`LedgerMode::Off`].
    pub fn ledger(&self) -> Ledger {
        let deliveries = self.doors.iter().flat_map(|d| link::lock(d).ledger.deliveries.clone()).collect();
        Ledger { deliveries }
    }

    /// All deliveries since the last call, and forgets them.
    pub fn take_ledger(&self) -> Ledger {
        let deliveries =
            self.doors.iter().flat_map(|d| std::mem::take(&mut link::lock(d).ledger.deliveries)).collect();
        Ledger { deliveries }
    }

    /// Gives a door another behaviour, for connections that come from now on. Its memory and its counts stay.
    pub fn behave(&self, name: &str, behaviour: &Behaviour) {
        for door in &self.doors {
            let mut door = link::lock(door);
            if door.name == name {
                door.behave(behaviour.clone());
            }
        }
    }

    /// Stops it, breaking off what is open, and tells the final counts.
    pub fn stop(mut self) -> SiteStats {
        self.halt();
        self.stats()
    }

    fn halt(&mut self) {
        for stop in self.stops.drain(..) {
            let _ = stop.send(());
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for SiteHandle {
    fn drop(&mut self) {
        self.halt();
    }
}
