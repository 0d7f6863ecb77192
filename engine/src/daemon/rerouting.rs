//! Which virtual MTAs have a queue's mail instead of its own: `reroute-to-virtual-mta` and `backoff-reroute-to-virtual-mta`.
//! Chains are followed from queue to queue; what would go round in a circle stays (reference 3.4).

use super::profiles::Configured;
use crate::queue::QueueName;
use crate::shard::Reroutes;
use std::collections::BTreeSet;
use std::sync::Arc;
use vmta_config::DomainSettings;

type Target = fn(&DomainSettings) -> Option<&String>;

const ALWAYS: Target = |settings| settings.reroute.as_ref();
const IN_BACKOFF: Target = |settings| settings.backoff_reroute.as_ref();

pub fn reroutes(configured: &Configured, queue: &QueueName) -> Reroutes {
    Reroutes {
        always: targets(configured, queue, &[ALWAYS]),
        // A queue on the way may pass its mail on in either mode.
        in_backoff: targets(configured, queue, &[IN_BACKOFF, ALWAYS]),
    }
}

/// Where the first of `ways` leads from a queue. Empty where it leads nowhere, or back again by any of them and this queue is the one
/// of the circle where its mail stays: that with the last name, of those that pass mail on by the first.
fn targets(configured: &Configured, queue: &QueueName, ways: &[Target]) -> Vec<Arc<str>> {
    let (domain, own) = (&*queue.domain, &*queue.vmta);
    let first = next(configured, domain, own, &ways[..1]);
    let reached_by = |vmta: &str| reached(configured, domain, vmta, ways);
    let mut circle = reached_by(own).into_iter().filter(|vmta| reached_by(vmta).contains(own));
    let last = circle.rfind(|vmta| next(configured, domain, vmta, &ways[1..]).is_empty());
    if !first.is_empty() && last.as_deref() == Some(own) {
        tracing::error!(%queue, "rerouting goes round in a circle; the mail stays in this queue");
        return Vec::new();
    }
    first
}

/// Where a queue's mail goes in one step.
fn next(configured: &Configured, domain: &str, vmta: &str, ways: &[Target]) -> Vec<Arc<str>> {
    let settings = configured.config.queue(domain, vmta);
    let names = ways.iter().filter_map(|way| way(&settings));
    let members = names.filter_map(|name| configured.members(name)).flatten();
    members.filter(|member| member != vmta).map(Arc::from).collect()
}

/// Where it may come to in any number of steps.
fn reached(configured: &Configured, domain: &str, vmta: &str, ways: &[Target]) -> BTreeSet<Arc<str>> {
    let mut reached = BTreeSet::new();
    let mut open = next(configured, domain, vmta, ways);
    while let Some(vmta) = open.pop() {
        if reached.insert(vmta.clone()) {
            open.extend(next(configured, domain, &vmta, ways));
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(reroutes: &[(&str, &str)]) -> Configured {
        let mut text = "<spool /s>\n</spool>\nlog-file /l\n".to_owned();
        for name in ["a", "b", "c", "d"] {
            let lines: String = reroutes
                .iter()
                .filter(|(from, _)| *from == name)
                .map(|(_, line)| format!("{line}\n"))
                .collect();
            text += &format!(
                "<virtual-mta {name}>\nsmtp-source-host 127.0.0.1 {name}.x\n<domain *>\n{lines}</domain>\n</virtual-mta>\n"
            );
        }
        text += "<virtual-mta-pool p>\nvirtual-mta c\nvirtual-mta d\n</virtual-mta-pool>\n";
        let loaded = vmta_config::load("config", &vmta_config::MemoryFiles::new([("config", text)]), false);
        let config = loaded.config.map(Arc::new).unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        Configured::new(config, "mta.example").expect("configured")
    }

    fn of(configured: &Configured, vmta: &str) -> [String; 2] {
        let queue = QueueName { domain: "x.example".into(), vmta: vmta.into() };
        let Reroutes { always, in_backoff } = reroutes(configured, &queue);
        [always.join(","), in_backoff.join(",")]
    }

    #[test]
    fn a_queue_leads_to_a_virtual_mta_or_to_those_of_a_pool() {
        let configured = configured(&[
            ("a", "reroute-to-virtual-mta b"),
            ("b", "backoff-reroute-to-virtual-mta p"),
            ("c", "backoff-reroute-to-virtual-mta c"),
        ]);
        assert_eq!(of(&configured, "a"), ["b", ""]);
        assert_eq!(of(&configured, "b"), ["", "c,d"]);
        assert_eq!(of(&configured, "c"), ["", ""], "to itself is nowhere");
    }

    #[test]
    fn what_goes_round_in_a_circle_stays_in_one_queue_of_it() {
        let reroute = "backoff-reroute-to-virtual-mta";
        let (to_b, to_c, to_a) = (format!("{reroute} b"), format!("{reroute} c"), format!("{reroute} a"));
        let circle = configured(&[("a", &to_b), ("b", &to_c), ("c", &to_a), ("d", &to_a)]);
        assert_eq!(["a", "b", "c", "d"].map(|vmta| of(&circle, vmta)[1].clone()), ["b", "c", "", "a"]);
        let mixed = configured(&[("a", &to_b), ("b", "reroute-to-virtual-mta a")]);
        assert_eq!(of(&mixed, "a"), ["", ""], "while it is in backoff the two would never rest");
        assert_eq!(of(&mixed, "b"), ["a", ""]);
    }
}
