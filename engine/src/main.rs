//! The `posthaste` binary.

use std::process::ExitCode;

/// What a message is made of is allocated on one thread and freed on another, over which the threads contend in the
/// C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    posthaste::cli::main()
}
