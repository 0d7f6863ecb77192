//! Postfix's `smtp-source` through the engine into its `smtp-sink`: how fast, at what cost, and, by a system call
//! trace, that no `250` came before its sync.
//!
//! `cargo run -p tests --no-default-features --bin postfix_relay -- [MESSAGES [SESSIONS [auto|uring|blocking]]]`
//! (without the failpoints, which cost time)
//! `cargo run -p tests --bin postfix_relay -- trace [MESSAGES [SESSIONS [auto|uring|blocking]]]`

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bench::cpu::{self, CpuTime};
use bench::ground::Ground;
use bench::smtp_tools::{self, Sent};
use tests::accounting::{self, per_recipient};
use tests::strace::Strace;
use tests::trace::{self, Checker};

const PATIENCE: Duration = Duration::from_secs(300);
/// Octets of each message.
const SIZE: u32 = 2048;

struct Plan {
    trace: bool,
    messages: u64,
    sessions: u32,
    runtime: &'static str,
}

fn plan() -> Plan {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let trace = args.first().is_some_and(|a| a == "trace");
    if trace {
        args.remove(0);
    }
    let number = |at: usize| args.get(at).and_then(|n| n.parse::<u64>().ok());
    Plan {
        trace,
        messages: number(0).unwrap_or(if trace { 200 } else { 10_000 }),
        sessions: number(1).and_then(|n| u32::try_from(n).ok()).unwrap_or(if trace { 1 } else { 20 }),
        runtime: match args.get(2).map(String::as_str) {
            Some("uring") => "uring",
            Some("blocking") => "blocking",
            _ => "auto",
        },
    }
}

fn check(file: &PathBuf, intake: SocketAddr) -> io::Result<trace::Proof> {
    let mut checker = Checker::new(intake);
    for line in BufReader::new(File::open(file)?).lines() {
        checker.line(&line?);
    }
    Ok(checker.proof())
}

fn run(plan: &Plan) -> io::Result<bool> {
    let (sink, sink_addr) = smtp_tools::sink()?;
    let mut ground = Ground::new()?;
    ground.runtime = plan.runtime;
    ground.route("sink.example", sink_addr, "  max-smtp-out 20");
    let engine = ground.start()?;
    let file = ground.path("trace");
    let tracer =
        if plan.trace { Some(Strace::attach(&engine, trace::CALLS, trace::BUFFER, &file)?) } else { None };

    let sent = Sent { messages: plan.messages, sessions: plan.sessions, size: SIZE };
    let before = engine.cpu()?;
    let begun = Instant::now();
    let accepted = smtp_tools::source(sent, ground.listen)?;
    engine.wait_until_empty(PATIENCE);
    let (whole, cost) = (begun.elapsed(), engine.cpu()? - before);
    let back_end = engine.status()?.spool.back_end;
    if let Some(tracer) = tracer {
        tracer.end()?;
    }
    let threads = cpu::threads(engine.pid())?;
    engine.stop()?;
    sink.end()?;

    let lines = accounting::read(&ground.path("acct"))?;
    let delivered = per_recipient(&lines, "d");
    let once = delivered.values().filter(|n| **n == 1).count() as u64;
    println!("load of the machine: {}", fs::read_to_string("/proc/loadavg")?.trim_end());
    println!(
        "sessions {}, messages {}, {SIZE} octets each, back end {back_end}",
        plan.sessions, plan.messages
    );
    println!(
        "accepted: all in {accepted:.2?}, {:.0} a second",
        plan.messages as f64 / accepted.as_secs_f64()
    );
    println!(
        "delivered: {once} exactly once, {} in all, after {whole:.2?}, {:.0} a second",
        delivered.len(),
        once as f64 / whole.as_secs_f64()
    );
    let good = once == plan.messages && delivered.len() as u64 == plan.messages;
    if plan.trace {
        return Ok(report(&check(&file, ground.listen)?, plan.messages) && good);
    }
    cost_told(cost, &threads, plan.messages);
    Ok(good)
}

fn cost_told(cost: CpuTime, threads: &[(String, Duration)], messages: u64) {
    println!(
        "CPU of the engine, all threads: {:.1} us a message (user {:.1}, system {:.1})",
        cost.per_message(messages),
        cost.user_us as f64 / messages as f64,
        cost.system_us as f64 / messages as f64
    );
    for (name, time) in threads.iter().filter(|t| t.1 > Duration::from_millis(1)) {
        println!("  {name}: {:.1} us a message since its start", time.as_micros() as f64 / messages as f64);
    }
}

fn report(proof: &trace::Proof, messages: u64) -> bool {
    println!("acknowledged (250 after the final dot): {}", proof.acknowledged);
    println!("of these written, then synced, then acknowledged: {}", proof.proven);
    println!("syncs of spool segments: {}, of which {} made messages durable", proof.syncs, proof.commits);
    println!("acknowledged before their sync: {}", proof.violations.len());
    for violation in proof.violations.iter().take(10) {
        println!("  {violation}");
    }
    proof.violations.is_empty() && proof.proven == messages
}

fn main() -> ExitCode {
    match run(&plan()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("postfix_relay: {e}");
            ExitCode::from(2)
        }
    }
}
