//! The `posthaste` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    posthaste::cli::main()
}
