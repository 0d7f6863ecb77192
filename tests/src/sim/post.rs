//! What the tasks of a running engine have to say to the one loop that drives the shards.

use posthaste::io::reactor::Message;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Poll;
use tokio::sync::Notify;

/// News for the loop.
pub enum News {
    /// For a shard.
    Message(usize, Message),
    /// What became of a submission: `Ok(())` is the client's `250`.
    Told { work: usize, answer: Result<(), Refusal> },
    /// An order of the operator's was carried out, or could not be.
    Paused { pattern: String, paused: bool, done: bool },
    /// A task has panicked.
    Panicked(String),
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

    /// Whether the process or the machine is going down right now.
    pub fn is_down(&self) -> bool {
        self.crash.get().is_some()
    }

    pub fn crashed(&self) -> Option<bool> {
        self.crash.take()
    }

    /// Starts a task of the engine. If it panics, that is news too.
    pub fn spawn(self: &Rc<Post>, task: impl Future<Output = ()> + 'static) {
        let (post, mut task) = (Rc::clone(self), Box::pin(task));
        tokio::task::spawn_local(std::future::poll_fn(move |cx| {
            catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))).unwrap_or_else(|panic| {
                post.send(News::Panicked(message_of(&*panic)));
                Poll::Ready(())
            })
        }));
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

/// The words of a panic.
pub fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}
