//! What all processes of a server cost together, those that have ended and those that left their parents included: a
//! control group of their own, which the kernel counts for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cpu::CpuTime;

/// Between two looks at the memory: each walks the page tables of all processes.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A control group (version 2); removed when dropped, once its processes have ended.
#[derive(Debug)]
pub struct Cgroup {
    dir: PathBuf,
}

impl Cgroup {
    /// An empty one.
    pub fn new(name: &str) -> io::Result<Cgroup> {
        let dir = mount_point()?.join(format!("{name}-{}", std::process::id()));
        match fs::create_dir(&dir) {
            Ok(()) => Ok(Cgroup { dir }),
            Err(e) => Err(io::Error::new(e.kind(), format!("{}: {e} (only root can)", dir.display()))),
        }
    }

    /// Program and arguments that start what follows them within the group.
    pub fn launcher(&self) -> Vec<String> {
        let script = format!("echo $$ > '{}/cgroup.procs' && exec \"$0\" \"$@\"", self.dir.display());
        ["sh", "-c"].map(str::to_owned).into_iter().chain([script]).collect()
    }

    /// CPU time of all that ever ran in it.
    pub fn cpu(&self) -> io::Result<CpuTime> {
        let text = fs::read_to_string(self.dir.join("cpu.stat"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        match (field("user_usec "), field("system_usec ")) {
            (Some(user_us), Some(system_us)) => Ok(CpuTime { user_us, system_us }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "unreadable cpu.stat")),
        }
    }

    /// Watches the memory until the watch is asked for its result.
    pub fn watch(&self) -> Watch {
        let (done, dir) = (Arc::new(AtomicBool::new(false)), self.dir.clone());
        let theirs = done.clone();
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !theirs.load(Ordering::Relaxed) {
                peak = peak.max(pss(&dir));
                std::thread::park_timeout(LOOK_AGAIN);
            }
            peak
        });
        Watch { done, thread }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel may take a moment to let go of a process that has ended.
        let _ = crate::wait::until(Duration::from_secs(2), || fs::remove_dir(&self.dir).ok());
    }
}

/// A look at the memory every now and then.
#[derive(Debug)]
pub struct Watch {
    done: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    /// The greatest sum of the processes' shares of memory (PSS) that was seen, in bytes.
    pub fn peak(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or(0)
    }
}

/// What is shared by n processes counts to each as an n-th.
fn pss(dir: &Path) -> u64 {
    let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let of = |pid: &str| {
        // Gone meanwhile, perhaps.
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    processes.lines().filter_map(of).sum::<u64>() * 1024
}

fn mount_point() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let found =
        mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|f| f.get(2) == Some(&"cgroup2"));
    match found.as_ref().and_then(|fields| fields.get(1)) {
        Some(at) => Ok(PathBuf::from(at)),
        None => {
            Err(io::Error::new(io::ErrorKind::NotFound, "there is no control group file system (version 2)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Only root may make a group; for others there is nothing to test.
    #[test]
    fn processes_that_left_their_parents_count() {
        let Ok(group) = Cgroup::new("posthaste-test") else { return };
        let mut words = group.launcher();
        words.extend(
            ["sh", "-c", "(n=0; while [ $n -lt 30000 ]; do n=$((n+1)); done) & exit 0"].map(str::to_owned),
        );
        assert!(Command::new(&words[0]).args(&words[1..]).status().expect("a shell").success());
        let counted = || group.cpu().ok().filter(|cpu| cpu.total() > Duration::from_millis(3));
        assert!(crate::wait::until(Duration::from_secs(60), counted).is_ok(), "{:?}", group.cpu());
    }
}
