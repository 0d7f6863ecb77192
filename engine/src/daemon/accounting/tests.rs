//! The accounting thread on a real spool.

use super::*;
use crate::acct::{Categories, Layout, Stamp};
use crate::io::storage::{BackEnd, Storage, StorageOptions};
use crate::spool::record::{
    Attempt, Control, Disposition, Draft, Group, Outcome, OutcomeBatch, Ref, RowRef, RowsDraft, Said,
    Submission,
};
use jiff::tz::TimeZone;
use std::fs;
use std::os::unix::fs::PermissionsExt;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        for name in ["spool", "acct"] {
            fs::create_dir(place.path(name)).unwrap();
            fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o700)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn spool(&self) -> Storage {
        let options = StorageOptions {
            segment_size: 4 << 20,
            back_end: BackEnd::Blocking,
            min_free_space: Some(0),
            ..StorageOptions::default()
        };
        Storage::open(&self.path("spool"), &options).unwrap().0
    }

    fn options(&self, files: &[(&str, &[&str])]) -> StreamOptions {
        let file = |&(name, records): &(&str, &[&str])| FileOptions {
            target: self.path("acct").join(name),
            layout: Layout::new(records, &[], false, "").unwrap(),
            queue_filter: None,
            move_to: None,
            move_interval: Duration::from_secs(86_400),
            max_size: 250 << 20,
            delete_after: Some(8),
            world_readable: false,
        };
        StreamOptions {
            cursor_directory: self.path("spool"),
            files: files.iter().map(file).collect(),
            categories: Categories::new::<&str>(&[]).unwrap(),
            stamp: Stamp::new(TimeZone::UTC),
        }
    }

    /// All lines of the files that begin with `stem`, without headers.
    fn lines(&self, stem: &str) -> Vec<String> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.path("acct")).unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|f| f.file_name().unwrap().to_string_lossy().starts_with(stem));
        files.sort();
        let text = |f: &PathBuf| fs::read_to_string(f).unwrap();
        files.iter().flat_map(|f| text(f).lines().skip(1).map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

/// Submits a message to `addresses` and delivers it.
fn deliver(spool: &Storage, addresses: &[&str]) {
    let mut rows = RowsDraft { vmtas: vec!["vmta1".into()], ..RowsDraft::default() };
    for address in addresses {
        rows.vmta.push(0);
        rows.bytes.push(u8::try_from(address.len()).unwrap());
        rows.bytes.extend_from_slice(address.as_bytes());
        rows.ends.push(rows.bytes.len() as u32);
    }
    let submission = Submission {
        id: spool.new_id(),
        sender: "n@s.example".into(),
        job: "spring".into(),
        ..Submission::default()
    };
    let drafts = vec![
        Draft::Content(b"x"[..].into()),
        Draft::Accepted { submission, content: Ref::Here(0) },
        Draft::Rows { submission: Ref::Here(1), rows },
    ];
    let places = spool.submit(Group { drafts }).wait().unwrap().places;
    let outcomes = (0..addresses.len() as u16).map(|index| Outcome {
        row: RowRef { record: places[2].at, ordinal: places[2].first_ordinal + u32::from(index), index },
        submission: places[1].at,
        disposition: Disposition::Delivered,
        at: 1_700_000_000_000,
        attempt: 0,
        said: 0,
        size: 1,
        attempts: 1,
    });
    let batch = OutcomeBatch {
        attempts: vec![Attempt {
            queue: "a.example/vmta1".into(),
            vmta: "vmta1".into(),
            ..Attempt::default()
        }],
        said: vec![Said { status: "2.0.0 (success)".into(), diagnostic: "smtp;250 ok".into() }],
        outcomes: outcomes.collect(),
        queue_failures: Vec::new(),
    };
    spool.settle(batch).unwrap();
}

fn third_to_fifth(line: &str) -> String {
    line.split(',').skip(3).take(2).collect::<Vec<_>>().join(",")
}

#[test]
fn what_the_spool_settles_is_in_the_files_once_over_restarts() {
    let place = Place::new();
    let files: &[(&str, &[&str])] = &[("acct.csv", &["d", "b"]), ("r.csv", &["r"])];
    for round in 0..3 {
        let spool = place.spool();
        deliver(&spool, &["joe@a.example", "ann@a.example"]);
        // The outcomes are durable once a later commit is.
        let later = Draft::Control(Control::PickupForgotten { identity: "later".into() });
        spool.submit(Group { drafts: vec![later] }).wait().unwrap();
        let accounting = Accounting::start(place.options(files), SpoolLog::new(spool.clone())).unwrap();
        accounting.rotate(None);
        accounting.stop();
        spool.stop();
        assert_eq!(place.lines("acct").len(), 2 * (round + 1));
    }
    let lines = place.lines("acct");
    assert!(lines.iter().all(|l| l.starts_with("d,1700000000,0,n@s.example,")), "{lines:?}");
    assert_eq!(third_to_fifth(&lines[0]), "n@s.example,joe@a.example");
    assert_eq!(third_to_fifth(&lines[5]), "n@s.example,ann@a.example");
    let receipts = place.lines("r");
    assert_eq!(receipts.len(), 6);
    assert_eq!(receipts[1], "r,0,n@s.example,ann@a.example,,,,,,vmta1,spring,");
}

#[test]
fn places_that_cannot_work_are_refused_at_the_start() {
    let place = Place::new();
    let spool = place.spool();
    let start = |files: &[(&str, &[&str])]| {
        Accounting::start(place.options(files), SpoolLog::new(spool.clone())).err().unwrap().to_string()
    };
    assert!(start(&[("acct.csv", &["d"]), ("acct.csv", &["b"])]).contains("write each file once"));
    assert!(start(&[("missing/acct.csv", &["d"])]).contains("its directory is not there"));
    spool.stop();
}
