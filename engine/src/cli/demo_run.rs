//! The demonstration (placeholder while the rest is wired).

use super::args::Demo;
use std::process::ExitCode;

pub fn run(_demo: &Demo) -> ExitCode {
    ExitCode::FAILURE
}
