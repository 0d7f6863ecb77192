//! `posthaste-spool` on a spool made by the storage thread.

use posthaste::io::storage::{BackEnd, Storage, StorageOptions};
use posthaste::spool::record::{Draft, Group, Ref, RowsDraft, Submission};
use posthaste::spool::segments::file_name;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Output};

fn run(arguments: &[&str], dir: &PathBuf) -> Output {
    let program = env!("CARGO_BIN_EXE_posthaste-spool");
    Command::new(program).args(arguments).arg(dir).output().expect("the program runs")
}

#[test]
fn a_spool_is_listed_verified_and_exported() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("spool-listed");
    let _ = fs::remove_dir_all(&dir);
    let options = StorageOptions {
        segment_size: 4 << 20,
        back_end: BackEnd::Blocking,
        min_free_space: Some(0),
        ..StorageOptions::default()
    };
    let (storage, _) = Storage::open(&dir, &options).expect("opens");
    let refused = run(&["verify"], &dir);
    assert_eq!(refused.status.code(), Some(2), "a running spool is left alone");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("already in use"));

    let rows = RowsDraft {
        vmtas: vec!["mta1".into()],
        vmta: vec![0, 0],
        ends: vec![16, 28],
        bytes: b"\x0ba@x.example\x03Ann\x0bb@x.example".to_vec(),
        ..RowsDraft::default()
    };
    let submission = Submission { job: "spring".into(), ..Submission::default() };
    let drafts = vec![
        Draft::Content(b"Hello"[..].into()),
        Draft::Accepted { submission, content: Ref::Here(0) },
        Draft::Rows { submission: Ref::Here(1), rows },
    ];
    let places = storage.submit(Group { drafts }).wait().expect("committed").places;
    storage.stop();

    let listed = run(&["list"], &dir);
    assert!(
        String::from_utf8_lossy(&listed.stdout).contains("2 recipients wait in 1 segments"),
        "{listed:?}"
    );
    assert_eq!(run(&["verify"], &dir).status.code(), Some(0));
    let exported = run(&["export"], &dir);
    let lines: Vec<serde_json::Value> = exported
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["address"], &lines[0]["values"][0]), (&"a@x.example".into(), &"Ann".into()));
    assert_eq!((&lines[1]["row"], &lines[1]["submission"]["job"]), (&1.into(), &"spring".into()));
    let messages = run(&["export", "--what", "messages"], &dir);
    assert!(String::from_utf8_lossy(&messages.stdout).contains("48656c6c6f"));

    // A flipped bit in the content: its two recipients cannot be delivered.
    let at = places[0].at;
    let segment = fs::File::options().write(true).open(dir.join(file_name(at.segment))).expect("the segment");
    segment.write_all_at(b"J", at.byte_offset() + 32).expect("written");
    let verified = run(&["verify"], &dir);
    assert_eq!(verified.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&verified.stdout).contains("up to 2 recipients cannot be delivered"));
    fs::remove_dir_all(&dir).expect("removed");
}
