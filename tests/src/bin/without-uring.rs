//! Starts a program where io_uring is refused, as container runtimes do by default: `without-uring PROGRAM ARGS...`

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// io_uring_setup, io_uring_enter, io_uring_register: the same numbers on every architecture.
const IO_URING: [i64; 3] = [425, 426, 427];
const EPERM: u32 = 1;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let Some(program) = args.next() else {
        eprintln!("without-uring: name a program and its arguments");
        return ExitCode::from(2);
    };
    if let Err(e) = refuse() {
        eprintln!("without-uring: the filter cannot be set: {e}");
        return ExitCode::from(2);
    }
    // Returns only when it fails.
    let error = Command::new(&program).args(args).exec();
    eprintln!("without-uring: {}: {error}", program.to_string_lossy());
    ExitCode::from(2)
}

fn refuse() -> Result<(), Box<dyn std::error::Error>> {
    let rules: BTreeMap<_, _> = IO_URING.into_iter().map(|call| (call, Vec::new())).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM), arch)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}
