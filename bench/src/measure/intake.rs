//! What taking mail over SMTP costs, nothing being delivered: a message of few busy connections, over TLS, and of many
//! connections; what a session costs that does nothing; and how much one connection gets through beside Postfix.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::peers::Server;
use super::{BackEnd, load, sink};
use crate::engine::Engine;
use crate::ground::Ground;
use crate::mta::Kind;
use crate::source::{self, Load, SourceConfig, Tls};

const NAME: &str = "mail.sender.example";
/// Connections that the engine takes from one address.
const PER_ADDRESS: u32 = 50;
const PATIENCE: Duration = Duration::from_secs(30);

/// CPU a message of SMTP submission, the memory of a session, and one connection beside Postfix
#[derive(Clone, Debug, Args)]
pub struct Plan {
    #[arg(long, default_value_t = 100_000)]
    pub messages: u64,
    /// Octets of a message
    #[arg(long, default_value_t = 2048)]
    pub size: usize,
    /// Connections, where there are many
    #[arg(long, default_value_t = 5000)]
    pub many: u32,
    #[arg(long, value_enum)]
    pub runtime: Option<BackEnd>,
}

/// How the mail comes.
struct Way {
    name: &'static str,
    sessions: u32,
    tls: bool,
    per_connection: u64,
}

pub fn run(plan: &Plan) -> io::Result<()> {
    for back_end in BackEnd::chosen(plan.runtime) {
        let (engine, ground, tls) = scene(back_end)?;
        println!("intake: {} messages of {} octets, back end {}", plan.messages, plan.size, back_end.name());
        // First: what they take is not to be had from what others gave back.
        for sealed in [false, true] {
            println!("  {}", idle(plan, &engine, &ground, sealed.then_some(&tls))?);
        }
        for way in [
            Way { name: "50 connections", sessions: 50, tls: false, per_connection: u64::MAX },
            Way { name: "50 over TLS, 100 messages each", sessions: 50, tls: true, per_connection: 100 },
            Way { name: "many connections", sessions: plan.many, tls: false, per_connection: u64::MAX },
        ] {
            println!("  {}", cost(plan, &engine, &ground, &tls, &way)?);
        }
    }
    println!("one connection, pipelining, {} octets, delivered meanwhile, load before {}", plan.size, load());
    for name in ["posthaste, io_uring", "posthaste, blocking", "postfix"] {
        println!("  {}", alone(plan, name)?);
    }
    Ok(())
}

/// An engine whose queues are paused, and how to speak TLS to it.
fn scene(back_end: BackEnd) -> io::Result<(Engine, Ground, Tls)> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let parameters = CertificateParams::new(vec![NAME.to_owned()]).map_err(io::Error::other)?;
    let issued = parameters.self_signed(&key).map_err(io::Error::other)?;
    let mut ground = Ground::new()?;
    ground.runtime = back_end.name();
    let pem = ground.path("smtp.pem");
    std::fs::write(&pem, issued.pem() + &key.serialize_pem())?;
    ground.add(&format!(
        "total-max-smtp-in 20000\nsmtp-server-tls-certificate {}\n<source 127.0.0.0/8>\n  allow-starttls yes\n</source>",
        pem.display()
    ));
    let mut roots = RootCertStore::empty();
    roots.add(issued.der().clone()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let engine = ground.start()?;
    engine.pause("*/*")?;
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    Ok((engine, ground, Tls { config: Arc::new(config), name }))
}

/// Addresses of this machine for so many connections.
fn addresses(connections: u32) -> Vec<IpAddr> {
    let count = connections.div_ceil(PER_ADDRESS - 1) as u16;
    (0..count).map(|n| Ipv4Addr::new(127, 66, (n >> 8) as u8, n as u8 + 1).into()).collect()
}

fn cost(plan: &Plan, engine: &Engine, ground: &Ground, tls: &Tls, way: &Way) -> io::Result<String> {
    let before = load();
    let mail = Load { messages: plan.messages, size: plan.size, ..Load::default() };
    let config = SourceConfig {
        sessions: way.sessions,
        per_connection: way.per_connection,
        from: addresses(way.sessions),
        tls: way.tls.then(|| tls.clone()),
        ..SourceConfig::new(ground.listen, mail)
    };
    let (cpu, begun) = (engine.cpu()?, Instant::now());
    let report = source::start(config)?.join();
    let (took, cpu) = (begun.elapsed(), engine.cpu()? - cpu);
    if report.acked.len() as u64 != plan.messages {
        return Err(io::Error::other(format!("{} of {} were taken", report.acked.len(), plan.messages)));
    }
    Ok(format!(
        "{} ({}): {:.1} CPU-us a message, {:.0} a second, load before {before}",
        way.name,
        way.sessions,
        cpu.per_message(plan.messages),
        plan.messages as f64 / took.as_secs_f64()
    ))
}

/// Sessions past EHLO that say nothing more.
fn idle(plan: &Plan, engine: &Engine, ground: &Ground, tls: Option<&Tls>) -> io::Result<String> {
    let before = engine.memory()?.rss;
    let from = addresses(plan.many);
    let mut open = Vec::new();
    for number in 0..plan.many as usize {
        open.push(session(ground.listen, from[number % from.len()], tls)?);
    }
    let after = engine.memory()?.rss;
    let begun = Instant::now();
    session(ground.listen, Ipv4Addr::LOCALHOST.into(), None)?;
    let greeted = begun.elapsed();
    drop(open);
    Ok(format!(
        "{} idle sessions{}: {:.1} KiB each; another client is served after {greeted:.1?}",
        plan.many,
        if tls.is_some() { " over TLS" } else { "" },
        after.saturating_sub(before) as f64 / 1024.0 / f64::from(plan.many)
    ))
}

trait Talk: Read + Write {}
impl<T: Read + Write> Talk for T {}

/// One session that has said EHLO.
fn session(to: SocketAddr, from: IpAddr, tls: Option<&Tls>) -> io::Result<Box<dyn Talk>> {
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(from, 0))?;
    rustix::net::connect(&socket, &to)?;
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut clear: Box<dyn Talk> = Box::new(socket.try_clone()?);
    hear(&mut *clear, "220")?;
    say(&mut *clear, "EHLO idle.example", "250")?;
    let Some(tls) = tls else { return Ok(clear) };
    say(&mut *clear, "STARTTLS", "220")?;
    let connection = ClientConnection::new(tls.config.clone(), tls.name.clone()).map_err(io::Error::other)?;
    let mut sealed: Box<dyn Talk> = Box::new(StreamOwned::new(connection, socket));
    say(&mut *sealed, "EHLO idle.example", "250")?;
    Ok(sealed)
}

fn say(session: &mut dyn Talk, command: &str, code: &str) -> io::Result<()> {
    session.write_all(format!("{command}\r\n").as_bytes())?;
    hear(session, code)
}

/// One reply, to its last line.
fn hear(session: &mut dyn Talk, code: &str) -> io::Result<()> {
    let mut heard = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let last = heard.split_inclusive(|b| *b == b'\n').next_back().unwrap_or_default();
        if last.ends_with(b"\n") && last.get(3) == Some(&b' ') {
            let right = last.starts_with(code.as_bytes());
            return if right {
                Ok(())
            } else {
                Err(io::Error::other(String::from_utf8_lossy(last).into_owned()))
            };
        }
        match session.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => heard.extend_from_slice(&buffer[..n]),
        }
    }
}

/// What one connection gets through.
fn alone(plan: &Plan, name: &str) -> io::Result<String> {
    let (site, to) = sink()?;
    let server = match name {
        "postfix" => Server::peer(Kind::Postfix, to, &[])?,
        name => {
            let back_end = if name.ends_with("blocking") { BackEnd::Blocking } else { BackEnd::Uring };
            Some(Server::engine(back_end, to, &[])?)
        }
    };
    let Some(server) = server else { return Ok(format!("{name}: not installed")) };
    let messages = plan.messages / 20;
    let mail = Load { messages, size: plan.size, ..Load::default() };
    let begun = Instant::now();
    let report =
        source::start(SourceConfig { sessions: 1, ..SourceConfig::new(server.addr(), mail) })?.join();
    let rate = report.acked.len() as f64 / begun.elapsed().as_secs_f64();
    drop(server);
    site.stop();
    Ok(format!("{name}: {rate:.0} messages a second ({} of {messages} taken)", report.acked.len()))
}
