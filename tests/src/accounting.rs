//! Reads the accounting files an engine has written, the way a marketer's tools do: by column name.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

/// A line: column name to value.
pub type Line = HashMap<String, String>;

/// All lines of all files in `dir`, in the order of the files' names.
pub fn read(dir: &Path) -> io::Result<Vec<Line>> {
    let mut files: Vec<_> = fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "csv"));
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let mut reader = csv::Reader::from_path(&file).map_err(io::Error::other)?;
        for line in reader.deserialize() {
            let told = |e| io::Error::other(format!("{}: {e}", file.display()));
            lines.push(line.map_err(told)?);
        }
    }
    Ok(lines)
}

/// How many lines of `kind` (`d`, `b`, `t`, `tq`) each recipient has.
pub fn per_recipient<'a>(lines: &'a [Line], kind: &str) -> HashMap<&'a str, u32> {
    let mut counts = HashMap::new();
    for line in lines.iter().filter(|l| l.get("type").is_some_and(|t| t == kind)) {
        *counts.entry(line.get("rcpt").map_or("", String::as_str)).or_insert(0) += 1;
    }
    counts
}
