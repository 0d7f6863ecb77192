//! `why` as text: the conclusion first, then the recipient, the queue, and the settings that decide.

use super::number::{date_time, grouped, near};
use super::show::View;
use super::table::{Side, table};
use crate::daemon::control::{AdaptiveStep, Backoff, WhyQueue, WhyRecipient, WhyReport};
use std::fmt::Write;

/// The whole answer.
pub fn text(report: &WhyReport, view: &View) -> String {
    let mut out = format!("{}\n{}\n", report.subject, report.summary);
    for recipient in &report.recipients {
        out.push_str(&recipient_text(recipient, view));
    }
    for queue in &report.queues {
        out.push_str(&queue_text(queue, view));
    }
    out
}

/// A line `  name: value`, nothing for an empty value.
fn fact(out: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(out, "  {name:<14}{value}");
    }
}

fn recipient_text(r: &WhyRecipient, view: &View) -> String {
    let mut out = format!("\nRecipient {}\n", r.address);
    fact(&mut out, "state", &r.state);
    fact(&mut out, "job", &r.job);
    fact(&mut out, "queue", &r.queue);
    fact(&mut out, "accepted", &date_time(r.accepted_at, &view.zone));
    fact(&mut out, "attempts", &r.attempts.to_string());
    fact(
        &mut out,
        "next attempt",
        &r.next_attempt_at.map(|at| near(at, view.now, &view.zone)).unwrap_or_default(),
    );
    fact(&mut out, "last reply", &r.last_reply);
    out
}

fn queue_text(q: &WhyQueue, view: &View) -> String {
    let row = &q.row;
    let mut out = format!("\nQueue {}\n", row.name);
    let paused = if row.paused { ", paused by the operator" } else { "" };
    let mode = match &row.backoff {
        Some(Backoff { since, .. }) => format!("backoff since {}", near(*since, view.now, &view.zone)),
        None if row.adaptive.as_ref().is_some_and(|adaptive| adaptive.eased) => "adaptive".to_owned(),
        None => "normal".to_owned(),
    };
    fact(&mut out, "mode", &format!("{mode}{paused}"));
    if let Some(backoff) = &row.backoff {
        fact(&mut out, "because", &backoff.reason);
        let end = backoff.until.map(|at| near(at, view.now, &view.zone));
        fact(
            &mut out,
            "until",
            &end.unwrap_or_else(|| "a reply, a delivery or the operator ends it".to_owned()),
        );
    }
    if let Some(adaptive) = &row.adaptive {
        fact(&mut out, "eased to", &adaptive.ceiling);
        for AdaptiveStep { at, direction, to, cause } in &adaptive.steps {
            let at = date_time(*at, &view.zone);
            fact(&mut out, &format!("step {direction}"), &format!("{at} to {to}: {cause}"));
        }
    }
    for source in &q.disabled_sources {
        let end = source.until.map_or_else(|| "enabled".to_owned(), |at| near(at, view.now, &view.zone));
        fact(&mut out, "not used", &format!("{} until {end}: {}", source.address, source.reason));
    }
    fact(&mut out, "recipients", &grouped(row.rcpts));
    fact(&mut out, "connections", &row.connections.to_string());
    fact(&mut out, "waiting for", &row.waiting_for);
    fact(&mut out, "retry at", &row.retry_at.map(|at| near(at, view.now, &view.zone)).unwrap_or_default());
    if let Some(error) = &row.last_error {
        fact(&mut out, "last error", &format!("{} {}", date_time(error.at, &view.zone), error.text));
    }
    if !q.settings.is_empty() {
        let columns = [("setting", Side::Left), ("value", Side::Left), ("from", Side::Left)];
        let mut table = table(&columns, view.width);
        for setting in &q.settings {
            table.add_row([&setting.directive, &setting.value, &setting.origin]);
        }
        let _ = writeln!(out, "\n{}", table.trim_fmt());
    }
    out
}
