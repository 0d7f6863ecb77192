//! What an operator reads when a file is wrong: every `config/NAME.conf` gives exactly what `config/NAME.expected` says.
//! To renew them after a wanted change: `UPDATE_GOLDEN=1 cargo test -p vmta-config --test golden`, and read the difference.

use std::fs;
use std::path::PathBuf;

use vmta_config::{OsFiles, load};

fn told(name: &str) -> String {
    // Tests run in the directory of the crate, so that no path of this machine is shown.
    let loaded = load(&format!("tests/config/{name}.conf"), &OsFiles, false);
    let errors = loaded.diagnostics.iter().filter(|d| d.is_error()).count();
    assert!(errors > 0 && loaded.config.is_none(), "{name}: nothing is wrong with it");
    let warnings = loaded.diagnostics.len() - errors;
    let mut text = String::new();
    for diagnostic in &loaded.diagnostics {
        text.push_str(&format!("{diagnostic}\n\n"));
    }
    text + &format!("{errors} error(s), {warnings} warning(s)\n")
}

#[test]
fn wrong_files_are_explained() {
    let mut cases: Vec<PathBuf> =
        fs::read_dir("tests/config").expect("the cases").map(|e| e.expect("an entry").path()).collect();
    cases.retain(|path| path.extension().is_some_and(|e| e == "conf"));
    cases.sort();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut differing = Vec::new();
    for path in cases {
        let name = path.file_stem().and_then(|s| s.to_str()).expect("ASCII").to_owned();
        let (told, expected) = (told(&name), path.with_extension("expected"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &told).expect("writable");
        }
        if fs::read_to_string(&expected).unwrap_or_default() != told {
            differing.push(format!("--- {name}\n{told}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_error_of_a_line_shows_file_line_column_and_what_to_do() {
    for entry in fs::read_dir("tests/config").expect("the cases") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "conf") {
            continue;
        }
        let loaded = load(path.to_str().expect("ASCII"), &OsFiles, false);
        for found in &loaded.diagnostics {
            let Some(origin) = &found.origin else { continue };
            let text = fs::read_to_string(&*origin.file).expect("the file it names");
            let line = text.lines().nth(origin.line as usize - 1).expect("the line it names");
            assert_eq!(line, found.text, "{found}");
            let last = (found.column + found.length - 1) as usize;
            // What is missing is missing after the end.
            assert!(last <= line.chars().count() + 1, "{found}");
        }
        let helpless = loaded.diagnostics.iter().filter(|d| d.is_error() && d.help.is_none());
        let helpless: Vec<String> = helpless.map(ToString::to_string).collect();
        assert!(helpless.is_empty(), "no advice:\n{}", helpless.join("\n\n"));
    }
}
