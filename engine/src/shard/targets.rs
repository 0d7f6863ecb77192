//! Where a queue's next connection leads: to the endpoint that follows a failed one, or to the first of a new plan.

use super::{Output, Shard};
use crate::base::Now;
use crate::route::Route;
use crate::route::choose::{Attempts, Endpoint};
use crate::route::dns::{Answer, RouteError};
use crate::route::table::Looked;
use crate::smtp::client::{ClientOptions, StartTls};
use crate::smtp::status;
use crate::spool::record::{Attempt, Said};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A connection to be made.
#[derive(Debug)]
pub struct Target {
    pub from: Option<IpAddr>,
    pub to: SocketAddr,
    pub host: Arc<str>,
    pub options: Arc<ClientOptions>,
    /// What follows if it fails.
    pub next: Next,
}

/// An endpoint, and the rest of the plan it came from.
#[derive(Clone, Debug)]
pub struct Next {
    pub endpoint: Endpoint,
    pub rest: Attempts,
}

impl Shard {
    /// The next hop of a queue; `None` while there is none, and then the queue has a turn when there is one.
    pub(super) fn next_hop(&mut self, now: Now, queue: u32) -> Option<Next> {
        let entry = &mut self.queues[queue];
        let mut planned = entry.some_work().and_then(|work| work.next.take());
        if let Some(next) = &mut planned
            && entry.sources.is_full(next.endpoint.source.address)
        {
            match entry.sources.next_for(next.endpoint.address.ip()) {
                Some(source) => next.endpoint.source = source.clone(),
                None => {
                    entry.work_mut().next = planned;
                    return None;
                }
            }
        }
        match planned.and_then(|next| self.unless_skipped(now, queue, next)) {
            Some(next) => Some(next),
            None => self.new_plan(now, queue),
        }
    }

    pub(super) fn target(&self, now: Now, queue: u32, next: Next) -> Option<Target> {
        let entry = &self.queues[queue];
        let vmta = entry.vmta.clone()?;
        let profile = &entry.profile;
        let Endpoint { host, address, source, .. } = next.endpoint.clone();
        let mut options = ClientOptions {
            helo: source.helo.to_string(),
            starttls: if vmta.tls.is_some() { profile.starttls } else { StartTls::Off },
            tls: vmta.tls.clone(),
            host: host.to_string(),
            ignore_pipelining: profile.ignore_pipelining,
            ignore_chunking: profile.ignore_chunking,
            ignore_8bitmime: profile.ignore_8bitmime,
            ignore_dsn: profile.ignore_dsn,
            pipeline_across_data: profile.pipeline_across_data,
            prefer_chunking: profile.prefer_chunking,
            timeouts: profile.timeouts.clone(),
        };
        self.sites.restrain(address, now.mono, &mut options);
        Some(Target { from: source.address, to: address, host, options: Arc::new(options), next })
    }

    fn new_plan(&mut self, now: Now, queue: u32) -> Option<Next> {
        let route = self.route_of(now, queue)?;
        let entry = &mut self.queues[queue];
        entry.turn = entry.turn.wrapping_add(1);
        let (profile, sites) = (&entry.profile, &self.sites);
        let dead = |at| sites.is_dead(at, now.mono);
        let plan = Attempts::new(&route, profile.port, profile.attempts, &entry.sources, entry.turn, dead);
        let planned =
            plan.map(|mut rest| rest.next(&mut entry.sources).map(|endpoint| Next { endpoint, rest }));
        match planned {
            Ok(None) => None,
            Ok(Some(next)) => {
                let next = self.unless_skipped(now, queue, next);
                if next.is_none() {
                    self.no_host_left(now, queue);
                }
                next
            }
            Err(error) => {
                self.unroutable(now, queue, &error);
                None
            }
        }
    }

    /// The endpoint, or the first one behind it, whose host is not left alone (`skip-mx`).
    fn unless_skipped(&mut self, now: Now, queue: u32, mut next: Next) -> Option<Next> {
        let entry = &mut self.queues[queue];
        while entry.work().is_some_and(|work| work.skips(&next.endpoint.host, now.mono)) {
            next.endpoint = next.rest.next(&mut entry.sources)?;
        }
        Some(next)
    }

    /// Every host was to be skipped: the queue waits.
    fn no_host_left(&mut self, now: Now, queue: u32) {
        self.queues[queue].work_mut().skip_none();
        let text =
            self.queues[queue].queue.last_error().map_or_else(String::new, |error| error.text.to_string());
        let said = Said { status: status::with_text((4, 4, 4)), diagnostic: String::new() };
        let attempt = self.bare_attempt(queue);
        self.queue_failed(now, queue, attempt, said, &format!("no MX is left ({text})"), false);
    }

    fn route_of(&mut self, now: Now, queue: u32) -> Option<Arc<Route>> {
        let entry = &self.queues[queue];
        // Held mail leaves neither from another address nor by another route (F39).
        if entry.is_held() || entry.resolving {
            return None;
        }
        match self.routes.lookup(&entry.destination(), queue, now.mono) {
            Looked::Hit(route) if self.rolls_up(now, queue, &route) => None,
            Looked::Hit(route) => self.may_go(now, queue, route.no_mx).then_some(route),
            Looked::Failed(error) => {
                if self.may_go(now, queue, error.no_mx) {
                    self.unroutable(now, queue, &error);
                }
                None
            }
            Looked::Pending => {
                self.queues[queue].resolving = true;
                None
            }
            Looked::Ask(query) => {
                self.queues[queue].resolving = true;
                self.outputs.push_back(Output::Resolve(query));
                None
            }
        }
    }

    /// Gives up what `bounce-upon-no-mx` does not let wait for A and AAAA records; false when nobody is left to go.
    fn may_go(&mut self, now: Now, queue: u32, no_mx: bool) -> bool {
        let entry = &mut self.queues[queue];
        entry.no_mx = no_mx;
        match entry.life_without_mx() {
            None => true,
            Some(Duration::ZERO) => {
                let said = super::said::of_no_mx(&entry.destination());
                entry.queue.note_error(now, &said.diagnostic);
                self.bounce_queue(now, queue, &said);
                false
            }
            Some(_) => {
                self.sweep(now, queue);
                self.queues[queue].queue.ready() > 0
            }
        }
    }

    /// The answer to a look-up: every queue that waited for it has its turn.
    pub(super) fn answered(&mut self, now: Now, answer: Answer) {
        let answered = self.routes.answered(answer, now.mono);
        if let Some(query) = answered.next {
            self.outputs.push_back(Output::Resolve(query));
        }
        for queue in answered.waiters {
            self.queues[queue].resolving = false;
            self.turn(now, queue);
        }
    }

    fn unroutable(&mut self, now: Now, queue: u32, error: &RouteError) {
        let attempt = self.bare_attempt(queue);
        let said = Said { status: super::said::of_route(error), diagnostic: String::new() };
        if error.permanent {
            self.queues[queue].queue.note_error(now, &error.text);
            self.bounce_queue(now, queue, &said);
        } else {
            self.queue_failed(now, queue, attempt, said, &error.text, true);
        }
    }

    /// What accounting says of an attempt over this connection.
    pub(super) fn attempt_at(&self, queue: u32, target: &Target) -> Attempt {
        Attempt {
            source_ip: target.from.map_or_else(|| "0.0.0.0".to_owned(), |from| from.to_string()),
            destination_ip: target.to.ip().to_string(),
            mta: format!("{} ({})", target.host, target.to.ip()),
            ..self.bare_attempt(queue)
        }
    }
}
