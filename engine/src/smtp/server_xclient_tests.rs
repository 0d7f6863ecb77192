//! Conversations with proxies that say who their clients are.

use super::server::*;
use super::server_tests::{NOW, greeted, open_relay, play, said, tell};
use std::sync::Arc;

fn proxied() -> ServerOptions {
    ServerOptions { xclient: true, ..open_relay() }
}

fn assumed(session: &mut Session) -> Assumed {
    match session.poll_event() {
        Some(ServerEvent::Assumed(assumed)) => *assumed,
        other => panic!("{other:?}"),
    }
}

/// XCLIENT with these attributes, agreed to.
fn assume(session: &mut Session, attributes: &str) -> Assumed {
    assert_eq!(tell(session, &format!("XCLIENT {attributes}\n")), "");
    let assumed = assumed(session);
    session.assume(NOW, assumed.clone(), &Arc::new(proxied()));
    assert!(said(session).starts_with("220 mx.test "));
    assumed
}

#[test]
fn the_session_begins_anew_for_the_client_that_was_named() {
    let mut session = greeted(proxied());
    let told = assume(
        &mut session,
        "NAME=client.example ADDR=192.0.2.7 PORT=4711 PROTO=ESMTP HELO=client.example LOGIN=ann+40x",
    );
    assert_eq!((told.address, told.port), (Some([192, 0, 2, 7].into()), Some(4711)));
    assert_eq!((told.name.as_deref(), told.login.as_deref()), (Some("client.example"), Some("ann@x")));
    tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
    tell(&mut session, "text\n.\n");
    let Some(ServerEvent::Message(envelope, _)) = session.poll_event() else { panic!("no message") };
    assert_eq!((envelope.helo.as_str(), envelope.user.as_str()), ("client.example", "ann@x"));
    assert!(envelope.esmtp);
}

#[test]
fn what_was_said_before_stays_and_what_is_not_known_is_nobody() {
    let mut session = greeted(proxied());
    assume(&mut session, "ADDR=IPV6:2001:db8::7 LOGIN=ann");
    let told = assume(&mut session, "LOGIN=[UNAVAILABLE] NAME=[TEMPUNAVAIL]");
    assert_eq!(told.address, Some("2001:db8::7".parse().unwrap()));
    assert_eq!((told.login.as_deref(), told.name.as_deref()), (Some(""), Some("")));
    let told = assume(&mut session, "addr=[unavailable]");
    assert_eq!(told.address, Some([0, 0, 0, 0].into()));
    // Who has no name yet says EHLO.
    play(&mut session, "C: MAIL FROM:<a@a.test>\nS: 503 5.5.1 EHLO or HELO first");
}

#[test]
fn who_may_not_and_when() {
    let mut session = greeted(open_relay());
    play(&mut session, "C: XCLIENT ADDR=192.0.2.7\nS: 550 5.7.0 XCLIENT is not for you");
    assert!(!tell(&mut session, "EHLO x\n").contains("XCLIENT"));
    let mut session = greeted(proxied());
    assert!(tell(&mut session, "EHLO x\n").contains("250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN\n"));
    play(
        &mut session,
        "C: XCLIENT ADDR=elsewhere
         S: 501 5.5.4 XCLIENT: ADDR is not an address
         C: XCLIENT HELO=a<b
         S: 501 5.5.4 XCLIENT: HELO is not the name of a host
         C: XCLIENT LOGIN=a+0Db
         S: 501 5.5.4 XCLIENT: LOGIN is not xtext
         C: XCLIENT SHOE=43
         S: 501 5.5.4 XCLIENT: there are NAME ADDR PORT PROTO HELO LOGIN
         C: XCLIENT
         S: 501 5.5.4 XCLIENT: one or more of NAME ADDR PORT PROTO HELO LOGIN, each with =value
         C: MAIL FROM:<a@a.test>
         S: 250 2.1.0 MAIL ok
         C: XCLIENT ADDR=192.0.2.7
         S: 503 5.5.1 XCLIENT within a transaction",
    );
    assert!(events_are_none(&mut session));
}

fn events_are_none(session: &mut Session) -> bool {
    session.poll_event().is_none()
}

#[test]
fn a_client_that_is_not_served_hears_so() {
    for (busy, code) in [(true, "421"), (false, "521")] {
        let mut session = greeted(proxied());
        tell(&mut session, "XCLIENT ADDR=192.0.2.7\n");
        assumed(&mut session);
        session.turn_away(busy);
        assert!(said(&mut session).starts_with(code));
        assert!(session.is_closed());
    }
}

#[test]
fn commands_data_and_tls_are_told_without_secrets() {
    let told = Told { commands: true, data: true, tls: true };
    let mut session = Session::new(ServerOptions { told, ..open_relay() }, NOW, 1);
    tell(&mut session, "EHLO me.test\n");
    tell(&mut session, "AUTH PLAIN AGFubgBzZWNyZXQ=\n");
    tell(&mut session, "AGFubgBzZWNyZXQ=\n");
    tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
    tell(&mut session, "text\n.\n");
    let told = session.told().join("\n");
    for line in [
        "S: 220 mx.test",
        "C: EHLO me.test\n",
        "C: AUTH PLAIN (not shown)\n",
        "C: RCPT TO:<b@b.test>\n",
        "data: 74 65 78 74 0d 0a",
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
    assert!(!told.contains("AGFub"), "{told}");
}
