//! The fuzz targets without the fuzzer: every file of their corpora, every input that once failed, and a few thousand
//! inputs near them, the same ones each time.

use std::fs;
use std::path::{Path, PathBuf};

use tests::fuzz::{Mutator, TARGETS, Target};

/// Seeds made by hand, and inputs that once failed.
const CORPORA: [&str; 2] = ["seeds", "kept"];

/// Says which input it was when a property does not hold.
struct Trying<'a> {
    target: &'a Target,
    data: &'a [u8],
    from: &'a str,
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = std::env::temp_dir().join(format!("failed-{}", self.target.name));
            let kept = fs::write(&path, self.data).map(|()| path.display().to_string());
            let kept = kept.unwrap_or_else(|e| e.to_string());
            eprintln!("{}, {}: {:?}", self.target.name, self.from, self.data.escape_ascii().to_string());
            eprintln!("kept as {kept}; once mended, it belongs to tests/fuzz/kept/{}", self.target.name);
        }
    }
}

fn try_one(target: &Target, data: &[u8], from: &str) {
    let trying = Trying { target, data, from };
    (trying.target.check)(trying.data);
}

fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut files = Vec::new();
    for corpus in CORPORA {
        let Ok(entries) = fs::read_dir(root.join(corpus).join(target.name)) else { continue };
        files.extend(entries.map(|entry| entry.expect("readable").path()));
    }
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).expect("readable"))).collect()
}

fn hold(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of the list");
    let corpus = corpus(target);
    assert!(corpus.len() >= 3, "{} has {} seeds", target.name, corpus.len());
    try_one(target, &[], "nothing at all");
    for (path, data) in &corpus {
        try_one(target, data, &path.display().to_string());
    }
    let corpus: Vec<_> = corpus.into_iter().map(|(_, data)| data).collect();
    let mut mutator = Mutator::new(&corpus, 7);
    for number in 0..target.smoke {
        try_one(target, &mutator.make(), &format!("mutation {number}"));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            hold(stringify!($name));
        })*
    };
}

targets! {
    smtp_reply smtp_server_session ehlo_keywords address dot_stuff line_normalise record_codec segment_recovery
    pickup_file recipients_csv recipients_jsonl template_merge config mx_policy csv_line json_inject dsn
    merge
}

/// Each target has its test, and its program for the fuzzer, which has no program besides.
#[test]
fn the_fuzzer_runs_the_same_targets() {
    assert_eq!(TESTED, TARGETS.map(|target| target.name));
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(dir.join("Cargo.toml")).expect("a manifest");
    let programs: Vec<_> =
        manifest.lines().filter_map(|line| line.strip_prefix("name = \"")).skip(1).collect();
    assert_eq!(programs, TARGETS.map(|target| format!("{}\"", target.name)));
    for target in &TARGETS {
        let program = fs::read_to_string(dir.join(format!("targets/{}.rs", target.name))).expect("a program");
        assert!(program.contains(&format!("tests::fuzz::check(\"{}\", data)", target.name)), "{program}");
    }
}
