//! The storage thread and the handle to it: opening (with recovery), submitting, settling, reading, stopping.

use super::disk::RealDisk;
use super::failpoint::{Point, pass};
use super::storage_commit::Committer;
use super::storage_counters::{Counters, LATENCY_CLASSES};
use super::storage_files::Directory;
pub use super::storage_inbox::{Answer, Desk, Pending, Submit, Ticket};
use super::storage_inbox::{Inbox, Receipt};
use super::storage_prepare::{Preparer, Supply, Wish};
use super::storage_read::{Reads, Wanted};
pub use super::storage_recovered::{LiveRows, Recovered};
use crate::spool::SpoolError;
use crate::spool::header::{BLOCK, SEGMENT_MAX, SEGMENT_MIN};
use crate::spool::log::Log;
use crate::spool::record::{Control, Draft, Group, Location, OutcomeBatch};
use crate::spool::recover::{Damage, Recovery};
use crate::spool::segments::{Segments, WINDOW};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// How content that is no longer in RAM is read. (Segment files are written by plain calls, see `disk`.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackEnd {
    /// io_uring where the kernel allows it, else blocking.
    #[default]
    Auto,
    Uring,
    Blocking,
}

#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// Bytes of a segment, 4 MiB to 1 GiB, a multiple of 4 KiB. The largest message is a little less.
    pub segment_size: u32,
    pub back_end: BackEnd,
    /// Bytes of disk space below which no segment is allocated and intake comes to a stop (F09);
    /// `None`: a tenth of the file system, at most 1 GiB.
    pub min_free_space: Option<u64>,
    /// How long a submitter waits for its commit (R10).
    pub commit_deadline: Duration,
    /// Bytes of recent commits kept in RAM for reading.
    pub window: usize,
    /// Write around the page cache where the file system allows it.
    pub direct: bool,
    /// Refuse to start when anything acknowledged is missing or damaged (F18).
    pub strict: bool,
    /// Beginnings of the names of other files that may stand in the spool directory.
    pub known_files: Vec<String>,
}

impl Default for StorageOptions {
    fn default() -> StorageOptions {
        StorageOptions {
            segment_size: 32 << 20,
            back_end: BackEnd::Auto,
            min_free_space: None,
            commit_deadline: Duration::from_secs(60),
            window: WINDOW,
            direct: true,
            strict: false,
            known_files: ["accounting", "acct", "cursor", "verp.keys", "warming"].map(String::from).to_vec(),
        }
    }
}

/// What `show status` and the metrics say about the spool.
#[derive(Clone, Debug)]
pub struct StorageStatus {
    /// `uring` or `blocking`.
    pub back_end: &'static str,
    /// Whether writes go around the page cache.
    pub direct: bool,
    pub bytes_written: u64,
    /// Commits written, and syncs; many outcomes share one sync.
    pub writes: u64,
    pub syncs: u64,
    /// Groups acknowledged and outcomes recorded since the start.
    pub groups: u64,
    pub outcomes: u64,
    /// Outcomes in doubt since the start, and recipients found in doubt at the start (R11).
    pub in_doubt: u64,
    /// Groups recorded as aborted because their commit came too late (R10).
    pub aborted: u64,
    /// Cold reads.
    pub reads: u64,
    pub segments_used: u32,
    pub segments_free: u32,
    /// Submissions are being refused (R7).
    pub full: bool,
    /// Recipients that wait.
    pub live_rows: u64,
    /// Commit latencies: entry `n` counts those of less than 2^n microseconds (and at least half of it).
    pub latency: [u64; LATENCY_CLASSES],
    /// Set when the log has failed: the process should exit with `EXIT_LOG_FAILED` (R2).
    pub failed: Option<SpoolError>,
}

/// The handle to the storage thread.
#[derive(Clone)]
pub struct Storage {
    shared: Arc<Shared>,
}

struct Shared {
    inbox: Arc<Inbox>,
    segments: Arc<Segments>,
    counters: Arc<Counters>,
    reads: Reads,
    deadline: Duration,
    next_id: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Storage {
    /// Opens, locks and recovers the spool at `dir` (made when missing) and starts its thread.
    pub fn open(dir: &Path, options: &StorageOptions) -> Result<(Storage, Recovered), SpoolError> {
        check(dir, options)?;
        let directory = Directory::open(dir, &options.known_files, true)?;
        if directory.is_volatile() {
            tracing::warn!(path = %dir.display(), "the spool is on a RAM disk: nothing survives a restart of the machine");
        }
        let recovery = directory.recover();
        report(&recovery);
        if let Some(damage) = recovery.damage.iter().find(|damage| options.strict && damage.is_loss()) {
            return Err(SpoolError::Unsound { path: dir.to_path_buf(), why: damage.to_string() });
        }
        directory.settle(&recovery)?;
        let mut free = directory.free.clone();
        for &number in &recovery.free {
            directory.free(number)?;
            pass(Point::RecoveryFreed);
            free.push(number);
        }
        // Those that an engine that was killed had renamed are among them.
        directory.sync()?;
        let segments = Arc::new(Segments::new(dir, options.window));
        for end in recovery.ledger.ends() {
            if let Some(header) = directory.headers.get(&end.segment) {
                segments.add(*header, Some(end.end8));
            }
        }
        let (inbox, counters) = (Arc::new(Inbox::default()), Arc::new(Counters::default()));
        let (wishes, wishes_taken) = crossbeam_channel::unbounded();
        let (ready_given, ready) = crossbeam_channel::unbounded();
        let preparer = Preparer {
            directory: Arc::new(directory),
            size: options.segment_size,
            direct: options.direct,
            min_free_space: options.min_free_space,
            next_number: recovery.next_number,
            free,
            counters: Arc::clone(&counters),
            wishes: wishes_taken,
            ready: ready_given,
            segments: Arc::clone(&segments),
            inbox,
        };
        Storage::start(options, recovery, segments, counters, preparer, Supply { wishes, ready })
    }

    fn start(
        options: &StorageOptions,
        mut recovery: Recovery,
        segments: Arc<Segments>,
        counters: Arc<Counters>,
        mut preparer: Preparer,
        supply: Supply,
    ) -> Result<(Storage, Recovered), SpoolError> {
        let first = preparer.first()?;
        counters
            .in_doubt
            .store(recovery.tried.values().filter(|tried| tried.in_doubt).count() as u64, Relaxed);
        let ledger = std::mem::take(&mut recovery.ledger);
        let recovered = Recovered::new(recovery, ledger.clone(), Arc::clone(&segments));
        let number = first.header.number;
        // Not enough to keep a wish waiting: the queue is unbounded.
        let _ = supply.wishes.send(Wish::Prepare);
        let inbox = Arc::clone(&preparer.inbox);
        let log = Log::new(ledger, first.header);
        let reads = Reads::start(options.back_end, &segments, &counters)?;
        let mut committer = Committer::new(
            RealDisk,
            log,
            first,
            Arc::clone(&inbox),
            Arc::clone(&segments),
            Arc::clone(&counters),
            supply,
        );
        // The first commit comes before anything else; should it fail, the threads end with their channels.
        committer.begin()?;
        let prepare = spawn("spool-prepare", move || preparer.run())?;
        // The failure is in the status and in the log; whoever waits has been told.
        let storage = spawn("spool", move || drop(committer.run()))?;
        let handle = Storage::over(inbox, segments, counters, reads, options.commit_deadline, number);
        handle.shared.threads.lock().unwrap_or_else(PoisonError::into_inner).extend([storage, prepare]);
        Ok((handle, recovered))
    }

    /// The handle to a storage loop with these parts that somebody drives; `first`: the segment it began with.
    pub fn over(
        inbox: Arc<Inbox>,
        segments: Arc<Segments>,
        counters: Arc<Counters>,
        reads: Reads,
        deadline: Duration,
        first: u32,
    ) -> Storage {
        // Segment numbers are never used twice and each start takes a new one, so neither are these ids.
        let next_id = AtomicU64::new(u64::from(first) << 32);
        let threads = Mutex::default();
        Storage { shared: Arc::new(Shared { inbox, segments, counters, reads, deadline, next_id, threads }) }
    }

    /// A number for a submission or message that this spool has never given out before (R8).
    pub fn new_id(&self) -> u64 {
        self.shared.next_id.fetch_add(1, Relaxed)
    }

    /// Hands over a group, blocking while the queue is full.
    pub fn submit(&self, group: Group) -> Pending {
        let (submit, pending) = self.envelope(group);
        self.shared.inbox.submit(submit);
        pending
    }

    /// Hands over a group, waiting for room in the queue. Await the result for the commit.
    pub async fn submit_async(&self, group: Group) -> Pending {
        let (submit, pending) = self.envelope(group);
        self.submit_all(&mut VecDeque::from([submit])).await;
        pending
    }

    /// Hands over a control record that nobody waits for, without waiting for room: it is small. It keeps its place among
    /// the submissions.
    pub fn note(&self, control: Control) {
        let (submit, _) = self.envelope(Group { drafts: vec![Draft::Control(control)] });
        self.shared.inbox.push(submit);
    }

    /// How long a submitter waits for its commit (R10).
    pub fn commit_deadline(&self) -> Duration {
        self.shared.deadline
    }

    /// A group of a submitter who hears of the answer at a desk, under `number`; for [`Storage::submit_all`].
    pub fn submission_at(&self, group: Group, desk: &Arc<Desk>, number: u32) -> (Submit, Ticket) {
        let receipt = Arc::new(Receipt::new(Some((Arc::clone(desk), number))));
        let submit = Submit { bound: Log::group_bound(&group), group, receipt: Arc::clone(&receipt) };
        (submit, Ticket::new(receipt, self.shared.deadline))
    }

    /// Hands over many groups at once, waiting for room in the queue.
    pub async fn submit_all(&self, submits: &mut VecDeque<Submit>) {
        std::future::poll_fn(|cx| self.shared.inbox.poll_submit(cx, submits)).await;
    }

    fn envelope(&self, group: Group) -> (Submit, Pending) {
        let receipt = Arc::new(Receipt::new(None));
        // What cannot be taken back must not be given up, and nobody at the other end runs out of patience.
        let deadline = (!group.is_final()).then_some(self.shared.deadline);
        let submit = Submit { bound: Log::group_bound(&group), group, receipt: Arc::clone(&receipt) };
        (submit, Pending::new(receipt, deadline))
    }

    /// Hands over outcomes. Never blocks: gives the batch back when the queue is full or the log has failed.
    pub fn settle(&self, batch: OutcomeBatch) -> Result<(), OutcomeBatch> {
        self.shared.inbox.settle(batch)
    }

    /// Reads the payload of the record at `at` through the back end, without a page fault for the caller.
    pub async fn read(&self, at: Location) -> Result<Arc<[u8]>, SpoolError> {
        let (answer, answered) = oneshot::channel();
        if !self.shared.reads.send(Wanted { at, answer }) {
            return Err(SpoolError::Stopped);
        }
        answered.await.unwrap_or(Err(SpoolError::Stopped))
    }

    /// Accounting has durably written everything before `cursor`.
    pub fn set_accounting_cursor(&self, cursor: Location) {
        self.shared.inbox.set_cursor(cursor);
    }

    pub fn segments(&self) -> &Arc<Segments> {
        &self.shared.segments
    }

    pub fn status(&self) -> StorageStatus {
        let c = &self.shared.counters;
        let segments_free = c.segments_free.load(Relaxed);
        let failed = self.shared.inbox.closed().filter(|why| *why != SpoolError::Stopped);
        StorageStatus {
            back_end: if c.uring.load(Relaxed) { "uring" } else { "blocking" },
            direct: c.direct.load(Relaxed),
            bytes_written: c.bytes_written.load(Relaxed),
            writes: c.writes.load(Relaxed),
            syncs: c.syncs.load(Relaxed),
            groups: c.groups.load(Relaxed),
            outcomes: c.outcomes.load(Relaxed),
            in_doubt: c.in_doubt.load(Relaxed),
            aborted: c.aborted.load(Relaxed),
            reads: c.reads.load(Relaxed),
            segments_used: c.segments_used.load(Relaxed),
            segments_free,
            full: c.space_low.load(Relaxed) && segments_free <= 2,
            live_rows: c.live_rows.load(Relaxed),
            latency: c.latencies(),
            failed,
        }
    }

    /// Commits what is queued, syncs, and ends the threads. Later submissions are refused by every clone.
    pub fn stop(self) {
        self.shared.inbox.stop();
        let threads =
            std::mem::take(&mut *self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, SpoolError> {
    let thread = thread::Builder::new().name(name.into()).spawn(run);
    thread.map_err(|e| SpoolError::Failed { why: format!("thread {name} could not be started: {e}") })
}

fn check(dir: &Path, options: &StorageOptions) -> Result<(), SpoolError> {
    let size = options.segment_size;
    if (SEGMENT_MIN..=SEGMENT_MAX).contains(&size) && (size as usize).is_multiple_of(BLOCK) {
        return Ok(());
    }
    let why =
        format!("a segment size of {size} is not a multiple of 4096 between {SEGMENT_MIN} and {SEGMENT_MAX}");
    Err(SpoolError::Foreign { path: dir.to_path_buf(), why })
}

/// F01: one line that says what recovery found, and one for each damage.
fn report(recovery: &Recovery) {
    for damage in &recovery.damage {
        match damage {
            Damage::Torn { .. } => tracing::info!("spool: {damage}"),
            _ => tracing::error!("spool: {damage}"),
        }
    }
    let damaged = recovery.damage.iter().filter(|damage| damage.is_loss()).count();
    let in_doubt = recovery.tried.values().filter(|tried| tried.in_doubt).count();
    let live = recovery.ledger.live_rows();
    tracing::info!(
        records = recovery.records,
        "recovered {live} recipients, {in_doubt} in doubt, {damaged} damaged"
    );
}

#[cfg(test)]
#[path = "storage_tests.rs"]
pub(super) mod tests;

#[cfg(test)]
#[path = "storage_measure.rs"]
mod measure;

#[cfg(test)]
#[path = "storage_kill_tests.rs"]
mod kill;

#[cfg(test)]
#[path = "storage_forward_tests.rs"]
mod forward;
