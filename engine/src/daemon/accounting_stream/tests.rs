//! The stream against real files and a log in memory. Time is given, nothing sleeps.

use super::*;
use crate::acct::Layout;
use crate::spool::SpoolError;
use crate::spool::record::{Disposition, QueueFailure, RowRef, Said};
use jiff::tz::TimeZone;
use std::cell::{Cell, RefCell};
use std::fs;
use std::rc::Rc;
use std::time::Duration;

pub(super) const NOON: Wall = Wall(1_793_275_200_000); // 2026-10-29 12:00:00 UTC

thread_local! {
    static CATEGORIES: Categories = Categories::new::<&str>(&[]).unwrap();
}

/// Entry `n` of the log stands at `offset8 == n`; clones share everything, as processes share a disk.
#[derive(Clone, Default)]
pub(super) struct MemoryLog {
    entries: Rc<RefCell<Vec<OutcomeBatch>>>,
    at: usize,
    consumed: Rc<Cell<u32>>,
}

impl MemoryLog {
    /// Adds a batch with an outcome for each recipient number.
    pub(super) fn deliver(&self, recipients: std::ops::Range<u16>) {
        self.push(recipients.map(|n| (n, Disposition::Delivered)).collect());
    }

    pub(super) fn push(&self, outcomes: Vec<(u16, Disposition)>) {
        let attempt = Attempt { queue: "a.example/vmta1".into(), vmta: "vmta1".into(), ..Attempt::default() };
        let ok = Said { status: "2.0.0 (success)".into(), diagnostic: "smtp;250 ok".into() };
        let no = Said { status: "5.1.1 (bad)".into(), diagnostic: "smtp;550 user unknown".into() };
        let outcomes = outcomes.into_iter().map(|(n, disposition)| Outcome {
            row: RowRef { index: n, ..RowRef::default() },
            submission: Location::default(),
            disposition,
            at: NOON.0 + i64::from(n),
            attempt: 0,
            said: u32::from(disposition != Disposition::Delivered),
            size: 10,
            attempts: 1,
        });
        let batch = OutcomeBatch {
            attempts: vec![attempt],
            said: vec![ok, no],
            outcomes: outcomes.collect(),
            queue_failures: Vec::new(),
        };
        self.entries.borrow_mut().push(batch);
    }
}

impl Log for MemoryLog {
    fn seek(&mut self, at: Location) {
        self.at = at.offset8 as usize;
    }
    fn position(&self) -> Location {
        Location { segment: 0, offset8: self.at as u32 }
    }
    fn next(&mut self, rows: bool) -> Result<Option<Entry>, SpoolError> {
        let entries = self.entries.borrow();
        let Some(batch) = entries.get(self.at).cloned() else { return Ok(None) };
        self.at += 1;
        if rows {
            let at = Location::default();
            return Ok(Some(Entry::Rows { at, submission: at, rows: 2 }));
        }
        Ok(Some(Entry::Outcomes(batch)))
    }
    fn submission(&mut self, _: Location) -> Option<Arc<Submission>> {
        Some(Arc::new(Submission { job: "JOB1".into(), accepted_at: NOON.0, ..Submission::default() }))
    }
    fn row(&mut self, _: Location, index: u16, _: RowFields, into: &mut RowText) {
        into.address = format!("r{index}@a.example");
        into.vmta = "vmta1".into();
    }
    fn consumed(&mut self, at: Location) {
        self.consumed.set(at.offset8);
    }
}

pub(super) struct Place {
    pub(super) dir: tempfile::TempDir,
    pub(super) log: MemoryLog,
}

impl Place {
    pub(super) fn new() -> Place {
        // In memory where possible: the tests sync thousands of times and pull no plug.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for name in ["spool", "acct", "moved"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Place { dir, log: MemoryLog::default() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn file(&self, name: &str, records: &[&str]) -> FileOptions {
        FileOptions {
            target: self.path("acct").join(name),
            layout: Layout::new(records, &[], true, "").unwrap(),
            queue_filter: None,
            move_to: None,
            move_interval: Duration::from_secs(86_400),
            max_size: 250 << 20,
            delete_after: Some(8),
            world_readable: false,
        }
    }

    /// A stream as after a start; dropping it without `finish` is a crash.
    pub(super) fn start(&self, files: Vec<FileOptions>) -> Stream<MemoryLog> {
        let mut stream = Stream::new(self.options(files), self.log.clone());
        stream.recover().unwrap();
        stream
    }

    pub(super) fn options(&self, files: Vec<FileOptions>) -> StreamOptions {
        StreamOptions {
            cursor_directory: self.path("spool"),
            files,
            categories: CATEGORIES.with(Categories::clone),
            stamp: Stamp::new(TimeZone::UTC),
        }
    }

    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(directory))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Recipients in the file, in order; checks that it is whole lines after one header.
    pub(super) fn recipients(&self, name: &str) -> Vec<u16> {
        let text = self.read(name);
        assert!(text.ends_with("\r\n"), "torn: {text}");
        let columns: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        assert_eq!(columns[0], "type");
        let rcpt = columns.iter().position(|column| *column == "rcpt").unwrap();
        let cell = |line: &str| {
            assert_eq!(line.split(',').count(), columns.len(), "{line}");
            line.split(',').nth(rcpt).unwrap()[1..].split('@').next().unwrap().parse().unwrap()
        };
        text.split_terminator("\r\n").skip(1).map(cell).collect()
    }
}

pub(super) fn filter(list: &str) -> Option<vmta_config::QueueFilter> {
    let text =
        format!("<spool /s>\n</spool>\n<acct-file /x.csv>\nqueue-filter {list}\n</acct-file>\nlog-file /l\n");
    let loaded = vmta_config::load("config", &vmta_config::MemoryFiles::new([("config", text)]), false);
    loaded.config.unwrap().acct_files()[0].settings.queue_filter.clone()
}

pub(super) fn after(seconds: i64) -> Wall {
    Wall(NOON.0 + seconds * 1000)
}

pub(super) const FIRST: &str = "acct/acct-2026-10-29-0000.csv";

#[test]
fn outcomes_become_lines_in_the_files_that_take_them() {
    let place = Place::new();
    place.log.push(vec![
        (0, Disposition::Delivered),
        (1, Disposition::Bounced),
        (2, Disposition::Deferred),
        (3, Disposition::Deleted { quiet: true }),
        (4, Disposition::Expired),
    ]);
    place.log.entries.borrow_mut()[0].queue_failures.push(QueueFailure { at: NOON.0, attempt: 0, said: 1 });
    let mut other = place.file("t.csv", &["t", "tq"]);
    other.queue_filter = filter("*.example/*");
    let mut none = place.file("none.csv", &["d"]);
    none.queue_filter = filter("b.example/*");
    let mut stream = place.start(vec![place.file("acct.csv", &[]), other, none]);
    stream.finish(NOON).unwrap();
    let kinds = |name: &str| {
        let text = place.read(name);
        text.lines().skip(1).map(|l| l.split(',').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(FIRST), ["d", "b", "b"]);
    assert_eq!(kinds("acct/t-2026-10-29-0000.csv"), ["tq", "t"]);
    let text = place.read(FIRST);
    assert!(text.contains(",smtp;550 user unknown,,bad-mailbox,"), "{text}");
    assert!(
        text.contains(",4.4.7 (delivery time expired),smtp;550 user unknown,,message-expired,"),
        "{text}"
    );
    assert_eq!(place.names("acct").len(), 2, "a file without lines is not created");
}

#[test]
fn receipts_are_written_when_a_file_asks_for_them() {
    let place = Place::new();
    place.log.deliver(0..1);
    place.start(vec![place.file("r.csv", &["r"])]).finish(NOON).unwrap();
    let text = place.read("acct/r-2026-10-29-0000.csv");
    assert!(text.ends_with(
        "r,2026-10-29 12:00:00+0000,,r0@a.example,,,,,,vmta1,JOB1,\r\n\
         r,2026-10-29 12:00:00+0000,,r1@a.example,,,,,,vmta1,JOB1,\r\n"
    ));
}

#[test]
fn a_restart_goes_on_in_the_same_file() {
    let place = Place::new();
    place.log.deliver(0..3);
    place.start(vec![place.file("acct.csv", &[])]).finish(NOON).unwrap();
    place.log.deliver(3..5);
    place.start(vec![place.file("acct.csv", &[])]).finish(after(5)).unwrap();
    assert_eq!(place.recipients(FIRST), [0, 1, 2, 3, 4]);
    assert_eq!(place.names("acct").len(), 1);
}

#[test]
fn after_a_crash_at_any_byte_each_line_appears_once() {
    let whole = {
        let place = Place::new();
        place.log.deliver(0..2);
        place.log.deliver(2..5);
        place.start(vec![place.file("acct.csv", &[])]).finish(NOON).unwrap();
        place.read(FIRST).len()
    };
    // A power cut may keep the length and lose the bytes.
    let cuts = (0..=whole).step_by(3).chain([whole]).flat_map(|cut| [(cut, 0), (cut, whole + 100)]);
    for (cut, length) in cuts {
        let place = Place::new();
        place.log.deliver(0..2);
        let mut stream = place.start(vec![place.file("acct.csv", &[])]);
        stream.step(NOON, 10).unwrap(); // saves the cursor
        place.log.deliver(2..5);
        stream.step(NOON, 10).unwrap(); // lines written, cursor not saved
        drop(stream);
        // What was synced with the cursor stays; of the rest any beginning may have reached the disk.
        let saved = CursorFile::open(&place.path("spool")).unwrap().1.unwrap().files[0].length;
        let file = fs::OpenOptions::new().write(true).open(place.path(FIRST)).unwrap();
        assert_eq!(file.metadata().unwrap().len() as usize, whole);
        file.set_len((cut as u64).max(saved)).unwrap();
        if length > 0 {
            file.set_len(length as u64).unwrap();
        }
        if cut % 2 == 0 {
            place.log.deliver(5..6);
        }
        place.start(vec![place.file("acct.csv", &[])]).finish(after(1)).unwrap();
        place.log.deliver(if cut % 2 == 0 { 6..7 } else { 5..7 });
        place.start(vec![place.file("acct.csv", &[])]).finish(after(2)).unwrap();
        assert_eq!(place.recipients(FIRST), [0, 1, 2, 3, 4, 5, 6], "cut at {cut}");
        assert!(!place.read(FIRST).contains('\0'), "cut at {cut}");
        assert_eq!(place.names("acct").len(), 1);
    }
}

#[test]
fn a_crash_between_choosing_a_name_and_the_first_cursor_repeats_nothing() {
    for cut in [0, 3, 20, 400] {
        let place = Place::new();
        place.log.deliver(0..3);
        let mut stream = place.start(vec![place.file("acct.csv", &[])]);
        stream.step(NOON, 10).unwrap();
        drop(stream);
        // The first copy names the file with length 0: go back to it.
        let copies = [place.path("spool/accounting.cursor.0"), place.path("spool/accounting.cursor.1")];
        fs::remove_file(&copies[0]).unwrap();
        assert_eq!(CursorFile::open(&place.path("spool")).unwrap().1.unwrap().files[0].length, 0);
        fs::OpenOptions::new().write(true).open(place.path(FIRST)).unwrap().set_len(cut).unwrap();
        if cut == 0 {
            fs::remove_file(place.path(FIRST)).unwrap();
        }
        place.start(vec![place.file("acct.csv", &[])]).finish(after(1)).unwrap();
        assert_eq!(place.recipients(FIRST), [0, 1, 2]);
        assert_eq!(place.names("acct").len(), 1);
    }
}

#[test]
fn what_a_killed_process_wrote_is_synced_before_the_cursor_counts_on_it() {
    let place = Place::new();
    place.log.deliver(0..2);
    let mut stream = place.start(vec![place.file("acct.csv", &[])]);
    stream.step(NOON, 10).unwrap(); // saves the cursor
    place.log.deliver(2..5);
    stream.step(NOON, 10).unwrap(); // lines written, neither synced nor in the cursor
    let unsynced = stream.files[0].unsynced();
    assert!(unsynced > 0);
    drop(stream);
    let mut stream = place.start(vec![place.file("acct.csv", &[])]);
    stream.saved_at = NOON;
    stream.step(NOON, 10).unwrap(); // finds the lines there
    assert_eq!((stream.files[0].unsynced(), place.recipients(FIRST).len()), (unsynced, 5));
}

#[test]
fn a_missing_directory_delays_lines_and_loses_none() {
    let place = Place::new();
    place.log.deliver(0..2);
    let mut stream = place.start(vec![place.file("acct.csv", &[])]);
    stream.step(NOON, 10).unwrap();
    fs::rename(place.path("acct"), place.path("unmounted")).unwrap();
    place.log.deliver(2..4);
    for second in 1..4 {
        let error = stream.step(after(second), 10).unwrap_err().to_string();
        assert!(error.contains("acct: cannot list: No such file"), "{error}");
        stream.recover().unwrap();
    }
    fs::rename(place.path("unmounted"), place.path("acct")).unwrap();
    stream.recover().unwrap();
    stream.finish(after(9)).unwrap();
    let mut all = place.recipients(FIRST);
    for name in place.names("acct").iter().skip(1) {
        all.extend(place.recipients(&format!("acct/{name}")));
    }
    assert_eq!(all, [0, 1, 2, 3]);
}

#[test]
fn a_full_disk_delays_lines_and_loses_none() {
    let place = Place::new();
    place.log.deliver(0..2);
    let mut stream = place.start(vec![place.file("acct.csv", &[])]);
    stream.step(NOON, 10).unwrap();
    // The device that is always full stands in for the disk: swap it in under the open file's name.
    let mark = CursorFile::open(&place.path("spool")).unwrap().1.unwrap();
    drop(stream);
    let mut full = place.start(vec![place.file("acct.csv", &[])]);
    full.swap_in_full_device();
    place.log.deliver(2..4);
    let error = full.step(after(5), 10).unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::StorageFull, "{error}");
    assert_eq!(CursorFile::open(&place.path("spool")).unwrap().1.unwrap(), mark, "the cursor has not moved");
    full.recover().unwrap();
    full.finish(after(6)).unwrap();
    assert_eq!(place.recipients(FIRST), [0, 1, 2, 3]);
}

#[test]
fn a_removed_or_replaced_file_is_left_alone_and_a_new_one_begun() {
    let place = Place::new();
    place.log.deliver(0..2);
    let mut stream = place.start(vec![place.file("acct.csv", &[])]);
    stream.step(NOON, 10).unwrap();
    fs::rename(place.path(FIRST), place.path("acct/taken-away")).unwrap();
    place.log.deliver(2..4);
    stream.step(after(2), 10).unwrap();
    assert_eq!(place.recipients("acct/acct-2026-10-29-0001.csv"), [2, 3]);
    fs::write(place.path("acct/acct-2026-10-29-0001.csv"), "").unwrap(); // emptied in place
    place.log.deliver(4..5);
    stream.finish(after(3)).unwrap();
    assert_eq!(place.recipients("acct/acct-2026-10-29-0002.csv"), [4]);
    assert_eq!(place.recipients("acct/taken-away"), [0, 1]);
}

#[test]
fn midnight_begins_a_new_file_and_finished_files_move() {
    let place = Place::new();
    let options = || FileOptions { move_to: Some(place.path("moved")), ..place.file("acct.csv", &[]) };
    place.log.deliver(0..2);
    let mut stream = place.start(vec![options()]);
    stream.step(NOON, 10).unwrap();
    stream.step(after(43_199), 10).unwrap();
    assert_eq!(place.names("moved"), [""; 0]);
    stream.step(after(43_201), 10).unwrap();
    assert_eq!(place.names("moved"), ["acct-2026-10-29-0000.csv"]);
    assert_eq!(place.names("acct"), [""; 0]);
    place.log.deliver(2..3);
    stream.step(after(43_203), 10).unwrap();
    assert_eq!(place.names("acct"), ["acct-2026-10-30-0000.csv"]);
    // move-interval, counted from the file's beginning, also over a restart
    let mut stream = place.start(vec![FileOptions { move_interval: Duration::from_secs(300), ..options() }]);
    stream.step(after(43_502), 10).unwrap();
    assert_eq!(place.names("acct"), ["acct-2026-10-30-0000.csv"]);
    stream.step(after(43_503), 10).unwrap();
    assert_eq!(place.names("acct"), [""; 0]);
    assert_eq!(place.recipients("moved/acct-2026-10-30-0000.csv"), [2]);
    // The moved files are read and removed: their numbers are not used again.
    fs::remove_file(place.path("moved/acct-2026-10-30-0000.csv")).unwrap();
    place.log.deliver(3..4);
    stream.finish(after(43_600)).unwrap();
    assert_eq!(place.names("acct"), ["acct-2026-10-30-0001.csv"]);
}

#[test]
fn a_file_is_finished_at_its_size_and_on_command() {
    let place = Place::new();
    let options = || FileOptions { max_size: 1_000, ..place.file("acct.csv", &[]) };
    let mut stream = place.start(vec![options(), place.file("b.csv", &["b"])]);
    for n in 0..4 {
        place.log.deliver(n * 10..n * 10 + 10);
        stream.step(after(i64::from(n) * 2), 10).unwrap();
    }
    assert_eq!(place.names("acct").len(), 4);
    assert_eq!(place.recipients("acct/acct-2026-10-29-0003.csv").len(), 10);
    drop(stream);
    let mut stream = place.start(vec![place.file("acct.csv", &[])]);
    place.log.deliver(40..41);
    stream.step(after(20), 10).unwrap();
    stream.rotate(Some(place.path("acct/other.csv")));
    stream.step(after(20), 10).unwrap();
    let before = place.names("acct").len();
    stream.rotate(None);
    stream.step(after(20), 10).unwrap();
    place.log.deliver(41..42);
    stream.finish(after(21)).unwrap();
    assert_eq!(place.names("acct").len(), before + 1);
}

#[test]
fn old_files_are_removed_and_strangers_are_not() {
    let place = Place::new();
    for name in
        ["acct-2026-10-21-0000.csv", "acct-2026-10-22-0001.csv", "acct-notes-2026-01-01-0000.csv", "acct.csv"]
    {
        fs::write(place.path("acct").join(name), "x").unwrap();
    }
    place.start(vec![place.file("acct.csv", &[])]).step(NOON, 1).unwrap();
    assert_eq!(
        place.names("acct"),
        ["acct-2026-10-22-0001.csv", "acct-notes-2026-01-01-0000.csv", "acct.csv"]
    );
}

#[test]
fn changed_columns_after_a_crash_begin_a_new_file() {
    let place = Place::new();
    place.log.deliver(0..2);
    let mut stream = place.start(vec![place.file("acct.csv", &[])]);
    stream.step(NOON, 10).unwrap();
    place.log.deliver(2..4);
    stream.step(NOON, 10).unwrap();
    drop(stream);
    let mut changed = place.file("acct.csv", &[]);
    changed.layout = Layout::new(&["d"], &[("d", "rcpt")], true, "").unwrap();
    place.start(vec![changed]).finish(after(1)).unwrap();
    assert_eq!(
        place.read("acct/acct-2026-10-29-0001.csv"),
        "type,rcpt\r\nd,r2@a.example\r\nd,r3@a.example\r\n"
    );
}

#[test]
fn the_log_is_kept_from_the_older_of_both_cursor_copies() {
    let place = Place::new();
    let mut stream = place.start(vec![place.file("acct.csv", &[])]);
    for n in 1..=3 {
        place.log.deliver(0..1);
        stream.step(after(i64::from(n) * 2), 10).unwrap();
        assert_eq!(place.log.consumed.get(), n - 1);
    }
    stream.step(after(20), 10).unwrap();
    assert_eq!(place.log.consumed.get(), 3, "with nothing new both copies stand at the end");
}

/// What a delivery line costs, everything included: run with `--ignored --nocapture`, optimised.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_delivery_line() {
    let place = Place::new();
    for _ in 0..2_000 {
        place.log.deliver(0..500);
    }
    for batch in place.log.entries.borrow_mut().iter_mut() {
        let attempt = &mut batch.attempts[0];
        attempt.delivery_type = "smtp".into();
        attempt.source_ip = "192.0.2.10".into();
        attempt.destination_ip = "198.51.100.25".into();
        attempt.mta = "mx1.mail.a.example (198.51.100.25)".into();
        attempt.esmtp = "PIPELINING,8BITMIME,SIZE,STARTTLS,ENHANCEDSTATUSCODES,CHUNKING,SMTPUTF8".into();
    }
    let mut stream = place.start(vec![place.file("acct.csv", &[])]);
    let cpu = || {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
    };
    let before = cpu();
    stream.finish(NOON).unwrap();
    let each = (cpu() - before) / 1e6;
    let bytes = fs::metadata(place.path(FIRST)).unwrap().len();
    eprintln!("{each:.0} ns CPU a line of {} bytes", bytes / 1_000_000);
}
