//! The command line as a person types and reads it.

use super::args::Cli;
use super::demo::{DemoSummary, ProviderRow, SummaryRow};
use super::show::{View, text};
use crate::daemon::control::*;
use clap::{CommandFactory, Parser};
use jiff::tz::TimeZone;
use std::time::Duration;

const NOW: i64 = 1_536_574_579_000; // 2018-09-10 10:16:19 UTC

fn view() -> View {
    View { width: Some(80), now: NOW, zone: TimeZone::UTC }
}

fn request(line: &str) -> Option<Request> {
    let words = line.split_whitespace();
    Cli::try_parse_from(std::iter::once("posthaste").chain(words))
        .unwrap_or_else(|e| panic!("{e}"))
        .command
        .request()
}

fn refused(line: &str) -> String {
    Cli::try_parse_from(std::iter::once("posthaste").chain(line.split_whitespace())).unwrap_err().to_string()
}

/// Every line fits the width, and no line ends in blanks.
fn assert_fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} characters: {line}", line.chars().count());
        assert_eq!(line.trim_end(), line);
    }
}

#[test]
fn the_command_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn commands_become_requests() {
    assert_eq!(request("show status"), Some(Request::Status));
    assert_eq!(
        request("show queues --paused --mode=backoff --maxitems=5 *.example/vmta1"),
        Some(Request::Queues(QueueQuery {
            pattern: "*.example/vmta1".into(),
            paused: Some(true),
            mode: Some(Mode::Backoff),
            max_items: 5,
            ..QueueQuery::default()
        }))
    );
    assert_eq!(
        request("show topqueues --connected=no --errors"),
        Some(Request::Queues(QueueQuery {
            connected: Some(false),
            errors: true,
            sort: Sort::Rcpt,
            max_items: 20,
            ..QueueQuery::default()
        }))
    );
    assert_eq!(request("show jobs --json"), Some(Request::Jobs(ListQuery::default())));
    assert_eq!(request("pause queue a.example"), Some(Request::PauseQueue { queue: "a.example".into() }));
    assert_eq!(request("resume queue */*"), Some(Request::ResumeQueue { queue: "*/*".into() }));
    assert_eq!(
        request("delete --jobId=spring --rcpt a@b.example --no-accounting"),
        Some(Request::Delete(DeleteQuery {
            job: Some("spring".into()),
            rcpt: Some("a@b.example".into()),
            quiet: true,
            ..DeleteQuery::default()
        }))
    );
    assert_eq!(request("why a@b.example"), Some(Request::Why { what: "a@b.example".into() }));
    assert_eq!(
        request("set queue --mode=normal a.example/v1"),
        Some(Request::SetMode { queue: "a.example/v1".into(), mode: Mode::Normal })
    );
    assert_eq!(
        request("disable source --reenable-after=1h30m 192.0.2.1 */v1"),
        Some(Request::DisableSource {
            queue: "*/v1".into(),
            address: [192, 0, 2, 1].into(),
            reenable_after: Some(5400)
        })
    );
    assert_eq!(
        request("enable source 2001:db8::1 a.example"),
        Some(Request::EnableSource { queue: "a.example".into(), address: "2001:db8::1".parse().unwrap() })
    );
    assert_eq!(request("show disabled sources"), Some(Request::DisabledSources { queue: String::new() }));
    assert_eq!(request("rotate acct"), Some(Request::RotateAcct { file: None }));
    for elsewhere in ["run --config x", "check-config --lenient x", "demo", "send news.campaign"] {
        assert_eq!(request(elsewhere), None, "{elsewhere}");
    }
}

#[test]
fn mistakes_are_explained() {
    assert!(refused("delete --rcpt a@b").contains("--queue"));
    assert!(refused("set queue a.example").contains("--mode"));
    let unit = refused("disable source --reenable-after=10 192.0.2.1 a.example");
    assert!(unit.contains("10s, 10m, 10h or 10d"), "{unit}");
    assert!(refused("show queues --paused=maybe").contains("write yes or no"));
    assert!(refused("pause a.example").contains("unrecognized subcommand 'a.example'"));
}

fn queue(name: &str, rcpts: u64) -> QueueRow {
    QueueRow { name: name.into(), rcpts, bytes: rcpts * 2048, connections: 3, ..QueueRow::default() }
}

#[test]
fn queues_in_eighty_columns() {
    let mut waiting = queue("gmail.example/vmta1", 1_234_567);
    waiting.mode = Mode::Backoff;
    waiting.retry_at = Some(NOW + 60_000);
    waiting.last_error = Some(LastError { at: NOW, text: "smtp;421 4.7.0 slow down".into() });
    waiting.errors = vec![LastError { at: NOW, text: "smtp;421 4.7.0 slow down".into() }];
    let mut paused = queue("orange.example/vmta1", 2);
    paused.paused = true;
    paused.waiting_for = "operator".into();
    let reply = Reply::Queues(Listing { rows: vec![waiting, paused], total: 12 });
    let shown = text(&reply, &view());
    assert_fits(&shown);
    assert_eq!(
        shown,
        "\
queue                     #rcpt     kbytes  conn  mode        retry  last error
───────────────────── ────────── ────────── ───── ──────── ───────── ───────────
gmail.example/vmta1   1,234,567  2469134.0     3  backoff  10:17:19  smtp;421
                                                                     4.7.0 slow
                                                                     down
orange.example/vmta1          2        4.0     3  paused             operator

gmail.example/vmta1
  2018-09-10 10:16:19 smtp;421 4.7.0 slow down

2 of 12 matching queues.
"
    );
}

#[test]
fn other_lists() {
    let vmta =
        |name: &str, rcpts| VmtaRow { name: name.into(), domains: 13, rcpts, bytes: 100, connections: 16 };
    let shown =
        text(&Reply::Vmtas(Listing { rows: vec![vmta("vmta1", 75), vmta("vmta2", 25)], total: 2 }), &view());
    assert_fits(&shown);
    assert!(shown.contains("75") && shown.ends_with("\n2 of 2 virtual MTAs.\n"), "{shown}");
    let job = JobRow {
        name: "weeklyNews22100".into(),
        rcpts: 431,
        bytes: 1_266_586,
        delivered: 99_569,
        ..JobRow::default()
    };
    let shown = text(&Reply::Jobs(Listing { rows: vec![job], total: 1 }), &view());
    assert!(
        shown.contains("weeklyNews22100") && shown.contains("1236.9") && shown.contains("99,569"),
        "{shown}"
    );
    assert!(shown.ends_with("\nTotal of 1 job(s).\n"));
    let none = text(&Reply::Domains(Listing::default()), &view());
    assert!(none.ends_with("\n0 of 0 domains shown.\n"), "{none}");
}

#[test]
fn the_status_screen() {
    let mut status = Status {
        version: "0.1.0".into(),
        host: "mail.example".into(),
        state: "running".into(),
        now: NOW,
        started_at: NOW - 1_201_000,
        alarms: vec!["accounting stalled: /var/log: no space left".into()],
        ..Status::default()
    };
    status.outbound.total = Traffic { rcpts: 939_430, msgs: 939_430, bytes: 35_380_006_093 };
    status.connections_out = Connections { active: 10_000, top: 10_000, maximum: 10_000 };
    status.spool =
        SpoolStatus { back_end: "uring".into(), segments_used: 7, recovered: true, ..SpoolStatus::default() };
    let shown = text(&Reply::Status(Box::new(status)), &view());
    assert_fits(&shown);
    assert!(shown.starts_with("Posthaste 0.1.0 status on mail.example on 2018-09-10 10:16:19\n"), "{shown}");
    assert!(
        shown.contains("Total          0         0         0.0     939430    939430  34550787.2"),
        "{shown}"
    );
    assert!(shown.contains("   Outbound      10000     10000       10000\n"), "{shown}");
    assert!(shown.contains("Uptime  20:01\n"), "{shown}");
    assert!(shown.contains("! accounting stalled"), "{shown}");
}

#[test]
fn why_says_the_conclusion_first() {
    let mut row = queue("a.example/vmta1", 5);
    row.waiting_for = "max-msg-rate".into();
    row.mode = Mode::Backoff;
    let reason = "421 slow down fits /slow/ of config:3".to_owned();
    row.backoff = Some(Backoff { since: NOW, until: Some(NOW + 60_000), reason });
    let blocked =
        DisabledRow { address: "192.0.2.1".into(), reason: "blocked".into(), ..DisabledRow::default() };
    let setting =
        Setting { directive: "max-msg-rate".into(), value: "100/s".into(), origin: "config:12".into() };
    let report = WhyReport {
        subject: "joe@a.example".into(),
        summary: "Waits for its turn: max-msg-rate 100/s is used up.".into(),
        recipients: vec![WhyRecipient {
            address: "joe@a.example".into(),
            state: "waiting".into(),
            attempts: 1,
            next_attempt_at: Some(NOW + 1000),
            ..WhyRecipient::default()
        }],
        queues: vec![WhyQueue {
            row,
            disabled_sources: vec![blocked],
            limited_by: Some(setting.clone()),
            settings: vec![setting],
            limits: vec![Limit {
                directive: "max-msg-rate".into(),
                value: "100/s".into(),
                origin: "config:12".into(),
                of: "the queue".into(),
                per_hour: Some(360_000),
                binds: true,
                ..Limit::default()
            }],
            estimate: Estimate { at: Some(NOW + 2000), ahead: Some(200), rests_on: "200 at 100/s".into() },
            ..WhyQueue::default()
        }],
    };
    let shown = text(&Reply::Why(report), &view());
    assert_fits(&shown);
    assert!(shown.starts_with("joe@a.example\nWaits for its turn"), "{shown}");
    assert!(shown.contains("  next attempt  10:16:20\n"), "{shown}");
    assert!(shown.contains("max-msg-rate  100/s  config:12"), "{shown}");
    assert!(
        shown.contains("  mode          backoff since 10:16:19\n  because       421 slow down fits"),
        "{shown}"
    );
    assert!(shown.contains("  until         10:17:19\n"), "{shown}");
    assert!(shown.contains("  by            max-msg-rate 100/s, config:12\n"), "{shown}");
    assert!(shown.contains("  expected      all gone at 10:16:21 (200 at 100/s)\n"), "{shown}");
    assert!(shown.contains("max-msg-rate *  100/s  100/s     the queue  config:12"), "{shown}");
    assert!(shown.contains("  not used      192.0.2.1 until enabled: blocked\n"), "{shown}");
}

#[test]
fn the_demo_summary_adds_up() {
    let provider = |name: &str, total, sent, bounced| SummaryRow {
        row: ProviderRow { name: name.into(), total, sent, deferred: 12, bounced, rate: 10.0 },
        connections: (5, 5),
        peak: (101, 100),
        took: Duration::from_secs(10),
    };
    let summary = DemoSummary {
        rows: vec![provider("Gmail", 45_000, 44_000, 1_000), provider("Orange", 5_000, 4_990, 10)],
        took: Duration::from_secs(83),
        accounting: vec!["/tmp/demo/acct-2026-11-23-0000.csv".into()],
        ..DemoSummary::default()
    };
    let shown = summary.text();
    assert_fits(&shown);
    assert!(shown.contains("Finished in 1:23: 50,000 of 50,000 recipients have their outcome.\n"), "{shown}");
    assert!(shown.contains("Accounting: /tmp/demo/acct-2026-11-23-0000.csv\n"), "{shown}");
    assert!(shown.lines().any(|l| l.starts_with("all") && l.contains("48,990")), "{shown}");
    assert!(shown.lines().any(|l| l.ends_with("5 of 5  101 of 100")), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&summary.json()).unwrap();
    assert_eq!((&json["providers"][1]["sent"], &json["seconds"]), (&4_990.into(), &83.0.into()));
}

#[test]
fn time_left_is_only_told_when_something_moves() {
    let row = |sent, rate| ProviderRow { total: 100, sent, rate, ..ProviderRow::default() };
    assert_eq!(row(50, 10.0).time_left(), Some(Duration::from_secs(5)));
    assert_eq!(row(50, 0.0).time_left(), None);
    assert_eq!(row(100, 10.0).time_left(), None);
    assert_eq!(row(120, f64::NAN).time_left(), None);
}
