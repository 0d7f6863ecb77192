//! The rates that a queue shares with all other queues of its virtual MTA. Most queues have none, so they are boxed.

use super::gate::{Gate, Wait, WaitReason};
use super::queue::{Charge, Queue};
use crate::base::Time;
use crate::limit::{SharedRate, Wide};
use std::time::Duration;

/// Queues are given turns for what the rate gives in this time, in case those before cannot use theirs.
const AHEAD: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct WideRates {
    shard: u32,
    rates: Wide,
}

impl WideRates {
    pub fn new(shard: u32, rates: Wide) -> Option<Box<WideRates>> {
        let any = rates.messages.is_some() || rates.volume.is_some();
        any.then(|| Box::new(WideRates { shard, rates }))
    }

    pub fn gate(&self, now: Time) -> Gate {
        if let Some(messages) = &self.rates.messages {
            let messages = messages.lock();
            if let Err(until) = messages.look(self.shard, now) {
                return Gate::wait(Some(until), WaitReason::MaxSmtpMsgRate(messages.rate()));
            }
        }
        match self.rates.volume.as_ref().map(|volume| volume.look(self.shard, now)) {
            Some(Err((until, rate))) => Gate::wait(Some(until), WaitReason::MaxSmtpDataVolumeRate(rate)),
            _ => Gate::Go,
        }
    }

    /// Recipients one transaction may take.
    pub fn largest(&self) -> u32 {
        self.rates.messages.as_ref().map_or(u32::MAX, |messages| messages.lock().largest())
    }

    pub fn messages(&self) -> Option<(u32, &SharedRate)> {
        self.rates.messages.as_deref().map(|messages| (self.shard, messages))
    }

    pub fn give_back_messages(&self, granted: Time, n: u32) {
        if let Some(messages) = &self.rates.messages {
            messages.lock().give_back(granted, n);
        }
    }

    /// Whether there is a volume, and whether the message may begin.
    pub fn begin(&self, now: Time, bytes: u64) -> Option<bool> {
        self.rates.volume.as_ref().map(|volume| volume.begin(self.shard, now, bytes))
    }

    pub fn ended(&self, now: Time, bytes: u64, delivered: bool) {
        if let Some(volume) = &self.rates.volume {
            volume.ended(now, bytes, delivered);
        }
    }

    /// How many queues of this shard are worth a turn at a time.
    pub fn turns(&self) -> u64 {
        self.rates.messages.as_ref().map_or(4, |messages| messages.lock().within(AHEAD))
    }

    /// Somebody of this shard waits for one of them.
    pub fn join(&self, now: Time, volume: bool) {
        match (&self.rates.messages, &self.rates.volume) {
            (Some(messages), _) if !volume => messages.lock().join(self.shard, now),
            (_, Some(volumes)) if volume => volumes.join(self.shard, now),
            _ => {}
        }
    }

    /// Nobody of this shard does.
    pub fn leave(&self, now: Time, volume: bool) {
        match (&self.rates.messages, &self.rates.volume) {
            (Some(messages), _) if !volume => messages.lock().leave(self.shard, now),
            (_, Some(volumes)) if volume => volumes.leave(self.shard, now),
            _ => {}
        }
    }
}

impl Queue {
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
