//! Faults D01-D09, each as the answers that a name server gives.

use super::*;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn mx(records: &[(u16, &str)]) -> Lookup<MxRecord> {
    let records =
        records.iter().map(|&(preference, host)| MxRecord { preference, host: host.into() }).collect();
    Ok(Found { records, ttl: HOUR, alias: false })
}

fn at(address: &str) -> Lookup<IpAddr> {
    let records = address.split(' ').map(|address| address.parse().expect(address)).collect();
    Ok(Found { records, ttl: HOUR, alias: false })
}

fn no_name<T>() -> Lookup<T> {
    Err(NoAnswer::NoName { ttl: HOUR })
}

fn no_data<T>() -> Lookup<T> {
    Err(NoAnswer::NoRecords { ttl: HOUR })
}

fn fails<T>() -> Lookup<T> {
    Err(NoAnswer::Transient("SERVFAIL".into()))
}

/// Resolves `example.com` with the answers given; names without one do not exist.
fn resolve_by(
    policy: &RoutePolicy,
    mx: Lookup<MxRecord>,
    hosts: &[(&str, Lookup<IpAddr>)],
) -> Result<Route, RouteError> {
    let mut candidates = Candidates::new(&Destination::domain("example.com"), policy);
    candidates.add_mx(0, "example.com", None, mx);
    let names = candidates.names();
    assert!(names.len() <= 10, "{} names asked for", names.len());
    let answers: Vec<_> = names
        .into_iter()
        .map(|name| {
            let answer =
                hosts.iter().find(|(host, _)| **host == *name).map_or_else(no_name, |(_, a)| a.clone());
            (name, answer)
        })
        .collect();
    candidates.route(&answers)
}

fn resolve(mx: Lookup<MxRecord>, hosts: &[(&str, Lookup<IpAddr>)]) -> Result<Route, RouteError> {
    resolve_by(&RoutePolicy::default(), mx, hosts)
}

fn names(route: Result<Route, RouteError>) -> Vec<String> {
    route.expect("a route").hosts.iter().map(|host| host.name.to_string()).collect()
}

fn status(route: Result<Route, RouteError>) -> &'static str {
    let error = route.expect_err("no route");
    assert_eq!(error.permanent, error.status.starts_with('5'), "{error}");
    error.status
}

#[test]
fn hosts_are_tried_by_preference() {
    let hosts = [("a", at("8.0.0.1")), ("b", at("8.0.0.2 2a00::1")), ("c", at("8.0.0.3"))];
    let route = resolve(mx(&[(30, "c"), (10, "a"), (20, "b")]), &hosts);
    assert_eq!(route.as_ref().map(|route| (route.ttl, route.hosts[1].addresses.len())), Ok((HOUR, 2)));
    assert_eq!(names(route), ["a", "b", "c"]);
}

#[test]
fn hosts_of_equal_preference_are_shuffled_by_the_seed() {
    let hosts = [("a", at("8.0.0.1")), ("b", at("8.0.0.2")), ("c", at("8.0.0.3"))];
    let order = |seed| {
        let policy = RoutePolicy { seed, ..RoutePolicy::default() };
        names(resolve_by(&policy, mx(&[(10, "a"), (10, "b"), (20, "c")]), &hosts))
    };
    let orders: Vec<_> = (0..20).map(order).collect();
    assert!(orders.iter().all(|order| order[2] == "c"));
    assert!(orders.iter().any(|order| order[0] == "a") && orders.iter().any(|order| order[0] == "b"));
    assert_eq!(orders[7], order(7));
}

#[test]
fn d01_a_failing_server_defers() {
    assert_eq!(status(resolve(fails(), &[])), "4.4.3");
}

#[test]
fn d02_a_missing_domain_bounces_without_asking_for_an_address() {
    assert_eq!(status(resolve(no_name(), &[("example.com", at("8.0.0.1"))])), "5.1.2");
}

#[test]
fn d03_without_mx_records_the_domain_is_the_host() {
    assert_eq!(names(resolve(no_data(), &[("example.com", at("8.0.0.1"))])), ["example.com"]);
    assert_eq!(status(resolve(no_data(), &[("example.com", no_data())])), "5.4.4");
    assert_eq!(status(resolve(no_data(), &[("example.com", fails())])), "4.4.4");
    // An alias is forbidden for the target of an MX record only.
    let alias = at("8.0.0.1").map(|found| Found { alias: true, ..found });
    assert_eq!(names(resolve(no_data(), &[("example.com", alias)])), ["example.com"]);
}

#[test]
fn a_route_says_that_there_are_no_mx_records() {
    let host = [("example.com", at("8.0.0.1")), ("a", at("8.0.0.2"))];
    assert!(resolve(no_data(), &host).expect("a route").no_mx);
    assert!(!resolve(mx(&[(10, "a")]), &host).expect("a route").no_mx);
    // It is as certain where the address is not to be had.
    for address in [no_data(), fails()] {
        assert!(resolve(no_data(), &[("example.com", address)]).expect_err("no route").no_mx);
    }
    assert!(!resolve(fails(), &host).expect_err("no route").no_mx);
    assert!(!resolve(no_name(), &host).expect_err("no route").no_mx);
    assert!(!resolve(mx(&[(10, "b")]), &host).expect_err("no route").no_mx);
}

#[test]
fn hosts_of_the_configuration_are_no_domain_without_mx() {
    let policy = RoutePolicy::default();
    let list: HostList = "lookup-mx:example.net".parse().expect("a list");
    let mut candidates = Candidates::new(&Destination::Hosts(Arc::new(list)), &policy);
    candidates.add_mx(0, "example.net", None, no_data());
    let answers: Vec<_> = candidates.names().into_iter().map(|name| (name, at("8.0.0.1"))).collect();
    assert!(!candidates.route(&answers).expect("a route").no_mx);
}

#[test]
fn d04_null_mx() {
    let address = [("example.com", at("8.0.0.1")), ("a", at("8.0.0.2"))];
    assert_eq!(status(resolve(mx(&[(0, "")]), &address)), "5.1.10");
    assert_eq!(names(resolve(mx(&[(0, ""), (10, "a")]), &address)), ["a"]);
    assert_eq!(status(resolve(mx(&[(0, ""), (10, "")]), &address)), "5.4.4");
}

#[test]
fn d05_targets_of_no_use_are_skipped() {
    let alias = at("8.0.0.9").map(|found| Found { alias: true, ..found });
    let hosts = [("good", at("8.0.0.1")), ("alias", alias), ("empty", no_data()), ("broken", fails())];
    let all =
        mx(&[(1, "alias"), (2, "192.0.2.1"), (3, "empty"), (4, "missing"), (5, "bad host"), (9, "good")]);
    assert_eq!(names(resolve(all, &hosts)), ["good"]);
    for target in ["alias", "192.0.2.1", "empty", "missing", "bad host"] {
        assert_eq!(status(resolve(mx(&[(1, target)]), &hosts)), "5.4.4", "{target}");
    }
    // What may pass outweighs what will not.
    assert_eq!(status(resolve(mx(&[(1, "empty"), (2, "broken"), (3, "missing")]), &hosts)), "4.4.4");
    let route = resolve(mx(&[(1, "broken"), (2, "good")]), &hosts).expect("a route");
    assert!(route.ttl <= Duration::from_secs(300));
    let policy = RoutePolicy { mx_alias: true, ..RoutePolicy::default() };
    assert_eq!(names(resolve_by(&policy, mx(&[(1, "alias")]), &hosts)), ["alias"]);
}

#[test]
fn d06_ourselves_and_worse_are_dropped() {
    let policy = RoutePolicy {
        own_names: vec!["us".into()],
        own_addresses: vec!["8.0.0.7".parse().expect("an address")],
        ..RoutePolicy::default()
    };
    let hosts =
        [("a", at("8.0.0.1")), ("b", at("8.0.0.2")), ("c", at("8.0.0.3 8.0.0.7")), ("us", at("8.0.0.4"))];
    let by = |records: &[(u16, &str)]| resolve_by(&policy, mx(records), &hosts);
    assert_eq!(names(by(&[(10, "a"), (20, "us"), (20, "b"), (30, "c")])), ["a"]);
    assert_eq!(status(by(&[(10, "us"), (20, "b")])), "5.4.6");
    assert_eq!(names(by(&[(10, "a"), (20, "c"), (30, "b")])), ["a"]);
    assert_eq!(status(by(&[(10, "c"), (20, "b")])), "5.4.6");
}

#[test]
fn d07_addresses_that_are_not_public_are_refused() {
    let hosts = [("in", at("10.0.0.1 127.0.0.1 ::1")), ("both", at("10.0.0.1 8.0.0.1"))];
    assert_eq!(status(resolve(mx(&[(1, "in")]), &hosts)), "5.4.4");
    let route = resolve(mx(&[(1, "in"), (2, "both")]), &hosts).expect("a route");
    assert_eq!(route.hosts[0].addresses, [IpAddr::from([8, 0, 0, 1])]);
    let allowed = AddressPolicy::new(vec!["10.0.0.0/8".parse().expect("a range")]);
    let policy = RoutePolicy { addresses: allowed, ..RoutePolicy::default() };
    assert_eq!(names(resolve_by(&policy, mx(&[(1, "in")]), &hosts)), ["in"]);
}

#[test]
fn d08_a_thousand_hosts_with_a_thousand_addresses() {
    let list: Vec<String> = (0..1000).map(|i| format!("mx{i}")).collect();
    let records: Vec<(u16, &str)> = list.iter().map(|name| (10, name.as_str())).collect();
    let addresses: Vec<String> = (0..1000).map(|i| format!("8.1.{}.{}", i / 250, i % 250)).collect();
    let many = at(&addresses.join(" "));
    let hosts: Vec<(&str, Lookup<IpAddr>)> = list.iter().map(|name| (name.as_str(), many.clone())).collect();
    let route = resolve(mx(&records), &hosts).expect("a route");
    assert_eq!(route.hosts.iter().map(|host| host.addresses.len()).sum::<usize>(), 16);
}

#[test]
fn d09_lifetimes_are_kept_within_reason() {
    for (ttl, kept) in [(0, 30), (60, 60), (1 << 31, 86_400)] {
        let ttl = Duration::from_secs(ttl);
        let answer = mx(&[(1, "a")]).map(|found| Found { ttl, ..found });
        let address = at("8.0.0.1").map(|found| Found { ttl: Duration::MAX, ..found });
        assert_eq!(resolve(answer, &[("a", address)]).expect("a route").ttl, Duration::from_secs(kept));
        let error = resolve(Err(NoAnswer::NoName { ttl }), &[]).expect_err("no route");
        assert!((30..=3600).contains(&error.ttl.as_secs()), "{error:?}");
    }
}

#[test]
fn literal_destinations_take_no_dns() {
    let policy = RoutePolicy::default();
    let hosts = |text: &str| Destination::Hosts(Arc::new(text.parse().expect(text)));
    let route =
        Candidates::literal(&hosts("[127.0.0.1]:2525,127.0.0.2;[IPv6:::1]"), &policy).expect("a route");
    let ports: Vec<_> = route.hosts.iter().map(|host| host.port).collect();
    assert_eq!(ports, [Some(2525), None, None]);
    assert_eq!(names(Ok(route)), ["[127.0.0.1]", "[127.0.0.2]", "[IPv6:::1]"]);
    // Who writes to user@[127.0.0.1] is not the operator.
    let literal = |domain: &str| Candidates::literal(&Destination::domain(domain), &policy);
    assert_eq!(status(literal("[127.0.0.1]")), "5.4.4");
    assert_eq!(names(literal("[8.8.8.8]")), ["[8.8.8.8]"]);
    assert_eq!(status(literal("no such host")), "5.1.2");
}

#[test]
fn lookup_mx_and_names_of_the_configuration_mix() {
    let policy = RoutePolicy::default();
    let list: HostList = "smart.example:26;lookup-mx:example.net".parse().expect("a list");
    let mut candidates = Candidates::new(&Destination::Hosts(Arc::new(list)), &policy);
    candidates.add_host(0, &HostSpec::Name("smart.example".into()), Some(26));
    candidates.add_mx(1, "example.net", None, mx(&[(5, "b"), (1, "a")]));
    let answers: Vec<_> = candidates.names().into_iter().map(|name| (name, at("8.0.0.1"))).collect();
    let route = candidates.route(&answers).expect("a route");
    assert_eq!(route.hosts[0].port, Some(26));
    assert_eq!(names(Ok(route)), ["smart.example", "a", "b"]);
}
