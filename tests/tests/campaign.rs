//! A campaign goes in through the pickup directory, and every recipient has it once, with their own values; the
//! accounting says the same.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use bench::campaign::Campaign;
use bench::ground::Ground;
use bench::people::People;
use bench::site::ledger::header;
use bench::site::{Behaviour, DoorConfig, Fate, FateRule, LedgerMode, Persona, Site, SiteConfig};
use bench::wait::until;
use mail_parser::MessageParser;
use tests::accounting::{self, per_recipient};

const ROWS: u64 = 3000;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_recipient_has_it_once_with_their_own_values() {
    everyone_has_their_own("auto");
}

#[test]
fn so_it_is_with_the_blocking_back_end() {
    everyone_has_their_own("blocking");
}

/// The kernel's account: with huge pages an import takes half as much memory again.
#[test]
fn the_engine_does_without_huge_pages() {
    let engine = Ground::new().and_then(|ground| ground.start()).expect("the engine starts");
    let status = std::fs::read_to_string(format!("/proc/{}/status", engine.pid())).expect("it runs");
    let told = status.lines().find(|line| line.starts_with("THP_enabled:")).expect("the kernel tells");
    assert!(told.ends_with('0'), "{told}");
}

fn everyone_has_their_own(runtime: &'static str) {
    let doors = vec![DoorConfig::new("a", Persona::Fast), DoorConfig::new("b", Persona::Fast)];
    let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() })
        .expect("loopback");
    let mut ground = Ground::new().expect("a directory");
    ground.runtime = runtime;
    ground.route("a.example", site.addr("a"), "  max-smtp-out 8").route("b.example", site.addr("b"), "");
    let people = People::new(3, &[("a.example", 2), ("b.example", 1)]);
    let campaign = Campaign::new("spring", people.clone(), ROWS);

    let engine = ground.start().expect("the engine starts");
    campaign.drop_into(&ground).expect("the pickup directory takes it");
    until(PATIENCE, || (site.stats().recipients() >= ROWS).then_some(())).expect("all is delivered");
    engine.wait_until_empty(PATIENCE);
    let back_end = engine.status().expect("it answers").spool.back_end;
    assert!(runtime == "auto" || back_end == runtime, "{back_end}");
    assert!(engine.stop().expect("it can be waited for").success());

    let ledger = site.ledger();
    let received: HashMap<&str, &[u8]> = ledger
        .deliveries
        .iter()
        .map(|d| (d.recipient.as_str(), d.message.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!((ledger.deliveries.len() as u64, received.len() as u64), (ROWS, ROWS), "each exactly once");
    assert!(ledger.deliveries.iter().all(|d| d.bare_line_ends == 0 && d.sender == "bounce@news.example"));
    let mut message_ids = HashSet::new();
    for number in 0..ROWS {
        let person = people.nth(number);
        let message = received[person.address().as_str()];
        let parsed = MessageParser::default().parse(message).expect("a message");
        assert_eq!(parsed.subject(), Some(format!("Hello {}", person.first).as_str()));
        let body = parsed.body_text(0).expect("a text").replace("\r\n", "\n");
        assert_eq!(body, campaign.body_for(&person).replace("\r\n", "\n"), "{}", person.address());
        let (head, _) = bench::site::ledger::split(message);
        message_ids.insert(header(head, "Message-ID").expect("a Message-ID").to_string());
        assert!(header(head, "Date").is_some());
    }
    assert_eq!(message_ids.len() as u64, ROWS, "no two share a Message-ID");

    let lines = accounting::read(&ground.path("acct")).expect("accounting files");
    let delivered = per_recipient(&lines, "d");
    assert_eq!(delivered.len() as u64, ROWS);
    assert!(delivered.values().all(|n| *n == 1));
    assert!(lines.iter().filter(|l| l["type"] == "d").all(|l| l["jobId"] == "spring"));
    assert_eq!(ground.waiting_files(), 0, "the campaign is gone from the pickup directory");
    assert!(ground.path("reports").join("spring.report.json").is_file());
}

#[test]
fn what_is_refused_bounces_and_what_is_put_off_comes_later() {
    let behaviour = Behaviour {
        fates: vec![
            FateRule { prefix: String::new(), share: 0.1, fate: Fate::Unknown },
            FateRule { prefix: String::new(), share: 0.1, fate: Fate::Spam },
            FateRule { prefix: String::new(), share: 0.1, fate: Fate::Transient(1) },
        ],
        ..Behaviour::default()
    };
    let doors = vec![DoorConfig::with("site", behaviour)];
    let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Entries, ..SiteConfig::default() })
        .expect("loopback");
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "  retry-after 1s\n  retry-recipients-after 1s");
    let campaign = Campaign::new("mixed", People::new(5, &[("site.example", 1)]), 1000);

    let engine = ground.start().expect("the engine starts");
    campaign.drop_into(&ground).expect("the pickup directory takes it");
    until(PATIENCE, || {
        let total = &site.stats().doors[0].total;
        (total.recipients + total.recipients_rejected + total.messages_rejected >= 1000).then_some(())
    })
    .expect("every recipient has met their fate");
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());

    let total = site.stats().doors[0].total.clone();
    let lines = accounting::read(&ground.path("acct")).expect("accounting files");
    let (delivered, bounced, deferred) =
        (per_recipient(&lines, "d"), per_recipient(&lines, "b"), per_recipient(&lines, "t"));
    assert_eq!(delivered.len() as u64, total.recipients);
    assert_eq!(bounced.len() as u64, total.recipients_rejected + total.messages_rejected);
    assert_eq!(deferred.len() as u64, total.recipients_deferred);
    assert!(delivered.keys().all(|r| !bounced.contains_key(r)), "nobody has two ends");
    assert!(delivered.values().chain(bounced.values()).all(|n| *n == 1));
    assert_eq!(delivered.len() + bounced.len(), 1000);
    let unknown = lines.iter().filter(|l| l["type"] == "b" && l["dsnDiag"].contains("5.1.1"));
    assert!(
        unknown.clone().all(|l| l["bounceCat"] == "bad-mailbox"),
        "{:?}",
        unknown.take(1).collect::<Vec<_>>()
    );
}

#[test]
fn each_virtual_mta_of_a_pool_sends_its_share_from_its_own_address() {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    let site = Site::start(SiteConfig { doors, ..SiteConfig::default() }).expect("loopback");
    let mut ground = Ground::new().expect("a directory");
    let sources = [Ipv4Addr::new(127, 0, 88, 1), Ipv4Addr::new(127, 0, 88, 2), Ipv4Addr::new(127, 0, 88, 3)];
    for (i, ip) in sources.iter().enumerate() {
        ground.vmta(&format!("v{i}"), *ip);
    }
    ground.add(
        "<virtual-mta-pool three>\n  virtual-mta v0\n  virtual-mta v1\n  virtual-mta v2\n</virtual-mta-pool>",
    );
    ground.route("site.example", site.addr("site"), "");
    let mut campaign = Campaign::new("pool", People::new(8, &[("site.example", 1)]), 900);
    campaign.virtual_mta = "three".into();

    let engine = ground.start().expect("the engine starts");
    campaign.drop_into(&ground).expect("the pickup directory takes it");
    until(PATIENCE, || (site.stats().recipients() >= 900).then_some(())).expect("all is delivered");
    drop(engine);
    let stats = site.stop();
    let door = &stats.doors[0];
    assert_eq!(door.sources.len(), 3, "{:?}", door.sources.keys());
    for ip in sources {
        assert_eq!(door.sources[&ip.into()].recipients, 300, "{ip}");
    }
}
