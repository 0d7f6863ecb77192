//! The way into the storage thread: a bounded queue that is emptied a batch at a time, and the receipts.
//!
//! Submissions and outcomes have budgets of their own, so that waiting mail never keeps an outcome out (R7).
//! One short lock per hand-over; the storage thread is woken only when it sleeps.

use crate::spool::SpoolError;
use crate::spool::record::{Committed, Group, Location, OutcomeBatch};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Bytes of submissions that may wait; one submission is always let in.
const SUBMISSION_BYTES: usize = 32 << 20;
/// Bytes of outcomes that may wait.
const OUTCOME_BYTES: usize = 16 << 20;
/// Outcomes are written when this many wait (or the oldest is old enough).
pub(super) const OUTCOMES_DUE: usize = 512;

/// A submission on its way.
pub struct Submit {
    pub group: Group,
    pub bound: usize,
    pub receipt: Arc<Receipt>,
}

/// What the storage thread takes at once.
#[derive(Default)]
pub struct Taken {
    pub submissions: Vec<Submit>,
    pub outcomes: Vec<OutcomeBatch>,
    pub cursor: Option<Location>,
    pub stop: bool,
}

#[derive(Default)]
struct Waiting {
    submissions: VecDeque<Submit>,
    submission_bytes: usize,
    outcomes: Vec<OutcomeBatch>,
    outcome_bytes: usize,
    outcome_count: usize,
    outcomes_since: Option<Instant>,
    cursor: Option<Location>,
    stop: bool,
    closed: Option<SpoolError>,
    /// Something has happened that the storage thread has to look at.
    attention: bool,
    storage: Option<Waker>,
    submitters: Vec<Waker>,
}

#[derive(Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    room: Condvar,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while the lock is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over a submission, waiting for room.
    pub fn submit(&self, submit: Submit) {
        let mut waiting = self.lock();
        while waiting.closed.is_none() && !waiting.has_room(submit.bound) {
            waiting = self.room.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.push(submit);
    }

    /// Hands over a submission when there is room; else keeps `cx` to be woken and leaves `submit` where it is.
    pub fn poll_submit(&self, cx: &mut Context<'_>, submit: &mut Option<Submit>) -> Poll<()> {
        let mut waiting = self.lock();
        let bound = submit.as_ref().map_or(0, |submit| submit.bound);
        if waiting.closed.is_none() && !waiting.has_room(bound) {
            waiting.submitters.push(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(submit) = submit.take() {
            waiting.push(submit);
        }
        Poll::Ready(())
    }

    /// Hands over outcomes, or gives them back when there is no room.
    pub fn settle(&self, batch: OutcomeBatch) -> Result<(), OutcomeBatch> {
        let bytes = crate::spool::log::Log::outcomes_bound(&batch);
        let mut waiting = self.lock();
        let full = waiting.outcome_bytes > 0 && waiting.outcome_bytes + bytes > OUTCOME_BYTES;
        if full || waiting.closed.is_some() {
            return Err(batch);
        }
        let first = waiting.outcomes.is_empty();
        waiting.outcome_bytes += bytes;
        waiting.outcome_count += batch.outcomes.len() + batch.queue_failures.len();
        waiting.outcomes.push(batch);
        if first {
            waiting.outcomes_since = Some(Instant::now());
        }
        if first || waiting.outcome_count >= OUTCOMES_DUE {
            waiting.wake();
        }
        Ok(())
    }

    pub fn set_cursor(&self, cursor: Location) {
        let mut waiting = self.lock();
        waiting.cursor = waiting.cursor.max(Some(cursor));
        waiting.wake();
    }

    pub fn stop(&self) {
        let mut waiting = self.lock();
        waiting.stop = true;
        waiting.wake();
    }

    /// Refuses everything from now on and tells those who wait why.
    pub fn close(&self, why: &SpoolError) {
        let mut waiting = self.lock();
        waiting.closed.get_or_insert_with(|| why.clone());
        for submit in std::mem::take(&mut waiting.submissions) {
            submit.receipt.refuse(why.clone());
        }
        waiting.submission_bytes = 0;
        self.release(waiting);
    }

    pub fn closed(&self) -> Option<SpoolError> {
        self.lock().closed.clone()
    }

    /// Ready when there is something to look at.
    pub fn poll_attention(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.lock();
        if std::mem::take(&mut waiting.attention) {
            return Poll::Ready(());
        }
        waiting.storage = Some(cx.waker().clone());
        Poll::Pending
    }

    /// When the oldest waiting outcome was handed over, and whether enough wait to be written at once.
    pub fn outcomes(&self) -> (Option<Instant>, bool) {
        let waiting = self.lock();
        (waiting.outcomes_since, waiting.outcome_count >= OUTCOMES_DUE)
    }

    /// Takes submissions up to `bytes`, and the outcomes when there are submissions to carry them or `outcomes`
    /// says so.
    pub fn take(&self, bytes: usize, outcomes: bool) -> Taken {
        let mut waiting = self.lock();
        let mut taken = Taken { cursor: waiting.cursor.take(), stop: waiting.stop, ..Taken::default() };
        let mut size = 0;
        while size < bytes
            && let Some(submit) = waiting.submissions.pop_front()
        {
            size += submit.bound;
            taken.submissions.push(submit);
        }
        waiting.submission_bytes -= size;
        waiting.attention |= !waiting.submissions.is_empty();
        if outcomes || size > 0 || waiting.outcome_count >= OUTCOMES_DUE {
            taken.outcomes = std::mem::take(&mut waiting.outcomes);
            (waiting.outcome_bytes, waiting.outcome_count, waiting.outcomes_since) = (0, 0, None);
        }
        if size > 0 {
            self.release(waiting);
        }
        taken
    }

    /// Wakes those who wait for room.
    fn release(&self, mut waiting: MutexGuard<'_, Waiting>) {
        let submitters = std::mem::take(&mut waiting.submitters);
        drop(waiting);
        self.room.notify_all();
        submitters.into_iter().for_each(Waker::wake);
    }
}

impl Waiting {
    fn has_room(&self, bound: usize) -> bool {
        self.submission_bytes == 0 || self.submission_bytes + bound <= SUBMISSION_BYTES
    }

    fn push(&mut self, submit: Submit) {
        if let Some(why) = &self.closed {
            submit.receipt.refuse(why.clone());
            return;
        }
        self.submission_bytes += submit.bound;
        self.submissions.push_back(submit);
        self.wake();
    }

    fn wake(&mut self) {
        self.attention = true;
        if let Some(waker) = self.storage.take() {
            waker.wake();
        }
    }
}

/// What became of a submission.
type Answer = Result<Committed, SpoolError>;

#[derive(Default)]
struct Slip {
    answer: Option<Answer>,
    waker: Option<Waker>,
    abandoned: bool,
}

/// Shared between a submitter and the storage thread; one allocation per submission.
#[derive(Default)]
pub struct Receipt {
    slip: Mutex<Slip>,
    given: Condvar,
}

impl Receipt {
    fn lock(&self) -> MutexGuard<'_, Slip> {
        self.slip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the answer back when the submitter has stopped waiting: it was told that the group is not accepted.
    pub fn give(&self, answer: Answer) -> Result<(), Answer> {
        let mut slip = self.lock();
        if slip.abandoned {
            return Err(answer);
        }
        slip.answer = Some(answer);
        let waker = slip.waker.take();
        drop(slip);
        self.given.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Tells the submitter, if it still waits, that the group is not accepted.
    pub fn refuse(&self, why: SpoolError) {
        let _ = self.give(Err(why));
    }

    pub fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }
}

/// A submission whose commit is awaited, by [`Pending::wait`] or `.await`. Dropping it does not take the
/// submission back.
#[must_use = "a submission is only accepted once its commit is known"]
pub struct Pending {
    pub(super) receipt: Arc<Receipt>,
    /// `None`: waits as long as it takes (groups that hold control records; nobody is at the other end).
    pub(super) deadline: Option<(Instant, Duration)>,
    pub(super) sleep: Option<Pin<Box<Sleep>>>,
}

impl Pending {
    pub(super) fn new(receipt: Arc<Receipt>, deadline: Option<Duration>) -> Pending {
        Pending { receipt, deadline: deadline.map(|d| (Instant::now() + d, d)), sleep: None }
    }

    /// Blocks until the group is durable or refused.
    pub fn wait(self) -> Answer {
        let mut slip = self.receipt.lock();
        loop {
            if let Some(answer) = slip.answer.take() {
                return answer;
            }
            slip = match self.deadline {
                None => self.receipt.given.wait(slip).unwrap_or_else(PoisonError::into_inner),
                Some((at, deadline)) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        slip.abandoned = true;
                        return Err(SpoolError::Deadline { seconds: deadline.as_secs() });
                    }
                    self.receipt.given.wait_timeout(slip, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let receipt = Arc::clone(&self.receipt);
        let mut slip = receipt.lock();
        if let Some(answer) = slip.answer.take() {
            return Poll::Ready(answer);
        }
        slip.waker = Some(cx.waker().clone());
        let Some((at, deadline)) = self.deadline else { return Poll::Pending };
        // The timer is only made for those who really have to wait.
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        slip.abandoned = true;
        Poll::Ready(Err(SpoolError::Deadline { seconds: deadline.as_secs() }))
    }
}
