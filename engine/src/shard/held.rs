//! Queues that wait for a connection of what is limited over many queues: each stands in one row, and the row of a shard
//! stands in that of all shards ([`crate::limit::Places`]).

use super::connection::key;
use super::targets::Next;
use super::{Output, Shard, VmtaProfile};
use crate::base::{Now, Time};
use crate::limit::{Needs, Place, Told, Wide};
use crate::route::choose::Endpoint;
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

#[derive(Debug)]
pub struct Held {
    /// When the first of `rated` has something again.
    pub again: Time,
    /// Those that wait for a rate of their virtual MTA, by its name and whether it is its volume.
    rated: BTreeMap<(Box<str>, bool), Rated>,
    rows: BTreeMap<Place, VecDeque<u32>>,
    /// Places of which this shard has been given something.
    pub told: Vec<Place>,
}

impl Default for Held {
    fn default() -> Held {
        Held { again: Time::NEVER, rated: BTreeMap::new(), rows: BTreeMap::new(), told: Vec::new() }
    }
}

#[derive(Debug)]
struct Rated {
    row: VecDeque<u32>,
    again: Time,
}

/// When the next queues of a row have a turn, whose first ones have not used what there is.
const NEXT: Duration = Duration::from_millis(100);

impl Shard {
    /// What a connection counts for beside its queue and the total.
    fn places_of(&self, queue: u32, endpoint: &Endpoint) -> Needs {
        let mut needs = Needs::new();
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
        needs
    }

    /// The endpoint if it has room for a connection, or one as good that has, with what the connection has taken. `None`:
    /// the queue waits for what the first one lacks.
    pub(super) fn admitted(&mut self, queue: u32, mut next: Next) -> Option<(Next, Needs)> {
        let mut full: Option<(Next, (Place, u32))> = None;
        loop {
            let needs = self.places_of(queue, &next.endpoint);
            let Err(lacking) = self.take_places(&needs) else { return Some((next, needs)) };
            let (first, _) = full.get_or_insert_with(|| (next.clone(), needs[lacking].clone()));
            let hosts = !matches!(needs[lacking].0, Place::Vmta(_));
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

    fn take_places(&mut self, needs: &Needs) -> Result<(), usize> {
        let mut told = Told::new();
        let taken = self.shared.places.take(self.number, needs, &mut told);
        self.tell(told);
        taken
    }

    fn stand_for(&mut self, queue: u32, (place, limit): (Place, u32)) {
        let work = self.queues[queue].work_mut();
        // One that tries again, because a connection of its own has closed, stands in its row already.
        if work.lacks.is_some() {
            return;
        }
        work.lacks = Some((place.clone(), limit));
        let row = self.held.rows.entry(place.clone()).or_default();
        row.push_back(queue);
        if row.len() == 1 {
            self.give_up_idle(&place);
        }
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
        let rated = rated.or_insert_with(|| Rated { row: VecDeque::new(), again: Time::NEVER });
        if !std::mem::replace(&mut entry.work_mut().rated, true) {
            rated.row.push_back(queue);
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
            let Some(&first) = rated.row.front() else { break };
            let queue = &self.queues[first].queue;
            if let Some(wait) = queue.wide_wait(now.mono) {
                rated.again = rated.again.min(wait.until.unwrap_or(Time::NEVER));
                break;
            }
            if turns >= queue.wide_turns() {
                rated.again = rated.again.min(now.mono + NEXT);
                break;
            }
            rated.row.pop_front();
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
        self.held.again = Time::NEVER;
        for ((_, volume), rated) in std::mem::take(&mut self.held.rated) {
            for queue in rated.row {
                let entry = &mut self.queues[queue];
                entry.work_mut().rated = false;
                entry.queue.wide_waits(now.mono, volume, false);
            }
        }
        for (place, row) in std::mem::take(&mut self.held.rows) {
            for queue in row {
                self.queues[queue].work_mut().lacks = None;
            }
            self.leave(&place);
        }
    }
}
