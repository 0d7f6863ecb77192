//! Connections that one queue gives up for another (`queue-priority`, reference 2.5, 9.2): for a more important one after
//! the message under way, or at once; for an equal one that has fewer, after a fair number of messages.

use super::connection::{Connection, Phase, key};
use super::{Output, Shard};
use crate::base::{Now, Time};
use crate::limit::{Place, QueuePriority, Rank};
use std::cmp::Reverse;
use std::time::Duration;

/// What a queue wants that others have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub place: Place,
    pub priority: QueuePriority,
    /// Connections that it has.
    pub has: u32,
}

/// How often those who wait ask again: the connection that was to be theirs may have had long to go, or a lot changed.
const ASK: Duration = Duration::from_millis(500);
/// Messages that a connection carries before an equal queue may have it: it has cost as much as eight.
const FAIR: u32 = 32;

impl Shard {
    /// Asks for a connection for the first of each row.
    pub(super) fn ask_for_places(&mut self, now: Now) {
        let firsts: Vec<(Place, Rank, u32)> = self.held.firsts().collect();
        self.held.ask_at = if firsts.is_empty() { Time::NEVER } else { now.mono + ASK };
        for (place, Rank { priority, .. }, queue) in firsts {
            let Some(shard) = self.shared.places.victim(priority, &place) else { continue };
            let wish = Wish { place, priority, has: self.queues[queue].queue.connections() };
            if shard == self.number {
                self.yield_place(now, &wish);
            } else {
                self.outputs.push_back(Output::Ask { shard, wish });
            }
        }
    }

    /// Has one connection part for the wish, unless one does already.
    pub(super) fn yield_place(&mut self, now: Now, wish: &Wish) {
        let holders = || self.connections.iter().filter(|connection| connection.holds(&wish.place));
        if holders().any(|connection| connection.part_after.is_some_and(|most| connection.messages >= most)) {
            return;
        }
        let open = holders().filter(|c| c.phase == Phase::Open && c.places.interruptible);
        let fits = open.filter(|c| self.is_to_yield(c, wish));
        let order = |c: &&Connection| {
            let busy = !c.transactions.is_empty();
            (
                c.places.rank.priority,
                busy,
                Reverse(self.queues[c.queue].queue.connections()),
                Reverse(c.messages),
            )
        };
        let Some((found, queue)) = fits.min_by_key(order).map(|c| (key(c.id), c.queue)) else { return };
        let at_once = self.queues[queue].queue.settings().interruptible_at_once;
        let Some(connection) = self.connections.at(found) else { return };
        let equal = connection.places.rank.priority == wish.priority;
        connection.part_after = Some(if equal { FAIR } else { 0 });
        if connection.idle && connection.transactions.is_empty() {
            self.part(now, found);
        } else if at_once && !equal && connection.may_be_cut() {
            self.remove_connection(now, found);
            self.turn(now, queue);
        } else {
            // What it would have asked for ahead of need is for others.
            self.flush(now, found);
        }
    }

    fn is_to_yield(&self, connection: &Connection, wish: &Wish) -> bool {
        let less_important = connection.places.rank.priority < wish.priority;
        let equal = connection.places.rank.priority == wish.priority;
        less_important || (equal && self.queues[connection.queue].queue.connections() > wish.has)
    }
}

impl Connection {
    /// Whether no message over it can have arrived by now without our knowing: its recipients may go over another one.
    fn may_be_cut(&self) -> bool {
        let unwritten = self.client.unwritten();
        self.transactions.iter().all(|t| t.size == 0 || unwritten == Some(t.token))
    }
}
