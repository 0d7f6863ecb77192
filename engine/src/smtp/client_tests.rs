//! Conversations with the client: the harness, and the ordinary ones. Those with faulty servers are in
//! `client_fault_tests`.

use super::client::*;
use super::reply::Reply;
use crate::base::{Now, Time, Wall};
use smallvec::SmallVec;
use std::time::Duration;

/// A client and its clock, spoken to in `C:` and `S:` lines.
pub(super) struct Talk {
    pub client: Client,
    pub now: Now,
}

const OPEN: &str =
    "S: 220 mx ready\nC: EHLO me.example\nS: 250-mx hello\nS: 250-SIZE 1000000\nS: 250-8BITMIME";

impl Talk {
    pub fn new(change: impl FnOnce(&mut ClientOptions)) -> Talk {
        let mut options = ClientOptions::new("me.example");
        change(&mut options);
        let now = Now { mono: Time::from_millis(1000), wall: Wall::from_secs(1_790_000_000) };
        Talk { client: Client::new(options, now), now }
    }

    /// A session with the given further keywords, ready for mail.
    pub fn open(keywords: &str, change: impl FnOnce(&mut ClientOptions)) -> Talk {
        let mut talk = Talk::new(change);
        talk.says(OPEN);
        for keyword in keywords.split_whitespace() {
            talk.says(&format!("S: 250-{keyword}"));
        }
        talk.says("S: 250 HELP");
        let events = talk.events();
        assert!(matches!(events[..], [Event::Ready { .. }, Event::WantTransaction]), "{events:?}");
        talk
    }

    /// Plays a script. Lines with `C:` are all the client writes at that point.
    pub fn says(&mut self, script: &str) {
        let mut lines = script.lines().map(str::trim_start).peekable();
        while let Some(line) = lines.next() {
            if let Some(text) = line.strip_prefix("S: ") {
                let mut bytes = format!("{text}\r\n");
                // Replies in a row arrive together.
                while let Some(text) = lines.next_if(|l| l.starts_with("S: ")) {
                    bytes += &format!("{}\r\n", &text[3..]);
                }
                self.client.handle_bytes(self.now, bytes.as_bytes());
            } else if let Some(text) = line.strip_prefix("C: ") {
                let mut expected = format!("{text}\r\n");
                while let Some(text) = lines.next_if(|l| l.starts_with("C: ")) {
                    expected += &format!("{}\r\n", &text[3..]);
                }
                assert_eq!(self.written(), expected);
            } else {
                panic!("not a line of a script: {line}");
            }
        }
    }

    /// What the client wants on the wire, sent.
    pub fn written(&mut self) -> String {
        let bytes = std::mem::take(self.client.output());
        self.client.sent(self.now, bytes.len());
        String::from_utf8(bytes).unwrap()
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// Starts a transaction to recipients at `b.example`.
    pub fn start(&mut self, token: u64, recipients: &[&str]) {
        self.client.start(self.now, mail(token, recipients));
    }

    pub fn body(&mut self, text: &str) {
        self.client.body(self.now, text.as_bytes());
    }

    pub fn pass(&mut self, seconds: u64) {
        self.now.mono = self.now.mono + Duration::from_secs(seconds);
        self.client.handle_timeout(self.now);
    }

    /// One message through an open pipelining session, so that the connection counts as clean.
    pub fn warm_up(&mut self) {
        self.start(0, &["w"]);
        self.says("C: MAIL FROM:<a@a.example> SIZE=100\nC: RCPT TO:<w@b.example>\nC: DATA\nS: 250 a\nS: 250 b\nS: 354 go");
        self.body("w\r\n");
        self.says("C: w\nC: .\nS: 250 ok");
        let events = self.events();
        assert!(matches!(
            events[..],
            [Event::NeedBody { token: 0 }, Event::Finished { .. }, Event::WantTransaction]
        ));
    }

    /// Asserts that the connection closed, and returns what was said about it.
    pub fn closed(&mut self) -> Vec<Event> {
        let mut events = self.events();
        assert_eq!(events.pop(), Some(Event::Closed), "{events:?}");
        assert!(self.client.is_closed() && self.client.next_timeout().is_none());
        events
    }
}

pub(super) fn mail(token: u64, recipients: &[&str]) -> Transaction {
    Transaction {
        token,
        sender: "a@a.example".into(),
        recipients: recipients.iter().map(|r| format!("{r}@b.example")).collect(),
        size: 100,
        ..Transaction::default()
    }
}

pub(super) fn finished(token: u64, stage: Stage, code: u16, text: &str) -> Event {
    Event::Finished { token, end: End::Replied { stage, reply: Reply::new(code, &[text]) } }
}

pub(super) fn refused(token: u64, index: u16, code: u16, text: &str) -> Event {
    Event::Recipient { token, index, fate: RecipientFate::Refused(Reply::new(code, &[text])) }
}

pub(super) fn failed(stage: Stage, failure: Failure) -> Event {
    Event::Failed { stage, failure, retry_in_clear: false }
}

pub(super) fn broken(token: u64, stage: Stage, failure: Failure) -> Event {
    Event::Finished { token, end: End::Broken { stage, failure } }
}

pub(super) fn said(code: u16, text: &str) -> Failure {
    Failure::Reply(Reply::new(code, &[text]))
}

pub(super) fn lost() -> Failure {
    Failure::Lost("reset".into())
}

#[test]
fn one_at_a_time() {
    let mut talk = Talk::open("", |_| {});
    talk.start(7, &["x", "y"]);
    talk.says(
        "C: MAIL FROM:<a@a.example> SIZE=100
         S: 250 2.1.0 ok
         C: RCPT TO:<x@b.example>
         S: 250 2.1.5 ok
         C: RCPT TO:<y@b.example>
         S: 251 forwarded
         C: DATA
         S: 354 go",
    );
    assert_eq!(talk.events(), [Event::NeedBody { token: 7 }]);
    talk.body("Subject: x\r\n\r\n.dot\r\n");
    talk.says("C: Subject: x\nC: \nC: ..dot\nC: .\nS: 250 2.0.0 queued");
    assert_eq!(talk.events(), [finished(7, Stage::Final, 250, "2.0.0 queued"), Event::WantTransaction]);
    talk.client.quit(talk.now);
    talk.says("C: QUIT\nS: 221 bye");
    assert_eq!(talk.events(), [Event::Closed]);
}

#[test]
fn pipelined_and_then_across_the_dot() {
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.warm_up();
    talk.start(1, &["x"]);
    talk.says("C: MAIL FROM:<a@a.example> SIZE=100\nC: RCPT TO:<x@b.example>\nC: DATA\nS: 250 a\nS: 250 b\nS: 354 go");
    // After a clean transaction the next one is asked for before the content.
    assert_eq!(talk.events(), [Event::WantTransaction, Event::NeedBody { token: 1 }]);
    talk.start(2, &["y"]);
    assert_eq!(talk.written(), "");
    talk.body("one\r\n");
    talk.says("C: one\nC: .\nC: MAIL FROM:<a@a.example> SIZE=100\nC: RCPT TO:<y@b.example>\nC: DATA");
    talk.says("S: 250 one\nS: 250 a\nS: 250 b\nS: 354 go");
    assert_eq!(
        talk.events(),
        [finished(1, Stage::Final, 250, "one"), Event::WantTransaction, Event::NeedBody { token: 2 }]
    );
    // Nothing ahead now; the next transaction may still follow while the reply is awaited.
    talk.body("two\r\n");
    talk.says("C: two\nC: .");
    assert!(talk.client.wants_transaction());
    talk.start(3, &["z"]);
    talk.says("C: MAIL FROM:<a@a.example> SIZE=100\nC: RCPT TO:<z@b.example>\nC: DATA\nS: 250 two");
    assert_eq!(talk.events(), [finished(2, Stage::Final, 250, "two")]);
}

#[test]
fn chunking_sends_content_as_it_is() {
    let mut talk = Talk::open("PIPELINING CHUNKING", |o| o.prefer_chunking = true);
    talk.start(1, &["x"]);
    talk.says("C: MAIL FROM:<a@a.example> SIZE=100\nC: RCPT TO:<x@b.example>\nS: 250 a\nS: 250 b");
    assert_eq!(talk.events(), [Event::NeedBody { token: 1 }]);
    talk.body(".one\r\n");
    talk.says("C: BDAT 6 LAST\nC: .one\nS: 250 ok");
    assert_eq!(talk.events(), [finished(1, Stage::Final, 250, "ok"), Event::WantTransaction]);
    talk.start(2, &["x"]);
    talk.says("C: MAIL FROM:<a@a.example> SIZE=100\nC: RCPT TO:<x@b.example>\nS: 250 a\nS: 250 b");
    assert_eq!(talk.events(), [Event::WantTransaction, Event::NeedBody { token: 2 }]);
    talk.start(3, &["y"]);
    talk.body("bare\nlf");
    talk.says("C: BDAT 8 LAST\nC: bare\nC: lfMAIL FROM:<a@a.example> SIZE=100\nC: RCPT TO:<y@b.example>");
    talk.says("S: 250 ok\nS: 250 a\nS: 250 b");
    talk.events();
    // A failed chunk is followed by RSET (RFC 3030 2).
    talk.body("x\r\n");
    talk.says("C: BDAT 3 LAST\nC: x\nS: 554 no");
    talk.start(4, &["y"]);
    talk.says("C: RSET\nC: MAIL FROM:<a@a.example> SIZE=100\nC: RCPT TO:<y@b.example>");
}

#[test]
fn across_the_dot_retreats() {
    let ahead = || {
        let mut talk = Talk::open("PIPELINING", |_| {});
        talk.warm_up();
        talk.start(1, &["x"]);
        talk.written();
        talk.says("S: 250 a\nS: 250 b\nS: 354 go");
        talk.start(2, &["y"]);
        talk.body("one\r\n");
        talk.written();
        talk.events();
        talk
    };
    let untried = Event::Finished { token: 2, end: End::Untried };
    let retreat = Event::Retreat(Retreat::AcrossData);

    // The server forgot what came behind the dot, and is out of sequence.
    let mut talk = ahead();
    talk.says("S: 250 one\nS: 503 sequence\nS: 503 sequence\nS: 503 sequence");
    assert_eq!(
        talk.events(),
        [finished(1, Stage::Final, 250, "one"), retreat.clone(), untried.clone(), Event::WantTransaction]
    );
    talk.start(3, &["x"]);
    talk.says("C: RSET\nC: MAIL FROM:<a@a.example> SIZE=100\nC: RCPT TO:<x@b.example>\nC: DATA");
    talk.says("S: 250 r\nS: 250 a\nS: 250 b\nS: 354 go");
    assert_eq!(talk.events(), [Event::NeedBody { token: 3 }]);

    // It closes behind the reply to the dot.
    let mut talk = ahead();
    talk.says("S: 250 one");
    talk.client.handle_closed(talk.now, "reset");
    assert_eq!(
        talk.closed(),
        [
            finished(1, Stage::Final, 250, "one"),
            retreat.clone(),
            untried.clone(),
            failed(Stage::Mail, lost())
        ]
    );

    // It closes without the reply: the first is in doubt, the second was never begun.
    let mut talk = ahead();
    talk.client.handle_closed(talk.now, "reset");
    let in_doubt = Event::Finished { token: 1, end: End::InDoubt(lost()) };
    assert_eq!(talk.closed(), [retreat, in_doubt, untried, failed(Stage::Final, lost())]);
}

#[test]
fn idle_connection_closed_under_a_new_transaction() {
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.warm_up();
    talk.start(1, &["x"]);
    talk.client.handle_closed(talk.now, "reset");
    let untried = Event::Finished { token: 1, end: End::Untried };
    assert_eq!(talk.closed(), [untried, failed(Stage::Mail, lost())]);
}

#[test]
fn parameters() {
    let mut talk = Talk::open("SMTPUTF8 DSN", |_| {});
    let dsn = Dsn {
        ret: "HDRS".into(),
        envid: "e+2B1".into(),
        recipients: vec![("NEVER".into(), "rfc822;x@b.example".into())],
    };
    let recipients: SmallVec<[String; 1]> = SmallVec::from_iter(["jürgen@b.example".to_owned()]);
    let transaction =
        Transaction { recipients, eight_bit: true, smtputf8: true, dsn: Some(Box::new(dsn)), ..mail(1, &[]) };
    talk.client.start(talk.now, transaction);
    talk.says(
        "C: MAIL FROM:<a@a.example> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=e+2B1
         S: 250 a
         C: RCPT TO:<jürgen@b.example> NOTIFY=NEVER ORCPT=rfc822;x@b.example
         S: 250 b
         C: DATA
         S: 354 go",
    );
}

#[test]
fn quit_waits_for_the_transaction() {
    let mut talk = Talk::open("PIPELINING", |_| {});
    talk.start(1, &["x"]);
    talk.written();
    talk.client.quit(talk.now);
    talk.says("S: 250 a\nS: 250 b\nS: 354 go");
    talk.body("x\r\n");
    talk.says("C: x\nC: .\nS: 250 ok\nC: QUIT");
    talk.events();
    talk.pass(5);
    assert_eq!(talk.closed(), []);
}

#[test]
fn idle_connection_is_given_up() {
    let mut talk = Talk::open("", |o| o.timeouts.idle = Duration::from_secs(30));
    talk.pass(30);
    talk.says("C: QUIT\nS: 221 bye");
    assert_eq!(talk.closed(), []);
}

#[test]
fn transaction_out_of_turn_is_handed_back() {
    let mut talk = Talk::new(|_| {});
    talk.start(1, &["x"]);
    assert_eq!(talk.events(), [Event::Finished { token: 1, end: End::Untried }]);
}
