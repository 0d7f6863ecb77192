//! Clients that log in with a certificate over real TLS, and the cipher suites they are given.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bench::ground::Ground;
use bench::wait::until;
use posthaste::smtp::tls::Suites;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use serde_json::json;
use tests::submission::{ground, site};

const PATIENCE: Duration = Duration::from_secs(30);

struct Shown {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Shown {
    fn new() -> Shown {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec!["client.example".to_owned()]).expect("a name");
        Shown { certificate: parameters.self_signed(&key).expect("a certificate"), key }
    }
}

/// What a client of this server shows and speaks; it remembers TLS sessions.
fn client(ground: &Ground, shown: Option<&Shown>, suites: &Suites) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let own = CertificateDer::from_pem_file(ground.path("smtp.pem")).expect("a certificate");
    roots.add(own).expect("it can be trusted");
    let builder = ClientConfig::builder_with_provider(Arc::new(suites.provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("TLS").with_root_certificates(roots);
    let config = match shown {
        None => Ok(builder.with_no_client_auth()),
        Some(Shown { certificate, key }) => builder.with_client_auth_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        ),
    };
    Arc::new(config.expect("its key"))
}

/// A session through STARTTLS.
struct Talk(StreamOwned<ClientConnection, TcpStream>);

impl Talk {
    fn begin(to: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Talk> {
        let mut socket = TcpStream::connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        for line in ["", "EHLO me.example\r\n", "STARTTLS\r\n"] {
            socket.write_all(line.as_bytes())?;
            reply(&mut socket)?;
        }
        let name = ServerName::try_from("mail.sender.example").expect("a name");
        let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let mut talk = Talk(StreamOwned::new(connection, socket));
        talk.0.flush()?;
        Ok(talk)
    }

    fn ask(&mut self, line: &str) -> io::Result<String> {
        self.0.write_all(format!("{line}\r\n").as_bytes())?;
        reply(&mut self.0)
    }

    fn tell(&mut self, line: &str) -> String {
        self.ask(line).unwrap_or_else(|e| panic!("{line}: {e}"))[..3].to_owned()
    }

    fn is_offered(&mut self) -> bool {
        self.ask("EHLO me.example").expect("a reply").contains("AUTH EXTERNAL")
    }

    fn is_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn send(&mut self, to: &str) {
        let dialogue = [
            ("MAIL FROM:<a@a.example>", "250"),
            (&format!("RCPT TO:<{to}>"), "250"),
            ("DATA", "354"),
            ("Subject: x\r\n\r\ntext\r\n.", "250"),
        ];
        for (line, code) in dialogue {
            assert_eq!(self.tell(line), code, "{line}");
        }
    }
}

/// One whole reply, of which nothing more is read.
fn reply(from: &mut impl Read) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let line = text.split_inclusive('\n').next_back().unwrap_or_default();
        if line.ends_with('\n') && line.as_bytes().get(3) == Some(&b' ') {
            return Ok(text);
        }
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        text.push(byte[0].into());
    }
}

/// A ground where Bea logs in with this certificate and Ann with her password.
fn ground_of(site: &bench::site::SiteHandle, bea: &Shown) -> Ground {
    let (mut ground, _) = ground(site, "");
    fs::write(ground.path("bea.pem"), bea.certificate.pem()).expect("written");
    let file = ground.path("bea.pem");
    ground.add(&format!(
        "<smtp-user bea>\n  authentication-method certificate\n  tls-certificate {}\n</smtp-user>",
        file.display()
    ));
    ground
}

#[test]
fn mail_of_a_user_who_has_shown_her_certificate() {
    let (site, bea) = (site(), Shown::new());
    let ground = ground_of(&site, &bea);
    let engine = ground.start().expect("the engine starts");
    let config = client(&ground, Some(&bea), &Suites::default());
    for (to, resumed) in [("one@site.example", false), ("two@site.example", true)] {
        let mut talk = Talk::begin(ground.listen, &config).expect("TLS");
        assert!(talk.is_offered());
        assert_eq!(talk.is_resumed(), resumed);
        assert_eq!(talk.tell("MAIL FROM:<a@a.example>"), "530", "shown, and not yet logged in");
        assert_eq!(talk.tell("AUTH EXTERNAL YW5u"), "535", "she is not Ann");
        assert_eq!(talk.tell("AUTH EXTERNAL ="), "235");
        talk.send(to);
        assert_eq!(talk.tell("QUIT"), "221");
    }
    for shown in [None, Some(&Shown::new())] {
        let mut talk = Talk::begin(ground.listen, &client(&ground, shown, &Suites::default())).expect("TLS");
        assert!(!talk.is_offered());
        assert_eq!(talk.tell("AUTH EXTERNAL ="), "504");
        assert_eq!(talk.tell("AUTH PLAIN AGFubgBzZWNyZXQ="), "235", "a password is as good as ever");
    }
    let wanted = ["one@site.example,bea", "two@site.example,bea"];
    let accounting = || {
        let files = fs::read_dir(ground.path("")).expect("a directory").map(|e| e.expect("an entry").path());
        let files = files.filter(|path| path.to_string_lossy().contains("users-"));
        files.map(|path| fs::read_to_string(path).expect("text")).collect::<String>()
    };
    let told = || wanted.iter().all(|line| accounting().contains(line)).then_some(());
    until(PATIENCE, told).unwrap_or_else(|_| panic!("{}", accounting()));
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn a_certificate_is_taken_back_by_a_reload() {
    let (site, bea, next) = (site(), Shown::new(), Shown::new());
    let ground = ground_of(&site, &bea);
    let engine = ground.start().expect("the engine starts");
    let (old, new) =
        (client(&ground, Some(&bea), &Suites::default()), client(&ground, Some(&next), &Suites::default()));
    let are_offered =
        || [&old, &new].map(|config| Talk::begin(ground.listen, config).expect("TLS").is_offered());
    let reload = || engine.ask(&json!({"request": "reload"}));
    assert_eq!(are_offered(), [true, false]);
    fs::write(ground.path("bea.pem"), "nothing").expect("written");
    let error = reload().expect_err("it is no certificate").to_string();
    assert!(error.contains("bea.pem: there is no certificate in it"), "{error}");
    assert_eq!(are_offered(), [true, false], "the old one counts still");
    let both = bea.certificate.pem() + &next.certificate.pem();
    fs::write(ground.path("bea.pem"), both).expect("written");
    reload().expect("it is right");
    assert_eq!(are_offered(), [true, true]);
    fs::write(ground.path("bea.pem"), next.certificate.pem()).expect("written");
    reload().expect("it is right");
    // Its TLS session is not remembered either.
    assert_eq!(are_offered(), [false, true]);
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn suites_are_those_that_are_allowed() {
    let site = site();
    let (mut ground, _) = ground(&site, "");
    ground.add(
        "smtp-server-tls-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:AES128-SHA\n\
         smtp-server-tls-v1.3-ciphersuites TLS_CHACHA20_POLY1305_SHA256",
    );
    let engine = ground.start().expect("the engine starts");
    let speaks = |v1_2: &[&'static str], v1_3: &[&'static str]| {
        let suites = Suites { v1_2: Some(v1_2.to_vec()), v1_3: Some(v1_3.to_vec()) };
        let mut talk = Talk::begin(ground.listen, &client(&ground, None, &suites)).ok()?;
        talk.ask("EHLO me.example").ok()?;
        talk.0.conn.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()))
    };
    let (aes_128, aes_256) = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384");
    assert_eq!(speaks(&[aes_256], &["TLS_AES_256_GCM_SHA384"]), None);
    let agreed = speaks(&[aes_256, aes_128], &[]).expect("one of them");
    assert_eq!(agreed, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    let agreed =
        speaks(&[], &["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]).expect("one of them");
    assert_eq!(agreed, "TLS13_CHACHA20_POLY1305_SHA256");
    assert!(engine.stop().expect("it can be waited for").success());
}
