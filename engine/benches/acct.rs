//! What an accounting line costs to write into its buffer: all default columns of a delivery, and of a bounce with its
//! category found.
//!
//! Goal (performance, section 9): spool, schedule and accounting together stay within 1 us of CPU per message.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use posthaste::acct::{Categories, Layout, Record, Stamp};
use posthaste::spool::record::{Attempt, Disposition, Location, Outcome, RowRef, Said, Submission};
use std::hint::black_box;
use std::time::Duration;

/// 2026-10-29 12:00:00 UTC.
const NOON: i64 = 1_793_275_200_000;

fn submission() -> Submission {
    Submission {
        sender: "bounce-123@news.example".into(),
        job: "campaign-2026-44".into(),
        source_type: "api".into(),
        accepted_at: NOON - 90_000,
        ..Submission::default()
    }
}

fn attempt() -> Attempt {
    Attempt {
        queue: "a.example/vmta1".into(),
        vmta: "vmta1".into(),
        delivery_type: "smtp".into(),
        source_ip: "192.0.2.10".into(),
        destination_ip: "198.51.100.25".into(),
        mta: "mx1.mail.a.example (198.51.100.25)".into(),
        esmtp: "PIPELINING,8BITMIME,SIZE,STARTTLS,ENHANCEDSTATUSCODES,CHUNKING,SMTPUTF8".into(),
        ..Attempt::default()
    }
}

fn line(c: &mut Criterion) {
    let layout = Layout::new::<&str>(&[], &[], true, "").expect("the default columns");
    let mut categories = Categories::new::<&str>(&[]).expect("the built-in patterns");
    let mut stamp = Stamp::new(TimeZone::UTC);
    let (submission, attempt) = (submission(), attempt());
    let ok =
        Said { status: "2.0.0 (success)".into(), diagnostic: "smtp;250 2.0.0 Ok: queued as 4F1A2B3C".into() };
    let no = Said {
        status: "5.1.1 (bad destination mailbox address)".into(),
        diagnostic: "smtp;550 5.1.1 user unknown".into(),
    };
    let mut out = Vec::with_capacity(1 << 12);
    let mut at = NOON;
    let mut group = c.benchmark_group("acct/line");
    for (label, disposition, said) in
        [("delivery", Disposition::Delivered, &ok), ("bounce, category included", Disposition::Bounced, &no)]
    {
        group.throughput(Throughput::Elements(1));
        group.bench_function(label, |b| {
            b.iter(|| {
                out.clear();
                // A millisecond from line to line: the text of the time is made anew now and then.
                at += 1;
                let outcome = Outcome {
                    row: RowRef::default(),
                    submission: Location::default(),
                    disposition,
                    at,
                    attempt: 0,
                    said: 0,
                    size: 2048,
                    attempts: 1,
                };
                let rcpt = black_box("somebody.or.other@a.example");
                let record = Record::of_outcome(&outcome, &attempt, said, Some(&submission), rcpt);
                let mut record = record.expect("a line");
                if record.wants_category() {
                    let category = categories.of_said(said);
                    record.category = categories.name(category);
                }
                layout.push_line(&record, &mut stamp, &mut out);
                out.len()
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = line
}
criterion_main!(benches);
