//! Kills the engine while mail comes in over SMTP and through the pickup directory, again and again, and then
//! holds what it acknowledged against what was received: nothing lost, nothing altered, nothing twice except what
//! was on its way at a kill.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bench::ground::Ground;
use bench::site::{Delivery, DoorConfig, Ledger, LedgerMode, Persona, Site, SiteConfig};
use bench::source::{self, Load, SourceConfig};
use bench::wait::until;
use serde::Serialize;

/// A message may come twice if its first copy arrived this long before a kill.
const IN_FLIGHT_US: u64 = 250_000;
/// The signal takes its time: what was received so long after it was sent still came from the killed engine.
const DYING_US: u64 = 100_000;

/// How the engine is to be killed.
#[derive(Clone, Debug)]
pub struct Plan {
    pub cycles: u32,
    /// Decides the moments of the kills.
    pub seed: u64,
    /// Bounds of the time from readiness to the kill.
    pub alive: (Duration, Duration),
    pub runtime: &'static str,
}

impl Plan {
    pub fn new(cycles: u32, seed: u64) -> Plan {
        Plan {
            cycles,
            seed,
            alive: (Duration::from_millis(20), Duration::from_millis(1500)),
            runtime: "auto",
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    pub cycles: u32,
    pub acknowledged: u64,
    pub picked_up: u64,
    pub in_doubt: u64,
    pub delivered: u64,
    /// Acknowledged and never received.
    pub lost: Vec<String>,
    /// Received with another body.
    pub altered: Vec<String>,
    /// Received and never sent.
    pub phantoms: Vec<String>,
    /// Received twice, the first copy shortly before a kill.
    pub duplicates: u64,
    /// Received twice without that excuse.
    pub unexplained: Vec<String>,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.lost.is_empty()
            && self.altered.is_empty()
            && self.phantoms.is_empty()
            && self.unexplained.is_empty()
    }
}

/// What the sending side knows.
#[derive(Debug, Default)]
pub struct Sent {
    /// Ledger ids that must arrive, with the hash of their body.
    pub owed: HashMap<String, u64>,
    /// Ledger ids that may arrive.
    pub possible: HashMap<String, u64>,
    /// When the engine was killed.
    pub kills: Vec<u64>,
}

/// Carries out the plan.
pub fn run(plan: &Plan) -> io::Result<Verdict> {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Entries, ..SiteConfig::default() })?;
    let mut ground = Ground::new()?;
    ground.runtime = plan.runtime;
    ground.route("site.example", site.addr("site"), "  max-smtp-out 10\n  retry-after 1s");

    let load = Load { messages: u64::MAX / 2, name: "smtp".into(), distinct: 5000, ..Load::default() };
    let mut config = SourceConfig::new(ground.listen, load.clone());
    config.sessions = 8;
    config.patience = Duration::from_secs(60);
    config.per_connection = 500;
    let source = source::start(config)?;
    let picks = Load { name: "pickup".into(), size: 1500, ..Load::default() };
    let (over, dropped) = (AtomicBool::new(false), AtomicU64::new(0));

    let (kills, report) = std::thread::scope(|scope| {
        scope.spawn(|| drop_files(&ground, &picks, &over, &dropped));
        let kills = kill_again_and_again(plan, &ground);
        over.store(true, Ordering::Relaxed);
        source.stop();
        // The last engine takes what is under way and delivers everything.
        let last = ground.start()?;
        let report = source.join();
        let taken = until(Duration::from_secs(60), || (ground.waiting_files() == 0).then_some(()));
        taken.map_err(|_| io::Error::other("files are left in the pickup directory"))?;
        last.wait_until_empty(Duration::from_secs(120));
        last.stop()?;
        io::Result::Ok((kills?, report))
    })?;

    let refused = std::fs::read_dir(ground.path("bad"))?.count();
    if refused > 0 {
        let kept = ground.keep();
        return Err(io::Error::other(format!(
            "the engine refused pickup files: see {}",
            kept.join("bad").display()
        )));
    }
    let mut sent = Sent { kills, ..Sent::default() };
    let picked_up = dropped.load(Ordering::Relaxed);
    sent.owed.extend(report.acked.iter().map(|a| (load.ledger_id(a.id), load.body_hash(a.id))));
    sent.owed.extend((0..picked_up).map(|id| (picks.ledger_id(id), picks.body_hash(id))));
    sent.possible.extend(report.in_doubt.iter().map(|id| (load.ledger_id(*id), load.body_hash(*id))));
    let mut verdict = compare(&sent, &site.ledger());
    verdict.cycles = plan.cycles;
    verdict.acknowledged = report.acked.len() as u64;
    verdict.in_doubt = report.in_doubt.len() as u64;
    verdict.picked_up = picked_up;
    if !verdict.is_good() {
        let kept = ground.keep();
        eprintln!("what is left of it: {}", kept.display());
    }
    Ok(verdict)
}

fn kill_again_and_again(plan: &Plan, ground: &Ground) -> io::Result<Vec<u64>> {
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let mut kills = Vec::new();
    for _ in 0..plan.cycles {
        let engine = ground.start()?;
        let (least, most) = plan.alive;
        let micros = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX);
        std::thread::sleep(least + Duration::from_micros(random.u64(0..=micros)));
        kills.push(engine.kill()?);
    }
    Ok(kills)
}

/// Feeds the pickup directory, never with more than a few files waiting.
fn drop_files(ground: &Ground, load: &Load, over: &AtomicBool, dropped: &AtomicU64) {
    while !over.load(Ordering::Relaxed) {
        if ground.waiting_files() >= 20 {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        let id = dropped.load(Ordering::Relaxed);
        let mut file = format!(
            "x-sender: news@sender.example\r\nx-receiver: {}\r\nX-Ledger-Id: {}\r\n\
             From: <news@sender.example>\r\nDate: Mon, 02 Nov 2026 08:00:00 +0000\r\nSubject: picked up\r\n\r\n",
            load.recipient(id, 0),
            load.ledger_id(id)
        )
        .into_bytes();
        file.extend_from_slice(&load.body(id));
        if ground.pick_up(&format!("{id}.msg"), &file).is_ok() {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Holds the two accounts against each other.
pub fn compare(sent: &Sent, ledger: &Ledger) -> Verdict {
    let mut verdict = Verdict { delivered: ledger.deliveries.len() as u64, ..Verdict::default() };
    let mut received: HashMap<&str, Vec<&Delivery>> = HashMap::new();
    for delivery in &ledger.deliveries {
        let id = delivery.id.as_str();
        received.entry(id).or_default().push(delivery);
        match sent.owed.get(id).or_else(|| sent.possible.get(id)) {
            None => verdict.phantoms.push(id.to_string()),
            Some(hash) if *hash != delivery.body_hash => verdict.altered.push(id.to_string()),
            Some(_) => {}
        }
    }
    verdict.lost = sent.owed.keys().filter(|id| !received.contains_key(id.as_str())).cloned().collect();
    for (id, copies) in &mut received {
        copies.sort_by_key(|d| d.at_us);
        for earlier in &copies[..copies.len() - 1] {
            let at = earlier.at_us;
            let excused =
                sent.kills.iter().any(|k| (k.saturating_sub(IN_FLIGHT_US)..k + DYING_US).contains(&at));
            if excused {
                verdict.duplicates += 1;
            } else {
                verdict.unexplained.push((*id).to_string());
            }
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn delivery(id: &str, body_hash: u64, at_us: u64) -> Delivery {
        Delivery {
            recipient: "a@site.example".into(),
            sender: String::new(),
            id: id.into(),
            at_us,
            size: 1,
            body_hash,
            door: "site".into(),
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            acknowledged: true,
            bare_line_ends: 0,
            message: None,
        }
    }

    /// A harness that cannot fail proves nothing: each kind of fault has to be found.
    #[test]
    fn every_kind_of_fault_is_found() {
        let sent = Sent {
            owed: [("good", 1), ("lost", 2), ("altered", 3), ("twice", 4), ("killed", 5)]
                .map(|(id, hash)| (id.to_string(), hash))
                .into(),
            possible: [("doubt".to_string(), 6)].into(),
            kills: vec![10_000_000],
        };
        let deliveries = vec![
            delivery("good", 1, 1),
            delivery("altered", 33, 2),
            delivery("twice", 4, 9_000_000),
            delivery("twice", 4, 12_000_000),
            delivery("killed", 5, 9_800_000),
            delivery("killed", 5, 12_000_000),
            delivery("doubt", 6, 3),
            delivery("unknown", 7, 4),
        ];
        let verdict = compare(&sent, &Ledger { deliveries });
        assert_eq!(verdict.lost, ["lost"]);
        assert_eq!(verdict.altered, ["altered"]);
        assert_eq!(verdict.unexplained, ["twice"]);
        assert_eq!(verdict.phantoms, ["unknown"]);
        assert_eq!(verdict.duplicates, 1);
        assert!(!verdict.is_good());
    }
}
