//! The disk below a directory: what was written to it, and how long a sync takes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the whole machine has written to the device of a directory since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub bytes: u64,
    /// Requests to make everything written durable.
    pub flushes: u64,
}

impl std::ops::Sub for Written {
    type Output = Written;
    fn sub(self, earlier: Written) -> Written {
        Written {
            bytes: self.bytes.saturating_sub(earlier.bytes),
            flushes: self.flushes.saturating_sub(earlier.flushes),
        }
    }
}

/// To the device that `dir` lies on; none where it lies on no block device.
pub fn written(dir: &Path) -> io::Result<Option<Written>> {
    let device = fs::metadata(dir)?.dev();
    let number = (rustix::fs::major(device), rustix::fs::minor(device));
    Ok(parse(&fs::read_to_string("/proc/diskstats")?, number))
}

/// Fields 7 (sectors of 512 bytes) and 16 after the name (kernel documentation, iostats).
fn parse(text: &str, (major, minor): (u32, u32)) -> Option<Written> {
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let at = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok());
        let ours = at(0) == Some(major.into()) && at(1) == Some(minor.into());
        ours.then(|| Written { bytes: at(9).unwrap_or(0) * 512, flushes: at(18).unwrap_or(0) })
    })
}

/// How long a write of 4 KiB takes to become durable in `dir`, in a file whose blocks are there: median and the time that
/// 99 of 100 stay within.
pub fn sync_latency(dir: &Path) -> io::Result<(Duration, Duration)> {
    let path = dir.join("sync-latency");
    let mut file = File::create(&path)?;
    file.write_all(&vec![0; 200 * 4096])?;
    file.sync_all()?;
    let mut times = Vec::new();
    for block in 0..200 {
        let begun = Instant::now();
        rustix::io::pwrite(&file, &[block as u8; 4096], block * 4096)?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    fs::remove_file(path)?;
    times.sort_unstable();
    Ok((times[100], times[197]))
}

/// The type of the file system that `dir` lies on.
pub fn file_system(dir: &Path) -> io::Result<String> {
    let dir = dir.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let above = fields.filter(|f| f.len() > 2 && dir.starts_with(f[1]));
    Ok(above.max_by_key(|f| f[1].len()).map_or_else(|| "unknown".into(), |f| f[2].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_is_read() {
        let text = " 254 0 vda 1 2 3 4 5 6 700 8 9 10 11 12 13 14 15 160 17\n 254 1 vda1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse(text, (254, 0)), Some(Written { bytes: 700 * 512, flushes: 160 }));
        assert_eq!(parse(text, (8, 0)), None);
    }
}
