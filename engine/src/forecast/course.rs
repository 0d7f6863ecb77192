//! The course of events: mail arrives, connections are opened as the limits let them, messages take their time.

use super::lane::{Lane, Line};
use super::receivers::Receivers;
use super::result::Outlook;
use crate::base::{Now, Time, Wall};
use crate::limit::{Hold, Place, Row, Shared, Told};
use crate::mail::priority::Priority;
use crate::mail::schedule::{Opening, Schedule};
use crate::queue::{Calendar, Class, Expiry, Gate, QueueName, Slot, Slots, Taken, Terms};
use crate::shard::{QueueProfile, VmtaProfile};
use crate::spool::record::{Disposition, RowRef};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A connection whose queue must wait longer than this for its rate is closed, as in the engine.
const WORTH_WAITING: Duration = Duration::from_secs(30);

/// Mail that comes in at one time for one queue.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: Time,
    pub lane: u32,
    pub recipients: u32,
    pub priority: Priority,
    pub schedule: Arc<Schedule>,
    /// Bytes of a message.
    pub size: u64,
    /// Recipients share a message.
    pub together: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive(u32),
    Turn(u32),
    /// The connection stands, or its message is done.
    Ready(u32),
    /// A virtual MTA has something of its rate.
    Rated(u32),
}

/// Queues that wait for a rate of their virtual MTA.
#[derive(Debug, Default)]
struct Rated {
    row: VecDeque<u32>,
    again: Option<Time>,
}

pub struct Course {
    start: Wall,
    now: Time,
    receivers: Receivers,
    shared: Shared,
    lanes: Vec<Lane>,
    arrivals: Vec<Arrival>,
    slots: Slots,
    lines: Vec<Option<Line>>,
    free: Vec<u32>,
    events: BinaryHeap<Reverse<(Time, Event)>>,
    rows: BTreeMap<Place, Row<u32>>,
    /// Places that have something for those who wait.
    told: Told,
    vmtas: BTreeMap<Arc<str>, u32>,
    rated: Vec<Rated>,
    expiry: Expiry,
    taken: Taken,
    attempts: u64,
}

impl Course {
    /// Begins at `start`, with this `total-max-smtp-out`.
    pub fn new(start: Wall, total: u32, receivers: Receivers) -> Course {
        Course {
            start,
            now: Time::ZERO,
            receivers,
            shared: Shared::new(total),
            lanes: Vec::new(),
            arrivals: Vec::new(),
            slots: Slots::new(),
            lines: Vec::new(),
            free: Vec::new(),
            events: BinaryHeap::new(),
            rows: BTreeMap::new(),
            told: Told::new(),
            vmtas: BTreeMap::new(),
            rated: Vec::new(),
            expiry: Expiry::new(Now { mono: Time::ZERO, wall: start }),
            taken: Taken::default(),
            attempts: 0,
        }
    }

    /// Adds a queue and returns its number.
    pub fn queue(&mut self, name: QueueName, profile: Arc<QueueProfile>, vmta: Arc<VmtaProfile>) -> u32 {
        self.lanes.push(Lane::new(name, profile, vmta, &self.shared));
        (self.lanes.len() - 1) as u32
    }

    /// The queue is paused, in backoff, or waits as a whole.
    pub fn lane(&mut self, number: u32) -> &mut crate::queue::Queue {
        &mut self.lanes[number as usize].queue
    }

    pub fn arrive(&mut self, arrival: Arrival) {
        self.events.push(Reverse((arrival.at, Event::Arrive(self.arrivals.len() as u32))));
        self.arrivals.push(arrival);
    }

    /// Runs to the end of all that happens, and says what becomes of each queue's mail.
    pub fn run(mut self) -> Vec<Outlook> {
        while let Some(Reverse((at, event))) = self.events.pop() {
            self.now = self.now.max(at);
            match event {
                Event::Arrive(arrival) => self.arrived(arrival),
                Event::Turn(lane) if self.lanes[lane as usize].wake == at => {
                    self.lanes[lane as usize].wake = Time::NEVER;
                    self.turn(lane);
                }
                Event::Turn(_) => {}
                Event::Ready(line) => self.ready(line),
                Event::Rated(vmta) => self.wake_rated(vmta),
            }
            while let Some((_, place)) = self.told.pop() {
                self.wake_row(&place);
            }
        }
        (0..self.lines.len() as u32).for_each(|line| self.close(line));
        let lanes = std::mem::take(&mut self.lanes);
        let left = |mut lane: Lane| {
            lane.outlook.left = u64::from(lane.queue.waiting());
            lane.outlook
        };
        lanes.into_iter().map(left).collect()
    }

    fn arrived(&mut self, number: u32) {
        let arrival = &self.arrivals[number as usize];
        let (lane, recipients, priority) = (arrival.lane, arrival.recipients, arrival.priority);
        let due = match arrival.schedule.at(self.wall()) {
            Opening::From(start) => Some(self.now + start.since(self.wall())),
            Opening::Open | Opening::Over => None,
        };
        let entry = &mut self.lanes[lane as usize];
        entry.outlook.recipients += u64::from(recipients);
        for _ in 0..recipients {
            let mut slot = Slot::new(RowRef::default(), number);
            if let Some(due) = due {
                slot.set_due(due);
            }
            let slot = self.slots.insert(slot);
            entry.queue.push(&mut self.slots, slot, Class::new(priority, 0), self.now);
        }
        self.turn(lane);
    }

    fn wall(&self) -> Wall {
        Wall(self.start.0 + self.now.as_millis() as i64)
    }

    fn turn(&mut self, number: u32) {
        while let Some(line) = self.next_idle(number) {
            if !self.feed(line) {
                self.lanes[number as usize].idle.push(line);
                break;
            }
        }
        self.open(number);
        self.arm(number);
    }

    /// An idle connection that may send.
    fn next_idle(&mut self, number: u32) -> Option<u32> {
        let lane = &mut self.lanes[number as usize];
        let lines = &self.lines;
        let may = |line: &u32| {
            lines[*line as usize].as_ref().is_some_and(|line| lane.gate(line.from, self.now) == Gate::Go)
        };
        let at = lane.idle.iter().position(may)?;
        Some(lane.idle.swap_remove(at))
    }

    fn open(&mut self, number: u32) {
        loop {
            let (now, total) = (self.now, self.shared.total());
            let lane = &mut self.lanes[number as usize];
            let full = lane.sources.look(now).is_some();
            if full || lane.lacks.is_some() || lane.queue.connections_wanted(now, lane.connecting) == 0 {
                return;
            }
            let hold = lane.hold(total);
            let Some(from) = lane.source() else { return };
            let others = hold.needs.iter().position(|(place, _)| self.is_after_others(number, place));
            let taken = others.map_or_else(|| self.shared.places.take(0, &hold, &mut self.told), Err);
            let lane = &mut self.lanes[number as usize];
            if let Err(lacking) = taken {
                let (place, limit) = hold.needs[lacking].clone();
                self.rows.entry(place.clone()).or_default().push(hold.rank, number);
                lane.lacks = Some((place, limit));
                return;
            }
            let Ok(grant) = lane.queue.connect(now) else {
                self.give_back(&hold);
                return;
            };
            if let Some(limits) = &mut lane.sources.limits {
                limits.connected(from, now);
            }
            lane.connecting += 1;
            let ready = now + self.receivers.to_connect(&lane.profile);
            let line = Line { lane: number, from, grant, hold, messages: 0, batch: Vec::new() };
            let at = self.free.pop().unwrap_or_else(|| {
                self.lines.push(None);
                (self.lines.len() - 1) as u32
            });
            self.lines[at as usize] = Some(line);
            self.events.push(Reverse((ready, Event::Ready(at))));
        }
    }

    fn is_after_others(&self, number: u32, place: &Place) -> bool {
        let own = self.lanes[number as usize].queue.rank();
        self.rows.get(place).and_then(Row::front).is_some_and(|(rank, _)| rank > own)
    }

    /// A connection stands, or has sent its message.
    fn ready(&mut self, number: u32) {
        let Some(line) = &mut self.lines[number as usize] else { return };
        let (lane, batch) = (line.lane, std::mem::take(&mut line.batch));
        if line.messages == 0 && batch.is_empty() {
            self.lanes[lane as usize].connecting -= 1;
        }
        for slot in batch {
            self.settle(lane, slot);
        }
        if !self.is_used_up(number) && self.feed(number) {
            return self.arm(lane);
        }
        if self.is_used_up(number) || !self.is_worth_keeping(number) {
            self.close(number);
        } else {
            self.lanes[lane as usize].idle.push(number);
        }
        self.turn(lane);
    }

    fn settle(&mut self, number: u32, slot: u32) {
        let lane = &mut self.lanes[number as usize];
        self.attempts += 1;
        let before = (self.attempts - 1) * u64::from(self.receivers.deferred) / 1000;
        if self.attempts * u64::from(self.receivers.deferred) / 1000 > before {
            let priority = self.arrivals[self.slots[slot].submission as usize].priority;
            lane.queue.defer(&mut self.slots, slot, Class::new(priority, 0), self.now);
            lane.outlook.deferred += 1;
            return;
        }
        let arrived = self.arrivals[self.slots[slot].submission as usize].at;
        lane.queue.settled(Disposition::Delivered, self.now);
        self.slots.remove(slot);
        let outlook = &mut lane.outlook;
        outlook.delivered += 1;
        outlook.first.get_or_insert(self.now);
        outlook.last = Some(self.now);
        outlook.waits.push(u32::try_from(self.now.since(arrived).as_millis()).unwrap_or(u32::MAX));
    }

    fn is_used_up(&self, number: u32) -> bool {
        let Some(line) = &self.lines[number as usize] else { return true };
        let most = self.lanes[line.lane as usize].queue.settings().max_msg_per_connection;
        most != 0 && line.messages >= most
    }

    fn is_worth_keeping(&self, number: u32) -> bool {
        let Some(line) = &self.lines[number as usize] else { return false };
        let wanted = self.shared.places.is_wanted(&line.hold.needs);
        match self.lanes[line.lane as usize].gate(line.from, self.now) {
            Gate::Go => true,
            Gate::Wait(wait) => {
                !wanted && wait.until.is_some_and(|until| until.since(self.now) <= WORTH_WAITING)
            }
        }
    }

    /// Starts the next message over a connection; false: there is none that may go.
    fn feed(&mut self, number: u32) -> bool {
        let Some(line) = &self.lines[number as usize] else { return false };
        let (number_of_lane, from) = (line.lane, line.from);
        let now = Now { mono: self.now, wall: self.wall() };
        let lane = &mut self.lanes[number_of_lane as usize];
        loop {
            if lane.gate(from, now.mono) != Gate::Go {
                return false;
            }
            let Some(first) = lane.queue.iter(&self.slots).next() else { return false };
            let arrival = &self.arrivals[self.slots[first].submission as usize];
            let most = if arrival.together { lane.queue.batch() } else { 1 };
            let (arrivals, start) = (&self.arrivals, self.start);
            let terms = |key: u32| {
                let arrival = &arrivals[key as usize];
                let begins = Wall(start.0 + arrival.at.as_millis() as i64);
                Terms { begins, schedule: Some(&*arrival.schedule).filter(|times| !times.is_empty()) }
            };
            let calendar = Calendar { expiry: &self.expiry, terms, life: lane.queue.settings().bounce_after };
            let _ = lane.queue.take(&mut self.slots, now, most, &calendar, &mut self.taken);
            for slot in self.taken.expired.drain(..) {
                lane.queue.settled(Disposition::Expired, now.mono);
                lane.outlook.expired += 1;
                self.slots.remove(slot);
            }
            if self.taken.batch.is_empty() {
                continue;
            }
            let batch = std::mem::take(&mut self.taken.batch);
            let Some(charge) = lane.queue.begin(now.mono, arrival.size) else {
                lane.queue.give_back(now.mono, batch.len() as u32);
                for &slot in batch.iter().rev() {
                    lane.queue.hand_back(&mut self.slots, slot, Class::new(arrival.priority, 0));
                }
                continue;
            };
            // The bytes are counted as delivered when they are sent: what is put off is little.
            lane.queue.ended(now.mono, charge, true);
            if let Some(limits) = &mut lane.sources.limits {
                limits.take_messages(from, now.mono, batch.len() as u32);
            }
            let done = now.mono + self.receivers.to_send(&lane.profile);
            if let Some(line) = &mut self.lines[number as usize] {
                line.messages += 1;
                line.batch = batch;
            }
            self.events.push(Reverse((done, Event::Ready(number))));
            return true;
        }
    }

    fn close(&mut self, number: u32) {
        let Some(line) = self.lines[number as usize].take() else { return };
        self.free.push(number);
        let lane = &mut self.lanes[line.lane as usize];
        lane.queue.disconnected(line.grant);
        if let Some(limits) = &mut lane.sources.limits {
            limits.disconnected(line.from);
        }
        self.give_back(&line.hold);
    }

    fn give_back(&mut self, hold: &Hold) {
        self.shared.places.give_back(0, hold, &mut self.told);
    }

    /// Gives turns to those who wait for a connection, as far as there is one for them.
    fn wake_row(&mut self, place: &Place) {
        for _ in 0..self.rows.get(place).map_or(0, Row::len) {
            let Some(row) = self.rows.get_mut(place) else { break };
            let Some((rank, _)) = row.front() else { break };
            if !self.shared.places.join(0, rank, place) {
                return;
            }
            let Some(number) = row.pop() else { break };
            self.lanes[number as usize].lacks = None;
            self.turn(number);
        }
        if self.rows.get(place).is_none_or(Row::is_empty) {
            self.rows.remove(place);
            self.shared.places.leave(0, place, &mut self.told);
        }
    }

    /// Sets the time of the queue's next turn.
    fn arm(&mut self, number: u32) {
        let now = self.now;
        let lane = &mut self.lanes[number as usize];
        lane.note(now);
        let gate = lane.queue.gate(now);
        if let Gate::Wait(wait) = gate
            && wait.reason.of_vmta().is_some()
        {
            return self.stand_for_rate(number, wait.until.unwrap_or(Time::NEVER));
        }
        let wake = match gate {
            Gate::Wait(wait) => wait.until,
            Gate::Go => {
                let connects = lane.queue.connection_gate(now).open().err().and_then(|wait| wait.until);
                let sources = lane.sources.limits.as_ref().and_then(|limits| limits.next(now));
                connects.into_iter().chain(sources).min()
            }
        };
        if let Some(wake) = wake.filter(|wake| *wake < lane.wake || lane.wake <= now) {
            lane.wake = wake.max(now);
            self.events.push(Reverse((lane.wake, Event::Turn(number))));
        }
    }

    fn stand_for_rate(&mut self, number: u32, until: Time) {
        let lane = &mut self.lanes[number as usize];
        let next = self.vmtas.len() as u32;
        let vmta = *self.vmtas.entry(lane.vmta.name.clone()).or_insert(next);
        self.rated.resize_with(self.vmtas.len(), Rated::default);
        let rated = &mut self.rated[vmta as usize];
        if !std::mem::replace(&mut lane.rated, true) {
            rated.row.push_back(number);
        }
        if rated.again.is_none_or(|again| until < again) && until < Time::NEVER {
            rated.again = Some(until);
            self.events.push(Reverse((until, Event::Rated(vmta))));
        }
    }

    fn wake_rated(&mut self, vmta: u32) {
        self.rated[vmta as usize].again = None;
        for _ in 0..self.rated[vmta as usize].row.len() {
            let Some(&first) = self.rated[vmta as usize].row.front() else { return };
            if let Some(wait) = self.lanes[first as usize].queue.wide_wait(self.now) {
                return self.stand_for_rate(first, wait.until.unwrap_or(Time::NEVER));
            }
            self.rated[vmta as usize].row.pop_front();
            self.lanes[first as usize].rated = false;
            self.turn(first);
        }
    }
}

/// A course that is given up has connections: their grants come home all the same.
impl Drop for Course {
    fn drop(&mut self) {
        for number in 0..self.lines.len() {
            if let Some(line) = self.lines[number].take()
                && let Some(lane) = self.lanes.get_mut(line.lane as usize)
            {
                lane.queue.disconnected(line.grant);
            }
        }
    }
}
