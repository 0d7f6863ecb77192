//! Mail through every door at once, with the memory of what was taken: SMTP sessions, pickup files and campaigns go in,
//! a receiving site takes what comes out.

use std::io;
use std::time::{Duration, Instant};

use bench::people::People;
use bench::site::ledger::hash_body;
use bench::site::{DoorConfig, Ledger, LedgerMode, Persona, Site, SiteConfig, SiteHandle};
use bench::source::{self, Load, SourceConfig, SourceHandle};

use super::account::{self, End, Sent, key};
use super::http::Clients;
use super::starved::Starved;
use super::verdict::Verdict;
use bench::campaign::Campaign;
use bench::engine::Engine;
use bench::ground::Ground;
use bench::wait::until;

const DOMAINS: [&str; 6] =
    ["site.example", "wide.example", "broad.example", "pickup.example", "campaign.example", "http.example"];
/// Pickup files waiting at most.
const WAITING: usize = 20;
/// One in so many is a campaign.
const CAMPAIGNS: u64 = 300;
/// With so many messages taken and not delivered the sources are held back.
const BACKLOG: u64 = 4_000;
const STEP: Duration = Duration::from_millis(4);
const PATIENCE: Duration = Duration::from_secs(240);

/// EIO, ENOSPC, EROFS.
const DISK: [i32; 3] = [5, 28, 30];

/// How much of it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub sessions: u32,
    /// Bytes of most messages.
    pub size: usize,
    /// Whether pickup files and campaigns come too.
    pub pickup: bool,
    /// Whether requests come by HTTP too.
    pub http: bool,
    /// Messages of most; without end, if not given.
    pub limit: Option<u64>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { sessions: 12, size: 1024, pickup: true, http: false, limit: None }
    }
}

/// Put into the pickup directory and not yet seen to be gone.
#[derive(Debug)]
enum Dropped {
    File { name: String, key: String, hash: u64 },
    Campaign(Campaign),
}

impl Dropped {
    fn is_there(&self, ground: &Ground) -> bool {
        let pickup = ground.path("pickup");
        match self {
            Dropped::File { name, .. } => pickup.join(name).exists(),
            Dropped::Campaign(campaign) => {
                let name = format!("{}.campaign", campaign.name);
                pickup.join(&name).exists() || pickup.join(".importing").join(name).exists()
            }
        }
    }
}

/// Mail under way, and what is known of it.
#[derive(Debug)]
pub struct Traffic {
    pub ground: Ground,
    pub site: SiteHandle,
    sources: Vec<(Load, SourceHandle)>,
    pickup: Option<Load>,
    http: Option<Clients>,
    dropped: Vec<Dropped>,
    drops: u64,
    sent: Sent,
    picked_up: u64,
    imported: u64,
    held: bool,
    feeding: bool,
    starved: Option<Starved>,
    pub recovery: super::verdict::Times,
}

/// A site that takes everything.
pub fn site() -> io::Result<SiteHandle> {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    Site::start(SiteConfig { doors, ledger: LedgerMode::Entries, ..SiteConfig::default() })
}

impl Traffic {
    /// Mail flows as soon as an engine is started on the ground.
    pub fn start(mut ground: Ground, plan: &Plan) -> io::Result<Traffic> {
        let site = site()?;
        for domain in DOMAINS {
            ground.route(domain, site.addr("site"), "  max-smtp-out 10\n  retry-after 1s");
        }
        let plain = Load { name: "smtp".into(), size: plan.size, ..Load::default() };
        let several = Load {
            name: "wide".into(),
            size: 6 * plan.size,
            recipients_per_message: 3,
            domains: vec!["wide.example".into(), "broad.example".into()],
            ..Load::default()
        };
        let mut sources = Vec::new();
        for (load, sessions) in [(plain, plan.sessions), (several, 1)] {
            let share = if load.name == "wide" { 20 } else { 1 };
            let load = Load { messages: plan.limit.map_or(u64::MAX / 8, |limit| limit / share), ..load };
            let mut config = SourceConfig::new(ground.listen, load.clone());
            config.sessions = sessions;
            config.patience = PATIENCE;
            config.per_connection = 500;
            sources.push((load, source::start(config)?));
        }
        let picks = Load {
            name: "pickup".into(),
            size: 1500,
            domains: vec!["pickup.example".into()],
            ..Load::default()
        };
        let http = match plan.http {
            true => Some(Clients::start(&mut ground, "http.example")?),
            false => None,
        };
        Ok(Traffic {
            ground,
            site,
            sources,
            http,
            pickup: plan.pickup.then_some(picks),
            dropped: Vec::new(),
            drops: 0,
            sent: Sent { window_us: 250_000, ..Sent::default() },
            picked_up: 0,
            imported: 0,
            held: false,
            feeding: true,
            starved: None,
            recovery: super::verdict::Times::default(),
        })
    }

    /// Outcomes of so much longer may go with the engine's end.
    pub fn commit_interval(&mut self, interval: Duration) {
        self.sent.window_us += u64::try_from(interval.as_micros()).unwrap_or(0);
    }

    /// Starts an engine and notes how long it took.
    pub fn engine(&mut self) -> io::Result<Engine> {
        let begun = Instant::now();
        let engine = self.ground.start()?;
        self.recovery.add(begun.elapsed());
        self.starved = Some(Starved::new(engine.pid()));
        Ok(engine)
    }

    /// Lets mail flow for a while.
    pub fn pass(&mut self, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        loop {
            self.govern();
            self.starved.iter_mut().for_each(Starved::look);
            match self.feed() {
                // Whoever writes pickup files meets the full disk as well, and the dead one.
                Err(e) if e.raw_os_error().is_some_and(|code| DISK.contains(&code)) => {}
                fed => fed?,
            }
            self.look();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(STEP));
        }
    }

    /// Messages that the sources know to be taken.
    pub fn acked(&self) -> u64 {
        self.sources.iter().map(|(_, source)| source.acked()).sum()
    }

    /// Replies of this code, over all sources.
    pub fn replies(&self, code: u16) -> (u64, String) {
        let reports = self.sources.iter().map(|(_, source)| source.report());
        reports
            .filter_map(|r| r.replies.get(&code).cloned())
            .fold((0, String::new()), |a, b| (a.0 + b.0, b.1))
    }

    fn govern(&mut self) {
        let recipients: u64 =
            self.sources.iter().map(|(load, s)| s.acked() * u64::from(load.recipients_per_message)).sum();
        let recipients = recipients + self.http.as_ref().map_or(0, Clients::acked);
        let backlog = recipients.saturating_sub(self.site.stats().recipients());
        let hold = backlog > if self.held { BACKLOG / 2 } else { BACKLOG };
        if hold != self.held {
            self.held = hold;
            self.sources.iter().for_each(|(_, source)| source.hold(hold));
            self.http.iter().for_each(|clients| clients.hold(hold));
        }
    }

    /// Puts a file or a campaign into the pickup directory, unless enough wait there.
    fn feed(&mut self) -> io::Result<()> {
        let Some(load) = &self.pickup else { return Ok(()) };
        if !self.feeding || self.dropped.len() >= WAITING {
            return Ok(());
        }
        let id = self.drops;
        self.drops += 1;
        if id % CAMPAIGNS == CAMPAIGNS / 10 {
            return self.drop_campaign(40 + id % 200);
        }
        let (recipient, ledger_id) = (load.recipient(id, 0), load.ledger_id(id));
        let mut file = format!(
            "x-sender: news@sender.example\r\nx-receiver: {recipient}\r\nX-Ledger-Id: {ledger_id}\r\n\
             From: <news@sender.example>\r\nDate: Mon, 02 Nov 2026 08:00:00 +0000\r\nSubject: picked up\r\n\r\n"
        )
        .into_bytes();
        file.extend_from_slice(&load.body(id));
        let name = format!("{id}.msg");
        self.ground.pick_up(&name, &file)?;
        let (key, hash) = (key(&recipient, &ledger_id), load.body_hash(id));
        self.dropped.push(Dropped::File { name, key, hash });
        Ok(())
    }

    /// Puts in a campaign to so many people.
    pub fn drop_campaign(&mut self, rows: u64) -> io::Result<()> {
        let people = People::new(self.drops, &[("campaign.example", 1)]);
        let campaign = Campaign::new(&format!("campaign-{}", self.drops), people, rows);
        self.drops += 1;
        campaign.drop_into(&self.ground)?;
        self.dropped.push(Dropped::Campaign(campaign));
        Ok(())
    }

    /// Whether everything put in was taken.
    pub fn is_all_taken(&mut self) -> bool {
        self.look();
        self.dropped.is_empty() && self.sources.iter().all(|(_, source)| source.finished())
    }

    /// What is gone from the pickup directory was taken.
    pub fn look(&mut self) {
        let ground = &self.ground;
        let (there, gone) = std::mem::take(&mut self.dropped).into_iter().partition(|d| d.is_there(ground));
        self.dropped = there;
        for taken in gone {
            match taken {
                Dropped::File { key, hash, .. } => {
                    self.sent.owed.insert(key, hash);
                    self.picked_up += 1;
                }
                Dropped::Campaign(campaign) => {
                    self.imported += campaign.rows;
                    self.sent.owed.extend(recipients(&campaign));
                }
            }
        }
    }

    /// After a power cut: what is gone now and was there before may have been taken, or gone with the cut.
    pub fn look_after_cut(&mut self) {
        let ground = &self.ground;
        let (there, gone) = std::mem::take(&mut self.dropped).into_iter().partition(|d| d.is_there(ground));
        self.dropped = there;
        for doubtful in gone {
            match doubtful {
                Dropped::File { key, hash, .. } => {
                    self.sent.possible.insert(key, hash);
                }
                Dropped::Campaign(campaign) => self.sent.possible.extend(recipients(&campaign)),
            }
        }
    }

    /// Whether pickup files and campaigns come. Writing them syncs the file system they lie on, and what the engine has
    /// forgotten to sync with it.
    pub fn pick_up(&mut self, on: bool) {
        self.feeding = on;
    }

    /// The engine was ended between these times.
    pub fn ended(&mut self, (after, before): (u64, u64)) {
        let starved_us = self.starved.as_ref().map_or(0, Starved::waited_us);
        self.sent.ends.push(End { after, before, starved_us });
    }

    /// No further mail is sent.
    pub fn hush(&mut self) {
        self.pickup = None;
        for (_, source) in &self.sources {
            source.hold(false);
            source.stop();
        }
    }

    /// What the sources were told is known for good, and what was put into the pickup directory is taken. Needs an engine.
    pub fn settle(&mut self, verdict: &mut Verdict) {
        self.hush();
        for (load, source) in std::mem::take(&mut self.sources) {
            let report = source.join();
            verdict.acknowledged += report.acked.len() as u64;
            verdict.in_doubt += report.in_doubt.len() as u64;
            let keys = |id| {
                let load = &load;
                let hash = load.body_hash(id);
                (0..load.recipients_per_message)
                    .map(move |k| (key(&load.recipient(id, k), &load.ledger_id(id)), hash))
            };
            self.sent.owed.extend(report.acked.iter().flat_map(|ack| keys(ack.id)));
            self.sent.possible.extend(report.in_doubt.iter().copied().flat_map(keys));
            // Put off and never taken later: nobody is owed it, and it may have been stored.
            self.sent.possible.extend(report.put_off.iter().copied().flat_map(keys));
            self.sent.resent.extend(report.put_off.iter().copied().flat_map(keys).map(|(key, _)| key));
            let refused = report.refused.iter().map(|id| format!("{} was refused", load.ledger_id(*id)));
            refused.for_each(|told| verdict.broken.add(told));
        }
        if let Some((taken, doubtful)) = self.http.take().map(Clients::end) {
            verdict.acknowledged += taken.len() as u64;
            verdict.in_doubt += doubtful.len() as u64;
            self.sent.owed.extend(taken);
            self.sent.possible.extend(doubtful);
        }
        let taken = until(PATIENCE, || self.is_all_taken().then_some(()));
        if taken.is_err() {
            self.dropped.iter().for_each(|d| verdict.broken.add(format!("never taken: {d:?}")));
        }
        verdict.picked_up = self.picked_up;
        verdict.imported = self.imported;
    }

    pub fn sent(&self) -> &Sent {
        &self.sent
    }

    /// The last engine takes what is under way and delivers everything. Then the accounts are closed.
    pub fn close(mut self, verdict: &mut Verdict, spoil: bool) -> io::Result<()> {
        self.hush();
        let last = self.engine()?;
        self.settle(verdict);
        if let Err(left) = self.drain(&last) {
            verdict.broken.add(format!("never delivered: {left} recipients"));
        }
        last.stop()?;
        for entry in std::fs::read_dir(self.ground.path("bad"))? {
            verdict.broken.add(format!("refused: {}", entry?.path().display()));
        }
        let ledger = self.spoilt(spoil);
        verdict.recovery = std::mem::take(&mut self.recovery);
        account::compare(&self.sent, &ledger, verdict);
        match account::lines(&self.ground.path("acct")) {
            Ok(lines) => account::compare_lines(&lines, &ledger, verdict),
            Err(e) => verdict.unaccounted.add(e.to_string()),
        }
        if !verdict.is_good() {
            eprintln!("what is left of it: {}", self.ground.keep().display());
        }
        Ok(())
    }

    /// Waits until nothing is queued, as long as something is still being received.
    fn drain(&self, engine: &Engine) -> Result<(), u64> {
        loop {
            let before = self.site.stats().recipients();
            match engine.until_empty(PATIENCE / 4) {
                Err(_) if self.site.stats().recipients() > before => {}
                done => return done,
            }
        }
    }

    /// The site's account; for the positive control with one delivery struck out, which has to be found.
    fn spoilt(&self, spoil: bool) -> Ledger {
        let mut ledger = self.site.ledger();
        if spoil && let Some(first) = ledger.deliveries.first().map(|d| (d.recipient.clone(), d.id.clone())) {
            ledger.deliveries.retain(|d| (&d.recipient, &d.id) != (&first.0, &first.1));
        }
        ledger
    }
}

fn recipients(campaign: &Campaign) -> impl Iterator<Item = (String, u64)> + '_ {
    (0..campaign.rows).map(|n| {
        let person = campaign.people.nth(n);
        let hash = hash_body(campaign.body_for(&person).as_bytes());
        (key(&person.address(), &campaign.name), hash)
    })
}
