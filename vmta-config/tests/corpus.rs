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

/// Faults of a file taken alone: what the rest of its installation would have said.
fn of_a_fragment(d: &Diagnostic) -> bool {
    d.origin.is_none() || d.message.starts_with("cannot read /etc/pmta/")
}

#[test]
fn strict_faults_are_reported_with_their_place() {
    for path in corpus().unwrap_or_default() {
        let loaded = read(&path, false);
        let faults: Vec<&Diagnostic> =
            loaded.diagnostics.iter().filter(|d| d.is_error() && !of_a_fragment(d)).collect();
        println!("{}: {} faults", path.display(), faults.len());
        for fault in faults {
            println!("{fault}\n");
        }
    }
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
