//! The rate limits of one queue. Most queues have none, so they are boxed.

use super::gate::{Gate, WaitReason};
use super::settings::QueueSettings;
use crate::base::Time;
use crate::limit::{Gcra, Rate, Volume};
use std::time::Duration;

/// `max-msg-rate`, `max-connect-rate` and `max-data-volume-rate`, as far as they are set.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    messages: Option<(Rate, Gcra)>,
    connects: Option<(Rate, Gcra)>,
    volume: Option<Volume>,
    /// The time between two connections, and when the next one may be opened.
    ramp: Option<(Duration, Time)>,
}

impl Rates {
    /// The rates of `settings`, going on from `old` ones.
    pub(super) fn new(settings: &QueueSettings, old: Option<&Rates>) -> Option<Box<Rates>> {
        if settings.max_msg_rate.is_none()
            && settings.max_connect_rate.is_none()
            && settings.max_data_volume_rate.is_none()
            && settings.smtp_out_rampup.is_zero()
        {
            return None;
        }
        let volume = settings.max_data_volume_rate.map(|rate| {
            let old = old.and_then(|old| old.volume.clone());
            let mut volume = old.unwrap_or_else(|| Volume::new(rate));
            if volume.rate() != rate {
                volume.set(rate);
            }
            volume
        });
        let largest = settings.recipients_per_message();
        Some(Box::new(Rates {
            messages: renew(settings.max_msg_rate, largest, old.and_then(|old| old.messages.as_ref())),
            volume,
            ramp: (!settings.smtp_out_rampup.is_zero()).then(|| {
                let next = old.and_then(|old| old.ramp).map_or(Time::ZERO, |(_, next)| next);
                (settings.smtp_out_rampup, next)
            }),
            connects: renew(settings.max_connect_rate, 1, old.and_then(|old| old.connects.as_ref())),
        }))
    }

    /// Recipients one transaction may take.
    pub(super) fn largest(&self) -> u32 {
        self.messages.as_ref().map_or(u32::MAX, |(_, gcra)| gcra.largest())
    }

    pub(super) fn message_gate(&self, now: Time) -> Gate {
        let messages = gate(self.messages.as_ref(), now, WaitReason::MaxMsgRate);
        match self.volume.as_ref().map(|volume| (volume.rate(), volume.look(now))) {
            Some((rate, Err(until))) if messages == Gate::Go => {
                Gate::wait(Some(until), WaitReason::MaxDataVolumeRate(rate))
            }
            _ => messages,
        }
    }

    pub(super) fn connect_gate(&self, now: Time) -> Gate {
        match self.ramp {
            Some((interval, next)) if next > now => Gate::wait(Some(next), WaitReason::RampUp(interval)),
            _ => gate(self.connects.as_ref(), now, WaitReason::MaxConnectRate),
        }
    }

    /// Counts `n` recipients; the gate has been asked.
    pub(super) fn take_messages(&mut self, now: Time, n: u32) {
        take(&mut self.messages, now, n);
    }

    /// Counts a connection; the gate has been asked.
    pub(super) fn take_connect(&mut self, now: Time) {
        take(&mut self.connects, now, 1);
        if let Some((interval, next)) = &mut self.ramp {
            *next = now + *interval;
        }
    }

    /// Whether there is a volume, and whether the message may begin.
    pub(super) fn begin(&mut self, now: Time, bytes: u64) -> Option<bool> {
        self.volume.as_mut().map(|volume| volume.begin(now, bytes).is_ok())
    }

    pub(super) fn ended(&mut self, now: Time, bytes: u64, delivered: bool) {
        if let Some(volume) = &mut self.volume {
            volume.ended(now, bytes, delivered);
        }
    }

    pub(super) fn give_back_messages(&mut self, granted: Time, n: u32) {
        if let Some((_, gcra)) = &mut self.messages {
            gcra.give_back(granted, n);
        }
    }
}

fn renew(rate: Option<Rate>, largest: u32, old: Option<&(Rate, Gcra)>) -> Option<(Rate, Gcra)> {
    let rate = rate?;
    let gcra = match old {
        Some((_, old)) => {
            let mut gcra = old.clone();
            gcra.set(rate, largest);
            gcra
        }
        None => Gcra::new(rate, largest),
    };
    Some((rate, gcra))
}

fn gate(limit: Option<&(Rate, Gcra)>, now: Time, reason: fn(Rate) -> WaitReason) -> Gate {
    match limit.map(|(rate, gcra)| (rate, gcra.look(now))) {
        None | Some((_, Ok(()))) => Gate::Go,
        Some((&rate, Err(until))) => Gate::wait((until < Time::NEVER).then_some(until), reason(rate)),
    }
}

fn take(limit: &mut Option<(Rate, Gcra)>, now: Time, n: u32) {
    if let Some((_, gcra)) = limit {
        let granted = gcra.ask(now, n);
        debug_assert!(granted.is_ok(), "a rate was taken from without asking the gate");
    }
}
