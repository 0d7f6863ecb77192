//! Conversations with the server: the harness, and the ordinary ones. The attacks are in `server_attack_tests`.

use super::server::*;
use crate::base::{Now, Time, Wall};
use proptest::prelude::*;
use std::time::Duration;

pub(super) const NOW: Now = Now { mono: Time::from_millis(1000), wall: Wall::from_secs(1_790_000_000) };

pub(super) fn open_relay() -> ServerOptions {
    ServerOptions { relay: Relay::Open, ..ServerOptions::new("mx.test") }
}

/// A session past its greeting and EHLO.
pub(super) fn greeted(options: ServerOptions) -> Session {
    let mut session = Session::new(options, NOW, 1);
    session.handle_bytes(NOW, b"EHLO me.test\r\n");
    said(&mut session);
    session
}

pub(super) fn said(session: &mut Session) -> String {
    String::from_utf8(std::mem::take(session.output())).unwrap()
}

/// Sends lines and returns the replies.
pub(super) fn tell(session: &mut Session, lines: &str) -> String {
    session.handle_bytes(NOW, lines.replace('\n', "\r\n").as_bytes());
    said(session).replace("\r\n", "\n")
}

pub(super) fn events(session: &mut Session) -> Vec<ServerEvent> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// Replies reduced to their codes.
pub(super) fn codes(replies: &str) -> Vec<&str> {
    replies.lines().filter(|l| l.as_bytes().get(3) != Some(&b'-')).map(|l| &l[..3]).collect()
}

/// Plays a conversation of `C:` and `S:` lines.
pub(super) fn play(session: &mut Session, script: &str) {
    for line in script.lines().map(str::trim_start) {
        if let Some(text) = line.strip_prefix("C:").map(|l| l.strip_prefix(' ').unwrap_or(l)) {
            assert_eq!(said(session), "", "before {line}");
            session.handle_bytes(NOW, format!("{text}\r\n").as_bytes());
        } else if let Some(text) = line.strip_prefix("S: ") {
            let expected = format!("{text}\r\n");
            assert!(
                session.output().starts_with(expected.as_bytes()),
                "wanted {text}, got {}",
                said(session)
            );
            session.output().drain(..expected.len());
        }
    }
    assert_eq!(said(session), "");
}

#[test]
fn one_message() {
    let mut session = Session::new(open_relay(), NOW, 1);
    play(
        &mut session,
        "S: 220 mx.test (Posthaste v0.1.0) ESMTP service ready
         C: EHLO me.test
         S: 250-mx.test says hello
         S: 250-ENHANCEDSTATUSCODES
         S: 250-PIPELINING
         S: 250-8BITMIME
         S: 250-DSN
         S: 250-VERP
         S: 250-CHUNKING
         S: 250-BINARYMIME
         S: 250-SMTPUTF8
         S: 250-LIMITS RCPTMAX=1000
         S: 250 SIZE 25000000
         C: MAIL FROM:<a@a.test> SIZE=20 BODY=8BITMIME
         S: 250 2.1.0 MAIL ok
         C: RCPT TO:<b@b.test>
         S: 250 2.1.5 <b@b.test> ok
         C: RCPT TO:<c@b.test>
         S: 250 2.1.5 <c@b.test> ok
         C: DATA
         S: 354 send message, end with a line of a single dot
         C: Subject: x
         C:
         C: ..dot
         C: .",
    );
    let envelope = Envelope {
        sender: "a@a.test".into(),
        recipients: vec!["b@b.test".into(), "c@b.test".into()],
        helo: "me.test".into(),
        user: String::new(),
        esmtp: true,
        eight_bit: true,
        smtputf8: false,
        declared_size: 20,
        ..Envelope::default()
    };
    let message = b"Subject: x\r\n\r\n.dot\r\n".to_vec();
    assert_eq!(events(&mut session), [ServerEvent::Message(Box::new(envelope), message)]);
    // Nothing is answered before the message is durable, and what follows waits.
    assert!(!session.wants_input() && session.next_timeout().is_none());
    session.handle_bytes(NOW, b"NOOP\r\nQU");
    assert_eq!(said(&mut session), "");
    session.accepted(NOW, "17.1");
    assert_eq!(
        tell(&mut session, "IT\n"),
        "250 2.6.0 message received (17.1)\n250 2.0.0 NOOP ok\n221 2.0.0 mx.test says goodbye\n"
    );
    assert_eq!(events(&mut session), [ServerEvent::Closed]);
}

#[test]
fn rejected_by_the_caller() {
    let mut session = greeted(open_relay());
    tell(&mut session, "MAIL FROM:<>\nRCPT TO:<b@b.test>\nDATA\n");
    tell(&mut session, "x\n.\n");
    session.rejected(NOW, 451, "4.3.0 disk\r\n250 ok");
    assert_eq!(said(&mut session), "451 4.3.0 disk??250 ok\r\n");
    assert_eq!(codes(&tell(&mut session, "MAIL FROM:<>\n")), ["250"]);
}

#[test]
fn refused_and_busy() {
    let mut session = Session::refused(open_relay(), NOW);
    assert_eq!(said(&mut session), "521 mx.test does not accept mail from you\r\n");
    assert!(session.is_closed());
    let mut session = Session::busy(open_relay(), NOW);
    assert_eq!(codes(&said(&mut session)), ["421"]);
}

#[test]
fn order_of_commands() {
    let mut session = Session::new(open_relay(), NOW, 1);
    said(&mut session);
    for (line, code) in [
        ("MAIL FROM:<a@a.test>", "503"),
        ("EHLO", "501"),
        ("EHLO a b", "501"),
        ("HELO me.test", "250"),
        ("MAIL FROM:<a@a.test> SIZE=5", "555"),
        ("EHLO me.test", "250"),
        ("RCPT TO:<b@b.test>", "503"),
        ("DATA", "503"),
        ("MAIL FROM:<a@a.test", "501"),
        ("MAIL FROM:<a@@a.test>", "501"),
        ("MAIL FROM:<jürgen@a.test>", "553"),
        ("MAIL FROM:<a@a.test> AUTH=<>", "555"),
        ("MAIL FROM:<a@a.test> BODY=9BIT", "501"),
        ("mail from:<jürgen@a.test> smtputf8", "250"),
        ("MAIL FROM:<a@a.test>", "503"),
        ("DATA", "554"),
        ("RCPT TO:<>", "501"),
        ("RCPT TO:<b@b.test> NOTIFY=OFTEN", "501"),
        ("DATA now", "501"),
        ("VRFY b", "252"),
        ("HELP", "214"),
        ("NOOP x", "250"),
        ("RSET", "250"),
        ("RCPT TO:<b@b.test>", "503"),
    ] {
        assert_eq!(codes(&tell(&mut session, &format!("{line}\n"))), [code], "{line}");
    }
    // That was the seventeenth refusal; three more and it ends.
    assert_eq!(codes(&tell(&mut session, "EXPN x\nETRN x\n\u{1}\nNOOP\n")), ["502", "502", "500", "421"]);
    assert!(session.is_closed());
}

#[test]
fn too_many_recipients_fail_the_message_where_that_is_wanted() {
    let options = ServerOptions { max_recipients: 2, too_many_fail: true, ..open_relay() };
    for end in ["DATA", "BDAT 3 LAST\na"] {
        let mut session = greeted(options.clone());
        let recipients = "RCPT TO:<b@b.test>\nRCPT TO:<c@b.test>\nRCPT TO:<d@b.test>\n";
        let answers = tell(&mut session, &format!("MAIL FROM:<a@a.test>\n{recipients}"));
        assert_eq!(codes(&answers), ["250"; 4]);
        tell(&mut session, &format!("{end}\n"));
        let answers = if end == "DATA" { tell(&mut session, "x\n.\n") } else { String::new() };
        assert!(answers.is_empty() || answers.starts_with("552 5.5.3"), "{answers}");
        assert_eq!(events(&mut session), []);
        // The next message is another matter.
        tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
        tell(&mut session, "x\n.\n");
        assert_eq!(events(&mut session).len(), 1);
    }
}

#[test]
fn a_transient_refusal_can_be_the_end() {
    let mut session = greeted(ServerOptions { close_on_transient: true, ..open_relay() });
    for code in [550, 451] {
        tell(&mut session, "MAIL FROM:<>\nRCPT TO:<b@b.test>\nDATA\n");
        tell(&mut session, "x\n.\n");
        events(&mut session);
        session.rejected(NOW, code, "4.3.0 later");
        assert_eq!(said(&mut session).is_empty(), code < 500);
        assert_eq!(session.is_closed(), code < 500);
    }
}

#[test]
fn header_bounds() {
    for (header, code) in [
        ("Received: by x\n".repeat(50), None),
        ("Received: by x\n".repeat(51), Some("554")),
        ("X: y\n".repeat(25_000), Some("552")),
    ] {
        let mut session = greeted(open_relay());
        tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
        let answer = tell(&mut session, &format!("{header}\nReceived: in the body\n.\n"));
        assert_eq!(codes(&answer).first().copied(), code);
    }
}

#[test]
fn waiting_is_bounded() {
    let mut session = greeted(open_relay());
    tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
    tell(&mut session, "x\n.\n");
    session.handle_bytes(NOW, &[b'x'; 60_000]);
    assert!(!session.is_closed());
    session.handle_bytes(NOW, &[b'x'; 60_000]);
    assert!(session.is_closed());
}

#[test]
fn timeouts() {
    let at = |seconds| Now { mono: NOW.mono + Duration::from_secs(seconds), ..NOW };
    let mut session = greeted(open_relay());
    // Bytes that complete no command do not prolong the wait.
    session.handle_bytes(at(200), b"NO");
    session.handle_timeout(at(299));
    assert!(!session.is_closed());
    session.handle_timeout(at(300));
    assert!(said(&mut session).starts_with("421 4.4.2") && session.is_closed());

    // A message at less than 500 bytes a second, after five minutes' grace.
    let mut session = greeted(open_relay());
    tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
    for second in (0..300).step_by(10) {
        session.handle_timeout(at(second));
        session.handle_bytes(at(second), b"x");
        assert!(!session.is_closed());
    }
    session.handle_timeout(at(300));
    assert!(session.is_closed());
}

#[test]
fn stopping() {
    let mut session = greeted(open_relay());
    session.stop();
    assert!(said(&mut session).starts_with("421 4.3.2") && session.is_closed());
    // A message that is being stored is answered first.
    let mut session = greeted(open_relay());
    tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
    tell(&mut session, "x\n.\n");
    session.stop();
    assert_eq!(said(&mut session), "");
    session.accepted(NOW, 1);
    assert_eq!(codes(&said(&mut session)), ["250", "421"]);
}

#[test]
fn idle_session_is_small() {
    let mut session = greeted(open_relay());
    for _ in 0..50 {
        tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
        tell(&mut session, &format!("{}.\n", "x\n".repeat(30_000)));
        events(&mut session);
        session.accepted(NOW, 1);
        said(&mut session);
    }
    assert!(std::mem::size_of::<Session>() < 512, "{}", std::mem::size_of::<Session>());
    assert_eq!(session.message.capacity(), 0);
}

proptest! {
    /// However the bytes are cut, the same is said and the same messages come out.
    #[test]
    fn pieces_do_not_matter(
        groups in prop::collection::vec(prop_oneof![
            Just("MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n"),
            Just("RSET\r\nMAIL FROM:<>\r\n"), Just("RCPT TO:<x@y.test>\r\n"), Just("DATA\r\n"),
            Just("text\r\n..\r\n.\r\n"), Just("EHLO x\r\n"), Just("\r\n"), Just("NO\nOP\r\n"), Just("QUIT\r\n"),
        ], 0..12),
        cuts in prop::collection::vec(1usize..7, 0..40),
    ) {
        let run = |cuts: &[usize]| {
            let mut session = greeted(open_relay());
            let (mut out, mut messages) = (String::new(), Vec::new());
            for group in &groups {
                let mut rest = group.as_bytes();
                // The reply to these has to be waited for: that is about time, not about bytes.
                for cut in cuts.iter().copied().chain([usize::MAX]) {
                    let (piece, behind) = rest.split_at(cut.min(rest.len()));
                    session.handle_bytes(NOW, piece);
                    rest = behind;
                }
                for event in events(&mut session) {
                    messages.push(event);
                    session.accepted(NOW, 1);
                }
                out += &said(&mut session);
            }
            (out, messages)
        };
        prop_assert_eq!(run(&[]), run(&cuts));
    }

    #[test]
    fn never_panics(input in prop::collection::vec(prop_oneof![
        Just(b"MAIL FROM:<a@b.test>\r\n".to_vec()), Just(b"RCPT TO:<a@b.test>\r\n".to_vec()), Just(b"DATA\r\n".to_vec()),
        Just(b"\r\n.\r\n".to_vec()), prop::collection::vec(any::<u8>(), 0..20),
    ], 0..30)) {
        let mut session = greeted(open_relay());
        for piece in input {
            session.handle_bytes(NOW, &piece);
            for event in events(&mut session) {
                if let ServerEvent::Message(_, message) = event {
                    prop_assert!(crate::smtp::dot::has_clean_line_ends(&message));
                    session.accepted(NOW, 1);
                }
            }
        }
    }
}

#[test]
fn reports_are_asked_for_by_recipient() {
    let mut session = greeted(open_relay());
    play(
        &mut session,
        "C: MAIL FROM:<a@a.test> RET=hdrs ENVID=a+2Bb
         S: 250 2.1.0 MAIL ok
         C: RCPT TO:<b@b.test>
         S: 250 2.1.5 <b@b.test> ok
         C: RCPT TO:<c@b.test> NOTIFY=NEVER,DELAY
         S: 501 5.5.4 syntax: NOTIFY=NEVER, or some of SUCCESS,FAILURE,DELAY with commas between them
         C: RCPT TO:<c@b.test> ORCPT=nobody
         S: 501 5.5.4 syntax: ORCPT=type;address in xtext
         C: RCPT TO:<c@b.test> WHEN=now
         S: 555 5.5.4 unsupported parameter of RCPT
         C: RCPT TO:<c@b.test> NOTIFY=success,delay ORCPT=rfc822;d@b.test
         S: 250 2.1.5 <c@b.test> ok
         C: DATA
         S: 354 send message, end with a line of a single dot
         C: .",
    );
    let [ServerEvent::Message(envelope, _)] = &events(&mut session)[..] else { panic!("a message") };
    assert_eq!((envelope.ret, envelope.envid.as_str()), ("HDRS", "a+b"));
    let asked: Vec<_> = envelope.dsn.iter().map(|dsn| (dsn.notify.to_string(), &*dsn.orcpt)).collect();
    assert_eq!(asked, [(String::new(), ""), ("SUCCESS,DELAY".to_owned(), "rfc822;d@b.test")]);
}

#[test]
fn reports_are_asked_for_rightly_or_not_at_all() {
    for (command, refusal) in [
        ("MAIL FROM:<a@a.test> RET=ALL", "501 5.5.4 syntax: RET=FULL or RET=HDRS"),
        ("MAIL FROM:<a@a.test> RET", "555 5.5.4 unsupported parameter of MAIL"),
        ("MAIL FROM:<a@a.test> ENVID=+0D+0A", "501 5.5.4 syntax: ENVID= and 1 to 100 characters in xtext"),
    ] {
        play(&mut greeted(open_relay()), &format!("C: {command}\nS: {refusal}"));
    }
}
