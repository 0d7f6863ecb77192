//! Pours mail into a server over SMTP and tells what the server took: like Postfix's smtp-source, but it keeps
//! count of every `250`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bench::cpu::CpuTime;
use bench::source::{self, Load, SourceConfig, SourceReport};
use clap::Parser;

/// Sends a load of messages to one server.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// ADDRESS:PORT of the server.
    target: SocketAddr,
    /// Messages to send.
    #[arg(short, long, default_value_t = 1000)]
    messages: u64,
    /// Connections at a time.
    #[arg(short, long, default_value_t = 20)]
    sessions: u32,
    /// Bytes a message, about.
    #[arg(short = 'l', long, default_value_t = 2048)]
    size: usize,
    /// Recipients a message.
    #[arg(short, long, default_value_t = 1)]
    recipients: u32,
    /// Different local parts; 0 for a new one in every message.
    #[arg(long, default_value_t = 0)]
    distinct: u64,
    /// Domains to send to, in turn; N=NUMBER makes d0.example, d1.example and so on.
    #[arg(short, long, default_value = "site.example", value_delimiter = ',')]
    domains: Vec<String>,
    /// Envelope sender.
    #[arg(short = 'f', long, default_value = "sender@source.example")]
    sender: String,
    /// Header line to add, e.g. "x-job: spring"; may be given more than once.
    #[arg(long = "header")]
    headers: Vec<String>,
    /// Begins every X-Ledger-Id.
    #[arg(long, default_value = "load")]
    name: String,
    /// Messages on a connection.
    #[arg(long)]
    per_connection: Option<u64>,
    /// Wait for the reply to every command.
    #[arg(long)]
    no_pipelining: bool,
    /// Messages a second, over all sessions.
    #[arg(long)]
    rate: Option<u32>,
    /// Address to send from.
    #[arg(long)]
    from: Option<IpAddr>,
    /// Seconds to keep trying while the server is not there.
    #[arg(long, default_value_t = 10)]
    patience: u64,
    /// Write the acknowledged ids to this file: id, time of the 250 (microseconds of CLOCK_MONOTONIC), latency.
    #[arg(long, value_name = "FILE")]
    acked: Option<PathBuf>,
    /// Print the whole report as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("posthaste-source: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every message was acknowledged.
fn run(args: &Args) -> Result<bool, Box<dyn std::error::Error>> {
    let report = source::start(config(args))?.join();
    if let Some(path) = &args.acked {
        let lines = report.acked.iter().map(|a| format!("{} {} {}\n", a.id, a.at_us, a.latency_us));
        std::fs::write(path, lines.collect::<String>())?;
    }
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report)?;
    }
    Ok(report.acked.len() as u64 == args.messages)
}

fn config(args: &Args) -> SourceConfig {
    let load = Load {
        messages: args.messages,
        first_id: 0,
        name: args.name.clone(),
        size: args.size,
        sender: args.sender.clone(),
        recipients_per_message: args.recipients,
        distinct: args.distinct,
        domains: domains(&args.domains),
        headers: args.headers.clone(),
    };
    SourceConfig {
        from: args.from.into_iter().collect(),
        sessions: args.sessions,
        per_connection: args.per_connection.unwrap_or(u64::MAX),
        pipelining: !args.no_pipelining,
        rate: args.rate,
        patience: Duration::from_secs(args.patience),
        ..SourceConfig::new(args.target, load)
    }
}

fn domains(asked: &[String]) -> Vec<String> {
    let made = |n: u32| (0..n).map(|i| format!("d{i}.example")).collect();
    let number = asked.first().and_then(|d| d.strip_prefix("N=")?.parse().ok());
    number.map_or_else(|| asked.to_vec(), made)
}

fn print(report: &SourceReport) -> std::io::Result<()> {
    let acked = report.acked.len() as u64;
    println!(
        "{acked} acknowledged ({:.0} a second), {} in doubt, {} refused, {} deferrals, {} connections, {} broken{}",
        report.rate(),
        report.in_doubt.len(),
        report.refused.len(),
        report.deferrals,
        report.connections,
        report.broken,
        if report.gave_up { ", gave up" } else { "" },
    );
    println!(
        "final dot to 250: median {} us, 99 % {} us, longest {} us; {:.1} CPU-us a message here",
        report.latency_us(0.5),
        report.latency_us(0.99),
        report.latency_us(1.0),
        CpuTime::own()?.per_message(acked),
    );
    for (code, (times, text)) in &report.replies {
        println!("{times} x {code} {}", text.trim_end().replace('\n', " / "));
    }
    Ok(())
}
