//! Conversations with the mail merge extension.

use super::server::*;
use super::server_tests::{codes, events, greeted, open_relay, play, tell};
use crate::mail::row::REFUSED_FIELD;

fn options() -> ServerOptions {
    ServerOptions { merge: true, ..open_relay() }
}

fn session() -> Session {
    greeted(options())
}

/// Past XMRG, with one recipient.
fn begun() -> Session {
    let mut session = session();
    assert_eq!(codes(&tell(&mut session, "XMRG FROM:<b@x.test>\nRCPT TO:<jim@x.test>\n")), ["250", "250"]);
    session
}

fn message(session: &mut Session) -> (Box<Envelope>, Vec<u8>) {
    match events(session).pop() {
        Some(ServerEvent::Message(envelope, message)) => (envelope, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn offered_where_it_is_allowed() {
    let mut session = session();
    let hello = tell(&mut session, "EHLO me.test\n");
    assert!(hello.contains("250-XACK\n250-XMRG\n250-LIMITS"), "{hello}");
    let mut other = greeted(open_relay());
    assert!(!tell(&mut other, "EHLO me.test\n").contains("XMRG"));
    for command in ["XMRG FROM:<b@x.test>", "XDFN a=1", "XPRT 1", "XACK OFF"] {
        assert_eq!(codes(&tell(&mut other, &format!("{command}\n"))), ["502"], "{command}");
    }
}

#[test]
fn one_merged_message() {
    let mut session = session();
    play(
        &mut session,
        r#"C: XACK ON
         S: 250 2.0.0 ok
         C: XMRG FROM:<bounce@ex.test> verp SIZE=1000
         S: 250 2.1.0 XMRG ok
         C: XDFN FName="Jim" CID="1234" *vmta="mta1" *parts="1-3" *jobID="1234"
         S: 250 2.0.0 XDFN ok
         C: RCPT TO:<jim@ex.test>
         S: 250 2.1.5 <jim@ex.test> ok
         C: XDFN FName="Cosmo"
         S: 250 2.0.0 XDFN ok
         C: XDFN *parts="1,3"
         S: 250 2.0.0 XDFN ok
         C: RCPT TO:<cosmo@ex.test>
         S: 250 2.1.5 <cosmo@ex.test> ok
         C: XPRT 1
         S: 354 send part
         C: From: "Service" [*from]
         C: 
         C: .
         S: 250 2.6.0 part ok
         C: XPRT 2
         S: 354 send part
         C: ..dot
         C: .
         S: 250 2.6.0 part ok
         C: XPRT 3 LAST
         S: 354 send part
         C: .
        "#,
    );
    let (envelope, message) = message(&mut session);
    assert_eq!(message, b"From: \"Service\" [*from]\r\n\r\n.dot\r\n");
    assert_eq!((envelope.sender.as_str(), envelope.recipients.len()), ("bounce@ex.test", 0));
    let merge = envelope.merge.unwrap();
    assert!(envelope.verp);
    let parts: Vec<_> = merge.parts.iter().map(|part| (part.number, part.end)).collect();
    assert_eq!(parts, [(1, 27), (2, 33), (3, 33)]);
    let rows: Vec<_> = merge.rows().map(|row| (row.address, row.values().count())).collect();
    assert_eq!(rows, [("jim@ex.test", 5), ("cosmo@ex.test", 2)]);
    // The reply comes when the message is durable.
    assert!(!session.wants_input());
    session.accepted(super::server_tests::NOW, "1a");
    assert_eq!(tell(&mut session, "NOOP\n"), "250 2.6.0 message received (1a)\n250 2.0.0 NOOP ok\n");
}

#[test]
fn commands_in_the_wrong_state() {
    let mut session = session();
    for (command, reply) in [
        ("XDFN a=1", "503 5.5.1 XMRG first"),
        ("XPRT 1", "503 5.5.1 XMRG first"),
        ("XACK", "501 5.5.4 syntax: XACK ON, or XACK OFF"),
        ("XACK MAYBE", "501 5.5.4 syntax: XACK ON, or XACK OFF"),
        ("XMRG TO:<a@x.test>", "501 5.5.4 syntax: XMRG FROM:<address>"),
        ("XMRG FROM:<a@x.test> VERP=1", "555 5.5.4 unsupported parameter of MAIL"),
        ("MAIL FROM:<b@x.test>", "250 2.1.0 MAIL ok"),
        ("XDFN a=1", "503 5.5.1 XDFN without XMRG"),
        ("XPRT 1", "503 5.5.1 XPRT without XMRG"),
        ("XMRG FROM:<b@x.test>", "503 5.5.1 XMRG within a transaction"),
        ("RSET", "250 2.0.0 RSET ok"),
        ("XMRG FROM:<b@x.test>", "250 2.1.0 XMRG ok"),
        ("MAIL FROM:<b@x.test>", "503 5.5.1 MAIL within a transaction"),
        ("DATA", "503 5.5.1 XPRT comes after XMRG"),
        ("XPRT 1", "554 5.5.1 no valid recipients"),
        ("XDFN a=1", "250 2.0.0 XDFN ok"),
        ("XPRT 1", "503 5.5.1 RCPT after XDFN first"),
        ("RCPT TO:<jim@x.test>", "250 2.1.5 <jim@x.test> ok"),
        ("XPRT 0", "501 5.5.4 syntax: XPRT number, or XPRT number LAST; 1 to 100"),
        ("XPRT LAST", "501 5.5.4 syntax: XPRT number, or XPRT number LAST; 1 to 100"),
        ("XPRT 1", "354 send part"),
        (".", "250 2.6.0 part ok"),
        ("XPRT 1", "503 5.5.1 this part is there already"),
        ("RCPT TO:<eva@x.test>", "503 5.5.1 RCPT after XPRT"),
        ("XDFN a=1", "503 5.5.1 XDFN after XPRT"),
        // LAST is missing: nothing has been sent.
        ("MAIL FROM:<b@x.test>", "503 5.5.1 MAIL within a transaction"),
    ] {
        let said = tell(&mut session, &format!("{command}\n"));
        assert_eq!(said.lines().next(), Some(reply), "{command}");
        if session.is_closed() {
            session = begun();
        }
    }
}

#[test]
fn reports_are_asked_for_as_with_mail() {
    let mut session = session();
    let said = tell(
        &mut session,
        "XMRG FROM:<b@x.test> RET=HDRS ENVID=e+2B1\nXDFN a=1\nRCPT TO:<jim@x.test> NOTIFY=DELAY ORCPT=rfc822;j@x.test\n\
         RCPT TO:<eva@x.test>\nRCPT TO:<bob@x.test> NOTIFY=now\nXPRT 1 LAST\n",
    );
    assert_eq!(codes(&said), ["250", "250", "250", "250", "501", "354"], "{said}");
    tell(&mut session, "x\n.\n");
    let envelope = message(&mut session).0;
    assert_eq!((envelope.ret, envelope.envid.as_str()), ("HDRS", "e+1"));
    let merge = envelope.merge.unwrap();
    assert_eq!(merge.notifies().len(), 2);
    let values = |index: usize| merge.row(index).values().map(|(_, value)| value).collect::<Vec<_>>();
    assert_eq!(values(0), ["1", "DELAY", "rfc822;j@x.test"]);
    assert!(values(1).is_empty());
}

#[test]
fn parts_in_any_order() {
    let mut session = begun();
    assert_eq!(codes(&tell(&mut session, "XPRT 7\n")), ["354"]);
    assert_eq!(codes(&tell(&mut session, "later\n.\n")), ["250"]);
    assert_eq!(codes(&tell(&mut session, "XPRT 2 LAST\n")), ["354"]);
    assert_eq!(tell(&mut session, "first\n.\n"), "");
    let (envelope, message) = message(&mut session);
    assert_eq!(message, b"later\r\nfirst\r\n");
    let merge = envelope.merge.unwrap();
    assert_eq!(merge.parts.iter().map(|part| part.number).collect::<Vec<_>>(), [7, 2]);
}

#[test]
fn a_client_waits_for_the_reply_to_xprt() {
    let mut session = begun();
    assert_eq!(codes(&tell(&mut session, "XPRT 1 LAST\nFrom: x\n.\n")), ["554"]);
    assert!(session.is_closed());
}

#[test]
fn chunks_are_not_for_merged_messages() {
    let mut session = begun();
    assert_eq!(codes(&tell(&mut session, "BDAT 5 LAST\nabc\n")), ["503"]);
    assert_eq!(codes(&tell(&mut session, "XPRT 1\n")), ["503"], "the message is gone");
}

#[test]
fn definitions_go_with_their_recipient_taken_or_not() {
    let mut session = session();
    tell(&mut session, "XMRG FROM:<b@x.test>\n");
    assert_eq!(codes(&tell(&mut session, "XDFN secret=jim\nRCPT TO:<jim>\n")), ["250", "501"]);
    assert_eq!(codes(&tell(&mut session, "RCPT TO:<eva@x.test>\nXPRT 1 LAST\n")), ["250", "354"]);
    tell(&mut session, ".\n");
    let merge = message(&mut session).0.merge.unwrap();
    assert_eq!(merge.row(0).values().count(), 0);
}

#[test]
fn a_recipient_whose_definition_was_refused_is_not_taken() {
    let mut session = session();
    tell(&mut session, "XMRG FROM:<b@x.test>\n");
    let said =
        tell(&mut session, "XDFN a=1 b=\"open\nXDFN c=1\nRCPT TO:<jim@x.test>\nRCPT TO:<eva@x.test>\n");
    assert_eq!(codes(&said), ["501", "250", "503", "250"], "{said}");
}

#[test]
fn variables_without_effect_are_told() {
    let mut session = session();
    tell(&mut session, "XMRG FROM:<b@x.test>\n");
    assert_eq!(
        tell(&mut session, "XDFN a=1 *subaccountid=9\n"),
        "250 2.0.0 XDFN ok, but *subaccountid has no effect here\n"
    );
    let said = tell(&mut session, "XDFN *schedule=\"x\"\n");
    assert!(said.starts_with("501 5.5.4 *schedule: \"x\" is no time to deliver in"), "{said}");
}

#[test]
fn unanswered_commands() {
    let mut session = session();
    let said = tell(
        &mut session,
        "XACK OFF\nXMRG FROM:<b@x.test>\nXDFN a=1\nRCPT TO:<jim@x.test>\nXDFN a=2\nRCPT TO:<eva@x.test>\nXPRT 1 LAST\n",
    );
    assert_eq!(said, "250 2.0.0 ok\n250 2.1.0 XMRG ok\n354 send part\n");
    tell(&mut session, "text\n.\n");
    assert_eq!(message(&mut session).0.merge.unwrap().len(), 2);
    session.rejected(super::server_tests::NOW, 451, "4.3.0 later");
    // It is in force until the end of the connection, or XACK ON.
    assert_eq!(
        codes(&tell(&mut session, "MAIL FROM:<b@x.test>\nRCPT TO:<jim@x.test>\nNOOP\n")),
        ["451", "250", "250"]
    );
    assert_eq!(codes(&tell(&mut session, "XACK ON\nRCPT TO:<eva@x.test>\n")), ["250", "250"]);
}

#[test]
fn errors_of_unanswered_commands_cancel_the_message() {
    let end = ["XPRT 1", "DATA", "BDAT 6 LAST"];
    for (ending, begin) in end.into_iter().zip(["XMRG", "MAIL", "MAIL"]) {
        let mut session = session();
        tell(&mut session, "XACK OFF\n");
        let said = tell(
            &mut session,
            &format!("{begin} FROM:<b@x.test>\nRCPT TO:<jim@x.test>\nRCPT TO:<nobody>\nRCPT TO:<a b>\n"),
        );
        assert_eq!(codes(&said), ["250"]);
        let said = match ending.starts_with("BDAT") {
            true => tell(&mut session, &format!("{ending}\ntext\n")),
            false => tell(&mut session, &format!("{ending}\n")),
        };
        assert!(said.starts_with("501 5.1.3 recipient address"), "{ending}: {said}");
        assert_eq!(
            codes(&tell(&mut session, &format!("{ending}\n"))).len(),
            usize::from(!ending.starts_with("BDAT"))
        );
        assert_eq!(events(&mut session), []);
    }
}

#[test]
fn errors_outside_a_message_are_dropped() {
    let mut session = session();
    assert_eq!(
        codes(&tell(&mut session, "XACK OFF\nRCPT TO:<jim@x.test>\nXDFN a=1\nXMRG FROM:<b@x.test>\n")),
        ["250", "250"]
    );
    assert_eq!(codes(&tell(&mut session, "RCPT TO:<jim@x.test>\nXPRT 1\n")), ["354"]);
    // RSET forgets what has not been said.
    let mut session = session_with_unheard();
    assert_eq!(
        codes(&tell(&mut session, "RSET\nXMRG FROM:<b@x.test>\nRCPT TO:<jim@x.test>\nXPRT 1\n")),
        ["250", "250", "354"]
    );
}

fn session_with_unheard() -> Session {
    let mut session = session();
    tell(&mut session, "XACK OFF\nXMRG FROM:<b@x.test>\nXDFN broken\n");
    session
}

#[test]
fn recipients_are_limited() {
    let mut session = greeted(ServerOptions { max_merged: 2, ..options() });
    let rcpt = "RCPT TO:<jim@x.test>\n".repeat(3);
    assert_eq!(
        codes(&tell(&mut session, &format!("XMRG FROM:<b@x.test>\n{rcpt}"))),
        ["250", "250", "250", "452"]
    );
    tell(&mut session, "RSET\nXACK OFF\n");
    assert_eq!(codes(&tell(&mut session, &format!("XMRG FROM:<b@x.test>\n{rcpt}XPRT 1\n"))), ["250", "452"]);
    let fails = ServerOptions { max_merged: 2, too_many_fail: true, ..options() };
    let mut session = greeted(fails);
    assert_eq!(
        codes(&tell(&mut session, &format!("XMRG FROM:<b@x.test>\n{rcpt}XPRT 1 LAST\n"))).last(),
        Some(&"354")
    );
    assert_eq!(tell(&mut session, "x\n.\n"), "552 5.5.3 too many recipients\n");
}

#[test]
fn all_parts_together_are_limited() {
    let mut session = greeted(ServerOptions { max_message_size: 1000, ..options() });
    tell(&mut session, "XMRG FROM:<b@x.test>\nRCPT TO:<jim@x.test>\nXPRT 1\n");
    let part = format!("{}\n.\n", "x".repeat(600));
    assert_eq!(codes(&tell(&mut session, &part)), ["250"]);
    assert_eq!(codes(&tell(&mut session, "XPRT 2 LAST\n")), ["354"]);
    assert_eq!(tell(&mut session, &part), "552 5.3.4 message is too large\n");
    assert_eq!(codes(&tell(&mut session, "XPRT 3\n")), ["503"], "the message is gone");
}

#[test]
fn a_bare_line_feed_in_a_part_ends_the_session() {
    let mut session = begun();
    tell(&mut session, "XPRT 1 LAST\n");
    session.handle_bytes(super::server_tests::NOW, b"a\nb\r\n.\r\n");
    assert!(super::server_tests::said(&mut session).starts_with("550 5.5.2"));
    assert!(session.is_closed());
}

#[test]
fn with_xack_off_address_errors_may_bounce() {
    let commands =
        "XACK OFF\nXMRG FROM:<b@x.test>\nXDFN a=1\nRCPT TO:<jim>\nXDFN a=2\nRCPT TO:<eva@x.test>\n";
    let mut strict = session();
    let replies = tell(&mut strict, &format!("{commands}XPRT 1 LAST\n"));
    assert_eq!(codes(&replies), ["250", "250", "501"], "the message is dropped");

    let mut lenient = greeted(ServerOptions { accept_invalid: true, ..options() });
    let replies = tell(&mut lenient, &format!("{commands}XPRT 1 LAST\n"));
    assert_eq!(codes(&replies), ["250", "250", "354"]);
    tell(&mut lenient, "text\n.\n");
    let merge = message(&mut lenient).0.merge.expect("a merged message");
    let refused = merge.number(REFUSED_FIELD).expect("one is refused");
    let rows: Vec<_> = merge
        .rows()
        .map(|row| {
            let mut values = row.values();
            (row.address, values.next().expect("defined").1, values.find(|(number, _)| *number == refused))
        })
        .map(|(address, a, why)| (address, a, why.map(|(_, reply)| &reply[..9])))
        .collect();
    assert_eq!(rows, [("jim", "1", Some("501 5.1.3")), ("eva@x.test", "2", None)]);
    // Other errors still cancel it.
    lenient.accepted(super::server_tests::NOW, "1a");
    let replies = tell(&mut lenient, "XMRG FROM:<b@x.test>\nXDFN *to=x\nRCPT TO:<jim@x.test>\nXPRT 1 LAST\n");
    assert_eq!(codes(&replies), ["250", "250", "501"]);
}
