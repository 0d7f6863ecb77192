//! Queues that wait for a connection of what is limited over many queues: each stands in one row, and the row of a shard
//! stands in that of all shards ([`crate::limit::Places`]).

use super::connection::key;
use super::targets::Target;
use super::{Output, Shard};
use crate::base::{Now, Time};
use crate::limit::{Needs, Place, Told};
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug, Default)]
pub struct Held {
    rows: BTreeMap<Place, VecDeque<u32>>,
    /// Places of which this shard has been given something.
    pub told: Vec<Place>,
}

impl Shard {
    /// What a connection counts for beside its queue and the total.
    pub(super) fn places_of(&self, queue: u32, _target: &Target) -> Needs {
        let mut needs = Needs::new();
        if let Some(vmta) = &self.queues[queue].vmta
            && let Some(limit) = vmta.max_smtp_out
        {
            needs.push((Place::Vmta(vmta.name.clone()), limit));
        }
        needs
    }

    /// False: the queue waits for the one that it could not have.
    pub(super) fn take_places(&mut self, queue: u32, needs: &Needs) -> bool {
        let mut told = Told::new();
        let taken = self.shared.places.take(self.number, needs, &mut told);
        self.tell(told);
        let Err(lacking) = taken else { return true };
        let (place, limit) = needs[lacking].clone();
        let row = self.held.rows.entry(place.clone()).or_default();
        row.push_back(queue);
        if row.len() == 1 {
            self.give_up_idle(&place);
        }
        self.queues[queue].work_mut().lacks = Some((place, limit));
        false
    }

    /// Has connections that wait for mail close, since others have mail and no connection.
    fn give_up_idle(&mut self, place: &Place) {
        let idle: Vec<u32> = self
            .connections
            .iter()
            .filter(|c| c.idle && c.transactions.is_empty() && c.places.iter().any(|(p, _)| p == place))
            .map(|c| key(c.id))
            .collect();
        for connection in idle {
            if let Some(connection) = self.connections.at(connection) {
                connection.idle_until = Some(Time::ZERO);
            }
            self.connection_timers.set(connection, Time::ZERO);
        }
    }

    pub(super) fn give_back_places(&mut self, places: &Needs) {
        let mut told = Told::new();
        self.shared.places.give_back(places, &mut told);
        self.tell(told);
    }

    fn tell(&mut self, told: Told) {
        for (shard, place) in told {
            if shard == self.number {
                self.held.told.push(place);
            } else {
                self.outputs.push_back(Output::Nudge { shard, place });
            }
        }
    }

    /// Gives turns to those who wait for what this shard has been given, those first that have waited longest.
    pub(super) fn wake_held(&mut self, now: Now) {
        while let Some(place) = self.held.told.pop() {
            let most = self.held.rows.get(&place).map_or(0, VecDeque::len);
            for _ in 0..most {
                if !self.shared.places.join(self.number, &place) {
                    break;
                }
                let Some(queue) = self.held.rows.get_mut(&place).and_then(VecDeque::pop_front) else { break };
                self.queues[queue].work_mut().lacks = None;
                self.turn(now, queue);
            }
            let row = self.held.rows.get(&place);
            if row.is_none_or(VecDeque::is_empty) {
                self.held.rows.remove(&place);
                self.leave(&place);
            } else if self.shared.places.join(self.number, &place) {
                // All have had a turn, and some want more of what is left.
                self.held.told.push(place);
            }
        }
    }

    fn leave(&mut self, place: &Place) {
        let mut told = Told::new();
        self.shared.places.leave(self.number, place, &mut told);
        self.tell(told);
    }

    /// Nobody stands in a row any more; whoever still needs what he waited for asks again.
    pub(super) fn release_held(&mut self) {
        for (place, row) in std::mem::take(&mut self.held.rows) {
            for queue in row {
                self.queues[queue].work_mut().lacks = None;
            }
            self.leave(&place);
        }
    }
}
