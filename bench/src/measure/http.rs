//! What HTTP submission costs: one request with many recipients, read as it comes, and many requests of one recipient each over
//! connections that stay.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use clap::Args;

use super::{BackEnd, load};
use crate::clock::now_us;
use crate::cpu::Memory;
use crate::engine::Engine;
use crate::ground::Ground;
use crate::http::Http;
use crate::people::People;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const INJECT: &str = "/api/inject/v1";
const TRANSMISSIONS: &str = "/api/v1/transmissions";
/// What stands before the recipients of the large request.
const HEAD: &str = r#"{"envelope_sender":"bounce@news.example","content":{"from":{"email":"news@news.example","name":"News"},"subject":"Hello {{ name }}","html_body":"<p>Hello {{ name }}, here is the news for {{ city }}.</p>"},"recipients":["#;
/// Bytes of the large request handed over at once.
const PIECE: usize = 64 << 10;

/// CPU a row and a request of HTTP submission, and the memory a large request takes
#[derive(Clone, Debug, Args)]
pub struct Plan {
    #[arg(long, default_value_t = 1_000_000)]
    pub rows: u64,
    /// Requests of one recipient each
    #[arg(long, default_value_t = 50_000)]
    pub requests: u64,
    /// Over so many connections
    #[arg(long, default_value_t = 50)]
    pub connections: u64,
    #[arg(long, value_enum)]
    pub runtime: Option<BackEnd>,
}

pub fn run(plan: &Plan) -> io::Result<()> {
    for back_end in BackEnd::chosen(plan.runtime) {
        let (engine, address, _ground) = scene(back_end)?;
        println!("{}", large(plan, &engine, address)?);
        for path in [TRANSMISSIONS, INJECT] {
            println!("{}", small(plan, &engine, address, path)?);
        }
    }
    Ok(())
}

/// An engine whose queues are paused.
fn scene(back_end: BackEnd) -> io::Result<(Engine, SocketAddr, Ground)> {
    let mut ground = Ground::new()?;
    ground.runtime = back_end.name();
    let address = TcpListener::bind((ground.listen.ip(), 0))?.local_addr()?;
    ground.add(&format!(
        "<transmissions-api>\n  api-key {KEY}\n</transmissions-api>\n\
         <transmissions-api-listener {address}>\n</transmissions-api-listener>"
    ));
    let engine = ground.start()?;
    engine.pause("*/*")?;
    Ok((engine, address, ground))
}

fn large(plan: &Plan, engine: &Engine, address: SocketAddr) -> io::Result<String> {
    let before = load();
    let people = People::dealt(1, 12);
    let mut body = Vec::from(HEAD);
    for number in 0..plan.rows {
        let person = people.nth(number);
        let comma = if number > 0 { "," } else { "" };
        write!(
            body,
            r#"{comma}{{"email":"{}","name":"{}","substitutions":{{"city":"City {}"}}}}"#,
            person.address(),
            person.first,
            number % 1000
        )?;
    }
    body.extend_from_slice(b"]}");
    let mut client = Http::connect(address, KEY)?;
    let (cpu, memory) = (engine.cpu()?, engine.memory()?);
    Memory::forget_peak(engine.pid())?;
    let begun = now_us();
    client.begin("POST", INJECT, &[], body.len())?;
    for piece in body.chunks(PIECE) {
        client.send(piece)?;
    }
    let answer = client.answer()?;
    let took = Duration::from_micros(now_us() - begun);
    let (cpu, after) = (engine.cpu()? - cpu, engine.memory()?);
    if answer.body["success_count"] != plan.rows {
        return Err(io::Error::other(answer.body.to_string()));
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(format!(
        "http: one request of {} recipients, {:.1} bytes each, back end {}, load before {before}\n  \
         {:.0} rows a second ({took:.2?}), {:.2} CPU-us a row; resident memory {:+.1} MiB, {:+.1} at the peak",
        plan.rows,
        body.len() as f64 / plan.rows as f64,
        engine.status()?.spool.back_end,
        plan.rows as f64 / took.as_secs_f64(),
        cpu.per_message(plan.rows),
        mib(after.rss.saturating_sub(memory.rss)),
        mib(after.peak.saturating_sub(memory.rss)),
    ))
}

fn small(plan: &Plan, engine: &Engine, address: SocketAddr, path: &'static str) -> io::Result<String> {
    let before = load();
    let each = plan.requests / plan.connections;
    let waiting = engine.status()?.smtp_queues.rcpts;
    let (cpu, begun) = (engine.cpu()?, now_us());
    let clients: Vec<_> = (0..plan.connections)
        .map(|client| thread::spawn(move || talk(address, path, client, each)))
        .collect();
    for client in clients {
        client.join().map_err(|_| io::Error::other("a client panicked"))??;
    }
    let took = Duration::from_micros(now_us() - begun);
    let cpu = engine.cpu()? - cpu;
    let (sent, status) = (each * plan.connections, engine.status()?);
    if status.smtp_queues.rcpts - waiting != sent {
        return Err(io::Error::other(format!("{} of {sent} wait", status.smtp_queues.rcpts - waiting)));
    }
    Ok(format!(
        "http: {sent} requests of one recipient to {path} over {} connections, back end {}, load before {before}\n  \
         {:.0} requests a second ({took:.2?}), {:.1} CPU-us a request, each committed",
        plan.connections,
        status.spool.back_end,
        sent as f64 / took.as_secs_f64(),
        cpu.per_message(sent),
    ))
}

/// One client, who waits for each answer.
fn talk(address: SocketAddr, path: &str, client: u64, count: u64) -> io::Result<()> {
    // Two kilobytes, as JSON has them.
    let text = format!("{}\\n", "x".repeat(70)).repeat(28);
    let mut http = Http::connect(address, KEY)?;
    for number in 0..count {
        let to = format!("u{client}-{number}@site{}.example", number % 12);
        let body = match path {
            TRANSMISSIONS => format!(
                r#"{{"return_path":"bounce@news.example","recipients":[{{"address":"{to}"}}],"content":{{"email_rfc822":"From: news@news.example\nTo: {to}\nSubject: Hello\n\n{text}\n"}}}}"#
            ),
            _ => format!(
                r#"{{"envelope_sender":"bounce@news.example","content":{{"from":{{"email":"news@news.example"}},"subject":"Hello {{{{ name }}}}","text_body":"Hello {{{{ name }}}}\n{text}"}},"recipients":[{{"email":"{to}","name":"Ann"}}]}}"#
            ),
        };
        let answer = http.post(path, &[], body.as_bytes())?;
        if answer.status != 200 {
            return Err(io::Error::other(answer.body.to_string()));
        }
    }
    Ok(())
}
