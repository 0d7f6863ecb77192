//! Configuration files that other people published. They are kept beside the project, not in it; without them these
//! tests pass at once.

use std::path::PathBuf;

use vmta_config::{Diagnostic, Loaded, MemoryFiles, OsFiles, load};

/// The files, if they are there.
fn corpus() -> Option<Vec<PathBuf>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora/pmta-configs");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root).ok()?.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "conf"));
    files.sort();
    Some(files)
}

fn read(path: &std::path::Path, lenient: bool) -> Loaded {
    load(path.to_str().expect("ASCII names"), &OsFiles, lenient)
}

#[test]
fn every_published_file_loads_in_lenient_mode() {
    for path in corpus().unwrap_or_default() {
        let loaded = read(&path, true);
        let errors: Vec<String> =
            loaded.diagnostics.iter().filter(|d| d.is_error()).map(|d| d.to_string()).collect();
        assert!(loaded.config.is_some(), "{}: {errors:#?}", path.display());
    }
}

#[test]
fn nothing_in_them_is_ignored_without_being_counted() {
    for path in corpus().unwrap_or_default() {
        let text = std::fs::read_to_string(&path).expect("readable");
        let loaded = read(&path, true);
        let main = &loaded.files[0];
        // Counted by eye, so to speak: whatever is no comment and closes no tag.
        let lines = text.lines().map(|l| l.split('#').next().unwrap_or("").trim());
        let lines =
            lines.filter(|l| !(l.is_empty() || l.starts_with("</") && l.ends_with('>'))).count() as u32;
        assert_eq!(main.lines, lines, "{}", path.display());
        assert_eq!(main.lines, main.understood() + main.left_out, "{main:?}");
        assert!(main.left_out == 0 || main.warnings > 0, "{main:?}");
    }
}

/// Faults of a file taken alone: what the rest of its installation would have said.
fn of_a_fragment(d: &Diagnostic) -> bool {
    d.origin.is_none() || d.message.starts_with("cannot read /etc/pmta/")
}

/// Files whose own lines are right, so that nothing may be found in strict mode.
const CLEAN: [&str; 11] = ["04", "05", "22", "36", "37", "40", "41", "42", "43", "44", "45"];

#[test]
fn strict_mode_finds_nothing_in_right_files_and_something_in_wrong_ones() {
    for path in corpus().unwrap_or_default() {
        let found = read(&path, false).diagnostics;
        let faults: Vec<&Diagnostic> = found.iter().filter(|d| d.is_error() && !of_a_fragment(d)).collect();
        println!("{}: {} faults", path.display(), faults.len());
        faults.iter().for_each(|fault| println!("{fault}\n"));
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        assert_eq!(faults.is_empty(), CLEAN.contains(&stem), "{stem}: {faults:#?}");
        assert!(
            faults.iter().all(|d| d.text.contains(|c: char| !c.is_whitespace())),
            "every fault shows its line"
        );
    }
}

#[test]
fn syntax_that_was_never_in_the_language_is_marked_exactly() {
    let Some(path) = corpus().into_iter().flatten().find(|p| p.ends_with("25.conf")) else { return };
    let found = read(&path, false).diagnostics;
    let at = |line: u32| {
        found.iter().find(|d| d.origin.as_ref().is_some_and(|o| o.line == line)).expect("a finding")
    };
    assert_eq!((at(12).column, at(12).message.as_str()), (28, "smtp-listener: `{` is not expected here"));
    assert!(at(12).help.as_deref().is_some_and(|h| h.contains("no braces blocks")));
    assert_eq!(at(44).message, "a <domain> tag is for one domain");
    let macros = "write `domain-macro NAME outlook.com,hotmail.com,live.com` and `<domain $NAME>`";
    assert_eq!(at(44).help.as_deref(), Some(macros));
}

#[test]
fn a_published_tree_with_wildcards_is_one_configuration() {
    let Some(files) = corpus() else { return };
    let names = [
        ("36", "config"),
        ("37", "parameters/pmta_accounting.conf"),
        ("38", "parameters/pmta_bounce_rules.conf"),
        ("40", "parameters/pmta_isps.conf"),
        ("41", "parameters/pmta_log.conf"),
        ("42", "parameters/pmta_mail_access.conf"),
        ("43", "parameters/pmta_smtp_listener.conf"),
        ("44", "parameters/pmta_sources.conf"),
        ("45", "parameters/pmta_spool.conf"),
        ("46", "vmtas/vmta-1.conf"),
    ];
    let text = |number: &str| {
        let path =
            files.iter().find(|f| f.file_stem().is_some_and(|s| s == number)).expect("listed in the index");
        std::fs::read_to_string(path).expect("readable")
    };
    let tree = MemoryFiles::new(names.map(|(number, name)| (format!("/etc/pmta/{name}"), text(number))));
    let loaded = load("/etc/pmta/config", &tree, true);
    let config = loaded.config.expect("lenient");
    assert!(config.global().log_file.is_some());
    assert_eq!(config.acct_files().len(), 3);
    assert!(!config.virtual_mtas().is_empty());
}
