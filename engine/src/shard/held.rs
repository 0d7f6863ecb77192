//! Queues that wait for a connection of what is limited over many queues: each stands in one row, and the row of a shard
//! stands in that of all shards ([`crate::limit::Places`]).

use super::connection::key;
use super::targets::Next;
use super::{Output, Shard, VmtaProfile};
use crate::base::{Now, Time};
use crate::limit::{Hold, Needs, Place, Rank, Row, Told, Wide};
use crate::route::choose::Endpoint;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

#[derive(Debug)]
pub struct Held {
    /// When the first of `rated` has something again.
    pub again: Time,
    /// Those that wait for a rate of their virtual MTA, by its name and whether it is its volume.
    rated: BTreeMap<(Box<str>, bool), Rated>,
    rows: BTreeMap<Place, Row<u32>>,
    /// When to ask again for connections of less important queues, or of those that have more.
    pub ask_at: Time,
    /// Came out of a row to take one connection.
    turn_of: Option<u32>,
    /// Places of which this shard has been given something.
    pub told: Vec<Place>,
}

impl Default for Held {
    fn default() -> Held {
        Held {
            again: Time::NEVER,
            rated: BTreeMap::new(),
            rows: BTreeMap::new(),
            ask_at: Time::NEVER,
            turn_of: None,
            told: Vec::new(),
        }
    }
}

impl Held {
    /// Who is the next for each place, with its rank.
    pub fn firsts(&self) -> impl Iterator<Item = (Place, Rank, u32)> {
        self.rows
            .iter()
            .filter_map(|(place, row)| row.front().map(|(rank, queue)| (place.clone(), rank, queue)))
    }
}

#[derive(Debug)]
struct Rated {
    row: Row<u32>,
    again: Time,
}

/// When the next queues of a row have a turn, whose first ones have not used what there is.
const NEXT: Duration = Duration::from_millis(100);

impl Shard {
    /// What a connection counts for beside its queue.
    fn places_of(&self, queue: u32, endpoint: &Endpoint) -> Hold {
        let mut needs = Needs::new();
        needs.push((Place::Total, self.shared.total()));
        if let Some(vmta) = &self.queues[queue].vmta
            && let Some(limit) = vmta.max_smtp_out
        {
            needs.push((Place::Vmta(vmta.name.clone()), limit));
        }
        let to = endpoint.address.ip();
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let from = endpoint.source.address.unwrap_or(any);
        if let Some(limit) = self.profiles.host_limit(&endpoint.host) {
            needs.push((Place::Host { name: endpoint.host.clone(), from }, limit));
        }
        if let Some(limit) = self.profiles.address_limit(to) {
            needs.push((Place::Address { to, from }, limit));
        }
        let queue = &self.queues[queue].queue;
        Hold { needs, rank: queue.rank(), interruptible: queue.settings().interruptible }
    }

    /// Whether `total-max-smtp-out` leaves the queue a connection: asked before it looks for its next hop.
    pub(super) fn has_total(&mut self, queue: u32) -> bool {
        let rank = self.queues[queue].queue.rank();
        let room = !self.is_after_others(queue, &Place::Total)
            && self.shared.places.join(self.number, rank, &Place::Total);
        if !room {
            self.stand_for(queue, (Place::Total, self.shared.total()));
        }
        room
    }

    /// Whether others of this shard wait for it that are more important, have less, or came before.
    fn is_after_others(&self, queue: u32, place: &Place) -> bool {
        let Some((rank, first)) = self.held.rows.get(place).and_then(Row::front) else { return false };
        let own = self.queues[queue].queue.rank();
        rank > own || (rank == own && first != queue && self.held.turn_of != Some(queue))
    }

    /// The endpoint if it has room for a connection, or one as good that has, with what the connection has taken. `None`:
    /// the queue waits for what the first one lacks.
    pub(super) fn admitted(&mut self, queue: u32, mut next: Next) -> Option<(Next, Hold)> {
        let mut full: Option<(Next, (Place, u32))> = None;
        loop {
            let hold = self.places_of(queue, &next.endpoint);
            let Err(lacking) = self.take_places(queue, &hold) else { return Some((next, hold)) };
            let lacking = &hold.needs[lacking];
            let (first, _) = full.get_or_insert_with(|| (next.clone(), lacking.clone()));
            let hosts = !matches!(lacking.0, Place::Total | Place::Vmta(_));
            let sources = &mut self.queues[queue].sources;
            match next.rest.instead(&first.endpoint, sources).filter(|_| hosts) {
                Some(endpoint) => next.endpoint = endpoint,
                None => break,
            }
        }
        let (first, lacks) = full?;
        self.queues[queue].work_mut().next = Some(first);
        self.stand_for(queue, lacks);
        None
    }

    /// The queue has one connection less: it is the needier for it.
    pub(super) fn rise(&mut self, queue: u32) {
        let entry = &self.queues[queue];
        let Some(place) = entry.stands_for() else { return };
        let rank = entry.queue.rank();
        if let Some(row) = self.held.rows.get_mut(place) {
            row.rise(queue, rank);
            if row.front() == Some((rank, queue)) && self.shared.places.join(self.number, rank, place) {
                self.held.told.push(place.clone());
            }
        }
    }

    fn take_places(&mut self, queue: u32, hold: &Hold) -> Result<(), usize> {
        if let Some(others) = hold.needs.iter().position(|(place, _)| self.is_after_others(queue, place)) {
            return Err(others);
        }
        let mut told = Told::new();
        let taken = self.shared.places.take(self.number, hold, &mut told);
        if taken.is_ok() {
            self.held.turn_of = None;
        }
        self.tell(told);
        taken
    }

    fn stand_for(&mut self, queue: u32, (place, limit): (Place, u32)) {
        let entry = &mut self.queues[queue];
        // One that tries again, because a connection of its own has closed, stands in its row already.
        if entry.stands_for().is_some() {
            return;
        }
        match place {
            Place::Total => entry.short = true,
            _ => entry.work_mut().lacks = Some((place.clone(), limit)),
        }
        let rank = entry.queue.rank();
        let row = self.held.rows.entry(place.clone()).or_default();
        row.push(rank, queue);
        if row.front() == Some((rank, queue)) {
            self.held.ask_at = Time::ZERO;
            self.give_up_idle(&place);
        }
    }

    /// Has connections that wait for mail close, since others have mail and no connection.
    fn give_up_idle(&mut self, place: &Place) {
        let idle: Vec<u32> = self
            .connections
            .iter()
            .filter(|c| c.idle && c.transactions.is_empty() && c.holds(place))
            .map(|c| key(c.id))
            .collect();
        for connection in idle {
            if let Some(connection) = self.connections.at(connection) {
                connection.idle_until = Some(Time::ZERO);
            }
            self.connection_timers.set(connection, Time::ZERO);
        }
    }

    pub(super) fn give_back_places(&mut self, hold: &Hold) {
        let mut told = Told::new();
        self.shared.places.give_back(self.number, hold, &mut told);
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

    /// Gives turns to those who wait for what this shard has been given, the most important first, and of equal ones those
    /// that have waited longest.
    pub(super) fn wake_held(&mut self, now: Now) {
        while let Some(place) = self.held.told.pop() {
            let most = self.held.rows.get(&place).map_or(0, Row::len);
            for _ in 0..most {
                let Some(row) = self.held.rows.get_mut(&place) else { break };
                let Some((rank, _)) = row.front() else { break };
                if !self.shared.places.join(self.number, rank, &place) {
                    break;
                }
                let Some(queue) = row.pop() else { break };
                self.queues[queue].lacks_nothing();
                self.held.turn_of = Some(queue);
                self.turn(now, queue);
                self.held.turn_of = None;
            }
            match self.held.rows.get(&place).and_then(Row::front) {
                None => {
                    self.held.rows.remove(&place);
                    self.leave(&place);
                }
                // All have had a turn, and some want more of what is left.
                Some((rank, _)) if self.shared.places.join(self.number, rank, &place) => {
                    self.held.told.push(place);
                }
                Some(_) => {}
            }
        }
    }

    fn leave(&mut self, place: &Place) {
        let mut told = Told::new();
        self.shared.places.leave(self.number, place, &mut told);
        self.tell(told);
    }

    /// The rates that queues of a virtual MTA share.
    pub(super) fn wide(&self, vmta: Option<&VmtaProfile>) -> Wide {
        let wide =
            |vmta: &VmtaProfile| self.shared.wide(&vmta.name, vmta.max_msg_rate, vmta.max_data_volume_rate);
        vmta.map_or_else(Wide::default, wide)
    }

    /// The queue waits for a rate of its virtual MTA, which has something again at `until`.
    pub(super) fn stand_in_row(&mut self, now: Now, queue: u32, volume: bool, until: Time) {
        let entry = &mut self.queues[queue];
        entry.queue.wide_waits(now.mono, volume, true);
        let name = (Box::from(&*entry.queue.name().vmta), volume);
        let rated = self.held.rated.entry(name);
        let rated = rated.or_insert_with(|| Rated { row: Row::default(), again: Time::NEVER });
        if !std::mem::replace(&mut entry.work_mut().rated, true) {
            rated.row.push(Rank::new(entry.queue.settings().priority, 0), queue);
        }
        rated.again = rated.again.min(until);
        self.held.again = self.held.again.min(rated.again);
    }

    /// Gives turns to queues whose virtual MTA has something for them, those first that have waited longest.
    pub(super) fn wake_rated(&mut self, now: Now) {
        let due = |(_, rated): &(&(Box<str>, bool), &Rated)| rated.again <= now.mono;
        let due: Vec<(Box<str>, bool)> =
            self.held.rated.iter().filter(due).map(|(of, _)| of.clone()).collect();
        for of in due {
            self.wake_row(now, &of);
        }
        self.held.again = self.held.rated.values().map(|rated| rated.again).min().unwrap_or(Time::NEVER);
    }

    fn wake_row(&mut self, now: Now, of: &(Box<str>, bool)) {
        let Some(rated) = self.held.rated.get_mut(of) else { return };
        rated.again = Time::NEVER;
        let mut last = None;
        for turns in 0..rated.row.len() as u64 {
            let Some(rated) = self.held.rated.get_mut(of) else { return };
            let Some((_, first)) = rated.row.front() else { break };
            let queue = &self.queues[first].queue;
            if let Some(wait) = queue.wide_wait(now.mono) {
                rated.again = rated.again.min(wait.until.unwrap_or(Time::NEVER));
                break;
            }
            if turns >= queue.wide_turns() {
                rated.again = rated.again.min(now.mono + NEXT);
                break;
            }
            rated.row.pop();
            self.queues[first].work_mut().rated = false;
            last = Some(first);
            self.turn(now, first);
        }
        let Some(rated) = self.held.rated.get_mut(of) else { return };
        if rated.row.is_empty() {
            self.held.rated.remove(of);
            if let Some(last) = last {
                self.queues[last].queue.wide_waits(now.mono, of.1, false);
            }
        } else if rated.again == Time::NEVER {
            rated.again = now.mono + NEXT;
        }
    }

    /// Nobody stands in a row any more; whoever still needs what he waited for asks again.
    pub(super) fn release_held(&mut self, now: Now) {
        (self.held.again, self.held.ask_at) = (Time::NEVER, Time::NEVER);
        for ((_, volume), rated) in std::mem::take(&mut self.held.rated) {
            for queue in rated.row.into_all() {
                let entry = &mut self.queues[queue];
                entry.work_mut().rated = false;
                entry.queue.wide_waits(now.mono, volume, false);
            }
        }
        for (place, row) in std::mem::take(&mut self.held.rows) {
            for queue in row.into_all() {
                self.queues[queue].lacks_nothing();
            }
            self.leave(&place);
        }
    }
}
