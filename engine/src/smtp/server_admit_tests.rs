//! Conversations about who is taken as a recipient.

use super::server::*;
use super::server_tests::{codes, greeted, open_relay, play, tell};
use crate::mail::suppression::Suppression;

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
