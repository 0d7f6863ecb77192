//! Looks at the engine's queues while a demonstration runs, and tells when it is over.

use super::demo::{DemoView, ProviderRow};
use super::demo_campaign::NAME;
use super::demo_end::Ended;
use super::demo_ground::Ground;
use super::demo_providers::{PROVIDERS, Provider};
use super::number::grouped;
use crate::daemon::answer::Answerer;
use crate::shard::QueuePattern;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The time over which the present rate is taken.
const RATE_OVER: Duration = Duration::from_secs(3);

/// The import's report, as far as it is shown.
#[derive(Clone, Debug, Deserialize)]
pub struct Import {
    pub started: String,
    pub finished: String,
    pub read: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
}

impl Import {
    /// How long the import took.
    pub fn took(&self) -> Duration {
        let at = |text: &str| text.parse::<Timestamp>().map_or(0, Timestamp::as_millisecond);
        Duration::from_millis(u64::try_from(at(&self.finished) - at(&self.started)).unwrap_or(0))
    }

    /// In one line.
    pub fn text(&self) -> String {
        format!(
            "Imported in {:.1} s: {} rows, {} recipients, {} duplicates dropped, {} rejected.",
            self.took().as_secs_f64(),
            grouped(self.read),
            grouped(self.accepted),
            grouped(self.duplicates),
            grouped(self.rejected)
        )
    }
}

/// What was seen so far.
pub struct Watch {
    /// In the order of [`PROVIDERS`].
    rows: Vec<ProviderRow>,
    /// Times and deliveries by provider, the latest last.
    past: VecDeque<(Duration, Vec<u64>)>,
    report: PathBuf,
    bad: PathBuf,
    /// Known once the import has ended.
    pub import: Option<Import>,
}

impl Watch {
    /// `totals`: recipients of each provider.
    pub fn new(ground: &Ground, totals: &[u64]) -> Watch {
        let row = |(provider, total): (&Provider, &u64)| ProviderRow {
            name: provider.name.to_owned(),
            total: *total,
            ..ProviderRow::default()
        };
        Watch {
            rows: PROVIDERS.iter().zip(totals).map(row).collect(),
            past: VecDeque::new(),
            report: ground.path("reports").join(format!("{NAME}.report.json")),
            bad: ground.path("bad").join(format!("{NAME}.campaign.reason")),
            import: None,
        }
    }

    /// Brings the display up to date; says so when it is over.
    pub async fn look(
        &mut self,
        answerer: &Answerer,
        view: &mut DemoView,
        elapsed: Duration,
    ) -> Option<Ended> {
        if self.import.is_none() {
            if let Ok(reason) = fs::read_to_string(&self.bad) {
                return Some(Ended::Failed(format!("the campaign was rejected: {}", reason.trim_end())));
            }
            // Not there yet, or not whole yet.
            self.import = fs::read(&self.report).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            self.import.iter().for_each(|import| view.note(&import.text()));
        }
        let Ok(states) = answerer.states(&QueuePattern::all()).await else {
            return Some(Ended::Interrupted);
        };
        for (row, provider) in self.rows.iter_mut().zip(&PROVIDERS) {
            let queues = || states.iter().filter(|state| *state.name.domain == *provider.domain);
            row.sent = queues().map(|queue| queue.delivered).sum();
            row.bounced = queues().map(|queue| queue.bounced).sum();
            row.deferred = queues().map(|queue| queue.deferrals).sum();
        }
        self.rate(elapsed);
        view.update(&self.rows, elapsed);
        let done: u64 = self.rows.iter().map(|row| row.sent + row.bounced).sum();
        self.import.as_ref().filter(|import| done >= import.accepted).map(|_| Ended::Complete)
    }

    fn rate(&mut self, elapsed: Duration) {
        let sent = self.rows.iter().map(|row| row.sent).collect();
        self.past.push_back((elapsed, sent));
        while self.past.len() > 2 && elapsed.saturating_sub(self.past[1].0) >= RATE_OVER {
            self.past.pop_front();
        }
        let (then, before) = &self.past[0];
        let seconds = elapsed.saturating_sub(*then).as_secs_f64();
        for (row, before) in self.rows.iter_mut().zip(before) {
            row.rate = if seconds > 0.0 { (row.sent - before) as f64 / seconds } else { 0.0 };
        }
    }
}
