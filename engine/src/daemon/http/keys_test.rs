//! The life of a key, in memory and in a real spool.

use super::*;
use crate::ingest::submission;
use crate::io::storage::{BackEnd, StorageOptions};
use crate::mail::Content;
use crate::spool::record::{Draft, Group, Submission};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

fn open(dir: &TempDir) -> (Storage, Arc<Keys>, Vec<String>) {
    let options =
        StorageOptions { back_end: BackEnd::Blocking, min_free_space: Some(0), ..StorageOptions::default() };
    let (storage, recovered) = Storage::open(dir.path(), &options).expect("the spool opens");
    let keys = Arc::new(Keys::new(storage.clone(), &recovered, 1000));
    let done = recovered.pickup_done().map(str::to_owned).collect();
    (storage, keys, done)
}

fn spool() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("its mode");
    dir
}

fn claim(keys: &Arc<Keys>, key: u128, now: u64) -> Claim {
    match keys.claim(key, now) {
        Ok(Claimed::New(claim)) => claim,
        Ok(Claimed::Before(answered)) => panic!("known: {answered}"),
        Err(e) => panic!("{e}"),
    }
}

fn answered(key: u128, at: u64) -> Answered {
    Answered { key, at, print: 5, accepted: 1, rejected: 0, lists: None }
}

/// Notes are written together with the next group that somebody waits for.
fn store(storage: &Storage, control: Control) {
    storage.submit(Group { drafts: vec![Draft::Control(control)] }).wait().expect("committed");
}

#[test]
fn a_key_is_held_given_back_and_remembered_for_its_time() {
    let dir = spool();
    let (storage, keys, _) = open(&dir);
    let first = claim(&keys, 7, 1000);
    assert_eq!(keys.claim(7, 1001).err().map(|e| e.status), Some(StatusCode::CONFLICT));
    drop(first);
    let second = claim(&keys, 7, 1002);
    store(&storage, Control::PickupDone { identity: answered(7, 1002).to_string() });
    second.answered(answered(7, 1002));
    assert!(matches!(keys.claim(7, 1003), Ok(Claimed::Before(before)) if before == answered(7, 1002)));
    storage.stop();

    let (storage, keys, done) = open(&dir);
    assert_eq!(done, [answered(7, 1002).to_string()]);
    let last = 1002 + LIFETIME - 1;
    assert!(matches!(keys.claim(7, last), Ok(Claimed::Before(before)) if before == answered(7, 1002)));
    drop(claim(&keys, 7, last + 1));
    store(&storage, Control::QueuePaused { queue: "*/*".into(), paused: false });
    storage.stop();
    assert_eq!(open(&dir).2, [""; 0], "the spool has forgotten it too");
}

#[test]
fn a_request_that_was_broken_off_goes_on_with_its_key_and_ends_without_one() {
    let dir = spool();
    let (storage, _, _) = open(&dir);
    let begun = Begun { key: Some(7), at: 1000, print: 9 };
    let mut drafts = submission::merged(Submission::default(), &Content::plain(b"x".to_vec()));
    for begun in [begun, Begun { key: None, ..begun }] {
        let (identity, state) = (begun.to_string(), Progress { next_row: 3, ..Progress::default() }.state());
        let submission = Location { segment: 0, offset8: 1 };
        drafts.push(Draft::Control(Control::ImportProgress { identity, submission, next_row: 3, state }));
    }
    let submission = storage.submit(Group { drafts }).wait().expect("committed").places[1].at;
    storage.stop();

    let (storage, keys, _) = open(&dir);
    for _ in 0..2 {
        let stored = claim(&keys, 7, 1100).stored.expect("it was begun");
        assert_eq!((stored.begun, stored.submission, stored.progress.next_row), (begun, submission, 3));
    }
    assert!(claim(&keys, 7, 1000 + LIFETIME).stored.is_none(), "nobody goes on with it any longer");
    store(&storage, Control::QueuePaused { queue: "*/*".into(), paused: false });
    storage.stop();
    let options =
        StorageOptions { back_end: BackEnd::Blocking, min_free_space: Some(0), ..StorageOptions::default() };
    let (storage, recovered) = Storage::open(dir.path(), &options).expect("the spool opens");
    assert_eq!((recovered.imports().count(), recovered.pickup_done().count()), (0, 0));
    storage.stop();
}

#[test]
fn the_same_text_is_another_key_for_others() {
    let headers =
        |text: &str| HeaderMap::from_iter([("idempotency-key".parse().unwrap(), text.parse().unwrap())]);
    let of = |text: &str, api: &str, path: &str| of_request(&headers(text), api, path).unwrap();
    let key = of("one", "k1", "/a");
    assert!(key.is_some() && key == of("one", "k1", "/a"));
    for other in [of("two", "k1", "/a"), of("one", "k2", "/a"), of("one", "k1", "/b"), of("one", "k1/", "a")]
    {
        assert_ne!(other, key);
    }
    assert!(of_request(&HeaderMap::new(), "k1", "/a").unwrap().is_none());
    assert!(of_request(&headers(&"x".repeat(256)), "k1", "/a").is_err());
}
