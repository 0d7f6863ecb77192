//! Memory: past a soft limit new mail is refused for now, until there is room again (F36). What has been accepted is
//! delivered meanwhile, which gives memory back.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Mail is taken again when there is this part of the limit to spare.
const RELEASE: u64 = 10;

#[derive(Debug, Default)]
pub struct Pressure {
    high: Arc<AtomicBool>,
}

impl Pressure {
    pub fn is_high(&self) -> bool {
        self.high.load(Ordering::Relaxed)
    }

    /// What [`Pressure::is_high`] says, for whoever is to see it change.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.high.clone()
    }

    /// To be told once a second what is used, in bytes. True when it has changed its mind.
    pub fn look(&self, used: u64, limit: u64) -> bool {
        let high = match self.is_high() {
            true => used >= limit - limit / RELEASE,
            false => used >= limit,
        };
        self.high.swap(high, Ordering::Relaxed) != high
    }
}

/// So much of the machine's memory, or of what the control group allows, whichever is less; 100 per cent are no limit.
pub fn limit(percent: u32) -> u64 {
    if percent >= 100 {
        return u64::MAX;
    }
    let machine = field(&read("/proc/meminfo"), "MemTotal").unwrap_or(u64::MAX);
    let groups = read("/proc/self/cgroup");
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    // A group may have less than those it is in, and the other way round.
    let allowed = Path::new("/sys/fs/cgroup").join(own.trim_start_matches('/'));
    let allowed = allowed.ancestors().take_while(|path| path.starts_with("/sys/fs/cgroup"));
    let allowed =
        allowed.filter_map(|path| fs::read_to_string(path.join("memory.max")).ok()?.trim().parse().ok());
    allowed.fold(machine, u64::min) / 100 * u64::from(percent)
}

/// Memory of this process that the kernel cannot take back: what is mapped from files does not count.
pub fn used() -> u64 {
    let status = read("/proc/self/status");
    field(&status, "RssAnon").unwrap_or(0) + field(&status, "RssShmem").unwrap_or(0)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A field in kilobytes, as bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_is_taken_again_when_there_is_clearly_room() {
        let pressure = Pressure::default();
        let seen: Vec<_> =
            [99, 100, 95, 90, 89, 99, 100].map(|used| (pressure.look(used, 100), pressure.is_high())).into();
        assert_eq!(
            seen,
            [
                (false, false),
                (true, true),
                (false, true),
                (false, true),
                (true, false),
                (false, false),
                (true, true)
            ]
        );
    }

    #[test]
    fn the_kernel_says_what_there_is() {
        assert_eq!(field("VmRSS:\t  12 kB\nRssAnon:\t     345 kB\n", "RssAnon"), Some(345 << 10));
        assert_eq!(field("x", "RssAnon"), None);
        assert!(used() > 1 << 20 && used() < limit(75));
        assert!(limit(10) < limit(75) && limit(99) < u64::MAX);
        assert_eq!(limit(100), u64::MAX);
        assert!(!Pressure::default().look(u64::MAX - 1, limit(100)));
    }
}
