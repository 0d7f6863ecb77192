//! Every failpoint: the engine dies there, and nothing that was acknowledged is lost, altered, invented or doubled
//! without excuse.
#![cfg(feature = "failpoints")]

use std::collections::BTreeSet;
use std::process::Command;

use posthaste::io::failpoint::Point;
use tests::failpoints::End::{Aborted, Exits, GoesOn};
use tests::failpoints::Need::{Campaign, Resize, Rotation, Stop};
use tests::failpoints::{Case, case, does, needs, walk};

const INTAKE: [Case; 21] = [
    case("smtp.accepted", 3),
    case("smtp.after-mail", 40),
    case("smtp.after-rcpt", 1),
    case("smtp.after-rcpt", 70),
    case("smtp.mid-data", 3),
    case("smtp.after-final-dot", 90),
    case("smtp.durable-before-reply", 100),
    case("smtp.reply-before-flush", 110),
    case("smtp.reply-flushed", 120),
    case("storage.before-write", 60),
    case("storage.mid-append", 1),
    case("storage.mid-append", 20),
    case("storage.appended-before-sync", 30),
    case("storage.during-sync", 40),
    case("storage.synced-before-acknowledging", 50),
    case("storage.outcome-before-write", 4),
    case("storage.outcome-before-sync", 1),
    case("pickup.read", 5),
    case("pickup.durable-before-unlink", 5),
    case("pickup.unlinked", 5),
    needs(Stop, "storage.drained", 1),
];

const SEGMENTS: [Case; 27] = [
    case("segment.created", 2),
    case("recovery.remove-unfinished", 1),
    case("segment.allocated-before-file-sync", 1),
    case("segment.synced-before-rename", 2),
    case("segment.stocked-before-directory-sync", 1),
    case("segment.header-before-sync", 1),
    case("segment.header-before-sync", 2),
    case("segment.headed-before-rename", 2),
    case("segment.named-before-directory-sync", 1),
    case("segment.named-before-directory-sync", 2),
    case("segment.ready", 2),
    case("recovery.freed", 1),
    case("recovery.locked", 1),
    case("recovery.read-header", 2),
    case("recovery.read", 1),
    case("recovery.read", 3),
    case("recovery.sync", 1),
    case("recovery.synced", 1),
    case("recovery.first-commit", 1),
    case("recovery.requeue", 1),
    case("storage.seal", 1),
    case("storage.rolled", 1),
    case("storage.reclaim-appended", 1),
    case("storage.reclaim-before-retiring", 1),
    case("storage.retired", 1),
    case("segment.recycle", 1),
    case("segment.recycled", 1),
];

const DELIVERY: [Case; 14] = [
    case("outbound.in-doubt", 1),
    case("outbound.connect", 3),
    case("outbound.connected", 2),
    case("outbound.dequeued", 60),
    case("outbound.after-mail", 60),
    case("outbound.mid-data", 60),
    case("outbound.after-final-dot", 60),
    case("outbound.replied-before-append", 60),
    case("outbound.retry", 5),
    case("outbound.bounced", 5),
    case("outbound.expired", 2),
    needs(Resize, "segment.unlink", 1),
    needs(Stop, "stop.drained", 1),
    needs(Stop, "stop.storage-stopped", 1),
];

const PAPERS: [Case; 20] = [
    needs(Campaign, "import.moved-aside", 1),
    needs(Campaign, "import.before-submit", 2),
    needs(Campaign, "import.durable-before-queueing", 1),
    needs(Campaign, "import.queued", 1),
    needs(Campaign, "import.before-report", 1),
    needs(Campaign, "import.reported", 1),
    needs(Campaign, "import.mid-removal", 2),
    needs(Campaign, "import.removed", 1),
    needs(Campaign, "import.forgotten", 1),
    case("accounting.before-line", 30),
    case("accounting.mid-line", 4),
    case("accounting.written-before-sync", 1),
    case("accounting.synced-before-cursor", 2),
    case("accounting.cursor-before-sync", 2),
    case("accounting.cursor-saved", 2),
    needs(Rotation, "accounting.named-before-create", 1),
    needs(Rotation, "accounting.created", 1),
    needs(Rotation, "accounting.rotate", 2),
    needs(Rotation, "accounting.rotated", 1),
    needs(Rotation, "accounting.move", 1),
];

/// What is not a death: a failed write or sync of the log ends the engine with 74 (R2), a failure at its start with 1; a
/// failing accounting file is tried again (F24), and what cannot be read at one start is there at the next. A panic ends the
/// process, unless it is that of one session (F29).
const OTHERS: [Case; 17] = [
    does("error", "storage.before-write", 30, Exits(74)),
    does("error", "storage.mid-append", 5, Exits(74)),
    does("error", "storage.appended-before-sync", 30, Exits(74)),
    does("error", "segment.header-before-sync", 1, Exits(1)),
    does("error", "recovery.sync", 1, Exits(1)),
    does("error", "recovery.first-commit", 1, Exits(1)),
    does("error", "recovery.read", 2, GoesOn),
    does("error", "accounting.mid-line", 3, GoesOn),
    does("error", "accounting.written-before-sync", 1, GoesOn),
    does("error", "accounting.cursor-before-sync", 1, GoesOn),
    does("delay:300", "storage.during-sync", 9, GoesOn),
    does("panic", "storage.before-write", 30, Aborted),
    does("panic", "segment.created", 1, Aborted),
    does("panic", "outbound.connect", 2, Aborted),
    does("panic", "accounting.before-line", 9, Aborted),
    does("panic", "pickup.read", 3, Aborted),
    does("panic", "smtp.after-final-dot", 20, GoesOn),
];

#[test]
fn what_fails_and_what_panics() {
    walk(&OTHERS, "auto");
}

#[test]
fn a_death_on_the_way_in() {
    walk(&INTAKE, "auto");
}

#[test]
fn a_death_among_the_segments() {
    walk(&SEGMENTS, "blocking");
}

#[test]
fn a_death_on_the_way_out() {
    walk(&DELIVERY, "auto");
}

#[test]
fn a_death_over_the_papers() {
    walk(&PAPERS, "auto");
}

#[test]
fn every_point_has_its_turn() {
    let walked = [&INTAKE[..], &SEGMENTS, &DELIVERY, &PAPERS].concat();
    let walked: BTreeSet<&str> = walked.iter().map(|case| case.point).collect();
    let all: BTreeSet<&str> = Point::ALL.iter().map(|(_, name)| *name).collect();
    assert_eq!(walked, all);
}

/// What is released is built without the tests: `cargo build --release`, or with `-p posthaste`.
#[test]
fn a_build_without_the_tests_has_none() {
    let features = |packages: &[&str]| {
        let mut cargo = Command::new(std::env::var("CARGO").expect("cargo runs the tests"));
        cargo.args(["tree", "--offline", "--depth=0", "--edges=normal", "--format={p} {f}"]).args(packages);
        let told = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
        let text = String::from_utf8(told.stdout).expect("text");
        assert!(text.contains("posthaste v"), "{text}{}", String::from_utf8_lossy(&told.stderr));
        text
    };
    let released = features(&["-p", "posthaste", "-p", "vmta-config", "-p", "tools"]);
    assert!(!released.contains("failpoints"), "{released}");
    // So it looks where they are.
    assert!(features(&["--workspace"]).contains("failpoints"));
}
