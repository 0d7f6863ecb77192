//! The crash campaigns: the engine is killed, cut off from its power, given damaged disks, full disks and disks that
//! fail, and afterwards what it acknowledged is held against what was received. Each campaign judges from outside only:
//! by what was told to the senders, what the receiving site got, and what stands in the accounting files.
//!
//! `cargo run -p tests --bin crash -- --help`

pub mod account;
mod damage;
mod disk;
mod eio;
mod flip;
mod full;
mod http;
mod inject;
mod kill;
mod power;
mod recovery;
mod spool;
mod starved;
mod traffic;
pub mod verdict;

use std::io;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

pub use disk::Fs;
pub use verdict::Verdict;

/// What is done to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// SIGKILL while mail comes in over SMTP, by HTTP and through the pickup directory.
    Kill,
    /// Power cuts of a file system of its own. Needs root.
    Power,
    /// SIGKILL while it recovers, each time before it is done.
    Recovery,
    /// Damage to the files of a stopped spool: bits, blocks, ends.
    Flip,
    /// The disk fills up and is freed again. Needs root.
    Full,
    /// Writes and syncs that fail. Needs root, and strace for the blocking back end.
    Eio,
}

/// How the spool is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    Auto,
    Uring,
    Blocking,
}

impl Runtime {
    fn name(self) -> &'static str {
        match self {
            Runtime::Auto => "auto",
            Runtime::Uring => "uring",
            Runtime::Blocking => "blocking",
        }
    }
}

/// How it is to be done.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// How often.
    #[arg(long, default_value_t = 25)]
    pub cycles: u32,
    /// Fewer cycles, if they take longer than so many minutes.
    #[arg(long)]
    pub minutes: Option<u64>,
    /// Decides every moment and place.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// The storage back end.
    #[arg(long, default_value = "auto")]
    pub runtime: Runtime,
    /// The file system of `power`.
    #[arg(long, default_value = "ext4")]
    pub fs: Fs,
    /// Puts in a fault that has to be reported.
    #[arg(long)]
    pub control: bool,
    /// The longest time from readiness to the end, in milliseconds.
    #[arg(long, default_value_t = 1500)]
    pub alive: u64,
    /// Sessions of the load.
    #[arg(long, default_value_t = 12)]
    pub sessions: u32,
    /// Says nothing on the way.
    #[arg(long)]
    pub quiet: bool,
}

impl Options {
    /// Few cycles, for tests.
    pub fn short(cycles: u32, seed: u64) -> Options {
        Options {
            cycles,
            minutes: None,
            seed,
            runtime: Runtime::Auto,
            fs: Fs::Ext4,
            control: false,
            alive: 1000,
            sessions: 8,
            quiet: true,
        }
    }

    /// The cycles, as long as there is time.
    fn each_cycle(&self) -> impl Iterator<Item = u32> + use<> {
        let (begun, minutes) = (Instant::now(), self.minutes);
        let in_time =
            move |_: &u32| minutes.is_none_or(|most| begun.elapsed() < Duration::from_secs(60 * most));
        (0..self.cycles).take_while(in_time)
    }

    /// How long the next engine may live.
    fn moment(&self, random: &mut fastrand::Rng) -> Duration {
        Duration::from_micros(random.u64(20_000..=(self.alive * 1000).max(20_000)))
    }

    fn progress(&self, verdict: &Verdict, acked: u64) {
        if !self.quiet && verdict.cycles.is_multiple_of(25) {
            eprintln!(
                "{}: cycle {} of {}, {acked} acknowledged",
                verdict.campaign, verdict.cycles, self.cycles
            );
        }
    }
}

/// Carries out a campaign. `Unsupported` where the machine cannot do it.
pub fn run(what: What, options: &Options) -> io::Result<Verdict> {
    match what {
        What::Kill => kill::run(options),
        What::Power => power::run(options),
        What::Recovery => recovery::run(options),
        What::Flip => flip::run(options),
        What::Full => full::run(options),
        What::Eio => eio::run(options),
    }
}
