//! How many instructions each hot part takes: the same on a busy machine as on an idle one, so that a change which costs
//! time is seen where clocks see nothing.
//!
//! `cargo bench -p posthaste --bench instructions` compares with `instructions.txt` beside this file and fails where a
//! part takes 3 % more; with `-- store` it writes the file anew. Needs valgrind. The counts are those of one compiler
//! and one processor architecture: store them anew with either.

mod parts;

use parts::{acct, mail, queue, smtp, spool};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::{env, fs};

/// More than this is a loss, less than its inverse a gain worth storing.
const TOLERATED: f64 = 1.03;

type Part = (&'static str, fn() -> Box<dyn FnMut()>, u32);

/// Name, and how often it is run: the difference to twice as often is what counts.
const PARTS: [Part; 12] = [
    ("smtp/client, a message", || Box::new(smtp::client()), 200),
    ("smtp/server, a message", || Box::new(smtp::server()), 200),
    ("smtp/dots of 64 KiB stuffed", || Box::new(smtp::dots_stuffed()), 20),
    ("smtp/dots of 64 KiB undone", || Box::new(smtp::dots_undone()), 20),
    ("mail/render, fields", || Box::new(mail::render(mail::Kind::Fields)), 200),
    ("mail/check 1000 addresses", || Box::new(mail::addresses()), 10),
    ("queue/one recipient", || Box::new(queue::one(None)), 1000),
    ("spool/one group of 2 KiB", || Box::new(spool::append()), 500),
    ("spool/a batch of 100 outcomes", || Box::new(spool::outcomes()), 100),
    ("spool/recovery of 4 MiB", || Box::new(spool::recovery()), 2),
    ("acct/delivery", || Box::new(acct::delivery()), 500),
    ("acct/bounce", || Box::new(acct::bounce()), 500),
];

/// This program as valgrind runs it: one part, so often.
fn part(name: &str, times: u32) {
    let (_, make, _) = PARTS.iter().find(|(known, ..)| *known == name).expect("a part");
    let mut run = make();
    (0..times).for_each(|_| run());
}

fn counted(name: &str, times: u32) -> Result<u64, String> {
    let this = env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["part", name, &times.to_string()])
        .output()
        .map_err(|e| format!("valgrind: {e}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected = told.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.ok_or_else(|| format!("{name}: valgrind told no count:\n{told}"))
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

fn stored() -> BTreeMap<String, f64> {
    let text = fs::read_to_string(file()).unwrap_or_default();
    let pair = |line: &str| {
        line.rsplit_once(' ').and_then(|(name, n)| Some((name.trim().to_owned(), n.parse().ok()?)))
    };
    text.lines().filter_map(pair).collect()
}

fn compare(store: bool) -> Result<bool, String> {
    let (before, mut text, mut good) = (stored(), String::new(), true);
    for (name, _, times) in PARTS {
        let count = (counted(name, 2 * times)? - counted(name, times)?) as f64 / f64::from(times);
        let ratio = before.get(name).map(|stored| count / stored);
        let verdict = match ratio {
            None => "not stored",
            Some(ratio) if ratio > TOLERATED => "MORE",
            Some(ratio) if ratio < 1.0 / TOLERATED => "less",
            Some(_) => "as stored",
        };
        good &= verdict != "MORE";
        let ratio = ratio.map_or("-".into(), |ratio| format!("{ratio:.3}"));
        println!("{name:<32} {count:>12.0} {ratio:>7}  {verdict}");
        text.push_str(&format!("{name:<32} {count:.0}\n"));
    }
    if store {
        fs::write(file(), text).map_err(|e| e.to_string())?;
    }
    Ok(good || store)
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [word, name, times] = &args[..]
        && word == "part"
    {
        part(name, times.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    // As `cargo test --benches` runs it.
    if !args.iter().any(|arg| arg == "--bench") {
        PARTS.iter().for_each(|(name, ..)| part(name, 1));
        return ExitCode::SUCCESS;
    }
    match compare(args.iter().any(|arg| arg == "store")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(told) => {
            eprintln!("instructions: {told}");
            ExitCode::from(2)
        }
    }
}
