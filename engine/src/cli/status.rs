//! `show status` as text, in the layout operators know (reference 7.2).

use super::number::{date_time, kbytes, span};
use super::show::View;
use crate::daemon::control::{Connections, Status, Traffic, Waiting};
use std::fmt::Write;
use std::time::Duration;

/// The whole screen.
pub fn text(s: &Status, view: &View) -> String {
    let mut out = format!(
        "Posthaste {} status on {} on {}\n\n",
        s.version,
        s.host,
        date_time(if s.now == 0 { view.now } else { s.now }, &view.zone)
    );
    traffic(s, &mut out);
    connections(s, &mut out);
    queues(s, &mut out);
    let uptime = Duration::from_millis(u64::try_from(s.now.saturating_sub(s.started_at)).unwrap_or(0));
    let _ = writeln!(
        out,
        "     Status {:>10}    Started  {}    Uptime  {}",
        s.state,
        date_time(s.started_at, &view.zone),
        span(uptime)
    );
    if s.spool.in_doubt > 0 {
        let _ = writeln!(
            out,
            "\n   In doubt {:>10}    sent and never answered; each may arrive twice",
            s.spool.in_doubt
        );
    }
    for alarm in &s.alarms {
        let _ = writeln!(out, "\n  ! {alarm}");
    }
    out
}

fn traffic(s: &Status, out: &mut String) {
    out.push_str("  Traffic    ------------inbound------------  ------------outbound-----------\n");
    out.push_str("                 rcpts      msgs      kbytes      rcpts      msgs      kbytes\n");
    let (i, o) = (&s.inbound, &s.outbound);
    for (name, i, o) in [
        ("Total", &i.total, &o.total),
        ("Last Hour", &i.last_hour, &o.last_hour),
        ("Top/Hour", &i.top_hour, &o.top_hour),
        ("Last Min.", &i.last_minute, &o.last_minute),
        ("Top/Min.", &i.top_minute, &o.top_minute),
    ] {
        let _ = writeln!(out, "{name:>11} {} {}", amount(i), amount(o));
    }
    out.push('\n');
}

fn amount(t: &Traffic) -> String {
    format!("{:>10}{:>10}{:>12}", t.rcpts, t.msgs, kbytes(t.bytes))
}

fn connections(s: &Status, out: &mut String) {
    out.push_str(" Connections    active       top     maximum  Domain       cached     pending\n");
    let line = |name: &str, c: &Connections| {
        let maximum = if c.maximum == 0 { "unlimited".to_owned() } else { c.maximum.to_string() };
        format!("{name:>11} {:>10}{:>10}{maximum:>12}", c.active, c.top)
    };
    let names = format!("  Names    {:>10}  {:>10}", s.names_cached, s.names_pending);
    let _ = writeln!(out, "{}{names}", line("Inbound", &s.connections_in));
    let _ = writeln!(out, "{}\n", line("Outbound", &s.connections_out));
}

fn queues(s: &Status, out: &mut String) {
    out.push_str("     Queues      rcpts   domains      kbytes  Spool        in use    recycled\n");
    let line = |name: &str, w: &Waiting| {
        format!("{name:>11} {:>10}{:>10}{:>12}", w.rcpts, w.domains, kbytes(w.bytes))
    };
    let spool = format!("  Segments {:>10}  {:>10}", s.spool.segments_used, s.spool.segments_free);
    let _ = writeln!(out, "{}{spool}", line("SMTP", &s.smtp_queues));
    let ready = if s.spool.recovered { "complete" } else { "running" };
    let _ = writeln!(out, "{}  Init.    {:>22}", line("other", &s.other_queues), ready);
    let _ = writeln!(out, "{:>44}  Writes   {:>22}\n", "", s.spool.back_end);
}
