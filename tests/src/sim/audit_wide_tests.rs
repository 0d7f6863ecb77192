//! The auditor counts over many queues as it says.

use super::*;
use crate::sim::plan::Plan;
use std::rc::Rc;

const SOURCE: [u8; 4] = [10, 1, 0, 1];

/// The names of the promises that are broken once connections to these hosts of `d0` are open at a time.
fn broken(limited: impl Fn(&mut Plan), hosts: &[[u8; 4]]) -> Vec<&'static str> {
    let mut plan = Plan::new(1);
    plan.total = 1000;
    plan.vmtas.iter_mut().for_each(|vmta| vmta.max_smtp_out = None);
    let limits = &mut plan.domains[0].limits;
    (limits.to_host, limits.to_address, limits.from_source) = (None, None, None);
    let host = |name: &str, last: &[u8]| {
        (10, name.to_owned(), last.iter().map(|last| [8, 0, 0, *last].into()).collect())
    };
    plan.domains[0].zone = Zone::Mx(vec![host("mx0.d0.example", &[1, 2]), host("mx1.d0.example", &[3])]);
    limited(&mut plan);
    let mut audit = Auditor::new(Rc::new(plan));
    for (wire, to) in hosts.iter().enumerate() {
        audit.dialled(wire as u64, Some(SOURCE.into()), (0, (*to).into()));
    }
    audit.breaches.iter().map(|breach| breach.promise).collect()
}

#[test]
fn connections_are_counted_by_virtual_mta_host_and_address() {
    let three = [[8, 0, 0, 1], [8, 0, 0, 2], [8, 0, 0, 3]];
    assert_eq!(broken(|_| {}, &three), Vec::<&str>::new());
    assert_eq!(
        broken(|plan| plan.vmtas[0].max_smtp_out = Some(2), &three),
        ["max-smtp-out of a virtual MTA"]
    );
    assert_eq!(broken(|plan| plan.domains[0].limits.to_host = Some(1), &three), ["mx-connection-limit"]);
    let per_source = |plan: &mut Plan| plan.domains[0].limits.from_source = Some(2);
    assert_eq!(broken(per_source, &three), ["source-ip-max-smtp-out"]);
    let one_each = |plan: &mut Plan| plan.domains[0].limits.to_address = Some(1);
    assert_eq!(broken(one_each, &three), Vec::<&str>::new());
    assert_eq!(broken(one_each, &[three[0], three[0]]), ["ip-connection-limit"]);
    assert_eq!(broken(|plan| plan.total = 2, &three), ["total-max-smtp-out"]);
}

#[test]
fn a_window_with_too_much_is_found_unless_it_is_one_message() {
    let minute = Duration::from_secs(60);
    let at = |seconds: u64, bytes: u64| (Duration::from_secs(seconds), bytes);
    assert_eq!(too_many(vec![at(0, 60), at(61, 60)], 100, minute), None);
    assert!(too_many(vec![at(0, 60), at(60, 60)], 100, minute).is_some());
    assert_eq!(too_many(vec![at(0, 160)], 100, minute), None);
}
