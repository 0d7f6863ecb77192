//! The engine's program called `sendmail`, as other programs call it: with the engine running and without, and refused.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bench::ground::{Ground, engine_program};
use bench::site::ledger::header;
use bench::site::{DoorConfig, LedgerMode, Persona, Site, SiteConfig};
use bench::wait::until;

const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the link and the configuration.
fn prepare(ground: &Ground, configuration: &str) {
    fs::write(ground.path("config"), configuration).expect("written");
    symlink(engine_program().expect("an engine"), ground.path("sendmail")).expect("a link");
}

/// Runs `sendmail` with these words and this message.
fn sendmail(ground: &Ground, words: &str, message: &str) -> Output {
    let mut command = Command::new(ground.path("sendmail"));
    command.arg("-C").arg(ground.path("config")).args(words.split_whitespace());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // One that refuses does not read what it refuses.
    let _ = child.stdin.take().expect("piped").write_all(message.as_bytes());
    child.wait_with_output().expect("it ends")
}

/// The status it ends with, and what it says.
fn refused(ground: &Ground, words: &str, message: &str) -> (Option<i32>, String) {
    let output = sendmail(ground, words, message);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn sent(ground: &Ground, words: &str, message: &str) -> String {
    let output = sendmail(ground, words, message);
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn what_programs_send_arrives_whether_or_not_the_engine_runs() {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() });
    let site = site.expect("loopback");
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "");
    prepare(&ground, &ground.text());

    let letter =
        "To: Ann <ann@site.example>\nBcc: hidden@site.example\nX-Ledger-Id: down\nSubject: s\n\nx\n.\n.y\n";
    sent(&ground, "-t -i -f bounce@sender.example -F Shop -N success,delay -R hdrs -V id-1", letter);
    assert_eq!(ground.waiting_files(), 1, "it waits for the engine");

    let engine = ground.start().expect("the engine starts");
    until(PATIENCE, || (site.stats().recipients() == 2).then_some(())).expect("both are delivered");
    sent(&ground, "-oem -fann@sender.example up@site.example", "X-Ledger-Id: up\n\nhello\n.\nnever read\n");
    let said = sent(
        &ground,
        "-bs",
        "EHLO me\nMAIL FROM:<a@sender.example>\nRCPT TO:<bs@site.example>\nDATA\nX-Ledger-Id: bs\n\nby SMTP\n.\nQUIT\n",
    );
    assert!(said.contains("\r\n250 2.6.0 ") && said.contains("\r\n221 "), "{said}");
    until(PATIENCE, || (site.stats().recipients() == 4).then_some(())).expect("all are delivered");
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    assert_eq!(ground.waiting_files(), 0);

    let ledger = site.ledger();
    assert!(ledger.duplicates().is_empty());
    let of = |recipient: &str| {
        let found = ledger.deliveries.iter().find(|delivery| delivery.recipient == recipient);
        let delivery = found.unwrap_or_else(|| panic!("{recipient} got nothing"));
        assert_eq!(delivery.bare_line_ends, 0);
        let message = String::from_utf8(delivery.message.clone().expect("kept")).expect("text");
        (delivery.sender.as_str(), message)
    };
    for recipient in ["ann@site.example", "hidden@site.example"] {
        let (sender, message) = of(recipient);
        assert_eq!(sender, "bounce@sender.example");
        assert!(!message.contains("hidden") && !message.to_ascii_lowercase().contains("bcc"), "{message}");
        assert!(message.contains("\r\nTo: Ann <ann@site.example>\r\n"), "{message}");
        assert!(message.ends_with("\r\n\r\nx\r\n.\r\n.y\r\n"), "{message}");
        assert_eq!(header(message.as_bytes(), "From"), Some("Shop <bounce@sender.example>"));
        assert!(["Date", "Message-ID"].iter().all(|field| header(message.as_bytes(), field).is_some()));
    }
    let (sender, message) = of("up@site.example");
    assert_eq!(sender, "ann@sender.example");
    assert!(message.ends_with("\r\n\r\nhello\r\n"), "{message}");
    assert!(of("bs@site.example").1.ends_with("\r\n\r\nby SMTP\r\n"));
}

#[test]
fn what_cannot_be_sent_is_told_and_leaves_nothing() {
    let ground = Ground::new().expect("a directory");
    prepare(&ground, &ground.text());
    for (words, message, status, part) in [
        ("", "", 64, "name recipients"),
        ("-t", "Subject: s\n\nx\n", 64, "names no recipient"),
        ("-bd", "", 64, "posthaste run"),
        ("ann@@site.example", "x\n", 65, "the recipient `ann@@site.example` is not an address"),
        ("-t", "To: a@site.example b@site.example\n\n", 65, "the To field: a comma is missing"),
        ("-f a@,b@c a@site.example", "x\n", 65, "the sender"),
        ("a@site.example", "Subject: a\nSubject: b\n\n", 65, "second Subject header"),
        ("a@site.example", "X-Virtual-MTA: nobody\n\n", 65, "no virtual MTA `nobody`"),
        ("-C /nowhere a@site.example", "x\n", 78, "configuration /nowhere"),
    ] {
        let (code, said) = refused(&ground, words, message);
        assert_eq!(code, Some(status), "{words}: {said}");
        assert!(said.starts_with("sendmail: ") && said.contains(part), "{words}: {said}");
    }
    assert_eq!(fs::read_dir(ground.path("pickup")).expect("a directory").count(), 0);
}

#[test]
fn a_pickup_directory_that_cannot_be_written_is_named() {
    let ground = Ground::new().expect("a directory");
    // Where not even root can make a file.
    let configured = |pickup: &str| {
        let text = ground.text();
        let lines = text.lines().map(|line| match line.starts_with("pickup ") {
            true => format!("pickup {pickup} {pickup}\n"),
            false => format!("{line}\n"),
        });
        lines.collect::<String>()
    };
    prepare(&ground, &configured("/sys"));
    let (code, said) = refused(&ground, "a@site.example", "x\n");
    assert_eq!(code, Some(77), "{said}");
    assert!(said.contains("pickup directory /sys") && said.contains("chmod 2770 /sys"), "{said}");

    fs::write(ground.path("config"), configured("/nowhere")).expect("written");
    let (code, said) = refused(&ground, "a@site.example", "x\n");
    assert_eq!(code, Some(73), "{said}");
    assert!(said.contains("the pickup directory /nowhere cannot be opened"), "{said}");

    fs::write(ground.path("config"), ground.text().replace("pickup ", "# ")).expect("written");
    let (code, said) = refused(&ground, "a@site.example", "x\n");
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("write `pickup DIR BAD-DIR`"), "{said}");
}
