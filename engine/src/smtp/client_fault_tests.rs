//! Conversations with the client, one for each fault a remote server can show (reliability 2.4).

use super::client::*;
use super::client_tests::*;
use super::reply::{MAX_LINE, Reply, ReplyError};
use std::time::Duration;

#[test]
fn s01_tarpit() {
    // A byte every ten seconds does not prolong the wait for the reply.
    let mut talk = Talk::new(|_| {});
    for byte in b"220-slow and slower and slower".iter().cycle().take(29) {
        talk.client.handle_bytes(talk.now, &[*byte]);
        talk.pass(10);
    }
    assert_eq!(talk.events(), []);
    talk.pass(10);
    assert_eq!(talk.closed(), [failed(Stage::Greeting, Failure::Timeout)]);

    // Nor may many slow replies add up to more than the session's time.
    let mut talk = Talk::open("", |_| {});
    talk.start(1, &["x"; 20]);
    talk.written();
    for _ in 0..4 {
        talk.pass(200);
        talk.says("S: 250 ok");
        talk.written();
    }
    talk.pass(100);
    let session = Failure::SessionDeadline;
    assert_eq!(talk.closed(), [broken(1, Stage::Rcpt, session.clone()), failed(Stage::Rcpt, session)]);
}

#[test]
fn s02_silence_and_zero_window() {
    let mut talk = Talk::new(|_| {});
    assert_eq!(talk.client.next_timeout(), Some(talk.now.mono + Duration::from_secs(300)));
    talk.pass(300);
    assert_eq!(talk.closed(), [failed(Stage::Greeting, Failure::Timeout)]);

    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 250 b\nS: 354 go");
    talk.body(&"x\r\n".repeat(1000));
    talk.events();
    let bytes = std::mem::take(talk.client.output());
    talk.client.sent(talk.now, 100);
    talk.pass(179);
    talk.client.sent(talk.now, 1);
    talk.pass(179);
    assert_eq!(talk.events(), []);
    talk.pass(1);
    // Content that has not all left is not in doubt.
    assert!(bytes.len() > 3000);
    assert_eq!(
        talk.closed(),
        [broken(1, Stage::Content, Failure::Blocked), failed(Stage::Content, Failure::Blocked)]
    );
}

#[test]
fn s03_closed_at_each_stage() {
    for (script, stage) in [
        ("", Stage::Mail),
        ("S: 250 a", Stage::Rcpt),
        ("S: 250 a\nC: RCPT TO:<x@b.example>\nS: 250 b", Stage::Data),
        ("S: 250 a\nC: RCPT TO:<x@b.example>\nS: 250 b\nC: DATA\nS: 354 go", Stage::Content),
    ] {
        let mut talk = Talk::open("", |_| {});
        talk.start(1, &["x"]);
        talk.says("C: MAIL FROM:<a@a.example> SIZE=100");
        talk.says(script);
        talk.events();
        talk.client.handle_closed(talk.now, "reset");
        assert_eq!(talk.closed(), [broken(1, stage, lost()), failed(stage, lost())], "{script}");
    }
    let mut talk = Talk::new(|_| {});
    talk.client.handle_closed(talk.now, "reset");
    assert_eq!(talk.closed(), [failed(Stage::Greeting, lost())]);
}

/// A pipelining session with the content of message 1 handed over, `sent` bytes of it sent.
fn with_content(sent: usize) -> Talk {
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 250 b\nS: 354 go");
    talk.body("12345678\r\n");
    talk.events();
    assert_eq!(std::mem::take(talk.client.output()), b"12345678\r\n.\r\n");
    talk.client.sent(talk.now, sent);
    talk
}

#[test]
fn s04_s05_closed_within_and_after_the_content() {
    for sent in 0..13 {
        let mut talk = with_content(sent);
        talk.client.handle_closed(talk.now, "reset");
        assert_eq!(
            talk.closed(),
            [broken(1, Stage::Content, lost()), failed(Stage::Content, lost())],
            "{sent}"
        );
    }
    let mut talk = with_content(13);
    talk.client.handle_closed(talk.now, "reset");
    let in_doubt = Event::Finished { token: 1, end: End::InDoubt(lost()) };
    assert_eq!(talk.closed(), [in_doubt, failed(Stage::Final, lost())]);
}

#[test]
fn s06_ten_minutes_for_the_final_reply() {
    let mut talk = with_content(13);
    talk.pass(590);
    talk.says("S: 250 at last");
    assert_eq!(talk.events(), [finished(1, Stage::Final, 250, "at last"), Event::WantTransaction]);
    let mut talk = with_content(13);
    talk.pass(600);
    let in_doubt = Event::Finished { token: 1, end: End::InDoubt(Failure::Timeout) };
    assert_eq!(talk.closed(), [in_doubt, failed(Stage::Final, Failure::Timeout)]);
}

#[test]
fn s07_421_anywhere() {
    let mut talk = Talk::new(|_| {});
    talk.says("S: 421 busy");
    assert_eq!(talk.closed(), [failed(Stage::Greeting, said(421, "busy"))]);

    let mut talk = Talk::new(|_| {});
    talk.says("S: 220 mx\nC: EHLO me.example\nS: 421 busy");
    assert_eq!(talk.closed(), [failed(Stage::Hello, said(421, "busy"))]);

    for (before, own, stage) in [
        ("", finished(1, Stage::Mail, 421, "busy"), Stage::Mail),
        ("S: 250 a\n", refused(1, 0, 421, "busy"), Stage::Rcpt),
        ("S: 250 a\nS: 250 b\n", refused(1, 1, 421, "busy"), Stage::Rcpt),
        ("S: 250 a\nS: 250 b\nS: 250 c\n", finished(1, Stage::Data, 421, "busy"), Stage::Data),
    ] {
        let mut talk = Talk::open("PIPELINING", |_| {});
        talk.start(1, &["x", "y"]);
        talk.written();
        talk.says(&format!("{before}S: 421 busy"));
        let mut expected = vec![own];
        if stage == Stage::Rcpt {
            expected.push(broken(1, stage, said(421, "busy")));
        }
        expected.push(failed(stage, said(421, "busy")));
        assert_eq!(talk.closed(), expected, "{before}");
    }

    // After the dot it is a refusal, not in doubt.
    let mut talk = with_content(13);
    talk.says("S: 421 4.3.2 down");
    assert_eq!(
        talk.closed(),
        [finished(1, Stage::Final, 421, "4.3.2 down"), failed(Stage::Final, said(421, "4.3.2 down"))]
    );

    // Unasked, while idle and while the content is being made.
    let mut talk = Talk::open("", |_| {});
    talk.says("S: 421 idle too long");
    assert_eq!(talk.closed(), [failed(Stage::Idle, said(421, "idle too long"))]);
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 250 b\nS: 354 go\nS: 421 no");
    assert_eq!(
        talk.closed(),
        [
            Event::NeedBody { token: 1 },
            broken(1, Stage::Content, said(421, "no")),
            failed(Stage::Content, said(421, "no"))
        ]
    );
}

#[test]
fn s08_mixed_recipients() {
    for keywords in ["PIPELINING", ""] {
        let mut talk = Talk::open(keywords, |_| {});
        talk.start(1, &["a", "b", "c", "d"]);
        for reply in ["250 ok", "250 ok", "451 later", "550 5.1.1 unknown", "250 ok", "354 go"] {
            talk.written();
            talk.says(&format!("S: {reply}"));
        }
        assert_eq!(
            talk.events(),
            [refused(1, 1, 451, "later"), refused(1, 2, 550, "5.1.1 unknown"), Event::NeedBody { token: 1 }]
        );
        talk.body("x\r\n");
        talk.says("C: x\nC: .\nS: 250 done");
        assert_eq!(talk.events(), [finished(1, Stage::Final, 250, "done"), Event::WantTransaction]);
    }
}

#[test]
fn s08_all_refused_sends_no_content() {
    // Pipelined, DATA refused as well: RSET before the next transaction.
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 550 no\nS: 503 no recipients");
    let end = Event::Finished { token: 1, end: End::AllRefused };
    assert_eq!(talk.events(), [refused(1, 0, 550, "no"), end.clone(), Event::WantTransaction]);
    talk.start(2, &["x"]);
    talk.says("C: RSET\nC: MAIL FROM:<a@a.example> SIZE=100\nC: RCPT TO:<x@b.example>\nC: DATA");
    talk.says("S: 250 reset\nS: 250 a\nS: 550 no");
    assert_eq!(talk.events().len(), 2);
    // Pipelined, DATA accepted: a lone dot, whose reply says nothing.
    talk.says("S: 354 go\nC: .");
    assert_eq!(talk.events(), []);
    talk.says("S: 554 no valid recipients");
    assert_eq!(talk.events(), [Event::WantTransaction]);
    talk.start(3, &["x"]);
    talk.says("C: MAIL FROM:<a@a.example> SIZE=100\nC: RCPT TO:<x@b.example>\nC: DATA");

    // One at a time: no DATA, and RSET at once, so that the next MAIL can leave when its turn has come.
    let mut talk = Talk::open("", |_| {});
    talk.start(1, &["x"]);
    talk.says("C: MAIL FROM:<a@a.example> SIZE=100\nS: 250 a\nC: RCPT TO:<x@b.example>\nS: 550 no\nC: RSET");
    assert_eq!(talk.events(), [refused(1, 0, 550, "no"), end.clone()]);
    assert!(!talk.client.wants_transaction());
    talk.says("S: 250 ok");
    assert_eq!(talk.events(), [Event::WantTransaction]);
    talk.start(2, &["x"]);
    talk.says("C: MAIL FROM:<a@a.example> SIZE=100\nS: 250 a\nC: RCPT TO:<x@b.example>\nS: 550 no\nC: RSET");
    // A connection that is to end waits for the answer.
    talk.client.quit(talk.now);
    talk.says("S: 250 ok\nC: QUIT");

    // With chunks: no chunk.
    let mut talk = Talk::open("PIPELINING CHUNKING", |o| o.prefer_chunking = true);
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 550 no");
    assert_eq!(talk.events(), [refused(1, 0, 550, "no"), end, Event::WantTransaction]);
    assert_eq!(talk.written(), "");
}

#[test]
fn s08_mail_refused_yet_recipient_accepted() {
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    // A lone dot here would be an empty message to somebody (R12).
    talk.says("S: 550 no\nS: 250 b\nS: 354 go");
    assert_eq!(talk.written(), "");
    let events = talk.closed();
    assert_eq!(events[0], finished(1, Stage::Mail, 550, "no"));
    assert!(events.contains(&failed(Stage::Data, Failure::Protocol(ProtocolError::Unexpected(354)))));
}

#[test]
fn s09_s10_too_many_recipients() {
    for too_many in ["452 4.5.3 too many", "552 too many"] {
        let mut talk = Talk::open("PIPELINING", |_| {});
        talk.start(1, &["a", "b", "c", "d"]);
        talk.written();
        talk.says(&format!(
            "S: 250 ok\nS: 250 a\nS: {too_many}\nS: 452 4.2.2 mailbox full\nS: {too_many}\nS: 354 go"
        ));
        let fates: Vec<_> = talk.events();
        let (code, text) = too_many.split_once(' ').unwrap();
        let reply = Reply::new(code.parse().unwrap(), &[text]);
        let postponed =
            |index| Event::Recipient { token: 1, index, fate: RecipientFate::Postponed(reply.clone()) };
        assert_eq!(
            fates,
            [
                postponed(1),
                refused(1, 2, 452, "4.2.2 mailbox full"),
                postponed(3),
                Event::NeedBody { token: 1 }
            ]
        );
    }
    // The first recipient of a transaction is never one too many.
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.start(1, &["a"]);
    talk.written();
    talk.says("S: 250 ok\nS: 452 4.3.1 no space\nS: 503 no");
    assert_eq!(talk.events()[0], refused(1, 0, 452, "4.3.1 no space"));
}

#[test]
fn s11_s12_what_is_no_reply() {
    let long = format!("S: 250 {}", "x".repeat(MAX_LINE));
    let many = "S: 250-x\n".repeat(101);
    for (script, error) in [
        (long.as_str(), ReplyError::LineTooLong),
        (many.as_str(), ReplyError::TooManyLines),
        ("S: 250-a\nS: 550 b", ReplyError::MixedCodes),
        ("S: hello", ReplyError::NoCode),
        ("S: 250ok", ReplyError::NoCode),
    ] {
        let mut talk = Talk::open("", |_| {});
        talk.start(1, &["x"]);
        talk.written();
        talk.says(script);
        let failure = Failure::Protocol(ProtocolError::Reply(error));
        assert_eq!(talk.closed(), [broken(1, Stage::Mail, failure.clone()), failed(Stage::Mail, failure)]);
    }
    // Rubbish instead of the final reply leaves the message in doubt.
    let mut talk = with_content(13);
    talk.says("S: 250-a\nS: 550 b");
    let failure = Failure::Protocol(ProtocolError::Reply(ReplyError::MixedCodes));
    let in_doubt = Event::Finished { token: 1, end: End::InDoubt(failure.clone()) };
    assert_eq!(talk.closed(), [in_doubt, failed(Stage::Final, failure)]);
}

#[test]
fn s13_surplus_and_early_replies() {
    let protocol = |error| Failure::Protocol(error);
    // Two replies to MAIL: the second is early for RCPT.
    let mut talk = Talk::open("", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 250 b");
    let early = protocol(ProtocolError::Early(250));
    assert_eq!(talk.closed(), [broken(1, Stage::Rcpt, early.clone()), failed(Stage::Rcpt, early)]);

    // The same, cut so that the end of the surplus reply comes behind the command (seed 2005430 of the simulator).
    let mut talk = Talk::open("", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.client.handle_bytes(talk.now, b"250 a\r\n250 b");
    talk.written();
    talk.client.handle_bytes(talk.now, b"\r\n");
    let early = protocol(ProtocolError::Early(250));
    assert_eq!(talk.closed(), [broken(1, Stage::Rcpt, early.clone()), failed(Stage::Rcpt, early)]);

    // 421 may come at any time, cut or not.
    let mut talk = Talk::open("", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.client.handle_bytes(talk.now, b"250 a\r\n42");
    talk.written();
    talk.client.handle_bytes(talk.now, b"1 busy\r\n");
    assert_eq!(talk.closed().last(), Some(&failed(Stage::Rcpt, said(421, "busy"))));

    // 354, then 250 before any content.
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 250 b\nS: 354 go\nS: 250 already");
    let surplus = protocol(ProtocolError::Unsolicited(250));
    let retreat = Event::Retreat(Retreat::Pipelining);
    let events = talk.closed();
    assert_eq!(
        events[1..].iter().filter(|e| **e != retreat).cloned().collect::<Vec<_>>(),
        [broken(1, Stage::Content, surplus.clone()), failed(Stage::Content, surplus)]
    );

    // A second final reply, while idle.
    let mut talk = with_content(13);
    talk.says("S: 452 no\nS: 250 yes");
    let surplus = protocol(ProtocolError::Unsolicited(250));
    assert_eq!(
        talk.closed(),
        [finished(1, Stage::Final, 452, "no"), Event::WantTransaction, failed(Stage::Idle, surplus)]
    );

    // 250 to DATA, 354 to MAIL.
    for (script, stage, code) in
        [("S: 250 a\nS: 250 b\nS: 250 c", Stage::Data, 250), ("S: 354 a", Stage::Mail, 354)]
    {
        let mut talk = Talk::open("PIPELINING", |_| {});
        talk.start(1, &["x"]);
        talk.written();
        talk.says(script);
        assert!(
            talk.closed().contains(&failed(stage, protocol(ProtocolError::Unexpected(code)))),
            "{script}"
        );
    }
}

#[test]
fn s14_refused_greeting() {
    let mut talk = Talk::new(|_| {});
    talk.says("S: 554 5.7.1 no");
    assert_eq!(talk.closed(), [failed(Stage::Greeting, said(554, "5.7.1 no"))]);
}

#[test]
fn s15_helo_where_ehlo_is_unknown() {
    let mut talk = Talk::new(|_| {});
    talk.says("S: 220 old\nC: EHLO me.example\nS: 502 what\nC: HELO me.example\nS: 250 hello");
    talk.events();
    talk.start(1, &["x"]);
    // No extension: no SIZE, no pipelining.
    talk.says("C: MAIL FROM:<a@a.example>\nS: 250 a\nC: RCPT TO:<x@b.example>");
}

#[test]
fn s16_pipelining_that_lies() {
    // Only the first command is answered.
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a");
    talk.pass(300);
    assert_eq!(
        talk.closed(),
        [
            Event::Retreat(Retreat::Pipelining),
            broken(1, Stage::Rcpt, Failure::Timeout),
            failed(Stage::Rcpt, Failure::Timeout)
        ]
    );
    let mut talk = Talk::open("PIPELINING", |o| o.ignore_pipelining = true);
    talk.start(1, &["x"]);
    talk.says("C: MAIL FROM:<a@a.example> SIZE=100");
}

#[test]
fn s17_s18_s20_refused_here() {
    let mut talk = Talk::new(|o| o.ignore_8bitmime = true);
    talk.says("S: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 250-8BITMIME\nS: 250 SIZE 99");
    talk.events();
    let local = |end| [Event::Finished { token: 1, end: End::Local(end) }, Event::WantTransaction];
    talk.client.start(talk.now, Transaction { size: 50, eight_bit: true, ..mail(1, &["x"]) });
    assert_eq!(talk.events(), local(LocalFailure::NoEightBit));
    talk.client.start(talk.now, mail(1, &["x"]));
    assert_eq!(talk.events(), local(LocalFailure::TooLarge));
    talk.client.start(talk.now, Transaction { size: 50, smtputf8: true, ..mail(1, &["x"]) });
    assert_eq!(talk.events(), local(LocalFailure::NoSmtpUtf8));
    talk.client.start(talk.now, Transaction { size: 50, sender: "a\r\nb@c".into(), ..mail(1, &["x"]) });
    assert_eq!(talk.events(), local(LocalFailure::BadSender));
    assert_eq!(talk.written(), "");
    // A domain needs no SMTPUTF8.
    talk.client.start(talk.now, Transaction { size: 50, sender: "a@bücher.example".into(), ..mail(1, &[]) });
    talk.client.start(
        talk.now,
        Transaction {
            size: 50,
            recipients: ["x@bücher.example".to_owned()].into_iter().collect(),
            ..mail(1, &[])
        },
    );
    talk.says(
        "C: MAIL FROM:<a@a.example> SIZE=50\nS: 250 a\nC: RCPT TO:<x@xn--bcher-kva.example>\nS: 550 no",
    );
    talk.says("C: RSET\nS: 250 ok");
    assert_eq!(talk.events().len(), 5);
    talk.client.start(talk.now, Transaction { size: 50, ..mail(2, &["x"]) });
    talk.says("C: MAIL FROM:<a@a.example> SIZE=50\nS: 550 no");
    assert_eq!(talk.events().len(), 2);
    // Only the recipients concerned.
    talk.client.start(talk.now, Transaction { size: 50, ..mail(1, &["jürgen", "x", "a> b", "", "c\nd"]) });
    let fate = |index, failure| Event::Recipient { token: 1, index, fate: RecipientFate::Local(failure) };
    let bad = LocalFailure::BadRecipient;
    assert_eq!(talk.events(), [fate(0, LocalFailure::NoSmtpUtf8), fate(2, bad), fate(4, bad)]);
    talk.says("C: MAIL FROM:<a@a.example> SIZE=50\nS: 250 a\nC: RCPT TO:<x@b.example>\nS: 250 b");
    talk.says("C: RCPT TO:<@b.example>\nS: 550 no");
    assert_eq!(talk.events(), [refused(1, 3, 550, "no")]);
}

#[test]
fn s19_chunks_refused_as_unknown() {
    let mut talk = Talk::open("PIPELINING CHUNKING", |o| o.prefer_chunking = true);
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 250 b");
    talk.body("x\r\n");
    talk.written();
    talk.says("S: 500 what is BDAT");
    let failure = Failure::Protocol(ProtocolError::Unexpected(500));
    assert_eq!(
        talk.closed()[1..],
        [
            Event::Retreat(Retreat::Chunking),
            broken(1, Stage::Content, failure.clone()),
            failed(Stage::Content, failure)
        ]
    );
    // Not offered: DATA.
    let mut talk = Talk::open("PIPELINING", |o| o.prefer_chunking = true);
    talk.start(1, &["x"]);
    talk.says("C: MAIL FROM:<a@a.example> SIZE=100\nC: RCPT TO:<x@b.example>\nC: DATA");
}

#[test]
fn s25_greylisted() {
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 451 4.7.1 greylisted\nS: 503 no");
    assert_eq!(talk.events()[0], refused(1, 0, 451, "4.7.1 greylisted"));
}
