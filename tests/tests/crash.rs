//! The engine is killed in the middle of its work. The long version is the program `kill`.

use tests::crash::{self, Plan, Verdict};

fn kill(runtime: &'static str, cycles: u32, seed: u64) -> Verdict {
    let plan = Plan { runtime, ..Plan::new(cycles, seed) };
    let verdict = crash::run(&plan).expect("the engine starts after every kill");
    assert!(verdict.is_good(), "{verdict:#?}");
    assert!(verdict.acknowledged > 0 && verdict.picked_up > 0, "mail came through both doors: {verdict:?}");
    verdict
}

#[test]
fn nothing_acknowledged_is_lost_over_five_kills() {
    kill("auto", 5, 7);
}

#[test]
fn nor_on_the_blocking_back_end() {
    kill("blocking", 3, 8);
}
