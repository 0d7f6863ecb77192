//! The client against the server of this module, byte for byte, over every combination of what they may use, in clear
//! and through TLS.

use super::client::{Client, ClientOptions, End, Event, RecipientFate, StartTls, Transaction};
use super::server::{Relay, ServerEvent, ServerOptions, Session};
use super::tls::{Tls, TlsClientConfig, provider};
use crate::base::{Now, Time, Wall};
use proptest::prelude::*;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{RootCertStore, ServerConfig};
use std::collections::VecDeque;
use std::sync::Arc;

const NOW: Now = Now { mono: Time::from_millis(1000), wall: Wall::from_secs(1_790_000_000) };

/// Recipients and text of a message that arrived.
type Received = (Vec<String>, Vec<u8>);

/// The receiving end: a session, in clear at first or throughout.
struct Site {
    session: Session,
    tls: Option<Tls>,
    received: Vec<Received>,
}

impl Site {
    fn new(secure: bool) -> Site {
        let options = ServerOptions {
            relay: Relay::Closed {
                to: crate::smtp::server_options::RelayTo::new(|_, domain| domain == "b.test"),
            },
            max_recipients: 3,
            ..ServerOptions::new("mx.b.test")
        };
        let mut session = Session::new(options, NOW, 1);
        let tls = secure.then(|| Tls::server(server_config()).unwrap());
        if secure {
            session.output().clear();
        }
        Site { session, tls, received: Vec::new() }
    }

    /// Bytes from the client in, bytes for the client out.
    fn handle(&mut self, wire: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut plain = Vec::new();
        match &mut self.tls {
            Some(tls) => tls.read(wire, &mut plain, &mut out).unwrap(),
            None => plain.extend_from_slice(wire),
        }
        self.session.handle_bytes(NOW, &plain);
        while let Some(event) = self.session.poll_event() {
            if let ServerEvent::Message(envelope, message) = event {
                self.received.push((envelope.recipients, message));
                self.session.accepted(NOW, self.received.len());
            }
        }
        let said = std::mem::take(self.session.output());
        match &mut self.tls {
            Some(tls) if !said.is_empty() => tls.write(&said, &mut out),
            _ => out.extend_from_slice(&said),
        }
        out
    }
}

fn server_config() -> Arc<ServerConfig> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["mx.b.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    Arc::new(config)
}

/// How the two talk.
#[derive(Clone, Copy, Debug)]
struct Manner {
    secure: bool,
    pipelining: bool,
    across: bool,
    /// Most bytes that travel at a time.
    step: usize,
}

/// What the client told about its transactions, in words.
#[derive(Debug, Default)]
struct Told {
    delivered: Vec<u64>,
    refused: Vec<(u64, u16)>,
    postponed: Vec<(u64, u16)>,
}

/// A message: its recipients (those in `b.test` are taken) and text.
type Mail = (Vec<&'static str>, String);

/// Sends everything, and returns what either side saw. Panics when either side waits for ever.
fn deliver(manner: Manner, mails: &[Mail]) -> (Told, Vec<Received>) {
    let mut options = ClientOptions::new("me.test");
    options.ignore_pipelining = !manner.pipelining;
    options.pipeline_across_data = manner.across;
    options.host = "mx.b.test".into();
    if manner.secure {
        options.starttls = StartTls::Required;
        options.tls = Some(Arc::new(TlsClientConfig::new(RootCertStore::empty()).unwrap()));
    }
    let mut client = Client::new(options, NOW);
    let mut site = Site::new(manner.secure);
    let mut waiting: VecDeque<u64> = (0..mails.len() as u64).collect();
    let mut told = Told::default();
    let mut back = std::mem::take(site.session.output());
    if manner.secure {
        for reply in ["220 mx.b.test\r\n", "250-mx.b.test\r\n250 STARTTLS\r\n", "220 go\r\n"] {
            client.handle_bytes(NOW, reply.as_bytes());
            if reply != "220 go\r\n" {
                let wire = std::mem::take(client.output());
                client.sent(NOW, wire.len());
            }
        }
    }
    for _ in 0..100_000 {
        for piece in std::mem::take(&mut back).chunks(manner.step) {
            client.handle_bytes(NOW, piece);
        }
        while let Some(event) = client.poll_event() {
            react(&mut client, event, mails, &mut waiting, &mut told);
        }
        if client.is_closed() && client.output().is_empty() {
            return (told, site.received);
        }
        let wire = std::mem::take(client.output());
        client.sent(NOW, wire.len());
        // Command groups arrive whole or in pieces, but nothing arrives before it was sent.
        for piece in wire.chunks(manner.step) {
            back.extend(site.handle(piece));
        }
        assert!(!wire.is_empty() || !back.is_empty(), "both sides wait: {client:?} {told:?}");
    }
    panic!("no end");
}

fn react(client: &mut Client, event: Event, mails: &[Mail], waiting: &mut VecDeque<u64>, told: &mut Told) {
    match event {
        Event::WantTransaction => match waiting.pop_front() {
            Some(token) => client.start(NOW, transaction(token, &mails[token as usize])),
            None if client.is_idle() => client.quit(NOW),
            None => {}
        },
        Event::NeedBody { token } => client.body(NOW, mails[token as usize].1.as_bytes()),
        Event::Recipient { token, index, fate: RecipientFate::Refused(_) } => {
            told.refused.push((token, index));
        }
        Event::Recipient { token, index, fate: RecipientFate::Postponed(_) } => {
            told.postponed.push((token, index));
        }
        Event::Finished { token, end: End::Replied { reply, .. } } if reply.code == 250 => {
            told.delivered.push(token);
        }
        Event::Finished { end: End::AllRefused, .. } | Event::Ready { .. } | Event::Closed => {}
        other => panic!("{other:?}"),
    }
}

fn transaction(token: u64, mail: &Mail) -> Transaction {
    Transaction {
        token,
        sender: "a@a.test".into(),
        recipients: mail.0.iter().map(|r| (*r).to_owned()).collect(),
        size: mail.1.len() as u32,
        eight_bit: !mail.1.is_ascii(),
        ..Transaction::default()
    }
}

fn check(manner: Manner, mails: &[Mail]) {
    let (told, received) = deliver(manner, mails);
    let mut expected = Vec::new();
    for (token, (recipients, text)) in mails.iter().enumerate() {
        let (taken, refused): (Vec<_>, Vec<_>) =
            (0..).zip(recipients).partition(|(_, r)| r.ends_with("@b.test"));
        for (n, (index, _)) in taken.iter().enumerate() {
            assert_eq!(told.postponed.contains(&(token as u64, *index)), n >= 3, "{manner:?} {told:?}");
        }
        // Behind the limit, everything is postponed.
        for (index, _) in &refused {
            let behind = taken.iter().filter(|(i, _)| i < index).count() >= 3;
            assert_eq!(told.refused.contains(&(token as u64, *index)), !behind, "{manner:?} {told:?}");
        }
        assert_eq!(told.delivered.contains(&(token as u64)), !taken.is_empty(), "{manner:?} {told:?}");
        if !taken.is_empty() {
            let recipients: Vec<String> = taken.iter().take(3).map(|(_, r)| (**r).to_owned()).collect();
            expected.push((recipients, text.clone().into_bytes()));
        }
    }
    assert_eq!(received, expected, "{manner:?}");
}

fn manners(secure: bool) -> Vec<Manner> {
    let mut all = Vec::new();
    for (pipelining, across) in [(false, false), (true, false), (true, true)] {
        for step in [1, 7, 100_000] {
            all.push(Manner { secure, pipelining, across, step });
        }
    }
    all
}

fn campaign() -> Vec<Mail> {
    let text = |n: usize| format!("Subject: {n}\r\n\r\n.dot\r\n..\r\n{}\r\n.\r\n", "line\r\n".repeat(n * 10));
    let recipients: [Vec<&str>; 9] = [
        vec!["a@b.test"],
        vec!["a@b.test"],
        vec!["a@x.test"],
        vec!["a@b.test", "b@x.test", "c@b.test"],
        vec!["x@x.test", "y@x.test"],
        vec!["a@x.test"],
        vec!["a@b.test", "b@b.test", "c@b.test", "d@b.test", "e@b.test"],
        vec!["a@b.test"],
        vec!["z@x.test"],
    ];
    recipients.into_iter().enumerate().map(|(n, r)| (r, text(n))).collect()
}

#[test]
fn every_manner_in_clear() {
    for manner in manners(false) {
        check(manner, &campaign());
    }
}

#[test]
fn every_manner_through_tls() {
    for manner in manners(true) {
        check(manner, &campaign());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_mail_any_manner(
        mails in prop::collection::vec((
            prop::collection::vec(prop::sample::select(vec!["a@b.test", "b@b.test", "c@x.test"]), 1..6),
            "([.a-zé ]{0,5}\r\n){0,6}",
        ), 0..6),
        pipelining: bool, across: bool, step in 1usize..200,
    ) {
        check(Manner { secure: false, pipelining, across, step }, &mails);
    }
}
