//! Postfix's own `smtp-source` and `smtp-sink`: nobody's tools but theirs.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// A program that ends with this one.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    pub fn new(child: Child) -> Running {
        Running(child)
    }

    /// SIGTERM, upon which each of the programs used here ends in order.
    pub fn end(mut self) -> io::Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::TERM)?;
        self.0.wait().map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an `smtp-sink`, which takes everything.
pub fn sink() -> io::Result<(Running, SocketAddr)> {
    let addr = TcpListener::bind(("127.0.78.1", 0))?.local_addr()?;
    // Run by root it wants to be told whom else to be.
    let user = if rustix::process::geteuid().is_root() { &["-u", "nobody"][..] } else { &[] };
    let child = Command::new("smtp-sink")
        .args(user)
        .args(["-h", "sink.example", &addr.to_string(), "1000"])
        .stdin(Stdio::null())
        .spawn()
        .map_err(|e| io::Error::new(e.kind(), format!("smtp-sink (of the package postfix): {e}")))?;
    let sink = Running(child);
    match until(Duration::from_secs(10), || TcpStream::connect(addr).ok()) {
        Ok(_) => Ok((sink, addr)),
        Err(waited) => Err(io::Error::other(format!("smtp-sink silent after {waited:?}"))),
    }
}

/// What `smtp-source` sends.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub messages: u64,
    pub sessions: u32,
    /// Octets of each message.
    pub size: u32,
}

/// Runs `smtp-source` to its end; it stops at the first reply that is not positive.
pub fn source(sent: Sent, to: SocketAddr) -> io::Result<Duration> {
    let begun = Instant::now();
    let status = Command::new("smtp-source")
        .args(["-d", "-N", "-s", &sent.sessions.to_string(), "-m", &sent.messages.to_string()])
        .args(["-l", &sent.size.to_string(), "-M", "source.example", "-f", "a@source.example"])
        .args(["-t", "to@sink.example", &to.to_string()])
        .status()
        .map_err(|e| io::Error::new(e.kind(), format!("smtp-source (of the package postfix): {e}")))?;
    if status.success() {
        Ok(begun.elapsed())
    } else {
        Err(io::Error::other(format!("smtp-source: {status}")))
    }
}
