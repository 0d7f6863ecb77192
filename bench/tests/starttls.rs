//! STARTTLS at the site, spoken to by a client that trusts nobody in particular.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use bench::site::{DoorConfig, LedgerMode, Persona, Site, SiteConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// Takes any certificate, but insists that the server holds its key.
#[derive(Debug)]
struct AnyName(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn client() -> ClientConnection {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has ciphers")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyName(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from("mx.site.example").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

/// The next reply, all lines.
fn reply(from: &mut impl BufRead) -> String {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).expect("a line");
        let more = line.get(3..4) == Some("-");
        all.push_str(&line);
        if !more {
            return all;
        }
    }
}

/// Over `stream`, after the reply to STARTTLS.
fn say<S: Read + Write>(stream: &mut BufReader<S>, line: &str) -> String {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("the site reads");
    stream.get_mut().flush().expect("the site reads");
    reply(stream)
}

#[test]
fn mail_is_taken_through_tls_and_starttls_is_not_offered_again() {
    let doors = vec![DoorConfig::new("gmail", Persona::Gmail)];
    let config = SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() };
    let site = Site::start(config).expect("loopback is there");
    let stream = TcpStream::connect(site.addr("gmail")).expect("it listens");
    let mut clear = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
    assert!(reply(&mut clear).starts_with("220 "));
    assert!(say(&mut clear, "EHLO peer.example").contains("250 STARTTLS"));
    assert!(say(&mut clear, "STARTTLS").starts_with("220 "));

    let mut secure = BufReader::new(StreamOwned::new(client(), stream));
    let keywords = say(&mut secure, "EHLO peer.example");
    assert!(keywords.contains("CHUNKING") && !keywords.contains("STARTTLS"), "{keywords}");
    // A body of many records, and pipelined commands in one.
    let body = "0123456789abcdef\r\n".repeat(5000);
    assert!(say(&mut secure, "MAIL FROM:<>\r\nRCPT TO:<sure@x.example>\r\nDATA").starts_with("250 "));
    assert!(reply(&mut secure).starts_with("250 "));
    assert!(reply(&mut secure).starts_with("354 "));
    assert!(say(&mut secure, &format!("Subject: x\r\n\r\n{body}.")).starts_with("250 2.0.0"));
    assert!(say(&mut secure, "QUIT").starts_with("221 "));

    let ledger = site.ledger();
    assert_eq!(ledger.deliveries[0].message.as_deref(), Some(format!("Subject: x\r\n\r\n{body}").as_bytes()));
    let total = &site.stop().doors[0].total;
    assert_eq!((total.tls_sessions, total.messages, total.protocol_errors), (1, 1, 0));
}

#[test]
fn a_command_smuggled_in_before_the_handshake_is_not_obeyed() {
    let doors = vec![DoorConfig::new("gmail", Persona::Gmail)];
    let site = Site::start(SiteConfig { doors, ..SiteConfig::default() }).expect("loopback is there");
    let stream = TcpStream::connect(site.addr("gmail")).expect("it listens");
    let mut clear = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
    reply(&mut clear);
    say(&mut clear, "EHLO peer.example");
    assert!(say(&mut clear, "STARTTLS\r\nMAIL FROM:<evil@peer.example>").starts_with("220 "));
    let mut secure = BufReader::new(StreamOwned::new(client(), stream));
    assert!(say(&mut secure, "EHLO peer.example").starts_with("250-"));
    assert!(say(&mut secure, "RCPT TO:<a@x.example>").starts_with("503 "), "no MAIL was heard");
    let total = site.stop().doors[0].total.clone();
    assert_eq!((total.mails, total.protocol_errors), (0, 2));
}
