//! Cold reads: content that is no longer in RAM, read by the back end so that no reactor waits in a page fault. One
//! thread with a ring of 64 reads in flight, or a few threads that block; a commit under way delays neither.

use super::storage::BackEnd;
use super::storage_counters::Counters;
use crate::spool::SpoolError;
use crate::spool::record::Location;
use crate::spool::segments::{ColdRead, Segments};
use crossbeam_channel::Receiver;
use rustix::fs::{Advice, fadvise};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Semaphore, oneshot};

/// Threads that read for the blocking back end.
const READERS: usize = 4;
/// Reads in flight on io_uring.
const DEPTH: usize = 64;
/// Segment files kept open by each reader.
const OPEN_FILES: usize = 32;

/// A record wanted, and where to send it.
pub struct Wanted {
    pub at: Location,
    pub answer: oneshot::Sender<Result<Arc<[u8]>, SpoolError>>,
}

/// Where reads go.
#[derive(Clone)]
pub enum Reads {
    Threads(crossbeam_channel::Sender<Wanted>),
    Ring(tokio::sync::mpsc::UnboundedSender<Wanted>),
}

impl Reads {
    /// Starts the reading threads; they end with the last sender.
    pub fn start(
        back_end: BackEnd,
        segments: &Arc<Segments>,
        counters: &Arc<Counters>,
    ) -> Result<Reads, SpoolError> {
        let refusal = match back_end {
            BackEnd::Blocking => None,
            BackEnd::Uring | BackEnd::Auto => match ring(segments, counters) {
                Ok(reads) => {
                    tracing::info!("spool back end: io_uring");
                    counters.uring.store(true, Relaxed);
                    return Ok(reads);
                }
                Err(error) => Some(error),
            },
        };
        if let (Some(error), BackEnd::Uring) = (&refusal, back_end) {
            let why = format!("the kernel refuses io_uring: {error}");
            return Err(SpoolError::Failed { why });
        }
        let refusal = refusal.map(|e| e.to_string());
        tracing::info!(refusal = refusal.as_deref(), "spool back end: blocking");
        let (reads, wanted) = crossbeam_channel::unbounded();
        for _ in 0..READERS {
            let (segments, counters, wanted) = (Arc::clone(segments), Arc::clone(counters), wanted.clone());
            let run = move || serve_blocking(&segments, &counters, &wanted);
            thread::Builder::new().name("spool-read".into()).spawn(run).map_err(|e| unstarted(&e))?;
        }
        Ok(Reads::Threads(reads))
    }

    pub fn send(&self, wanted: Wanted) -> bool {
        match self {
            Reads::Threads(channel) => channel.send(wanted).is_ok(),
            Reads::Ring(channel) => channel.send(wanted).is_ok(),
        }
    }
}

fn unstarted(error: &io::Error) -> SpoolError {
    SpoolError::Failed { why: format!("thread spool-read could not be started: {error}") }
}

/// Starts the thread of the io_uring back end, or tells why the kernel refuses it (containers forbid io_uring by
/// default). `tokio_uring::start` would panic instead.
fn ring(segments: &Arc<Segments>, counters: &Arc<Counters>) -> io::Result<Reads> {
    let (segments, counters) = (Arc::clone(segments), Arc::clone(counters));
    let (reads, wanted) = tokio::sync::mpsc::unbounded_channel();
    let (started_given, started) = std::sync::mpsc::channel();
    thread::Builder::new().name("spool-read".into()).spawn(move || {
        match tokio_uring::Runtime::new(&tokio_uring::builder()) {
            Ok(runtime) => {
                let _ = started_given.send(Ok(()));
                runtime.block_on(serve_ring(segments, counters, wanted));
            }
            Err(error) => drop(started_given.send(Err(error))),
        }
    })?;
    started.recv().unwrap_or_else(|_| Err(io::Error::other("the thread died")))?;
    Ok(Reads::Ring(reads))
}

/// A reader thread of the blocking back end.
fn serve_blocking(segments: &Segments, counters: &Counters, wanted: &Receiver<Wanted>) {
    let mut files: HashMap<u32, File> = HashMap::new();
    for wanted in wanted {
        counters.add(|c| &c.reads, 1);
        let _ = wanted.answer.send(read_blocking(segments, &mut files, wanted.at));
    }
}

fn read_blocking(
    segments: &Segments,
    files: &mut HashMap<u32, File>,
    at: Location,
) -> Result<Arc<[u8]>, SpoolError> {
    let mut read = segments.cold_read(at)?;
    loop {
        let (from, len) = match read.next()? {
            Ok(payload) => return Ok(payload),
            Err(range) => range,
        };
        let file = cached(files, &read, |file| file)?;
        let mut bytes = vec![0; len];
        match file.read_at(&mut bytes, from) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => got(&mut read, result, bytes)?,
        }
    }
}

/// The reading task of the io_uring back end.
async fn serve_ring(segments: Arc<Segments>, counters: Arc<Counters>, mut wanted: UnboundedReceiver<Wanted>) {
    let depth = Arc::new(Semaphore::new(DEPTH));
    let mut files = HashMap::new();
    while let Some(wanted) = wanted.recv().await {
        counters.add(|c| &c.reads, 1);
        let read = segments.cold_read(wanted.at).and_then(|read| {
            let file = cached(&mut files, &read, |file| Rc::new(tokio_uring::fs::File::from_std(file)))?;
            Ok((read, Rc::clone(file)))
        });
        match read {
            Err(error) => drop(wanted.answer.send(Err(error))),
            Ok((read, file)) => {
                let Ok(permit) = Arc::clone(&depth).acquire_owned().await else { return };
                tokio_uring::spawn(async move {
                    let _ = wanted.answer.send(read_ring(read, &file).await);
                    drop(permit);
                });
            }
        }
    }
}

async fn read_ring(mut read: ColdRead, file: &tokio_uring::fs::File) -> Result<Arc<[u8]>, SpoolError> {
    loop {
        let (from, len) = match read.next()? {
            Ok(payload) => return Ok(payload),
            Err(range) => range,
        };
        let (result, bytes) = file.read_at(vec![0; len], from).await;
        got(&mut read, result, bytes)?;
    }
}

/// Takes what a read has given, which may be less than was asked for: the file may have been cut short behind the record.
fn got(read: &mut ColdRead, result: io::Result<usize>, mut bytes: Vec<u8>) -> Result<(), SpoolError> {
    match result {
        Ok(0) => Err(read.failed(&io::ErrorKind::UnexpectedEof.into())),
        Ok(n) => {
            bytes.truncate(n);
            read.bytes(bytes);
            Ok(())
        }
        Err(e) => Err(read.failed(&e)),
    }
}

/// The open file of the segment that `read` reads.
fn cached<'a, F>(
    files: &'a mut HashMap<u32, F>,
    read: &ColdRead,
    adopt: impl FnOnce(File) -> F,
) -> Result<&'a F, SpoolError> {
    let segment = read.at().segment;
    if !files.contains_key(&segment) {
        if files.len() >= OPEN_FILES {
            files.clear();
        }
        let file = open(read).map_err(|e| read.failed(&e))?;
        files.insert(segment, adopt(file));
    }
    Ok(&files[&segment])
}

fn open(read: &ColdRead) -> io::Result<File> {
    let file = File::open(read.path())?;
    // No reading ahead into blocks that are still to be written (see `spool::map`).
    fadvise(&file, 0, None, Advice::Random)?;
    Ok(file)
}
