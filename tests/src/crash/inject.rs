//! Engines whose system calls are tampered with by `strace`. Only the blocking back end can be: io_uring's work is not
//! done by system calls.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// What is done to which calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tamper {
    /// Every sync says that it was done, and is not.
    LyingSync,
    /// The `nth` and later calls of a thread that write or sync the spool fail.
    Fail { call: &'static str, error: &'static str, nth: u32 },
}

impl Tamper {
    fn rule(&self) -> String {
        match self {
            Tamper::LyingSync => "inject=fsync,fdatasync,msync,sync_file_range:retval=0".into(),
            // Once: a second call would succeed, and must not be believed.
            Tamper::Fail { call, error, nth } => format!("inject={call}:error={error}:when={nth}"),
        }
    }
}

/// What starts an engine with its calls tampered with and written to `trace`.
pub fn launcher(tamper: &Tamper, trace: &Path) -> io::Result<Command> {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "strace is not installed"));
    }
    let mut command = Command::new("strace");
    // As a grandchild, so that the engine is our own child: its exit status is its own, and a signal finds it.
    let arguments =
        ["-D", "-f", "-qq", "-y", "--seccomp-bpf", "-s", "0", "-e", "trace=pwrite64,fdatasync,fsync"];
    command.args(arguments).args(["-e".into(), tamper.rule(), "-o".into()]);
    command.arg(OsString::from(trace));
    Ok(command)
}
