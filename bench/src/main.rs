//! `bench`: what the engine costs, measured from outside on a program that runs.
//!
//! ```text
//! cargo build --release -p posthaste -p bench
//! target/release/bench campaign
//! ```

use std::process::ExitCode;

use bench::measure::{backlog, campaign, http, import, intake, latency, peers, priority, scale};
use clap::{Parser, Subcommand};

/// Measures the `posthaste` built beside it (or the one that POSTHASTE_ENGINE names).
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Campaign(campaign::Plan),
    Http(http::Plan),
    Import(import::Plan),
    Intake(intake::Plan),
    Backlog(backlog::Plan),
    Latency(latency::Plan),
    Scale(scale::Plan),
    Peers(peers::Plan),
    Priority(priority::Plan),
}

fn main() -> ExitCode {
    let measured = match Args::parse().what {
        What::Campaign(plan) => campaign::run(&plan),
        What::Http(plan) => http::run(&plan),
        What::Import(plan) => import::run(&plan),
        What::Intake(plan) => intake::run(&plan),
        What::Backlog(plan) => backlog::run(&plan),
        What::Latency(plan) => latency::run(&plan),
        What::Scale(plan) => scale::run(&plan),
        What::Peers(plan) => peers::run(&plan),
        What::Priority(plan) => priority::run(&plan),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}
