//! Every command in every state of a session: what is answered, and that the state is then what the answer says.

use super::server::*;
use super::server_tests::*;
use super::tls_tests::server_for;
use super::users::Users;
use std::sync::Arc;

const STATES: [&str; 7] = ["new", "HELO", "EHLO", "MAIL", "RCPT", "BDAT", "AUTH"];

/// Answers in the order of [`STATES`]: in AUTH, what is a name in base64 is one, and
/// what is not ends the exchange. `-`: none yet, the message awaits its verdict; `!`: the session ends.
const ANSWERS: [(&str, &str); 30] = [
    ("HELO b.test", "250 250 250 250 250 250 501"),
    ("EHLO b.test", "250 250 250 250 250 250 501"),
    ("EHLO", "501 501 501 501 501 501 501"),
    ("MAIL FROM:<b@a.test>", "503 250 250 503 503 503 501"),
    ("MAIL FROM:<b@a.test> SIZE=1", "503 555 250 503 503 503 501"),
    ("MAIL FROM:<b@a.test> BODY=8BITMIME SMTPUTF8", "503 555 250 503 503 503 501"),
    ("MAIL FROM:<b@a.test> RET=FULL ENVID=e VERP", "503 555 250 503 503 503 501"),
    ("MAIL FROM: b@a.test", "503 501 501 503 503 503 501"),
    ("MAIL", "503 501 501 503 503 503 334"),
    ("RCPT TO:<c@b.test>", "503 503 503 250 250 503 501"),
    ("RCPT TO:<c@b.test> NOTIFY=NEVER", "503 503 503 250 250 503 501"),
    ("RCPT TO:<>", "503 503 503 501 501 503 501"),
    ("RCPT TO:c@b.test", "503 503 503 501 501 503 501"),
    ("DATA", "503 503 503 554 354 503 501"),
    ("DATA now", "501 501 501 501 501 501 501"),
    ("BDAT 0", "503 503 503 554 250 250 501"),
    ("BDAT 0 LAST", "503 503 503 554 - - 501"),
    ("BDAT x", "501! 501! 501! 501! 501! 501! 501"),
    ("RSET", "250 250 250 250 250 250 334"),
    ("NOOP", "250 250 250 250 250 250 501"),
    ("VRFY b", "252 252 252 252 252 252 501"),
    ("EXPN b", "502 502 502 502 502 502 501"),
    ("HELP", "214 214 214 214 214 214 501"),
    ("ETRN b", "502 502 502 502 502 502 501"),
    ("AUTH PLAIN", "503 503 334 503 503 503 501"),
    ("AUTH GSSAPI", "503 503 504 503 503 503 501"),
    ("STARTTLS", "220 220 220 503 503 503 501"),
    ("GET / HTTP/1.1", "500! 500! 500! 500! 500! 500! 501"),
    ("", "500 500 500 500 500 500 334"),
    ("QUIT", "221! 221! 221! 221! 221! 221! 334"),
];

fn options() -> ServerOptions {
    let users = Users::new([("ann".to_owned(), "secret".to_owned())], &[1; 32]);
    let auth = AuthOptions { users: Some(Arc::new(users)), plain_in_clear: true, ..AuthOptions::default() };
    ServerOptions { auth, tls: Some(server_for("mx.test").0.into()), ..open_relay() }
}

/// A session in this state.
fn session(options: &ServerOptions, state: &str) -> Session {
    let steps: &[&str] = match state {
        "new" => &[],
        "HELO" => &["HELO me.test"],
        "EHLO" => &["EHLO me.test"],
        "MAIL" => &["EHLO me.test", "MAIL FROM:<a@a.test>"],
        "RCPT" => &["EHLO me.test", "MAIL FROM:<a@a.test>", "RCPT TO:<b@b.test>"],
        "BDAT" => &["EHLO me.test", "MAIL FROM:<a@a.test>", "RCPT TO:<b@b.test>", "BDAT 3\na"],
        _ => &["EHLO me.test", "AUTH LOGIN"],
    };
    let mut session = Session::new(options.clone(), NOW, 1);
    said(&mut session);
    for step in steps {
        let answer = tell(&mut session, &format!("{step}\n"));
        assert!(answer.starts_with(['2', '3']), "{state}: {step}: {answer}");
    }
    session
}

#[test]
fn every_command_in_every_state() {
    let options = options();
    for (command, answers) in ANSWERS {
        let answers: Vec<&str> = answers.split(' ').collect();
        assert_eq!(answers.len(), STATES.len(), "{command}");
        for (state, wanted) in STATES.into_iter().zip(answers) {
            let mut session = session(&options, state);
            let said = tell(&mut session, &format!("{command}\n"));
            let (code, closes) = wanted.strip_suffix('!').map_or((wanted, false), |code| (code, true));
            let code = if code == "-" { vec![] } else { vec![code] };
            assert_eq!(codes(&said), code, "{command:?} in {state}: {said}");
            assert_eq!(session.is_closed(), closes, "{command:?} in {state}");
            let deciding = events(&mut session).iter().any(|e| matches!(e, ServerEvent::Message(..)));
            assert_eq!(deciding, wanted == "-", "{command:?} in {state}");
        }
    }
}

/// What was refused has changed nothing: the transaction goes on as if it had not been said.
#[test]
fn a_refused_command_leaves_the_transaction_as_it_was() {
    let options = options();
    for (command, answers) in ANSWERS {
        let answer = answers.split(' ').nth(4).expect("in RCPT");
        if !answer.starts_with('5') || answer.ends_with('!') {
            continue;
        }
        let mut session = session(&options, "RCPT");
        tell(&mut session, &format!("{command}\n"));
        tell(&mut session, "DATA\n");
        tell(&mut session, "x\n.\n");
        let [ServerEvent::Message(envelope, message)] = &events(&mut session)[..] else {
            panic!("{command}")
        };
        assert_eq!(
            (envelope.sender.as_str(), &envelope.recipients[..]),
            ("a@a.test", &["b@b.test".to_owned()][..])
        );
        assert_eq!(message, b"x\r\n");
    }
}

/// A sender is looked into before MAIL is answered; what was sent behind it waits.
#[test]
fn a_sender_may_be_looked_into() {
    let mut session = greeted(ServerOptions { check_sender: true, ..open_relay() });
    assert_eq!(tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\n"), "");
    let named =
        ServerEvent::Sender { sender: "a@a.test".into(), helo: "me.test".into(), user: String::new() };
    assert_eq!(events(&mut session), [named]);
    assert!(!session.wants_input() && session.next_timeout().is_none());
    session.sender_refused(NOW, 550, "5.7.23 SPF validation failed");
    assert_eq!(said(&mut session), "550 5.7.23 SPF validation failed\r\n503 5.5.1 MAIL first\r\n");

    tell(&mut session, "MAIL FROM:<c@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
    session.sender_accepted(NOW, ";spf=pass".to_owned());
    assert_eq!(codes(&said(&mut session).replace("\r\n", "\n")), ["250", "250", "354"]);
    events(&mut session);
    tell(&mut session, "x\n.\n");
    let [ServerEvent::Message(envelope, _)] = &events(&mut session)[..] else { panic!("a message") };
    assert_eq!((envelope.sender.as_str(), envelope.found.as_str()), ("c@a.test", ";spf=pass"));
}
