//! Pickup files, good and bad.

use super::*;
use crate::mail::row::REFUSED_FIELD;
use proptest::prelude::*;

fn read(file: &str) -> PickupMessage {
    parse(file.as_bytes(), &PickupOptions::default()).unwrap()
}

fn refused(file: &str) -> String {
    parse(file.as_bytes(), &PickupOptions::default()).unwrap_err().to_string()
}

const PLAIN: &str = "x-sender: bounce@news.example\nx-receiver: jim@site.example\nX-Receiver:eva@other.example\n\
    x-envid: e-1\nx-job: spring\nFrom: News <news@news.example>\nSubject: Hello\n\tagain\nx-virtual-mta: pool-a\n\n.\n..two\nlast";

#[test]
fn a_domain_of_one_label_gets_the_suffix() {
    let options = PickupOptions { domain_suffix: "example.com", ..PickupOptions::default() };
    let plain = "x-sender: app@web\nx-receiver: jim@host\nx-receiver: ann@site.example\nx-sender-override: b@web\n\
                 From: a@b.example\n\nText\n";
    let batch = "HELO web\nMAIL FROM:<b@web>\nRCPT TO:<jim@host>\nRCPT TO:<ann@site.example>\nDATA\n\
                 From: a@b.example\n\nText\n.\n";
    for file in [plain, batch] {
        let message = parse(file.as_bytes(), &options).unwrap();
        assert_eq!(message.sender, "b@web.example.com");
        assert_eq!(message.recipients, ["jim@host.example.com", "ann@site.example"]);
    }
    let plain = plain.replace("x-sender-override: b@web\n", "");
    assert_eq!(parse(plain.as_bytes(), &options).unwrap().sender, "app@web.example.com");
}

#[test]
fn a_plain_file_is_envelope_then_message() {
    let message = read(PLAIN);
    assert_eq!(message.sender, "bounce@news.example");
    assert_eq!(message.recipients, ["jim@site.example", "eva@other.example"]);
    assert_eq!((&*message.envid, &*message.job, &*message.virtual_mta), ("e-1", "spring", "pool-a"));
    // No dot handling, no headers added, nothing else removed.
    let expected =
        "From: News <news@news.example>\r\nSubject: Hello\r\n\tagain\r\n\r\n.\r\n..two\r\nlast\r\n";
    assert_eq!(String::from_utf8(message.message).unwrap(), expected);
}

#[test]
fn a_plain_file_reads_the_same_with_either_line_end() {
    assert_eq!(read(&PLAIN.replace('\n', "\r\n")), read(PLAIN));
    assert_eq!(read(&format!("\u{feff}{PLAIN}")), read(PLAIN));
}

#[test]
fn the_override_wins_wherever_it_stands() {
    let message =
        read("x-sender: a@x.example\nx-receiver: b@x.example\nFrom: c\nX-Sender-Override: d@x.example\n\n");
    assert_eq!(
        (message.sender.as_str(), message.message.as_slice()),
        ("d@x.example", b"From: c\r\n\r\n".as_slice())
    );
    let null = read("x-sender:\nx-receiver: b@x.example\nFrom: c\n\nbody\n");
    assert_eq!(null.sender, "");
    assert_eq!(read("x-sender: <>\nx-receiver: b@x.example\nFrom: c\n").message, b"From: c\r\n\r\n");
}

#[test]
fn the_virtual_mta_header_stays_where_it_is_not_processed() {
    let options = PickupOptions { process_virtual_mta: false, ..PickupOptions::default() };
    let file = b"x-sender: a@x.example\nx-receiver: b@x.example\nx-virtual-mta: v\nx-job: j\nFrom: c\n\n";
    let message = parse(file, &options).unwrap();
    assert_eq!((&*message.virtual_mta, &*message.job), ("", "j"));
    assert_eq!(message.message, b"x-virtual-mta: v\r\nFrom: c\r\n\r\n");
}

#[test]
fn dot_stuffing_is_undone_on_request() {
    let options = PickupOptions { remove_dot: true, ..PickupOptions::default() };
    let file = b"x-sender: a@x.example\nx-receiver: b@x.example\nFrom: c\n\n..\n...x\n.y\nz\n.\n";
    let message = parse(file, &options).unwrap();
    assert_eq!(message.message, b"From: c\r\n\r\n.\r\n..x\r\n.y\r\nz\r\n");
}

#[test]
fn a_bad_plain_file_is_refused_with_line_field_and_remedy() {
    let envelope = "x-sender: a@x.example\nx-receiver: b@x.example\n";
    for (file, said) in [
        (String::new(), "line 1: the file is empty"),
        (" \n\r\n".to_owned(), "line 1: the file is empty"),
        (
            "From: a@x.example\n\nHi\n".to_owned(),
            "line 1: a plain pickup file starts with `x-sender: user@domain`",
        ),
        ("x-receiver: a@x.example\n".to_owned(), "line 1: a plain pickup file starts with"),
        (
            "x-sender: Jim <a@x.example>\n".to_owned(),
            "line 1: `Jim <a@x.example>` is not an address for `x-sender`: ",
        ),
        (
            "x-sender: <a@x.example>\n".to_owned(),
            "write user@domain, without a name and without angle brackets",
        ),
        (
            "x-sender: a@x.example\nx-receiver: b@\n".to_owned(),
            "line 2: `b@` is not an address for `x-receiver`",
        ),
        ("x-sender: a@x.example\nx-receiver:\n".to_owned(), "line 2: `` is not an address for `x-receiver`"),
        (
            "x-sender: a@x.example\nFrom: b\n\n".to_owned(),
            "line 2: there is no recipient; name each by a line `x-receiver:",
        ),
        (
            "x-sender: a@x.example\nx-sender: b@x.example\n".to_owned(),
            "line 2: `x-sender` is there a second time",
        ),
        (format!("{envelope}x-job: a\nx-job: b\n"), "line 4: `x-job` is there a second time"),
        (format!("{envelope}x-job:\n"), "line 3: `x-job` has to be 1 to 128 characters"),
        (
            format!("{envelope}From: c\nx-receiver: d@x.example\n"),
            "line 4: `x-receiver` has to stand before the headers",
        ),
        (format!("{envelope}From: c\nx-job: d\n e\n"), "line 5: `x-job` stands on one line"),
        (format!("{envelope} c\n"), "line 3: this is neither a header"),
        (
            format!("{envelope}From: c\nHello\n"),
            "line 4: this is neither a header (`Name: value`) nor the empty line",
        ),
        (format!("{envelope}To: c\n\nHi\n"), "line 4: the message has no From header"),
        (format!("{envelope}From: c\nfrom: d\n"), "line 4: the message has a second From header"),
        (format!("{envelope}Subject: c\nSubject: d\n"), "line 4: the message has a second Subject header"),
        (envelope.to_owned(), "line 2: there is no message after the envelope"),
        (
            format!("{envelope}From: c\n\na\rb\n"),
            "line 5: a carriage return stands alone; lines end with LF or CR LF",
        ),
        (format!("{envelope}From: c\n\na\r"), "line 5: a carriage return stands alone"),
        (format!("{envelope}From: c\n\na\r\r\n"), "line 5: a carriage return stands alone"),
        (format!("{envelope}From: c\n\na\0b\n"), "line 5: there is a NUL character"),
        (
            format!("{envelope}From: c\n\n{}\n", "x".repeat(999)),
            "line 5: the line is 999 bytes long; at most 998",
        ),
    ] {
        let error = refused(&file);
        assert!(error.contains(said), "{file:?}: {error}");
    }
    let error = parse(b"x-sender: a\xff@x.example\n", &PickupOptions::default()).unwrap_err().to_string();
    assert_eq!(error, "line 1: `x-sender` is not UTF-8");
    let small = PickupOptions { max_bytes: 10, ..PickupOptions::default() };
    let error = parse(PLAIN.as_bytes(), &small).unwrap_err();
    assert!(error.reason("a.eml").starts_with("a.eml: line 1: the file is "), "{}", error.reason("a.eml"));
}

#[test]
fn a_batch_smtp_file_is_a_session_without_replies() {
    let message = read(
        "EHLO app.example\r\nXACK ON\r\nMAIL FROM:<bounce@news.example> BODY=8BITMIME RET=hdrs ENVID=a+2Bb SIZE=10\r\n\
         RCPT TO:<jim@site.example> NOTIFY=NEVER\r\nrcpt to: <\"a>b\"@site.example>\r\nDATA\r\nFrom: c\r\nX-Job: j\r\n\
         X-Virtual-MTA: v\r\n\r\n..\r\n.x\r\nlast\r\n.\r\n\r\n",
    );
    assert_eq!(message.sender, "bounce@news.example");
    assert_eq!(message.recipients, ["jim@site.example", "\"a>b\"@site.example"]);
    assert_eq!((&*message.envid, &*message.dsn_ret), ("a+b", "HDRS"));
    assert_eq!((&*message.job, &*message.virtual_mta), ("j", "v"));
    assert_eq!(message.message, b"From: c\r\n\r\n.\r\nx\r\nlast\r\n");
}

#[test]
fn after_xack_off_bad_recipients_bounce_and_the_others_are_sent() {
    let file = "XACK OFF\nMAIL FROM:<>\nRCPT TO:<jim>\nRCPT TO:<eva@x.example>\nDATA\nFrom: c\n\n.\n";
    let message = read(file);
    assert_eq!(message.recipients, ["eva@x.example"]);
    let refusals: Vec<_> =
        message.refused.iter().map(|refused| (refused.address.as_str(), &refused.reply[..9])).collect();
    assert_eq!(refusals, [("jim", "501 5.1.3")]);
    assert!(refused(&file.replace("OFF", "ON")).starts_with("line 3: `jim` is not an address for `RCPT TO`"));
}

#[test]
fn who_gets_no_mail_refuses_the_file_or_bounces() {
    let lists = Suppression::new(|address| (address.local() == "gone").then(|| "a1".into()));
    let strict =
        PickupOptions { suppression: Some(&lists), domain_suffix: "x.example", ..PickupOptions::default() };
    let lenient = PickupOptions { accept_invalid: true, ..strict };
    let plain = "x-sender: a@x.example\nx-receiver: gone@x\nx-receiver: to x\nx-receiver: eva@x\nFrom: c\n\n";
    let batch = "MAIL FROM:<a@x.example>\nRCPT TO:<gone@x>\nRCPT TO:<to x> NOTIFY=NEVER\nRCPT TO:<eva@x>\nDATA\nFrom: c\n\n.\n";
    for file in [plain, batch] {
        let error = parse(file.as_bytes(), &strict).expect_err("suppressed").to_string();
        assert_eq!(error, "line 2: recipient is in suppression list \"a1\": <gone@x.x.example>");
        let message = parse(file.as_bytes(), &lenient).expect("taken");
        assert_eq!(message.recipients, ["eva@x.x.example"]);
        let told: Vec<_> = message.refused.iter().map(|to| (to.address.as_str(), &to.reply[..9])).collect();
        assert_eq!(told, [("gone@x.x.example", "550 5.7.1"), ("to x", "501 5.1.3")]);
        let notify = message.refused[1].dsn.notify.to_string();
        assert_eq!(notify, if file == batch { "NEVER" } else { "" });
    }
    // A file of them alone is taken as well; XACK OFF says the same of a file.
    let alone = batch.replace("RCPT TO:<eva@x>\n", "");
    assert!(parse(alone.as_bytes(), &lenient).is_ok_and(|m| m.recipients.is_empty() && m.refused.len() == 2));
    assert!(parse(format!("XACK OFF\n{batch}").as_bytes(), &strict).is_ok_and(|m| m.refused.len() == 2));
}

#[test]
fn a_bad_batch_smtp_file_is_refused_with_line_command_and_remedy() {
    let mail = "MAIL FROM:<a@x.example>\nRCPT TO:<b@x.example>\n";
    for (file, said) in [
        (
            "MAIL FROM:a@x.example\n".to_owned(),
            "line 1: this is not how MAIL is written; write MAIL FROM:<user@domain>",
        ),
        ("MAIL FROM:<a@>\n".to_owned(), "line 1: `a@` is not an address for `MAIL FROM`"),
        (
            "MAIL FROM:<a@x.example> FOO=1\n".to_owned(),
            "line 1: MAIL has no parameter `FOO=1`; it may have SIZE=",
        ),
        ("MAIL FROM:<a@x.example> ENVID=+2\n".to_owned(), "ENVID is written as xtext"),
        ("HELO\n".to_owned(), "line 1: this is not how HELO is written"),
        (
            "HELO a\nRCPT TO:<b@x.example>\n".to_owned(),
            "line 2: RCPT comes out of order; MAIL comes before it",
        ),
        ("HELO a\nDATA\n".to_owned(), "line 2: DATA comes out of order"),
        ("XACK MAYBE\n".to_owned(), "line 1: this is not how XACK is written; write XACK ON or XACK OFF"),
        (
            "MAIL FROM:<>\nDATA\n".to_owned(),
            "line 2: there is no recipient; name each by RCPT TO:<user@domain>",
        ),
        (format!("{mail}MAIL FROM:<>\n"), "line 3: MAIL comes out of order; a file holds one message"),
        (format!("{mail}RCPT TO:<c@x.example> X=1\n"), "line 3: RCPT has no parameter `X=1`"),
        (format!("{mail}QUIT\n"), "line 3: `QUIT` is not a command of a batch SMTP file"),
        (format!("{mail}DATA now\n"), "line 3: this is not how DATA is written"),
        (mail.to_owned(), "line 2: the end of the file comes out of order"),
        (format!("{mail}DATA\nFrom: c\n\nHi\n"), "line 6: the file ends before the line with a single dot"),
        (
            format!("{mail}DATA\nFrom: c\n\n.\nQUIT\n"),
            "line 7: there is something after the end of the message",
        ),
        ("XACK ON\nXDFN a=1\n".to_owned(), "line 2: XDFN comes out of order; it stands after XMRG"),
        (format!("{mail}XPRT 1\n"), "line 3: XPRT comes out of order; XMRG and RCPT come before it"),
    ] {
        let error = refused(&file);
        assert!(error.contains(said), "{file:?}: {error}");
    }
    let long = format!("MAIL FROM:<{}@x.example>\n", "a".repeat(5000));
    assert!(refused(&long).contains("at most 4096 are allowed"));
}

/// The sample of reference 5.3.
const MERGED: &str = "XACK ON\nXMRG FROM:<bounce@ex.example> verp\n\
    XDFN FName=\"Jim\" CID=\"1234\" *vmta=\"mta1\" *parts=\"1-3\" *jobID=\"1234\"\nRCPT TO:<jim@ex.example>\n\
    XDFN FName=\"Cosmo\" *parts=\"1,3\"\nRCPT TO:<cosmo@ex.example>\n\
    XPRT 1\nFrom: \"Service\" [*from]\n\nHi [FName],\n.\nXPRT 2\n..two\n.\nXPRT 3 LAST\nbye\n.\n\n";

#[test]
fn a_batch_smtp_file_with_mail_merge() {
    let message = read(MERGED);
    assert_eq!(message, read(&MERGED.replace('\n', "\r\n")));
    assert_eq!((message.sender.as_str(), message.recipients.len()), ("bounce@ex.example", 0));
    assert_eq!(message.message, b"From: \"Service\" [*from]\r\n\r\nHi [FName],\r\n.two\r\nbye\r\n");
    assert!(message.verp);
    let merge = message.merge.unwrap();
    assert_eq!(
        merge.parts.iter().map(|part| (part.number, part.end)).collect::<Vec<_>>(),
        [(1, 40), (2, 46), (3, 51)]
    );
    let rows: Vec<_> = merge.rows().map(|row| (row.address, row.values().count())).collect();
    assert_eq!(rows, [("jim@ex.example", 5), ("cosmo@ex.example", 2)]);
}

#[test]
fn a_bad_file_with_mail_merge_is_refused_as_a_whole() {
    for (old, new, said) in [
        ("FName=\"Cosmo\" *parts=\"1,3\"", "FName=\"Cosmo", "line 5: FName: the quote is not closed"),
        ("cosmo@ex", "cosmo", "line 6: `cosmo.example` is not an address for `RCPT TO`"),
        ("RCPT TO:<cosmo@ex.example>\n", "", "line 6: XPRT comes out of order; RCPT follows XDFN"),
        ("XPRT 2", "XPRT 1", "line 12: part 1 is there a second time"),
        ("XPRT 2", "XPRT two", "line 12: this is not how XPRT is written; write XPRT 1, or XPRT 1 LAST"),
        (
            "XPRT 2",
            "RCPT TO:<a@ex.example>",
            "line 12: RCPT comes out of order; it stands before the first XPRT",
        ),
        ("XPRT 2", "XDFN a=1", "line 12: XDFN comes out of order"),
        (
            " LAST\nbye\n.\n\n",
            "\nbye\n.\n",
            "the end of the file comes out of order; the message comes last, after DATA or in parts after XPRT",
        ),
        ("bye\n.\n", "bye\n", "the file ends before the line with a single dot"),
        (
            "XMRG",
            "MAIL",
            "line 3: XDFN comes out of order; it stands after XMRG, before the RCPT that it is for",
        ),
        (
            "XPRT 1\n",
            "DATA\n",
            "line 7: DATA comes out of order; MAIL and RCPT come before it; after XMRG comes XPRT",
        ),
    ] {
        assert!(MERGED.contains(old), "{old}");
        let error = refused(&MERGED.replacen(old, new, 1));
        assert!(error.contains(said), "{new}: {error}");
    }
}

#[test]
fn after_xack_off_a_merged_message_goes_to_the_others() {
    let message = read(&MERGED.replacen("XACK ON", "XACK OFF", 1).replacen("jim@ex.example", "jim", 1));
    assert!(message.refused.is_empty());
    let merge = message.merge.unwrap();
    let refused = merge.number(REFUSED_FIELD).expect("one is");
    // Who bounces keeps what was defined for him, and whoever comes next does not get it.
    let rows: Vec<_> = merge
        .rows()
        .map(|row| (row.address, row.values().count(), row.values().any(|(number, _)| number == refused)))
        .collect();
    assert_eq!(rows, [("jim", 6, true), ("cosmo@ex.example", 2, false)]);
}

#[test]
fn a_line_end_other_than_lf_or_crlf_ends_no_message() {
    for end in ["\r", "\u{b}", "\u{c}", "\u{85}", "\u{2028}"] {
        let file = format!(
            "MAIL FROM:<>\nRCPT TO:<b@x.example>\nDATA\nFrom: c\n\nx{end}.{end}MAIL FROM:<evil@x.example>\n.\n"
        );
        match parse(file.as_bytes(), &PickupOptions::default()) {
            Ok(message) => assert!(message.message.ends_with(b"MAIL FROM:<evil@x.example>\r\n"), "{end:?}"),
            Err(error) => assert_eq!(error.problem, PickupProblem::BareCr, "{end:?}"),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered_and_what_passes_is_clean(
        start in prop::sample::select(vec![
            "", "x-sender: a@x.example\nx-receiver: b@x.example\n", "x-sender: a@x.example\nx-receiver: b@x.example\nFrom: c\n",
            "MAIL FROM:<>\n", "MAIL FROM:<>\nRCPT TO:<a@x.example>\nDATA\nFrom: c\n",
        ]),
        tail in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b':'), any::<u8>()], 0..120),
        end in prop::sample::select(vec!["", "\n", "\n.\n"]),
    ) {
        let file = [start.as_bytes(), &tail, end.as_bytes()].concat();
        let lines = file.iter().filter(|byte| **byte == b'\n').count() + 1;
        match parse(&file, &PickupOptions::default()) {
            Ok(message) => {
                let text = &message.message;
                prop_assert!(text.ends_with(b"\r\n"));
                for (at, byte) in text.iter().enumerate() {
                    prop_assert!(*byte != b'\n' || text[at - 1] == b'\r');
                    prop_assert!(*byte != b'\r' || text[at + 1] == b'\n');
                }
                prop_assert!(!message.recipients.is_empty() || !message.refused.is_empty());
            }
            Err(error) => prop_assert!((1..=lines).contains(&error.line), "{}", error),
        }
    }

    #[test]
    fn a_body_comes_through_byte_by_byte(lines in prop::collection::vec("[ -~é]{0,60}", 0..12), crlf in any::<bool>()) {
        let end = if crlf { "\r\n" } else { "\n" };
        let expected = format!("From: c\r\n\r\n{}", lines.iter().map(|line| format!("{line}\r\n")).collect::<String>());
        let plain = format!("x-sender: a@x.example\nx-receiver: b@x.example\nFrom: c{end}{end}{}", lines.iter().map(|line| format!("{line}{end}")).collect::<String>());
        prop_assert_eq!(read(&plain).message, expected.as_bytes());
        let stuffed = |line: &String| if line.starts_with('.') { format!(".{line}{end}") } else { format!("{line}{end}") };
        let batch = format!("MAIL FROM:<>{end}RCPT TO:<a@x.example>{end}DATA{end}From: c{end}{end}{}.{end}", lines.iter().map(stuffed).collect::<String>());
        prop_assert_eq!(read(&batch).message, expected.as_bytes());
    }
}
