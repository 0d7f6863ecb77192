//! Instructions that the hot parts take, counted by callgrind: unlike time they are the same on every run, so that a
//! change that makes a part dearer is seen here, whatever else the machine does.
//!
//! What is counted is one round of each bench in `engine/benches`, in the build that the tests use. After a wanted change the counts that
//! it prints (`cargo test -p tests --test instructions -- --nocapture`) go into the table.

use std::collections::BTreeMap;
use std::process::Command;

use tests::cargo;

/// The compiler that the counts below are of. With another one they are printed, and nothing is asked of them.
const COMPILER: &str = "rustc 1.95.0";
/// More than this above its count, in percent, and a part has become dearer.
const SLACK: u64 = 5;

const COUNTS: [(&str, &str, u64); 11] = [
    ("acct", "acct/line/delivery", 36_452),
    ("mail", "mail/render/fields", 64_711),
    ("mail", "mail/render/statements", 199_122),
    ("mail", "mail/address/check 1000", 4_899_735),
    ("queue", "queue/one recipient through it/unlimited", 4_345),
    ("queue", "queue/one recipient through it/max-msg-rate", 4_934),
    ("smtp", "smtp/client, a message in one round trip", 50_832),
    ("smtp", "smtp/server, a message", 155_701),
    ("spool", "spool/a message of 2 KiB, ten a commit", 137_457),
    ("spool", "spool/100 recipients of a campaign, stored and settled", 748_034),
    ("spool", "spool/400 commits of a segment, judged", 43_022_291),
];

/// The instructions of one round; `None` where there is no callgrind.
fn counted(program: &std::path::Path, bench: &str) -> Option<u64> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*Bencher*::iter"])
        .arg(program)
        .args(["--bench", "--test", "--exact", bench])
        .output()
        .ok()?;
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{bench}: {told}");
    // Criterion looks for gnuplot in a process of its own, which has a count too: none.
    let counts = told.lines().filter_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    counts.max()
}

#[test]
fn no_part_has_become_dearer() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: valgrind is not installed");
        return;
    }
    let version = Command::new("rustc").arg("--version").output().expect("a compiler");
    let same = String::from_utf8_lossy(&version.stdout).starts_with(&format!("{COMPILER} "));
    let built = cargo::build(&["build", "--workspace", "--benches"]).expect("the benches are built");
    let programs: BTreeMap<_, _> = built.into_iter().collect();
    let mut dearer = Vec::new();
    for (program, bench, before) in COUNTS {
        let now = counted(&programs[program], bench).expect("callgrind tells a count");
        assert!(now > 0, "{bench}: nothing was counted");
        println!("{bench}: {now} instructions, {:+.1} %", now as f64 * 100.0 / before.max(1) as f64 - 100.0);
        if now > before + before * SLACK / 100 {
            dearer.push(format!("{bench}: {now} instructions, {before} before"));
        }
    }
    assert!(dearer.is_empty() || !same, "{dearer:#?}");
}
