//! Mail from clients that log in: through STARTTLS and TLS from the first byte, by DATA and by BDAT, and who may not.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bench::ground::Ground;
use bench::wait::until;
use posthaste::base::Wall;
use posthaste::smtp::tls::{Tls, TlsClientConfig};
use serde_json::json;
use tests::submission::{certificate, ground, site};

const PATIENCE: Duration = Duration::from_secs(30);
/// Within the validity of the certificates rcgen makes.
const NOW: Wall = Wall::from_secs(1_790_000_000);
/// `\0ann\0secret` and `\0ann\0guess`.
const RIGHT: &str = "AUTH PLAIN AGFubgBzZWNyZXQ=";
const WRONG: &str = "AUTH PLAIN AGFubgBndWVzcw==";

/// A client that waits for each reply.
struct Client {
    socket: TcpStream,
    tls: Option<Tls>,
    heard: Vec<u8>,
}

impl Client {
    fn connect(to: SocketAddr) -> Client {
        let socket = TcpStream::connect(to).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        Client { socket, tls: None, heard: Vec::new() }
    }

    fn greeted(to: SocketAddr) -> Client {
        let mut client = Client::connect(to);
        assert_eq!(client.reply().expect("greeting")[..3], *"220");
        client
    }

    /// TLS from here on.
    fn seal(&mut self) {
        let config = Arc::new(TlsClientConfig::new(rustls::RootCertStore::empty()).expect("TLS"));
        self.tls = Some(Tls::client(&config, "mail.sender.example", NOW).expect("a name"));
        self.send(b"").expect("hello");
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut wire = Vec::new();
        match &mut self.tls {
            None => wire.extend_from_slice(bytes),
            Some(tls) if bytes.is_empty() => tls.flush(&mut wire),
            Some(tls) => tls.write(bytes, &mut wire),
        }
        self.socket.write_all(&wire)
    }

    /// One whole reply.
    fn reply(&mut self) -> io::Result<String> {
        loop {
            let ends = self.heard.split_inclusive(|b| *b == b'\n').scan(0, |at, line| {
                *at += line.len();
                Some((*at, line.get(3) == Some(&b' ') && line.ends_with(b"\n")))
            });
            if let Some((end, _)) = ends.into_iter().find(|(_, last)| *last) {
                let reply = self.heard.drain(..end).collect();
                return String::from_utf8(reply).map_err(io::Error::other);
            }
            let mut buffer = [0; 4096];
            let read = self.socket.read(&mut buffer)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut answer = Vec::new();
            match &mut self.tls {
                None => self.heard.extend_from_slice(&buffer[..read]),
                Some(tls) => {
                    tls.read(&buffer[..read], &mut self.heard, &mut answer).map_err(io::Error::other)?;
                }
            }
            self.socket.write_all(&answer)?;
        }
    }

    /// The code of the reply to one command.
    fn tell(&mut self, line: &str) -> String {
        self.ask(line)[..3].to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).expect("sent");
        self.reply().unwrap_or_else(|e| panic!("{line}: {e}"))
    }
}

/// The accounting lines about who sent what.
fn users(ground: &Ground) -> String {
    let dir = ground.path("");
    let files = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.to_string_lossy().contains("users-"));
    files.map(|path| fs::read_to_string(path).expect("text")).collect()
}

#[test]
fn mail_of_a_user_through_tls() {
    let site = site();
    let (ground, sealed) = ground(&site, "  smtp-max-auth-failure-rate 3/h");
    let engine = ground.start().expect("the engine starts");

    let mut client = Client::greeted(ground.listen);
    assert!(!client.ask("EHLO me.example").contains("PLAIN"), "a password is not asked for in the clear");
    assert_eq!(client.tell("MAIL FROM:<a@a.example>"), "530");
    assert_eq!(client.tell(RIGHT), "538");
    assert_eq!(client.tell("STARTTLS"), "220");
    client.seal();
    assert!(client.ask("EHLO me.example").contains("CHUNKING"));
    assert_eq!(client.tell(RIGHT), "235");
    let by_chunks = |client: &mut Client, to: &str| {
        assert_eq!(client.tell("MAIL FROM:<a@a.example>"), "250");
        assert_eq!(client.tell(&format!("RCPT TO:<{to}>")), "250");
        let text = "Subject: chunk\r\n\r\n.\r\nend\r\n";
        client.send(format!("BDAT {} LAST\r\n{text}", text.len()).as_bytes()).expect("sent");
        assert_eq!(client.reply().expect("a reply")[..3], *"250");
    };
    by_chunks(&mut client, "one@site.example");
    assert_eq!(client.tell("QUIT"), "221");

    let mut client = Client::connect(sealed);
    client.seal();
    assert_eq!(client.reply().expect("greeting")[..3], *"220");
    assert_eq!(client.tell("EHLO me.example"), "250");
    assert_eq!(client.tell(RIGHT), "235");
    by_chunks(&mut client, "two@site.example");

    until(PATIENCE, || (site.stats().recipients() == 2).then_some(())).expect("both are delivered");
    let wanted = ["one@site.example,ann", "two@site.example,ann"];
    let told = || wanted.iter().all(|line| users(&ground).contains(line)).then_some(());
    until(PATIENCE, told).unwrap_or_else(|_| panic!("{}", users(&ground)));
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn who_guesses_passwords_is_locked_out_on_every_connection() {
    let site = site();
    let (ground, sealed) = ground(&site, "  smtp-max-auth-failure-rate 3/h");
    let engine = ground.start().expect("the engine starts");
    let login = |line| {
        let mut client = Client::connect(sealed);
        client.seal();
        client.reply().expect("greeting");
        client.ask("EHLO me.example");
        client.tell(line)
    };
    assert_eq!([login(WRONG), login(RIGHT), login(WRONG), login(WRONG)], ["535", "235", "535", "535"]);
    assert_eq!(login(RIGHT), "454", "locked, whatever is said");
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn certificates_come_with_a_reload() {
    let site = site();
    let (ground, sealed) = ground(&site, "  smtp-max-auth-failure-rate 3/h");
    let engine = ground.start().expect("the engine starts");
    let reload = || engine.ask(&json!({"request": "reload"}));
    let greets = || {
        let mut client = Client::connect(sealed);
        client.seal();
        client.reply().expect("greeting")
    };
    fs::write(ground.path("smtp.pem"), "nothing").expect("written");
    let error = reload().expect_err("it is not a certificate").to_string();
    assert!(error.contains("smtp.pem: there is no certificate in it"), "{error}");
    assert!(greets().starts_with("220"), "the old one is shown still");
    fs::write(ground.path("smtp.pem"), certificate()).expect("written");
    reload().expect("it is right");
    assert!(greets().starts_with("220"));
    assert!(engine.stop().expect("it can be waited for").success());
}

/// `unix_chkpwd` itself is asked, by whoever may: root. The right password is nobody's to write down here.
#[test]
fn accounts_of_the_system_have_their_own_passwords() {
    let mut ground = Ground::new().expect("a directory");
    ground.add(
        "<source 127.0.0.0/8>\n  allow-unencrypted-plain-auth yes\n  smtp-max-auth-failure-rate 2/h\n</source>\n\
         <smtp-user ann>\n  authentication-method system\n</smtp-user>\n<smtp-user bob>\n  password secret\n</smtp-user>",
    );
    let engine = ground.start().expect("the engine starts");
    let mut client = Client::greeted(ground.listen);
    let offered = client.ask("EHLO me.test");
    assert!(offered.contains("AUTH PLAIN LOGIN\r\n"), "{offered}");
    let may_ask =
        rustix::process::getuid().is_root() && std::path::Path::new("/usr/sbin/unix_chkpwd").exists();
    let said: Vec<String> = (0..3).map(|_| client.ask(WRONG)[..9].to_owned()).collect();
    match may_ask {
        true => assert_eq!(said, ["535 5.7.8", "535 5.7.8", "454 4.7.0"]),
        false => assert_eq!(said, ["454 4.7.0"; 3]),
    }
    engine.stop().expect("ends");
}
