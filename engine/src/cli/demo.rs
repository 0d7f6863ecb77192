//! What `demo` shows: a bar per mailbox provider while the campaign runs, and a table at its end.
//!
//! The view is fed with numbers and knows nothing of where they come from. On something that is no terminal it
//! prints a line every few seconds instead of bars.

use super::number::{grouped, span};
use super::print;
use super::table::{Side, table};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Where one provider stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProviderRow {
    pub name: String,
    /// Recipients at this provider.
    pub total: u64,
    /// Delivered.
    pub sent: u64,
    /// Attempts put off by the provider, retries included.
    pub deferred: u64,
    /// Given up.
    pub bounced: u64,
    /// Deliveries a second at present.
    pub rate: f64,
}

impl ProviderRow {
    /// Recipients with a final outcome.
    pub fn done(&self) -> u64 {
        (self.sent + self.bounced).min(self.total)
    }

    /// Time until all are done at the present rate; none while nothing moves.
    pub fn time_left(&self) -> Option<Duration> {
        let left = (self.total - self.done()) as f64;
        let seconds = left / self.rate;
        (left > 0.0 && self.rate > 0.01 && seconds < 1e7).then(|| Duration::from_secs_f64(seconds))
    }

    /// All providers together.
    fn sum(rows: &[ProviderRow]) -> ProviderRow {
        rows.iter().fold(ProviderRow { name: "all".into(), ..ProviderRow::default() }, |mut sum, row| {
            sum.total += row.total;
            sum.sent += row.sent;
            sum.deferred += row.deferred;
            sum.bounced += row.bounced;
            sum.rate += row.rate;
            sum
        })
    }

    /// The text to the right of the bar; 54 characters at 100,000 recipients, so that a line fits 80.
    fn text(&self) -> String {
        let left = match self.time_left() {
            Some(left) => format!("{} left", span(left)),
            None if self.done() == self.total => "done".into(),
            None => String::new(),
        };
        format!(
            "{:>7} sent {:>6} def {:>5} bnc {:>6}/s {left}",
            grouped(self.sent),
            grouped(self.deferred),
            grouped(self.bounced),
            grouped(self.rate.round() as u64)
        )
    }
}

/// The live display.
pub struct DemoView {
    screen: MultiProgress,
    bars: Vec<ProgressBar>,
    is_terminal: bool,
    last_line: Option<Duration>,
}

impl DemoView {
    /// A display on standard error, which leaves standard output to the summary.
    pub fn new() -> DemoView {
        DemoView {
            screen: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)),
            bars: Vec::new(),
            is_terminal: std::io::stderr().is_terminal(),
            last_line: None,
        }
    }

    /// Shows the present state; `elapsed` since the start. Call it a few times a second.
    pub fn update(&mut self, rows: &[ProviderRow], elapsed: Duration) {
        let all = ProviderRow::sum(rows);
        if !self.is_terminal {
            let due = self.last_line.is_none_or(|last| elapsed >= last + LINE_EVERY);
            if due {
                self.last_line = Some(elapsed);
                eprintln!("{}", plain_line(&all, elapsed));
            }
            return;
        }
        while self.bars.len() <= rows.len() {
            self.bars.push(self.screen.add(new_bar()));
        }
        for (bar, row) in self.bars.iter().zip(rows.iter().chain([&all])) {
            bar.set_length(row.total.max(1));
            bar.set_prefix(short(&row.name));
            bar.set_message(row.text());
            bar.set_position(row.done());
        }
    }

    /// Writes a line above the bars.
    pub fn note(&self, line: &str) {
        if self.is_terminal {
            // A terminal that cannot be written to has nobody in front of it.
            let _ = self.screen.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// Takes the bars away and prints the summary.
    pub fn finish(self, summary: &DemoSummary, json: bool) {
        // Before anything else is written: bars that are still there are drawn once more when they are dropped.
        for bar in &self.bars {
            bar.finish_and_clear();
        }
        // As above.
        let _ = self.screen.clear();
        print(&if json { summary.json() } else { summary.text() });
    }
}

impl Default for DemoView {
    fn default() -> DemoView {
        DemoView::new()
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::new(1);
    if let Ok(style) = ProgressStyle::with_template("{prefix:<9} {bar:14.green/dim} {msg}") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}

/// The first nine characters, which is what the column holds.
fn short(name: &str) -> String {
    name.chars().take(9).collect()
}

fn plain_line(all: &ProviderRow, elapsed: Duration) -> String {
    let percent = all.done() * 100 / all.total.max(1);
    format!("{} {percent:>3}% {}", span(elapsed), all.text())
}

/// What one provider saw in the end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SummaryRow {
    pub row: ProviderRow,
    /// Most connections at a time from one source address, as the provider counted, and the limit.
    pub connections: (u64, u64),
    /// Most attempts from one source address in any window of one second, as the provider counted, and the limit.
    pub peak: (u64, u64),
    /// Time from the first to the last delivery.
    pub took: Duration,
}

/// The end of a demo.
#[derive(Clone, Debug, Default)]
pub struct DemoSummary {
    pub rows: Vec<SummaryRow>,
    pub took: Duration,
    /// Whether it was ended by Ctrl-C.
    pub interrupted: bool,
    pub accounting: Vec<PathBuf>,
    /// Further things worth saying, a line each.
    pub notes: Vec<String>,
}

impl DemoSummary {
    /// Table, totals, and where the accounting files are.
    pub fn text(&self) -> String {
        let columns = [
            ("provider", Side::Left),
            ("recipients", Side::Right),
            ("sent", Side::Right),
            ("deferred", Side::Right),
            ("bounced", Side::Right),
            ("msg/s", Side::Right),
            ("conn.", Side::Right),
            ("peak/s", Side::Right),
        ];
        let mut table = table(&columns, None);
        for row in &self.rows {
            let of = |(most, limit)| format!("{most} of {limit}");
            table.add_row(cells(&row.row, row.took, of(row.connections), of(row.peak)));
        }
        let rows: Vec<ProviderRow> = self.rows.iter().map(|r| r.row.clone()).collect();
        let all = ProviderRow::sum(&rows);
        table.add_row(cells(&all, self.took, String::new(), String::new()));
        let mut text = format!("\n{}\n\n", table.trim_fmt());
        let verb = if self.interrupted { "Interrupted after" } else { "Finished in" };
        text += &format!(
            "{verb} {}: {} of {} recipients have their outcome.\n",
            span(self.took),
            grouped(all.done()),
            grouped(all.total)
        );
        for note in &self.notes {
            text += &format!("{note}\n");
        }
        for (i, file) in self.accounting.iter().enumerate() {
            text += &format!("{} {}\n", if i == 0 { "Accounting:" } else { "           " }, file.display());
        }
        text
    }

    /// The same for programs.
    pub fn json(&self) -> String {
        let value = json!({
            "providers": self.rows.iter().map(row_json).collect::<Vec<_>>(),
            "seconds": self.took.as_secs_f64(),
            "interrupted": self.interrupted,
            "notes": self.notes,
            "accounting": self.accounting.iter().map(|f| f.display().to_string()).collect::<Vec<_>>(),
        });
        format!("{value:#}\n")
    }
}

fn row_json(row: &SummaryRow) -> serde_json::Value {
    let SummaryRow { row, connections, peak, took } = row;
    json!({
        "provider": row.name,
        "recipients": row.total,
        "sent": row.sent,
        "deferred": row.deferred,
        "bounced": row.bounced,
        "most_connections": connections.0,
        "max_smtp_out": connections.1,
        "most_in_a_second": peak.0,
        "max_msg_rate": peak.1,
        "seconds": took.as_secs_f64(),
    })
}

fn cells(row: &ProviderRow, took: Duration, connections: String, peak: String) -> [String; 8] {
    let rate = row.sent as f64 / took.as_secs_f64().max(0.001);
    [
        row.name.clone(),
        grouped(row.total),
        grouped(row.sent),
        grouped(row.deferred),
        grouped(row.bounced),
        grouped(rate.round() as u64),
        connections,
        peak,
    ]
}
