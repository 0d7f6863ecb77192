//! The simulator's seeds: fresh ones, and every seed that has broken a promise before. `SIM_FROM` names the first of the
//! fresh ones; a failing seed goes into `tests/sim-seeds.txt` together with the fix.

use tests::sim;

/// Seeds that are run fresh.
const FRESH: u64 = 500;
const FROM: u64 = 1_000_000;
/// Events printed of a failing seed.
const LAST: usize = 60;

fn all_clean(seeds: &[u64]) {
    let (totals, failed) = sim::run_all(seeds, |story| print!("{}", sim::failure(story, LAST)));
    println!("{totals}");
    assert_eq!(failed, 0, "seeds broke a promise; each is printed above with the command to replay it");
    // A run without faults would prove nothing.
    if seeds.len() as u64 >= FRESH {
        let faults = [
            "kills",
            "power cuts",
            "failed logs",
            "421",
            "connections cut at a byte",
            "files torn",
            "starts without room",
            "submissions refused for now",
            "queues in backoff",
        ];
        for fault in faults {
            assert!(totals.get(fault) > 0, "no {fault}");
        }
    }
}

#[test]
fn fresh_seeds_keep_every_promise() {
    let from = std::env::var("SIM_FROM").ok().and_then(|from| from.parse().ok()).unwrap_or(FROM);
    println!("seeds from {from}");
    all_clean(&(from..from + FRESH).collect::<Vec<_>>());
}

#[test]
fn seeds_that_failed_once_are_clean() {
    let kept = include_str!("../sim-seeds.txt");
    let seed = |line: &str| line.split('#').next().and_then(|seed| seed.trim().parse().ok());
    let seeds: Vec<u64> = kept.lines().filter_map(seed).collect();
    assert!(!seeds.is_empty());
    all_clean(&seeds);
}
