//! What a stranger's DNS may do: never send mail to an address that is not public, to ourselves, or past a better host;
//! never make waiting mail bounce for a failure that passes; never cost more than a bounded number of questions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use posthaste::route::choose::{Attempts, SourceHost, Sources};
use posthaste::route::dns::{Destination, Found, Lookup, MxRecord, NoAnswer, RouteError, either_family};
use posthaste::route::mx::{Candidates, Route, RoutePolicy};

use super::input::Input;

const DOMAIN: &str = "site.example";
const OWN_NAME: &str = "us.example";
const NAMES: [&str; 8] =
    ["a.example", "b.example", "c.example", OWN_NAME, "", "192.0.2.1", "bad host", "*.example"];

fn own_address() -> IpAddr {
    IpAddr::from([8, 8, 8, 8])
}

fn ttl(input: &mut Input<'_>) -> Duration {
    Duration::from_secs(1 << input.below(40))
}

fn no_answer(input: &mut Input<'_>) -> NoAnswer {
    match input.below(3) {
        0 => NoAnswer::NoName { ttl: ttl(input) },
        1 => NoAnswer::NoRecords { ttl: ttl(input) },
        _ => NoAnswer::Transient("SERVFAIL".into()),
    }
}

fn found<T>(input: &mut Input<'_>, record: impl Fn(&mut Input<'_>) -> T) -> Lookup<T> {
    let count = input.below(24);
    if count == 0 {
        return Err(no_answer(input));
    }
    let records = (0..count).map(|_| record(input)).collect();
    Ok(Found { records, ttl: ttl(input), alias: input.below(8) == 1 })
}

fn mx_record(input: &mut Input<'_>) -> MxRecord {
    let preference = u16::from(input.byte());
    let host = match input.below(4) {
        0 => NAMES[input.below(NAMES.len())].to_owned(),
        _ => format!("h{}.example", input.byte()),
    };
    MxRecord { preference, host }
}

fn v4(input: &mut Input<'_>) -> IpAddr {
    const TELLING: [[u8; 4]; 6] =
        [[127, 0, 0, 1], [10, 1, 2, 3], [8, 8, 8, 8], [169, 254, 169, 254], [224, 0, 0, 1], [192, 168, 0, 1]];
    match input.below(4) {
        0 => TELLING[input.below(TELLING.len())].into(),
        _ => [input.byte(), input.byte(), input.byte(), input.byte()].into(),
    }
}

fn v6(input: &mut Input<'_>) -> IpAddr {
    let low = input.number();
    let high: u64 = match input.below(6) {
        0 => 0,
        1 => 0xfe80 << 48,
        2 => 0x2002_7f00_0001_0000,
        3 => 0x0064_ff9b << 32,
        4 => 0x2a00_1450 << 32,
        _ => input.number(),
    };
    Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).into()
}

pub fn policy(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let policy = RoutePolicy {
        own_names: vec![OWN_NAME.to_owned()],
        own_addresses: vec![own_address()],
        mx_alias: choice & 1 != 0,
        seed: u64::from(choice),
        ..RoutePolicy::default()
    };
    let mx = found(&mut input, mx_record);
    let mut transient = matches!(mx, Err(NoAnswer::Transient(_)));
    let destination = Destination::domain(DOMAIN);
    let mut candidates = Candidates::new(&destination, &policy);
    candidates.add_mx(0, DOMAIN, None, mx.clone());
    let names = candidates.names();
    assert!(names.len() <= 10, "{} names asked for", names.len());
    let answers: Vec<(Arc<str>, Lookup<IpAddr>)> = names
        .iter()
        .map(|name| (Arc::clone(name), either_family(found(&mut input, v4), found(&mut input, v6))))
        .collect();
    transient |= answers.iter().any(|(_, answer)| matches!(answer, Err(NoAnswer::Transient(_))));
    let again = |mut candidates: Candidates<'_>| {
        candidates.add_mx(0, DOMAIN, None, mx.clone());
        assert_eq!(candidates.names(), names, "the same seed");
        candidates.route(&answers)
    };
    let route = candidates.route(&answers);
    assert_eq!(route, again(Candidates::new(&destination, &policy)));
    match route {
        Ok(route) => {
            usable(&route, &mx, &answers);
            attempts(&route, choice);
        }
        Err(RouteError { permanent, status, ttl, .. }) => {
            assert_eq!(permanent, status.starts_with('5'));
            assert!(ttl >= Duration::from_secs(30) && ttl <= Duration::from_secs(3600));
            assert!(!permanent || !transient, "{status} although a failure may pass");
        }
    }
}

fn usable(route: &Route, mx: &Lookup<MxRecord>, answers: &[(Arc<str>, Lookup<IpAddr>)]) {
    assert!(route.ttl >= Duration::from_secs(30) && route.ttl <= Duration::from_secs(86_400));
    assert!(!route.hosts.is_empty() && route.hosts.iter().all(|host| !host.addresses.is_empty()));
    assert!(route.hosts.is_sorted_by_key(|host| host.preference));
    let records = mx.as_ref().map_or(&[][..], |found| &found.records);
    let own = records.iter().filter(|record| record.host == OWN_NAME).map(|record| record.preference).min();
    let (mut v4, mut v6) = (0, 0);
    for host in &route.hosts {
        assert!(
            own.is_none_or(|own| host.preference < u32::from(own)),
            "{host:?} is no better than ourselves"
        );
        let implicit = matches!(mx, Err(NoAnswer::NoRecords { .. })) && *host.name == *DOMAIN;
        let named =
            |record: &MxRecord| *record.host == *host.name && u32::from(record.preference) == host.preference;
        assert!(implicit || records.iter().any(named), "{host:?} was never named");
        let answer =
            answers.iter().find(|(name, _)| *name == host.name).and_then(|(_, answer)| answer.as_ref().ok());
        let answer = answer.expect("an answer with addresses");
        for address in &host.addresses {
            assert!(answer.records.contains(address) && !is_special(*address), "{address}");
            assert_ne!(*address, own_address());
            *if address.is_ipv4() { &mut v4 } else { &mut v6 } += 1;
        }
    }
    assert!(v4 <= 16 && v6 <= 16);
}

/// Addresses that the standard library knows are not public.
fn is_special(address: IpAddr) -> bool {
    let v4 = |a: Ipv4Addr| {
        a.is_private()
            || a.is_loopback()
            || a.is_link_local()
            || a.is_unspecified()
            || a.is_documentation()
            || a.is_multicast()
            || a.is_broadcast()
    };
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.to_ipv4_mapped().is_some_and(v4)
        }
    }
}

/// A try goes to addresses of the route in the order of preference, to a few, each from a source of its family.
fn attempts(route: &Route, turn: u8) {
    let helo: Arc<str> = "us.example".into();
    let source = |address: IpAddr| SourceHost { address: Some(address), helo: Arc::clone(&helo) };
    let hosts = vec![source([192, 0, 2, 1].into()), source([192, 0, 2, 2].into())];
    let mut sources = Sources::new(hosts.into());
    let Ok(mut attempts) = Attempts::new(route, 25, 5, &sources, turn.into(), |_| false) else {
        assert!(route.hosts.iter().flat_map(|host| &host.addresses).all(IpAddr::is_ipv6));
        return;
    };
    let (mut tried, mut worst) = (0, 0);
    while let Some(endpoint) = attempts.next(&mut sources) {
        let host = route.hosts.iter().find(|host| {
            host.name == endpoint.host
                && host.preference >= worst
                && host.addresses.contains(&endpoint.address.ip())
        });
        worst = host.expect("of the route, in its order").preference;
        assert_eq!(endpoint.source.address.map(|a| a.is_ipv4()), Some(endpoint.address.is_ipv4()));
        tried += 1;
    }
    assert!((1..=5).contains(&tried), "{tried} addresses tried");
}
