//! `kill -9` under load: what was acknowledged is there, and only that is missing which was settled (F01).

use super::tests::{BACK_ENDS, message, open, options, outcomes, spool, waiting};
use super::*;
use crate::spool::record::Disposition;

/// Not a check: the process that `a_killed_process_loses_nothing_acknowledged` starts and kills.
#[test]
#[ignore = "started by another test"]
fn process_to_be_killed() {
    let Ok(dir) = std::env::var("POSTHASTE_TEST_SPOOL") else { return };
    let back_end =
        if std::env::var("POSTHASTE_TEST_URING").is_ok() { BackEnd::Uring } else { BackEnd::Blocking };
    let Ok((storage, recovered)) = Storage::open(Path::new(&dir), &options(back_end)) else { return };
    assert!(recovered.damage().iter().all(|damage| !damage.is_loss()), "{:?}", recovered.damage());
    let start = storage.new_id();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let storage = &storage;
            scope.spawn(move || {
                for n in 0u64.. {
                    let name = format!("{start}-{thread}-{n}@x.example");
                    let done = storage.submit(message(&vec![b'x'; 3000], &[&name, "done@x.example"])).wait();
                    let places = done.expect("committed").places;
                    println!("acknowledged {name}");
                    let _ = storage.settle(outcomes(places[1].at, places[2], &[(1, Disposition::Delivered)]));
                    storage.set_accounting_cursor(storage.segments().durable_end());
                }
            });
        }
    });
}

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    use std::io::{BufRead, BufReader};
    for back_end in BACK_ENDS {
        let dir = spool();
        let mut acknowledged = std::collections::BTreeSet::new();
        for cycle in 1..=4 {
            let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
            command.args(["--exact", "io::storage::kill::process_to_be_killed", "--ignored", "--nocapture"]);
            command.env("POSTHASTE_TEST_SPOOL", dir.path()).stdout(std::process::Stdio::piped());
            if back_end == BackEnd::Uring {
                command.env("POSTHASTE_TEST_URING", "1");
            }
            let mut child = command.spawn().expect("starts");
            let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
            let mut note = |line: std::io::Result<String>| {
                let line = line.expect("text");
                if let Some((_, name)) = line.split_once("acknowledged ") {
                    acknowledged.insert(name.to_string());
                }
            };
            lines.by_ref().take(150 * cycle).for_each(&mut note);
            child.kill().expect("killed");
            // A line cut off by the kill is not an acknowledgement.
            lines
                .filter(|line| line.as_ref().is_ok_and(|line| line.ends_with(".example")))
                .for_each(&mut note);
            child.wait().expect("gone");
        }
        let Some((storage, recovered)) = open(&dir, back_end) else { continue };
        assert_eq!(recovered.damage().iter().filter(|damage| damage.is_loss()).count(), 0);
        let found: std::collections::BTreeSet<String> =
            waiting(&recovered).iter().map(|row| row.trim_end_matches(" 0").to_string()).collect();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(
            acknowledged.len() >= 300 && lost.is_empty(),
            "{} acknowledged, lost {lost:?}",
            acknowledged.len()
        );
        storage.stop();
    }
}
