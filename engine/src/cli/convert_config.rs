//! `convert-config FILE`: older forms rewritten as what they say today; the rest stays to the byte.

use super::args::Cli;
use super::{UNUSABLE, complain, print};
use crate::io::config_files::ConfigFiles;
use std::path::Path;
use std::process::ExitCode;
use vmta_config::{Files, convert};

/// Prints the file with its older forms rewritten, and on standard error what was done.
pub fn convert_config(cli: &Cli, path: &Path) -> ExitCode {
    let text = match ConfigFiles.read(&path.to_string_lossy()) {
        Ok(text) => text,
        Err(e) => {
            complain(cli.json, &format!("configuration {}: {e}", path.display()));
            return ExitCode::from(UNUSABLE);
        }
    };
    let converted = convert(&text);
    print(&converted.text);
    for (line, what) in &converted.notes {
        eprintln!("{}:{line}: {what}", path.display());
    }
    if text.lines().any(|l| l.trim_start().starts_with("include ")) {
        eprintln!("{}: the files it includes are to be converted one by one", path.display());
    }
    ExitCode::SUCCESS
}
