//! The crash campaigns as a command. Exit status: 0 every promise kept, 1 one was broken (or a positive control went
//! unreported), 2 it could not be run.
//!
//! `cargo run -p tests --bin crash -- kill --cycles 25 --seed 7`

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tests::crash::{self, Options, What};

/// Ends the engine in all the ways it can be ended, and says what was lost.
#[derive(Parser)]
struct Arguments {
    /// What is done to it.
    what: What,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let Arguments { what, options } = Arguments::parse();
    let begun = Instant::now();
    let verdict = match crash::run(what, &options) {
        Ok(verdict) => verdict,
        Err(e) => {
            eprintln!("crash: not run: {e}");
            return ExitCode::from(2);
        }
    };
    println!("{}\n{}", verdict.table(), verdict.json());
    eprintln!("took {:.0?}, seed {}", begun.elapsed(), options.seed);
    match (options.control, verdict.is_good()) {
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
        (true, false) => {
            println!("positive control: reported, as it has to be");
            ExitCode::SUCCESS
        }
        (true, true) => {
            println!("positive control: NOT REPORTED; this campaign proves nothing");
            ExitCode::FAILURE
        }
    }
}
