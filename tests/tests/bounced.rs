//! Mail that is taken in and bounced (`accept-invalid-recipients`): recipients that are no addresses or suppressed, over SMTP,
//! in pickup files and in merged messages, each with his line of accounting and his report.

use std::collections::BTreeMap;
#[cfg(feature = "failpoints")]
use std::collections::BTreeSet;
#[cfg(feature = "failpoints")]
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use bench::ground::Ground;
use bench::site::{DoorConfig, LedgerMode, Persona, Site, SiteConfig, SiteHandle};
use bench::wait::until;
use tests::accounting;
use tests::peer::Peer;

const PATIENCE: Duration = Duration::from_secs(60);
const SUPPRESSED: &str = "5.7.1 (delivery not authorized)";
const MALFORMED: &str = "5.1.3 (bad destination mailbox address syntax)";

/// `home` is where senders read their mail.
fn site() -> SiteHandle {
    let doors = vec![DoorConfig::new("site", Persona::Fast), DoorConfig::new("home", Persona::Fast)];
    Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() })
        .expect("loopback")
}

/// Who is called `gone` or `goneN` is suppressed.
fn ground(site: &SiteHandle) -> Ground {
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "");
    ground.route("home.example", site.addr("home"), "");
    let source = "  suppress-local-dsn no\n  accept-invalid-recipients yes\n  suppression-lists a1\n";
    ground.add("<address-list a1>\n  address /^gone[0-9]*@/\n</address-list>");
    ground.add(&format!(
        "<source 127.0.0.0/8>\n{source}  allow-mailmerge yes\n</source>\n<source {{pickup}}>\n{source}</source>"
    ));
    ground
}

fn client(ground: &Ground) -> Peer {
    let mut peer = Peer::connect(ground.listen).expect("the engine greets");
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

/// Waits for this many deliveries, of mail and of reports.
fn delivered(site: &SiteHandle, count: u64) {
    let all = || (site.stats().recipients() >= count).then_some(());
    until(PATIENCE, all).unwrap_or_else(|_| panic!("{} of {count}", site.stats().recipients()));
}

/// Status and diagnostic of each report, and whom it is about, by the sender who has got it.
fn reports(site: &SiteHandle) -> BTreeMap<(String, String), (String, String)> {
    let ledger = site.ledger();
    let to_senders = ledger.deliveries.iter().filter(|d| d.recipient.ends_with("@home.example"));
    let mut found = BTreeMap::new();
    for delivery in to_senders {
        assert_eq!(delivery.sender, "", "nobody is told of a report");
        let text = String::from_utf8_lossy(delivery.message.as_deref().expect("kept")).into_owned();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name} in {text}")).to_owned()
        };
        assert_eq!(field("Action: "), "failed");
        let about = (delivery.recipient.clone(), field("Final-Recipient: rfc822;"));
        let again = found.insert(about, (field("Status: "), field("Diagnostic-Code: ")));
        assert_eq!(again, None, "told twice: {text}");
    }
    found
}

/// Status, diagnostic and category of each bounce in accounting.
fn bounces(ground: &Ground) -> BTreeMap<String, (String, String, String)> {
    let lines = accounting::read(&ground.path("acct")).expect("accounting");
    let mut found = BTreeMap::new();
    for line in lines.iter().filter(|line| line["type"] == "b") {
        let said = ["dsnStatus", "dsnDiag", "bounceCat"].map(|name| line[name].clone());
        let again = found.insert(line["rcpt"].clone(), said.into());
        assert_eq!(again, None, "accounted twice: {line:?}");
    }
    found
}

fn diagnostic(recipient: &str) -> String {
    format!("smtp;550 5.7.1 recipient is in suppression list \"a1\": <{recipient}>")
}

#[test]
fn over_smtp() {
    let site = site();
    let ground = ground(&site);
    let engine = ground.start().expect("the engine starts");
    let mut peer = client(&ground);
    dialogue(
        &mut peer,
        &[
            ("MAIL FROM:<ann@home.example> VERP", "250"),
            ("RCPT TO:<gone@site.example>", "250"),
            ("RCPT TO:<well@site.example>", "250"),
            ("RCPT TO:<two words@site.example>", "250"),
            ("RCPT TO:<jim>", "250"),
            ("RCPT TO:<gone1@site.example> NOTIFY=NEVER", "250"),
            ("DATA", "354"),
        ],
    );
    peer.write(b"Subject: x\r\n\r\ntext\r\n.\r\n").expect("sent");
    assert!(peer.reply().expect("a reply").starts_with("250 "));
    // For nobody else; and from nobody, who is told nothing.
    for (sender, to) in [("<bob@home.example>", "gone2@site.example"), ("<>", "gone3@site.example")] {
        let said = peer.send(sender, &[to], "Subject: y\n\ntext\n").expect("a reply");
        assert!(said.starts_with("250 "), "{said}");
    }
    delivered(&site, 5);
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("ends").success());
    let told = reports(&site);
    let of = |sender: &str, about: &str| &told[&(format!("{sender}@home.example"), about.to_owned())];
    assert_eq!(told.len(), 4, "{told:?}");
    let suppressed = |to: &str| (SUPPRESSED.to_owned(), diagnostic(to));
    assert_eq!(*of("ann-gone=site.example", "gone@site.example"), suppressed("gone@site.example"));
    assert_eq!(*of("bob", "gone2@site.example"), suppressed("gone2@site.example"));
    // A return path cannot name who has no address.
    let (status, why) = of("ann", "two words@site.example");
    assert_eq!(status, MALFORMED);
    assert!(why.starts_with("smtp;501 5.1.3 recipient address: a space at position 3"), "{why}");
    assert_eq!(of("ann", "jim").0, MALFORMED);

    let accounted = bounces(&ground);
    let category = |to: &str| accounted.get(to).unwrap_or_else(|| panic!("{to}: {accounted:?}"));
    for to in ["gone", "gone1", "gone2", "gone3"].map(|name| format!("{name}@site.example")) {
        assert_eq!(*category(&to), (SUPPRESSED.to_owned(), diagnostic(&to), "policy-related".to_owned()));
    }
    assert_eq!((category("jim").0.as_str(), category("jim").2.as_str()), (MALFORMED, "bad-mailbox"));
    assert_eq!(accounted.len(), 6);
}

#[test]
fn in_pickup_files() {
    let site = site();
    let ground = ground(&site);
    let engine = ground.start().expect("the engine starts");
    let files = [
        (
            "plain",
            "x-sender: p@home.example\nx-receiver: gone@site.example\nx-receiver: no one\n\
             x-receiver: well@site.example\nFrom: p@home.example\n\ntext\n",
        ),
        (
            "batch",
            "MAIL FROM:<b@home.example>\nRCPT TO:<gone1@site.example> NOTIFY=FAILURE\nRCPT TO:<jim> NOTIFY=NEVER\n\
             RCPT TO:<well1@site.example>\nDATA\nFrom: b@home.example\n\ntext\n.\n",
        ),
        (
            "merged",
            "XMRG FROM:<m@home.example>\nXDFN n=1\nRCPT TO:<gone2@site.example>\nXDFN n=2\nRCPT TO:<well2@site.example>\n\
             XPRT 1 LAST\nFrom: m@home.example\nSubject: [n]\n\ntext\n.\n",
        ),
    ];
    for (name, file) in files {
        ground.pick_up(name, file.as_bytes()).expect("picked up");
    }
    delivered(&site, 7);
    engine.wait_until_empty(PATIENCE);
    assert_eq!(ground.waiting_files(), 0);
    assert!(engine.stop().expect("ends").success());
    let told: Vec<String> = reports(&site).into_keys().map(|(to, about)| format!("{to} {about}")).collect();
    assert_eq!(
        told,
        [
            "b@home.example gone1@site.example",
            "m@home.example gone2@site.example",
            "p@home.example gone@site.example",
            "p@home.example no one",
        ]
    );
    let accounted: Vec<String> = bounces(&ground).into_keys().collect();
    assert_eq!(accounted, ["gone1@site.example", "gone2@site.example", "gone@site.example", "jim", "no one"]);
}

/// XACK OFF: what is wrong with an address costs that recipient, and no longer the message; each sender is told of his own.
#[test]
fn in_a_merged_message() {
    let site = site();
    let ground = ground(&site);
    let engine = ground.start().expect("the engine starts");
    let mut peer = client(&ground);
    dialogue(&mut peer, &[("XACK OFF", "250"), ("XMRG FROM:<m@home.example>", "250")]);
    for command in [
        "XDFN n=1 *from=own@home.example *jobid=a",
        "RCPT TO:<gone@site.example>",
        "XDFN n=2",
        "RCPT TO:<jim@@x>",
        "XDFN n=3",
        "RCPT TO:<well@site.example>",
    ] {
        peer.write(format!("{command}\r\n").as_bytes()).expect("sent");
    }
    dialogue(&mut peer, &[("XPRT 1 LAST", "354")]);
    peer.write(b"From: m@home.example\r\nSubject: number [n]\r\n\r\n[*refused]text\r\n.\r\n").expect("sent");
    assert!(peer.reply().expect("a reply").starts_with("250 "));
    delivered(&site, 3);
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("ends").success());
    let told = reports(&site);
    let of = |sender: &str, about: &str| &told[&(sender.to_owned(), about.to_owned())];
    assert_eq!(
        *of("own@home.example", "gone@site.example"),
        (SUPPRESSED.to_owned(), diagnostic("gone@site.example"))
    );
    assert_eq!(of("m@home.example", "jim@@x").0, MALFORMED);
    assert_eq!(told.len(), 2);
    let ledger = site.ledger();
    let text = |to: &str| {
        let one = ledger.deliveries.iter().find(|d| d.recipient == to).expect(to);
        String::from_utf8_lossy(one.message.as_deref().expect("kept")).into_owned()
    };
    // Each report gives back the header as its recipient would have had it.
    assert!(text("own@home.example").contains("Subject: number 1"));
    assert!(text("m@home.example").contains("Subject: number 2"));
    assert!(
        text("well@site.example").contains("Subject: number 3\r\n\r\ntext\r\n"),
        "{}",
        text("well@site.example")
    );
}

/// Whom strangers may write to: `relay-address`, and the people behind postmaster@ and abuse@; `relay-debug` puts off the rest.
#[test]
fn whom_anybody_may_write_to() {
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("home.example", site.addr("home"), "");
    ground.add(
        "<source 127.0.0.0/8>\n  always-allow-relaying no\n</source>\nrelay-debug yes\n\
         relay-address /^desk[0-9]@home\\.example$/\npostmaster ann@home.example\npostmaster bob@home.example",
    );
    let engine = ground.start().expect("the engine starts");
    let mut peer = client(&ground);
    dialogue(
        &mut peer,
        &[
            ("MAIL FROM:<stranger@x.example>", "250"),
            ("RCPT TO:<other@home.example>", "450 4.7.1 relaying denied"),
            ("RCPT TO:<xdesk1@home.example>", "450"),
            ("RCPT TO:<abuse@home.example>", "450"),
            ("RCPT TO:<Postmaster>", "250"),
            ("RCPT TO:<abuse@mail.sender.example>", "250"),
            ("RCPT TO:<desk1@home.example>", "250"),
            ("DATA", "354"),
        ],
    );
    peer.write(b"Subject: x\r\n\r\ntext\r\n.\r\n").expect("sent");
    assert!(peer.reply().expect("a reply").starts_with("250 "));
    delivered(&site, 3);
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("ends").success());
    let mut reached: Vec<String> = site.ledger().deliveries.iter().map(|d| d.recipient.clone()).collect();
    reached.sort();
    assert_eq!(reached, ["ann@home.example", "bob@home.example", "desk1@home.example"]);
}

/// `alias`: others get the mail, over SMTP and from files; accounting and reports say whom it was for.
#[test]
fn mail_that_others_get_instead() {
    let site = site();
    let mut ground = ground(&site);
    ground.add("alias sales@home.example gone1@home.example,team@home.example");
    ground.add("<aliases>\n  alias team@home.example ann@home.example,team@home.example\n</aliases>");
    ground.add("alias *@old.example all@site.example\nalias root pat@home.example");
    let engine = ground.start().expect("the engine starts");
    let mut peer = client(&ground);
    dialogue(
        &mut peer,
        &[
            ("MAIL FROM:<s@home.example>", "250"),
            ("RCPT TO:<Sales@home.example>", "250"),
            ("RCPT TO:<root@mail.sender.example> ORCPT=rfc822;first@x.example", "250"),
            ("DATA", "354"),
        ],
    );
    peer.write(b"Subject: x\r\n\r\ntext\r\n.\r\n").expect("sent");
    assert!(peer.reply().expect("a reply").starts_with("250 "));
    let file = "MAIL FROM:<f@home.example>\nRCPT TO:<a@old.example>\nRCPT TO:<b@old.example>\nDATA\nFrom: f@home.example\n\nx\n.\n";
    ground.pick_up("p", file.as_bytes()).expect("picked up");
    delivered(&site, 5);
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("ends").success());
    let lines = accounting::read(&ground.path("acct")).expect("accounting");
    let mut told: Vec<_> = lines.iter().map(|line| format!("{} {}", line["rcpt"], line["orcpt"])).collect();
    told.sort();
    assert_eq!(
        told,
        [
            "all@site.example rfc822;a@old.example",
            "ann@home.example rfc822;Sales@home.example",
            "gone1@home.example rfc822;Sales@home.example",
            "pat@home.example rfc822;first@x.example",
            "team@home.example rfc822;Sales@home.example",
        ]
    );
}

/// The engine dies on the way of messages, outcomes and reports to the disk, again and again: in the end each recipient of an
/// accepted message is accounted and reported once.
#[cfg(feature = "failpoints")]
#[test]
fn dying_leaves_nobody_unreported_and_nobody_told_twice() {
    const COUNT: usize = 120;
    let site = site();
    let ground = ground(&site);
    for n in 0..COUNT {
        // A file of refused recipients alone, and one of both kinds.
        let well = if n % 2 == 0 { String::new() } else { format!("RCPT TO:<well{n}@site.example>\n") };
        let file = format!(
            "MAIL FROM:<s{n}@home.example>\nRCPT TO:<gone{n}@site.example>\n{well}RCPT TO:<no {n}>\nDATA\nFrom: f@home.example\n\nx\n.\n"
        );
        ground.pick_up(&format!("p{n}"), file.as_bytes()).expect("picked up");
    }
    for armed in [
        "storage.synced-before-acknowledging=abort@1",
        "storage.before-write=abort@4",
        "storage.during-sync=abort@4",
        "storage.appended-before-sync=abort@4",
        "pickup.durable-before-unlink=abort@9",
        "storage.synced-before-acknowledging=abort@4",
        "recovery.requeue=abort@1",
        "outbound.bounced=abort@3",
        "storage.mid-append=abort@2",
    ] {
        let mut engine = ground.spawn_with(&ground.text(), "POSTHASTE_FAIL", armed).expect("it starts");
        let status = until(PATIENCE, || engine.ended().expect("asked"))
            .unwrap_or_else(|_| panic!("{armed}: not reached"));
        assert_eq!(status.signal(), Some(9), "{armed}: {status}");
    }
    let engine = ground.start().expect("the engine starts");
    let told = || {
        let all = site.ledger().deliveries;
        let told: BTreeSet<String> = all.into_iter().map(|d| d.recipient).collect();
        (told.len() == COUNT + COUNT / 2).then_some(())
    };
    until(PATIENCE, told).expect("all are told");
    engine.wait_until_empty(PATIENCE);
    engine.stop().expect("ends");

    // That names nobody twice.
    let accounted = bounces(&ground);
    assert_eq!(accounted.len(), 2 * COUNT);
    let ledger = site.ledger();
    for n in 0..COUNT {
        for about in [format!("gone{n}@site.example"), format!("no {n}")] {
            assert!(accounted.contains_key(&about), "{about}");
            // A report that had left when the engine died may leave again; another one may not.
            let line = format!("Final-Recipient: rfc822;{about}\r\n");
            let ids: BTreeSet<&str> = ledger
                .deliveries
                .iter()
                .filter(|d| d.recipient == format!("s{n}@home.example"))
                .filter(|d| String::from_utf8_lossy(d.message.as_deref().expect("kept")).contains(&line))
                .map(|d| d.id.as_str())
                .collect();
            assert_eq!(ids.len(), 1, "{about}: {ids:?}");
        }
    }
}
