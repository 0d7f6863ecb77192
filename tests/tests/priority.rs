//! Who is delivered first where a campaign would take all there is: more important queues, equal ones, other jobs.

use bench::measure::priority::{Plan, once};

#[test]
fn nobody_waits_for_a_campaign() {
    let plan = Plan { recipients: 20_000, connections: 4, delay: 10, messages: 20, rate: 2 };
    let measured = once(&plan).expect("all is delivered");
    for (name, waits) in &measured.waits {
        assert!(waits.within(0.99) < 2_000_000, "{name}: 99 % within {} us", waits.within(0.99));
    }
    assert_eq!(measured.twice, 0);
    assert!(measured.connections <= 4, "{} connections", measured.connections);
    // Who is let past does not stop it: it has most of the ten seconds.
    assert!(measured.campaign > 200, "{} of the campaign meanwhile", measured.campaign);
}
