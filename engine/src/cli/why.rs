//! `why` as text: the conclusion first, then the recipient, the queue, and the settings that decide.

use super::number::{date_time, grouped, near};
use super::show::View;
use super::table::{Side, table};
use crate::daemon::ceiling;
use crate::daemon::control::{
    AdaptiveStep, Backoff, Estimate, Limit, Setting, WhyQueue, WhyRecipient, WhyReport,
};
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
    fact(&mut out, "expected", &expected(&r.estimate, "", view));
    fact(&mut out, "last reply", &r.last_reply);
    out
}

/// When, and what that rests on.
fn expected(estimate: &Estimate, what: &str, view: &View) -> String {
    let rests_on = &estimate.rests_on;
    match estimate.at {
        Some(at) => format!("{what}{} ({rests_on})", near(at, view.now, &view.zone)),
        None => rests_on.clone(),
    }
}

/// Every limit that counts; the least of its kind has a star.
fn limits(limits: &[Limit], view: &View) -> String {
    let columns = [
        ("limit", Side::Left),
        ("value", Side::Left),
        ("comes to", Side::Left),
        ("of", Side::Left),
        ("from", Side::Left),
    ];
    let mut table = table(&columns, view.width);
    for limit in limits {
        let star = if limit.binds { " *" } else { "" };
        let comes_to = match (limit.per_hour, limit.connections) {
            (Some(per_hour), _) => ceiling::per(per_hour),
            (None, Some(1)) => "1 connection".to_owned(),
            (None, Some(count)) => format!("{} connections", grouped(count)),
            (None, None) => "-".to_owned(),
        };
        table.add_row([
            &format!("{}{star}", limit.directive),
            &limit.value,
            &comes_to,
            &limit.of,
            &limit.origin,
        ]);
    }
    table.trim_fmt()
}

/// What counts at present, for `explain`.
pub fn present(q: &WhyQueue, view: &View) -> String {
    let mut out = String::new();
    mode(&mut out, q, view);
    fact(&mut out, "ceiling", &q.ceiling);
    fact(&mut out, "waiting for", &q.row.waiting_for);
    out + "\n" + &limits(&q.limits, view) + "\n"
}

fn mode(out: &mut String, q: &WhyQueue, view: &View) {
    let row = &q.row;
    let paused = if row.paused { ", paused by the operator" } else { "" };
    let mode = match &row.backoff {
        Some(Backoff { since, .. }) => format!("backoff since {}", near(*since, view.now, &view.zone)),
        None if row.adaptive.as_ref().is_some_and(|adaptive| adaptive.eased) => "adaptive".to_owned(),
        None => "normal".to_owned(),
    };
    fact(out, "mode", &format!("{mode}{paused}"));
    if let Some(backoff) = &row.backoff {
        fact(out, "because", &backoff.reason);
        let end = backoff.until.map(|at| near(at, view.now, &view.zone));
        fact(out, "until", &end.unwrap_or_else(|| "a reply, a delivery or the operator ends it".to_owned()));
    }
    if let Some(adaptive) = &row.adaptive {
        fact(out, "eased to", &adaptive.ceiling);
        for AdaptiveStep { at, direction, to, cause } in &adaptive.steps {
            let at = date_time(*at, &view.zone);
            fact(out, &format!("step {direction}"), &format!("{at} to {to}: {cause}"));
        }
    }
}

fn queue_text(q: &WhyQueue, view: &View) -> String {
    let row = &q.row;
    let mut out = format!("\nQueue {}\n", row.name);
    mode(&mut out, q, view);
    for source in &q.disabled_sources {
        let end = source.until.map_or_else(|| "enabled".to_owned(), |at| near(at, view.now, &view.zone));
        fact(&mut out, "not used", &format!("{} until {end}: {}", source.address, source.reason));
    }
    fact(&mut out, "recipients", &grouped(row.rcpts));
    fact(&mut out, "connections", &row.connections.to_string());
    fact(&mut out, "waiting for", &row.waiting_for);
    if let Some(Setting { directive, value, origin }) = &q.limited_by {
        fact(&mut out, "by", &format!("{directive} {value}, {origin}"));
    }
    fact(&mut out, "ceiling", &q.ceiling);
    fact(&mut out, "expected", &expected(&q.estimate, "all gone at ", view));
    if let Some(w) = &q.warming {
        let today = format!("{} of {} today", grouped(w.given), grouped(w.limit));
        fact(&mut out, "warm-up", &format!("step {} of {}, {today}; {} {}", w.step, w.steps, w.state, w.why));
    }
    fact(&mut out, "retry at", &row.retry_at.map(|at| near(at, view.now, &view.zone)).unwrap_or_default());
    if let Some(error) = &row.last_error {
        fact(&mut out, "last error", &format!("{} {}", date_time(error.at, &view.zone), error.text));
    }
    if !q.limits.is_empty() {
        let _ = writeln!(out, "\n{}", limits(&q.limits, view));
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
