//! What DNS has shown of the domains that share MX hosts with others (`<mx-rollup-list>`): intake puts their mail into the
//! queue of the rollup at once.

use crate::base::Wall;
use crate::route::{Host, HostList, HostSpec, Route};
use dashmap::DashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use vmta_config::MxRollup;

/// Domains remembered, at most.
const MOST: usize = 200_000;

#[derive(Debug, Default)]
pub struct RolledUp {
    /// The queue domain of each, and until when that is believed.
    domains: DashMap<Arc<str>, (Arc<str>, Wall)>,
    /// Where mail of a queue by addresses goes.
    hosts: DashMap<Arc<str>, Arc<HostList>>,
}

impl RolledUp {
    /// What another configuration may go on with: where mail goes that is in its queues.
    pub fn after(before: &RolledUp) -> RolledUp {
        RolledUp { domains: DashMap::new(), hosts: before.hosts.clone() }
    }

    /// Remembers that a domain belongs to a rollup; gives the domain of its queue.
    pub fn learn(&self, domain: &Arc<str>, rollup: &MxRollup, route: &Route, now: Wall) -> Arc<str> {
        let queue: Arc<str> =
            if rollup.by_ip { self.by_ip(rollup, route) } else { rollup.name.as_str().into() };
        if self.domains.len() >= MOST {
            self.domains.retain(|_, (_, until)| *until > now);
        }
        if self.domains.len() < MOST {
            self.domains.insert(domain.clone(), (queue.clone(), later(now, route.ttl)));
        }
        queue
    }

    /// The queue domain of a domain of which that is known.
    pub fn of(&self, domain: &str, now: Wall) -> Option<Arc<str>> {
        if self.domains.is_empty() {
            return None;
        }
        let known = self.domains.get(domain)?;
        let (queue, until) = &*known;
        (*until > now).then(|| queue.clone())
    }

    /// Where mail of a queue by addresses goes.
    pub fn hosts(&self, queue: &str) -> Option<Arc<HostList>> {
        self.hosts.get(queue).map(|hosts| hosts.clone())
    }

    /// One queue for each set of addresses, with the lowest in its name. Its mail goes to the hosts that were found first; by
    /// address where those names do not exist any longer.
    fn by_ip(&self, rollup: &MxRollup, route: &Route) -> Arc<str> {
        let best = route.hosts.iter().map(|host| host.preference).min();
        let hosts: Vec<_> = route.hosts.iter().filter(|host| Some(host.preference) == best).collect();
        let mut addresses: Vec<IpAddr> = hosts.iter().flat_map(|host| host.addresses.clone()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let label = addresses.first().map_or_else(String::new, |lowest| label(*lowest));
        let queue: Arc<str> = format!("{label}.{}", rollup.name).into();
        if !self.hosts.contains_key(&queue) {
            let named = hosts.iter().map(|host| HostSpec::Name((*host.name).into()));
            let by_address = addresses.iter().map(|address| HostSpec::Address(*address));
            let list = named.map(|host| (0, host)).chain(by_address.map(|host| (1, host)));
            let hosts = list.map(|(preference, host)| Host { preference, host, port: None }).collect();
            self.hosts.insert(queue.clone(), Arc::new(HostList { hosts }));
        }
        queue
    }
}

fn later(now: Wall, by: Duration) -> Wall {
    Wall(now.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

/// An address as a label of a name.
fn label(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

/// Exactly the hosts that a rollup names.
pub fn named_hosts(rollup: &MxRollup) -> HostList {
    let host = |name: &String| Host { preference: 0, host: HostSpec::Name(name.as_str().into()), port: None };
    HostList { hosts: rollup.hosts.iter().map(host).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::RouteHost;

    const NOW: Wall = Wall::from_secs(1_800_000_000);

    fn route(host: &str, addresses: &[&str]) -> Route {
        let addresses = addresses.iter().map(|a| a.parse().expect(a)).collect();
        let host = RouteHost { name: host.into(), preference: 10, port: None, addresses };
        Route { mx: vec![host.name.clone()], hosts: vec![host], ttl: Duration::from_secs(60), no_mx: false }
    }

    fn by_ip() -> MxRollup {
        let text = "<mx-rollup-list>\n mx *.mx.example x.rollup rollup-by-ip\n</mx-rollup-list>\n\
                    <spool /s>\n</spool>\nlog-file /l\n";
        let loaded = vmta_config::load("config", &vmta_config::MemoryFiles::new([("config", text)]), false);
        loaded.config.expect("a configuration").rollup("x.rollup").expect("a rollup").clone()
    }

    #[test]
    fn hosts_with_the_same_addresses_share_a_queue() {
        let (known, rollup) = (RolledUp::default(), by_ip());
        let learn = |domain: &str, host: &str, addresses: &[&str]| {
            known.learn(&domain.into(), &rollup, &route(host, addresses), NOW).to_string()
        };
        assert_eq!(learn("a.example", "a.mx.example", &["192.0.2.9", "192.0.2.1"]), "192-0-2-1.x.rollup");
        assert_eq!(learn("b.example", "b.mx.example", &["192.0.2.1", "192.0.2.9"]), "192-0-2-1.x.rollup");
        assert_eq!(learn("c.example", "c.mx.example", &["192.0.2.7"]), "192-0-2-7.x.rollup");
        let hosts = known.hosts("192-0-2-1.x.rollup").expect("hosts");
        assert_eq!(hosts.to_string(), "a.mx.example,[192.0.2.1],[192.0.2.9]".replacen(',', ";", 1));
    }

    #[test]
    fn what_is_known_ends_with_the_answer_it_came_from() {
        let (known, rollup) = (RolledUp::default(), by_ip());
        assert_eq!(known.of("a.example", NOW), None);
        known.learn(&"a.example".into(), &rollup, &route("a.mx.example", &["192.0.2.1"]), NOW);
        let after = |secs| later(NOW, Duration::from_secs(secs));
        assert_eq!(known.of("a.example", after(59)).as_deref(), Some("192-0-2-1.x.rollup"));
        assert_eq!(known.of("a.example", after(60)), None);
    }
}
