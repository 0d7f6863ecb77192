//! The whole of storage on a real directory, on both back ends.

use super::*;
use crate::queue::QueueName;
use crate::spool::codec;
use crate::spool::frame::Kind;
use crate::spool::reader::LogReader;
use crate::spool::record::{
    Attempt, Control, Disposition, Draft, Outcome, Place, Ref, RowRef, RowsDraft, Said, Submission,
};
use crate::spool::rows::RowsView;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use tempfile::TempDir;

pub(in crate::io) const BACK_ENDS: [BackEnd; 2] = [BackEnd::Blocking, BackEnd::Uring];

pub(in crate::io) fn spool() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("its mode");
    dir
}

pub(in crate::io) fn options(back_end: BackEnd) -> StorageOptions {
    StorageOptions {
        segment_size: SEGMENT_MIN,
        back_end,
        min_free_space: Some(0),
        ..StorageOptions::default()
    }
}

/// `None` where the kernel refuses io_uring.
pub(in crate::io) fn open(dir: &TempDir, back_end: BackEnd) -> Option<(Storage, Recovered)> {
    match Storage::open(dir.path(), &options(back_end)) {
        Err(SpoolError::Failed { why }) if back_end == BackEnd::Uring && why.contains("refuses") => {
            eprintln!("skipped: {why}");
            None
        }
        opened => Some(opened.expect("the spool opens")),
    }
}

fn rows(addresses: &[&str]) -> RowsDraft {
    let mut draft = RowsDraft { vmtas: vec!["mta1".into()], ..RowsDraft::default() };
    for address in addresses {
        draft.vmta.push(0);
        draft.bytes.push(address.len() as u8);
        draft.bytes.extend_from_slice(address.as_bytes());
        draft.ends.push(draft.bytes.len() as u32);
    }
    draft
}

pub(in crate::io) fn message(content: &[u8], addresses: &[&str]) -> Group {
    let submission = Submission { id: 1, sender: "news@sender.example".into(), ..Submission::default() };
    Group {
        drafts: vec![
            Draft::Content(content.into()),
            Draft::Accepted { submission, content: Ref::Here(0) },
            Draft::Rows { submission: Ref::Here(1), rows: rows(addresses) },
        ],
    }
}

pub(in crate::io) fn outcomes(
    submission: Location,
    place: Place,
    rows: &[(u16, Disposition)],
) -> OutcomeBatch {
    let outcome = |&(index, disposition): &(u16, Disposition)| Outcome {
        row: RowRef { record: place.at, ordinal: place.first_ordinal + u32::from(index), index },
        submission,
        disposition,
        at: 1_000,
        attempt: 0,
        said: 0,
        size: 10,
        attempts: 1,
    };
    OutcomeBatch {
        attempts: vec![Attempt { queue: "a.example/mta1".into(), ..Attempt::default() }],
        said: vec![Said::default()],
        outcomes: rows.iter().map(outcome).collect(),
        queue_failures: vec![],
    }
}

pub(in crate::io) fn waiting(recovered: &Recovered) -> Vec<String> {
    let mut found = Vec::new();
    let orphans = recovered.each_live(|live| {
        for (row, tried) in live.live() {
            let bytes = live.rows.row(usize::from(row.index)).expect("a row");
            let tries = tried.map_or(0, |tried| tried.attempts);
            found.push(format!("{} {tries}", String::from_utf8_lossy(&bytes[1..])));
        }
    });
    assert_eq!(orphans, []);
    found
}

#[test]
fn what_is_acknowledged_is_there_after_a_restart() {
    for back_end in BACK_ENDS {
        let dir = spool();
        let Some((storage, recovered)) = open(&dir, back_end) else { continue };
        assert_eq!(recovered.live_rows(), 0);
        let done = storage.submit(message(b"Hello", &["a@x.example", "b@x.example", "c@x.example"])).wait();
        let places = done.expect("committed").places;
        let record = storage.segments().record(places[2].at).expect("the rows");
        assert_eq!(record.kind, Kind::Rows);
        let view = RowsView::new(&record).expect("a view");
        assert_eq!((view.submission, view.row(1)), (places[1].at, Some(&b"\x0bb@x.example"[..])));
        let batch =
            outcomes(places[1].at, places[2], &[(0, Disposition::Delivered), (2, Disposition::Deferred)]);
        assert!(storage.settle(batch).is_ok());
        drop(record);
        storage.stop();

        let (storage, recovered) = open(&dir, back_end).expect("opens again");
        assert_eq!(recovered.damage(), []);
        assert_eq!(waiting(&recovered), ["b@x.example 0", "c@x.example 1"]);
        storage.stop();
    }
}

#[test]
fn content_is_read_hot_and_cold() {
    for back_end in BACK_ENDS {
        let dir = spool();
        let Some((storage, _)) = open(&dir, back_end) else { continue };
        let large: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let done = storage.submit(message(&large, &["a@x.example"])).wait().expect("committed");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let read = |storage: &Storage| runtime.block_on(storage.read(done.places[0].at));
        assert_eq!(read(&storage).as_deref(), Ok(&large[..]));
        storage.stop();
        let (storage, _) = open(&dir, back_end).expect("opens again");
        assert_eq!(read(&storage).as_deref(), Ok(&large[..]));
        let nowhere = Location { segment: 1, offset8: 1025 };
        assert!(matches!(runtime.block_on(storage.read(nowhere)), Err(SpoolError::NotFound { .. })));
        assert_eq!(storage.status().reads, 2);
        storage.stop();
    }
}

#[test]
fn the_log_is_followed_in_order_over_segments_and_restarts() {
    for back_end in BACK_ENDS {
        let dir = spool();
        let Some((storage, _)) = open(&dir, back_end) else { continue };
        let body = vec![b'x'; 300_000];
        for n in 0..40 {
            storage.submit(message(&body, &[&format!("{n}@x.example")])).wait().expect("committed");
        }
        let follow = |storage: &Storage, at: Location| {
            let mut reader = LogReader::new(Arc::clone(storage.segments()), at);
            let mut seen = Vec::new();
            while let Some(record) = reader.next().expect("readable") {
                if record.kind == Kind::Rows {
                    let view = RowsView::new(&record).expect("a view");
                    seen.push(String::from_utf8_lossy(&view.row(0).expect("a row")[1..]).into_owned());
                }
            }
            (seen, reader.at())
        };
        let all: Vec<String> = (0..40).map(|n| format!("{n}@x.example")).collect();
        let (seen, end) = follow(&storage, Location::START);
        assert_eq!(seen, all);
        storage.stop();
        let (storage, _) = open(&dir, back_end).expect("opens again");
        assert_eq!(follow(&storage, Location::START).0, all);
        assert_eq!(follow(&storage, end).0, Vec::<String>::new());
        storage.submit(message(b"more", &["more@x.example"])).wait().expect("committed");
        assert_eq!(follow(&storage, end).0, ["more@x.example"]);
        storage.stop();
    }
}

#[test]
fn the_segment_being_written_is_read_through_its_mapping() {
    for back_end in BACK_ENDS {
        let dir = spool();
        let narrow = StorageOptions { window: 0, ..options(back_end) };
        let Ok((storage, _)) = Storage::open(dir.path(), &narrow) else { continue };
        let mut places = Vec::new();
        for n in 0..300usize {
            let body = n.to_string().into_bytes().repeat(300);
            places.push(
                storage.submit(message(&body, &["a@x.example"])).wait().expect("committed").places[0].at,
            );
            let back = n * 7 % places.len();
            let record = storage.segments().record(places[back]).expect("readable");
            assert_eq!(&record[..], back.to_string().into_bytes().repeat(300));
        }
        assert_eq!(storage.status().failed, None);
        storage.stop();
    }
}

#[test]
fn settled_segments_are_recycled_and_nothing_comes_back() {
    for back_end in BACK_ENDS {
        let dir = spool();
        let Some((storage, _)) = open(&dir, back_end) else { continue };
        let body = vec![b'x'; 200_000];
        let kept = storage
            .submit(message(b"kept", &["kept@x.example", "gone@x.example"]))
            .wait()
            .expect("committed");
        let batch = outcomes(kept.places[1].at, kept.places[2], &[(1, Disposition::Bounced)]);
        assert!(storage.settle(batch).is_ok());
        for n in 0..150 {
            let done =
                storage.submit(message(&body, &[&format!("{n}@x.example")])).wait().expect("committed");
            assert!(
                storage
                    .settle(outcomes(done.places[1].at, done.places[2], &[(0, Disposition::Delivered)]))
                    .is_ok()
            );
            if n % 10 == 9 {
                storage.submit(message(b"mark", &[&format!("mark{n}@x.example")])).wait().expect("committed");
                storage.set_accounting_cursor(storage.segments().durable_end());
            }
        }
        // 30 MB went through segments of 4 MiB; the marks keep some of them.
        let used = storage.status().segments_used;
        storage.stop();
        let (storage, recovered) = open(&dir, back_end).expect("opens again");
        assert_eq!(recovered.damage(), []);
        let mut expected = vec!["kept@x.example 0".to_string()];
        expected.extend((0..150).filter(|n| n % 10 == 9).map(|n| format!("mark{n}@x.example 0")));
        assert_eq!(waiting(&recovered), expected);
        assert!(used >= 5, "{used}");
        storage.stop();
    }
}

#[test]
fn a_log_of_which_nothing_is_needed_stays_small() {
    let dir = spool();
    let (storage, _) = open(&dir, BackEnd::Blocking).expect("opens");
    let body = vec![b'x'; 500_000];
    for n in 0..120 {
        let done = storage.submit(message(&body, &[&format!("{n}@x.example")])).wait().expect("committed");
        assert!(
            storage
                .settle(outcomes(done.places[1].at, done.places[2], &[(0, Disposition::Delivered)]))
                .is_ok()
        );
        storage.set_accounting_cursor(storage.segments().durable_end());
    }
    // 60 MB have passed; a segment is 4 MiB.
    assert!(storage.status().segments_used <= 4, "{}", storage.status().segments_used);
    storage.stop();
    let (storage, recovered) = open(&dir, BackEnd::Blocking).expect("opens again");
    assert_eq!(waiting(&recovered), Vec::<String>::new());
    storage.stop();
}

#[test]
fn controls_survive_restarts_and_recycling() {
    let dir = spool();
    let (storage, _) = open(&dir, BackEnd::Blocking).expect("opens");
    let control = |control| Group { drafts: vec![Draft::Control(control)] };
    let mut start = message(b"template", &["a@x.example"]);
    let submission = Location { segment: 0, offset8: 1 };
    let state = b"state".to_vec();
    start.drafts.push(Draft::Control(Control::ImportProgress {
        identity: "c1".into(),
        submission,
        next_row: 1,
        state,
    }));
    let started = storage.submit(start).wait().expect("committed");
    storage.submit(control(Control::PickupDone { identity: "p1".into() })).wait().expect("committed");
    storage.submit(control(Control::PickupDone { identity: "p2".into() })).wait().expect("committed");
    storage.submit(control(Control::PickupForgotten { identity: "p2".into() })).wait().expect("committed");
    let pause = |queue: &str, paused| {
        let pause = control(Control::QueuePaused { queue: queue.into(), paused });
        storage.submit(pause).wait().expect("committed");
    };
    for (queue, paused) in [("b/*", true), ("*/b", false), ("b/*", false), ("*/*", true), ("x/y", false)] {
        pause(queue, paused);
    }
    for (queue, lost) in [("a.example/V1", true), ("b.example/v1", true), ("b.example/v1", false)] {
        storage.note(Control::RouteLost { queue: queue.into(), lost });
    }
    assert!(
        storage
            .settle(outcomes(started.places[1].at, started.places[2], &[(0, Disposition::Delivered)]))
            .is_ok()
    );
    let body = vec![b'x'; 500_000];
    for n in 0..60 {
        if n == 30 {
            pause("x/*", true);
        }
        let done = storage.submit(message(&body, &["z@x.example"])).wait().expect("committed");
        assert!(
            storage
                .settle(outcomes(done.places[1].at, done.places[2], &[(0, Disposition::Delivered)]))
                .is_ok()
        );
        storage.set_accounting_cursor(storage.segments().durable_end());
    }
    storage.stop();
    let (storage, recovered) = open(&dir, BackEnd::Blocking).expect("opens again");
    assert_eq!(recovered.pickup_done().collect::<Vec<_>>(), ["p1"]);
    assert_eq!(recovered.pauses().collect::<Vec<_>>(), [("*/*", true), ("x/y", false), ("x/*", true)]);
    assert_eq!(recovered.routes_lost().collect::<Vec<_>>(), [QueueName::new("a.example", "V1")]);
    let (identity, import) = recovered.imports().next().expect("an import");
    assert_eq!((identity, import.submission, import.next_row), ("c1", started.places[1].at, 1));
    // The import pins the segment of its submission: more rows can refer to it.
    let header = storage.segments().record(import.submission).expect("still there");
    assert!(codec::decode_submission(import.submission, &header).is_ok());
    storage.stop();
}

#[test]
fn a_second_process_is_refused_with_the_pid_of_the_first() {
    let dir = spool();
    let (storage, _) = open(&dir, BackEnd::Blocking).expect("opens");
    fs::remove_file(dir.path().join("lock")).expect("a cleaner removes the lock file");
    match Storage::open(dir.path(), &options(BackEnd::Blocking)) {
        Err(SpoolError::Locked { .. }) => {}
        other => panic!("{:?}", other.err()),
    }
    storage.stop();
}

#[test]
fn foreign_files_modes_and_links_are_refused() {
    let refused = |prepare: fn(&Path)| {
        let dir = spool();
        prepare(dir.path());
        match Storage::open(dir.path(), &options(BackEnd::Blocking)) {
            Err(SpoolError::Foreign { .. }) => {}
            other => panic!("{:?}", other.err()),
        }
    };
    refused(|dir| fs::write(dir.join("notes.txt"), "x").expect("written"));
    refused(|dir| std::os::unix::fs::symlink("/etc/passwd", dir.join("0000000001.seg")).expect("linked"));
    refused(|dir| fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("mode"));
    refused(|dir| fs::create_dir(dir.join("0000000001.seg")).expect("made"));
}

#[test]
fn a_flipped_bit_costs_only_its_record() {
    let dir = spool();
    let (storage, _) = open(&dir, BackEnd::Blocking).expect("opens");
    let mut places = Vec::new();
    for n in 0..5 {
        let group = message(b"body", &[&format!("{n}@x.example")]);
        places.push(storage.submit(group).wait().expect("committed").places[2].at);
    }
    storage.stop();
    let path = dir.path().join(crate::spool::segments::file_name(places[2].segment));
    let file = fs::File::options().read(true).write(true).open(path).expect("the segment");
    let at = places[2].byte_offset() + 40;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 4], at).expect("written");
    let (storage, recovered) = open(&dir, BackEnd::Blocking).expect("opens again");
    assert_eq!(recovered.damage().len(), 1, "{:?}", recovered.damage());
    assert!(recovered.damage()[0].is_loss());
    assert_eq!(waiting(&recovered), ["0@x.example 0", "1@x.example 0", "3@x.example 0", "4@x.example 0"]);
    storage.stop();
    // Seen again at the next start: a damaged segment is kept for the operator.
    let (storage, recovered) = open(&dir, BackEnd::Blocking).expect("opens again");
    assert_eq!(recovered.damage().len(), 1);
    storage.stop();
}

#[test]
fn a_missing_segment_is_named_and_strict_refuses() {
    let dir = spool();
    let (storage, _) = open(&dir, BackEnd::Blocking).expect("opens");
    let at = storage.submit(message(b"body", &["a@x.example"])).wait().expect("committed").places[2].at;
    let body = vec![b'x'; 1_000_000];
    for _ in 0..8 {
        storage.submit(message(&body, &["b@x.example"])).wait().expect("committed");
    }
    storage.stop();
    fs::remove_file(dir.path().join(crate::spool::segments::file_name(at.segment))).expect("removed");
    let strict = StorageOptions { strict: true, ..options(BackEnd::Blocking) };
    assert!(matches!(Storage::open(dir.path(), &strict), Err(SpoolError::Unsound { .. })));
    let (storage, recovered) = open(&dir, BackEnd::Blocking).expect("opens");
    assert!(matches!(recovered.damage(), [Damage::Missing { segment, .. }] if *segment == at.segment));
    assert!((1..8).contains(&recovered.live_rows()));
    storage.stop();
    let (storage, recovered) = Storage::open(dir.path(), &strict).expect("once named, it is forgotten");
    assert_eq!(recovered.damage(), []);
    storage.stop();
}

#[test]
fn a_segment_cut_short_is_named_and_keeps_what_is_left() {
    for (newest, back_end) in [(true, BackEnd::Blocking), (false, BackEnd::Blocking), (false, BackEnd::Auto)]
    {
        let dir = spool();
        let (storage, _) = open(&dir, back_end).expect("opens");
        let places: Vec<_> = (0..5)
            .map(|n| {
                let group = message(b"body", &[&format!("{n}@x.example")]);
                storage.submit(group).wait().expect("committed").places[2].at
            })
            .collect();
        storage.stop();
        if !newest {
            open(&dir, back_end).expect("opens").0.stop();
        }
        // Within the fourth commit, behind its records: the commits that say so are gone with the end.
        let path = dir.path().join(crate::spool::segments::file_name(places[3].segment));
        let file = fs::File::options().write(true).open(path).expect("the segment");
        file.set_len(places[3].byte_offset() + 200).expect("cut");
        let (storage, recovered) = open(&dir, back_end).expect("opens again");
        let short = |d: &Damage| matches!(d, Damage::Short { segment, .. } if *segment == places[3].segment);
        assert!(recovered.damage().iter().any(|d| short(d) && d.is_loss()), "{:?}", recovered.damage());
        assert_eq!(waiting(&recovered), ["0@x.example 0", "1@x.example 0", "2@x.example 0", "3@x.example 0"]);
        // The last one left is read although a whole piece of the file is not there any more.
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert!(runtime.block_on(storage.read(places[3])).is_ok(), "{newest}");
        storage.stop();
    }
}

#[test]
fn too_large_and_malformed_groups_are_refused_alone() {
    let dir = spool();
    let (storage, _) = open(&dir, BackEnd::Blocking).expect("opens");
    let large = vec![0; SEGMENT_MIN as usize];
    assert!(matches!(
        storage.submit(message(&large, &["a@x.example"])).wait(),
        Err(SpoolError::TooBig { .. })
    ));
    assert!(matches!(storage.submit(Group::default()).wait(), Err(SpoolError::Draft { .. })));
    let mut group = message(b"x", &["a@x.example"]);
    group.drafts.swap(0, 1);
    assert!(matches!(storage.submit(group).wait(), Err(SpoolError::Draft { index: 0, .. })));
    assert!(storage.submit(message(b"x", &["a@x.example"])).wait().is_ok());
    let other = storage.clone();
    storage.stop();
    assert_eq!(other.submit(message(b"x", &["a@x.example"])).wait(), Err(SpoolError::Stopped));
    assert!(other.settle(OutcomeBatch::default()).is_err());
}

#[test]
fn low_space_refuses_submissions_and_takes_outcomes() {
    let dir = spool();
    let (storage, _) = open(&dir, BackEnd::Blocking).expect("opens");
    let done = storage.submit(message(b"x", &["a@x.example"])).wait().expect("committed");
    storage.stop();
    let low = StorageOptions { min_free_space: Some(u64::MAX), ..options(BackEnd::Blocking) };
    let (storage, _) = Storage::open(dir.path(), &low).expect("opens");
    let body = vec![b'x'; 1_000_000];
    let mut accepted = 0;
    let refused = loop {
        match storage.submit(message(&body, &["b@x.example"])).wait() {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 100, "never refused");
    };
    assert!(matches!(refused, SpoolError::Full { .. }) && refused.is_transient());
    assert!(storage.status().full);
    assert!(
        storage.settle(outcomes(done.places[1].at, done.places[2], &[(0, Disposition::Delivered)])).is_ok()
    );
    storage.stop();
    let (storage, recovered) = open(&dir, BackEnd::Blocking).expect("opens again");
    assert_eq!(recovered.live_rows(), accepted);
    storage.stop();
}

/// R4: a nonce that came again would let what stood in a recycled file, or in a message that somebody has read, pass for
/// records.
#[test]
fn no_two_segments_share_a_nonce() {
    let dir = spool();
    let mut nonces = std::collections::BTreeSet::new();
    let mut segments = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let (storage, _) = open(&dir, BackEnd::Blocking).expect("opens");
        for _ in 0..8 {
            storage.submit(message(&vec![b'x'; 1_000_000], &["a@x.example"])).wait().expect("committed");
        }
        storage.stop();
        let directory = Directory::open(dir.path(), &[], false).expect("opens");
        nonces.extend(directory.headers.values().map(|header| header.nonce));
        segments.extend(directory.headers.keys().copied());
    }
    assert!(segments.len() > 6 && nonces.len() == segments.len(), "{} of {}", nonces.len(), segments.len());
}
