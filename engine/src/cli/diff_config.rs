//! `diff-config OLD NEW`: what a change of the configuration changes for which queues, and what takes a restart.

use super::args::Cli;
use super::start::configuration;
use super::{FAILED, UNUSABLE, print};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use vmta_config::{Change, compare};

/// Compares two files: exit status 0 when they mean the same, 1 when they do not, 2 when one does not load.
pub fn diff_config(cli: &Cli, old: &Path, new: &Path, lenient: bool) -> ExitCode {
    let (Ok(before), Ok(after)) = (configuration(cli, old, lenient), configuration(cli, new, lenient)) else {
        return ExitCode::from(UNUSABLE);
    };
    let changes = compare(&before, &after);
    print(&if cli.json { as_json(&changes) } else { as_text(&changes) });
    if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn as_text(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "No difference: both mean the same.\n".to_owned();
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    for change in changes {
        let _ = writeln!(text, "{change}");
    }
    let restart = changes.iter().filter(|c| c.takes_restart()).count();
    let _ = match restart {
        0 => writeln!(text, "\n{} change(s); `posthaste reload` puts all into effect.", changes.len()),
        n => writeln!(text, "\n{} change(s); {n} of them take a restart, the rest a reload.", changes.len()),
    };
    text
}

fn as_json(changes: &[Change]) -> String {
    let change = |c: &Change| {
        let difference = |d: &vmta_config::Difference| {
            json!({
                "directive": d.directive,
                "old": d.old,
                "new": d.new,
                "inEffect": !d.idle,
                "restart": !d.restart.is_empty(),
                "why": d.restart,
            })
        };
        json!({
            "subject": c.subject,
            "remark": c.remark,
            "restart": c.takes_restart(),
            "differences": c.differences.iter().map(difference).collect::<Vec<Value>>(),
        })
    };
    format!("{:#}\n", json!({ "changes": changes.iter().map(change).collect::<Vec<Value>>() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmta_config::{MemoryFiles, load};

    fn changes(old: &str, new: &str) -> Vec<Change> {
        let config = |text: &str| {
            let text = format!("log-file /l\n<spool /s>\n</spool>\n{text}");
            load("c", &MemoryFiles::new([("c", text)]), false).config.unwrap()
        };
        compare(&config(old), &config(new))
    }

    #[test]
    fn the_last_line_says_whether_a_reload_is_enough() {
        let live = changes("", "<domain *>\n max-smtp-out 3\n</domain>\n");
        assert!(as_text(&live).ends_with("1 change(s); `posthaste reload` puts all into effect.\n"));
        let both = changes("", "<domain *>\n max-smtp-out 3\n</domain>\nthreads 3\n");
        assert!(as_text(&both).ends_with("2 change(s); 1 of them take a restart, the rest a reload.\n"));
        let json: Value = serde_json::from_str(&as_json(&both)).unwrap();
        assert_eq!(json["changes"][0]["differences"][0]["directive"], "threads");
        assert!(as_text(&[]).starts_with("No difference"));
    }
}
