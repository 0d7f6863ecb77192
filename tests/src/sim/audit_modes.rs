//! The auditor and the modes of queues: while the engine says that a queue is in backoff, the limits of backoff hold.

use super::audit::Auditor;
use posthaste::queue::Step;
use std::time::Duration;

/// How much later than its time the end of backoff may come.
const LATE: Duration = Duration::from_secs(1);

impl Auditor {
    fn key_of(&self, name: &str) -> Option<(usize, usize)> {
        self.plan.domains.iter().enumerate().find_map(|(d, domain)| {
            let vmta = name.strip_prefix(&domain.name)?.strip_prefix('/')?;
            Some((d, self.plan.vmtas.iter().position(|v| v.name == vmta)?))
        })
    }

    /// The engine says that a queue with `adaptive-rate` takes a step: never to more than is configured.
    pub fn adapted(&mut self, name: &str, step: &Step) {
        let Some(limits) = self.key_of(name).map(|key| self.limits(key).clone()) else {
            return self.breach("adaptive-rate", format!("there is no queue {name}"));
        };
        if !limits.backoff.is_some_and(|backoff| backoff.adaptive) {
            return self.breach("adaptive-rate", format!("{name} does not adapt"));
        }
        let too_fast = step.to.rate.zip(limits.msg_rate).is_some_and(|(rate, (most, per))| {
            f64::from(rate.count) / rate.per.as_secs_f64() > f64::from(most) / per.as_secs_f64()
        });
        if too_fast || step.to.connections.is_some_and(|count| count > limits.max_smtp_out || count == 0) {
            self.breach("adaptive-rate", format!("{name} steps to {}", step.to));
        }
    }

    /// The engine says that a queue enters backoff, or leaves it.
    pub fn mode(&mut self, name: &str, backoff: bool) {
        let Some(key) = self.key_of(name) else {
            return self.breach("backoff", format!("there is no queue {name}"));
        };
        let Some(limits) = self.limits(key).backoff.clone() else {
            return self.breach("backoff", format!("{name} has no pattern list"));
        };
        let now = self.now;
        let queue = self.queues.entry(key).or_default();
        match (queue.backoff, backoff) {
            (None, true) => {
                queue.backoff = Some(now);
                for wire in self.wires.values_mut().filter(|wire| wire.queue == key) {
                    wire.since_backoff = Some(0);
                }
            }
            (Some(since), false) => {
                let lasted = now.saturating_sub(since);
                if lasted < limits.lasts || lasted > limits.lasts + LATE {
                    self.breach(
                        "backoff",
                        format!("{name} left it after {lasted:?}, not {:?}", limits.lasts),
                    );
                }
                self.backoff_over(key);
            }
            (before, _) => {
                self.breach("backoff", format!("{name} is told its mode again, which was {before:?}"));
            }
        }
    }

    /// Counts what the receivers saw while it lasted.
    pub(super) fn backoff_over(&mut self, key: (usize, usize)) {
        let Some(limits) = self.limits(key).backoff.clone() else { return };
        let Some(queue) = self.queues.get_mut(&key) else { return };
        queue.backoff = None;
        let (mut attempts, mut connects) =
            (std::mem::take(&mut queue.slow_attempts), std::mem::take(&mut queue.slow_connects));
        let name = self.queue_name(key);
        for (promise, (most, per), times) in [
            ("backoff-max-msg-rate", limits.msg_rate, &mut attempts),
            ("backoff-max-connect-rate", limits.connect_rate, &mut connects),
        ] {
            times.sort_unstable();
            // One more than the limit, as the limiter documents.
            let width = most as usize + 1;
            if let Some(window) = times.windows(width + 1).find(|w| w[width] - w[0] <= per) {
                let text = format!("{} to {name} within {per:?} from {:?}", width + 1, window[0]);
                self.breach(promise, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::plan::Plan;
    use crate::sim::steering::BackoffLimits;
    use posthaste::base::Wall;
    use posthaste::limit::Rate;
    use posthaste::queue::Level;
    use std::rc::Rc;

    #[test]
    fn a_queue_never_adapts_to_more_than_is_configured() {
        let second = Duration::from_secs(1);
        let mut plan = Plan::new(1);
        let limits = &mut plan.domains[0].limits;
        (limits.msg_rate, limits.max_smtp_out) = (Some((2, second)), 2);
        limits.backoff = Some(BackoffLimits {
            max_smtp_out: 1,
            msg_rate: (1, second),
            connect_rate: (1, second),
            lasts: second,
            adaptive: true,
        });
        let name = format!("{}/{}", plan.domains[0].name, plan.vmtas[0].name);
        let mut audit = Auditor::new(Rc::new(plan));
        let step = |count, connections| Step {
            at: Wall(0),
            down: true,
            to: Level { rate: Some(Rate::per_second(count)), connections: Some(connections) },
            cause: String::new(),
        };
        audit.adapted(&name, &step(2, 1));
        assert!(audit.breaches.is_empty());
        audit.adapted(&name, &step(3, 1));
        audit.adapted(&name, &step(1, 3));
        audit.adapted("nowhere.example/v1", &step(1, 1));
        let broken: Vec<&str> = audit.breaches.iter().map(|breach| breach.promise).collect();
        assert_eq!(broken, ["adaptive-rate"; 3]);
    }
}
