//! The commits that clients on one reactor's thread wait for: handed to storage and answered in batches, so that neither
//! thread wakes the other for a single message.

use super::storage::{Answer, Desk, Storage, Submit, Ticket};
use crate::spool::record::Group;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

/// One who waits.
#[derive(Default)]
struct Waiting {
    ticket: Option<Ticket>,
    answer: Option<Answer>,
    waker: Option<Waker>,
}

impl Waiting {
    fn answer(&mut self, answer: Answer) {
        self.answer = Some(answer);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[derive(Default)]
struct Places {
    entries: Vec<Option<Waiting>>,
    free: Vec<u32>,
}

pub struct Commits {
    storage: Storage,
    desk: Arc<Desk>,
    places: RefCell<Places>,
    /// What has come up in this turn of the thread.
    gathered: RefCell<VecDeque<Submit>>,
    filled: Notify,
}

/// The number under which one waits; free again when dropped.
struct Place<'c> {
    commits: &'c Commits,
    number: u32,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.commits.places.borrow_mut();
        places.entries[self.number as usize] = None;
        places.free.push(self.number);
    }
}

impl Commits {
    pub fn new(storage: Storage) -> Commits {
        Commits {
            storage,
            desk: Arc::default(),
            places: RefCell::default(),
            gathered: RefCell::default(),
            filled: Notify::new(),
        }
    }

    /// Hands over a group and waits until it is durable or refused (R10 included).
    pub async fn commit(&self, group: Group) -> Answer {
        let place = self.place();
        let (submit, ticket) = self.storage.submission_at(group, &self.desk, place.number);
        self.with(place.number, |waiting| waiting.ticket = Some(ticket));
        self.gathered.borrow_mut().push_back(submit);
        self.filled.notify_one();
        poll_fn(|cx| {
            let answer = self.with(place.number, |waiting| {
                let answer = waiting.answer.take();
                if answer.is_none() {
                    waiting.waker = Some(cx.waker().clone());
                }
                answer
            });
            answer.flatten().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Hands over what has come up; runs as long as its thread.
    pub async fn hand_over(&self) {
        let mut submits = VecDeque::new();
        loop {
            // Runs behind whoever was ready to run when the first came up.
            self.filled.notified().await;
            submits.append(&mut self.gathered.borrow_mut());
            self.storage.submit_all(&mut submits).await;
        }
    }

    /// Passes the answers on; runs as long as its thread.
    pub async fn tell(&self) {
        let mut numbers = Vec::new();
        // Every wait is equally long: whoever comes after this time has come is looked at the next time.
        let mut sleep = pin!(sleep_until(Instant::now() + self.storage.commit_deadline()));
        poll_fn(|cx| {
            while self.desk.poll(cx, &mut numbers).is_ready() {
                for number in numbers.drain(..) {
                    self.with(number, |waiting| {
                        // A number may have been given to another meanwhile, who has no answer yet.
                        if let Some(answer) = waiting.ticket.as_ref().and_then(Ticket::answer) {
                            waiting.answer(answer);
                        }
                    });
                }
            }
            self.expire(cx, sleep.as_mut());
            Poll::<()>::Pending
        })
        .await;
    }

    /// Ends the waits that have become too long (R10).
    fn expire(&self, cx: &mut Context<'_>, mut sleep: std::pin::Pin<&mut Sleep>) {
        while sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let mut next = now + self.storage.commit_deadline();
            for waiting in self.places.borrow_mut().entries.iter_mut().flatten() {
                let Some(ticket) = waiting.ticket.as_ref().filter(|_| waiting.answer.is_none()) else {
                    continue;
                };
                if ticket.deadline() <= now {
                    let answer = ticket.expired();
                    waiting.answer(answer);
                } else {
                    next = next.min(ticket.deadline());
                }
            }
            sleep.as_mut().reset(next);
        }
    }

    fn place(&self) -> Place<'_> {
        let mut places = self.places.borrow_mut();
        let number = places.free.pop().unwrap_or_else(|| {
            places.entries.push(None);
            (places.entries.len() - 1) as u32
        });
        places.entries[number as usize] = Some(Waiting::default());
        Place { commits: self, number }
    }

    fn with<T>(&self, number: u32, act: impl FnOnce(&mut Waiting) -> T) -> Option<T> {
        self.places.borrow_mut().entries.get_mut(number as usize)?.as_mut().map(act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::storage::tests::{BACK_ENDS, message, open, spool};
    use std::future::{Future, poll_fn};
    use std::rc::Rc;
    use std::task::Poll;

    #[test]
    fn everybody_hears_of_his_own_commit() {
        let dir = spool();
        let Some((storage, _)) = open(&dir, BACK_ENDS[0]) else { return };
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime =
            builder.enable_time().build_local(tokio::runtime::LocalOptions::default()).expect("one");
        let commits = Rc::new(Commits::new(storage.clone()));
        runtime.block_on(async {
            let (handing, telling) = (commits.clone(), commits.clone());
            tokio::task::spawn_local(async move { handing.hand_over().await });
            tokio::task::spawn_local(async move { telling.tell().await });
            // One who goes away leaves his number to the next.
            let mut gone = Box::pin(commits.commit(message(b"gone", &["gone@x.example"])));
            assert!(poll_fn(|cx| Poll::Ready(gone.as_mut().poll(cx).is_pending())).await);
            drop(gone);
            let begin = |n: usize| {
                let commits = commits.clone();
                tokio::task::spawn_local(async move {
                    let rows: Vec<&str> = vec!["a@x.example"; n];
                    commits.commit(message(b"body", &rows)).await.expect("committed")
                })
            };
            let mut places = Vec::new();
            for task in (1..=20).map(begin).collect::<Vec<_>>() {
                places.push(task.await.expect("runs").places[2]);
            }
            // Each has as many rows as it asked for, and nobody has another's.
            for (n, place) in (1..).zip(&places) {
                let record = storage.segments().record(place.at).expect("there");
                let rows = crate::spool::rows::RowsView::new(&record).expect("rows");
                assert_eq!(rows.len(), n);
            }
        });
        assert!(storage.status().syncs < 20, "many share a sync");
        storage.stop();
    }
}
