//! Which host and address a connection goes to, and from which of the VMTA's source addresses: the plan of one try. When
//! a host fails the next one follows; source addresses take turns; families match.

use super::disabled::Disabled;
use super::dns::RouteError;
use super::mx::{Route, RouteHost};
use crate::base::Time;
use crate::queue::{PerSource, Wait};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Sessions that may fail in one try (D08: Postfix's number).
const SESSIONS: u8 = 2;

/// `smtp-source-host`: an address of a VMTA and the name it says HELO with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceHost {
    /// `None`: the system's choice, in any family.
    pub address: Option<IpAddr>,
    pub helo: Arc<str>,
}

impl SourceHost {
    fn reaches(&self, target: IpAddr) -> bool {
        self.address.is_none_or(|address| address.is_ipv4() == target.is_ipv4())
    }
}

/// The source addresses of a VMTA, in turn. Each queue has its turn, and all share the list.
#[derive(Clone, Debug)]
pub struct Sources {
    hosts: Arc<[SourceHost]>,
    turn: usize,
    pub disabled: Disabled,
    /// `source-ip-max-*`
    pub limits: Option<Box<PerSource>>,
}

impl Sources {
    /// `hosts` is not empty.
    pub fn new(hosts: Arc<[SourceHost]>) -> Sources {
        Sources { hosts, turn: 0, disabled: Disabled::default(), limits: None }
    }

    pub fn hosts(&self) -> &[SourceHost] {
        &self.hosts
    }

    /// Whether any of them can reach `target`.
    pub fn reach(&self, target: IpAddr) -> bool {
        self.hosts.iter().any(|host| self.may_use(host, target))
    }

    /// Whether it is one of them.
    pub fn has(&self, address: Option<IpAddr>) -> bool {
        self.hosts.iter().any(|host| host.address == address)
    }

    pub fn all_disabled(&self) -> bool {
        !self.hosts.is_empty() && self.hosts.iter().all(|host| self.disabled.has(host.address))
    }

    fn may_use(&self, host: &SourceHost, target: IpAddr) -> bool {
        host.reaches(target) && !self.disabled.has(host.address)
    }

    /// What keeps all that are in use from another connection, the shortest wait of all; notes which of them are kept.
    pub fn look(&mut self, now: Time) -> Option<Wait> {
        let limits = self.limits.as_mut()?;
        limits.look(now);
        let used = self.hosts.iter().filter(|host| !self.disabled.has(host.address));
        let mut waits: Option<Wait> = None;
        for host in used {
            let wait = limits.waits(host.address, now)?;
            let until = |wait: &Wait| wait.until.unwrap_or(Time::NEVER);
            waits = Some(waits.filter(|first| until(first) <= until(&wait)).unwrap_or(wait));
        }
        waits
    }

    pub fn is_full(&self, address: Option<IpAddr>) -> bool {
        self.limits.as_ref().is_some_and(|limits| limits.is_full(address))
    }

    /// The next one that can reach `target` and has room.
    pub fn next_for(&mut self, target: IpAddr) -> Option<&SourceHost> {
        let count = self.hosts.len();
        let mut turns = (0..count).map(|i| (self.turn + i) % count);
        let has_room = |host: &SourceHost| !self.is_full(host.address);
        let index = turns.find(|&i| self.may_use(&self.hosts[i], target) && has_room(&self.hosts[i]))?;
        self.turn = (index + 1) % count;
        Some(&self.hosts[index])
    }
}

/// Where to connect to, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The host's name, or its address as a literal.
    pub host: Arc<str>,
    pub address: SocketAddr,
    pub preference: u32,
    pub source: SourceHost,
}

/// Host, address, and the host's preference.
type Planned = (Arc<str>, SocketAddr, u32);

/// The plan of one try.
#[derive(Clone, Debug)]
pub struct Attempts {
    /// What is left of it, the next one last.
    targets: Vec<Planned>,
    sessions: u8,
}

impl Attempts {
    /// A plan for a new connection, of at most `most` addresses. `turn` counts the queue's connections: among hosts of
    /// equal preference each connection begins with the next address. Those that are `dead` come last, whatever their
    /// preference. Fails when the VMTA has no address of a family that any host has.
    pub fn new(
        route: &Route,
        default_port: u16,
        most: usize,
        sources: &Sources,
        turn: u32,
        dead: impl Fn(SocketAddr) -> bool,
    ) -> Result<Attempts, RouteError> {
        let mut targets: Vec<Planned> = Vec::new();
        let mut rest = &route.hosts[..];
        while let Some(first) = rest.first() {
            let end = rest.iter().position(|host| host.preference != first.preference).unwrap_or(rest.len());
            let (group, worse) = rest.split_at(end);
            // One place is kept for the next preference.
            let kept = usize::from(!worse.is_empty() && most > 1);
            let room = most.saturating_sub(targets.len() + kept);
            let group = group_targets(group, default_port, sources);
            let begin = if group.is_empty() { 0 } else { turn as usize % group.len() };
            targets.extend(group.iter().cycle().skip(begin).take(group.len().min(room)).cloned());
            rest = worse;
        }
        if targets.is_empty() {
            return Err(no_family(route));
        }
        targets.sort_by_key(|(_, address, _)| dead(*address));
        targets.reverse();
        Ok(Attempts { targets, sessions: 0 })
    }

    /// Where to try next; `None` when this try is over and the queue has failed.
    pub fn next(&mut self, sources: &mut Sources) -> Option<Endpoint> {
        if self.sessions >= SESSIONS {
            return None;
        }
        let (host, address, preference) = self.targets.pop()?;
        let source = sources.next_for(address.ip())?.clone();
        Some(Endpoint { host, address, preference, source })
    }

    /// Where to connect to instead of `endpoint`, which is as good and has no room: another address of its preference, or
    /// none.
    pub fn instead(&mut self, endpoint: &Endpoint, sources: &mut Sources) -> Option<Endpoint> {
        let as_good =
            self.targets.last().is_some_and(|(_, _, preference)| *preference == endpoint.preference);
        if as_good { self.next(sources) } else { None }
    }

    /// The host answered and the session failed nevertheless (a refusal in the greeting, a connection lost before its
    /// first message): after two of these the try is over. A connection that was never established is not counted.
    pub fn session_failed(&mut self) {
        self.sessions += 1;
    }
}

/// The addresses of hosts of equal preference: the first of each host, then the second of each, so that turns go evenly
/// over the hosts.
fn group_targets(hosts: &[RouteHost], default_port: u16, sources: &Sources) -> Vec<Planned> {
    let most = hosts.iter().map(|host| host.addresses.len()).max().unwrap_or(0);
    let mut targets = Vec::new();
    for i in 0..most {
        for host in hosts {
            let address = host.addresses.get(i).filter(|address| sources.reach(**address));
            if let Some(&address) = address {
                let port = host.port.unwrap_or(default_port);
                targets.push((Arc::clone(&host.name), SocketAddr::new(address, port), host.preference));
            }
        }
    }
    targets
}

fn no_family(route: &Route) -> RouteError {
    let v6 = route.hosts.iter().flat_map(|host| &host.addresses).all(IpAddr::is_ipv6);
    let (theirs, ours) = if v6 { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
    RouteError {
        permanent: false,
        status: "4.4.4",
        text: format!("all hosts have {theirs} addresses and the virtual MTA has {ours} addresses only"),
        ttl: Duration::from_secs(30),
        no_mx: route.no_mx,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// Hosts as `name preference address address ..`.
    fn route(hosts: &[&str]) -> Route {
        let host = |text: &&str| {
            let mut words = text.split(' ');
            let name = words.next().expect("a name").into();
            let preference = words.next().and_then(|word| word.parse().ok()).expect("a preference");
            let addresses = words.map(|word| word.parse().expect(word)).collect();
            RouteHost { name, preference, port: None, addresses }
        };
        let hosts = hosts.iter().map(host).collect();
        Route { hosts, ttl: Duration::from_secs(60), no_mx: false, mx: Vec::new() }
    }

    fn sources(addresses: &[&str]) -> Sources {
        let host = |text: &&str| SourceHost { address: text.parse().ok(), helo: (*text).into() };
        Sources::new(addresses.iter().map(host).collect())
    }

    fn plan(route: &Route, sources: &mut Sources, turn: u32) -> Vec<String> {
        let mut attempts = Attempts::new(route, 25, 5, sources, turn, |_| false).expect("a plan");
        std::iter::from_fn(|| attempts.next(sources))
            .map(|to| format!("{} {}", to.host, to.address))
            .collect()
    }

    #[test]
    fn next_host_on_failure_by_preference() {
        let route = route(&["a 10 8.0.0.1", "b 20 8.0.0.2", "c 30 8.0.0.3"]);
        let plan = plan(&route, &mut sources(&["192.0.2.1"]), 7);
        assert_eq!(plan, ["a 8.0.0.1:25", "b 8.0.0.2:25", "c 8.0.0.3:25"]);
    }

    #[test]
    fn connections_take_turns_among_equals() {
        let route = route(&["a 10 8.0.0.1 8.0.0.2", "b 10 8.0.1.1", "c 20 8.0.2.1"]);
        let firsts: Vec<String> =
            (0..4).map(|turn| plan(&route, &mut sources(&["any"]), turn).swap_remove(0)).collect();
        assert_eq!(firsts, ["a 8.0.0.1:25", "b 8.0.1.1:25", "a 8.0.0.2:25", "a 8.0.0.1:25"]);
    }

    #[test]
    fn five_addresses_and_the_backup_among_them() {
        let route = route(&["a 10 8.0.0.1 8.0.0.2 8.0.0.3 8.0.0.4 8.0.0.5 8.0.0.6", "b 20 8.0.1.1 8.0.1.2"]);
        let plan = plan(&route, &mut sources(&["any"]), 0);
        assert_eq!((plan.len(), plan[4].as_str()), (5, "b 8.0.1.1:25"));
    }

    #[test]
    fn dead_hosts_come_last_and_one_attempt_takes_the_best() {
        let route = route(&["a 10 8.0.0.1", "b 20 8.0.0.2 8.0.0.3", "c 30 8.0.0.4"]);
        let mut sources = sources(&["any"]);
        let first = |most, dead: &[&str], sources: &mut Sources| {
            let is_dead = |at: SocketAddr| dead.contains(&at.ip().to_string().as_str());
            let mut attempts = Attempts::new(&route, 25, most, sources, 0, is_dead).expect("a plan");
            std::iter::from_fn(|| attempts.next(sources))
                .map(|to| to.address.ip().to_string())
                .collect::<Vec<_>>()
        };
        let all = ["8.0.0.1", "8.0.0.2", "8.0.0.3", "8.0.0.4"];
        assert_eq!(first(10, &[], &mut sources), all);
        let turned = ["8.0.0.3", "8.0.0.4", "8.0.0.1", "8.0.0.2"];
        assert_eq!(first(10, &["8.0.0.1", "8.0.0.2"], &mut sources), turned);
        assert_eq!(first(10, &all, &mut sources), all, "when all are dead they are tried as ever");
        assert_eq!(first(1, &[], &mut sources), ["8.0.0.1"]);
    }

    #[test]
    fn two_failed_sessions_end_the_try() {
        let route = route(&["a 10 8.0.0.1", "b 20 8.0.0.2", "c 30 8.0.0.3"]);
        let mut sources = sources(&["any"]);
        let mut attempts = Attempts::new(&route, 25, 5, &sources, 0, |_| false).expect("a plan");
        for _ in 0..2 {
            assert!(attempts.next(&mut sources).is_some());
            attempts.session_failed();
        }
        assert_eq!(attempts.next(&mut sources), None);
    }

    #[test]
    fn families_match_and_sources_take_turns() {
        let route = route(&["a 10 8.0.0.1 2a00::1", "b 20 8.0.0.2 2a00::2"]);
        assert_eq!(plan(&route, &mut sources(&["192.0.2.1"]), 0), ["a 8.0.0.1:25", "b 8.0.0.2:25"]);
        assert_eq!(plan(&route, &mut sources(&["2001:db8::1"]), 0), ["a [2a00::1]:25", "b [2a00::2]:25"]);
        let mut three = sources(&["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
        let mut turn = |to: &str| three.next_for(to.parse().expect(to)).map(|source| source.helo.to_string());
        let turns = ["8.0.0.1", "8.0.0.1", "8.0.0.1", "2a00::1", "8.0.0.1"].map(&mut turn);
        let expected = ["192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1", "192.0.2.2"];
        assert_eq!(turns, expected.map(|text| Some(text.to_owned())));
    }

    #[test]
    fn no_family_in_common_waits() {
        let route = route(&["a 10 2a00::1"]);
        let error =
            Attempts::new(&route, 25, 5, &sources(&["192.0.2.1"]), 0, |_| false).expect_err("no plan");
        assert!(!error.permanent);
        assert!(error.text.contains("IPv6"), "{error}");
    }

    #[test]
    fn ports_of_the_configuration_win() {
        let mut route = route(&["a 0 127.0.0.1"]);
        route.hosts[0].port = Some(2525);
        let mut sources = sources(&["any"]);
        let mut attempts = Attempts::new(&route, 25, 5, &sources, 0, |_| false).expect("a plan");
        let to = attempts.next(&mut sources).expect("a target");
        assert_eq!(to.address, SocketAddr::from((Ipv4Addr::LOCALHOST, 2525)));
        assert_eq!(to.source.address, None);
    }
}
