//! The mail that is sent while engines die, and the sites that receive it.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bench::site::{Behaviour, DoorConfig, Fate, LedgerMode, Site, SiteConfig, SiteHandle, Stage, What};
use bench::source::{self, Load, SourceConfig, SourceHandle, SourceReport};

use bench::ground::Ground;

/// Domain, sessions, messages a second, bytes of each.
const LOADS: [(&str, u32, u32, usize); 6] = [
    ("site.example", 6, 1000, 2048),
    ("long.example", 2, 100, 40_000),
    ("later.example", 1, 20, 1000),
    ("no.example", 1, 20, 1000),
    ("never.example", 1, 10, 1000),
    ("doubt.example", 1, 10, 1000),
];

/// Messages whose connection the doubtful site drops after the final dot.
const DOUBTS: u32 = 5;

/// Sites that accept, put off once, refuse, put off for ever, and leave in doubt.
pub fn site() -> io::Result<SiteHandle> {
    let everybody = |fate| Behaviour::default().with_fate("", fate);
    let mut doubtful = Behaviour::default().with_fault(Stage::Dot, What::Close);
    doubtful.faults[0].times = Some(DOUBTS);
    let doors = vec![
        DoorConfig::with("site.example", Behaviour::default()),
        DoorConfig::with("later.example", everybody(Fate::Transient(1))),
        DoorConfig::with("no.example", everybody(Fate::Unknown)),
        DoorConfig::with("never.example", everybody(Fate::Transient(u32::MAX))),
        DoorConfig::with("doubt.example", doubtful),
    ];
    Site::start(SiteConfig { doors, ledger: LedgerMode::Entries, ..SiteConfig::default() })
}

/// A ground with small segments, a second accounting file whose finished parts are moved, and a way to every site.
pub fn ground(site: &SiteHandle, campaigns: usize) -> io::Result<Ground> {
    let mut ground = Ground::new()?;
    const OFTEN: &str = "  max-smtp-out 4\n  retry-after 1s\n  retry-recipients-after 1s";
    for (door, to) in site.addrs() {
        let age = if door == "never.example" { "\n  bounce-after 2s" } else { "" };
        ground.route(&door, to, &format!("{OFTEN}{age}"));
    }
    for domain in ["long.example", "pickup.example"] {
        ground.route(domain, site.addr("site.example"), OFTEN);
    }
    for number in 0..campaigns {
        ground.route(&format!("c{number}.example"), site.addr("site.example"), OFTEN);
    }
    let (moving, moved) = (ground.path("moving"), ground.path("moved"));
    fs::create_dir(&moving)?;
    fs::create_dir(&moved)?;
    ground.add("segment-size 4M").add(&format!(
        "<acct-file {}/m.csv>\n  records d,b\n  move-to {}\n</acct-file>",
        moving.display(),
        moved.display()
    ));
    Ok(ground)
}

/// Mail under way.
pub struct Traffic {
    sources: Vec<(Load, SourceHandle)>,
    /// What the pickup directory is fed.
    pub picks: Load,
}

impl Traffic {
    pub fn start(ground: &Ground) -> io::Result<Traffic> {
        let load = |domain: &str, size| Load {
            messages: u64::MAX / 2,
            name: domain.trim_end_matches(".example").into(),
            size,
            domains: vec![domain.into()],
            ..Load::default()
        };
        let mut sources = Vec::new();
        for (domain, sessions, rate, size) in LOADS {
            let load = load(domain, size);
            let mut config = SourceConfig::new(ground.listen, load.clone());
            (config.sessions, config.rate, config.per_connection) = (sessions, Some(rate), 200);
            config.patience = Duration::from_secs(120);
            sources.push((load, source::start(config)?));
        }
        Ok(Traffic { sources, picks: load("pickup.example", 1500) })
    }

    /// No further message is sent.
    pub fn stop(&self) {
        self.sources.iter().for_each(|(_, source)| source.stop());
    }

    /// What became of each load.
    pub fn join(self) -> Vec<(Load, SourceReport)> {
        self.sources.into_iter().map(|(load, source)| (load, source.join())).collect()
    }
}

/// Feeds the pickup directory until it is over, never with more than a few files waiting.
pub fn drop_files(ground: &Ground, load: &Load, over: &AtomicBool, dropped: &AtomicU64) {
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
