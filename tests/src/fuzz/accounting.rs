//! A line of the accounting file is one line, whatever was said to us, and another reader of CSV gets back every value.

use jiff::tz::TimeZone;
use posthaste::acct::{Layout, Record, RecordType, Stamp};
use posthaste::base::Wall;
use posthaste::spool::record::{Attempt, Submission};

use super::input::Input;

/// A value as the file shows it: control characters in ASCII as `\xNN`.
fn shown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

pub fn line(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = RecordType::ALL[input.below(RecordType::ALL.len())];
    let iso = input.flag();
    // From 1970 to 2150.
    let logged = Wall((input.number() % 5_680_000_000_000) as i64);
    let submission = Submission {
        sender: input.string(),
        job: input.string(),
        source_mta: input.string(),
        accepted_at: logged.0,
        ..Submission::default()
    };
    let attempt =
        Attempt { mta: input.string(), esmtp: input.string(), queue: input.string(), ..Attempt::default() };
    let (rcpt, orcpt) = (input.string(), input.string());
    let (status, diagnostic, user) = (input.string(), input.string(), input.string());
    let record = Record {
        kind,
        logged,
        rcpt: &rcpt,
        orcpt: &orcpt,
        orig: None,
        submission: (kind != RecordType::TransientQueue).then_some(&submission),
        attempt: (kind != RecordType::Receipt).then_some(&attempt),
        status: &status,
        diagnostic: &diagnostic,
        category: "other",
        size: 7,
        vmta: "v",
    };
    let types = RecordType::ALL.map(RecordType::code);
    let with_user = types.map(|code| (code, "*,userString"));
    let layout = Layout::new(&types, &with_user, iso, &user).expect("a layout");
    let mut out = Vec::new();
    layout.push_header(&mut out);
    let head = out.len();
    layout.push_line(&record, &mut Stamp::new(TimeZone::UTC), &mut out);
    let text = &out[head..];
    assert!(text.ends_with(b"\r\n") && text.iter().filter(|b| b.is_ascii_control()).count() == 2);

    let mut reader = ::csv::Reader::from_reader(&out[..]);
    let names = reader.headers().expect("a header").clone();
    let mut records = reader.records();
    let cells = records.next().expect("a line").expect("as many cells as columns");
    assert!(records.next().is_none(), "one line");
    let cell =
        |name: &str| names.iter().position(|n| n == name).and_then(|at| cells.get(at)).expect("a column");
    assert_eq!((cell("type"), cell("vmta"), cell("userString")), (kind.code(), "v", &*shown(&user)));
    if let Some(submission) = record.submission {
        assert_eq!((cell("orig"), cell("rcpt")), (&*shown(&submission.sender), &*shown(&rcpt)));
        assert_eq!(
            (cell("jobId"), cell("srcMta")),
            (&*shown(&submission.job), &*shown(&submission.source_mta))
        );
    }
    if let Some(attempt) = record.attempt {
        assert_eq!((cell("dsnStatus"), cell("dsnDiag")), (&*shown(&status), &*shown(&diagnostic)));
        assert_eq!((cell("dsnMta"), cell("queue")), (&*shown(&attempt.mta), &*shown(&attempt.queue)));
    }
    let time = cell("timeLogged");
    let read = match iso {
        true => jiff::fmt::strtime::parse("%Y-%m-%d %H:%M:%S%z", time)
            .and_then(|t| t.to_timestamp())
            .expect(time)
            .as_second(),
        false => time.parse().expect(time),
    };
    assert_eq!(read, logged.as_secs());
}
