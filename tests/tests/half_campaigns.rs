//! Campaigns that cannot be imported whole: nothing of a damaged one goes out, and one that vanishes half-way leaves
//! nothing behind.

use std::fs;
use std::time::Duration;

use bench::campaign::Campaign;
use bench::ground::Ground;
use bench::people::People;
use bench::site::{DoorConfig, Persona, Site, SiteConfig, SiteHandle};
use bench::wait::until;
use tests::accounting;

const PATIENCE: Duration = Duration::from_secs(60);

fn site() -> SiteHandle {
    let doors = vec![DoorConfig::new("a", Persona::Fast)];
    Site::start(SiteConfig { doors, ..SiteConfig::default() }).expect("loopback")
}

#[test]
fn a_list_with_an_open_quote_near_its_end_is_refused_whole() {
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("a.example", site.addr("a"), "");
    let campaign = Campaign::new("spring", People::new(3, &[("a.example", 1)]), 60_000);
    let staged = campaign.stage(&ground).expect("written");
    let list = staged.join("recipients.csv");
    let text = fs::read_to_string(&list).expect("its list");
    let rows: Vec<&str> = text.lines().collect();
    let line = rows.len() - 30_000;
    assert!(rows[line..].concat().len() > 1 << 20, "more than a row may have follows the quote");
    let damaged = [&rows[..line], &["x@a.example,\"X"], &rows[line..]].concat().join("\r\n");
    fs::write(&list, damaged).expect("written");

    let engine = ground.start().expect("the engine starts");
    fs::rename(staged, ground.path("pickup").join("spring.campaign")).expect("renamed in");
    let reason = ground.path("bad").join("spring.campaign.reason");
    until(PATIENCE, || reason.is_file().then_some(())).expect("it is refused");
    let told = fs::read_to_string(&reason).expect("a reason");
    assert!(told.contains(&format!("recipients.csv: line {}: the quote that opens", line + 1)), "{told}");
    assert!(told.contains("Nothing of this campaign was sent"), "{told}");
    assert!(ground.path("bad").join("spring.campaign/recipients.csv").is_file());
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    assert_eq!(site.stats().recipients(), 0);
    assert!(accounting::read(&ground.path("acct")).expect("readable").is_empty());
}

#[test]
fn an_import_whose_directory_vanished_is_ended_at_the_next_start() {
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("a.example", site.addr("a"), "");
    let engine = ground.start().expect("the engine starts");
    Campaign::new("spring", People::new(3, &[("a.example", 1)]), 100_000)
        .drop_into(&ground)
        .expect("the pickup directory takes it");
    until(PATIENCE, || (site.stats().recipients() > 0).then_some(())).expect("the import is under way");
    engine.kill().expect("killed");
    let aside = ground.path("pickup").join(".importing/spring.campaign");
    fs::remove_dir_all(aside).expect("the import was not at its end");

    let told = || fs::read_to_string(ground.path("log")).unwrap_or_default();
    let times = || told().matches("an interrupted import cannot go on, its directory is gone").count();
    let engine = ground.start().expect("it starts again");
    until(PATIENCE, || (times() == 1).then_some(())).expect("the log tells of it");
    assert!(engine.stop().expect("it can be waited for").success());
    let engine = ground.start().expect("and again");
    assert!(engine.stop().expect("it can be waited for").success());
    assert_eq!(times(), 1, "the spool knows no more of it:\n{}", told());
}
