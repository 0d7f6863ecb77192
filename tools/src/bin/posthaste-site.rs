//! A receiving site to send to: mailbox providers on local addresses, with their limits, moods and wording. Shows
//! what comes in while it runs and tells all its counts, as JSON where asked, when it is interrupted.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bench::cpu::CpuTime;
use bench::site::{Behaviour, DoorConfig, LedgerMode, Persona, Site, SiteConfig, SiteHandle, SiteStats};
use clap::Parser;
use comfy_table::Table;
use tokio::signal::unix::{SignalKind, signal};

/// Simulates mailbox providers and counts what reaches them.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Personas: gmail, yahoo, microsoft, orange, gmx, generic, fast; or the path of \
    a JSON file with a behaviour (--print PERSONA shows one to begin with).\n\
    Example: posthaste-site gmail=127.0.1.1:2525 orange=127.0.1.2:2525"
)]
struct Args {
    /// PERSONA=ADDRESS:PORT, more than once for more providers; port 0 takes a free one.
    #[arg(required_unless_present = "print")]
    doors: Vec<String>,
    /// Decides which recipients are unknown, full, and so on.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads to deal the providers out to.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Keep a ledger of every delivery and write it to this file, a JSON object a line, at the end.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Print the counts as JSON at the end.
    #[arg(long)]
    json: bool,
    /// Do not show counts while running.
    #[arg(long)]
    quiet: bool,
    /// Offer no STARTTLS, whatever the persona says.
    #[arg(long)]
    no_tls: bool,
    /// Stop by itself after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Stop by itself once so many messages were accepted.
    #[arg(long, value_name = "COUNT")]
    messages: Option<u64>,
    /// Print a persona's behaviour as JSON and end.
    #[arg(long, value_name = "PERSONA")]
    print: Option<Persona>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("posthaste-site: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(persona) = args.print {
        println!("{}", serde_json::to_string_pretty(&persona.behaviour())?);
        return Ok(());
    }
    let doors = args.doors.iter().map(|d| door(d, args.no_tls)).collect::<Result<Vec<_>, _>>()?;
    let ledger = if args.ledger.is_some() { LedgerMode::Entries } else { LedgerMode::Off };
    let site = Site::start(SiteConfig { doors, seed: args.seed, threads: args.threads, ledger })?;
    for (name, addr) in site.addrs() {
        // Read by scripts that asked for port 0.
        println!("{name} {addr}");
    }
    std::io::stdout().flush()?;
    watch(args, &site)?;

    if let Some(path) = &args.ledger {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for delivery in site.ledger().deliveries {
            serde_json::to_writer(&mut file, &delivery)?;
            file.write_all(b"\n")?;
        }
        file.flush()?;
    }
    let stats = site.stop();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&stats)?);
    } else {
        println!("{}", table(&stats));
        let cpu = CpuTime::own()?;
        println!("{:.1} CPU-us a message", cpu.per_message(stats.messages()));
    }
    Ok(())
}

/// Until a signal, the time or the number of messages says enough.
fn watch(args: &Args, site: &SiteHandle) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut tick =
            tokio::time::interval(Duration::from_millis(if args.messages.is_some() { 20 } else { 1000 }));
        let mut shown = 0;
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = tick.tick() => {}
            }
            let stats = site.stats();
            let seconds = stats.elapsed_us / 1_000_000;
            if args.seconds.is_some_and(|s| seconds >= s)
                || args.messages.is_some_and(|m| stats.messages() >= m)
            {
                break;
            }
            if !args.quiet && seconds > shown {
                shown = seconds;
                eprintln!("{}", line(&stats));
            }
        }
        Ok(())
    })
}

/// `PERSONA=ADDRESS:PORT` or `FILE=ADDRESS:PORT`.
fn door(text: &str, no_tls: bool) -> Result<DoorConfig, String> {
    let wrong = || format!("{text:?} is not PERSONA=ADDRESS:PORT, e.g. gmail=127.0.0.1:2525");
    let (what, addr) = text.rsplit_once('=').ok_or_else(wrong)?;
    let addr: SocketAddr = addr.parse().map_err(|_| wrong())?;
    let behaviour: Behaviour = if what.ends_with(".json") {
        let json = std::fs::read_to_string(what).map_err(|e| format!("{what}: {e}"))?;
        serde_json::from_str(&json).map_err(|e| format!("{what}: {e}"))?
    } else {
        what.parse::<Persona>()?.behaviour()
    };
    let behaviour = if no_tls { behaviour.without_tls() } else { behaviour };
    Ok(DoorConfig::with(what, behaviour).at(addr))
}

fn line(stats: &SiteStats) -> String {
    let doors = stats.doors.iter().map(|d| {
        let t = &d.total;
        format!("{} {} ok, {} conn", d.name, t.messages, t.connections_now)
    });
    doors.collect::<Vec<_>>().join(" | ")
}

fn table(stats: &SiteStats) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "door",
        "source",
        "messages",
        "rejected",
        "deferred",
        "conns",
        "refused",
        "max conns",
        "max conn/s",
        "max MAIL/s",
        "max msg/s",
        "msg/s",
    ]);
    for door in &stats.doors {
        let total = [("all".to_string(), &door.total)];
        let sources = door.sources.iter().map(|(ip, c)| (ip.to_string(), c));
        for (source, c) in total.into_iter().chain(sources) {
            table.add_row([
                door.name.clone(),
                source,
                c.messages.to_string(),
                (c.recipients_rejected + c.messages_rejected).to_string(),
                (c.recipients_deferred + c.messages_deferred).to_string(),
                c.connections.to_string(),
                c.connections_refused.to_string(),
                c.connections_max.to_string(),
                c.connections_max_per_second.to_string(),
                c.mails_max_per_second.to_string(),
                c.messages_max_per_second.to_string(),
                format!("{:.0}", c.rate()),
            ]);
        }
    }
    table
}
