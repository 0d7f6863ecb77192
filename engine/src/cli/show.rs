//! Answers of the engine as text.

use super::number::{date_time, grouped, kbytes, near};
use super::table::{Side, table};
use super::{status, why};
use crate::daemon::control::{
    DisabledRow, DomainRow, JobRow, LastError, Listing, Mode, QueueRow, ReloadReport, Reply, VmtaRow,
    WarmingRow,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write;

use Side::{Left, Right};

/// Who looks: the width of the screen, the time, the time zone.
pub struct View {
    /// Characters a line may have; `None` for any number, as in a pipe.
    pub width: Option<u16>,
    /// Unix milliseconds.
    pub now: i64,
    pub zone: TimeZone,
}

impl View {
    /// The terminal on standard output, now.
    pub fn of_terminal() -> View {
        View {
            width: comfy_table::Table::new().width(),
            now: Timestamp::now().as_millisecond(),
            zone: TimeZone::system(),
        }
    }
}

/// The answer as text, ending in a newline.
pub fn text(reply: &Reply, view: &View) -> String {
    match reply {
        Reply::Status(s) => status::text(s, view),
        Reply::Queues(list) => queues(list, view),
        Reply::Domains(list) => domains(list, view),
        Reply::Vmtas(list) => vmtas(list, view),
        Reply::Jobs(list) => jobs(list, view),
        Reply::Warming(list) => warming(list, view),
        Reply::DisabledSources(list) => disabled_sources(list, view),
        Reply::Why(report) => why::text(report, view),
        Reply::Reloaded(report) => reloaded(report),
        Reply::Done { message, .. } | Reply::Error { message } => format!("{message}\n"),
    }
}

/// What a reload has changed and what it could not.
fn reloaded(report: &ReloadReport) -> String {
    let mut out = String::new();
    for change in &report.changes {
        let _ = writeln!(out, "{change}");
    }
    let changes = if report.changes.is_empty() { "nothing has changed" } else { "in effect now" };
    let _ = writeln!(out, "{}: reloaded, {changes}.", report.file);
    for what in &report.restart {
        let _ = writeln!(out, "! {what}");
    }
    if report.held > 0 {
        let held =
            "queue(s) with mail have lost their virtual MTA or route; the mail is held (see `show queues`)";
        let _ = writeln!(out, "! {} {held}", report.held);
    }
    if report.keep_type > 0 {
        let _ = writeln!(out, "! {} queue(s) with mail keep their type until a restart", report.keep_type);
    }
    if report.notes > 0 {
        let _ =
            writeln!(out, "{} directive(s) in use are not in effect; check-config lists them.", report.notes);
    }
    out
}

fn queues(list: &Listing<QueueRow>, view: &View) -> String {
    let columns = [
        ("queue", Left),
        ("#rcpt", Right),
        ("kbytes", Right),
        ("conn", Right),
        ("mode", Left),
        ("retry", Right),
        ("last error", Left),
    ];
    let mut table = table(&columns, view.width);
    for row in &list.rows {
        table.add_row([
            row.name.clone(),
            grouped(row.rcpts),
            kbytes(row.bytes),
            row.connections.to_string(),
            mode(row).to_owned(),
            row.retry_at.map(|at| near(at, view.now, &view.zone)).unwrap_or_default(),
            reason(row),
        ]);
    }
    let errors = list.rows.iter().map(|row| (row.name.as_str(), &row.errors[..]));
    let shown = format!("{} of {} matching queues.", list.rows.len(), list.total);
    finish(&table.trim_fmt(), &shown, errors, view)
}

/// One word: paused says more than the mode it will resume in.
fn mode(row: &QueueRow) -> &'static str {
    match (row.paused, row.mode) {
        (true, _) => "paused",
        (false, Mode::Backoff) => "backoff",
        (false, _) if row.adaptive.as_ref().is_some_and(|adaptive| adaptive.eased) => "adaptive",
        (false, _) => "normal",
    }
}

/// The last error, or why nothing is sent.
fn reason(row: &QueueRow) -> String {
    match &row.last_error {
        Some(error) => error.text.clone(),
        None => row.waiting_for.clone(),
    }
}

fn domains(list: &Listing<DomainRow>, view: &View) -> String {
    let columns =
        [("domain", Left), ("#rcpt", Right), ("kbytes", Right), ("conn", Right), ("last error", Left)];
    let mut table = table(&columns, view.width);
    for row in &list.rows {
        table.add_row([
            row.name.clone(),
            grouped(row.rcpts),
            kbytes(row.bytes),
            row.connections.to_string(),
            row.last_error.as_ref().map(|e| e.text.clone()).unwrap_or_default(),
        ]);
    }
    let errors = list.rows.iter().map(|row| (row.name.as_str(), &row.errors[..]));
    let shown = format!("{} of {} domains shown.", list.rows.len(), list.total);
    finish(&table.trim_fmt(), &shown, errors, view)
}

fn vmtas(list: &Listing<VmtaRow>, view: &View) -> String {
    let columns = [
        ("name", Left),
        ("domains", Right),
        ("#rcpt", Right),
        ("% total", Right),
        ("kbytes", Right),
        ("conn", Right),
    ];
    let mut table = table(&columns, view.width);
    let all: u64 = list.rows.iter().map(|row| row.rcpts).sum();
    for row in &list.rows {
        let share = (row.rcpts as f64 * 100.0 / all.max(1) as f64).round();
        table.add_row([
            row.name.clone(),
            grouped(row.domains),
            grouped(row.rcpts),
            format!("{share}"),
            kbytes(row.bytes),
            row.connections.to_string(),
        ]);
    }
    let shown = format!("{} of {} virtual MTAs.", list.rows.len(), list.total);
    finish(&table.trim_fmt(), &shown, std::iter::empty(), view)
}

fn warming(list: &Listing<WarmingRow>, view: &View) -> String {
    let columns = [
        ("vmta", Left),
        ("domain", Left),
        ("day", Right),
        ("step", Right),
        ("today", Right),
        ("failed", Right),
        ("state", Left),
        ("why", Left),
    ];
    let mut table = table(&columns, view.width);
    for row in &list.rows {
        let failed = row.deferred + row.bounced;
        table.add_row([
            row.vmta.clone(),
            row.domain.clone(),
            row.day.to_string(),
            format!("{}/{}", row.step, row.steps),
            format!("{}/{}", grouped(row.given), grouped(row.limit)),
            format!("{}/{}", grouped(failed), grouped(row.delivered + failed)),
            row.state.clone(),
            row.why.clone(),
        ]);
    }
    let shown = format!("{} warm-up(s).", list.total);
    finish(&table.trim_fmt(), &shown, std::iter::empty(), view)
}

fn jobs(list: &Listing<JobRow>, view: &View) -> String {
    let columns = [
        ("job-id", Left),
        ("#rcpt", Right),
        ("kbytes", Right),
        ("delivered", Right),
        ("bounced", Right),
        ("deferrals", Right),
    ];
    let mut table = table(&columns, view.width);
    for row in &list.rows {
        table.add_row([
            row.name.clone(),
            grouped(row.rcpts),
            kbytes(row.bytes),
            grouped(row.delivered),
            grouped(row.bounced),
            grouped(row.deferrals),
        ]);
    }
    let shown = if list.total == list.rows.len() as u64 {
        format!("Total of {} job(s).", list.total)
    } else {
        format!("{} of {} jobs shown.", list.rows.len(), list.total)
    };
    finish(&table.trim_fmt(), &shown, std::iter::empty(), view)
}

fn disabled_sources(list: &Listing<DisabledRow>, view: &View) -> String {
    let columns = [("queue", Left), ("source", Left), ("since", Right), ("until", Right), ("reason", Left)];
    let mut table = table(&columns, view.width);
    for row in &list.rows {
        let until = row.until.map_or_else(|| "enabled".to_owned(), |at| near(at, view.now, &view.zone));
        let since = near(row.since, view.now, &view.zone);
        table.add_row([row.queue.clone(), row.address.clone(), since, until, row.reason.clone()]);
    }
    format!("{}\n\n{} disabled source(s).\n", table.trim_fmt(), list.total)
}

/// The table, the errors asked for below it, and how much of all it shows.
fn finish<'a>(
    table: &str,
    shown: &str,
    errors: impl Iterator<Item = (&'a str, &'a [LastError])>,
    view: &View,
) -> String {
    let mut text = format!("{table}\n");
    for (name, errors) in errors.filter(|(_, errors)| !errors.is_empty()) {
        let _ = writeln!(text, "\n{name}");
        for error in errors {
            let _ = writeln!(text, "  {} {}", date_time(error.at, &view.zone), error.text);
        }
    }
    let _ = writeln!(text, "\n{shown}");
    text
}
