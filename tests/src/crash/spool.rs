//! A stopped spool as the operator's own tool sees it.

use std::io;
use std::path::Path;
use std::process::{Command, Output};

use serde::Deserialize;

use bench::ground::programs;

/// A recipient that waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub address: String,
    /// Of its `Rows` record, `segment:offset`.
    pub at: String,
    pub virtual_mta: String,
    pub attempts: u16,
    #[serde(default)]
    pub submission: Submission,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Submission {
    pub at: String,
    pub id: u64,
    pub job: String,
    pub sender: String,
    pub content_at: String,
}

fn tool(arguments: &[&str], dir: &Path) -> io::Result<Output> {
    Command::new(programs()?.join("spool-under-test")).args(arguments).arg(dir).output()
}

/// Every recipient that waits, in order.
pub fn waiting(dir: &Path) -> io::Result<Vec<Row>> {
    let output = tool(&["export"], dir)?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut rows: Vec<Row> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    rows.sort();
    Ok(rows)
}

/// The exit status of `verify`.
pub fn verify(dir: &Path) -> io::Result<Option<i32>> {
    Ok(tool(&["verify"], dir)?.status.code())
}
