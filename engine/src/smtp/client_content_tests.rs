//! Long content, which goes out piece by piece as the peer takes it.

use super::client::*;
use super::client_tests::*;

/// More than a piece is never written ahead; dot-stuffing and commands come on top.
const MOST: usize = 80 * 1024;

/// A session with the content of message 1 asked for.
fn asked(keywords: &str, chunks: bool) -> Talk {
    let mut talk = Talk::open(keywords, |options| options.prefer_chunking = chunks);
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 250 b");
    if !chunks {
        talk.says("S: 354 go");
    }
    assert!(talk.events().contains(&Event::NeedBody { token: 1 }));
    talk
}

/// Gives the content of message 1 as often as it is wanted; what was written, and in how many pieces.
fn given(talk: &mut Talk, content: &str) -> (String, usize) {
    talk.body(content);
    let (mut wire, mut pieces) = (String::new(), 0);
    loop {
        assert!(talk.client.output().len() <= MOST, "{} bytes", talk.client.output().len());
        assert_eq!(talk.client.wants_content(), None, "there is something to take");
        wire += &talk.written();
        pieces += 1;
        if talk.client.wants_content() != Some(1) {
            assert_eq!(talk.client.unwritten(), None);
            return (wire, pieces);
        }
        talk.body(content);
    }
}

fn long() -> String {
    "0123456789 and so on\r\n.a dot to be doubled\r\n\r\n".repeat(10_000)
}

#[test]
fn data_goes_out_in_pieces() {
    let mut talk = asked("PIPELINING", false);
    let (wire, pieces) = given(&mut talk, &long());
    assert_eq!(wire, long().replace("\r\n.", "\r\n..") + ".\r\n");
    assert!(pieces >= long().len() / MOST, "{pieces} pieces");
    talk.says("S: 250 ok");
    assert_eq!(talk.events(), [finished(1, Stage::Final, 250, "ok"), Event::WantTransaction]);
}

#[test]
fn a_chunk_goes_out_in_pieces() {
    let mut talk = asked("PIPELINING CHUNKING", true);
    let (wire, pieces) = given(&mut talk, &long());
    assert_eq!(wire, format!("BDAT {} LAST\r\n{}", long().len(), long()));
    assert!(pieces >= long().len() / MOST, "{pieces} pieces");
    talk.says("S: 250 ok");
    assert_eq!(talk.events(), [finished(1, Stage::Final, 250, "ok"), Event::WantTransaction]);
}

#[test]
fn a_chunk_whose_line_ends_have_to_be_made_right_is_as_long_as_it_says() {
    let mut talk = asked("PIPELINING CHUNKING", true);
    let content = "0123456789\n".repeat(20_000);
    talk.body(&content);
    assert_eq!(talk.client.unwritten(), None);
    let clean = content.replace('\n', "\r\n");
    assert_eq!(talk.written(), format!("BDAT {} LAST\r\n{clean}", clean.len()));
}

#[test]
fn short_content_goes_out_with_the_next_commands_in_one_piece() {
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.warm_up();
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 250 b\nS: 354 go");
    talk.start(2, &["y"]);
    assert_eq!(given(&mut talk, "short\r\n").1, 1);
}

#[test]
fn the_next_commands_wait_for_the_end() {
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.warm_up();
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 250 b\nS: 354 go");
    talk.start(2, &["y"]);
    let (wire, _) = given(&mut talk, &long());
    let next = "MAIL FROM:<a@a.example> SIZE=100\r\nRCPT TO:<y@b.example>\r\nDATA\r\n";
    assert_eq!(wire, long().replace("\r\n.", "\r\n..") + ".\r\n" + next);
    talk.says("S: 250 ok\nS: 250 a\nS: 250 b\nS: 354 go");
    talk.events();
    talk.body("second\r\n");
    talk.says("C: second\nC: .\nS: 250 ok");
    assert!(talk.events().contains(&finished(2, Stage::Final, 250, "ok")));
}

/// A session in the middle of content: all that was written has been sent, and there is more.
fn in_the_middle() -> Talk {
    let mut talk = asked("PIPELINING", false);
    talk.body(&long());
    talk.written();
    assert_eq!(talk.client.wants_content(), Some(1));
    talk
}

#[test]
fn nothing_is_in_doubt_before_the_last_piece() {
    let mut talk = in_the_middle();
    talk.client.handle_closed(talk.now, "reset");
    assert_eq!(talk.closed(), [broken(1, Stage::Content, lost()), failed(Stage::Content, lost())]);
    assert_eq!(talk.client.wants_content(), None);

    let mut talk = asked("PIPELINING", false);
    given(&mut talk, &long());
    talk.client.handle_closed(talk.now, "reset");
    let in_doubt = Event::Finished { token: 1, end: End::InDoubt(lost()) };
    assert_eq!(talk.closed(), [in_doubt, failed(Stage::Final, lost())]);
}

#[test]
fn a_refusal_between_two_pieces_is_the_message_s() {
    let mut talk = in_the_middle();
    talk.says("S: 552 5.3.4 too big");
    let events = talk.closed();
    assert_eq!(events[0], finished(1, Stage::Content, 552, "5.3.4 too big"));
    // It says nothing against pipelining.
    assert!(!events.iter().any(|e| matches!(e, Event::Retreat(_))), "{events:?}");

    let mut talk = in_the_middle();
    talk.says("S: 421 4.3.2 closing");
    assert_eq!(talk.closed()[0], finished(1, Stage::Content, 421, "4.3.2 closing"));

    // 250 before the end is believed as little as ever.
    let mut talk = in_the_middle();
    talk.says("S: 250 already");
    let early = Failure::Protocol(ProtocolError::Early(250));
    assert!(talk.closed().contains(&broken(1, Stage::Content, early)));
}

#[test]
fn a_peer_that_stops_taking_is_given_up() {
    let mut talk = in_the_middle();
    talk.body(&long());
    talk.pass(179);
    assert_eq!(talk.events(), []);
    talk.pass(1);
    assert_eq!(
        talk.closed(),
        [broken(1, Stage::Content, Failure::Blocked), failed(Stage::Content, Failure::Blocked)]
    );
}

#[test]
fn a_reply_before_the_end_of_short_content() {
    // Content written, but none of it sent.
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 250 b\nS: 354 go");
    talk.body("x\r\n");
    talk.says("S: 250 already");
    let early = Failure::Protocol(ProtocolError::Early(250));
    assert!(talk.closed().contains(&broken(1, Stage::Content, early)));

    // Refused in the middle of the content: the message's own refusal, and the end of the connection.
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.says("S: 250 a\nS: 250 b\nS: 354 go");
    talk.body(&"x\r\n".repeat(1000));
    talk.client.output().drain(..500);
    talk.client.sent(talk.now, 500);
    talk.says("S: 552 5.3.4 too big");
    let early = Failure::Protocol(ProtocolError::Early(552));
    let events = talk.closed();
    assert_eq!(events[1], finished(1, Stage::Content, 552, "5.3.4 too big"));
    assert_eq!(events.last(), Some(&failed(Stage::Content, early)));
}
