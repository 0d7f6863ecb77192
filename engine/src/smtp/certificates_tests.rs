//! Clients that show certificates, and AUTH EXTERNAL (RFC 4422 A) by them.

use super::certificates::Certificates;
use super::server::*;
use super::server_tests::*;
use super::server_wire::Wire;
use super::tls::{TlsServerConfig, provider};
use crate::base::{Now, Wall};
use data_encoding::BASE64;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A certificate and a key, which need not go together.
#[derive(Clone)]
struct Shown(CertificateDer<'static>, Vec<u8>);

impl Shown {
    fn new() -> Shown {
        let key = KeyPair::generate().unwrap();
        let certificate = params().self_signed(&key).unwrap();
        Shown(certificate.der().clone(), key.serialize_der())
    }

    fn with_key_of(self, other: &Shown) -> Shown {
        Shown(self.0, other.1.clone())
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.1.clone()).into()
    }
}

fn params() -> CertificateParams {
    CertificateParams::new(vec!["mx.test".to_owned()]).unwrap()
}

/// A server that knows Ann by these certificates, checked with these authorities; and what its clients have to trust.
struct Server {
    tls: TlsServerConfig,
    certificate: CertificateDer<'static>,
}

impl Server {
    fn knowing(ann: &[&Shown], authorities: &[&CertificateDer<'static>]) -> Server {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add((*authority).clone()).unwrap();
        }
        let users: HashMap<_, _> = ann.iter().map(|shown| (shown.0.clone(), "ann".to_owned())).collect();
        let certificates = Arc::new(Certificates::new(users, roots).unwrap());
        let own = Shown::new();
        let key = CertifiedKey::from_der(vec![own.0.clone()], own.key(), &provider()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let tls = TlsServerConfig::asking(builder, certificates, Arc::new(SingleCertAndKey::from(key)));
        Server { tls, certificate: own.0 }
    }

    fn options(&self) -> ServerOptions {
        let auth = AuthOptions { by_certificate: true, ..AuthOptions::default() };
        ServerOptions { tls: Some(self.tls.clone()), auth, ..open_relay() }
    }

    /// A client of it that shows this, and remembers TLS sessions.
    fn client(&self, shown: Option<&Shown>, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider: Arc<CryptoProvider> = Arc::new(provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let key = provider.key_provider.load_private_key(shown.key()).unwrap();
                let key = CertifiedKey::new(vec![shown.0.clone()], key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
        };
        config.resumption = Resumption::in_memory_sessions(8);
        config
    }
}

/// A session with a client, TLS from the first byte.
struct Talk {
    now: Now,
    wire: Wire,
    client: ClientConnection,
}

impl Talk {
    /// None if TLS fails.
    fn begin(options: ServerOptions, client: &Arc<ClientConfig>, now: Now) -> Option<Talk> {
        let name = ServerName::try_from("mx.test").unwrap();
        let client = ClientConnection::new(client.clone(), name).unwrap();
        let mut talk = Talk { now, wire: Wire::secured(Session::new(options, now, 0), now), client };
        talk.tell("");
        (!talk.wire.session().is_closed()).then_some(talk)
    }

    /// Sends `lines` until nobody has anything more to say; what the server said.
    fn tell(&mut self, lines: &str) -> String {
        self.client.writer().write_all(lines.replace('\n', "\r\n").as_bytes()).unwrap();
        let mut heard = Vec::new();
        loop {
            let mut to_server = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut to_server).unwrap();
            }
            if !to_server.is_empty() {
                self.wire.handle_bytes(self.now, &to_server);
            }
            let said = std::mem::take(self.wire.output());
            let mut rest = &said[..];
            while !rest.is_empty() {
                self.client.read_tls(&mut rest).unwrap();
                let Ok(state) = self.client.process_new_packets() else { break };
                let from = heard.len();
                heard.resize(from + state.plaintext_bytes_to_read(), 0);
                self.client.reader().read_exact(&mut heard[from..]).unwrap();
            }
            if said.is_empty() && !self.client.wants_write() {
                return String::from_utf8(heard).unwrap().replace("\r\n", "\n");
            }
        }
    }

    fn is_offered(&mut self) -> bool {
        self.tell("EHLO me.test\n").contains("AUTH EXTERNAL")
    }

    /// What a login comes to.
    fn login(&mut self) -> (String, bool) {
        match self.wire.poll_event() {
            Some(ServerEvent::Login { user, right }) => (user, right),
            other => panic!("{other:?}"),
        }
    }
}

fn talk(server: &Server, shown: Option<&Shown>, version: &'static SupportedProtocolVersion) -> Option<Talk> {
    Talk::begin(server.options(), &Arc::new(server.client(shown, version)), NOW)
}

#[test]
fn who_shows_the_certificate_of_a_user_may_log_in_as_that() {
    let ann = Shown::new();
    let server = Server::knowing(&[&ann], &[]);
    for version in VERSIONS {
        for (lines, right) in [
            (&["AUTH EXTERNAL ="][..], true),
            (&["AUTH EXTERNAL YW5u"], true),
            (&["auth external", ""], true),
            (&["AUTH EXTERNAL", "YW5u"], true),
            // For somebody else.
            (&["AUTH EXTERNAL Ym9i"], false),
            (&["AUTH EXTERNAL", "QW5u"], false),
        ] {
            let mut talk = talk(&server, Some(&ann), version).unwrap();
            assert!(talk.is_offered());
            let (last, before) = lines.split_last().unwrap();
            for line in before {
                assert_eq!(talk.tell(&format!("{line}\n")), "334 \n");
            }
            assert_eq!(talk.tell(&format!("{last}\n")), "");
            assert_eq!(talk.login(), ("ann".to_owned(), right), "{lines:?}");
        }
    }
}

#[test]
fn a_login_is_one_as_any_other() {
    let ann = Shown::new();
    let server = Server::knowing(&[&ann], &[]);
    let options = || ServerOptions { require_auth: true, ..server.options() };
    let client = Arc::new(server.client(Some(&ann), &TLS13));
    let mut talk = Talk::begin(options(), &client, NOW).unwrap();
    assert_eq!(codes(&talk.tell("AUTH EXTERNAL =\n")), ["503"], "EHLO first");
    assert_eq!(codes(&talk.tell("EHLO me.test\n")), ["250"]);
    // To have shown it is not to have logged in.
    assert_eq!(codes(&talk.tell("MAIL FROM:<a@a.test>\n")), ["530"]);
    assert_eq!(codes(&talk.tell("AUTH EXTERNAL !\nAUTH PLAIN\n")), ["554"]);
    let mut talk = Talk::begin(options(), &client, NOW).unwrap();
    talk.tell("EHLO me.test\n");
    assert_eq!(codes(&talk.tell("AUTH EXTERNAL !\n")), ["501"]);
    assert_eq!(codes(&talk.tell("AUTH PLAIN\n")), ["504"], "nobody has a password");
    assert_eq!(talk.tell("AUTH EXTERNAL =\n"), "");
    talk.login();
    talk.wire.session().logged_in(NOW, "ann", Arc::new(options()));
    assert_eq!(codes(&talk.tell("MAIL FROM:<a@a.test>\n")), ["235", "250"]);
    assert!(!talk.is_offered(), "once is enough");
}

#[test]
fn others_are_served_as_if_they_had_not_been_asked() {
    let (ann, eve) = (Shown::new(), Shown::new());
    let server = Server::knowing(&[&ann], &[]);
    let garbage = Shown(CertificateDer::from(vec![0x30, 1, 2]), eve.1.clone());
    for version in VERSIONS {
        // The third is nobody's, and its owner has not even the key.
        for shown in [None, Some(&eve), Some(&Shown::new().with_key_of(&eve)), Some(&garbage)] {
            let mut talk = talk(&server, shown, version).unwrap();
            assert!(!talk.is_offered());
            assert_eq!(
                talk.tell("AUTH EXTERNAL =\n"),
                "504 5.7.4 EXTERNAL needs the certificate of a user\n"
            );
            assert_eq!(codes(&talk.tell("MAIL FROM:<a@a.test>\n")), ["250"]);
        }
    }
}

#[test]
fn a_certificate_without_its_key_is_nothing() {
    let ann = Shown::new();
    let server = Server::knowing(&[&ann], &[]);
    for version in VERSIONS {
        assert!(talk(&server, Some(&ann.clone().with_key_of(&Shown::new())), version).is_none());
    }
}

#[test]
fn where_there_are_authorities_they_must_have_issued_it() {
    let authority = || {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, theirs) = (authority(), authority());
    let issued = |by: &CertifiedIssuer<'_, KeyPair>, until: i32| {
        let key = KeyPair::generate().unwrap();
        let mut params = params();
        params.not_after = date_time_ymd(until, 1, 1);
        Shown(params.signed_by(&key, by).unwrap().der().clone(), key.serialize_der())
    };
    // It is September 2026.
    let (good, foreign, over) = (issued(&ours, 2030), issued(&theirs, 2030), issued(&ours, 2026));
    let (own, unknown) = (Shown::new(), issued(&ours, 2030));
    let server = Server::knowing(&[&good, &foreign, &over, &own], &[ours.der()]);
    for (shown, is_ann) in
        [(&good, true), (&foreign, false), (&over, false), (&own, false), (&unknown, false)]
    {
        for version in VERSIONS {
            assert_eq!(talk(&server, Some(shown), version).unwrap().is_offered(), is_ann);
        }
    }
    // A session of TLS outlives its certificate, and the certificate is not believed longer for it.
    for version in VERSIONS {
        let client = Arc::new(server.client(Some(&good), version));
        assert!(Talk::begin(server.options(), &client, NOW).unwrap().is_offered());
        let later = Now { wall: Wall::from_secs(NOW.wall.as_secs() + 10 * 365 * 86400), ..NOW };
        let mut talk = Talk::begin(server.options(), &client, later).unwrap();
        assert_eq!((talk.client.handshake_kind(), talk.is_offered()), (Some(HandshakeKind::Resumed), false));
    }
}

#[test]
fn a_resumed_session_is_that_of_whoever_began_it() {
    let (ann, eve) = (Shown::new(), Shown::new());
    let server = Server::knowing(&[&ann], &[]);
    for version in VERSIONS {
        for (shown, is_ann) in [(Some(&ann), true), (Some(&eve), false), (None, false)] {
            let client = Arc::new(server.client(shown, version));
            for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let mut talk = Talk::begin(server.options(), &client, NOW).unwrap();
                assert_eq!((talk.client.handshake_kind(), talk.is_offered()), (Some(kind), is_ann));
            }
        }
        // Not even with the memory of the old one: another configuration asks again.
        let client = Arc::new(server.client(Some(&ann), version));
        assert!(Talk::begin(server.options(), &client, NOW).unwrap().is_offered());
        let after = Server { certificate: server.certificate.clone(), ..Server::knowing(&[&eve], &[]) };
        assert!(Talk::begin(after.options(), &client, NOW).is_none_or(|mut talk| !talk.is_offered()));
    }
}

/// The certificate of a proxy does not speak for its clients.
#[test]
fn whom_a_proxy_speaks_for_has_shown_nothing() {
    let ann = Shown::new();
    let server = Server::knowing(&[&ann], &[]);
    let options = ServerOptions { xclient: true, ..server.options() };
    let client = Arc::new(server.client(Some(&ann), &TLS13));
    let mut talk = Talk::begin(options.clone(), &client, NOW).unwrap();
    assert!(talk.is_offered());
    assert_eq!(talk.tell("XCLIENT ADDR=192.0.2.1\n"), "");
    let Some(ServerEvent::Assumed(assumed)) = talk.wire.poll_event() else { panic!() };
    talk.wire.session().assume(NOW, *assumed, &Arc::new(options));
    assert_eq!(codes(&talk.tell("EHLO me.test\n")), ["220", "250"]);
    assert!(!talk.is_offered());
}

#[test]
fn nothing_of_it_in_the_clear_or_where_nobody_logs_in_that_way() {
    let ann = Shown::new();
    let server = Server::knowing(&[&ann], &[]);
    let mut session = greeted(server.options());
    let answer = tell(&mut session, "AUTH EXTERNAL =\n");
    assert_eq!(answer, "538 5.7.11 encryption required: STARTTLS first\n");
    let without = ServerOptions { auth: AuthOptions::default(), ..server.options() };
    let mut talk = Talk::begin(without, &Arc::new(server.client(Some(&ann), &TLS13)), NOW).unwrap();
    assert!(!talk.is_offered());
    assert_eq!(codes(&talk.tell("AUTH EXTERNAL =\n")), ["502"]);
}

#[test]
fn the_log_is_told_who_showed_what() {
    let (ann, eve) = (Shown::new(), Shown::new());
    let server = Server::knowing(&[&ann], &[]);
    for (shown, told) in [
        (Some(&ann), "TLS: the client's certificate is that of user ann"),
        (Some(&eve), "TLS: the client's certificate is no user's"),
        (None, "TLS: no certificate was shown"),
    ] {
        let options = ServerOptions { told: Told { tls: true, ..Told::default() }, ..server.options() };
        let client = Arc::new(server.client(shown, &TLS13));
        let mut talk = Talk::begin(options, &client, NOW).unwrap();
        assert_eq!(talk.wire.session().told()[1], told);
    }
    // What AUTH says is not for the log.
    let options = ServerOptions { told: Told { commands: true, ..Told::default() }, ..server.options() };
    let mut talk = Talk::begin(options, &Arc::new(server.client(Some(&ann), &TLS13)), NOW).unwrap();
    talk.tell("EHLO me.test\n");
    talk.tell(&format!("AUTH EXTERNAL {}\n", BASE64.encode(b"ann")));
    assert!(!talk.wire.session().told().iter().any(|line| line.contains("YW5u")));
}
