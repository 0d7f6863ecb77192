//! What the tasks of a running engine have to say to the one loop that drives the shards.

use posthaste::io::reactor::Message;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use tokio::sync::Notify;

/// News for the loop.
pub enum News {
    /// For a shard.
    Message(usize, Message),
    /// What became of a submission: `Ok(())` is the client's `250`.
    Told { work: usize, answer: Result<(), Refusal> },
    /// An order of the operator's was carried out, or could not be.
    Paused { pattern: String, paused: bool, done: bool },
    /// The log has failed (R2): the process ends.
    LogFailed(String),
    /// The storage loop has ended as it was told to.
    Stopped,
}

/// What a client hears instead of `250`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub text: String,
    /// To be tried again later.
    pub transient: bool,
}

/// See the module's text.
#[derive(Default)]
pub struct Post {
    news: RefCell<VecDeque<News>>,
    arrived: Notify,
    /// The disk has done something that others may wait for.
    pub stirred: Notify,
    /// Set when the process (`false`) or the machine (`true`) goes down.
    crash: Cell<Option<bool>>,
}

impl Post {
    pub fn send(&self, news: News) {
        self.news.borrow_mut().push_back(news);
        self.arrived.notify_one();
    }

    pub fn take(&self) -> Option<News> {
        self.news.borrow_mut().pop_front()
    }

    pub fn stir(&self) {
        self.stirred.notify_waiters();
        self.arrived.notify_one();
    }

    pub fn crash(&self, power: bool) {
        self.crash.set(Some(power));
        self.arrived.notify_one();
    }

    pub fn crashed(&self) -> Option<bool> {
        self.crash.take()
    }

    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Forgets what nobody is left to hear.
    pub fn clear(&self) {
        self.news.borrow_mut().clear();
        self.crash.set(None);
    }
}
