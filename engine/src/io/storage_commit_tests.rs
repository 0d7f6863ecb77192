//! The storage loop on a disk that fails or hangs.

use super::*;
use crate::io::disk::RealDisk;
use crate::io::storage::tests::{message, outcomes, spool, waiting};
use crate::io::storage_files::Directory;
use crate::io::storage_inbox::{Desk, Pending, Ticket};
use crate::io::storage_prepare::Preparer;
use crate::io::storage_recovered::Recovered;
use crate::spool::block::Blocks;
use crate::spool::header::SEGMENT_MIN;
use crate::spool::reader::LogReader;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Condvar, Mutex};
use std::thread::JoinHandle;

/// Fails one operation, and can be made to hang in a sync.
#[derive(Clone, Default)]
struct Faults {
    operations: Arc<AtomicU64>,
    /// This operation fails, counted from 1; once.
    fail_at: u64,
    errno: i32,
    /// A write that fails has written its first half.
    short: bool,
    hung: Arc<(Mutex<bool>, Condvar)>,
}

impl Faults {
    fn operation(&self) -> io::Result<()> {
        match self.operations.fetch_add(1, Relaxed) + 1 {
            n if n == self.fail_at => Err(io::Error::from_raw_os_error(self.errno)),
            _ => Ok(()),
        }
    }

    fn hang(&self, hang: bool) {
        *self.hung.0.lock().expect("not poisoned") = hang;
        self.hung.1.notify_all();
    }
}

impl Disk for Faults {
    type File = std::fs::File;

    fn write(&self, file: &std::fs::File, at: u64, blocks: &Blocks) -> io::Result<()> {
        if let Err(error) = self.operation() {
            if self.short {
                let mut half = Blocks::with_capacity(blocks.len());
                half.push(&blocks.as_slice()[..blocks.len() / 2 / BLOCK * BLOCK]);
                RealDisk.write(file, at, &half.finish())?;
            }
            return Err(error);
        }
        RealDisk.write(file, at, blocks)
    }

    fn sync(&self, file: &std::fs::File) -> io::Result<()> {
        self.operation()?;
        drop(
            self.hung
                .1
                .wait_while(self.hung.0.lock().expect("not poisoned"), |hung| *hung)
                .expect("not poisoned"),
        );
        RealDisk.sync(file)
    }
}

struct Rig {
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
    segments: Arc<Segments>,
    thread: JoinHandle<Result<(), SpoolError>>,
    preparer: JoinHandle<()>,
    /// Recipients that a restart finds waiting.
    waiting: u64,
}

impl Rig {
    fn open(dir: &Path, disk: Faults) -> Rig {
        let directory = Directory::open(dir, &[], true).expect("opens");
        let recovery = directory.recover();
        assert_eq!(
            recovery.damage.iter().filter(|damage| damage.is_loss()).count(),
            0,
            "{:?}",
            recovery.damage
        );
        let mut free = directory.free.clone();
        for &number in &recovery.free {
            directory.free(number).expect("renamed");
            free.push(number);
        }
        let (inbox, counters) = (Arc::new(Inbox::default()), Arc::new(Counters::default()));
        let segments = Arc::new(Segments::new(dir, 1 << 20));
        for end in recovery.ledger.ends() {
            segments.add(directory.headers[&end.segment], Some(end.end8));
        }
        let (wishes, wishes_taken) = crossbeam_channel::unbounded();
        let (ready_given, ready) = crossbeam_channel::unbounded();
        let mut preparer = Preparer {
            directory: Arc::new(directory),
            size: SEGMENT_MIN,
            direct: true,
            min_free_space: Some(0),
            next_number: recovery.next_number,
            free,
            counters: Arc::clone(&counters),
            wishes: wishes_taken,
            ready: ready_given,
            segments: Arc::clone(&segments),
            inbox: Arc::clone(&inbox),
        };
        let first = preparer.first().expect("a segment");
        wishes.send(Wish::Prepare).expect("sent");
        let waiting = recovery.ledger.live_rows();
        let log = Log::new(recovery.ledger, first.header);
        let supply = Supply { wishes, ready };
        let parts = (Arc::clone(&inbox), Arc::clone(&segments), Arc::clone(&counters));
        let preparer = std::thread::spawn(move || preparer.run());
        let thread = std::thread::spawn(move || {
            let mut committer = Committer::new(disk, log, first, parts.0, parts.1, parts.2, supply);
            // A failure at the very start is met again by the first who submits.
            match committer.begin() {
                Ok(()) => committer.run(),
                Err(error) => {
                    committer.inbox.close(&error);
                    Err(error)
                }
            }
        });
        Rig { inbox, counters, segments, thread, preparer, waiting }
    }

    fn submit(&self, group: Group, deadline: Option<Duration>) -> Pending {
        let receipt = Arc::new(Receipt::new(None));
        let bound = Log::group_bound(&group);
        self.inbox.submit(Submit { group, bound, receipt: Arc::clone(&receipt) });
        Pending::new(receipt, deadline)
    }

    /// After a message has been taken in: how many writes there have been.
    fn settled(&self) -> u64 {
        assert!(self.submit(one(), None).wait().is_ok());
        self.counters.writes.load(Relaxed)
    }

    fn wait_for_write(&self, written: u64) {
        while self.counters.writes.load(Relaxed) <= written {
            std::thread::yield_now();
        }
    }

    fn end(self) -> Result<(), SpoolError> {
        self.inbox.stop();
        let result = self.thread.join().expect("no panic");
        self.preparer.join().expect("no panic");
        result
    }
}

/// One message of one recipient.
fn one() -> Group {
    message(b"body", &["a@x.example"])
}

#[test]
fn a_failed_sync_is_not_tried_again_and_nothing_more_is_taken() {
    let dir = spool();
    // 1-2: the first commit; 3-4: the first message; 6: the sync of the second.
    let disk = Faults { fail_at: 6, errno: 5, ..Faults::default() };
    let rig = Rig::open(dir.path(), disk.clone());
    assert!(rig.submit(one(), None).wait().is_ok());
    let failed = |answer| matches!(answer, Err(SpoolError::Failed { why }) if why.contains("sync"));
    assert!(failed(rig.submit(one(), None).wait()));
    assert!(failed(rig.submit(one(), None).wait()));
    assert!(rig.inbox.settle(OutcomeBatch::default()).is_err());
    assert!(rig.end().is_err());
    assert_eq!(disk.operations.load(Relaxed), 6, "nothing is written or synced after the failure");
    let rig = Rig::open(dir.path(), Faults::default());
    // The second was written; its submitter knows that it may exist or not.
    assert!((1..=2).contains(&rig.waiting));
    rig.end().expect("stops well");
}

/// What a run was told, by address.
#[derive(Default)]
struct Told {
    /// Acknowledged, and never settled.
    owed: BTreeSet<String>,
    /// Submitted without an answer, or settled without one: there or not.
    open: BTreeSet<String>,
}

/// The recipients that a start would find waiting; none is started.
fn waiting_in(dir: &Path) -> BTreeSet<String> {
    let directory = Directory::open(dir, &[], false).expect("opens");
    let mut recovery = directory.recover();
    let losses: Vec<_> = recovery.damage.iter().filter(|damage| damage.is_loss()).collect();
    assert!(losses.is_empty(), "{losses:?}");
    let segments = Arc::new(Segments::new(dir, 0));
    for end in recovery.ledger.ends() {
        segments.add(directory.headers[&end.segment], Some(end.end8));
    }
    segments.set_durable(Location { segment: u32::MAX, offset8: 0 });
    let ledger = std::mem::take(&mut recovery.ledger);
    let rows = waiting(&Recovered::new(recovery, ledger, segments));
    rows.iter().map(|row| row.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// Messages, outcomes, a segment that is full, read by accounting and retired. Ends at the first refusal.
fn script(rig: &Rig) -> Told {
    let mut told = Told::default();
    for n in 0..4 {
        let (kept, gone) = (format!("kept{n}@x.example"), format!("gone{n}@x.example"));
        // The fourth does not fit into the first segment, of which nothing is kept.
        let body = vec![b'x'; if n == 0 { 100 } else { 1_900_000 }];
        let Ok(done) = rig.submit(message(&body, &[&kept, &gone]), None).wait() else {
            told.open.extend([kept, gone]);
            break;
        };
        let mut settled = vec![(1, Disposition::Delivered)];
        if n < 3 {
            settled.push((0, Disposition::Bounced));
        } else {
            told.owed.insert(kept.clone());
        }
        let batch = outcomes(done.places[1].at, done.places[2], &settled);
        let taken = rig.inbox.settle(batch).is_ok();
        let those = if taken { &mut told.open } else { &mut told.owed };
        those.extend([kept, gone]);
        rig.inbox.set_cursor(rig.segments.durable_end());
    }
    told
}

/// T3: of a whole run the first operation fails, then the second, and so on to the last.
#[test]
fn whichever_operation_fails_what_was_acknowledged_is_there() {
    for (errno, short) in [(5, false), (28, true)] {
        for fail_at in 1.. {
            let dir = spool();
            let disk = Faults { fail_at, errno, short, ..Faults::default() };
            let rig = Rig::open(dir.path(), disk.clone());
            let told = script(&rig);
            let ended = rig.end();
            let failed = disk.operations.load(Relaxed) >= fail_at;
            assert_eq!(ended.is_err(), failed, "operation {fail_at} failed unnoticed: {ended:?}");
            let operations = disk.operations.load(Relaxed);
            assert!(!failed || operations == fail_at, "nothing is written or synced after the failure");
            let found = waiting_in(dir.path());
            let lost: Vec<_> = told.owed.difference(&found).collect();
            assert!(lost.is_empty(), "operation {fail_at}: {lost:?} are lost");
            let known: BTreeSet<String> = told.owed.union(&told.open).cloned().collect();
            assert!(found.is_subset(&known), "{found:?} holds others");
            if !failed {
                assert!(fail_at > 12, "{fail_at} operations are no whole run");
                break;
            }
        }
    }
}

#[test]
fn nobody_reads_an_outcome_that_is_not_durable() {
    let dir = spool();
    let disk = Faults::default();
    let rig = Rig::open(dir.path(), disk.clone());
    let places = rig.submit(one(), None).wait().expect("committed").places;
    let mut reader = LogReader::new(Arc::clone(&rig.segments), rig.segments.durable_end());
    let before = disk.operations.load(Relaxed);
    disk.hang(true);
    let batch = outcomes(places[1].at, places[2], &[(0, Disposition::Delivered)]);
    assert!(rig.inbox.settle(batch).is_ok());
    // One operation writes it, the next is the sync that hangs.
    while disk.operations.load(Relaxed) < before + 2 {
        std::thread::yield_now();
    }
    assert!(reader.next().expect("readable").is_none(), "read before it is durable");
    disk.hang(false);
    let mut end = reader.at();
    while reader.next().expect("readable").is_none() {
        let moved = rig.segments.wait_beyond(end, Duration::from_secs(20));
        assert!(moved > end, "the outcome was never synced");
        end = moved;
    }
    rig.end().expect("stops well");
}

#[test]
fn a_commit_that_comes_too_late_is_not_delivered() {
    let dir = spool();
    let disk = Faults::default();
    let rig = Rig::open(dir.path(), disk.clone());
    assert!(rig.submit(one(), None).wait().is_ok());
    disk.hang(true);
    let late = rig.submit(message(b"late", &["b@x.example", "c@x.example"]), Some(Duration::from_millis(20)));
    assert_eq!(late.wait(), Err(SpoolError::Deadline { seconds: 0 }));
    disk.hang(false);
    // Acknowledged after the late one was recorded as aborted.
    assert!(rig.submit(one(), None).wait().is_ok());
    let counters = Arc::clone(&rig.counters);
    rig.end().expect("stops well");
    assert!(counters.aborted.load(Relaxed) <= 1);
    let rig = Rig::open(dir.path(), Faults::default());
    assert_eq!(rig.waiting, 2, "the late group's rows are not delivered");
    rig.end().expect("stops well");
}

#[test]
fn outcomes_alone_are_synced_without_a_submission() {
    let dir = spool();
    let rig = Rig::open(dir.path(), Faults::default());
    let places = rig.submit(one(), None).wait().expect("committed").places;
    let batch = outcomes(places[1].at, places[2], &[(0, Disposition::Delivered)]);
    assert!(rig.inbox.settle(batch).is_ok());
    let mut end = places[2].at;
    while rig.counters.live_rows.load(Relaxed) != 0 {
        let moved = rig.segments.wait_beyond(end, Duration::from_secs(20));
        assert!(moved > end, "the outcome was never synced");
        end = moved;
    }
    rig.end().expect("stops well");
}

/// Counts how often it is woken, and tells.
struct Woken(Mutex<std::sync::mpsc::Sender<()>>);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        let _ = self.0.lock().expect("not poisoned").send(());
    }
}

fn at_desk(rig: &Rig, desk: &Arc<Desk>, numbers: std::ops::Range<u32>) -> Vec<Ticket> {
    let receipts = numbers.map(|number| Arc::new(Receipt::new(Some((Arc::clone(desk), number)))));
    let receipts: Vec<_> = receipts.collect();
    let submit = |receipt: &Arc<Receipt>| Submit {
        group: one(),
        bound: Log::group_bound(&one()),
        receipt: Arc::clone(receipt),
    };
    let mut submits = receipts.iter().map(submit).collect();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(rig.inbox.poll_submit(&mut cx, &mut submits).is_ready());
    receipts.into_iter().map(|receipt| Ticket::new(receipt, Duration::from_secs(60))).collect()
}

#[test]
fn a_desk_is_woken_once_for_a_commit() {
    let dir = spool();
    let disk = Faults::default();
    let rig = Rig::open(dir.path(), disk.clone());
    let written = rig.settled();
    disk.hang(true);
    let first = rig.submit(one(), None);
    // The storage thread is busy with the first when the others come.
    rig.wait_for_write(written);
    let (sender, woken) = std::sync::mpsc::channel();
    let waker = Arc::new(Woken(Mutex::new(sender))).into();
    let (desk, mut numbers) = (Arc::<Desk>::default(), Vec::new());
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(desk.poll(&mut cx, &mut numbers).is_pending());
    let tickets = at_desk(&rig, &desk, 0..5);
    assert!(tickets.iter().all(|ticket| ticket.answer().is_none()));
    disk.hang(false);
    woken.recv_timeout(Duration::from_secs(20)).expect("woken");
    assert!(desk.poll(&mut cx, &mut numbers).is_ready());
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    assert!(tickets.iter().all(|ticket| ticket.answer().is_some_and(|answer| answer.is_ok())));
    assert!(first.wait().is_ok());
    rig.end().expect("stops well");
    assert!(woken.try_recv().is_err(), "woken more than once");
}

#[test]
fn a_ticket_that_has_expired_is_not_delivered() {
    let dir = spool();
    let disk = Faults::default();
    let rig = Rig::open(dir.path(), disk.clone());
    let written = rig.settled();
    disk.hang(true);
    let desk = Arc::<Desk>::default();
    let tickets = at_desk(&rig, &desk, 0..1);
    rig.wait_for_write(written);
    assert_eq!(tickets[0].expired(), Err(SpoolError::Deadline { seconds: 60 }));
    disk.hang(false);
    assert!(rig.submit(one(), None).wait().is_ok());
    rig.end().expect("stops well");
    let rig = Rig::open(dir.path(), Faults::default());
    assert_eq!(rig.waiting, 2, "the one before and the one after are there");
    rig.end().expect("stops well");
}
