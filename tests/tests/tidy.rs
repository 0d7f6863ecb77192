//! The house rules that a program can check: who may use whom, what the core may not name, and how long things may
//! get. `ARCHITECTURE.md` says why.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// What the core must not touch, and what to use instead.
const BANNED_IN_CORE: [(&str, &str); 10] = [
    ("tokio::", "the core is synchronous; the shell drives it"),
    ("async fn", "the core is synchronous; the shell drives it"),
    ("Instant::now", "take `now` as an argument"),
    ("SystemTime::now", "take `now` as an argument"),
    ("std::fs", "files belong to `io` and `daemon`"),
    ("File::open", "files belong to `io` and `daemon`"),
    ("TcpStream", "sockets belong to `io`"),
    ("UdpSocket", "sockets belong to `io`"),
    ("thread::spawn", "threads belong to `daemon`"),
    ("println!", "output belongs to `cli`"),
];

/// The one exception: the mapped spool, which opens the files it maps.
const MAPPED_STORAGE: [&str; 2] = ["spool/map.rs", "spool/segments.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn rust_files(under: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![under.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("readable source tree") {
            let path = entry.expect("readable entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn all_files() -> Vec<PathBuf> {
    ["engine", "vmta-config", "bench", "tests", "tools"]
        .iter()
        .flat_map(|member| rust_files(&root().join(member)))
        .filter(|path| !path.components().any(|c| c.as_os_str() == "target"))
        .collect()
}

/// The modules of the engine in the order of `lib.rs`; the core ends at the first blank line.
fn modules() -> (Vec<String>, usize) {
    let lib = fs::read_to_string(root().join("engine/src/lib.rs")).expect("lib.rs");
    let mut names = Vec::new();
    let mut core = None;
    for line in lib.lines() {
        if let Some(name) = line.strip_prefix("pub mod ").and_then(|l| l.strip_suffix(';')) {
            names.push(name.to_owned());
        } else if line.is_empty() && !names.is_empty() && core.is_none() {
            core = Some(names.len());
        }
    }
    (names, core.expect("a blank line between core and shell"))
}

/// Source text without tests and comments.
fn production(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("readable source");
    let text = text.split("#[cfg(test)]\nmod ").next().expect("at least one part");
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test_file(path: &Path) -> bool {
    let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
    name == "tests"
        || name.ends_with("_test")
        || name.ends_with("_tests")
        || path.components().any(|c| c.as_os_str() == "tests")
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let (names, _) = modules();
    let mut wrong = Vec::new();
    for (rank, name) in names.iter().enumerate() {
        for path in rust_files(&root().join("engine/src").join(name)) {
            if is_test_file(&path) {
                continue;
            }
            let text = production(&path);
            for later in &names[rank + 1..] {
                if text.contains(&format!("crate::{later}::")) {
                    wrong.push(format!("{} uses {later}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_decides_and_the_shell_does() {
    let (names, core) = modules();
    let mut wrong = Vec::new();
    for name in &names[..core] {
        for path in rust_files(&root().join("engine/src").join(name)) {
            if is_test_file(&path) {
                continue;
            }
            if MAPPED_STORAGE.iter().any(|allowed| path.ends_with(allowed)) {
                continue;
            }
            let text = production(&path);
            for (banned, instead) in BANNED_IN_CORE {
                if text.contains(banned) {
                    wrong.push(format!("{} names {banned}: {instead}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_have_one_noun_each_and_say_which() {
    let mut wrong = Vec::new();
    for path in all_files() {
        let text = fs::read_to_string(&path).expect("readable source");
        let lines = text.lines().count();
        if lines > FILE_LINES {
            wrong.push(format!("{}: {lines} lines, at most {FILE_LINES}", path.display()));
        }
        if !text.trim_start().starts_with("//!") && lines > 1 {
            wrong.push(format!("{}: does not open with a //! comment", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn functions_fit_a_screen() {
    let mut wrong = Vec::new();
    for path in all_files() {
        let text = fs::read_to_string(&path).expect("readable source");
        let lines: Vec<&str> = text.lines().collect();
        let mut open: Option<(usize, usize)> = None;
        for (number, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            match open {
                None if is_function(line) && !line.trim_end().ends_with(['}', ';']) => {
                    open = Some((number, indent));
                }
                Some((start, at)) if indent == at && line.trim_start().starts_with('}') => {
                    let length = number - start + 1;
                    if length > FUNCTION_LINES {
                        wrong.push(format!("{}:{}: {length} lines", path.display(), start + 1));
                    }
                    open = None;
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "functions over {FUNCTION_LINES} lines:\n{}", wrong.join("\n"));
}

fn is_function(line: &str) -> bool {
    let line = line.trim_start();
    [
        "fn ",
        "pub fn ",
        "async fn ",
        "pub async fn ",
        "pub(crate) fn ",
        "pub(super) fn ",
        "const fn ",
        "pub const fn ",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

#[test]
fn nothing_is_left_for_later_without_an_owner() {
    let marks = ["FIX".to_owned() + "ME", "XX".to_owned() + "X", "todo".to_owned() + "!("];
    let mut wrong = Vec::new();
    for path in all_files() {
        let text = fs::read_to_string(&path).expect("readable source");
        for mark in &marks {
            if text.contains(mark.as_str()) {
                wrong.push(format!("{} holds {mark}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
