//! Mail merge as PowerMTA's clients speak it: over SMTP and in batch SMTP files, from the first command to what each
//! recipient receives, and what of it lies in the spool.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use bench::ground::{Ground, programs};
use bench::site::ledger::header;
use bench::site::{Behaviour, DoorConfig, Fate, LedgerMode, Site, SiteConfig, SiteHandle, ledger};
use bench::wait::until;
use serde_json::Value;
use tests::accounting;
use tests::peer::Peer;
use tests::submission::site;

const PATIENCE: Duration = Duration::from_secs(60);

/// A ground whose clients may merge, with two virtual MTAs and a file about who was delivered by which.
fn ground(site: &SiteHandle) -> Ground {
    let mut ground = Ground::new().expect("a directory");
    ground.route("ex.example", site.addr("site"), "");
    ground.vmta("mta1", Ipv4Addr::new(127, 0, 78, 1)).vmta("mta2", Ipv4Addr::new(127, 0, 78, 2));
    ground.add("<source 127.0.0.0/8>\n  allow-mailmerge yes\n</source>");
    ground
}

fn client(to: SocketAddr) -> Peer {
    let mut peer = Peer::connect(to).expect("it listens");
    assert!(peer.say("EHLO me.example").expect("a reply").starts_with("250 "));
    peer
}

/// Says each line and checks the code of each reply.
fn dialogue(peer: &mut Peer, lines: &[(&str, &str)]) {
    for (line, code) in lines {
        let reply = peer.say(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
}

/// Sender and message of each recipient, our trace header left out.
fn received(site: &SiteHandle, count: u64) -> HashMap<String, (String, String)> {
    until(PATIENCE, || (site.stats().recipients() >= count).then_some(())).expect("all is delivered");
    let ledger = site.ledger();
    assert_eq!(ledger.deliveries.len() as u64, count, "each exactly once");
    let text = |message: &[u8]| String::from_utf8(message.to_vec()).expect("text").replace("\r\n", "\n");
    let without_trace = |message: String| match message.strip_prefix("Received: ") {
        Some(rest) => {
            let end =
                rest.match_indices('\n').map(|(at, _)| at + 1).find(|at| !rest[*at..].starts_with('\t'));
            rest[end.expect("a header below it")..].to_owned()
        }
        None => message,
    };
    let deliveries = ledger.deliveries.iter();
    let one = |delivery: &ledger::Delivery| {
        assert_eq!(delivery.bare_line_ends, 0);
        let message = text(delivery.message.as_deref().expect("kept"));
        (delivery.recipient.clone(), (delivery.sender.clone(), without_trace(message)))
    };
    deliveries.map(one).collect()
}

#[test]
fn everybody_receives_his_own_parts_and_values() {
    let site = tests::submission::site_with_messages();
    let ground = ground(&site);
    let engine = ground.start().expect("the engine starts");
    let mut peer = client(ground.listen);
    dialogue(
        &mut peer,
        &[
            ("XMRG FROM:<bounce@news.example>", "250 2.1.0"),
            (r#"XDFN FName="Jim \"J.\"" *vmta="mta1" *parts="1-3" *jobID="1234" *envid=e1"#, "250"),
            (r#"XDFN note="first\r\nsecond""#, "250"),
            ("RCPT TO:<jim@ex.example>", "250"),
            (r#"XDFN fname=Cosmo *parts="1,3" *from="own@news.example" *vmta=mta2"#, "250"),
            ("RCPT TO:<cosmo@ex.example>", "250"),
            ("XDFN *parts=\"1,3,2\" *priority=10", "250 2.0.0 XDFN ok"),
            ("RCPT TO:<kramer@ex.example>", "250"),
            ("XPRT 1", "354"),
            (
                "From: \"Service\" <[*from]>\r\nTo: \"[FName]\" <[*to]>\r\nX-Job: taken-out\r\nDate: [*date]\r\n\r\nHi [FNAME],\r\n[[x] [note]\r\n.",
                "250 2.6.0 part ok",
            ),
            ("XPRT 2", "354"),
            ("..two\r\n.", "250"),
            ("XPRT 3 LAST", "354"),
            ("three\r\n.", "250 2.6.0 message received"),
            ("QUIT", "221"),
        ],
    );
    let messages = received(&site, 3);
    let head = |to: &str| {
        let message = &messages[to].1;
        let (head, body) = message.split_once("\n\n").expect("a body");
        let value = |name| header(head.as_bytes(), name).unwrap_or_default().to_owned();
        assert!(value("Date").ends_with("+0000") && head.lines().count() == 3, "{message}");
        (messages[to].0.as_str(), value("From"), value("To"), body.to_owned())
    };
    let expected = [
        (
            "jim@ex.example",
            "bounce@news.example",
            "Jim \"J.\"",
            "Hi Jim \"J.\",\n[x] first\nsecond\n.two\nthree\n",
        ),
        ("cosmo@ex.example", "own@news.example", "Cosmo", "Hi Cosmo,\n[x] \nthree\n"),
        ("kramer@ex.example", "bounce@news.example", "", "Hi ,\n[x] \nthree\n.two\n"),
    ];
    for (to, sender, name, body) in expected {
        let from = format!("\"Service\" <{sender}>");
        assert_eq!(head(to), (sender, from, format!("\"{name}\" <{to}>"), body.to_owned()));
    }
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    let lines = accounting::read(&ground.path("acct")).expect("accounting files");
    let told = |to: &str, field: &str| {
        let line = lines.iter().find(|line| line["rcpt"] == to && line["type"] == "d").expect(to);
        line[field].clone()
    };
    let of = |to| (told(to, "orig"), told(to, "jobId"), told(to, "envId"), told(to, "vmta"));
    let words = |orig: &str, job: &str, envid: &str, vmta: &str| {
        (orig.to_owned(), job.to_owned(), envid.to_owned(), vmta.to_owned())
    };
    assert_eq!(of("jim@ex.example"), words("bounce@news.example", "1234", "e1", "mta1"));
    // In the header of the first part, x-job speaks for those who have no job of their own.
    assert_eq!(of("cosmo@ex.example"), words("own@news.example", "taken-out", "", "mta2"));
}

/// The sample of reference 5.3.
const SAMPLE: &str = r#"XACK ON
XMRG FROM:<bounce@ex.example> verp
XDFN FName="Jim" CID="1234" *vmta="mta1" *parts="1-3" *jobID="1234"
RCPT TO:<jim@ex.example>
XDFN FName="Cosmo" *parts="1,3"
RCPT TO:<cosmo@ex.example>
XPRT 1
From: "Service" [*from]
To: "[FName]" [*to]
Date: [*date]

Hi [FName],
.
XPRT 2
Your number is [cid].
.
XPRT 3 LAST
Bye.
.
"#;

#[test]
fn a_batch_smtp_file_is_merged() {
    let site = tests::submission::site_with_messages();
    let ground = ground(&site);
    let engine = ground.start().expect("the engine starts");
    ground.pick_up("sample", SAMPLE.as_bytes()).expect("written");
    let messages = received(&site, 2);
    for (to, name, rest) in [("jim", "Jim", "Your number is 1234.\nBye.\n"), ("cosmo", "Cosmo", "Bye.\n")] {
        let (sender, message) = &messages[&format!("{to}@ex.example")];
        let (head, body) = message.split_once("\n\n").expect("a body");
        assert!(
            head.starts_with(&format!(
                "From: \"Service\" bounce@ex.example\nTo: \"{name}\" {to}@ex.example\nDate: "
            )),
            "{head}"
        );
        assert_eq!(body, format!("Hi {name},\n{rest}"));
        // VERP: each has a return path of its own.
        assert_eq!(sender, &format!("bounce-{to}=ex.example@ex.example"));
    }
    // What cannot be merged goes to the bad directory with the reason.
    ground.pick_up("no-part", SAMPLE.replace("1-3", "1-4").as_bytes()).expect("written");
    ground.pick_up("no-vmta", SAMPLE.replace("mta1", "mta9").as_bytes()).expect("written");
    let reason = |name: &str| {
        let path = ground.path("bad").join(format!("{name}.reason"));
        until(PATIENCE, || fs::read_to_string(&path).ok().filter(|text| !text.is_empty())).expect("a reason")
    };
    assert!(reason("no-part").contains("*parts of <jim@ex.example> names part 4, which did not come"));
    assert!(reason("no-vmta").contains("specified Virtual MTA 'mta9' does not exist"));
    assert!(engine.stop().expect("it can be waited for").success());
    assert_eq!(site.stats().recipients(), 2);
}

#[test]
fn who_may_merge_and_what_is_refused_as_a_whole() {
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("ex.example", site.addr("site"), "");
    ground.add("<source 127.0.0.0/8>\n  max-rcpt-per-message 2\n</source>");
    ground.add("<source {auth}>\n  always-allow-api-submission yes\n</source>");
    ground.add("<smtp-user ann>\n  password secret\n</smtp-user>");
    ground.add("<source 127.0.0.0/8>\n  allow-unencrypted-plain-auth yes\n</source>");
    ground.add("mailmerge-expands-undefined-variables no");
    let engine = ground.start().expect("the engine starts");
    let mut peer = client(ground.listen);
    dialogue(
        &mut peer,
        &[
            ("XMRG FROM:<b@x.example>", "502"),
            ("AUTH PLAIN AGFubgBzZWNyZXQ=", "235"),
            ("XMRG FROM:<b@x.example>", "250"),
            ("RCPT TO:<a@ex.example>", "250"),
            (r#"XDFN x="1\nBcc: b@ex.example""#, "250"),
            ("RCPT TO:<b@ex.example>", "250"),
            ("RCPT TO:<c@ex.example>", "452"),
            ("XPRT 1 LAST", "354"),
            ("From: a@x.example\r\nSubject: [x]\r\n\r\n.", "550 5.6.0 <b@ex.example>: x has a line break"),
            ("XMRG FROM:<b@x.example>", "250"),
            ("XDFN *vmta=nobody", "250"),
            ("RCPT TO:<b@ex.example>", "250"),
            ("XPRT 1 LAST", "354"),
            ("From: a@x.example\r\n\r\n.", "550 5.5.0 specified Virtual MTA 'nobody' does not exist"),
            ("XACK OFF", "250"),
            ("XMRG FROM:<b@x.example>", "250"),
        ],
    );
    assert_eq!(engine.status().expect("it answers").smtp_queues.rcpts, 0);
    // Nothing is said to these; the error comes with XPRT.
    dialogue(
        &mut peer,
        &[
            (
                "RCPT TO:<b@ex.example>\r\nXDFN y=\"\r\nRCPT TO:<c@ex.example>\r\nXPRT 1",
                "501 5.5.4 y: the quote",
            ),
            ("XMRG FROM:<b@x.example>", "250"),
            ("XDFN y=1\r\nRCPT TO:<b@ex.example>\r\nXPRT 1 LAST", "354"),
            ("From: a@x.example\r\n\r\n[y] [Z]\r\n.", "250"),
        ],
    );
    until(PATIENCE, || (site.stats().recipients() == 1).then_some(())).expect("one is delivered");
    assert!(engine.stop().expect("it can be waited for").success());
}

/// What a stopped spool holds: contents, submissions and rows.
fn records(ground: &Ground) -> (u64, u64, u64) {
    let tool = programs().expect("a directory").join("spool-under-test");
    let output =
        Command::new(tool).args(["list", "--json"]).arg(ground.path("spool")).output().expect("it runs");
    let lines = String::from_utf8(output.stdout).expect("text");
    let segments: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let sum = |name: &str| segments.iter().map(|segment| segment[name].as_u64().expect(name)).sum();
    (sum("contents"), sum("submissions"), sum("rows"))
}

/// XACK OFF, and as many recipients as a message may have; the last byte is that of the last RCPT.
fn hundred_thousand(socket: &mut TcpStream, replies: &mut BufReader<TcpStream>) {
    socket.write_all(b"EHLO me.example\r\n").expect("sent");
    while !reply(replies).starts_with("250 ") {}
    let mut commands = String::from("XACK OFF\r\nXMRG FROM:<bounce@news.example>\r\n");
    for n in 0..100_000 {
        commands += &format!(
            "XDFN name=\"Person {n}\" number={n} *from=b{n}@x.example\r\nRCPT TO:<person{n}@ex.example>\r\n"
        );
    }
    socket.write_all(commands.as_bytes()).expect("sent");
    assert!(reply(replies).starts_with("250") && reply(replies).starts_with("250"));
}

fn reply(replies: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    replies.read_line(&mut line).expect("a reply");
    line
}

#[test]
fn a_hundred_thousand_recipients_are_one_content_and_as_many_rows() {
    let site = site();
    let ground = ground(&site);
    let engine = ground.start().expect("the engine starts");
    engine.pause("*/*").expect("paused");
    let connect = || {
        let socket = TcpStream::connect(ground.listen).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        let mut replies = BufReader::new(socket.try_clone().expect("a socket"));
        assert!(reply(&mut replies).starts_with("220"));
        (socket, replies)
    };
    // One that ends before LAST leaves nothing.
    let (mut broken, mut replies) = connect();
    hundred_thousand(&mut broken, &mut replies);
    broken.write_all(b"XPRT 1\r\n").expect("sent");
    assert!(reply(&mut replies).starts_with("354"));
    broken.write_all(b"From: news@news.example\r\n\r\nHi [name]\r\n.\r\n").expect("sent");
    assert!(reply(&mut replies).starts_with("250"));
    drop((broken, replies));

    let begun = Instant::now();
    let (mut socket, mut replies) = connect();
    hundred_thousand(&mut socket, &mut replies);
    socket.write_all(b"XPRT 1 LAST\r\n").expect("sent");
    assert!(reply(&mut replies).starts_with("354"));
    let held = engine.memory().expect("it runs");
    let text = b"From: news@news.example\r\n\r\nHi [name], number [number]\r\n.\r\n";
    let stored = Instant::now();
    socket.write_all(text).expect("sent");
    let said = reply(&mut replies);
    let stored = stored.elapsed();
    assert!(said.starts_with("250 2.6.0 message received"), "{said}");
    let taken = begun.elapsed();
    // Killed right behind the 250: all of it is there.
    engine.kill().expect("killed");
    assert_eq!(records(&ground), (1, 1, 100_000));
    assert!(taken < PATIENCE, "{taken:?}");
    let engine = ground.start().expect("it starts again");
    let waiting = || engine.status().expect("it answers").smtp_queues.rcpts;
    until(PATIENCE, || (waiting() == 100_000).then_some(())).expect("all wait");
    assert!(engine.stop().expect("it can be waited for").success());
    println!(
        "100,000 recipients: durable after {taken:?}, {stored:?} of it behind the last dot; {held:?} before that"
    );
}

/// Return paths of their own are values; each job is a submission of its own, which shares the texts.
#[test]
fn recipients_with_envelopes_of_their_own_share_their_texts() {
    const RECIPIENTS: usize = 2000;
    let site = tests::submission::site_with_messages();
    let ground = ground(&site);
    let engine = ground.start().expect("the engine starts");
    let mut peer = client(ground.listen);
    dialogue(&mut peer, &[("XACK OFF", "250"), ("XMRG FROM:<bounce@news.example>", "250")]);
    let mut commands = String::new();
    for n in 0..RECIPIENTS {
        let parts = ["1", "1,2", "2,1"][n % 3];
        commands += &format!("XDFN n={n} *from=b{n}@news.example *jobid=j{} *parts={parts}\r\n", n % 7);
        commands += &format!("RCPT TO:<person{n}@ex.example>\r\n");
    }
    let text = "From: <[*from]>\r\nX-Number: [n]\r\n.";
    dialogue(
        &mut peer,
        &[
            (&format!("{commands}XPRT 1"), "354"),
            (text, "250"),
            ("XPRT 2 LAST", "354"),
            ("X-Second: [*jobid]\r\n.", "250"),
        ],
    );
    let messages = received(&site, RECIPIENTS as u64);
    for n in 0..RECIPIENTS {
        let (sender, message) = &messages[&format!("person{n}@ex.example")];
        let first = format!("From: <b{n}@news.example>\nX-Number: {n}\n");
        let second = format!("X-Second: j{}\n", n % 7);
        let expected = [first.clone(), first.clone() + &second, second + &first];
        assert_eq!((sender, message), (&format!("b{n}@news.example"), &expected[n % 3]));
    }
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    assert_eq!(records(&ground), (3, 21, RECIPIENTS as u64), "a submission for each job and text");
}

/// What RCPT asks of reports, and what the source's list says of ways, goes for each recipient.
#[test]
fn recipients_have_reports_and_ways_of_their_own() {
    let doors = ["site", "home"]
        .map(|name| DoorConfig::with(name, Behaviour::default().with_fate("no", Fate::Unknown)));
    let config = SiteConfig { doors: doors.to_vec(), ledger: LedgerMode::Messages, ..SiteConfig::default() };
    let site = Site::start(config).expect("loopback");
    let mut ground = ground(&site);
    ground.route("home.example", site.addr("home"), "");
    ground.add(
        "<pattern-list ways>\n  mail-from /own@/ virtual-mta=mta1\n  rcpt-to /^no1/ virtual-mta=mta2\n</pattern-list>\n\
         <source 127.0.0.0/8>\n  suppress-local-dsn no\n  pattern-list ways\n</source>",
    );
    let engine = ground.start().expect("the engine starts");
    dialogue(
        &mut client(ground.listen),
        &[
            ("XMRG FROM:<bounce@home.example> RET=HDRS ENVID=e VERP", "250 2.1.0"),
            ("XDFN name=One", "250"),
            ("RCPT TO:<no1@ex.example> NOTIFY=FAILURE ORCPT=rfc822;one@old.example", "250"),
            ("XDFN name=Two", "250"),
            ("RCPT TO:<no2@ex.example> NOTIFY=NEVER", "250"),
            ("XDFN name=Three *from=own@home.example", "250"),
            ("RCPT TO:<no3@ex.example>", "250"),
            ("XPRT 1 LAST", "354"),
            ("From: <[*from]>\r\nSubject: for [name]\r\n\r\nx\r\n.", "250 2.6.0 message received"),
        ],
    );
    let told = || {
        let reports: HashMap<String, String> = site
            .ledger()
            .deliveries
            .into_iter()
            .map(|d| (d.recipient, String::from_utf8(d.message.expect("kept")).expect("text")))
            .collect();
        (reports.len() == 2).then_some(reports)
    };
    let told = until(PATIENCE, told).expect("two are told");
    let one = &told["bounce-no1=ex.example@home.example"];
    for part in ["Original-Envelope-Id: e", "Original-Recipient: rfc822;one@old.example", "Subject: for One"]
    {
        assert!(one.contains(part), "{part}: {one}");
    }
    assert!(told["own-no3=ex.example@home.example"].contains("Subject: for Three"));
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    let lines = accounting::read(&ground.path("acct")).expect("accounting files");
    let bounced = lines.iter().filter(|line| line["type"] == "b");
    let ways: HashMap<&str, (&str, &str)> = bounced
        .map(|line| (line["rcpt"].as_str(), (line["vmta"].as_str(), line["orcpt"].as_str())))
        .collect();
    assert_eq!(ways["no1@ex.example"], ("mta2", "rfc822;one@old.example"));
    assert_eq!(ways["no2@ex.example"], ("{default}", ""));
    assert_eq!(ways["no3@ex.example"], ("mta1", ""));
}

/// What a source says of recipients counts for each of a merged message, and what they want of reports goes with them.
#[test]
fn lists_look_at_each_recipient() {
    let site = site();
    let mut ground = ground(&site);
    fs::write(ground.path("gone"), "gone@ex.example\n").expect("written");
    let gone = ground.path("gone");
    ground.add(&format!("<address-list a>\n  address-file {}\n</address-list>", gone.display()));
    ground.add("<pattern-list l>\n  rcpt-to /gold/ virtual-mta=mta2\n</pattern-list>");
    ground.add("<source 127.0.0.0/8>\n  pattern-list l\n  suppression-lists a\n</source>");
    ground.add("<source {pickup}>\n  suppression-lists a\n</source>");
    let engine = ground.start().expect("the engine starts");
    let mut peer = client(ground.listen);
    dialogue(
        &mut peer,
        &[
            ("XMRG FROM:<bounce@news.example> ENVID=e1", "250"),
            ("RCPT TO:<gold@ex.example>", "250"),
            ("RCPT TO:<gone@ex.example>", "550"),
            ("XDFN *vmta=mta1", "250"),
            ("RCPT TO:<golden@ex.example> NOTIFY=NEVER ORCPT=rfc822;g@ex.example", "250"),
            ("RCPT TO:<plain@ex.example>", "250"),
            ("XPRT 1 LAST", "354"),
            ("From: x@news.example\r\n\r\nHello\r\n.", "250"),
        ],
    );
    until(PATIENCE, || (site.stats().recipients() == 3).then_some(())).expect("all is delivered");
    ground.pick_up("gone", SAMPLE.replace("cosmo", "gone").as_bytes()).expect("written");
    let path = ground.path("bad").join("gone.reason");
    let reason = until(PATIENCE, || fs::read_to_string(&path).ok().filter(|text| !text.is_empty()));
    assert!(reason.expect("a reason").contains("suppression list"));
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    let lines = accounting::read(&ground.path("acct")).expect("accounting files");
    let of = |to: &str| {
        let line = lines.iter().find(|line| line["rcpt"] == to && line["type"] == "d").expect(to);
        [line["vmta"].clone(), line["orcpt"].clone(), line["envId"].clone(), line["orig"].clone()]
    };
    let told = |vmta, orcpt| [vmta, orcpt, "e1", "bounce@news.example"].map(str::to_owned);
    assert_eq!(of("gold@ex.example"), told("mta2", ""));
    assert_eq!(of("golden@ex.example"), told("mta1", "rfc822;g@ex.example"));
    assert_eq!(of("plain@ex.example")[1..], told("", "")[1..]);
}
