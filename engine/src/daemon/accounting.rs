//! The accounting thread: runs the stream of lines beside delivery, and takes the operator's orders.
//!
//! It reads the log, never the other way round: whatever happens to the accounting disk, mail goes on until the
//! log itself is full, and every line is written once there is room again (reliability F24).

pub use super::accounting_file::{FileError, FileOptions};
pub use super::accounting_log::{Entry, Log};
pub use super::accounting_spool::SpoolLog;
pub use super::accounting_stream::StreamOptions;

use super::accounting_stream::Stream;
use crate::base::Wall;
use crate::spool::record::Location;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// Entries taken from the log between two looks at the operator's orders.
const ENTRIES: usize = 256;
/// How long to wait when the log has nothing more; lines of a busy log appear that much later at most. Short enough for a busy log to
/// be read while it is in RAM (4 MiB are, which is 40 ms at 100 MB a second).
const IDLE: Duration = Duration::from_millis(20);
/// The same once nothing has come for a while: a thread that wakes 50 times a second is most of what an idle engine costs. No
/// longer, or the beginning of an import is no longer in RAM and has to be mapped.
const LONG_IDLE: Duration = Duration::from_millis(40);
/// How long to wait after a failure before the next try.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
pub enum AccountingError {
    #[error("two <acct-file {}>: write each file once", .0.display())]
    Twice(PathBuf),
    #[error("<acct-file {}>: name a file, such as /var/log/posthaste/acct.csv", .0.display())]
    NotAFile(PathBuf),
    #[error("<acct-file {}>: its directory is not there: {source}", target.display())]
    Directory { target: PathBuf, source: io::Error },
    #[error("cannot start the accounting thread: {0}")]
    Thread(io::Error),
}

enum Order {
    Rotate(Option<PathBuf>),
    Stop,
}

/// What status shows.
#[derive(Debug, Default)]
struct Shown {
    position: AtomicU64,
    stalled: AtomicBool,
    trouble: Mutex<String>,
}

/// The newest configuration that the thread has not taken yet.
type Next = Arc<Mutex<Option<StreamOptions>>>;

/// The running thread.
pub struct Accounting {
    orders: Sender<Order>,
    next: Next,
    shown: Arc<Shown>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How accounting is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountingStatus {
    /// Everything before this place in the log has its lines.
    pub position: Location,
    /// Why no lines are being written at present.
    pub trouble: Option<String>,
}

impl Accounting {
    /// Checks the files' places and starts the thread.
    pub fn start<L: Log + Send + 'static>(
        options: StreamOptions,
        log: L,
    ) -> Result<Accounting, AccountingError> {
        check_places(&options.files)?;
        let (orders, incoming) = bounded(64);
        let shown = Arc::new(Shown::default());
        let seen = Arc::clone(&shown);
        let next = Next::default();
        let taken = next.clone();
        let thread = std::thread::Builder::new()
            .name("accounting".into())
            .spawn(move || run(Stream::new(options, log), &incoming, &taken, &seen))
            .map_err(AccountingError::Thread)?;
        Ok(Accounting { orders, next, shown, thread: Mutex::new(Some(thread)) })
    }

    /// Puts other files and categories into effect; their places have been checked. What is in no old file by then goes
    /// to the new ones.
    pub fn configure(&self, options: StreamOptions) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(options);
    }

    /// Begins a new file in place of the one with this target, or of every file (`rotate acct [file]`).
    pub fn rotate(&self, target: Option<PathBuf>) {
        // A full channel means the same order is waiting dozens of times.
        let _ = self.orders.try_send(Order::Rotate(target));
    }

    pub fn status(&self) -> AccountingStatus {
        let position = Location::from_u64(self.shown.position.load(Ordering::Relaxed));
        let trouble = self
            .shown
            .stalled
            .load(Ordering::Relaxed)
            .then(|| self.shown.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone());
        AccountingStatus { position, trouble }
    }

    /// Writes the lines of all that is durable in the log, saves the cursor and ends the thread.
    pub fn stop(&self) {
        let _ = self.orders.send(Order::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(
                "the accounting thread ended in a panic; its lines are written at the next start"
            );
        }
    }
}

/// Whether the files can be where they are configured.
pub fn check_places(files: &[FileOptions]) -> Result<(), AccountingError> {
    for (i, file) in files.iter().enumerate() {
        check_place(&file.target)?;
        if files[..i].iter().any(|other| other.target == file.target) {
            return Err(AccountingError::Twice(file.target.clone()));
        }
    }
    Ok(())
}

fn check_place(target: &Path) -> Result<(), AccountingError> {
    if target.file_name().is_none() || target.to_string_lossy().starts_with('|') {
        return Err(AccountingError::NotAFile(target.to_owned()));
    }
    let directory = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(e) => Err(e),
    }
    .map_err(|source| AccountingError::Directory { target: target.to_owned(), source })
}

fn now() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn run<L: Log>(mut stream: Stream<L>, orders: &Receiver<Order>, next: &Next, shown: &Shown) {
    let (mut recovered, mut idle) = (false, IDLE);
    loop {
        if let Some(options) = next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            stream.configure(options);
        }
        let result = if recovered { stream.step(now(), ENTRIES) } else { stream.recover().map(|()| true) };
        let wait = match &result {
            Ok(true) => {
                idle = IDLE;
                Duration::ZERO
            }
            Ok(false) => {
                let wait = idle;
                idle = (idle * 2).min(LONG_IDLE);
                wait
            }
            Err(_) => RETRY,
        };
        recovered = result.is_ok();
        show(shown, &stream, result.err());
        match orders.recv_timeout(wait) {
            Ok(Order::Rotate(target)) => stream.rotate(target),
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    if !recovered && stream.recover().is_err() {
        return;
    }
    if let Err(e) = stream.finish(now()) {
        tracing::error!("accounting: {e}; the lines are written at the next start");
    }
}

/// Keeps status up to date and raises the alarm once for each stretch of trouble.
fn show<L: Log>(shown: &Shown, stream: &Stream<L>, trouble: Option<FileError>) {
    shown.position.store(stream.position().to_u64(), Ordering::Relaxed);
    let stalled = trouble.is_some();
    if let Some(e) = trouble {
        let text = e.to_string();
        if !shown.stalled.load(Ordering::Relaxed) {
            tracing::error!(
                "accounting stalled, no lines are lost and writing is tried every second: {text}"
            );
        }
        *shown.trouble.lock().unwrap_or_else(PoisonError::into_inner) = text;
    } else if shown.stalled.load(Ordering::Relaxed) {
        tracing::info!("accounting goes on");
    }
    shown.stalled.store(stalled, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
