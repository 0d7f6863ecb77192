//! The site against the source, over loopback: what one says it sent, the other says it received.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bench::site::{
    Behaviour, DoorConfig, Fate, LedgerMode, Persona, Site, SiteConfig, SiteHandle, SiteStats, Stage, Storm,
    What,
};
use bench::source::{self, Load, SourceConfig};

fn site(behaviour: Behaviour, ledger: LedgerMode) -> SiteHandle {
    let doors = vec![DoorConfig::with("door", behaviour)];
    Site::start(SiteConfig { doors, ledger, ..SiteConfig::default() }).expect("loopback is there")
}

fn load(messages: u64) -> Load {
    Load { messages, ..Load::default() }
}

/// A peer that speaks line by line and reads the replies as they come.
struct Peer {
    out: TcpStream,
    replies: BufReader<TcpStream>,
}

impl Peer {
    fn connect(addr: SocketAddr) -> Peer {
        let out = TcpStream::connect(addr).expect("the site listens");
        out.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
        let replies = BufReader::new(out.try_clone().expect("a socket can be cloned"));
        Peer { out, replies }
    }

    fn greeted(addr: SocketAddr) -> Peer {
        let mut peer = Peer::connect(addr);
        assert!(peer.reply().starts_with("220 "));
        assert!(peer.say("EHLO peer.example").starts_with("250-"));
        peer
    }

    /// The next reply, all lines; empty when the site has closed.
    fn reply(&mut self) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            self.replies.read_line(&mut line).expect("a line or the end");
            let more = line.get(3..4) == Some("-");
            all.push_str(&line);
            if !more {
                return all;
            }
        }
    }

    fn say(&mut self, line: &str) -> String {
        self.out.write_all(format!("{line}\r\n").as_bytes()).expect("the site reads");
        self.reply()
    }

    /// One message; the reply to its final dot.
    fn message(&mut self, to: &str) -> String {
        assert!(self.say("MAIL FROM:<a@peer.example>").starts_with("250"));
        let reply = self.say(&format!("RCPT TO:<{to}>"));
        if !reply.starts_with("250") {
            self.say("RSET");
            return reply;
        }
        assert!(self.say("DATA").starts_with("354"));
        self.say("Subject: x\r\n\r\nhello\r\n.")
    }
}

/// Waits until the site's counts are as wanted; the other end's last steps are not ours to see.
fn wait_for(site: &SiteHandle, wanted: impl Fn(&SiteStats) -> bool) -> SiteStats {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let stats = site.stats();
        if wanted(&stats) {
            return stats;
        }
        assert!(Instant::now() < until, "not within ten seconds: {stats:?}");
        std::thread::yield_now();
    }
}

#[test]
fn every_message_arrives_once_and_unchanged() {
    let site = site(Persona::Fast.behaviour(), LedgerMode::Messages);
    let load = Load {
        recipients_per_message: 3,
        domains: vec!["a.example".into(), "b.example".into()],
        ..load(200)
    };
    let report = source::start(SourceConfig::new(site.addr("door"), load.clone())).expect("a thread").join();
    assert_eq!((report.acked.len(), report.in_doubt.len(), report.gave_up), (200, 0, false));

    let ledger = site.ledger();
    assert_eq!(ledger.deliveries.len(), 600);
    assert!(ledger.duplicates().is_empty());
    let hashes: HashMap<_, _> =
        ledger.deliveries.iter().map(|d| ((d.recipient.clone(), d.id.clone()), d.body_hash)).collect();
    for id in load.ids() {
        for k in 0..3 {
            let key = (load.recipient(id, k), load.ledger_id(id));
            assert_eq!(hashes.get(&key), Some(&load.body_hash(id)), "{key:?}");
        }
    }
    assert!(ledger.deliveries.iter().all(|d| d.bare_line_ends == 0 && d.acknowledged));
    let total = &site.stop().doors[0].total;
    assert_eq!((total.messages, total.recipients, total.protocol_errors), (200, 600, 0));
}

#[test]
fn without_pipelining_it_is_the_same_command_by_command() {
    let behaviour = Behaviour { keywords: vec!["8BITMIME".into()], ..Behaviour::default() };
    let site = site(behaviour, LedgerMode::Entries);
    let report = source::start(SourceConfig::new(site.addr("door"), load(50))).expect("a thread").join();
    assert_eq!((report.acked.len(), site.ledger().deliveries.len()), (50, 50));
}

#[test]
fn a_connection_too_many_is_refused_and_the_most_at_a_time_is_told() {
    let site = site(Behaviour { max_connections: Some(2), ..Behaviour::default() }, LedgerMode::Off);
    let first = Peer::greeted(site.addr("door"));
    let mut second = Peer::greeted(site.addr("door"));
    let mut third = Peer::connect(site.addr("door"));
    assert!(third.reply().starts_with("421 4.7.0"));
    assert_eq!(third.reply(), "", "and closed");
    assert!(second.say("QUIT").starts_with("221"));
    let _fourth = Peer::greeted(site.addr("door"));
    drop(first);
    let stats = wait_for(&site, |s| s.doors[0].total.connections_now == 1);
    let source = &stats.doors[0].sources[&"127.0.0.1".parse().expect("an address")];
    assert_eq!((source.connections_max, source.connections_refused, source.connections), (3, 1, 4));
}

#[test]
fn one_after_the_other_is_never_counted_as_two_at_a_time() {
    let site = site(Behaviour::default(), LedgerMode::Off);
    for _ in 0..500 {
        let mut peer = Peer::connect(site.addr("door"));
        peer.reply();
    }
    assert_eq!(site.stop().doors[0].total.connections_max, 1);
}

#[test]
fn the_rate_limit_lets_through_what_it_says_in_any_second() {
    let site = site(Behaviour { max_rate: Some(50), ..Behaviour::default() }, LedgerMode::Off);
    let mut config = SourceConfig::new(site.addr("door"), load(120));
    config.sessions = 4;
    let report = source::start(config).expect("a thread").join();
    assert_eq!(report.acked.len(), 120);
    assert!(report.deferrals > 0);
    let total = &site.stop().doors[0].total;
    assert_eq!(total.messages, 120);
    // A message whose MAIL was let in is seen through: at most one more for each other session.
    assert!((50..=53).contains(&total.messages_max_per_second), "{}", total.messages_max_per_second);
    assert!(total.mails_max_per_second > 50, "the refused ones were seen as well");
}

#[test]
fn greylisted_mail_is_taken_on_a_later_try() {
    let site = site(Behaviour { greylist_ms: Some(100), ..Behaviour::default() }, LedgerMode::Off);
    let report = source::start(SourceConfig::new(site.addr("door"), load(10))).expect("a thread").join();
    assert_eq!(report.acked.len(), 10);
    assert!(report.deferrals >= 10, "each was put off at least once: {}", report.deferrals);
    assert_eq!(site.stop().doors[0].total.recipients_deferred, report.deferrals);
}

#[test]
fn recipients_meet_their_fate() {
    let behaviour = Behaviour::default()
        .with_fate("nobody", Fate::Unknown)
        .with_fate("full", Fate::Full)
        .with_fate("spam", Fate::Spam)
        .with_fate("odd", Fate::Reply("551-5.1.6 moved\n551 5.1.6 away".into()));
    let site = site(behaviour, LedgerMode::Off);
    let mut peer = Peer::greeted(site.addr("door"));
    assert!(peer.message("nobody@x.example").starts_with("550 5.1.1 <nobody@x.example>"));
    assert!(peer.message("full@x.example").starts_with("552 5.2.2"));
    assert!(peer.message("spam@x.example").starts_with("554 5.7.1"));
    assert_eq!(peer.message("odd@x.example"), "551-5.1.6 moved\r\n551 5.1.6 away\r\n");
    assert!(peer.message("ann@x.example").starts_with("250 2.0.0"));
    let total = &site.stop().doors[0].total;
    assert_eq!((total.messages, total.messages_rejected, total.recipients_rejected), (1, 1, 3));
}

#[test]
fn after_so_many_messages_the_connection_is_closed() {
    let site = site(Behaviour { max_messages: Some(2), ..Behaviour::default() }, LedgerMode::Off);
    let mut peer = Peer::greeted(site.addr("door"));
    peer.message("a@x.example");
    peer.message("b@x.example");
    assert!(peer.say("MAIL FROM:<>").starts_with("421"));
    assert_eq!(peer.reply(), "");
}

#[test]
fn a_storm_answers_421_to_everybody() {
    let storm = Some(Storm { period_ms: 1000, length_ms: 1000 });
    let site = site(Behaviour { storm, ..Behaviour::default() }, LedgerMode::Off);
    assert!(Peer::connect(site.addr("door")).reply().starts_with("421 4.3.2"));
}

#[test]
fn silence_after_the_dot_has_taken_the_message() {
    let site = site(Behaviour::default().with_fault(Stage::Dot, What::Silence), LedgerMode::Entries);
    let mut config = SourceConfig::new(site.addr("door"), load(1));
    config.reply_timeout = Duration::from_millis(200);
    let report = source::start(config).expect("a thread").join();
    assert_eq!((report.in_doubt.as_slice(), report.acked.len()), (&[0][..], 0));
    let ledger = site.ledger();
    assert_eq!((ledger.deliveries.len(), ledger.deliveries[0].acknowledged), (1, false));
    assert_eq!(site.stop().doors[0].total.messages_unacknowledged, 1);
}

#[test]
fn a_reset_in_the_body_has_not() {
    let mut behaviour = Behaviour::default().with_fault(Stage::Body, What::Reset);
    behaviour.faults[0].times = Some(1);
    let site = site(behaviour, LedgerMode::Entries);
    let mut peer = Peer::greeted(site.addr("door"));
    for line in ["MAIL FROM:<>", "RCPT TO:<a@x.example>", "DATA"] {
        peer.say(line);
    }
    peer.out.write_all(b"Subject: half\r\n").expect("still open");
    let error = peer.replies.read(&mut [0; 16]).expect_err("the connection is reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(site.ledger().deliveries.is_empty());
    assert!(Peer::greeted(site.addr("door")).message("a@x.example").starts_with("250"), "only once");
}

#[test]
fn a_greeting_that_never_comes_and_one_that_drips() {
    let hung = site(Behaviour::default().with_fault(Stage::Greeting, What::Silence), LedgerMode::Off);
    let mut peer = Peer::connect(hung.addr("door"));
    peer.out.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
    assert!(peer.replies.read(&mut [0; 16]).is_err());

    let behaviour = Behaviour { host: "mx".into(), ..Behaviour::default() };
    let tarpit = site(behaviour.with_fault(Stage::Greeting, What::Tarpit(5)), LedgerMode::Off);
    let begun = Instant::now();
    assert_eq!(Peer::connect(tarpit.addr("door")).reply(), "220 mx ESMTP\r\n");
    assert!(begun.elapsed() >= Duration::from_millis(14 * 5));
}

#[test]
fn every_reply_waits_where_the_site_is_slow() {
    let site = site(Behaviour { delay_ms: 20, ..Behaviour::default() }, LedgerMode::Off);
    let begun = Instant::now();
    Peer::greeted(site.addr("door")).message("a@x.example");
    // Greeting, EHLO, MAIL, RCPT, DATA, final dot.
    assert!(begun.elapsed() >= Duration::from_millis(5 * 20), "{:?}", begun.elapsed());
}

#[test]
fn chunks_are_taken_where_chunking_is_offered() {
    let site = site(Behaviour::default(), LedgerMode::Messages);
    let mut peer = Peer::greeted(site.addr("door"));
    peer.say("MAIL FROM:<>");
    peer.say("RCPT TO:<a@x.example>");
    // The end mark of DATA means nothing in a chunk, nor does the command line that follows it.
    assert!(peer.say("BDAT 14\r\nSubject: x\r\n").starts_with("250"));
    assert!(peer.say("BDAT 14 LAST\r\na\r\n.\r\nQUIT\r\n").starts_with("250"));
    let ledger = site.ledger();
    assert_eq!(
        ledger.deliveries[0].message.as_deref(),
        Some(&b"Subject: x\r\n\r\na\r\n.\r\nQUIT\r\n\r\n"[..])
    );
}

#[test]
fn a_site_without_ehlo_takes_helo() {
    let site = site(Behaviour { no_ehlo: true, ..Behaviour::default() }, LedgerMode::Off);
    let mut peer = Peer::connect(site.addr("door"));
    peer.reply();
    assert!(peer.say("EHLO peer.example").starts_with("502"));
    assert!(peer.say("HELO peer.example").starts_with("250 "));
    assert!(peer.message("a@x.example").starts_with("250"));
}

#[test]
fn recipients_over_the_size_or_number_offered_are_refused() {
    let keywords = vec!["SIZE 1000".into()];
    let site = site(Behaviour { keywords, max_recipients: Some(1), ..Behaviour::default() }, LedgerMode::Off);
    let mut peer = Peer::greeted(site.addr("door"));
    assert!(peer.say("MAIL FROM:<> SIZE=1001").starts_with("552 5.3.4"));
    assert!(peer.say("MAIL FROM:<> SIZE=10").starts_with("250"));
    assert!(peer.say("RCPT TO:<a@x.example>").starts_with("250"));
    assert!(peer.say("RCPT TO:<b@x.example>").starts_with("452 4.5.3"));
    assert!(peer.say("DATA").starts_with("354"));
    assert!(peer.say(&format!("{}\r\n.", "x".repeat(1200))).starts_with("552"));
}
