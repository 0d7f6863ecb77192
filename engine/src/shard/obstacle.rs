//! What keeps a queue from sending right now: the first thing in the way, and the directive that put it there.

use super::Shard;
use super::entries::Entry;
use crate::base::{Now, Time};
use crate::limit::Place;
use crate::queue::{Gate, WaitReason};

/// What is in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obstacle {
    pub text: String,
    /// Empty where no setting is the cause.
    pub directive: &'static str,
    /// It is the virtual MTA's, and not the queue's of the same name.
    pub of_vmta: bool,
    /// When it is out of the way by itself, if that is known.
    pub until: Option<Time>,
}

impl Obstacle {
    fn new(text: impl Into<String>) -> Obstacle {
        Obstacle { text: text.into(), ..Obstacle::default() }
    }
}

impl Shard {
    /// `None` while the queue sends or has nothing to send.
    pub(super) fn obstacle(&self, now: Now, key: u32) -> Option<Obstacle> {
        let entry = &self.queues[key];
        if entry.queue.waiting() == 0 {
            return None;
        }
        if entry.vmta.is_none() {
            let vmta = &entry.queue.name().vmta;
            return Some(Obstacle::new(format!("its virtual MTA {vmta} is not in the configuration")));
        }
        if entry.route_gone {
            let text = "its route was taken out of the configuration; give it smtp-hosts again, or resume the queue to \
                        deliver by MX";
            return Some(Obstacle::new(text));
        }
        if entry.sources.all_disabled() {
            let until = entry.sources.disabled.next();
            return Some(Obstacle { until, ..Obstacle::new("all its source addresses are disabled") });
        }
        let wait = match entry.queue.gate(now.mono) {
            Gate::Wait(wait) => Some(wait),
            Gate::Go => match entry.queue.connection_gate(now.mono) {
                Gate::Wait(wait) => Some(wait),
                Gate::Go => None,
            },
        };
        let of_sources = || entry.sources.clone().look(now.mono);
        if let Some(wait) = wait.or_else(of_sources) {
            let (directive, mut text) = entry.named(wait.reason);
            if let Some(until) = wait.until {
                text += &format!(" (until in {:.1} s)", until.since(now.mono).as_secs_f64());
            }
            return Some(Obstacle { directive, until: wait.until, ..Obstacle::new(text) });
        }
        self.shared_obstacle(now, entry)
    }

    /// What stands in the way of all queues, or of those to a host.
    fn shared_obstacle(&self, now: Now, entry: &Entry) -> Option<Obstacle> {
        if let Some((place, _)) = entry.work().and_then(|work| work.lacks.as_ref()) {
            let of_vmta = matches!(place, Place::Vmta(_));
            return Some(Obstacle { directive: place.directive(), of_vmta, ..Obstacle::new(entry.lacks()) });
        }
        if entry.short {
            let text = format!("all connections are in use (total-max-smtp-out {})", self.shared.total());
            return Some(Obstacle { directive: "total-max-smtp-out", ..Obstacle::new(text) });
        }
        if entry.resolving {
            return Some(Obstacle::new(format!("DNS answer for {}", entry.queue.name().domain)));
        }
        let until = entry.work().and_then(|work| work.hold_until).filter(|until| *until > now.mono)?;
        let seconds = until.since(now.mono).as_secs();
        let text = format!("no more connections for {seconds} s: the site refused one while others work");
        Some(Obstacle { until: Some(until), ..Obstacle::new(text) })
    }
}

impl Entry {
    /// The directive behind a reason, which in backoff is another one, and the reason in words.
    fn named(&self, reason: WaitReason) -> (&'static str, String) {
        let (usual, slow) = (&self.profile.scheduling, &self.profile.backoff.scheduling);
        let text = reason.to_string();
        let differs = |usual: bool, slow: bool| (!usual, self.backoff.is_some() && slow);
        let (directive, (changed, by_backoff)) = match reason {
            WaitReason::MaxMsgRate(rate) => {
                let differs = differs(usual.max_msg_rate == Some(rate), slow.max_msg_rate == Some(rate));
                ("backoff-max-msg-rate", differs)
            }
            WaitReason::MaxSmtpOut(most) => {
                ("backoff-max-smtp-out", differs(usual.max_smtp_out == most, slow.max_smtp_out == most))
            }
            WaitReason::MaxConnectRate(rate) => {
                let differs =
                    differs(usual.max_connect_rate == Some(rate), slow.max_connect_rate == Some(rate));
                ("backoff-max-connect-rate", differs)
            }
            WaitReason::Retry { .. } | WaitReason::Deferred if self.backoff.is_some() => {
                return ("backoff-retry-after", text.replace("(retry-after)", "(backoff-retry-after)"));
            }
            other => return (other.directive(), text),
        };
        match (changed, by_backoff) {
            (false, _) => (reason.directive(), text),
            (true, true) => (directive, text.replace("(max-", "(backoff-max-")),
            (true, false) => ("adaptive-rate", text.replace("(max-", "(adaptive-rate has eased max-")),
        }
    }
}
