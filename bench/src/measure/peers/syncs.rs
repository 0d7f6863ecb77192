//! How often a server that does not count its syncs asks for them: a run of its own under `strace`, which slows it down.

use std::fs;
use std::io;

use super::{Contender, Plan, Tools, wait_until_empty};

/// Everything that asks for something to be durable.
const CALLS: &str = "trace=fsync,fdatasync,sync_file_range,msync,syncfs,sync";

/// Acknowledged messages for each of these calls; `None` where there is no `strace`.
pub(super) fn traced(plan: &Plan, tools: Tools, size: u32, who: Contender) -> io::Result<Option<f64>> {
    if plan.traced == 0 {
        return Ok(None);
    }
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("calls");
    let told = file.display().to_string();
    // As a grandchild (-D), so that the server is still this program's child and can be ended by it.
    let launcher = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-c", "-e", CALLS, "-o", &told];
    let launcher = launcher.map(str::to_owned);
    let sink = tools.sink()?;
    let Ok(Some(server)) = who.start(sink.addr, &launcher) else { return Ok(None) };
    tools.send(plan.traced, plan.sessions, size, server.addr())?;
    wait_until_empty(&server)?;
    drop(server);
    let written = || fs::read_to_string(&file).ok().filter(|text| text.contains("total"));
    let text = crate::wait::until(std::time::Duration::from_secs(5), written).unwrap_or_default();
    Ok(calls(&text).map(|calls| plan.traced as f64 / calls as f64))
}

/// The sum of the column `calls` of strace's summary.
fn calls(summary: &str) -> Option<u64> {
    let total = summary.lines().find(|line| line.trim_end().ends_with(" total"))?;
    // "100.00    0.123456         123      1000         5 total", the fifth only where calls failed.
    total.split_ascii_whitespace().nth(3)?.parse().ok().filter(|calls| *calls > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.204581         204      1000           fsync\n------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.204581         204      1003         3 total\n";
        assert_eq!(calls(text), Some(1003));
        assert_eq!(calls(""), None);
    }
}
