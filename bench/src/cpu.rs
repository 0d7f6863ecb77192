//! What a process costs: CPU time of all its threads, the dead ones included, and its memory.

use std::io;
use std::ops::Sub;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// CPU time of a process since it started. The kernel counts in ticks of 10 ms, so measure for seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    pub user_us: u64,
    pub system_us: u64,
}

impl CpuTime {
    /// Of the process `pid`, all threads, from `/proc/PID/stat`.
    pub fn of(pid: u32) -> io::Result<CpuTime> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        parse_stat(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat"))
    }

    /// Of this process.
    pub fn own() -> io::Result<CpuTime> {
        CpuTime::of(std::process::id())
    }

    /// User and system time together.
    pub fn total(self) -> Duration {
        Duration::from_micros(self.user_us + self.system_us)
    }

    /// CPU-microseconds a message, the unit of every goal.
    pub fn per_message(self, messages: u64) -> f64 {
        (self.user_us + self.system_us) as f64 / messages.max(1) as f64
    }
}

impl Sub for CpuTime {
    type Output = CpuTime;
    fn sub(self, earlier: CpuTime) -> CpuTime {
        CpuTime {
            user_us: self.user_us.saturating_sub(earlier.user_us),
            system_us: self.system_us.saturating_sub(earlier.system_us),
        }
    }
}

/// CPU time of each living thread of the process `pid`, with its name, exact to the nanosecond: how the cost of a
/// program divides. Threads that have ended are not in it.
pub fn threads(pid: u32) -> io::Result<Vec<(String, Duration)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        let stat = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        let nanos = stat.split_ascii_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
        all.push((name.trim_end().to_string(), Duration::from_nanos(nanos)));
    }
    Ok(all)
}

/// Fields 14 and 15 (proc(5)), counted from behind the command name, which may itself hold blanks and brackets.
fn parse_stat(text: &str) -> Option<CpuTime> {
    let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(CpuTime { user_us: user * tick_us, system_us: system * tick_us })
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Everything resident.
    pub rss: u64,
    /// Heap and stacks: what cannot be dropped.
    pub anon: u64,
    /// Pages of mapped files.
    pub file: u64,
    pub shmem: u64,
    /// The most that was ever resident.
    pub peak: u64,
}

impl Memory {
    /// Of the process `pid`, from `/proc/PID/status`.
    pub fn of(pid: u32) -> io::Result<Memory> {
        Ok(parse_status(&std::fs::read_to_string(format!("/proc/{pid}/status"))?))
    }

    /// From now on `peak` of the process `pid` is what comes after this.
    pub fn forget_peak(pid: u32) -> io::Result<()> {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
    }

    /// Of this process.
    pub fn own() -> io::Result<Memory> {
        Memory::of(std::process::id())
    }
}

fn parse_status(text: &str) -> Memory {
    let mut m = Memory::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let field = match name {
            "VmRSS" => &mut m.rss,
            "RssAnon" => &mut m.anon,
            "RssFile" => &mut m.file,
            "RssShmem" => &mut m.shmem,
            "VmHWM" => &mut m.peak,
            _ => continue,
        };
        let kib = value.split_ascii_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        *field = kib * 1024;
    }
    m
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_brackets_does_not_shift_the_fields() {
        let line = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 1 1";
        assert_eq!(parse_stat(line), Some(CpuTime { user_us: 2_500_000, system_us: 500_000 }));
    }

    #[test]
    fn our_own_memory_is_told() {
        let m = Memory::own().expect("/proc is there");
        assert!(m.anon > 0 && m.rss >= m.anon, "{m:?}");
    }
}
