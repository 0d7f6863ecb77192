//! `bench`: what the engine costs, measured from outside on a program that runs.
//!
//! ```text
//! cargo build --release -p posthaste -p bench
//! target/release/bench campaign
//! ```

use std::process::ExitCode;

use bench::measure::campaign;
use clap::{Parser, Subcommand};

/// Measures the `posthaste` built beside it (or the one that POSTHASTE_BIN names).
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Campaign(campaign::Plan),
}

fn main() -> ExitCode {
    let measured = match Args::parse().what {
        What::Campaign(plan) => campaign::run(&plan),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}
