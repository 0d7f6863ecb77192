//! Inbound mail whose origin is looked into: SPF and reverse DNS at MAIL, DKIM signatures at the end, and what of it stands in
//! the message.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use bench::ground::Ground;
use bench::site::{Behaviour, DoorConfig, LedgerMode, Site, SiteConfig, SiteHandle};
use bench::wait::until;
use data_encoding::BASE64;
use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;
use rustix::net::{AddressFamily, SocketType};
use tests::dns::{NameServer, Zone};

const PATIENCE: Duration = Duration::from_secs(30);
const MESSAGE: &str = "From: a@right.example\r\nSubject: hello\r\nAuthentication-Results: mail.sender.example; spf=pass\r\n\r\nbody\r\n";

fn site() -> SiteHandle {
    let doors = vec![DoorConfig::with("site", Behaviour::default())];
    Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() })
        .expect("loopback")
}

/// The code of the first reply that refuses, or that to the message.
fn send(to: SocketAddr, sender: &str, message: &str) -> String {
    send_from(Ipv4Addr::LOCALHOST, to, sender, message)
}

fn send_from(client: Ipv4Addr, to: SocketAddr, sender: &str, message: &str) -> String {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, &SocketAddr::from((client, 0))).expect("an address of this machine");
    rustix::net::connect(&socket, &to).expect("it listens");
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut replies = BufReader::new(socket.try_clone().expect("another handle"));
    let mut reply = move || {
        let mut line = String::new();
        while line.get(3..4) != Some(" ") {
            line.clear();
            replies.read_line(&mut line).expect("a reply");
        }
        line
    };
    reply();
    let commands =
        ["EHLO client.example", &format!("MAIL FROM:<{sender}>"), "RCPT TO:<r@site.example>", "DATA"];
    for command in commands {
        socket.write_all(format!("{command}\r\n").as_bytes()).expect("sent");
        let said = reply();
        if !said.starts_with(['2', '3']) {
            return said;
        }
    }
    socket.write_all(format!("{message}.\r\n").as_bytes()).expect("sent");
    reply()
}

/// The message with this number that has arrived.
fn arrived(site: &SiteHandle, number: usize) -> String {
    let taken = || site.ledger().deliveries.into_iter().nth(number);
    String::from_utf8(until(PATIENCE, taken).expect("it arrives").message.expect("kept")).expect("text")
}

/// A name server that knows this, on an address of its own; `None` without the right to port 53.
fn server(dns: Ipv4Addr, zone: Zone) -> Option<NameServer> {
    match NameServer::start(dns, zone) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: port 53 takes root");
            None
        }
        server => Some(server.expect("it listens")),
    }
}

#[test]
fn what_is_found_is_told_and_what_fails_is_refused() {
    let dns = Ipv4Addr::new(127, 0, 93, 53);
    let key = Ed25519Key::from_pkcs8_der(&Ed25519Key::generate_pkcs8().expect("a key")).expect("a key");
    let record = format!("v=DKIM1; k=ed25519; p={}", BASE64.encode(&key.public_key()));
    let zone = Zone::default()
        .txt("right.example", "v=spf1 ip4:127.0.0.0/8 -all")
        .txt("wrong.example", "v=spf1 ip4:192.0.2.1 -all")
        .txt("soft.example", "v=spf1 ip4:192.0.2.1 ~all")
        .txt("broken.example", "v=spf1 ip4:nobody -all")
        .txt("key._domainkey.right.example", &record)
        .ptr(Ipv4Addr::LOCALHOST, "client.example")
        .a("client.example", Ipv4Addr::LOCALHOST);
    let Some(_server) = server(dns, zone) else { return };
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "");
    ground.add(&format!(
        "name-server {dns}\n<source 127.0.0.0/8>\n  check-spf-inbound yes\n  check-iprev-inbound yes\n  \
         check-dkim-inbound yes\n</source>"
    ));
    let engine = ground.start().expect("the engine starts");

    let said = send(ground.listen, "a@wrong.example", MESSAGE);
    assert!(said.starts_with("550 5.7.23 SPF validation of wrong.example failed"), "{said}");
    let said = send(ground.listen, "a@broken.example", MESSAGE);
    assert!(said.starts_with("550 5.7.24"), "{said}");
    assert!(send(ground.listen, "a@right.example", MESSAGE).starts_with("250"));
    let taken = arrived(&site, 0);
    let (field, rest) = taken.split_once("Received: ").expect("a trace");
    for part in [
        "Authentication-Results: mail.sender.example;",
        "iprev=pass",
        "spf=pass",
        "smtp.mailfrom=a@right.example",
        "dkim=none",
    ] {
        assert!(field.contains(part), "{part}: {taken}");
    }
    assert!(!rest.contains("Authentication-Results"), "what was brought along is gone: {taken}");

    let signer =
        DkimSigner::from_key(key).domain("right.example").selector("key").headers(["From", "Subject"]);
    let signature = signer.sign(MESSAGE.as_bytes()).expect("signed").to_header();
    assert!(send(ground.listen, "a@soft.example", &format!("{signature}{MESSAGE}")).starts_with("250"));
    let taken = arrived(&site, 1);
    assert!(taken.contains("dkim=pass header.d=right.example") && taken.contains("spf=softfail"), "{taken}");
    let altered = format!("{signature}{}", MESSAGE.replace("body", "another body"));
    assert!(send(ground.listen, "", &altered).starts_with("250"));
    let taken = arrived(&site, 2);
    assert!(taken.contains("dkim=fail") || taken.contains("dkim=neutral"), "{taken}");
    engine.stop().expect("ends");
}

/// The field without its folds.
fn unfolded(message: &str) -> String {
    let (field, _) = message.split_once("Received: ").expect("a trace");
    assert!(field.is_ascii());
    for line in field.lines().filter(|line| line.contains("(dns")) {
        assert!(line.len() <= 78, "{line}");
    }
    field.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_dns_has_said_is_told_where_it_is_wanted() {
    let dns = Ipv4Addr::new(127, 0, 93, 54);
    let zone = Zone::default()
        .txt("right.example", "google-site-verification=1")
        .txt("right.example", "v=spf1 a:gone.example exists:%{l}.gone.example ip4:127.0.0.0/8 -all")
        .txt("evil.example", "v=spf1 ip4:127.0.0.0/8 exp=x)\r\nSubject:x\\( -all")
        .txt("key._domainkey.right.example", "v=DKIM1; p=")
        .a("client.example", Ipv4Addr::LOCALHOST);
    let Some(_server) = server(dns, zone) else { return };
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "");
    ground.add(&format!(
        "name-server {dns}\n<source 127.0.0.0/8>\n  check-spf-inbound yes\n  check-iprev-inbound yes\n  \
         check-dkim-inbound yes\n  trace-spf-check yes\n  trace-iprev-check yes\n  trace-dkim-check yes\n  \
         reject-spf-check-permerror no\n</source>"
    ));
    let engine = ground.start().expect("the engine starts");

    let key = Ed25519Key::from_pkcs8_der(&Ed25519Key::generate_pkcs8().expect("a key")).expect("a key");
    let signer = DkimSigner::from_key(key).domain("right.example").selector("key").headers(["From"]);
    let signature = signer.sign(MESSAGE.as_bytes()).expect("signed").to_header();
    assert!(send(ground.listen, "a@right.example", &format!("{signature}{MESSAGE}")).starts_with("250"));
    let field = unfolded(&arrived(&site, 0));
    // The resolver knows this address by itself (RFC 6761 section 6.3).
    let iprev = "iprev=pass policy.iprev=127.0.0.1 (dns PTR 1.0.0.127.in-addr.arpa: localhost.) \
                 (dns A localhost: 127.0.0.1);";
    let spf = "smtp.mailfrom=a@right.example (dns TXT client.example: no such record) (dns TXT right.example: \
               \"v=spf1 a:gone.example exists:%{l}.gone.example ip4:127.0.0.0/8 -all\", \
               \"google-site-verification=1\") (dns A gone.example: no such name) \
               (dns A a.gone.example: no such name) (dns AAAA a.gone.example: no such name);";
    let dkim = "(dns TXT key._domainkey.right.example: \"v=DKIM1; p=\")";
    for part in [iprev, "spf=pass", spf, dkim] {
        assert!(field.contains(part), "{part}\n{field}");
    }

    assert!(send(ground.listen, "a@evil.example", MESSAGE).starts_with("250"));
    let taken = arrived(&site, 1);
    let evil = "(dns TXT evil.example: \"v=spf1 ip4:127.0.0.0/8 exp=x\\)??Subject:x\\\\\\( -all\")";
    assert!(unfolded(&taken).contains(evil), "{taken}");
    engine.stop().expect("ends");
}

/// RFC 7208 section 4.6.4.
#[test]
fn a_policy_full_of_nothing_is_wrong() {
    let dns = Ipv4Addr::new(127, 0, 93, 55);
    let zone = Zone::default()
        .txt("two.example", "v=spf1 a:g1.example mx:g2.example ip4:127.0.0.0/8 -all")
        .txt("three.example", "v=spf1 a:g1.example mx:g2.example exists:g3.example ip4:127.0.0.0/8 -all")
        .txt("before.example", "v=spf1 ip4:127.0.0.0/8 a:g1.example a:g2.example a:g3.example -all");
    let Some(_server) = server(dns, zone) else { return };
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "");
    ground.add(&format!(
        "name-server {dns}\n<source 127.0.0.0/8>\n  check-spf-inbound yes\n</source>\n\
         <source 127.0.0.1>\n  check-spf-inbound-max-void-lookups 3\n</source>"
    ));
    let engine = ground.start().expect("the engine starts");
    let strict = |sender| send_from(Ipv4Addr::new(127, 0, 0, 2), ground.listen, sender, MESSAGE);
    assert!(strict("a@two.example").starts_with("250"));
    assert!(strict("a@before.example").starts_with("250"));
    assert!(strict("a@three.example").starts_with("550 5.7.24"));
    assert!(send(ground.listen, "a@three.example", MESSAGE).starts_with("250"));
    engine.stop().expect("ends");
}
