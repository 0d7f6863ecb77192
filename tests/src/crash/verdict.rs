//! What came of a campaign: counts, and the first of whatever should not have been.

use std::time::Duration;

use serde::Serialize;

/// So many of a kind are named; the others are counted.
const NAMED: usize = 20;

/// Things found, all counted and the first of them named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    pub count: u64,
    pub first: Vec<String>,
}

impl Found {
    pub fn add(&mut self, what: impl Into<String>) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(what.into());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Durations in whole milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times {
    #[serde(skip)]
    all: Vec<u64>,
}

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.all.push(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    pub fn median(&self) -> u64 {
        let mut sorted = self.all.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }

    pub fn max(&self) -> u64 {
        self.all.iter().max().copied().unwrap_or(0)
    }
}

/// What came of a campaign.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    pub campaign: String,
    pub cycles: u32,
    /// Messages that got their 250.
    pub acknowledged: u64,
    /// Pickup files that were taken.
    pub picked_up: u64,
    /// Recipients of campaigns that were taken.
    pub imported: u64,
    /// Messages sent whole and never answered: they may arrive.
    pub in_doubt: u64,
    pub delivered: u64,
    /// Acknowledged and never received.
    pub lost: Found,
    /// Received with another body.
    pub altered: Found,
    /// Received and never sent.
    pub phantom: Found,
    /// Received twice, the first copy shortly before the engine was ended.
    pub duplicates: u64,
    /// The same, but for the time that the engine was kept waiting for a processor.
    pub starved: u64,
    /// Received twice because the sender was told to send again, and did.
    pub resent: u64,
    /// Received twice without an excuse.
    pub unexplained: Found,
    /// Received, and the accounting file has no line for it, or a line for what was never received.
    pub unaccounted: Found,
    /// Other promises that were broken.
    pub broken: Found,
    /// From the start of the program until it took mail.
    #[serde(skip)]
    pub recovery: Times,
    pub recovery_median_ms: u64,
    pub recovery_max_ms: u64,
    /// Counts of the campaign's own.
    pub also: Vec<(String, u64)>,
}

impl Verdict {
    pub fn new(campaign: &str) -> Verdict {
        Verdict { campaign: campaign.into(), ..Verdict::default() }
    }

    pub fn is_good(&self) -> bool {
        self.faults().iter().all(|(_, found)| found.is_empty())
    }

    pub fn also(&mut self, what: &str, count: u64) {
        self.also.push((what.into(), count));
    }

    /// Adds to a count of the campaign's own.
    pub fn count(&mut self, what: &str, more: u64) {
        match self.also.iter_mut().find(|(name, _)| name == what) {
            Some((_, count)) => *count += more,
            None => self.also(what, more),
        }
    }

    fn faults(&self) -> [(&'static str, &Found); 6] {
        [
            ("lost", &self.lost),
            ("altered", &self.altered),
            ("phantom", &self.phantom),
            ("duplicates unexplained", &self.unexplained),
            ("unaccounted", &self.unaccounted),
            ("other promises broken", &self.broken),
        ]
    }

    /// The counts, one a line, and the names of what was found.
    pub fn table(&self) -> String {
        let mut rows: Vec<(&str, u64)> = vec![
            ("cycles", u64::from(self.cycles)),
            ("acknowledged, SMTP and HTTP", self.acknowledged),
            ("pickup files taken", self.picked_up),
            ("campaign recipients taken", self.imported),
            ("in doubt", self.in_doubt),
            ("delivered", self.delivered),
            ("duplicates explained", self.duplicates),
            ("duplicates of a starved engine", self.starved),
            ("sent again on 4xx, twice", self.resent),
            ("recovery median, ms", self.recovery.median()),
            ("recovery max, ms", self.recovery.max()),
        ];
        rows.extend(self.also.iter().map(|(what, count)| (what.as_str(), *count)));
        rows.extend(self.faults().map(|(what, found)| (what, found.count)));
        let mut text = format!("{}\n", self.campaign);
        for (what, count) in rows {
            text.push_str(&format!("  {what:<34}{count:>10}\n"));
        }
        for (what, found) in self.faults() {
            for name in &found.first {
                text.push_str(&format!("  {what}: {name}\n"));
            }
        }
        text
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        let mut told = self.clone();
        told.recovery_median_ms = self.recovery.median();
        told.recovery_max_ms = self.recovery.max();
        serde_json::to_string(&told).unwrap_or_default()
    }
}
