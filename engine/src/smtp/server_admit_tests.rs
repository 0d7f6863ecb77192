//! Conversations about who is taken as a recipient.

use super::server::*;
use super::server_tests::{codes, greeted, open_relay, play, tell};
use crate::mail::suppression::Suppression;
use std::sync::atomic::Ordering;

fn suppressing() -> ServerOptions {
    let lists = Suppression::new(|address| (address.local() == "gone").then(|| "a1".into()));
    ServerOptions { suppression: Some(lists), ..open_relay() }
}

#[test]
fn who_is_in_a_suppression_list_is_refused_and_the_rest_is_not() {
    let mut session = greeted(suppressing());
    play(
        &mut session,
        "C: MAIL FROM:<a@a.test>
         S: 250 2.1.0 MAIL ok
         C: RCPT TO:<gone@b.test>
         S: 550 5.7.1 recipient is in suppression list \"a1\"
         C: RCPT TO:<here@b.test>
         S: 250 2.1.5 <here@b.test> ok
         C: DATA
         S: 354 send message, end with a line of a single dot",
    );
    tell(&mut session, "text\n.\n");
    let Some(ServerEvent::Message(envelope, _)) = session.poll_event() else { panic!("no message") };
    assert_eq!(envelope.recipients, ["here@b.test"]);
}

#[test]
fn a_campaign_with_many_of_them_is_not_cut_off() {
    let mut session = greeted(ServerOptions { max_errors: 3, ..suppressing() });
    let many = "RCPT TO:<gone@b.test>\n".repeat(50);
    let replies = tell(&mut session, &format!("MAIL FROM:<a@a.test>\n{many}RCPT TO:<here@b.test>\n"));
    assert!(codes(&replies)[1..51].iter().all(|code| *code == "550"));
    assert_eq!(codes(&replies)[51], "250");
}

#[test]
fn strangers_are_told_nothing_of_the_lists() {
    let mut session = greeted(ServerOptions { relay: ServerOptions::new("mx").relay, ..suppressing() });
    let replies = tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<gone@b.test>\n");
    assert!(replies.ends_with("550 5.7.1 relaying denied\n"), "{replies}");
}

fn lenient() -> ServerOptions {
    ServerOptions { accept_invalid: true, ..suppressing() }
}

#[test]
fn who_cannot_be_sent_to_is_taken_in_and_bounces() {
    let mut session = greeted(ServerOptions { max_errors: 1, ..lenient() });
    play(
        &mut session,
        "C: MAIL FROM:<a@a.test>
         S: 250 2.1.0 MAIL ok
         C: RCPT TO:<gone@b.test> NOTIFY=NEVER
         S: 250 2.1.5 <gone@b.test> ok, and will bounce
         C: RCPT TO:<here@b.test>
         S: 250 2.1.5 <here@b.test> ok
         C: RCPT TO:<two words@b.test> ORCPT=rfc822;x@y.test
         S: 250 2.1.5 <two words@b.test> ok, and will bounce
         C: RCPT TO:<jürgen@b.test>
         S: 250 2.1.5 <j?rgen@b.test> ok, and will bounce
         C: DATA
         S: 354 send message, end with a line of a single dot",
    );
    tell(&mut session, "text\n.\n");
    let Some(ServerEvent::Message(envelope, _)) = session.poll_event() else { panic!("no message") };
    assert_eq!(envelope.recipients, ["here@b.test"]);
    assert!(envelope.dsn.is_empty(), "what others asked for is theirs");
    let told: Vec<_> = envelope
        .refused
        .iter()
        .map(|to| (to.address.as_str(), to.reply.as_str(), to.dsn.notify.to_string(), &*to.dsn.orcpt))
        .collect();
    let suppressed = "550 5.7.1 recipient is in suppression list \"a1\": <gone@b.test>";
    let malformed = "501 5.1.3 recipient address: a space at position 3 is not allowed before the @ unless the whole \
                     local part is quoted";
    let beyond = "553 5.6.7 recipient address needs SMTPUTF8";
    assert_eq!(
        told,
        [
            ("gone@b.test", suppressed, "NEVER".to_owned(), ""),
            ("two words@b.test", malformed, String::new(), "rfc822;x@y.test"),
            ("j?rgen@b.test", beyond, String::new(), ""),
        ]
    );
}

#[test]
fn a_message_for_them_alone_is_a_message() {
    for end in ["DATA\ntext\n.\n", "BDAT 0 LAST\n"] {
        let mut session = greeted(lenient());
        tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<gone@b.test>\n");
        end.split_inclusive("DATA\n").for_each(|piece| drop(tell(&mut session, piece)));
        let Some(ServerEvent::Message(envelope, _)) = session.poll_event() else { panic!("{end}") };
        assert_eq!((envelope.recipients.len(), envelope.refused.len()), (0, 1));
    }
}

#[test]
fn they_count_as_recipients_and_what_names_nobody_is_refused() {
    let mut session = greeted(ServerOptions { max_recipients: 2, ..lenient() });
    let replies = tell(
        &mut session,
        "MAIL FROM:<a@a.test>\nRCPT TO:<>\nRCPT TO:jim\nRCPT TO:<a@b.test> X=1\nRCPT TO:<jim>\nRCPT TO:<gone@b.test>\n\
         RCPT TO:<here@b.test>\n",
    );
    assert_eq!(codes(&replies), ["250", "501", "501", "555", "250", "250", "452"]);
}

/// Anybody could have reports sent to whomever he names as the sender.
#[test]
fn who_may_not_relay_is_refused_all_the_same() {
    let ours = Relay::Closed { to: RelayTo::new(|_, domain| domain == "b.test") };
    let mut session = greeted(ServerOptions { relay: ours, ..lenient() });
    let replies = tell(
        &mut session,
        "MAIL FROM:<a@a.test>\nRCPT TO:<gone@b.test>\nRCPT TO:<jim>\nRCPT TO:<x@c.test>\nRCPT TO:<here@b.test>\n",
    );
    assert_eq!(codes(&replies), ["250", "550", "501", "550", "250"]);
}

#[test]
fn strangers_reach_the_addresses_that_are_named() {
    let ours = RelayTo::new(|local, domain| (local, domain) == ("Desk", "b.test"));
    for (debug, denied) in [(false, "550 5.7.1 relaying denied"), (true, "450 4.7.1 relaying denied")] {
        let relay = Relay::Closed { to: ours.clone() };
        let mut session = greeted(ServerOptions { relay, relay_debug: debug, ..open_relay() });
        tell(&mut session, "MAIL FROM:<a@a.test>\n");
        assert_eq!(tell(&mut session, "RCPT TO:<Desk@B.test>\n"), "250 2.1.5 <Desk@B.test> ok\n");
        assert_eq!(tell(&mut session, "RCPT TO:<other@b.test>\n"), format!("{denied}\n"));
    }
}

#[test]
fn mail_is_put_off_at_once_while_memory_is_short() {
    let options = open_relay();
    let exhausted = options.exhausted.clone();
    let mut session = greeted(ServerOptions { max_errors: 1, ..options });
    exhausted.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let said = tell(&mut session, "MAIL FROM:<a@a.test>\n");
        assert_eq!(said, "452 4.3.2 Server resources temporarily exhausted\n");
    }
    assert_eq!(codes(&tell(&mut session, "RCPT TO:<b@b.test>\n"))[0], "503");
    let options = ServerOptions { close_on_transient: true, exhausted: exhausted.clone(), ..open_relay() };
    let mut hasty = greeted(options);
    assert_eq!(tell(&mut hasty, "MAIL FROM:<a@a.test>\n"), "");
    assert!(hasty.is_closed());
    exhausted.store(false, Ordering::Relaxed);
    let mut session = greeted(ServerOptions { exhausted, ..open_relay() });
    assert_eq!(codes(&tell(&mut session, "MAIL FROM:<a@a.test>\n")), ["250"]);
}
