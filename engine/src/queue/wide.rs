//! The rates that a queue shares with all other queues of its virtual MTA. Most queues have none, so they are boxed.

use super::gate::{Gate, WaitReason};
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
