//! The way into the storage thread: a bounded queue that is emptied a batch at a time, and the receipts.
//!
//! Submissions and outcomes have budgets of their own, so that waiting mail never keeps an outcome out (R7).
//! One short lock per hand-over; the storage thread is woken only when it sleeps.

use crate::spool::SpoolError;
use crate::spool::forward::Forward;
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
    pub(super) group: Group,
    pub(super) bound: usize,
    pub(super) receipt: Arc<Receipt>,
}

/// What the storage thread takes at once.
#[derive(Default)]
pub struct Taken {
    pub submissions: Vec<Submit>,
    pub outcomes: Vec<OutcomeBatch>,
    pub cursor: Option<Location>,
    pub gathered: Option<Gathered>,
    pub stop: bool,
}

/// What was read to empty a segment: nothing when it could not be read.
pub struct Gathered {
    pub segment: u32,
    pub forward: Option<Forward>,
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
    gathered: Option<Gathered>,
    stop: bool,
    closed: Option<SpoolError>,
    /// Something has happened that the storage thread has to look at.
    attention: bool,
    /// Woken instead of the storage thread.
    watcher: Option<Waker>,
    /// It sleeps, and has to be woken.
    asleep: bool,
    /// Submitters that wait for room: threads, and tasks.
    blocked: u32,
    submitters: Vec<Waker>,
}

#[derive(Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    room: Condvar,
    attention: Condvar,
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
            waiting.blocked += 1;
            waiting = self.room.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.blocked -= 1;
        }
        waiting.push(submit);
        self.attend(waiting);
    }

    /// Hands over a submission, room or not.
    pub fn push(&self, submit: Submit) {
        let mut waiting = self.lock();
        waiting.push(submit);
        self.attend(waiting);
    }

    /// Hands over submissions as far as there is room; else keeps `cx` to be woken and leaves them where they are.
    pub fn poll_submit(&self, cx: &mut Context<'_>, submits: &mut VecDeque<Submit>) -> Poll<()> {
        let mut waiting = self.lock();
        let mut handed = false;
        while let Some(submit) = submits.pop_front() {
            if waiting.closed.is_none() && !waiting.has_room(submit.bound) {
                submits.push_front(submit);
                waiting.submitters.push(cx.waker().clone());
                break;
            }
            waiting.push(submit);
            handed = true;
        }
        if handed {
            self.attend(waiting);
        }
        if submits.is_empty() { Poll::Ready(()) } else { Poll::Pending }
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
            self.attend(waiting);
        }
        Ok(())
    }

    pub fn set_cursor(&self, cursor: Location) {
        let mut waiting = self.lock();
        waiting.cursor = waiting.cursor.max(Some(cursor));
        self.attend(waiting);
    }

    pub fn gathered(&self, gathered: Gathered) {
        let mut waiting = self.lock();
        waiting.gathered = Some(gathered);
        self.attend(waiting);
    }

    pub fn stop(&self) {
        let mut waiting = self.lock();
        waiting.stop = true;
        self.attend(waiting);
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

    /// Waits until there is something to look at, at most until `until`.
    pub fn wait_for_attention(&self, until: Option<Instant>) {
        let mut waiting = self.lock();
        while !waiting.attention {
            let left = until.map(|at| at.saturating_duration_since(Instant::now()));
            waiting.asleep = true;
            waiting = match left {
                None => self.attention.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => {
                    self.attention.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        (waiting.attention, waiting.asleep) = (false, false);
    }

    /// The same for a loop that is polled.
    pub fn poll_attention(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.lock();
        if std::mem::take(&mut waiting.attention) {
            return Poll::Ready(());
        }
        waiting.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Has the storage thread look, waking it when it sleeps; without the lock, which it takes first of all.
    fn attend(&self, mut waiting: MutexGuard<'_, Waiting>) {
        waiting.attention = true;
        let (asleep, watcher) = (std::mem::take(&mut waiting.asleep), waiting.watcher.take());
        drop(waiting);
        if let Some(watcher) = watcher {
            watcher.wake();
        }
        if asleep {
            self.attention.notify_one();
        }
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
        let (cursor, gathered) = (waiting.cursor.take(), waiting.gathered.take());
        let mut taken = Taken { cursor, gathered, stop: waiting.stop, ..Taken::default() };
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
        let (submitters, blocked) = (std::mem::take(&mut waiting.submitters), waiting.blocked > 0);
        drop(waiting);
        if blocked {
            self.room.notify_all();
        }
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
    }
}

/// What became of a submission.
pub type Answer = Result<Committed, SpoolError>;

#[derive(Default)]
struct Slip {
    answer: Option<Answer>,
    waker: Option<Waker>,
    abandoned: bool,
}

/// Shared between a submitter and the storage thread; one allocation per submission.
pub struct Receipt {
    slip: Mutex<Slip>,
    given: Condvar,
    /// Where the submitter hears of the answer, and under which number; else it is woken itself.
    desk: Option<(Arc<Desk>, u32)>,
}

impl Receipt {
    pub fn new(desk: Option<(Arc<Desk>, u32)>) -> Receipt {
        Receipt { slip: Mutex::default(), given: Condvar::new(), desk }
    }

    fn lock(&self) -> MutexGuard<'_, Slip> {
        self.slip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the answer back when the submitter has stopped waiting: it was told that the group is not accepted. Else the
    /// submitter is woken, or its desk is noted in `desks` to be woken when all answers are given.
    pub fn give(&self, answer: Answer, desks: &mut Desks) -> Result<(), Answer> {
        let mut slip = self.lock();
        if slip.abandoned {
            return Err(answer);
        }
        slip.answer = Some(answer);
        let waker = slip.waker.take();
        drop(slip);
        match (&self.desk, waker) {
            (Some((desk, number)), _) => desks.ring(desk, *number),
            (None, Some(waker)) => waker.wake(),
            (None, None) => self.given.notify_one(),
        }
        Ok(())
    }

    /// Tells the submitter, if it still waits, that the group is not accepted.
    pub fn refuse(&self, why: SpoolError) {
        let mut desks = Desks::default();
        let _ = self.give(Err(why), &mut desks);
        desks.wake();
    }

    pub fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// The answer, once it is there.
    fn take(&self) -> Option<Answer> {
        self.lock().answer.take()
    }

    /// Stops waiting, unless the answer is there.
    fn abandon(&self) -> Option<Answer> {
        let mut slip = self.lock();
        slip.abandoned = slip.answer.is_none();
        slip.answer.take()
    }
}

/// Where all the submitters of one thread hear of their answers: the thread is woken once for a commit, however many
/// of them it concerns. (Waking a thread costs more than a message.)
#[derive(Default)]
pub struct Desk {
    answered: Mutex<Answered>,
}

#[derive(Default)]
struct Answered {
    numbers: Vec<u32>,
    waker: Option<Waker>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Answered> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready with the numbers of those who have been answered, put into `numbers`, which is empty before.
    pub fn poll(&self, cx: &mut Context<'_>, numbers: &mut Vec<u32>) -> Poll<()> {
        let mut answered = self.lock();
        if answered.numbers.is_empty() {
            answered.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(&mut answered.numbers, numbers);
        Poll::Ready(())
    }
}

/// Desks to be woken.
#[derive(Default)]
pub struct Desks(Vec<Arc<Desk>>);

impl Desks {
    fn ring(&mut self, desk: &Arc<Desk>, number: u32) {
        desk.lock().numbers.push(number);
        if !self.0.iter().any(|rung| Arc::ptr_eq(rung, desk)) {
            self.0.push(desk.clone());
        }
    }

    pub fn wake(&mut self) {
        for desk in self.0.drain(..) {
            let waker = desk.lock().waker.take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// A submission whose answer is told at a [`Desk`].
pub struct Ticket {
    receipt: Arc<Receipt>,
    deadline: (Instant, Duration),
}

impl Ticket {
    pub(super) fn new(receipt: Arc<Receipt>, deadline: Duration) -> Ticket {
        Ticket { receipt, deadline: (Instant::now() + deadline, deadline) }
    }

    /// When [`Ticket::expired`] is to be asked.
    pub fn deadline(&self) -> Instant {
        self.deadline.0
    }

    /// The answer, once the desk has named it.
    pub fn answer(&self) -> Option<Answer> {
        self.receipt.take()
    }

    /// The end of the wait (R10): the answer if it has just come, else the group is not accepted.
    pub fn expired(&self) -> Answer {
        self.receipt.abandon().unwrap_or(Err(SpoolError::Deadline { seconds: self.deadline.1.as_secs() }))
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
