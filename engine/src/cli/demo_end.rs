//! The end of a demonstration: what the providers, the import's report and the accounting files say, side by side.

use super::demo::{DemoSummary, ProviderRow, SummaryRow};
use super::demo_accounting::Lines;
use super::demo_campaign::Written;
use super::demo_ground::Ground;
use super::demo_providers::{PROVIDERS, Provider, VMTAS, seen};
use super::demo_watch::Import;
use super::number::grouped;
use bench::site::SiteStats;
use std::time::Duration;

/// Why the watching ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All recipients have their outcome.
    Complete,
    /// By the user.
    Interrupted,
    Failed(String),
}

/// What the exit status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Good,
    Interrupted,
    Bad,
}

/// Everything that is known once all has stopped.
pub struct End<'a> {
    pub ground: &'a Ground,
    pub ended: Ended,
    /// From the handing in.
    pub took: Duration,
    pub written: &'a Written,
    pub import: Option<Import>,
    pub lines: Lines,
    pub stats: SiteStats,
}

impl End<'_> {
    /// The summary, and whether all is as it has to be.
    pub fn tell(self) -> (DemoSummary, Outcome) {
        let mut notes = Vec::new();
        let mut good = true;
        let mut check = |(right, note): (bool, String)| {
            good &= right;
            notes.push(note);
        };
        if let Ended::Failed(why) = &self.ended {
            check((false, format!("Failed: {why}")));
        }
        if let Some(import) = &self.import {
            check((true, import.text()));
        }
        check(self.limits());
        check(self.accounting());
        check(self.received());
        if !self.lines.categories.is_empty() {
            let categories: Vec<String> =
                self.lines.categories.iter().map(|(name, n)| format!("{name} {}", grouped(*n))).collect();
            notes.push(format!("Bounces: {}.", categories.join(", ")));
        }
        if self.ended == Ended::Interrupted {
            let spool = self.ground.path("spool");
            notes.push(format!("Spool: {}", spool.display()));
        }
        notes.push(format!("Log: {}", self.ground.path("log").display()));
        let outcome = match (&self.ended, good) {
            (Ended::Interrupted, true) => Outcome::Interrupted,
            (Ended::Complete, true) => Outcome::Good,
            _ => Outcome::Bad,
        };
        let summary = DemoSummary {
            rows: self.rows(),
            took: self.took,
            interrupted: self.ended == Ended::Interrupted,
            accounting: self.lines.files.clone(),
            notes,
        };
        (summary, outcome)
    }

    /// By the accounting files: what was under way when the display ended is in them.
    fn rows(&self) -> Vec<SummaryRow> {
        let row = |(provider, total): (&Provider, &u64)| {
            let stats = self.stats.door(provider.domain).cloned().unwrap_or_default();
            let [sent, bounced, deferred] =
                self.lines.domains.get(provider.domain).copied().unwrap_or_default();
            let name = provider.name.to_owned();
            let row = ProviderRow { name, total: *total, sent, deferred, bounced, rate: 0.0 };
            SummaryRow { row, ..seen(provider, &stats) }
        };
        PROVIDERS.iter().zip(&self.written.recipients).map(row).collect()
    }

    /// Limits, as the providers counted. The peak is told and not judged: a provider that gets no processor for a moment
    /// reads late, and counts in one second what was sent in two.
    fn limits(&self) -> (bool, String) {
        let exceeded = |row: &&SummaryRow| row.connections.0 > row.connections.1;
        let rows = self.rows();
        let names: Vec<&str> = rows.iter().filter(exceeded).map(|row| row.row.name.as_str()).collect();
        let vmtas = VMTAS.len();
        if names.is_empty() {
            (
                true,
                format!("Limits and the most that was counted are those of one of the {vmtas} virtual MTAs."),
            )
        } else {
            (false, format!("MORE CONNECTIONS than max-smtp-out, as counted by {}.", names.join(", ")))
        }
    }

    /// Accounting against the import.
    fn accounting(&self) -> (bool, String) {
        let Lines { delivered, bounced, transient, .. } = self.lines;
        let text = format!(
            "Accounting files: {} d + {} b = {} lines ({} t, tq)",
            grouped(delivered),
            grouped(bounced),
            grouped(delivered + bounced),
            grouped(transient)
        );
        let accepted = self.import.as_ref().map(|import| import.accepted);
        match (accepted, &self.ended) {
            (Some(accepted), Ended::Complete) if accepted == self.lines.settled() => {
                (true, format!("{text}, one for each recipient accepted."))
            }
            (Some(accepted), Ended::Complete) => {
                (false, format!("{text}, BUT {} recipients were accepted.", grouped(accepted)))
            }
            _ => {
                let all: u64 = self.written.recipients.iter().sum();
                let left = all.saturating_sub(self.lines.settled());
                (true, format!("{text}; {} recipients have no outcome yet.", grouped(left)))
            }
        }
    }

    /// Accounting against the providers: a recipient more than there are `d` lines would be one whose `250` was lost.
    fn received(&self) -> (bool, String) {
        let (received, delivered) = (self.stats.recipients(), self.lines.delivered);
        let right = received == delivered || (self.ended != Ended::Complete && received >= delivered);
        let word = if received == delivered { "as many" } else { "not as many" };
        (
            right,
            format!(
                "The providers took mail for {} recipients, {word} as there are d lines.",
                grouped(received)
            ),
        )
    }
}
