//! An engine as a process of its own: started, asked, stopped, or killed.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::now_us;
use crate::cpu::{CpuTime, Memory};
use crate::wait::until;

const START_PATIENCE: Duration = Duration::from_secs(30);
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Lines of the engine's log shown when a test fails.
const LOG_SHOWN: usize = 60;

/// What is used here of an engine's own account of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    pub shards: u32,
    pub smtp_queues: Waiting,
    pub other_queues: Waiting,
    pub connections_out: Connections,
    pub spool: Spool,
    /// What an operator should look at.
    pub alarms: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Waiting {
    pub rcpts: u64,
    pub domains: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Connections {
    pub active: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Spool {
    pub back_end: String,
    pub bytes_written: u64,
    pub writes: u64,
    pub syncs: u64,
}

/// A running engine. Killed when dropped.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    dir: PathBuf,
}

impl Engine {
    /// Starts `command` with `run --config DIR/config` and waits until it answers on its control socket and its port.
    pub fn start(command: Command, dir: &Path, listen: SocketAddr) -> io::Result<Engine> {
        let mut engine = Engine::spawn(command, dir)?;
        engine.ready(listen)?;
        Ok(engine)
    }

    /// Starts it and waits for nothing.
    pub fn spawn(mut command: Command, dir: &Path) -> io::Result<Engine> {
        let output = File::options().append(true).create(true).open(dir.join("output"))?;
        let child = command
            .arg("run")
            .arg("--config")
            .arg(dir.join("config"))
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Engine { child, dir: dir.to_path_buf() })
    }

    /// Waits until it answers on its control socket and its port.
    pub fn ready(&mut self, listen: SocketAddr) -> io::Result<()> {
        let ready = until(START_PATIENCE, || match self.child.try_wait() {
            Ok(None) => {
                let answers = self.status().is_ok() && TcpStream::connect(listen).is_ok();
                answers.then_some(Ok(()))
            }
            Ok(Some(status)) => Some(Err(format!("the engine ended at its start: {status}"))),
            Err(e) => Some(Err(e.to_string())),
        });
        let told = match ready {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(told)) => told,
            Err(waited) => format!("the engine did not answer within {waited:?}"),
        };
        Err(io::Error::other(format!("{told}\n{}", self.log_tail())))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks over the control socket: one line of JSON each way.
    pub fn ask(&self, request: &Value) -> io::Result<Value> {
        let mut stream = UnixStream::connect(self.dir.join("control"))?;
        stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
        stream.write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let reply: Value = serde_json::from_str(&line)?;
        match reply["reply"].as_str() {
            Some("error") => Err(io::Error::other(reply["message"].to_string())),
            _ => Ok(reply),
        }
    }

    pub fn status(&self) -> io::Result<Status> {
        Ok(serde_json::from_value(self.ask(&json!({"request": "status"}))?)?)
    }

    /// Stops deliveries of the queues that fit `domain/vmta`.
    pub fn pause(&self, queues: &str) -> io::Result<()> {
        self.ask(&json!({"request": "pause-queue", "queue": queues})).map(drop)
    }

    pub fn resume(&self, queues: &str) -> io::Result<()> {
        self.ask(&json!({"request": "resume-queue", "queue": queues})).map(drop)
    }

    /// Waits until no recipient is queued.
    ///
    /// # Panics
    /// When that takes longer than `patience`.
    pub fn wait_until_empty(&self, patience: Duration) {
        if let Err(left) = self.until_empty(patience) {
            panic!("still {left} recipients after {patience:?}");
        }
    }

    /// The same; `Err` with the recipients still queued (all there are, where it does not answer).
    pub fn until_empty(&self, patience: Duration) -> Result<(), u64> {
        let queued = || match self.status() {
            Ok(status) => status.smtp_queues.rcpts + status.other_queues.rcpts,
            Err(_) => u64::MAX,
        };
        until(patience, || (queued() == 0).then_some(())).map_err(|_| queued())
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    pub fn cpu(&self) -> io::Result<CpuTime> {
        CpuTime::of(self.pid())
    }

    pub fn memory(&self) -> io::Result<Memory> {
        Memory::of(self.pid())
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let ended = until(STOP_PATIENCE, || self.child.try_wait().transpose());
        ended.unwrap_or_else(|waited| Err(io::Error::other(format!("no end within {waited:?} of SIGTERM"))))
    }

    /// SIGKILL. The time at which it was sent, microseconds of CLOCK_MONOTONIC.
    pub fn kill(mut self) -> io::Result<u64> {
        let at = now_us();
        self.child.kill()?;
        self.child.wait()?;
        Ok(at)
    }

    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// The last lines of what it has written, on its standard output and to its log.
    pub fn log_tail(&self) -> String {
        let mut told = String::new();
        for name in ["output", "log"] {
            let text = fs::read(self.dir.join(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            told.push_str(&lines[lines.len().saturating_sub(LOG_SHOWN)..].join("\n"));
            told.push('\n');
        }
        told
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the engine's last words ---\n{}\n---", self.log_tail());
        }
        // Fails where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
