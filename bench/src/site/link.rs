//! A connection of a site on its socket: reads, lets the dialogue decide, does what it says. Replies to all that
//! was read in one piece go out in one write.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::dialogue::{Act, Dialogue};
use super::door::Door;
use super::tls::Wire;
use crate::clock::now_us;

/// Input kept while a reply waits; beyond it the peer has to wait too.
const MAX_HELD: usize = 1 << 20;
/// How long a peer that we have closed on is listened to, so that unread input does not turn our last reply into
/// a reset.
const LINGER: Duration = Duration::from_secs(2);

/// The read buffer that all connections of a thread share: between a read and its use nothing else runs.
pub type Scratch = Rc<RefCell<Box<[u8]>>>;

pub struct Link {
    stream: TcpStream,
    door: Arc<Mutex<Door>>,
    tls: Arc<ServerConfig>,
    scratch: Scratch,
    wire: Wire,
    replies: Vec<u8>,
    raw: Vec<u8>,
    /// Input read but not yet taken.
    held: Vec<u8>,
    closed: bool,
}

/// A panic elsewhere must not silence the counts.
pub fn lock(door: &Mutex<Door>) -> MutexGuard<'_, Door> {
    door.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection to its end. `arrived` is when it was accepted.
pub async fn serve(
    stream: TcpStream,
    ip: IpAddr,
    arrived: u64,
    door: Arc<Mutex<Door>>,
    tls: Arc<ServerConfig>,
    scratch: Scratch,
) {
    // A sender may have closed one connection before it opened this; let those ends be read first, or the
    // sender would seem to have had one more open than it had.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    let mut replies = Vec::with_capacity(512);
    let (mut dialogue, act) = Dialogue::begin(&mut lock(&door), ip, arrived, &mut replies);
    let source = dialogue.source;
    let mut link = Link {
        stream,
        door: door.clone(),
        tls,
        scratch,
        wire: Wire::Clear,
        replies,
        raw: Vec::new(),
        held: Vec::new(),
        closed: false,
    };
    let last = link.run(&mut dialogue, act).await;
    // Gone for the counts as soon as the peer can know it, not after the lingering.
    lock(&door).leave(source);
    link.end(last).await;
}

impl Link {
    async fn run(&mut self, dialogue: &mut Dialogue, first: Act) -> Act {
        let mut act = first;
        loop {
            match self.act(dialogue, act).await {
                Ok(None) => {}
                Ok(Some(last)) => return last,
                Err(_) => return Act::Reset,
            }
            act = match self.next(dialogue).await {
                Ok(Some(act)) => act,
                Ok(None) => return Act::Close,
                Err(_) => return Act::Reset,
            };
        }
    }

    /// Does what the dialogue asked for; `Some` when the connection ends with it.
    async fn act(&mut self, dialogue: &mut Dialogue, act: Act) -> io::Result<Option<Act>> {
        match act {
            Act::More => self.flush().await?,
            Act::Pause(time) => {
                self.wait(time).await?;
                self.flush().await?;
            }
            Act::Tarpit(between) => self.drip(between).await?,
            Act::StartTls => {
                self.flush().await?;
                if !self.held.is_empty() {
                    self.held.clear();
                    lock(&self.door).tally(dialogue.source, |t| t.counts.protocol_errors += 1);
                }
                self.wire = Wire::secured(&self.tls)?;
                self.shake().await?;
                if self.closed {
                    return Ok(Some(Act::Close));
                }
                dialogue.secured(&mut lock(&self.door));
            }
            Act::Silence => {
                self.flush().await?;
                while !self.closed {
                    self.read().await?;
                    self.held.clear();
                }
                return Ok(Some(Act::Close));
            }
            Act::Close => {
                self.flush().await?;
                return Ok(Some(Act::Close));
            }
            Act::Reset => return Ok(Some(Act::Reset)),
        }
        Ok(None)
    }

    /// Feeds the dialogue, from what is held or from the socket, until it asks for something; `None` at the end of input.
    async fn next(&mut self, dialogue: &mut Dialogue) -> io::Result<Option<Act>> {
        if !self.held.is_empty() {
            let mut input = self.held.as_slice();
            let act = dialogue.take(&mut lock(&self.door), now_us(), &mut input, &mut self.replies);
            let taken = self.held.len() - input.len();
            self.held.drain(..taken);
            return Ok(Some(act));
        }
        loop {
            if self.closed {
                return Ok(None);
            }
            if matches!(self.wire, Wire::Tls(_)) {
                self.read().await?;
                if !self.held.is_empty() {
                    return Box::pin(self.next(dialogue)).await;
                }
                continue;
            }
            self.stream.readable().await?;
            let mut scratch = self.scratch.borrow_mut();
            match self.stream.try_read(&mut scratch) {
                Ok(0) => return Ok(None),
                Ok(n) => {
                    // The common way: straight from the shared buffer, nothing copied.
                    let mut input = &scratch[..n];
                    let act = dialogue.take(&mut lock(&self.door), now_us(), &mut input, &mut self.replies);
                    self.held.extend_from_slice(input);
                    return Ok(Some(act));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads once into `held`, through TLS where there is any; sets `closed` at the end of input.
    async fn read(&mut self) -> io::Result<()> {
        self.stream.readable().await?;
        {
            let mut scratch = self.scratch.borrow_mut();
            match self.stream.try_read(&mut scratch) {
                Ok(0) => self.closed = true,
                Ok(n) => self.wire.open(&scratch[..n], &mut self.held, &mut self.raw)?,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        self.send().await
    }

    async fn shake(&mut self) -> io::Result<()> {
        while self.wire.shaking() && !self.closed {
            self.read().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.replies.is_empty() {
            return Ok(());
        }
        self.wire.seal(&mut self.replies, &mut self.raw)?;
        self.send().await
    }

    async fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.raw.len() {
            match self.stream.try_write(&self.raw[sent..]) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(e) => return Err(e),
            }
        }
        self.raw.clear();
        Ok(())
    }

    /// Waits, listening meanwhile, so that a peer that goes away is missed at once.
    async fn wait(&mut self, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if self.held.len() >= MAX_HELD {
                sleep_until(until).await;
                break;
            }
            match tokio::time::timeout_at(until, self.read()).await {
                Ok(read) => read?,
                Err(_) => break,
            }
            if self.closed {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(())
    }

    async fn drip(&mut self, between: Duration) -> io::Result<()> {
        let replies = std::mem::take(&mut self.replies);
        for byte in replies {
            self.wait(between).await?;
            self.replies.push(byte);
            self.flush().await?;
        }
        Ok(())
    }

    async fn end(self, last: Act) {
        if last == Act::Reset {
            // A close with a linger time of zero is a reset.
            let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
            return;
        }
        let _ = rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write);
        let drain = async {
            while !self.closed && self.stream.readable().await.is_ok() {
                match self.stream.try_read(&mut self.scratch.borrow_mut()) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
        };
        let _ = timeout(LINGER, drain).await;
    }
}
