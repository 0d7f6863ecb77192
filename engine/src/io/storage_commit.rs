//! The loop of the storage thread: take everything that is queued, one write, one sync, acknowledge (R1).
//!
//! Outcomes alone are written when 512 wait or the oldest is 10 ms old, and synced at most every 50 ms; a
//! submission's commit carries them along. There is no other timer: the batch grows with the disk's latency.

use super::disk::Disk;
use super::failpoint::{Point, check, due, pass};
use super::storage_counters::Counters;
use super::storage_inbox::{Desks, Gathered, Inbox, Receipt, Submit};
use super::storage_prepare::{Prepared, Supply, Wish};
use crate::base::planted::{Bug, planted};
use crate::spool::SpoolError;
use crate::spool::block::Blocks;
use crate::spool::header::BLOCK;
use crate::spool::log::{Log, Room};
use crate::spool::record::{Committed, Disposition, Draft, Group, Location, OutcomeBatch};
use crate::spool::rows::RowsView;
use crate::spool::segments::Segments;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes taken into one commit.
const BATCH: usize = 1 << 20;
const OUTCOME_AGE: Duration = Duration::from_millis(10);
const SYNC_AGE: Duration = Duration::from_millis(50);
/// Idle this long, the log vouches for its last commit.
const IDLE: Duration = Duration::from_secs(1);
/// A segment that cannot be emptied now is looked at again when this many more were filled.
const TRY_AGAIN: u32 = 8;
/// How often mappings of retired segments are looked at while there are any.
const RECYCLE_LOOK: Duration = Duration::from_millis(250);

pub struct Committer<D: Disk> {
    disk: D,
    file: D::File,
    log: Log,
    inbox: Arc<Inbox>,
    segments: Arc<Segments>,
    counters: Arc<Counters>,
    supply: Supply<D::File>,
    /// Taken and not yet placed; if the log fails before that, they are refused.
    submissions: std::vec::IntoIter<Submit>,
    /// Whether outcomes are among what is not synced.
    outcomes_unsynced: bool,
    /// Acknowledged when the present commit is durable.
    waiting: Vec<(Arc<Receipt>, Committed)>,
    desks: Desks,
    /// Durable, but their submitters were told otherwise meanwhile (R10).
    aborts: Vec<Committed>,
    /// Set while something written is not synced: when that was written.
    dirty: Option<Instant>,
    /// What accounting has read.
    cursor: Location,
    reclaim_due: bool,
    /// A segment's last rows are being read.
    gathering: bool,
    retiring: bool,
    /// When the last record came in.
    idle_since: Instant,
}

impl<D: Disk> Committer<D> {
    pub fn new(
        disk: D,
        log: Log,
        first: Prepared<D::File>,
        inbox: Arc<Inbox>,
        segments: Arc<Segments>,
        counters: Arc<Counters>,
        supply: Supply<D::File>,
    ) -> Committer<D> {
        segments.add(first.header, None);
        Committer {
            disk,
            file: first.file,
            log,
            inbox,
            segments,
            counters,
            supply,
            submissions: Vec::new().into_iter(),
            waiting: Vec::new(),
            outcomes_unsynced: false,
            desks: Desks::default(),
            aborts: Vec::new(),
            dirty: None,
            cursor: Location::START,
            reclaim_due: false,
            gathering: false,
            retiring: false,
            idle_since: Instant::now(),
        }
    }

    /// Makes the first commit (the list of segments) durable, which ends recovery.
    pub fn begin(&mut self) -> Result<(), SpoolError> {
        check(Point::RecoveryBegun).map_err(|e| self.broken(self.log.segment(), "write", &e))?;
        self.flush(true)
    }

    /// Runs until it is told to stop or the log fails.
    pub fn run(mut self) -> Result<(), SpoolError> {
        self.idle_since = Instant::now();
        let result = loop {
            self.inbox.wait_for_attention(self.next_wake());
            match self.turn() {
                Ok(true) => break Ok(()),
                Ok(false) => {}
                Err(error) => break Err(error),
            }
        };
        self.close(&result);
        result
    }

    /// After the last [`Committer::turn`], which gave `result`: nothing is taken any more.
    pub fn close(&mut self, result: &Result<(), SpoolError>) {
        let closed = result.as_ref().err().cloned().unwrap_or(SpoolError::Stopped);
        if let Err(error) = result {
            self.log.fail(error.to_string());
            tracing::error!(%error, "the spool has failed; it must be recovered by a restart");
        }
        let unplaced = self.submissions.by_ref().map(|submit| submit.receipt);
        for receipt in self.waiting.drain(..).map(|(receipt, _)| receipt).chain(unplaced) {
            receipt.refuse(closed.clone());
        }
        self.inbox.close(&closed);
        // Whoever waits for the log to move must look again.
        self.segments.set_durable(self.log.durable());
    }

    /// Takes what is queued, writes, syncs, acknowledges. True once it was told to stop and everything is done.
    pub fn turn(&mut self) -> Result<bool, SpoolError> {
        let now = Instant::now();
        let aged = |since: Option<Instant>, age| since.is_some_and(|since| now.duration_since(since) >= age);
        let (oldest, _) = self.inbox.outcomes();
        let mut taken = self.inbox.take(BATCH, aged(oldest, OUTCOME_AGE));
        let stop = taken.stop;
        if !taken.submissions.is_empty() || !taken.outcomes.is_empty() {
            self.idle_since = now;
        }
        if let Some(cursor) = taken.cursor {
            (self.cursor, self.reclaim_due) = (self.cursor.max(cursor), true);
        }
        self.submissions = std::mem::take(&mut taken.submissions).into_iter();
        if let Some(gathered) = taken.gathered.take() {
            self.forward(gathered)?;
        }
        self.place(taken.outcomes)?;
        let sync = !self.waiting.is_empty() || aged(self.dirty, SYNC_AGE);
        self.flush(sync)?;
        self.abort()?;
        self.reclaim()?;
        if stop && self.drained()? {
            return Ok(true);
        }
        if now.duration_since(self.idle_since) >= IDLE && self.log.vouch() {
            self.flush(true)?;
        }
        Ok(false)
    }

    /// When there is something to do although nobody calls.
    pub fn next_wake(&self) -> Option<Instant> {
        let (oldest, due) = self.inbox.outcomes();
        if due {
            return oldest;
        }
        let outcomes = oldest.map(|since| since + OUTCOME_AGE);
        let sync = self.dirty.map(|since| since + SYNC_AGE);
        let vouch = self.log.wants_vouching().then(|| self.idle_since + IDLE);
        let look = self.retiring.then(|| Instant::now() + RECYCLE_LOOK);
        [outcomes, sync, vouch, look].into_iter().flatten().min()
    }

    /// Appends what was taken, moving to further segments as needed.
    fn place(&mut self, batches: Vec<OutcomeBatch>) -> Result<(), SpoolError> {
        let outcomes: usize = batches.iter().map(Log::outcomes_bound).sum();
        let submissions: usize = self.submissions.as_slice().iter().map(|submit| submit.bound).sum();
        if outcomes + submissions > 0 {
            self.log.expect(outcomes + submissions);
        }
        for mut batch in batches {
            self.segments.translate(&mut batch);
            self.place_outcomes(&batch)?;
        }
        while let Some(submit) = self.submissions.next() {
            self.place_submission(submit)?;
        }
        Ok(())
    }

    fn place_outcomes(&mut self, batch: &OutcomeBatch) -> Result<(), SpoolError> {
        if planted(Bug::LoseOutcomeOnFullDisk) && self.is_full() {
            return Ok(());
        }
        match self.log.room(Log::outcomes_bound(batch)) {
            Room::Here => {}
            Room::AfterRoll => self.roll()?,
            Room::Never => {
                // Halves fit or are halved again; a single outcome always fits.
                let (first, second) = batch.halves();
                self.place_outcomes(&first)?;
                return self.place_outcomes(&second);
            }
        }
        self.log.append_outcomes(batch)?;
        self.outcomes_unsynced = true;
        pass(Point::StorageOutcomePlaced);
        let in_doubt = batch.outcomes.iter().filter(|o| o.disposition == Disposition::InDoubt).count();
        self.counters.add(|c| &c.outcomes, batch.outcomes.len() as u64);
        self.counters.add(|c| &c.in_doubt, in_doubt as u64);
        Ok(())
    }

    fn place_submission(&mut self, mut submit: Submit) -> Result<(), SpoolError> {
        if submit.receipt.is_abandoned() {
            return Ok(());
        }
        let refusal = match self.log.room(submit.bound) {
            _ if self.is_full() => {
                let free_segments = self.counters.segments_free.load(Relaxed);
                Some(SpoolError::Full { free_segments })
            }
            Room::Never => {
                Some(SpoolError::TooBig { size: submit.bound as u64, limit: self.log.limit() as u64 })
            }
            Room::AfterRoll => {
                if let Err(error) = self.roll() {
                    submit.receipt.refuse(error.clone());
                    return Err(error);
                }
                None
            }
            Room::Here => None,
        };
        if let Some(refusal) = refusal {
            submit.receipt.refuse(refusal);
            return Ok(());
        }
        let outcomes = self.translate(&mut submit.group);
        match self.log.append(submit.group) {
            Ok(committed) => {
                self.counters.add(|c| &c.outcomes, outcomes);
                self.waiting.push((submit.receipt, committed));
            }
            Err(error) => submit.receipt.refuse(error),
        }
        Ok(())
    }

    /// Makes the outcomes of a group speak of rows where they are now; gives their number.
    fn translate(&self, group: &mut Group) -> u64 {
        group
            .outcomes_mut()
            .map(|batch| {
                self.segments.translate(batch);
                batch.outcomes.len() as u64
            })
            .sum()
    }

    /// Whether what space is left is reserved for outcomes (R7).
    fn is_full(&self) -> bool {
        self.counters.space_low.load(Relaxed) && self.counters.segments_free.load(Relaxed) <= 2
    }

    /// Writes what was appended; with `sync` makes everything durable and acknowledges.
    fn flush(&mut self, sync: bool) -> Result<(), SpoolError> {
        let begun = Instant::now();
        if let Some(write) = self.log.take_write() {
            let blocks = Arc::new(write.blocks);
            let written = self.write(write.offset, &blocks);
            written.map_err(|e| self.broken(write.segment, "write", &e))?;
            self.log.written(write.end);
            self.dirty.get_or_insert(begun);
            self.counters.add(|c| &c.writes, 1);
            self.counters.add(|c| &c.bytes_written, blocks.len() as u64);
            let at = Location { segment: write.segment, offset8: (write.offset / 8) as u32 };
            self.segments.push(at, blocks);
            if planted(Bug::CsvBeforeOutcome) {
                self.segments.set_durable(self.log.end());
            }
        }
        if !sync || self.dirty.is_none() {
            return Ok(());
        }
        if std::mem::take(&mut self.outcomes_unsynced) {
            pass(Point::StorageOutcomeWritten);
        }
        if planted(Bug::AckBeforeSync) {
            self.acknowledge();
        }
        let synced = match self.sync() {
            Err(_) if planted(Bug::BelieveSecondSync) => self.sync(),
            synced => synced,
        };
        synced.map_err(|e| self.broken(self.log.segment(), "sync", &e))?;
        self.log.synced();
        self.dirty = None;
        self.counters.add(|c| &c.syncs, 1);
        self.counters.latency(begun.elapsed());
        self.counters.live_rows.store(self.log.ledger().live_rows(), Relaxed);
        self.counters.segments_used.store(self.log.ledger().segment_count() as u32, Relaxed);
        self.segments.set_durable(self.log.durable());
        pass(Point::StorageSynced);
        self.acknowledge();
        Ok(())
    }

    fn write(&self, at: u64, blocks: &Arc<Blocks>) -> io::Result<()> {
        check(Point::StorageBeforeWrite)?;
        if blocks.len() > BLOCK
            && let Some(due) = due(Point::StorageMidAppend)
        {
            let mut half = Blocks::with_capacity(blocks.len());
            half.push(&blocks.as_slice()[..(blocks.len() / 2).next_multiple_of(BLOCK)]);
            self.disk.write(&self.file, at, &Arc::new(half.finish()))?;
            due.act()?;
        }
        self.disk.write(&self.file, at, blocks)
    }

    fn sync(&self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            check(Point::StorageBeforeSync)?;
        }
        if let Some(due) = due(Point::StorageDuringSync) {
            std::thread::spawn(move || due.act());
        }
        self.disk.sync(&self.file)
    }

    fn acknowledge(&mut self) {
        self.counters.add(|c| &c.groups, self.waiting.len() as u64);
        for (receipt, committed) in self.waiting.drain(..) {
            if let Err(Ok(committed)) = receipt.give(Ok(committed), &mut self.desks) {
                self.aborts.push(committed);
            }
        }
        self.desks.wake();
    }

    fn broken(&self, segment: u32, operation: &'static str, error: &io::Error) -> SpoolError {
        let why = format!("{operation} on segment {segment}: {error}");
        SpoolError::Failed { why }
    }

    /// Makes everything durable and goes on in the next segment.
    fn roll(&mut self) -> Result<(), SpoolError> {
        self.flush(true)?;
        pass(Point::StorageSeal);
        let fresh = match self.supply.ready.recv() {
            Ok(fresh) => fresh?,
            Err(_) => return Err(SpoolError::Failed { why: "the preparation of segments has ended".into() }),
        };
        // Nobody is left to take the wish only when the preparation has failed; the next roll says so.
        let _ = self.supply.wishes.send(Wish::Prepare);
        self.segments.seal(self.log.segment(), self.log.end().offset8);
        self.segments.add(fresh.header, None);
        self.log.roll(fresh.header);
        self.file = fresh.file;
        self.reclaim_due = true;
        pass(Point::StorageRolled);
        Ok(())
    }

    /// Records the groups whose submitters have given up while they were being committed.
    fn abort(&mut self) -> Result<(), SpoolError> {
        for committed in std::mem::take(&mut self.aborts) {
            if self.log.room(4096 + committed.places.len() * 8) == Room::AfterRoll {
                self.roll()?;
            }
            let count = |at| match self.segments.record(at) {
                Ok(record) if record.kind == crate::spool::frame::Kind::Rows => {
                    RowsView::new(&record).map_or(0, |rows| rows.len() as u32)
                }
                _ => 0,
            };
            let counts: Vec<u32> = committed.places.iter().map(|place| count(place.at)).collect();
            self.log.abort(&committed, &counts)?;
            self.counters.add(|c| &c.aborted, 1);
        }
        self.flush(self.log.building() > 0 || self.dirty_is_old())
    }

    fn dirty_is_old(&self) -> bool {
        self.dirty.is_some_and(|since| since.elapsed() >= SYNC_AGE)
    }

    /// Retires segments that nothing needs, and hands those that nobody reads any longer back for recycling.
    fn reclaim(&mut self) -> Result<(), SpoolError> {
        while self.reclaim_due {
            let cursor = self.cursor.min(self.log.durable());
            let Some(reclaim) = self.log.ledger().reclaimable(cursor) else {
                self.reclaim_due = false;
                self.gather(cursor);
                break;
            };
            for control in reclaim.controls {
                let group = Group { drafts: vec![Draft::Control(control)] };
                if self.log.room(Log::group_bound(&group)) == Room::AfterRoll {
                    self.roll()?;
                }
                self.log.append(group)?;
            }
            pass(Point::StorageReclaimAppended);
            self.flush(true)?;
            pass(Point::StorageReclaimDurable);
            self.log.retire(reclaim.segment);
            self.segments.retire(reclaim.segment);
            self.retiring = true;
            pass(Point::StorageRetired);
            tracing::debug!(segment = reclaim.segment, "spool segment retired");
        }
        if self.retiring {
            for number in self.segments.released() {
                let _ = self.supply.wishes.send(Wish::Recycle(number));
            }
            self.retiring = self.segments.is_retiring();
        }
        Ok(())
    }

    /// Has the last rows of a segment read, when too many segments are in use for what they hold.
    fn gather(&mut self, cursor: Location) {
        let ledger = self.log.ledger();
        let rows = self.counters.space_low.load(Relaxed) || ledger.is_sparse();
        if !self.gathering
            && let Some(plan) = ledger.forwardable(cursor, self.log.segment(), rows)
        {
            self.gathering = self.supply.wishes.send(Wish::Gather(plan)).is_ok();
        }
    }

    /// Writes once more what a segment still holds, so that it can be retired.
    fn forward(&mut self, gathered: Gathered) -> Result<(), SpoolError> {
        (self.gathering, self.reclaim_due) = (false, true);
        let Some(forward) = gathered.forward else {
            self.log.leave(gathered.segment, TRY_AGAIN);
            return Ok(());
        };
        let ledger = self.log.ledger();
        if !ledger.is_current(&forward.plan) {
            self.log.leave(gathered.segment, 1);
            return Ok(());
        }
        let group = forward.group(|row| ledger.is_live(row.record.segment, row.ordinal));
        let bound = Log::group_bound(&group);
        let room = self.log.room(bound);
        if bound > self.log.forward_limit() || (room == Room::AfterRoll && self.is_full()) {
            self.log.leave(gathered.segment, TRY_AGAIN);
            return Ok(());
        }
        if room == Room::AfterRoll {
            self.roll()?;
        }
        let committed = match self.log.append(group) {
            Ok(committed) => committed,
            Err(SpoolError::Draft { .. }) => {
                self.log.leave(gathered.segment, 1);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.flush(true)?;
        // Not before: who asks for an old place is sent to the new one from here on.
        self.segments.carry(forward.moved(&committed.places));
        Ok(())
    }

    /// The end of the log: true once everything is durable and vouched for.
    fn drained(&mut self) -> Result<bool, SpoolError> {
        let taken = self.inbox.take(BATCH, true);
        if !taken.submissions.is_empty() || !taken.outcomes.is_empty() {
            self.submissions = taken.submissions.into_iter();
            self.place(taken.outcomes)?;
            self.flush(true)?;
            return Ok(false);
        }
        self.flush(true)?;
        if self.log.vouch() {
            self.flush(true)?;
        }
        pass(Point::StorageDrained);
        Ok(true)
    }
}

#[cfg(test)]
#[path = "storage_commit_tests.rs"]
mod tests;
