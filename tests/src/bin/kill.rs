//! Kills the engine in the middle of its work, 25 times unless told otherwise, and says what was lost.
//!
//! `cargo run -p tests --bin kill -- [CYCLES [SEED [auto|uring|blocking]]]`

use std::process::ExitCode;

use tests::crash::{self, Plan};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let cycles = args.next().and_then(|n| n.parse().ok()).unwrap_or(25);
    let seed = args.next().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut plan = Plan::new(cycles, seed);
    plan.runtime = match args.next().as_deref() {
        Some("uring") => "uring",
        Some("blocking") => "blocking",
        _ => "auto",
    };
    match crash::run(&plan) {
        Ok(verdict) => {
            println!("{}", serde_json::to_string_pretty(&verdict).unwrap_or_default());
            if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(e) => {
            eprintln!("kill: {e}");
            ExitCode::from(2)
        }
    }
}
