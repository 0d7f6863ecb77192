//! A session with a client: what it says and takes does not depend on how its bytes are cut into reads, only true ends
//! end a message, nothing is taken that the options do not allow, and nobody is a user without the password.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use posthaste::base::{Now, Time, Wall};
use posthaste::mail::row::REFUSED_FIELD;
use posthaste::mail::{address, normalise_domain};
use posthaste::smtp::merge::MergeRow;
use posthaste::smtp::server::{
    AuthOptions, Envelope, LineEnds, Relay, RelayTo, ServerEvent, ServerOptions, Session,
};
use posthaste::smtp::users::Users;

use super::input::{Input, is_crlf_only, pieces};

const NOW: Now = Now { mono: Time::from_millis(5), wall: Wall(0) };
const MAX_SIZE: usize = 600;
/// More would reach the bound on what waits behind a message, which counts reads.
const MAX_WIRE: usize = 32 * 1024;

static USERS: LazyLock<Arc<Users>> =
    LazyLock::new(|| Arc::new(Users::new([("u".to_owned(), "p".to_owned())], &[0; 32])));

/// With a system that is asked for passwords.
static ACCOUNTS: LazyLock<Arc<Users>> = LazyLock::new(|| {
    let users = Users::new([("u".to_owned(), "p".to_owned())], &[0; 32]);
    Arc::new(users.with_system(["s".to_owned()]))
});

/// Ends the session of a client that sends more behind a command that has to be the last of its read.
const AHEAD: &[u8] = b"commands sent before the reply they had to wait for\r\n";

#[derive(Debug, Default, PartialEq, Eq)]
struct Transcript {
    said: Vec<u8>,
    messages: Vec<(Envelope, Vec<u8>)>,
    logins: Vec<(String, bool)>,
    closed: bool,
}

fn options(choice: u8) -> ServerOptions {
    let relay = match choice & 1 {
        0 => Relay::Open,
        _ => Relay::Closed { to: RelayTo::new(|_, domain| domain == "ours.example") },
    };
    ServerOptions {
        relay,
        line_ends: if choice & 2 == 0 { LineEnds::Reject } else { LineEnds::Normalize },
        smtputf8: choice & 4 == 0,
        chunking: choice & 8 == 0,
        auth: AuthOptions {
            users: match choice & 24 {
                0 => Some(USERS.clone()),
                8 => Some(ACCOUNTS.clone()),
                _ => None,
            },
            plain_in_clear: choice & 32 == 0,
            after_tls: false,
            // Without TLS nobody has shown a certificate.
            by_certificate: choice & 64 == 0,
        },
        require_auth: choice & 64 != 0,
        accept_invalid: choice & 32 != 0,
        check_sender: choice & 128 == 0,
        xclient: choice & 128 != 0,
        max_message_size: MAX_SIZE,
        max_recipients: 3,
        merge: choice & 128 != 0,
        max_merged: 2,
        max_header: 200,
        max_hops: 2,
        max_errors: 4,
        max_junk: 6,
        command_timeout: Duration::from_secs(1),
        ..ServerOptions::new("mx.example")
    }
}

fn talk(options: &ServerOptions, pieces: &[&[u8]]) -> Transcript {
    let mut session = Session::new(options.clone(), NOW, 1);
    let mut transcript = Transcript { said: std::mem::take(session.output()), ..Transcript::default() };
    for piece in pieces {
        session.handle_bytes(NOW, piece);
        while let Some(event) = session.poll_event() {
            assert!(!transcript.closed, "an event after the end");
            match event {
                ServerEvent::Message(envelope, message) => {
                    assert!(!session.wants_input());
                    // Alike for all ways of cutting, and each way now and then.
                    if message.len() % 3 == 0 {
                        session.rejected(NOW, 550, "5.7.1 not\r\n250 wanted");
                    } else {
                        session.accepted(NOW, transcript.messages.len());
                    }
                    transcript.messages.push((*envelope, message));
                }
                ServerEvent::Login { user, right } => {
                    match right {
                        true => session.logged_in(NOW, &user, Arc::new(options.clone())),
                        false => session.login_refused(NOW, user.len() % 2 == 0),
                    }
                    transcript.logins.push((user, right));
                }
                ServerEvent::Password { user, password } => {
                    match password.as_bytes().len() % 3 {
                        0 => session.logged_in(NOW, &user, Arc::new(options.clone())),
                        1 => session.login_refused(NOW, user.len() % 2 == 0),
                        _ => session.login_unavailable(NOW),
                    }
                    transcript.logins.push((user, password.as_bytes().len() % 3 == 0));
                }
                ServerEvent::Sender { sender, .. } => match sender.len() % 2 {
                    0 => session.sender_accepted(NOW, sender),
                    _ => session.sender_refused(NOW, 550, "5.7.23 not from there"),
                },
                ServerEvent::Assumed(assumed) => {
                    let user = assumed.login.clone().unwrap_or_default();
                    match assumed.port {
                        Some(port) if port % 2 == 1 => session.turn_away(port > 25),
                        _ => session.assume(NOW, *assumed, &Arc::new(options.clone())),
                    }
                    transcript.logins.push((user, true));
                }
                ServerEvent::Closed => transcript.closed = true,
            }
        }
        transcript.said.append(session.output());
    }
    assert_eq!(session.is_closed(), transcript.closed);
    transcript
}

pub fn session(data: &[u8]) {
    let mut input = Input::new(data);
    let options = options(input.byte());
    let cuts = input.text();
    let wire = input.rest();
    let wire = &wire[..wire.len().min(MAX_WIRE)];
    // A client that waits after every line, and one that sends a byte at a time: never ahead of a reply.
    let lines: Vec<&[u8]> = wire.split_inclusive(|b| *b == b'\n').collect();
    let transcript = talk(&options, &lines);
    assert_eq!(transcript, talk(&options, &wire.chunks(1).collect::<Vec<_>>()), "byte by byte");
    for cut in [talk(&options, &pieces(wire, cuts)), talk(&options, &[wire])] {
        let ahead = cut.said.ends_with(AHEAD).then(|| without_last_line(&cut.said));
        assert!(
            ahead.map_or(cut == transcript, |said| {
                transcript.said.starts_with(said)
                    && transcript.messages.starts_with(&cut.messages)
                    && transcript.logins.starts_with(&cut.logins)
            }),
            "cut otherwise: {cut:?}\n{transcript:?}"
        );
    }

    assert!(is_crlf_only(&transcript.said) && transcript.said.ends_with(b"\r\n"));
    for line in transcript.said.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let coded = line[..3].iter().all(u8::is_ascii_digit) && matches!(line[3], b' ' | b'-');
        assert!(coded, "{:?}", String::from_utf8_lossy(line));
    }
    let dots = wire.windows(5).filter(|bytes| bytes == b"\r\n.\r\n").count();
    let ends = dots + wire.windows(4).filter(|word| word.eq_ignore_ascii_case(b"LAST")).count();
    assert!(transcript.messages.len() <= ends, "{} messages with {ends} ends", transcript.messages.len());
    for (envelope, message) in &transcript.messages {
        taken(&options, envelope, message);
        let known = transcript.logins.iter().any(|(user, right)| *right && *user == envelope.user);
        assert!(if envelope.user.is_empty() { !options.require_auth } else { known }, "{:?}", envelope.user);
    }
    assert!(transcript.logins.iter().all(|(user, right)| !right || user == "u"));
}

fn without_last_line(said: &[u8]) -> &[u8] {
    let end = said[..said.len() - 1].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    &said[..end]
}

fn taken(options: &ServerOptions, envelope: &Envelope, message: &[u8]) {
    assert!(is_crlf_only(message) && !message.contains(&0));
    assert!(message.is_empty() || message.ends_with(b"\r\n"));
    assert!(message.len() <= options.max_message_size);
    let mut refused: Vec<&str> = envelope.refused.iter().map(|to| to.address.as_str()).collect();
    let (recipients, room): (Vec<&str>, _) = match &envelope.merge {
        None => (envelope.recipients.iter().map(String::as_str).collect(), options.max_recipients),
        Some(merge) => {
            assert!(options.merge && envelope.recipients.is_empty() && refused.is_empty());
            assert_eq!(merge.parts.last().map(|part| part.end), Some(message.len()));
            let why = merge.number(REFUSED_FIELD);
            let bounces = |row: &MergeRow<'_>| row.values().any(|(number, _)| Some(number) == why);
            let (out, kept): (Vec<_>, Vec<_>) = merge.rows().partition(bounces);
            refused.extend(out.iter().map(|row| row.address));
            (kept.iter().map(|row| row.address).collect(), options.max_merged)
        }
    };
    assert!((1..=room).contains(&(recipients.len() + refused.len())));
    let may_bounce = options.accept_invalid && matches!(options.relay, Relay::Open);
    assert!(refused.is_empty() || may_bounce, "{refused:?}");
    for address in refused {
        assert!(!address.is_empty() && !address.contains(char::is_control), "{address:?}");
        assert!(address.is_ascii() || envelope.smtputf8, "{address:?}");
    }
    assert!(envelope.smtputf8 <= options.smtputf8);
    let sender = Some(envelope.sender.as_str()).filter(|s| !s.is_empty());
    for text in recipients.iter().copied().chain(sender) {
        assert!(address::check(text.as_bytes()).is_ok(), "{text:?}");
        assert!(text.is_ascii() || envelope.smtputf8, "{text:?}");
    }
    if matches!(options.relay, Relay::Closed { .. }) {
        for recipient in recipients {
            let (local, domain) = recipient.rsplit_once('@').expect("an address");
            let mut normal = String::new();
            assert!(normalise_domain(domain, &mut normal).is_ok() && normal == "ours.example", "{recipient}");
            assert!(!local.contains(['@', '%', '!']), "{recipient}");
        }
    }
}
