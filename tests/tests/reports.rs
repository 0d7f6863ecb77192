//! Delivery reports (RFC 3461) as senders get them: of failures, of delays, of hand-overs to hosts that send none, asked for
//! over SMTP and in pickup files, and not asked for.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bench::ground::Ground;
use bench::site::{Behaviour, DoorConfig, Fate, LedgerMode, Site, SiteConfig, SiteHandle};
use bench::wait::until;
use mail_parser::{MessageParser, MimeHeaders};

const PATIENCE: Duration = Duration::from_secs(30);

/// `site` bounces those whose names begin with `no`, `modern` sends reports itself, `home` is where senders read their mail.
fn site() -> SiteHandle {
    let mut modern = Behaviour::default();
    modern.keywords.push("DSN".to_owned());
    let doors = vec![
        DoorConfig::with("site", Behaviour::default().with_fate("no", Fate::Unknown)),
        DoorConfig::with("modern", modern),
        DoorConfig::with("home", Behaviour::default()),
    ];
    Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() })
        .expect("loopback")
}

fn ground(site: &SiteHandle) -> Ground {
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "");
    ground.route("modern.example", site.addr("modern"), "");
    ground.route("home.example", site.addr("home"), "");
    ground.add("<source 127.0.0.0/8>\n  suppress-local-dsn no\n</source>");
    ground.add("<source {pickup}>\n  suppress-local-dsn no\n</source>");
    ground
}

/// Sends one message with these commands in front of it.
fn send(to: SocketAddr, commands: &[&str], message: &str) {
    let mut socket = TcpStream::connect(to).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut replies = BufReader::new(socket.try_clone().expect("a second handle"));
    let mut reply = move |to: &str| {
        let mut line = String::new();
        while line.get(3..4) != Some(" ") {
            line.clear();
            replies.read_line(&mut line).expect(to);
        }
        assert!(line.starts_with(['2', '3']), "{to}: {line}");
    };
    reply("greeting");
    for command in ["EHLO app.example"].iter().chain(commands).chain(&["DATA"]) {
        socket.write_all(format!("{command}\r\n").as_bytes()).expect("sent");
        reply(command);
    }
    socket.write_all(format!("{message}\r\n.\r\n").as_bytes()).expect("sent");
    reply("the message");
}

/// The reports that `sender` got: their status parts, once there are `count`, and what they give back.
fn reports(site: &SiteHandle, sender: &str, count: usize) -> Vec<(String, String)> {
    let taken = || {
        let all = site.ledger().deliveries;
        let to_sender: Vec<_> = all.into_iter().filter(|d| d.recipient == sender).collect();
        (to_sender.len() >= count).then_some(to_sender)
    };
    let taken = until(PATIENCE, taken).unwrap_or_else(|_| panic!("{sender} is told {count} times"));
    assert_eq!(taken.len(), count);
    taken
        .iter()
        .map(|delivery| {
            assert_eq!(delivery.sender, "", "nobody is told of a report");
            let message = MessageParser::default()
                .parse(delivery.message.as_deref().expect("kept"))
                .expect("a message");
            assert_eq!(message.header("Auto-Submitted").and_then(|v| v.as_text()), Some("auto-replied"));
            assert!(message.parts[2].is_content_type("message", "delivery-status"), "{message:?}");
            let part = |n: usize| String::from_utf8_lossy(message.parts[n].contents()).into_owned();
            (part(2), part(3))
        })
        .collect()
}

const MESSAGE: &str = "Subject: hello\r\nX-Ledger-Id: m\r\n\r\nbody";

/// Nobody has to ask for it; the recipient is named as he was first, and so are the lines of accounting.
#[test]
fn a_failure() {
    let site = site();
    let ground = ground(&site);
    let engine = ground.start().expect("the engine starts");
    let commands =
        ["MAIL FROM:<a@home.example> ENVID=id+201", "RCPT TO:<no@site.example> ORCPT=rfc822;old@x.example"];
    send(ground.listen, &commands, MESSAGE);
    let told = reports(&site, "a@home.example", 1);
    let (status, returned) = &told[0];
    for part in [
        "Original-Envelope-Id: id 1",
        "Reporting-MTA: dns;mail.sender.example",
        "Received-From-MTA: dns;app.example (127.0.0.1)",
        "Original-Recipient: rfc822;old@x.example",
        "Final-Recipient: rfc822;no@site.example",
        "Action: failed",
        "Status: 5.1.1 (bad destination mailbox address)",
        "Diagnostic-Code: smtp;550 5.1.1",
        "X-PowerMTA-BounceCategory: bad-mailbox",
    ] {
        assert!(status.contains(part), "{part}: {status}");
    }
    assert!(returned.contains("Subject: hello") && !returned.contains("body"), "{returned}");

    let file = "MAIL FROM:<f@home.example>\nRCPT TO:<no@site.example> ORCPT=rfc822;g@x.example\nDATA\n\
                From: f@home.example\nSubject: p\n\nx\n.\n";
    ground.pick_up("p", file.as_bytes()).expect("picked up");
    let told = reports(&site, "f@home.example", 1);
    assert!(told[0].0.contains("Original-Recipient: rfc822;g@x.example") && told[0].1.contains("Subject: p"));
    engine.stop().expect("ends");
    let lines = tests::accounting::read(&ground.path("acct")).expect("accounting");
    let originals: Vec<&str> = lines.iter().map(|line| line["orcpt"].as_str()).collect();
    assert!(
        originals.contains(&"rfc822;old@x.example") && originals.contains(&"rfc822;g@x.example"),
        "{originals:?}"
    );
}

#[test]
fn every_recipient_has_the_reports_that_were_asked_for() {
    let site = site();
    let ground = ground(&site);
    let engine = ground.start().expect("the engine starts");
    let commands = [
        "MAIL FROM:<b@home.example> RET=FULL",
        "RCPT TO:<no1@site.example> NOTIFY=FAILURE",
        "RCPT TO:<no2@site.example> NOTIFY=NEVER",
        "RCPT TO:<no3@site.example>",
        "RCPT TO:<well1@site.example> NOTIFY=SUCCESS,FAILURE",
        "RCPT TO:<well2@site.example>",
        "RCPT TO:<well3@modern.example> NOTIFY=SUCCESS",
    ];
    send(ground.listen, &commands, MESSAGE);
    send(ground.listen, &["MAIL FROM:<>", "RCPT TO:<no4@site.example>"], MESSAGE);
    reports(&site, "b@home.example", 3);
    engine.stop().expect("ends");
    let told = reports(&site, "b@home.example", 3);
    let of =
        |name: &str| told.iter().find(|(status, _)| status.contains(&format!("rfc822;{name}@"))).expect(name);
    assert!(of("no1").0.contains("Action: failed") && of("no1").1.contains("body"));
    assert!(of("no3").0.contains("Action: failed"));
    let (status, _) = of("well1");
    assert!(status.contains("Action: relayed") && status.contains("Status: 2."), "{status}");
}

#[test]
fn a_delay_while_it_lasts() {
    let site = site();
    let mut ground = ground(&site);
    let closed = TcpListener::bind((ground.listen.ip(), 0)).and_then(|l| l.local_addr()).expect("a port");
    ground.route("closed.example", closed, "  retry-after 1h\n  notify-of-delay-every 2s");
    let engine = ground.start().expect("the engine starts");
    let commands = [
        "MAIL FROM:<c@home.example>",
        "RCPT TO:<c@closed.example> NOTIFY=DELAY,FAILURE",
        "RCPT TO:<d@closed.example>",
    ];
    send(ground.listen, &commands, MESSAGE);
    let told = || site.ledger().deliveries.into_iter().find(|d| d.recipient == "c@home.example");
    let text = until(PATIENCE, told).expect("told").message.expect("kept");
    let text = String::from_utf8(text).expect("text");
    for part in [
        "Action: delayed",
        "Will-Retry-Until: ",
        "rfc822;c@closed.example",
        "ECONNREFUSED",
        "will continue trying",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("d@closed.example"));
    engine.stop().expect("ends");
}

/// `deliver-local-dsn` of the recipient's domain: one is told of, of the same message, and the other is not.
#[test]
fn domains_of_which_nobody_is_told() {
    let site = site();
    let mut ground = ground(&site);
    ground.route("quiet.example", site.addr("site"), "  deliver-local-dsn no");
    let engine = ground.start().expect("the engine starts");
    let commands = [
        "MAIL FROM:<q@home.example>",
        "RCPT TO:<no1@quiet.example> NOTIFY=FAILURE",
        "RCPT TO:<well@quiet.example> NOTIFY=SUCCESS",
        "RCPT TO:<no2@site.example> NOTIFY=FAILURE",
    ];
    send(ground.listen, &commands, MESSAGE);
    reports(&site, "q@home.example", 1);
    engine.wait_until_empty(PATIENCE);
    engine.stop().expect("ends");
    let told = reports(&site, "q@home.example", 1);
    assert!(told[0].0.contains("rfc822;no2@site.example"), "{told:?}");
    let lines = tests::accounting::read(&ground.path("acct")).expect("accounting");
    assert_eq!(tests::accounting::per_recipient(&lines, "b").get("no1@quiet.example"), Some(&1));
}

/// `dsn-failed-*-template`: what the message brings along stays where it was put.
#[test]
fn failures_in_the_words_of_the_operator() {
    let site = site();
    let mut ground = ground(&site);
    let words = "Dear ${originator},\n\n${recipient} is not reached: ${response}\n${subject}\n";
    std::fs::write(ground.path("words"), words).expect("written");
    ground.add("dsn-failed-from-template \"${subject} <robot@${hostname}>\"");
    ground.add("dsn-failed-subject-template \"Not delivered: ${subject}\"");
    ground.add(&format!("dsn-failed-body-template-from {}", ground.path("words").display()));
    let engine = ground.start().expect("the engine starts");
    let evil = "Subject: =?utf-8?Q?x=0D=0ABcc:_all@x.example=0D=0A=0D=0A?= <a@b>,\r\n y\r\n\r\nbody";
    send(ground.listen, &["MAIL FROM:<t@home.example>", "RCPT TO:<no@site.example>"], evil);
    reports(&site, "t@home.example", 1);
    engine.stop().expect("ends");
    let all = site.ledger().deliveries;
    let told = all.into_iter().find(|d| d.recipient == "t@home.example").and_then(|d| d.message);
    let told = told.expect("kept");
    let message = MessageParser::default().parse(&told).expect("a message");
    let from: Vec<_> = message.from().expect("From").iter().filter_map(|a| a.address()).collect();
    assert_eq!(from, ["robot@mail.sender.example"]);
    assert!(message.bcc().is_none() && message.subject().expect("Subject").starts_with("Not delivered: x"));
    let part = String::from_utf8_lossy(message.parts[1].contents()).into_owned();
    let start = "Dear t@home.example,\r\n\r\nno@site.example is not reached: 550 5.1.1 ";
    assert!(part.starts_with(start), "{part}");
    assert_eq!(part.lines().count(), 4, "{part}");
}

/// The engine dies on the way of outcomes and reports to the disk, again and again: in the end each bounce is told once, and
/// is in accounting once.
#[cfg(feature = "failpoints")]
#[test]
fn a_bounce_and_its_report_are_one() {
    const COUNT: usize = 120;
    let site = site();
    let ground = ground(&site);
    for n in 0..COUNT {
        let file = format!(
            "MAIL FROM:<s{n}@home.example>\nRCPT TO:<no{n}@site.example>\nDATA\nFrom: f@home.example\n\nx\n.\n"
        );
        ground.pick_up(&format!("p{n}"), file.as_bytes()).expect("picked up");
    }
    for armed in [
        "outbound.bounced=abort@3",
        "storage.before-write=abort@4",
        "storage.during-sync=abort@4",
        "storage.appended-before-sync=abort@4",
        "outbound.bounced=abort@6",
        "storage.synced-before-acknowledging=abort@4",
        "outbound.replied-before-append=abort@3",
        "storage.mid-append=abort@2",
    ] {
        let mut engine = ground.spawn_with(&ground.text(), "POSTHASTE_FAIL", armed).expect("it starts");
        let status = until(PATIENCE, || engine.ended().expect("asked"))
            .unwrap_or_else(|_| panic!("{armed}: not reached"));
        assert!(!status.success(), "{armed}: {status}");
    }
    let engine = ground.start().expect("the engine starts");
    let told = || {
        let all = site.ledger().deliveries;
        let told: BTreeSet<String> = all.into_iter().map(|d| d.recipient).collect();
        (told.len() == COUNT).then_some(())
    };
    until(PATIENCE, told).expect("all are told");
    engine.wait_until_empty(PATIENCE);
    engine.stop().expect("ends");

    let lines = tests::accounting::read(&ground.path("acct")).expect("accounting");
    let bounced = tests::accounting::per_recipient(&lines, "b");
    let told = site.ledger().deliveries;
    for n in 0..COUNT {
        assert_eq!(bounced.get(format!("no{n}@site.example").as_str()), Some(&1), "no{n}");
        let sender = format!("s{n}@home.example");
        // A report that had left when the engine died may leave again; another one may not.
        let ids: BTreeSet<&str> =
            told.iter().filter(|d| d.recipient == sender).map(|d| d.id.as_str()).collect();
        assert_eq!(ids.len(), 1, "{sender}: {ids:?}");
    }
}

/// `VERP` of MAIL: what comes back, from there or from here, says whom it is about.
#[test]
fn return_paths_name_the_recipient() {
    let site = site();
    let ground = ground(&site);
    let engine = ground.start().expect("the engine starts");
    let commands =
        ["MAIL FROM:<a@home.example> VERP", "RCPT TO:<no@site.example>", "RCPT TO:<well@site.example>"];
    send(ground.listen, &commands, MESSAGE);
    let file =
        "MAIL FROM:<b@home.example> VERP\nRCPT TO:<well@site.example>\nDATA\nFrom: b@home.example\n\nx\n.\n";
    ground.pick_up("p", file.as_bytes()).expect("picked up");
    reports(&site, "a-no=site.example@home.example", 1);
    let senders = || {
        let all = site.ledger().deliveries;
        let to_well: BTreeSet<String> =
            all.into_iter().filter(|d| d.recipient == "well@site.example").map(|d| d.sender).collect();
        (to_well.len() == 2).then_some(to_well)
    };
    let senders: Vec<String> = until(PATIENCE, senders).expect("both arrive").into_iter().collect();
    assert_eq!(senders, ["a-well=site.example@home.example", "b-well=site.example@home.example"]);
    engine.stop().expect("ends");
}
