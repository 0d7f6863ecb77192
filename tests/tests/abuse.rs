//! Clients that mean no good, over the wire: relaying, injection and smuggling by the scripts in `tests/interop`, floods, and
//! thousands of sessions that say nothing.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use bench::engine::Engine;
use bench::ground::Ground;
use bench::wait::until;
use tests::submission::{certificate, site};

const PATIENCE: Duration = Duration::from_secs(60);
/// Sessions that one address may have.
const PER_ADDRESS: usize = 50;

/// Runs a script of `tests/interop`; nothing where there is no Python.
fn script(name: &str, words: &[&str]) -> Option<String> {
    let path = format!("{}/interop/{name}", env!("CARGO_MANIFEST_DIR"));
    let output = match Command::new("python3").arg(path).args(words).output() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            eprintln!("python3 is not installed: {name} is left out");
            return None;
        }
        output => output.expect("it runs"),
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Some(said)
}

#[test]
fn nothing_is_relayed_for_strangers() {
    let mut ground = Ground::new().expect("a directory");
    ground.add("relay-domain ours.example\n<source 127.0.0.0/8>\n  always-allow-relaying no\n</source>");
    let engine = ground.start().expect("the engine starts");
    let (host, port) = (ground.listen.ip().to_string(), ground.listen.port().to_string());
    if let Some(said) = script("open_relay.py", &[&host, &port, "ours.example", "mail.sender.example"]) {
        assert_eq!(said, "24 probes, 0 relayed\n");
    }
    assert_eq!(engine.status().expect("answered").smtp_queues.rcpts, 0);
    engine.stop().expect("ends");
}

#[test]
fn nothing_is_smuggled_or_injected() {
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    std::fs::write(ground.path("smtp.pem"), certificate()).expect("written");
    ground.route("site.example", site.addr("site"), "");
    ground.add(&format!(
        "smtp-server-tls-certificate {}\n<source 127.0.0.0/8>\n  allow-starttls yes\n</source>",
        ground.path("smtp.pem").display()
    ));
    let engine = ground.start().expect("the engine starts");
    let (host, port) = (ground.listen.ip().to_string(), ground.listen.port().to_string());
    let words = [&*host, &*port, "a@sender.example", "reader@site.example", "smuggled@site.example"];
    if let Some(said) = script("injection.py", &words) {
        assert_eq!(said, "7 injections, 0 answered; 99 line ends tried\n");
        engine.wait_until_empty(PATIENCE);
        let arrived = site.ledger().deliveries;
        assert!(arrived.iter().all(|d| d.recipient == "reader@site.example"), "{arrived:?}");
        assert!(arrived.iter().all(|d| d.bare_line_ends == 0) && !arrived.is_empty(), "{arrived:?}");
    }
    engine.stop().expect("ends");
}

/// A connection from `from`.
fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let family = rustix::net::AddressFamily::INET;
    let socket = rustix::net::socket(family, rustix::net::SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, &SocketAddr::new(from, 0)).expect("an address of this machine");
    rustix::net::connect(&socket, &to).expect("it listens");
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    socket
}

/// The next line.
fn line(socket: &TcpStream) -> String {
    let mut line = String::new();
    // One byte of room: what follows is another reader's.
    BufReader::with_capacity(1, socket).read_line(&mut line).expect("a line");
    line
}

fn good_client(engine: &Engine, to: SocketAddr, messages: usize) {
    let mut socket = connect(Ipv4Addr::new(127, 99, 99, 99).into(), to);
    assert!(line(&socket).starts_with("220"));
    let mut ask = |command: &str| {
        socket.write_all(format!("{command}\r\n").as_bytes()).expect("sent");
        loop {
            let reply = line(&socket);
            if reply.get(3..4) == Some(" ") {
                break assert!(reply.starts_with(['2', '3']), "{command}: {reply}");
            }
        }
    };
    ask("EHLO good.example");
    let before = engine.status().expect("answered").smtp_queues.rcpts;
    for n in 0..messages {
        ask("MAIL FROM:<a@sender.example>");
        ask(&format!("RCPT TO:<r{n}@site.example>"));
        ask("DATA");
        ask("From: a@sender.example\r\n\r\nx\r\n.");
    }
    // Those of another thread's queues are on their way.
    let wanted = before + messages as u64;
    until(PATIENCE, || (engine.status().ok()?.smtp_queues.rcpts == wanted).then_some(())).expect("all wait");
}

/// A50.
#[test]
fn thousands_of_silent_sessions_disturb_nobody() {
    let mut ground = Ground::new().expect("a directory");
    ground.add("total-max-smtp-in 10000");
    let engine = ground.start().expect("the engine starts");
    engine.pause("*/*").expect("paused");
    good_client(&engine, ground.listen, 50);
    let before = engine.memory().expect("known").rss;
    let mut open = Vec::new();
    // Ten addresses try for 400 sessions each, ninety more for as many as they may have.
    for n in 0..100u8 {
        let tries = if n < 10 { 8 * PER_ADDRESS } else { PER_ADDRESS };
        let from = Ipv4Addr::new(127, 98, 0, n + 1).into();
        let greeted = (0..tries).map(|_| {
            let socket = connect(from, ground.listen);
            (line(&socket)[..3].to_owned(), socket)
        });
        let (served, refused): (Vec<_>, Vec<_>) = greeted.partition(|(code, _)| code == "220");
        assert_eq!(served.len(), PER_ADDRESS);
        assert!(refused.iter().all(|(code, _)| code == "421"));
        open.extend(served.into_iter().map(|(_, socket)| socket));
    }
    // Half of them say a byte now and then.
    for byte in b"EHLO slow" {
        for mut socket in open.iter().step_by(2) {
            socket.write_all(&[*byte]).expect("taken");
        }
    }
    good_client(&engine, ground.listen, 50);
    let memory = engine.memory().expect("known").rss.saturating_sub(before);
    assert!(memory < open.len() as u64 * 64 * 1024, "{memory} bytes for {} sessions", open.len());
    drop(open);
    engine.stop().expect("ends");
}

/// A51.
#[test]
fn a_million_commands_end_in_a_disconnect() {
    let ground = Ground::new().expect("a directory");
    let engine = ground.start().expect("the engine starts");
    for command in ["NOOP\r\n", "RSET\r\n", "VRFY x\r\n", "rubbish\r\n"] {
        let mut socket = TcpStream::connect(ground.listen).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        socket.write_all(b"EHLO flood.example\r\n").expect("sent");
        let many = command.repeat(1000);
        // It ends with the connection, long before the last.
        let sent = (0..1000).take_while(|_| socket.write_all(many.as_bytes()).is_ok()).count();
        let mut heard = Vec::new();
        let end = socket.read_to_end(&mut heard);
        assert!(sent < 1000 || end.is_ok() || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
        let replies = heard.split(|b| *b == b'\n').filter(|l| l.get(3) == Some(&b' ')).count();
        assert!(replies <= 103, "{command:?}: {replies} replies");
    }
    until(PATIENCE, || engine.status().ok().filter(|s| s.smtp_queues.rcpts == 0)).expect("it answers");
    engine.stop().expect("ends");
}
