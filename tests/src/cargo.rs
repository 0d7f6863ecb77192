//! Programs that a test has cargo build.

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Runs cargo with these arguments; gives the programs it names, each with its target's name, in its order.
pub fn build(arguments: &[&str]) -> io::Result<Vec<(String, PathBuf)>> {
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).args(["--locked", "--message-format=json-render-diagnostics"]);
    let built = cargo.stderr(Stdio::inherit()).output()?;
    if !built.status.success() {
        return Err(io::Error::other(format!("cargo {}: {}", arguments.join(" "), built.status)));
    }
    let program = |line: String| {
        let message: serde_json::Value = serde_json::from_str(&line).ok()?;
        let name = message.pointer("/target/name")?.as_str()?.to_owned();
        Some((name, message.get("executable")?.as_str()?.into()))
    };
    Ok(built.stdout.lines().map_while(Result::ok).filter_map(program).collect())
}
