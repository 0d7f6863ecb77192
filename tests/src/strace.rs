//! An engine under strace.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use bench::engine::Engine;
use bench::wait::until;

/// Bytes of each string are shown as `\xHH`, descriptors with what they are.
#[derive(Debug)]
pub struct Strace(Child);

impl Strace {
    /// Attaches to every thread of `engine`, writes `calls` (as `trace=NAME,...`) with so many bytes of each buffer into a
    /// file, and waits until it does.
    pub fn attach(engine: &Engine, calls: &str, bytes: usize, to: &Path) -> io::Result<Strace> {
        let told = to.with_extension("told");
        let child = Command::new("strace")
            .args(["-f", "-yy", "-xx", "-s", &bytes.to_string(), "-e", calls, "-o"])
            .arg(to)
            .args(["-p", &engine.pid().to_string()])
            .stdin(Stdio::null())
            .stderr(File::create(&told)?)
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("strace: {e}")))?;
        let strace = Strace(child);
        let attached = || fs::read_to_string(&told).ok()?.contains("attached").then_some(());
        match until(Duration::from_secs(20), attached) {
            Ok(()) => Ok(strace),
            Err(_) => Err(io::Error::other(fs::read_to_string(&told)?)),
        }
    }

    /// Lets go of the engine; then the file is whole.
    pub fn end(mut self) -> io::Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::TERM)?;
        self.0.wait().map(drop)
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
