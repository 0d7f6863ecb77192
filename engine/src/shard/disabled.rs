//! Source addresses that a queue stops using, and takes again (reference 3.2, 3.4, 9.4).

use super::{Notice, Output, Shard};
use crate::base::Now;
use crate::route::DisabledSource;
use std::net::IpAddr;
use std::time::Duration;

impl Shard {
    /// `disable-source-ip`: the address that connection `key` was made from.
    pub(super) fn disable_source_of(&mut self, now: Now, key: u32, lasts: Option<Duration>, reason: &str) {
        let Some((queue, from)) = self.connections.at(key).map(|c| (c.queue, c.from)) else { return };
        self.disable_source(now, queue, from, lasts, reason);
    }

    pub(super) fn disable_source(
        &mut self,
        now: Now,
        queue: u32,
        address: Option<IpAddr>,
        lasts: Option<Duration>,
        reason: &str,
    ) -> bool {
        let entry = &mut self.queues[queue];
        let until = lasts.or(entry.profile.reenable_source_after).map(|lasts| now.mono + lasts);
        let source = DisabledSource { address, since: now.wall, until, reason: reason.to_owned() };
        if !entry.sources.has(address) || !entry.sources.disabled.add(source) {
            return false;
        }
        let (last, enters) = (entry.sources.all_disabled(), entry.profile.backoff.upon_all_sources_disabled);
        let queue_name = entry.queue.name().clone();
        let notice =
            Notice::Source { queue: queue_name, address, disabled: true, last, reason: reason.to_owned() };
        self.outputs.push_back(Output::Notice(Box::new(notice)));
        if last && enters {
            self.enter_backoff(now, queue, "all source addresses are disabled", None);
        }
        self.queue_timers.set(queue, now.mono);
        true
    }

    pub(super) fn enable_source(
        &mut self,
        now: Now,
        queue: u32,
        address: Option<IpAddr>,
        reason: &str,
    ) -> bool {
        let was = self.queues[queue].sources.disabled.remove(address);
        if was {
            self.source_is_back(queue, address, reason);
            self.queue_timers.set(queue, now.mono);
        }
        was
    }

    /// Takes those again whose time is over.
    pub(super) fn look_at_sources(&mut self, now: Now, queue: u32) {
        while let Some(source) = self.queues[queue].sources.disabled.take_due(now) {
            self.source_is_back(queue, source.address, "its time is over");
        }
    }

    fn source_is_back(&mut self, queue: u32, address: Option<IpAddr>, reason: &str) {
        let queue = self.queues[queue].queue.name().clone();
        let reason = reason.to_owned();
        let notice = Notice::Source { queue, address, disabled: false, last: false, reason };
        self.outputs.push_back(Output::Notice(Box::new(notice)));
    }
}
