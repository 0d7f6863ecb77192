//! One life of the engine, from the recovery of its spool to its end: the production storage loop, intake, shards and
//! accounting, driven by thin twins of the threads that drive them outside of here.

use super::audit::Auditor;
use super::disk::FakeDisk;
use super::post::{News, Post};
use super::world::Clock;
use arc_swap::ArcSwap;
use posthaste::base::{Now, Time};
use posthaste::daemon::accounting::{SpoolLog, StreamOptions};
use posthaste::daemon::accounting_stream::Stream;
use posthaste::daemon::intake::Intake;
use posthaste::daemon::owners::{Owners, Split};
use posthaste::daemon::profiles::{ConfigProfiles, Configured};
use posthaste::daemon::recovery;
use posthaste::daemon::warming::Warmings;
use posthaste::io::reactor::Message;
use posthaste::io::storage::{Recovered, Storage};
use posthaste::io::storage_commit::Committer;
use posthaste::io::storage_counters::Counters;
use posthaste::io::storage_inbox::{Gathered, Inbox};
use posthaste::io::storage_prepare::{Prepared, Supply, Wish};
use posthaste::io::storage_read::{Reads, Wanted};
use posthaste::limit::Shared;
use posthaste::mail::verp::VerpKeys;
use posthaste::route::RoutePolicy;
use posthaste::shard::{Input, QueuePattern, Settings, Shard};
use posthaste::spool::SpoolError;
use posthaste::spool::forward::gather;
use posthaste::spool::header::{DATA_START, SegmentHeader};
use posthaste::spool::ledger::{Import, Ledger};
use posthaste::spool::log::Log;
use posthaste::spool::reader::LogReader;
use posthaste::spool::record::{Location, OutcomeBatch};
use posthaste::spool::recover::recover;
use posthaste::spool::segments::Segments;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc;

/// What is needed to start an engine.
pub struct Ground {
    pub clock: Rc<Clock>,
    pub disk: FakeDisk,
    pub post: Rc<Post>,
    pub configured: Arc<Configured>,
    pub segment_size: u32,
    pub spare: usize,
    pub commit_deadline: Duration,
    pub route_seed: u64,
}

/// A running engine.
pub struct Life {
    pub shards: Vec<Shard>,
    pub storage: Storage,
    pub intake: Arc<Intake>,
    pub shared: Arc<Shared>,
    pub policy: Arc<RoutePolicy>,
    /// When the engine's monotonic clock showed zero.
    pub epoch: Duration,
    /// Batches of each shard that storage has not taken yet.
    pub unsettled: Vec<VecDeque<OutcomeBatch>>,
    pub accounting: Rc<RefCell<Stream<SpoolLog>>>,
    /// What the spool knew of pickup files and campaigns.
    pub done: Vec<String>,
    pub imports: BTreeMap<String, Import>,
    pub recovered: u64,
}

impl Life {
    /// Recovers the spool and starts everything. Inside a `LocalSet`.
    pub async fn start(
        ground: &Ground,
        shards: usize,
        accounting: StreamOptions,
        audit: &mut Auditor,
    ) -> Result<Life, SpoolError> {
        let (storage, recovered) = open_storage(ground, audit).await?;
        let stream = Rc::new(RefCell::new(Stream::new(accounting, SpoolLog::new(storage.clone()))));
        ground.post.spawn(account(Rc::clone(&stream), Rc::clone(&ground.clock), Rc::clone(&ground.post)));
        let shared = Arc::new(Shared::new(ground.configured.config.global().total_max_smtp_out));
        let policy = Arc::new(ground.configured.route_policy(ground.route_seed));
        let pauses: Vec<_> =
            recovered.pauses().map(|(queue, paused)| (QueuePattern::parse(queue), paused)).collect();
        let epoch = ground.clock.now().saturating_sub(Duration::from_secs(1));
        let now = ground.clock.engine_now(epoch);
        let verp =
            Arc::new(VerpKeys::parse(&VerpKeys::file(&[7; 32])).expect("a key file of its own making"));
        let mut made: Vec<Shard> = Vec::new();
        let mut inboxes = Vec::new();
        for number in 0..shards {
            let settings = Settings {
                profiles: Box::new(ConfigProfiles::new(ground.configured.clone())),
                segments: storage.segments().clone(),
                routes: policy.clone(),
                number: number as u32,
                shared: shared.clone(),
                pauses: pauses.clone(),
                routes_lost: recovered.routes_lost().collect(),
                verp: verp.clone(),
            };
            made.push(Shard::new(now, settings));
            let (inbox, messages) = mpsc::channel::<Message>(64);
            inboxes.push(inbox);
            ground.post.spawn(forward(number, messages, Rc::clone(&ground.post)));
        }
        let owners = Owners::new(inboxes);
        let waiting = recovery::requeue(
            &recovered,
            || Split::new(shards, ground.configured.clone(), now.wall),
            |split| {
                for (shard, admits) in split.into_shards().into_iter().enumerate() {
                    admits.into_iter().for_each(|admit| made[shard].handle(now, Input::Admit(admit)));
                }
                Ok(())
            },
        );
        let configured = Arc::new(ArcSwap::new(ground.configured.clone()));
        let warming = Arc::new(Warmings::in_memory());
        let intake = Arc::new(Intake::new(storage.clone(), owners, configured, warming));
        Ok(Life {
            unsettled: made.iter().map(|_| VecDeque::new()).collect(),
            shards: made,
            storage,
            intake,
            shared,
            policy,
            epoch,
            accounting: stream,
            done: recovered.pickup_done().map(str::to_owned).collect(),
            imports: recovered.imports().map(|(name, import)| (name.to_owned(), import.clone())).collect(),
            recovered: waiting.unwrap_or(0),
        })
    }

    pub fn now(&self, clock: &Clock) -> Now {
        clock.engine_now(self.epoch)
    }

    /// When the first shard wants to be woken, in the world's time.
    pub fn next_wake(&self) -> Option<Duration> {
        let wakes = self.shards.iter().filter_map(Shard::next_wake).filter(|at| *at != Time::NEVER);
        wakes.min().map(|at| self.epoch + Duration::from_micros(at.0))
    }

    /// Offers storage the batches that it has not taken yet, as the reactor does.
    pub fn offer_unsettled(&mut self, shard: usize) {
        let unsettled = &mut self.unsettled[shard];
        while let Some(batch) = unsettled.pop_front() {
            if let Err(batch) = self.storage.settle(batch) {
                unsettled.push_front(batch);
                break;
            }
        }
        self.shards[shard].hold_outcomes(!unsettled.is_empty());
    }
}

/// The segments in use, readable from RAM.
fn segments_of(disk: &FakeDisk, headers: &BTreeMap<u32, SegmentHeader>, ledger: &Ledger) -> Arc<Segments> {
    let segments = Arc::new(Segments::new(Path::new("/nowhere"), usize::MAX));
    for end in ledger.ends() {
        let Some(header) = headers.get(&end.segment) else { continue };
        segments.add(*header, Some(end.end8));
        if end.end8 as usize * 8 > DATA_START {
            let at = Location { segment: end.segment, offset8: (DATA_START / 8) as u32 };
            segments.push(at, Arc::new(disk.records(end.segment, end.end8 as usize * 8)));
        }
    }
    segments
}

/// What opening a spool does, on the fake disk.
async fn open_storage(ground: &Ground, audit: &mut Auditor) -> Result<(Storage, Recovered), SpoolError> {
    let mut disk = ground.disk.clone();
    let headers = disk.headers();
    let mut recovery = recover(&headers, &[], &mut disk);
    for damage in recovery.damage.iter().filter(|damage| damage.is_loss()) {
        audit.breach("no loss", format!("recovery reports {damage}"));
    }
    disk.raise_number(recovery.next_number - 1);
    for end in recovery.ledger.ends().iter().rev().take(2) {
        // Writes that a killed process left in the page cache become durable here.
        tokio::time::sleep(Duration::from_millis(1)).await;
        disk.sync_now(end.segment);
    }
    for &number in &recovery.free {
        disk.free(number);
    }
    let segments = segments_of(&disk, &headers, &recovery.ledger);
    if disk.free_files() == 0 && !disk.allocate() {
        return Err(SpoolError::Full { free_segments: 0 });
    }
    let Some(header) = disk.name(ground.segment_size) else {
        return Err(SpoolError::Full { free_segments: 0 });
    };
    let counters = Arc::new(Counters::default());
    let inbox = Arc::new(Inbox::default());
    let (wishes, wanted) = crossbeam_channel::unbounded();
    let (given, ready) = crossbeam_channel::unbounded();
    let available = ready.clone();
    // The queue is unbounded.
    let _ = wishes.send(Wish::Prepare);
    ground.post.spawn(prepare_segments(
        disk.clone(),
        (ground.segment_size, ground.spare),
        Arc::clone(&counters),
        (wanted, given),
        (Arc::clone(&inbox), Arc::clone(&segments)),
        Rc::clone(&ground.post),
    ));
    let ledger = std::mem::take(&mut recovery.ledger);
    let recovered = Recovered::new(recovery, ledger.clone(), Arc::clone(&segments));
    let mut committer = Committer::new(
        disk.clone(),
        Log::new(ledger, header),
        Prepared { header, file: header.number },
        Arc::clone(&inbox),
        Arc::clone(&segments),
        Arc::clone(&counters),
        Supply { wishes, ready },
    );
    committer.begin()?;
    ground.post.spawn(commit(
        committer,
        Arc::clone(&inbox),
        disk.clone(),
        available,
        Rc::clone(&ground.post),
    ));
    let (reads, wanted) = mpsc::unbounded_channel();
    ground.post.spawn(serve_reads(Arc::clone(&segments), disk, wanted));
    let reads = Reads::Ring(reads);
    let storage = Storage::over(inbox, segments, counters, reads, ground.commit_deadline, header.number);
    Ok((storage, recovered))
}

/// The storage thread. A turn takes its time before it is made, and is made at once: what it takes in is as late as its
/// answers are.
async fn commit(
    mut committer: Committer<FakeDisk>,
    inbox: Arc<Inbox>,
    disk: FakeDisk,
    ready: crossbeam_channel::Receiver<Result<Prepared<u32>, SpoolError>>,
    post: Rc<Post>,
) {
    loop {
        let attention = std::future::poll_fn(|cx| inbox.poll_attention(cx));
        match committer.next_wake() {
            None => attention.await,
            // Its end is no news: the turn looks at everything.
            Some(at) => drop(tokio::time::timeout_at(at, attention).await),
        }
        tokio::time::sleep(disk.begin_turn()).await;
        // A turn may move to the next segment, and would wait for it.
        while ready.is_empty() {
            // Whoever prepares it may not have heard yet that it is wanted.
            post.stir();
            post.stirred.notified().await;
        }
        let turn = committer.turn();
        disk.end_turn();
        let result = match turn {
            Ok(false) => continue,
            Ok(true) => Ok(()),
            Err(error) => Err(error),
        };
        if post.is_down() {
            return;
        }
        committer.close(&result);
        return post.send(match result {
            Ok(()) => News::Stopped,
            Err(error) => News::LogFailed(error.to_string()),
        });
    }
}

/// The thread that prepares segments.
async fn prepare_segments(
    disk: FakeDisk,
    (size, spare): (u32, usize),
    counters: Arc<Counters>,
    (wishes, ready): (
        crossbeam_channel::Receiver<Wish>,
        crossbeam_channel::Sender<Result<Prepared<u32>, SpoolError>>,
    ),
    (inbox, segments): (Arc<Inbox>, Arc<Segments>),
    post: Rc<Post>,
) {
    let (mut wanted, mut prepared) = (0u32, 0u32);
    loop {
        counters.space_low.store(!disk.has_room(), Relaxed);
        while wanted > 0 && (disk.free_files() > 0 || disk.allocate()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let Some(header) = disk.name(size) else { break };
            (wanted, prepared) = (wanted - 1, 1);
            if ready.send(Ok(Prepared { header, file: header.number })).is_err() {
                return;
            }
            post.stir();
        }
        while disk.free_files() < spare && disk.has_room() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            disk.allocate();
        }
        counters.space_low.store(!disk.has_room(), Relaxed);
        counters.segments_free.store(disk.free_files() as u32 + prepared, Relaxed);
        match wishes.try_recv() {
            Ok(Wish::Prepare) => (wanted, prepared) = (wanted + 1, 0),
            Ok(Wish::Recycle(number)) => disk.free(number),
            Ok(Wish::Gather(plan)) => {
                let segment = plan.segment;
                inbox.gathered(Gathered { segment, forward: gather(plan, &segments).ok() });
            }
            Err(crossbeam_channel::TryRecvError::Disconnected) => return,
            Err(crossbeam_channel::TryRecvError::Empty) => {
                let look = async {
                    if wanted == 0 && disk.has_room() {
                        std::future::pending::<()>().await;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                };
                tokio::select! { biased; () = post.stirred.notified() => {}, () = look => {} }
            }
        }
    }
}

/// The readers of cold content.
async fn serve_reads(segments: Arc<Segments>, disk: FakeDisk, mut wanted: mpsc::UnboundedReceiver<Wanted>) {
    while let Some(wanted) = wanted.recv().await {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let read = segments.cold_read(wanted.at).and_then(|read| {
            if disk.reads_fail() {
                return Err(read.failed(&std::io::Error::from_raw_os_error(5)));
            }
            read.next()?.map_err(|_| SpoolError::Failed { why: "not in RAM".into() })
        });
        // Whoever asked may be gone.
        let _ = wanted.answer.send(read);
    }
}

/// A reactor's way of taking messages.
async fn forward(shard: usize, mut messages: mpsc::Receiver<Message>, post: Rc<Post>) {
    while let Some(message) = messages.recv().await {
        post.send(News::Message(shard, message));
    }
}

/// The accounting thread.
async fn account(stream: Rc<RefCell<Stream<SpoolLog>>>, clock: Rc<Clock>, post: Rc<Post>) {
    if let Err(error) = stream.borrow_mut().recover() {
        panic!("accounting: {error}");
    }
    // Once more a second after the last line: the cursor is saved then, and the log let go of, twice.
    let mut more = 3;
    loop {
        loop {
            let step = stream.borrow_mut().step(clock.wall(), 256);
            match step {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => panic!("accounting: {error}"),
            }
        }
        let again = async {
            if more == 0 {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(1100)).await;
        };
        tokio::select! {
            biased;
            () = post.stirred.notified() => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                more = 3;
            }
            () = again => more -= 1,
        }
    }
}

/// Reads the log for the auditor, over all lives.
pub struct Follower {
    at: Location,
}

impl Follower {
    pub fn new() -> Follower {
        Follower { at: Location::START }
    }

    /// Tells the auditor every outcome that has become durable.
    pub fn follow(&mut self, segments: &Arc<Segments>, audit: &mut Auditor) {
        use posthaste::spool::frame::Kind;
        if segments.durable_end() <= self.at {
            return;
        }
        let mut reader = LogReader::new(Arc::clone(segments), self.at);
        loop {
            let record = match reader.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    audit.breach("readable log", format!("at {}: {error}", reader.at()));
                    break;
                }
            };
            if record.kind != Kind::Outcomes {
                continue;
            }
            let batch = posthaste::spool::codec::decode_outcomes(record.at, &record).expect("a whole record");
            for outcome in &batch.outcomes {
                let address = address_of(segments, outcome.row.record, usize::from(outcome.row.index));
                audit.outcome(&address, outcome.disposition, outcome.at);
            }
        }
        self.at = reader.at();
    }
}

fn address_of(segments: &Segments, record: Location, index: usize) -> String {
    let Ok(record) = segments.record(record) else { return format!("(no record at {record})") };
    let view = posthaste::spool::rows::RowsView::new(&record);
    let row = view.as_ref().and_then(|view| view.row(index));
    let address =
        row.and_then(|row| posthaste::mail::row::row_view(row).ok()).map(|view| view.address.to_owned());
    address.unwrap_or_else(|| "(no row)".to_owned())
}
