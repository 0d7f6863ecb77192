//! Recipients that intake on this thread has for the shards of other threads: gathered over a turn of the thread and
//! sent together, so that a thread is not woken for a single message.

use super::reactor::Message;
use crate::shard::Admit;
use std::cell::RefCell;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

/// Hand-overs that may wait; whoever has more waits himself.
const MOST: usize = 1024;

/// The inboxes of all reactors, by shard. Weak: a reactor runs until nobody else can send to it.
pub type Peers = Arc<[mpsc::WeakSender<Message>]>;

pub struct Outbox {
    peers: Peers,
    waiting: RefCell<Vec<Vec<Admit>>>,
    filled: Notify,
    emptied: Notify,
}

impl Outbox {
    pub fn new(peers: Peers) -> Outbox {
        let waiting = peers.iter().map(|_| Vec::new()).collect();
        Outbox { peers, waiting: RefCell::new(waiting), filled: Notify::new(), emptied: Notify::new() }
    }

    pub fn shards(&self) -> usize {
        self.peers.len()
    }

    pub fn put(&self, shard: usize, admits: Vec<Admit>) {
        self.waiting.borrow_mut()[shard].extend(admits);
        self.filled.notify_one();
    }

    /// Waits while too much lies here.
    pub async fn room(&self) {
        while self.waiting.borrow().iter().map(Vec::len).sum::<usize>() > MOST {
            self.emptied.notified().await;
        }
    }

    /// Sends what is put here; runs as long as its thread.
    pub async fn send(&self) {
        loop {
            // Runs behind whoever was ready to run when the first was put here.
            self.filled.notified().await;
            for (shard, peer) in self.peers.iter().enumerate() {
                let batch = std::mem::take(&mut self.waiting.borrow_mut()[shard]);
                if let (false, Some(peer)) = (batch.is_empty(), peer.upgrade()) {
                    // Fails when the engine stops: they are durable, and queued by the next start.
                    let _ = peer.send(Message::Admit(batch)).await;
                }
            }
            self.emptied.notify_waiters();
        }
    }
}
