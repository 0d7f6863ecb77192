//! What a queue may let through at most: every limit that counts for it, as recipients an hour or as connections, and
//! which of them is the least. `why` and `explain` show it.

use super::control::Limit;
use crate::queue::Level;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;
use vmta_config::{Config, DomainSettings, Explained, Rate, SmtpAction, VirtualMta, VolumeRate};

/// What of the running engine counts; the default is a queue that nothing has happened to.
#[derive(Clone, Debug, Default)]
pub struct Present {
    pub backoff: bool,
    /// What it has eased itself to.
    pub eased: Option<Level>,
    /// Bytes of a message, to make messages of volumes.
    pub message_size: Option<u64>,
}

struct Limits<'a> {
    config: &'a Config,
    own: Vec<Explained>,
    of_vmta: Vec<Explained>,
    global: Vec<Explained>,
    found: Vec<Limit>,
}

const QUEUE: &str = "the queue";
pub const VMTA: &str = "all queues of the virtual MTA";

/// Every limit of the queue that is set, the least of its kind marked.
pub fn limits(config: &Config, domain: &str, vmta: &str, present: &Present) -> Vec<Limit> {
    let settings = config.queue(domain, vmta);
    let mut limits = Limits {
        config,
        own: config.explain_queue(domain, vmta),
        of_vmta: config.explain_vmta(vmta),
        global: config.explain_global(),
        found: Vec::new(),
    };
    limits.of_queue(&settings, present);
    let virtual_mta = config.virtual_mta(vmta);
    limits.of_sources(&settings, virtual_mta);
    if let Some(virtual_mta) = virtual_mta {
        limits.of_vmta(virtual_mta, present);
    }
    limits.of_all();
    mark(&mut limits.found);
    limits.found
}

/// What is to be said of it.
pub const IN_VAIN: &str =
    "never: adaptive-rate needs an smtp-pattern-list with mode=backoff to know a reply that asks for less";

/// Whether it has `adaptive-rate`, and no line that would ever ease it.
pub fn adapts_in_vain(config: &Config, domain: &str, vmta: &str) -> bool {
    let settings = config.queue(domain, vmta);
    let list = settings.smtp_pattern_list.as_ref().and_then(|name| config.smtp_pattern_list(name));
    let eases = list.is_some_and(|list| {
        let asks = |action: &SmtpAction| matches!(action, SmtpAction::Backoff { .. });
        list.rules().iter().any(|rule| rule.actions.iter().any(asks))
    });
    settings.adaptive_rate && !eases
}

/// The least of them in a sentence.
pub fn ceiling(limits: &[Limit]) -> String {
    let by = |limit: &Limit| format!("{} {}, {}", limit.directive, limit.value, limit.origin);
    let rate = limits.iter().find(|limit| limit.binds && limit.per_hour.is_some());
    let rate = rate.map_or_else(
        || "no limit of the rate".to_owned(),
        |limit| format!("{} ({})", per(limit.per_hour.unwrap_or(0)), by(limit)),
    );
    let connections = limits.iter().find(|limit| limit.binds && limit.connections.is_some());
    let connections = connections.map_or_else(String::new, |limit| {
        let count = limit.connections.unwrap_or(0);
        format!("; {count} connection{} ({})", if count == 1 { "" } else { "s" }, by(limit))
    });
    rate + &connections
}

/// So many an hour, in the unit that reads best.
pub fn per(per_hour: u64) -> String {
    match per_hour {
        360_000.. => format!("{}/s", per_hour / 3600),
        600.. => format!("{}/m", per_hour / 60),
        _ => format!("{per_hour}/h"),
    }
}

/// A directive of these in force: what is written, and where.
pub fn origin(explained: &[Explained], directive: &str) -> Option<(String, String)> {
    let found = explained.iter().find(|e| !e.overridden && e.usual == directive)?;
    let origin = found.origin.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string);
    Some((found.value.clone().unwrap_or_default(), origin))
}

fn mark(limits: &mut [Limit]) {
    let least = |of: fn(&Limit) -> Option<u64>, limits: &[Limit]| {
        let candidates = limits.iter().enumerate().filter_map(|(n, limit)| Some((of(limit)?, n)));
        candidates.min().map(|(_, n)| n)
    };
    let rate = least(|limit| limit.per_hour, limits);
    let connections = least(|limit| limit.connections, limits);
    for n in rate.into_iter().chain(connections) {
        limits[n].binds = true;
    }
}

impl Limits<'_> {
    fn add(&mut self, directive: &str, of: &str, per_hour: Option<u64>, connections: Option<u64>) {
        let place = match of {
            VMTA => origin(&self.of_vmta, directive),
            _ => origin(&self.own, directive).or_else(|| origin(&self.global, directive)),
        };
        let (value, origin) = place.unwrap_or_default();
        self.put(directive, value, origin, of, per_hour, connections);
    }

    fn put(
        &mut self,
        directive: &str,
        value: String,
        origin: String,
        of: &str,
        per_hour: Option<u64>,
        connections: Option<u64>,
    ) {
        let (directive, of) = (directive.to_owned(), of.to_owned());
        self.found.push(Limit { directive, value, origin, of, per_hour, connections, binds: false });
    }

    fn rate(&mut self, directive: &str, of: &str, rate: Rate) {
        if let Some(per_hour) = hourly(rate) {
            self.add(directive, of, Some(per_hour), None);
        }
    }

    fn volume(&mut self, directive: &str, of: &str, volume: VolumeRate, message_size: Option<u64>) {
        if let VolumeRate::Per { bytes, per } = volume {
            let bytes = per_hour(bytes, per);
            self.add(directive, of, message_size.map(|size| bytes / size.max(1)), None);
        }
    }

    fn of_queue(&mut self, settings: &DomainSettings, present: &Present) {
        let slow = |rate: Option<Rate>| rate.filter(|_| present.backoff);
        self.rate("max-msg-rate", QUEUE, settings.max_msg_rate);
        if let Some(rate) = slow(settings.backoff_max_msg_rate) {
            self.found.retain(|limit| limit.directive != "max-msg-rate");
            self.rate("backoff-max-msg-rate", QUEUE, rate);
        }
        self.volume("max-data-volume-rate", QUEUE, settings.max_data_volume_rate, present.message_size);
        let (name, connects) = match slow(settings.backoff_max_connect_rate) {
            Some(rate) => ("backoff-max-connect-rate", rate),
            None => ("max-connect-rate", settings.max_connect_rate),
        };
        // So many connections come to so many messages where each may carry so many.
        if let Some(per_hour) = hourly(connects) {
            let messages = settings
                .max_msg_per_connection
                .filter(|most| *most > 0)
                .map(|most| per_hour * u64::from(most));
            self.add(name, QUEUE, messages, None);
        }
        self.add("max-smtp-out", QUEUE, None, Some(u64::from(settings.max_smtp_out)));
        if present.backoff {
            let most = Some(u64::from(settings.backoff_max_smtp_out));
            self.add("backoff-max-smtp-out", QUEUE, None, most);
        }
        if let Some(level) = present.eased {
            let origin = origin(&self.own, "adaptive-rate").map(|(_, origin)| origin).unwrap_or_default();
            if let Some(rate) = level.rate {
                let per_hour = per_hour(u64::from(rate.count), rate.per);
                self.put("adaptive-rate", format!("at {rate}"), origin.clone(), QUEUE, Some(per_hour), None);
            }
            if let Some(count) = level.connections {
                let value = format!("at {count}");
                self.put("adaptive-rate", value, origin, QUEUE, None, Some(u64::from(count)));
            }
        }
    }

    /// Limits of source addresses add up, if each has one.
    fn of_sources(&mut self, settings: &DomainSettings, vmta: Option<&VirtualMta>) {
        let hosts = vmta.map_or(&self.config.global().source_hosts, |vmta| &vmta.source_hosts);
        let Some(sources) = hosts.iter().map(vmta_config::SourceHost::address).collect::<Option<Vec<_>>>()
        else {
            return;
        };
        let rates: Vec<(IpNet, u64)> = settings
            .source_ip_max_msg_rate
            .iter()
            .filter_map(|(network, rate)| Some((*network, hourly(*rate)?)))
            .collect();
        let connections: Vec<(IpNet, u64)> = settings
            .source_ip_max_smtp_out
            .iter()
            .map(|(network, most)| (*network, u64::from(*most)))
            .collect();
        let of = format!("the queue over its {} source addresses", sources.len());
        if let Some(sum) = sum(&sources, &rates) {
            self.add("source-ip-max-msg-rate", &of, Some(sum), None);
        }
        if let Some(sum) = sum(&sources, &connections) {
            self.add("source-ip-max-smtp-out", &of, None, Some(sum));
        }
    }

    fn of_vmta(&mut self, vmta: &VirtualMta, present: &Present) {
        let settings = self.config.vmta_settings(vmta);
        self.rate("max-smtp-msg-rate", VMTA, settings.max_smtp_msg_rate);
        let volume = settings.max_smtp_data_volume_rate;
        self.volume("max-smtp-data-volume-rate", VMTA, volume, present.message_size);
        if let Some(most) = settings.max_smtp_out {
            self.add("max-smtp-out", VMTA, None, Some(u64::from(most)));
        }
    }

    fn of_all(&mut self) {
        let global = self.config.global();
        self.add("total-max-smtp-out", "the whole engine", None, Some(u64::from(global.total_max_smtp_out)));
        // Whether they are for the queue's hosts shows when these are known.
        for directive in ["mx-connection-limit", "ip-connection-limit"] {
            let set: Vec<Explained> =
                self.global.iter().filter(|e| e.usual == directive && e.origin.is_some()).cloned().collect();
            for limit in set {
                let origin = limit.origin.map(|origin| origin.to_string()).unwrap_or_default();
                let value = limit.value.unwrap_or_default();
                self.put(directive, value, origin, "hosts that fit, from each source address", None, None);
            }
        }
    }
}

/// What the addresses may do together; the network that fits best counts for each.
fn sum(sources: &[IpAddr], limits: &[(IpNet, u64)]) -> Option<u64> {
    let best = |source: &IpAddr| {
        let fits = limits.iter().filter(|(network, _)| network.contains(source));
        fits.max_by_key(|(network, _)| network.prefix_len()).map(|(_, limit)| *limit)
    };
    if sources.is_empty() { None } else { sources.iter().map(best).sum() }
}

fn hourly(rate: Rate) -> Option<u64> {
    match rate {
        Rate::Unlimited => None,
        Rate::Per { count, per } => Some(per_hour(u64::from(count), per)),
    }
}

fn per_hour(count: u64, per: Duration) -> u64 {
    let hourly = u128::from(count) * 3_600_000_000_000 / per.as_nanos().max(1);
    u64::try_from(hourly).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmta_config::{MemoryFiles, load};

    fn config(text: &str) -> Config {
        let text = format!("log-file /l\n<spool /s>\n</spool>\n{text}");
        load("c", &MemoryFiles::new([("c", text)]), false).config.expect("a configuration")
    }

    const TEXT: &str = "total-max-smtp-out 500\nmx-connection-limit *.example 3\n\
        <domain *>\n max-msg-rate 100/s\n max-smtp-out 30\n backoff-max-msg-rate 1/m\n backoff-max-smtp-out 2\n\
         max-data-volume-rate 3600K/h\n</domain>\n\
        <virtual-mta a>\n smtp-source-host 192.0.2.1 a.example\n smtp-source-host 192.0.2.2 b.example\n \
         max-smtp-msg-rate 600/m\n max-smtp-out 7\n <domain b.example>\n  source-ip-max-msg-rate 192.0.2.0/24 60/m\n \
         source-ip-max-smtp-out 192.0.2.1/32 2\n </domain>\n</virtual-mta>\n";

    #[test]
    fn the_least_limit_of_each_kind_is_the_ceiling_and_has_its_line() {
        let config = config(TEXT);
        let told = |domain, vmta, present: &Present| ceiling(&limits(&config, domain, vmta, present));
        let present = Present::default();
        assert_eq!(
            told("a.example", "a", &present),
            "600/m (max-smtp-msg-rate 600/m, c:16); 7 connections (max-smtp-out 7, c:17)"
        );
        assert_eq!(
            told("b.example", "a", &present),
            "120/m (source-ip-max-msg-rate 192.0.2.0/24 60/m, c:19); 7 connections (max-smtp-out 7, c:17)",
            "two addresses, of which only one has a limit of connections"
        );
        assert_eq!(
            told("a.example", "{default}", &present),
            "100/s (max-msg-rate 100/s, c:7); 30 connections (max-smtp-out 30, c:8)"
        );
        let size = Present { message_size: Some(60 << 10), ..Present::default() };
        assert!(
            told("a.example", "{default}", &size).starts_with("60/h (max-data-volume-rate 3600K/h, c:11)")
        );
        let all = limits(&config, "a.example", "a", &present);
        assert!(
            all.iter().any(|l| (l.directive.as_str(), l.origin.as_str()) == ("mx-connection-limit", "c:5"))
        );
    }

    #[test]
    fn backoff_and_what_a_queue_has_eased_itself_to_count_where_they_are_less() {
        let config = config(TEXT);
        let backoff = Present { backoff: true, ..Present::default() };
        assert_eq!(
            ceiling(&limits(&config, "a.example", "a", &backoff)),
            "60/h (backoff-max-msg-rate 1/m, c:9); 2 connections (backoff-max-smtp-out 2, c:10)"
        );
        let level = Level {
            rate: Some(crate::limit::Rate { count: 90, per: Duration::from_secs(60) }),
            connections: Some(9),
        };
        let eased = Present { eased: Some(level), ..Present::default() };
        assert_eq!(
            ceiling(&limits(&config, "a.example", "a", &eased)),
            "90/m (adaptive-rate at 90/m, default); 7 connections (max-smtp-out 7, c:17)"
        );
    }
    #[test]
    fn whoever_adapts_needs_a_line_that_says_when() {
        let config = config(
            "<smtp-pattern-list slow>\n reply /slow/ mode=backoff\n</smtp-pattern-list>\n\
             <smtp-pattern-list other>\n reply /x/ skip-mx\n</smtp-pattern-list>\n\
             <domain *>\n adaptive-rate yes\n</domain>\n<domain a.example>\n smtp-pattern-list slow\n</domain>\n\
             <domain b.example>\n smtp-pattern-list other\n</domain>\n<domain c.example>\n adaptive-rate no\n</domain>\n",
        );
        let in_vain = |domain| adapts_in_vain(&config, domain, "{default}");
        assert!(in_vain("b.example") && in_vain("d.example"));
        assert!(!in_vain("a.example") && !in_vain("c.example"));
    }
}
