//! The client with TLS, against the server's end of it (S21-S24, A11).

use super::client::*;
use super::reply::Reply;
use super::tls::{Tls, TlsClientConfig, provider};
use crate::base::{Now, Time, Wall};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;
use std::time::Duration;

/// Within the validity of the certificates rcgen makes (1975 to 4096).
const NOW: Now = Now { mono: Time::from_millis(1000), wall: Wall::from_secs(1_790_000_000) };

/// A server's settings for a certificate on `name`, and that certificate.
pub(super) fn server_for(name: &str) -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    (Arc::new(config), certificate.der().clone())
}

fn trusting(certificate: Option<CertificateDer<'static>>) -> Arc<TlsClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificate);
    Arc::new(TlsClientConfig::new(roots).unwrap())
}

fn client(starttls: StartTls, tls: Arc<TlsClientConfig>) -> Client {
    let options = ClientOptions {
        starttls,
        tls: Some(tls),
        host: "mx.b.example".into(),
        ..ClientOptions::new("me.example")
    };
    Client::new(options, NOW)
}

/// The client up to its STARTTLS.
fn asking(starttls: StartTls, tls: Arc<TlsClientConfig>) -> Client {
    let mut client = client(starttls, tls);
    client.handle_bytes(NOW, b"220 mx\r\n");
    assert_eq!(take(&mut client), b"EHLO me.example\r\n");
    client.handle_bytes(NOW, b"250-mx\r\n250-SIZE 5\r\n250 STARTTLS\r\n");
    assert_eq!(take(&mut client), b"STARTTLS\r\n");
    client
}

fn take(client: &mut Client) -> Vec<u8> {
    let bytes = std::mem::take(client.output());
    client.sent(NOW, bytes.len());
    bytes
}

fn events(client: &mut Client) -> Vec<Event> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

/// Passes bytes to and fro until nobody has any; what the client said in clear.
fn pump(client: &mut Client, server: &mut Tls, step: usize) -> Vec<u8> {
    let mut plain = Vec::new();
    loop {
        let mut back = Vec::new();
        let wire = take(client);
        for piece in wire.chunks(step) {
            let _ = server.read(piece, &mut plain, &mut back);
        }
        if wire.is_empty() {
            return plain;
        }
        for piece in back.chunks(step) {
            client.handle_bytes(NOW, piece);
        }
    }
}

fn reply(client: &mut Client, server: &mut Tls, text: &str) {
    let mut wire = Vec::new();
    server.write(text.as_bytes(), &mut wire);
    client.handle_bytes(NOW, &wire);
}

/// A handshake that succeeds, whatever the size of the pieces; the second EHLO alone counts (S24).
fn secured(
    starttls: StartTls,
    tls: &Arc<TlsClientConfig>,
    config: &Arc<ServerConfig>,
    step: usize,
) -> (Client, Tls, Event) {
    let mut client = asking(starttls, tls.clone());
    client.handle_bytes(NOW, b"220 go\r\n");
    let mut server = Tls::server(config.clone()).unwrap();
    assert_eq!(pump(&mut client, &mut server, step), b"EHLO me.example\r\n");
    reply(&mut client, &mut server, "250-mx\r\n250 PIPELINING\r\n");
    let ready = client.poll_event().unwrap();
    assert_eq!(client.poll_event(), Some(Event::WantTransaction));
    (client, server, ready)
}

#[test]
fn mail_through_tls() {
    let (config, certificate) = server_for("mx.b.example");
    for step in [1, 100, 100_000] {
        let (mut client, mut server, ready) =
            secured(StartTls::Opportunistic, &trusting(Some(certificate.clone())), &config, step);
        let Event::Ready { extensions, tls: Some(seen) } = ready else { panic!("{ready:?}") };
        assert_eq!((extensions.list.as_str(), extensions.size), ("PIPELINING", None));
        assert_eq!((seen.protocol, seen.cipher, seen.verified), ("TLSv1.3", "TLS_AES_256_GCM_SHA384", true));

        let mail = |token| Transaction {
            token,
            sender: "a@a.example".into(),
            recipients: ["b@b.example".to_owned()].into_iter().collect(),
            ..Transaction::default()
        };
        client.start(NOW, mail(1));
        let batch = b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n";
        assert_eq!(pump(&mut client, &mut server, step), batch);
        reply(&mut client, &mut server, "250 a\r\n250 b\r\n354 go\r\n");
        // Of several pieces.
        let body = "0123456789\r\n".repeat(20_000);
        client.body(NOW, body.as_bytes());
        let mut received = pump(&mut client, &mut server, step);
        while client.wants_content() == Some(1) {
            client.body(NOW, body.as_bytes());
            received.extend(pump(&mut client, &mut server, step));
        }
        assert!(received == [body.as_bytes(), b".\r\n"].concat(), "{} bytes", received.len());
        reply(&mut client, &mut server, "250 ok\r\n");
        let end = End::Replied { stage: Stage::Final, reply: Reply::new(250, &["ok"]) };
        assert_eq!(
            events(&mut client),
            [Event::NeedBody { token: 1 }, Event::Finished { token: 1, end }, Event::WantTransaction]
        );
        // The position of the final dot is known through TLS: without its last byte nothing is in doubt.
        for (missing, in_doubt) in [(1, false), (0, true)] {
            let (mut client, mut server, _) = secured(StartTls::Required, &trusting(None), &config, step);
            client.start(NOW, mail(1));
            pump(&mut client, &mut server, step);
            reply(&mut client, &mut server, "250 a\r\n250 b\r\n354 go\r\n");
            client.body(NOW, b"x\r\n");
            let wire = std::mem::take(client.output());
            client.sent(NOW, wire.len() - missing);
            client.handle_closed(NOW, "reset");
            let doubts =
                events(&mut client).iter().any(|e| matches!(e, Event::Finished { end: End::InDoubt(_), .. }));
            assert_eq!(doubts, in_doubt);
        }
    }
}

#[test]
fn sessions_are_resumed() {
    let (config, certificate) = server_for("mx.b.example");
    let tls = trusting(Some(certificate));
    let (_, first, _) = secured(StartTls::Opportunistic, &tls, &config, 5000);
    assert!(!first.is_resumed());
    let (_, second, ready) = secured(StartTls::Opportunistic, &tls, &config, 5000);
    assert!(second.is_resumed());
    assert!(matches!(ready, Event::Ready { tls: Some(seen), .. } if seen.verified));
}

#[test]
fn s21_refused_garbage_closed_stalled() {
    for (starttls, in_clear) in [(StartTls::Opportunistic, true), (StartTls::Required, false)] {
        let check = |client: &mut Client, what: &str| {
            let all = events(client);
            assert_eq!(all.last(), Some(&Event::Closed), "{what}");
            let Some(Event::Failed { stage: Stage::StartTls, retry_in_clear, .. }) = all.first() else {
                panic!("{what}: {all:?}")
            };
            assert_eq!(*retry_in_clear, in_clear, "{what}");
        };
        let mut client = asking(starttls, trusting(None));
        client.handle_bytes(NOW, b"454 not now\r\n");
        check(&mut client, "refused");
        let mut client = asking(starttls, trusting(None));
        client.handle_bytes(NOW, b"what?\r\n");
        check(&mut client, "garbage for a reply");
        let mut client = asking(starttls, trusting(None));
        client.handle_bytes(NOW, b"220 go\r\n");
        client.handle_bytes(NOW, b"this is no TLS record at all\r\n");
        check(&mut client, "garbage for a handshake");
        let mut client = asking(starttls, trusting(None));
        client.handle_bytes(NOW, b"220 go\r\n");
        client.handle_closed(NOW, "reset");
        check(&mut client, "closed");
        let mut client = asking(starttls, trusting(None));
        client.handle_bytes(NOW, b"220 go\r\n");
        take(&mut client);
        let late = client.next_timeout().unwrap();
        assert_eq!(late, NOW.mono + Duration::from_secs(60));
        client.handle_timeout(Now { mono: late, ..NOW });
        check(&mut client, "stalled");
    }
    // Required and not offered: never in clear.
    let mut client = client(StartTls::Required, trusting(None));
    client.handle_bytes(NOW, b"220 mx\r\n");
    take(&mut client);
    client.handle_bytes(NOW, b"250 mx\r\n");
    let failed =
        Event::Failed { stage: Stage::StartTls, failure: Failure::NoStartTls, retry_in_clear: false };
    assert_eq!(events(&mut client), [failed, Event::Closed]);
}

#[test]
fn s22_certificates() {
    let (config, certificate) = server_for("mx.b.example");
    let (other, other_certificate) = server_for("other.example");
    for (config, roots, verified) in [
        (&config, Some(certificate.clone()), true),
        (&config, None, false),
        (&config, Some(other_certificate.clone()), false),
        (&other, Some(other_certificate), false),
    ] {
        let (_, _, ready) = secured(StartTls::Opportunistic, &trusting(roots.clone()), config, 5000);
        assert!(matches!(ready, Event::Ready { tls: Some(seen), .. } if seen.verified == verified));
        let mut client = asking(StartTls::Verified, trusting(roots));
        client.handle_bytes(NOW, b"220 go\r\n");
        let said = pump(&mut client, &mut Tls::server(config.clone()).unwrap(), 5000);
        let refused = events(&mut client).iter().any(|e| {
            *e == Event::Failed {
                stage: Stage::StartTls,
                failure: Failure::Unverified,
                retry_in_clear: false,
            }
        });
        assert_eq!((said.is_empty(), refused), (!verified, !verified));
    }
}

#[test]
fn hosts_are_named_by_name_or_by_address_literal() {
    let tls = trusting(None);
    for host in
        ["mx.example", "mx.example.", "192.0.2.1", "[192.0.2.1]", "[IPv6:2001:db8::1]", "[2001:db8::1]"]
    {
        assert!(Tls::client(&tls, host, NOW.wall).is_ok(), "{host}");
    }
    for host in ["", "[]", "[mx.example]", "[IPv6:]", "[192.0.2.1", "a b"] {
        assert!(Tls::client(&tls, host, NOW.wall).is_err(), "{host}");
    }
}

#[test]
fn s23_bytes_behind_the_reply_to_starttls() {
    let mut client = asking(StartTls::Opportunistic, trusting(None));
    client.handle_bytes(NOW, b"220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n");
    let all = events(&mut client);
    let injection = Failure::Protocol(ProtocolError::Injection);
    assert!(matches!(&all[0], Event::Failed { failure, .. } if *failure == injection), "{all:?}");
    assert!(client.is_closed());
}
