//! Conversations with the server that are attacks: smuggling (reliability 3.2), relaying (3.4), floods (3.7).

use super::server::*;
use super::server_tests::*;

/// A02: X `.` Y for ten line ends each. Only CR LF twice ends the message; the rest never make two.
#[test]
fn a02_hostile_line_ends() {
    let ends: [&[u8]; 10] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\r\n",
        b"\n\r",
        b"\r\n\0",
        b"\x0b",
        b"\x0c",
        b"\x85",
        "\u{2028}".as_bytes(),
    ];
    let second = b"MAIL FROM:<evil@a.test>\r\nRCPT TO:<c@b.test>\r\nDATA\r\nsecond\r\n.\r\n";
    let mut hostile = 0;
    for (i, x) in ends.iter().enumerate() {
        for (j, y) in ends.iter().enumerate() {
            for bytewise in [false, true] {
                let mut session = greeted(open_relay());
                tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
                let wire = [b"first".as_slice(), x, b".", y, second, b"\r\n.\r\n"].concat();
                if bytewise {
                    wire.iter().for_each(|b| session.handle_bytes(NOW, &[*b]));
                } else {
                    session.handle_bytes(NOW, &wire);
                }
                let messages: Vec<_> = events(&mut session)
                    .into_iter()
                    .filter(|e| matches!(e, ServerEvent::Message(..)))
                    .collect();
                if (i, j) == (0, 0) {
                    let [ServerEvent::Message(_, message)] = &messages[..] else { panic!("{messages:?}") };
                    assert_eq!(message, b"first\r\n");
                    continue;
                }
                if (i, j) == (0, 5) {
                    // The end is a true one; what follows begins with a NUL and is no command.
                    assert_eq!(messages.len(), 1);
                    session.accepted(NOW, 1);
                    assert!(said(&mut session).contains("\r\n550 5.5.2") && session.is_closed());
                    hostile += usize::from(bytewise);
                    continue;
                }
                hostile += usize::from(bytewise);
                let bare = [x, y].iter().any(|e| e.contains(&b'\r') || e.contains(&b'\n')) && !harmless(x, y);
                if bare {
                    assert_eq!(messages, [], "{x:?} {y:?}");
                    assert!(said(&mut session).starts_with("550 5.5.2"), "{x:?} {y:?}");
                    assert!(session.is_closed());
                } else {
                    let [ServerEvent::Message(envelope, message)] = &messages[..] else {
                        panic!("{x:?} {y:?}")
                    };
                    assert_eq!(envelope.recipients, ["b@b.test"]);
                    assert!(
                        message.ends_with(b"DATA\r\nsecond\r\n"),
                        "the second message is text of the first"
                    );
                }
            }
        }
    }
    assert_eq!(hostile, 99);
}

/// Pairs without a bare CR, bare LF or NUL: ordinary text around proper line ends.
fn harmless(x: &[u8], y: &[u8]) -> bool {
    [x, y].iter().all(|e| *e == b"\r\n" || !e.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)))
}

/// A02: the end of the message at each of the last positions of a segment.
#[test]
fn a02_end_across_segments() {
    let wire = b"text\r\n.\r\nNOOP\r\n";
    for cut in 0..wire.len() {
        let mut session = greeted(open_relay());
        tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
        session.handle_bytes(NOW, &wire[..cut]);
        session.handle_bytes(NOW, &wire[cut..]);
        let all = events(&mut session);
        assert!(matches!(&all[..], [ServerEvent::Message(_, m)] if m == b"text\r\n"), "{cut}");
        session.accepted(NOW, 1);
        assert_eq!(codes(&said(&mut session)), ["250", "250"], "{cut}");
    }
}

#[test]
fn a01_bare_line_ends_in_commands() {
    for line in [&b"NOOP\n"[..], b"NOOP\rx\r\n", b"NOOP\0\r\n", b"EHLO x\n", b"\n"] {
        let mut session = greeted(open_relay());
        session.handle_bytes(NOW, line);
        assert!(said(&mut session).starts_with("550 5.5.2"), "{line:?}");
        assert!(session.is_closed());
    }
    // For injectors known to be like that: never an end, but no refusal either.
    let mut session = greeted(ServerOptions { line_ends: LineEnds::Normalize, ..open_relay() });
    tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
    session.handle_bytes(NOW, b"a\n.\nb\r\n.\r\n");
    assert!(matches!(&events(&mut session)[..], [ServerEvent::Message(_, m)] if m == b"a\r\n.\r\nb\r\n"));
}

/// A20: what an open relay would take.
#[test]
fn a20_relay_is_closed() {
    let options = || ServerOptions {
        relay: Relay::Closed { to: RelayTo::new(|_, domain| domain == "bounce.test") },
        ..ServerOptions::new("mx.test")
    };
    let foreign = "victim@foreign.test";
    let probes: Vec<(&str, String)> = vec![
        ("a@a.test", format!("<{foreign}>")),
        ("a@a.test", "<victim%foreign.test@bounce.test>".into()),
        ("a@a.test", format!("<@bounce.test:{foreign}>")),
        ("a@a.test", "<foreign.test!victim@bounce.test>".into()),
        ("a@a.test", format!("<\"{foreign}\"@bounce.test>")),
        ("a@a.test", format!("<{foreign}@bounce.test>")),
        ("", format!("<{foreign}>")),
        ("x@bounce.test", format!("<{foreign}>")),
        ("x@mx.test", format!("<{foreign}>")),
        ("a@a.test", "<victim@[127.0.0.1]>".into()),
        ("a@a.test", "<victim@[192.0.2.7]>".into()),
        ("a@a.test", "<victim@[IPv6:2001:db8::1]>".into()),
        ("a@a.test", "<victim@foreign.test.>".into()),
        ("a@a.test", "<VICTIM@FOREIGN.TEST>".into()),
        ("a@a.test", foreign.into()),
        ("a@a.test", format!(" < {foreign} > ")),
        ("a@a.test", format!("<@bounce.test,@mx.test:{foreign}>")),
        ("a@a.test", "<postmaster@foreign.test>".into()),
        ("a@a.test", "<victim@foreign.test\t(@bounce.test)>".into()),
        ("a@a.test", "<victim@foreign\u{3002}test>".into()),
        ("a@a.test", "<victim%40foreign.test@bounce.test>".into()),
    ];
    for (sender, recipient) in &probes {
        let mut session = greeted(options());
        assert_eq!(codes(&tell(&mut session, &format!("MAIL FROM:<{sender}> SMTPUTF8\n"))), ["250"]);
        let answer = tell(&mut session, &format!("RCPT TO:{recipient}\n"));
        assert!(answer.starts_with('5'), "{recipient}: {answer}");
        assert_eq!(codes(&tell(&mut session, "DATA\n")), ["554"], "{recipient}");
    }
    // Forged identities: XCLIENT, PROXY, AUTH=.
    for forgery in [
        "XCLIENT ADDR=127.0.0.1 LOGIN=admin",
        "PROXY TCP4 127.0.0.1 127.0.0.1 1 25",
        "MAIL FROM:<a@a.test> AUTH=admin",
    ] {
        let mut session = greeted(options());
        let answer = tell(&mut session, &format!("{forgery}\n"));
        assert!(answer.starts_with('5'), "{forgery}: {answer}");
        let answer = tell(&mut session, &format!("MAIL FROM:<a@a.test>\nRCPT TO:<{foreign}>\n"));
        assert!(!answer.contains("250 2.1.5"), "{forgery}: {answer}");
    }
    assert_eq!(probes.len() + 3, 24);
    // What is ours is taken, in any spelling of the domain.
    let mut session = greeted(options());
    assert_eq!(codes(&tell(&mut session, "MAIL FROM:<>\nRCPT TO:<b+1@Bounce.TEST>\n")), ["250", "250"]);
    // By default nothing is.
    let mut session = greeted(ServerOptions::new("mx.test"));
    assert_eq!(
        codes(&tell(&mut session, "MAIL FROM:<>\nRCPT TO:<postmaster>\nRCPT TO:<a@mx.test>\n")),
        ["250", "550", "550"]
    );
}

#[test]
fn a51_floods() {
    for (line, answered) in [("NOOP", 99), ("RSET", 99), ("VRFY x", 99), ("EHLO x", 99), ("rubbish", 19)] {
        let mut session = greeted(open_relay());
        let mut replies = 0;
        while !session.is_closed() {
            let all = tell(&mut session, &format!("{line}\n"));
            replies += codes(&all).len();
            assert!(replies < 200);
            if session.is_closed() {
                assert!(all.contains("421 4.7.0"), "{all}");
            }
        }
        assert!(replies > answered, "{line}: {replies}");
    }
    // Pipelining where the reply had to be waited for.
    for flood in
        ["EHLO x\nNOOP\n", "HELO x\nNOOP\n", "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\ntext\n.\n"]
    {
        let mut session = greeted(open_relay());
        let all = tell(&mut session, flood);
        assert!(all.contains("554 5.5.0") && session.is_closed(), "{flood}: {all}");
        assert_eq!(events(&mut session), [ServerEvent::Closed]);
    }
    let mut session = Session::new(open_relay(), NOW, 1);
    tell(&mut session, "HELO x\n");
    assert!(tell(&mut session, "NOOP\nNOOP\n").starts_with("554 5.5.0"));
}

#[test]
fn a52_huge_things() {
    // A command line of 10 MB: refused, and not read to its end.
    let mut session = greeted(open_relay());
    for _ in 0..160 {
        session.handle_bytes(NOW, &[b'x'; 65_536]);
    }
    assert!(said(&mut session).starts_with("500 5.5.2") && session.is_closed());
    let mut session = greeted(open_relay());
    assert_eq!(codes(&tell(&mut session, &format!("NOOP {}\nNOOP\n", "x".repeat(3000)))), ["500", "250"]);

    // More recipients than allowed: the first are kept.
    let mut session = greeted(open_relay());
    tell(&mut session, "MAIL FROM:<a@a.test>\n");
    for i in 0..1500 {
        let code = if i < 1000 { "250" } else { "452" };
        assert_eq!(codes(&tell(&mut session, &format!("RCPT TO:<r{i}@b.test>\n"))), [code]);
    }
    tell(&mut session, "DATA\n");
    tell(&mut session, "x\n.\n");
    assert!(matches!(&events(&mut session)[..], [ServerEvent::Message(e, _)] if e.recipients.len() == 1000));
    session.accepted(NOW, 1);
    said(&mut session);

    for size in ["25000001", "9223372036854775808", "99999999999999999999"] {
        assert_eq!(codes(&tell(&mut session, &format!("MAIL FROM:<a@a.test> SIZE={size}\n"))), ["552"]);
    }
    assert_eq!(codes(&tell(&mut session, "MAIL FROM:<a@a.test> SIZE=-1\n")), ["501"]);
    assert!(tell(&mut session, "BDAT 18446744073709551615\nMAIL FROM:<a@a.test>\n").starts_with("552"));
    assert!(session.is_closed());

    // A message larger than allowed, in one endless line: read to its end in bounded memory, then refused.
    let mut session = greeted(ServerOptions { max_message_size: 100_000, ..open_relay() });
    tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
    for _ in 0..100 {
        session.handle_bytes(NOW, &[b'x'; 10_000]);
    }
    assert_eq!(codes(&tell(&mut session, "\n.\n")), ["552"]);
    assert_eq!(events(&mut session), []);
    tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA\n");
    // Exactly as large as allowed.
    tell(&mut session, &format!("\n{}\n.\n", "y".repeat(99_996)));
    assert!(matches!(&events(&mut session)[..], [ServerEvent::Message(_, m)] if m.len() == 100_000));
}
