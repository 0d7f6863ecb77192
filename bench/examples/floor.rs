//! The floor: source straight into sink, no server between, and what each side costs. Every measurement of the
//! engine on this machine includes these two.
//!
//! `cargo run --release -p bench --example floor [MESSAGES [SESSIONS [SIZE]]]`

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bench::cpu;
use bench::site::{DoorConfig, Persona, Site, SiteConfig};
use bench::source::{self, Load, SourceConfig};

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u64>().unwrap_or(0));
    let messages = args.next().unwrap_or(200_000);
    let sessions = u32::try_from(args.next().unwrap_or(20)).unwrap_or(20);
    let size = usize::try_from(args.next().unwrap_or(2048)).unwrap_or(2048);

    let doors = vec![DoorConfig::new("fast", Persona::Fast)];
    let site = Site::start(SiteConfig { doors, ..SiteConfig::default() })?;
    let load = Load { messages, size, ..Load::default() };
    let source = source::start(SourceConfig { sessions, ..SourceConfig::new(site.addr("fast"), load) })?;
    let begun = Instant::now();
    let mut cost = Vec::new();
    while !source.finished() {
        cost = cpu::threads(std::process::id())?;
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = begun.elapsed();
    let report = source.join();
    println!("source to sink, {} messages in {took:?}: {:.0}/s", report.acked.len(), report.rate());
    tell(&cost, messages);

    blast(site.addr("fast"), messages, size)?;
    Ok(())
}

fn tell(cost: &[(String, Duration)], messages: u64) {
    for (name, time) in cost.iter().filter(|(_, t)| *t > Duration::from_millis(5)) {
        println!("  {name}: {:.2} CPU-us a message", time.as_secs_f64() * 1e6 / messages as f64);
    }
}

/// How fast the sink is when somebody else's speed does not matter: ready-made transactions, 16 in a write, over 8
/// connections.
fn blast(addr: SocketAddr, messages: u64, size: usize) -> std::io::Result<()> {
    const DEPTH: u64 = 16;
    let body = "x".repeat(size.min(60_000));
    let one = format!("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n{body}\r\n.\r\n");
    let many = one.repeat(16);
    let site = |t: &Vec<(String, Duration)>| {
        t.iter().find(|(n, _)| n == "site-0").map(|(_, t)| *t).unwrap_or_default()
    };
    let mut peers: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(addr)).collect::<Result<_, _>>()?;
    let mut reply = [0u8; 64 * 1024];
    for peer in &mut peers {
        peer.write_all(b"EHLO x\r\n")?;
        std::thread::sleep(Duration::from_millis(5));
        let _ = peer.read(&mut reply)?;
    }
    let before = site(&cpu::threads(std::process::id())?);
    let begun = Instant::now();
    let rounds = messages / DEPTH / peers.len() as u64;
    for _ in 0..rounds {
        for peer in &mut peers {
            peer.write_all(many.as_bytes())?;
        }
        for peer in &mut peers {
            let mut lines = 0;
            while lines < DEPTH * 4 {
                let n = peer.read(&mut reply)?;
                lines += memchr::memchr_iter(b'\n', &reply[..n]).count() as u64;
            }
        }
    }
    let sent = rounds * DEPTH * peers.len() as u64;
    let used = site(&cpu::threads(std::process::id())?).saturating_sub(before);
    println!("blast, {sent} messages: {:.0}/s", sent as f64 / begun.elapsed().as_secs_f64());
    println!("  site-0: {:.2} CPU-us a message", used.as_secs_f64() * 1e6 / sent as f64);
    Ok(())
}
