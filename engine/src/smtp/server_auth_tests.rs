//! Conversations with the server about AUTH (RFC 4954).

use super::password::Password;
use super::server::*;
use super::server_tests::*;
use super::users::Users;
use aws_lc_rs::{digest, hmac, pbkdf2};
use data_encoding::{BASE64, HEXLOWER};
use hmac_md5::{KeyInit, Mac};
use std::sync::Arc;

fn users() -> Arc<Users> {
    let users = [("ann", "secret"), ("bob, jr", "a=b")].map(|(n, p)| (n.to_owned(), p.to_owned()));
    Arc::new(Users::new(users, &[1; 32]))
}

fn options() -> ServerOptions {
    let auth = AuthOptions { users: Some(users()), plain_in_clear: true, ..AuthOptions::default() };
    ServerOptions { auth, require_auth: true, ..open_relay() }
}

/// `sam` has an account on the system.
fn with_accounts() -> ServerOptions {
    let users = Users::new([("ann".to_owned(), "secret".to_owned())], &[1; 32]);
    let users = Some(Arc::new(users.with_system(["sam".to_owned()])));
    ServerOptions {
        auth: AuthOptions { users, plain_in_clear: true, after_tls: false, by_certificate: false },
        ..options()
    }
}

fn b64(text: &str) -> String {
    BASE64.encode(text.as_bytes())
}

/// The text of the challenge in a reply 334.
fn challenge(reply: &str) -> String {
    let text = reply.strip_prefix("334 ").unwrap_or_else(|| panic!("{reply}")).trim_end();
    String::from_utf8(BASE64.decode(text.as_bytes()).unwrap()).unwrap()
}

/// Answers the login that has been asked for, as the daemon would.
fn decide(session: &mut Session) -> (String, bool, String) {
    let found = events(session);
    let [ServerEvent::Login { user, right }] = &found[..] else { panic!("{found:?}") };
    assert!(!session.wants_input() && said(session).is_empty());
    match right {
        true => session.logged_in(NOW, user, Arc::new(options())),
        false => session.login_refused(NOW, false),
    }
    (user.clone(), *right, said(session))
}

#[test]
fn plain() {
    let mut session = greeted(options());
    assert_eq!(codes(&tell(&mut session, "MAIL FROM:<a@a.test>\n")), ["530"]);
    assert_eq!(tell(&mut session, &format!("AUTH PLAIN {}\n", b64("\0ann\0secret"))), "");
    let (user, right, reply) = decide(&mut session);
    assert!((user.as_str(), right) == ("ann", true) && reply == "235 2.7.0 authentication succeeded\r\n");
    tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
    tell(&mut session, "x\n.\n");
    let [ServerEvent::Message(envelope, _)] = &events(&mut session)[..] else { panic!() };
    assert_eq!(envelope.user, "ann");
    session.accepted(NOW, 1);
    // Once is enough, and it is no longer offered.
    assert_eq!(codes(&tell(&mut session, "AUTH PLAIN\n")), ["250", "503"]);
    assert!(!tell(&mut session, "EHLO me.test\n").contains("AUTH"));
}

#[test]
fn the_ways_to_say_it() {
    for (lines, right) in [
        (vec!["AUTH PLAIN", "\0ann\0secret"], true),
        (vec!["AUTH PLAIN", "ann\0ann\0secret"], true),
        (vec!["AUTH PLAIN", "bob\0ann\0secret"], false),
        (vec!["AUTH PLAIN", "\0ann\0Secret"], false),
        (vec!["auth login", "ann", "secret"], true),
        (vec!["AUTH LOGIN", "ann", ""], false),
        (vec!["AUTH LOGIN", "eve", ""], false),
    ] {
        let mut session = greeted(options());
        let mut reply = tell(&mut session, &format!("{}\n", lines[0]));
        for line in &lines[1..] {
            challenge(&reply);
            reply = tell(&mut session, &format!("{}\n", b64(line)));
        }
        assert_eq!(decide(&mut session).1, right, "{lines:?}");
    }
    let mut session = greeted(options());
    assert_eq!(challenge(&tell(&mut session, "AUTH LOGIN\n")), "Username:");
    assert_eq!(challenge(&tell(&mut session, &format!("{}\n", b64("ann")))), "Password:");
}

#[test]
fn cram_md5() {
    let mut session = greeted(options());
    let asked = challenge(&tell(&mut session, "AUTH CRAM-MD5\n"));
    assert!(asked.starts_with('<') && asked.ends_with("@mx.test>"), "{asked}");
    let mut mac = hmac_md5::Hmac::<md5::Md5>::new_from_slice(b"secret").unwrap();
    mac.update(asked.as_bytes());
    let answer = HEXLOWER.encode(&mac.finalize().into_bytes());
    tell(&mut session, &format!("{}\n", b64(&format!("ann {answer}"))));
    assert!(decide(&mut session).1);
    // The same answer is worth nothing for the next challenge.
    let mut session = greeted(options());
    tell(&mut session, &format!("AUTH CRAM-MD5\n{}\n", b64("x")));
    assert_ne!(challenge(&tell(&mut greeted(options()), "AUTH CRAM-MD5\n")), "");
    let mut session = Session::new(options(), NOW, 77);
    said(&mut session);
    tell(&mut session, "EHLO me.test\n");
    assert_ne!(challenge(&tell(&mut session, "AUTH CRAM-MD5\n")), asked);
    tell(&mut session, &format!("{}\n", b64(&format!("ann {answer}"))));
    assert!(!decide(&mut session).1);
}

/// What a client that knows `password` says to the server's first message.
fn scram_final(name: &str, password: &str, first: &str) -> String {
    let attribute = |key: &str| first.split(',').find_map(|a| a.strip_prefix(key)).unwrap();
    let (nonce, rounds) = (attribute("r="), attribute("i=").parse().unwrap());
    let salt = BASE64.decode(attribute("s=").as_bytes()).unwrap();
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
    let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let client = sign(&salted, "Client Key");
    let stored = digest::digest(&digest::SHA256, client.as_ref());
    let exchange = format!("n={name},r=mine,{first},c=biws,r={nonce}");
    let signature = sign(stored.as_ref(), &exchange);
    let proof: Vec<u8> = client.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
    format!("c=biws,r={nonce},p={}", BASE64.encode(&proof))
}

#[test]
fn scram_sha_256() {
    for (name, password, right) in
        [("ann", "secret", true), ("bob=2C jr", "a=b", true), ("ann", "Secret", false), ("eve", "", false)]
    {
        let mut session = greeted(options());
        let first = format!("n,,n={name},r=mine");
        let first = challenge(&tell(&mut session, &format!("AUTH SCRAM-SHA-256 {}\n", b64(&first))));
        assert!(first.starts_with("r=mine") && first.len() > 40, "{first}");
        let answer = tell(&mut session, &format!("{}\n", b64(&scram_final(name, password, &first))));
        if right {
            assert!(challenge(&answer).starts_with("v="));
            assert_eq!(tell(&mut session, "\n"), "");
        }
        assert_eq!(decide(&mut session).1, right, "{name}");
    }
    for bad in ["", "n,,", "n,,r=x,n=ann", "p=tls-unique,,n=ann,r=x", "n,,n=ann,r="] {
        let mut session = greeted(options());
        tell(&mut session, "AUTH SCRAM-SHA-256\n");
        assert_eq!(codes(&tell(&mut session, &format!("{}\n", b64(bad)))), ["501"], "{bad}");
    }
}

#[test]
fn what_is_offered_and_when() {
    let offer = |options: ServerOptions| {
        let reply = tell(&mut greeted(options), "EHLO me.test\n");
        reply.lines().find_map(|line| line[4..].strip_prefix("AUTH ").map(str::to_owned))
    };
    let auth = |plain_in_clear, after_tls| AuthOptions {
        users: Some(users()),
        plain_in_clear,
        after_tls,
        ..AuthOptions::default()
    };
    let with = |auth| ServerOptions { auth, ..open_relay() };
    assert_eq!(offer(with(auth(true, false))).unwrap(), "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN");
    assert_eq!(offer(with(auth(false, false))).unwrap(), "SCRAM-SHA-256 CRAM-MD5");
    assert_eq!(offer(with(auth(true, true))), None);
    assert_eq!(offer(open_relay()), None);
    for (options, line, code) in [
        (with(auth(false, false)), "AUTH PLAIN AGEAYg==", "538"),
        (with(auth(false, false)), "AUTH LOGIN", "538"),
        (with(auth(false, false)), "AUTH GSSAPI", "504"),
        (with(auth(true, true)), "AUTH CRAM-MD5", "538"),
        (with(auth(true, false)), "AUTH CRAM-MD5 YQ==", "501"),
        (with(auth(true, false)), "AUTH PLAIN !", "501"),
        (with(auth(true, false)), "AUTH PLAIN =", "501"),
        (with(auth(true, false)), "AUTH PLAIN AGFubg==", "501"),
        (open_relay(), "AUTH PLAIN", "502"),
    ] {
        assert_eq!(codes(&tell(&mut greeted(options), &format!("{line}\n"))), [code], "{line}");
    }
    let mut session = greeted(with(auth(true, false)));
    assert_eq!(codes(&tell(&mut session, "MAIL FROM:<a@a.test>\nAUTH PLAIN\n")), ["250", "503"]);
}

#[test]
fn an_exchange_can_be_given_up_and_is_bounded() {
    let mut session = greeted(options());
    tell(&mut session, "AUTH LOGIN\n");
    assert_eq!(codes(&tell(&mut session, "*\n")), ["501"]);
    // That was no command, and now commands are heard again.
    tell(&mut session, "AUTH LOGIN\n");
    assert_eq!(codes(&tell(&mut session, &format!("{}\n", "A".repeat(5000)))), ["500"]);
    assert_eq!(codes(&tell(&mut session, "NOOP\n")), ["250"]);
    // Nothing may be sent ahead of a challenge.
    tell(&mut session, "AUTH LOGIN\n");
    assert_eq!(codes(&tell(&mut session, "YW5u\nc2VjcmV0\n")), ["554"]);
    assert!(session.is_closed());
}

/// A24.
#[test]
fn who_guesses_too_often_is_sent_away() {
    let mut session = greeted(options());
    for turn in 1..=5 {
        tell(&mut session, &format!("AUTH PLAIN {}\n", b64("\0ann\0guess")));
        let (_, right, reply) = decide(&mut session);
        assert!(!right && reply.starts_with("535 5.7.8"));
        assert_eq!(session.is_closed(), turn == 5);
    }
    let mut session = greeted(options());
    tell(&mut session, &format!("AUTH PLAIN {}\n", b64("\0ann\0secret")));
    events(&mut session);
    session.login_refused(NOW, true);
    assert_eq!(codes(&said(&mut session)), ["454"]);
    assert_eq!(codes(&tell(&mut session, "MAIL FROM:<a@a.test>\n")), ["530"]);
}

#[test]
fn the_system_is_asked_for_passwords_that_it_knows() {
    for lines in [vec!["AUTH PLAIN", "\0sam\0pass word"], vec!["AUTH LOGIN", "sam", "pass word"]] {
        let mut session = greeted(with_accounts());
        for (n, line) in lines.iter().enumerate() {
            let line = if n == 0 { (*line).to_owned() } else { b64(line) };
            assert_eq!(tell(&mut session, &format!("{line}\n")).is_empty(), n == lines.len() - 1);
        }
        let asked = ServerEvent::Password { user: "sam".into(), password: Password::new("pass word") };
        assert_eq!(events(&mut session), [asked]);
        // Whatever the client says meanwhile waits, however long it takes.
        assert!(!session.wants_input() && session.next_timeout().is_none());
        session.logged_in(NOW, "sam", Arc::new(with_accounts()));
        assert_eq!(said(&mut session), "235 2.7.0 authentication succeeded\r\n");
        tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
        tell(&mut session, "x\n.\n");
        let [ServerEvent::Message(envelope, _)] = &events(&mut session)[..] else { panic!() };
        assert_eq!(envelope.user, "sam");
    }
    // Ours are not the system's business, nobody's are, and nobody acts for somebody else.
    for (said, right) in [("\0ann\0secret", Some(true)), ("\0eve\0x", None), ("ann\0sam\0x", Some(false))] {
        let mut session = greeted(with_accounts());
        tell(&mut session, &format!("AUTH PLAIN {}\n", b64(said)));
        let found = match &events(&mut session)[..] {
            [ServerEvent::Login { right, .. }] => Some(*right),
            [ServerEvent::Password { .. }] => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(found, right, "{said}");
    }
}

#[test]
fn the_system_may_say_no_or_nothing() {
    let mut session = greeted(with_accounts());
    let mut attempt = |answer: fn(&mut Session)| {
        tell(&mut session, &format!("AUTH PLAIN {}\n", b64("\0sam\0x")));
        assert!(matches!(events(&mut session)[..], [ServerEvent::Password { .. }]));
        answer(&mut session);
        said(&mut session)
    };
    assert_eq!(attempt(|s| s.login_refused(NOW, false)), "535 5.7.8 authentication credentials invalid\r\n");
    assert!(attempt(|s| s.login_refused(NOW, true)).starts_with("454 4.7.0 too many failed logins"));
    for _ in 0..5 {
        let not_now = "454 4.7.0 the password cannot be checked now, try again later\r\n";
        assert_eq!(attempt(|s| s.login_unavailable(NOW)), not_now);
    }
    // That was no guess, and so the session goes on.
    assert_eq!(codes(&tell(&mut session, "NOOP\n")), ["250"]);
}

#[test]
fn what_the_system_cannot_check_is_not_offered() {
    let offer = |options: ServerOptions| {
        let reply = tell(&mut greeted(options), "EHLO me.test\n");
        reply.lines().find_map(|line| line[4..].strip_prefix("AUTH ").map(str::to_owned))
    };
    assert_eq!(offer(with_accounts()).unwrap(), "PLAIN LOGIN");
    assert_eq!(codes(&tell(&mut greeted(with_accounts()), "AUTH CRAM-MD5\n")), ["504"]);
    let in_clear = |mut options: ServerOptions| {
        options.auth.plain_in_clear = false;
        options
    };
    assert_eq!(offer(in_clear(with_accounts())).unwrap(), "SCRAM-SHA-256 CRAM-MD5");
    let mut only = in_clear(with_accounts());
    only.auth.users = Some(Arc::new(Users::new([], &[1; 32]).with_system(["sam".to_owned()])));
    assert_eq!(offer(only.clone()), None);
    assert_eq!(codes(&tell(&mut greeted(only), "AUTH PLAIN AGEAYg==\n")), ["538"]);
}
