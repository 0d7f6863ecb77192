//! TLS around a session with the server: STARTTLS (RFC 3207) and TLS from the first byte (RFC 8314).

use super::server::*;
use super::server_tests::*;
use super::server_wire::Wire;
use super::tls::{Tls, TlsClientConfig};
use super::tls_tests::server_for;
use super::users::Users;
use rustls::RootCertStore;
use std::sync::Arc;

fn options() -> ServerOptions {
    let users = Users::new([("ann".to_owned(), "secret".to_owned())], &[1; 32]);
    let users = Some(Arc::new(users));
    let auth = AuthOptions { users, after_tls: true, ..AuthOptions::default() };
    ServerOptions { tls: Some(server_for("mx.test").0.into()), auth, ..open_relay() }
}

fn client() -> Tls {
    let config = Arc::new(TlsClientConfig::new(RootCertStore::empty()).unwrap());
    Tls::client(&config, "mx.test", NOW.wall).unwrap()
}

/// Sends `lines` through the client's TLS until nobody has anything more to say; what the server said.
fn tell_sealed(wire: &mut Wire, tls: &mut Tls, lines: &str) -> String {
    let (mut to_server, mut heard) = (Vec::new(), Vec::new());
    tls.flush(&mut to_server);
    tls.write(lines.replace('\n', "\r\n").as_bytes(), &mut to_server);
    loop {
        if !to_server.is_empty() {
            wire.handle_bytes(NOW, &std::mem::take(&mut to_server));
        }
        let said = std::mem::take(wire.output());
        if said.is_empty() {
            return String::from_utf8(heard).unwrap().replace("\r\n", "\n");
        }
        tls.read(&said, &mut heard, &mut to_server).unwrap();
    }
}

fn asked_for_tls() -> Wire {
    let mut wire = Wire::new(Session::new(options(), NOW, 0));
    wire.output().clear();
    wire.handle_bytes(NOW, b"EHLO me.test\r\n");
    let offer = String::from_utf8(std::mem::take(wire.output())).unwrap();
    assert!(offer.contains("250-STARTTLS") && !offer.contains("AUTH"), "{offer}");
    wire.handle_bytes(NOW, b"STARTTLS\r\n");
    assert_eq!(std::mem::take(wire.output()), b"220 2.0.0 ready for TLS\r\n");
    wire
}

#[test]
fn starttls_and_what_was_said_before_counts_no_more() {
    let (mut wire, mut tls) = (asked_for_tls(), client());
    assert_eq!(codes(&tell_sealed(&mut wire, &mut tls, "MAIL FROM:<a@a.test>\n")), ["503"], "EHLO again");
    let offer = tell_sealed(&mut wire, &mut tls, "EHLO me.test\n");
    assert!(
        !offer.contains("STARTTLS") && offer.contains("AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"),
        "{offer}"
    );
    assert_eq!(codes(&tell_sealed(&mut wire, &mut tls, "STARTTLS\n")), ["503"]);
    let dialogue = "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n";
    assert_eq!(codes(&tell_sealed(&mut wire, &mut tls, dialogue)), ["250", "250", "354"]);
    assert_eq!(tell_sealed(&mut wire, &mut tls, "text\n.\n"), "");
    let Some(ServerEvent::Message(envelope, message)) = wire.poll_event() else { panic!() };
    assert_eq!((envelope.sender.as_str(), &message[..]), ("a@a.test", &b"text\r\n"[..]));
    wire.session().accepted(NOW, 1);
    assert_eq!(codes(&tell_sealed(&mut wire, &mut tls, "QUIT\n")), ["250", "221"]);
    assert_eq!(wire.poll_event(), Some(ServerEvent::Closed));
}

#[test]
fn the_log_is_told_what_was_agreed_on_and_what_went_wrong() {
    let told = Told { tls: true, ..Told::default() };
    let listening = || Wire::secured(Session::new(ServerOptions { told, ..options() }, NOW, 0), NOW);
    let (mut wire, mut tls) = (listening(), client());
    tell_sealed(&mut wire, &mut tls, "EHLO me.test\n");
    assert!(wire.session().told()[0].starts_with("TLS: TLSv1.3 TLS_AES_"), "{:?}", wire.session().told());
    let mut wire = listening();
    wire.handle_bytes(NOW, b"EHLO me.test\r\n");
    assert_eq!(wire.session().told().len(), 1);
}

#[test]
fn tls_from_the_first_byte() {
    let mut wire = Wire::secured(Session::new(options(), NOW, 0), NOW);
    assert!(wire.output().is_empty(), "nothing is said in the clear");
    let mut tls = client();
    assert_eq!(codes(&tell_sealed(&mut wire, &mut tls, "")), ["220"]);
    assert!(!tell_sealed(&mut wire, &mut tls, "EHLO me.test\n").contains("STARTTLS"));
    let without = ServerOptions { tls: None, ..options() };
    let mut wire = Wire::secured(Session::new(without, NOW, 0), NOW);
    assert_eq!(wire.poll_event(), Some(ServerEvent::Closed));
}

/// S05: commands in the clear behind STARTTLS, in the same read and in the next.
#[test]
fn nothing_in_the_clear_is_taken_for_what_comes_through_tls() {
    let mut wire = Wire::new(Session::new(options(), NOW, 0));
    wire.handle_bytes(NOW, b"EHLO me.test\r\n");
    wire.output().clear();
    wire.handle_bytes(NOW, b"STARTTLS\r\nMAIL FROM:<evil@a.test>\r\n");
    assert_eq!(codes(std::str::from_utf8(wire.output()).unwrap()), ["554"]);
    assert_eq!(wire.poll_event(), Some(ServerEvent::Closed));

    let mut wire = asked_for_tls();
    wire.handle_bytes(NOW, b"MAIL FROM:<evil@a.test>\r\nRCPT TO:<b@b.test>\r\n");
    assert_eq!(wire.poll_event(), Some(ServerEvent::Closed));
    assert!(!String::from_utf8_lossy(wire.output()).contains("250"));
}

#[test]
fn starttls_where_it_does_not_fit() {
    let mut session = greeted(open_relay());
    assert_eq!(codes(&tell(&mut session, "STARTTLS\n")), ["502"]);
    let mut session = greeted(options());
    assert_eq!(codes(&tell(&mut session, "STARTTLS now\n")), ["501"]);
    // Who never begins is not waited for for ever.
    let mut session = greeted(options());
    tell(&mut session, "STARTTLS\n");
    assert!(session.next_timeout().is_some());
}
