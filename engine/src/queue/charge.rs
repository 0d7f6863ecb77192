//! What a queue shares with the other queues of its virtual MTA, and the bytes of its messages.

use super::gate::Wait;
use super::queue::Queue;
use super::wide::WideRates;
use crate::base::Time;
use crate::limit::Wide;

/// What a message counts for: the volume of its queue and that of its virtual MTA, where they are limited.
#[derive(Clone, Copy, Debug, Default)]
pub struct Charge {
    bytes: u64,
    own: bool,
    wide: bool,
}

impl Queue {
    /// Takes the rates of its virtual MTA, shared with its other queues; `shard` is the one that owns this queue.
    pub fn set_wide(&mut self, shard: u32, rates: Wide) {
        self.wide = WideRates::new(shard, rates);
    }

    /// Counts the bytes of a message that is about to be sent; `None`: not now, and [`Queue::gate`] says when.
    pub fn begin(&mut self, now: Time, bytes: u64) -> Option<Charge> {
        let own = self.rates.as_mut().and_then(|rates| rates.begin(now, bytes));
        if own == Some(false) {
            return None;
        }
        let wide = self.wide.as_ref().and_then(|wide| wide.begin(now, bytes));
        let charge = Charge { bytes, own: own.is_some(), wide: wide.is_some() };
        if wide == Some(false) {
            self.ended(now, Charge { wide: false, ..charge }, false);
            return None;
        }
        Some(charge)
    }

    /// A message has arrived, or has not.
    pub fn ended(&mut self, now: Time, charge: Charge, delivered: bool) {
        if let Some(rates) = self.rates.as_mut().filter(|_| charge.own) {
            rates.ended(now, charge.bytes, delivered);
        }
        if let Some(wide) = self.wide.as_ref().filter(|_| charge.wide) {
            wide.ended(now, charge.bytes, delivered);
        }
    }

    /// What keeps all queues of its virtual MTA.
    pub fn wide_wait(&self, now: Time) -> Option<Wait> {
        self.wide.as_ref().and_then(|wide| wide.gate(now).open().err())
    }

    /// How many queues of the shard are worth a turn at a time when the virtual MTA's rate lets them.
    pub fn wide_turns(&self) -> u64 {
        self.wide.as_ref().map_or(1, |wide| wide.turns())
    }

    /// Some of the shard's queues wait for the virtual MTA's rate of messages, or for its volume; or none any more.
    pub fn wide_waits(&self, now: Time, volume: bool, waits: bool) {
        match &self.wide {
            Some(wide) if waits => wide.join(now, volume),
            Some(wide) => wide.leave(now, volume),
            None => {}
        }
    }
}
