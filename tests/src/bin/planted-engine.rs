//! The engine with the bugs of `posthaste::base::planted`; `POSTHASTE_PLANT` names the one that is alive.

use std::process::ExitCode;

fn main() -> ExitCode {
    posthaste::cli::main()
}
