//! `check-config`: everything that is wrong with a configuration, and everything in it that is not in effect.

use super::args::Cli;
use super::table::{Side, table};
use super::{FAILED, UNUSABLE, complain, print};
use crate::daemon::accounting_config::stream_options;
use crate::io::config_files::ConfigFiles;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vmta_config::{Diagnostic, FileReport, Files, load};

/// What a check found.
struct Checked {
    diagnostics: Vec<Diagnostic>,
    /// Faults that only show when the configuration is put to work.
    faults: Vec<String>,
    notes: Vec<String>,
    files: Vec<FileReport>,
    vmtas: usize,
    pools: usize,
}

impl Checked {
    fn is_good(&self) -> bool {
        self.faults.is_empty() && !self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Checks each of the files: exit status 0 when all load, 1 when one does not, 2 when one cannot be read.
pub fn check_config(cli: &Cli, paths: &[PathBuf], lenient: bool, report: bool) -> ExitCode {
    let (mut worst, mut reports) = (0, Vec::new());
    for path in paths {
        if let Err(e) = ConfigFiles.read(&path.to_string_lossy()) {
            complain(cli.json, &format!("configuration {}: {e}", path.display()));
            worst = UNUSABLE;
            continue;
        }
        let checked = check(path, &ConfigFiles, lenient);
        if !checked.is_good() {
            worst = worst.max(FAILED);
        }
        match (cli.json, report) {
            (true, _) => print(&as_json(path, &checked)),
            (false, false) => print(&as_text(path, &checked)),
            (false, true) => reports.extend(checked.files),
        }
    }
    if report && !cli.json {
        print(&report_text(&reports));
    }
    ExitCode::from(worst)
}

/// A line a file, and their sums.
fn report_text(files: &[FileReport]) -> String {
    let columns = [
        "lines",
        "understood",
        "in effect",
        "planned",
        "no effect",
        "older",
        "left out",
        "errors",
        "warnings",
    ];
    let columns: Vec<(&str, Side)> =
        std::iter::once(("file", Side::Left)).chain(columns.map(|name| (name, Side::Right))).collect();
    let mut table = table(&columns, None);
    let counts = |f: &FileReport| {
        [
            f.lines,
            f.understood(),
            f.in_effect,
            f.planned,
            f.without_effect,
            f.older,
            f.left_out,
            f.errors,
            f.warnings,
        ]
    };
    let mut sums = [0; 9];
    for file in files {
        let counts = counts(file);
        sums.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        table.add_row(std::iter::once(file.file.to_string()).chain(counts.map(|n| n.to_string())));
    }
    table.add_row(std::iter::once("all".to_owned()).chain(sums.map(|n| n.to_string())));
    table.trim_fmt() + "\n"
}

fn check(path: &Path, files: &dyn Files, lenient: bool) -> Checked {
    let loaded = load(&path.to_string_lossy(), files, lenient);
    let mut checked = Checked {
        diagnostics: loaded.diagnostics,
        faults: Vec::new(),
        notes: Vec::new(),
        files: loaded.files,
        vmtas: 0,
        pools: 0,
    };
    if let Some(config) = loaded.config {
        checked.notes.extend(config.notes().iter().map(ToString::to_string));
        let accounting = stream_options(&config, Path::new(""), TimeZone::UTC, &mut checked.notes);
        checked.faults.extend(accounting.err().map(|e| e.to_string()));
        checked.vmtas = config.virtual_mtas().len();
        checked.pools = config.pools().len();
    }
    checked
}

fn as_text(path: &Path, checked: &Checked) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for diagnostic in &checked.diagnostics {
        let _ = writeln!(text, "{diagnostic}\n");
    }
    for fault in &checked.faults {
        let _ = writeln!(text, "error: {fault}\n");
    }
    for note in &checked.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let errors = checked.faults.len() + checked.diagnostics.iter().filter(|d| d.is_error()).count();
    let path = path.display();
    let _ = if checked.is_good() {
        let (vmtas, pools) = (checked.vmtas, checked.pools);
        writeln!(text, "{path}: good ({vmtas} virtual MTAs, {pools} pools)")
    } else {
        writeln!(text, "{path}: {errors} error(s); the engine does not start with it")
    };
    text
}

fn as_json(path: &Path, checked: &Checked) -> String {
    let diagnostic = |d: &Diagnostic| {
        json!({
            "severity": if d.is_error() { "error" } else { "warning" },
            "message": d.message,
            "file": d.origin.as_ref().map(|o| o.file.to_string()),
            "line": d.origin.as_ref().map(|o| o.line),
            "column": d.column,
            "help": d.help,
        })
    };
    let file = |f: &FileReport| {
        json!({
            "file": f.file.to_string(),
            "lines": f.lines,
            "understood": f.understood(),
            "inEffect": f.in_effect,
            "planned": f.planned,
            "withoutEffect": f.without_effect,
            "older": f.older,
            "leftOut": f.left_out,
            "errors": f.errors,
            "warnings": f.warnings,
        })
    };
    let fault = |message: &String| json!({ "severity": "error", "message": message });
    let diagnostics: Vec<Value> =
        checked.diagnostics.iter().map(diagnostic).chain(checked.faults.iter().map(fault)).collect();
    let all = json!({
        "file": path.to_string_lossy(),
        "good": checked.is_good(),
        "diagnostics": diagnostics,
        "notes": checked.notes,
        "files": checked.files.iter().map(file).collect::<Vec<Value>>(),
    });
    format!("{all:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmta_config::MemoryFiles;

    fn checked(text: &str) -> Checked {
        let text = format!("log-file /l\n<spool /s>\n</spool>\n{text}");
        check(Path::new("config"), &MemoryFiles::new([("config", text)]), false)
    }

    #[test]
    fn a_good_configuration() {
        let checked = checked("<virtual-mta a>\n</virtual-mta>\n");
        assert_eq!(as_text(Path::new("config"), &checked), "config: good (1 virtual MTAs, 0 pools)\n");
        let json: Value = serde_json::from_str(&as_json(Path::new("config"), &checked)).unwrap();
        assert_eq!(json["good"], true);
    }

    #[test]
    fn the_report_counts_every_line() {
        let checked = checked("<domain *>\n dkim-sign yes\n max-smtp-out 3\n</domain>\nnonsense\n");
        let text = report_text(&checked.files);
        let words: Vec<Vec<&str>> = text.lines().skip(2).map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(words[0], ["config", "6", "5", "4", "1", "0", "0", "1", "1", "0"], "{text}");
        assert_eq!(words[0][1..], words[1][1..]);
        let json: Value = serde_json::from_str(&as_json(Path::new("config"), &checked)).unwrap();
        assert_eq!(json["files"][0]["leftOut"], 1);
    }

    #[test]
    fn faults_of_the_language_and_of_its_use_have_their_place() {
        let broken = checked("max-smtp-uot 3\n");
        let text = as_text(Path::new("config"), &broken);
        assert!(
            text.contains("config:4:1")
                && text.ends_with("config: 1 error(s); the engine does not start with it\n"),
            "{text}"
        );
        let json: Value = serde_json::from_str(&as_json(Path::new("config"), &broken)).unwrap();
        assert_eq!((&json["good"], &json["diagnostics"][0]["line"]), (&json!(false), &json!(4)));
        let unusable = checked("<acct-file /x.csv>\n records tq\n record-fields tq rcpt\n</acct-file>\n");
        let text = as_text(Path::new("config"), &unusable);
        assert!(text.contains("error: config:4: <acct-file /x.csv>: record-fields tq: "), "{text}");
        assert!(!unusable.is_good());
    }
}
