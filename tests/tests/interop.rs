//! Servers that others have written take the engine's mail, in clear and through STARTTLS, by DATA and by BDAT, and
//! what they have stored is what was sent. Skipped where a server is not installed.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use bench::ground::Ground;
use bench::mta::{Kind, Mta, Role};
use bench::people::{People, Person};
use bench::wait::until;
use mail_parser::{Message, MessageParser};
use tests::accounting::{self, Line};
use tests::peer::Peer;

const ROWS: u64 = 50;
/// Messages relayed, with two recipients each; one more, where SMTPUTF8 is offered, has an address that is not ASCII.
const RELAYED: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(30);

fn offers_smtputf8(kind: Kind) -> bool {
    kind != Kind::OpenSmtpd
}

/// Copies of relayed messages, and of all.
fn expected(kind: Kind) -> (u64, usize) {
    let relayed = RELAYED * 2 + u64::from(offers_smtputf8(kind));
    (relayed, (ROWS + relayed) as usize)
}

/// Everything that goes wrong on the way if anything does: lines that begin with dots or `From `, lines longer than
/// SMTP allows, letters beyond ASCII.
fn text() -> String {
    let long = "Öffnungszeiten und Preise: schön. ".repeat(90);
    format!(
        "Guten Tag {{{{ first_name }}}},\n.\n..\n.ein Punkt zuerst\nFrom hier an geht es weiter\n{long}\n\
         Ihr Code: {{{{ code }}}} – gültig in {{{{ city }}}}.\n"
    )
}

fn filled(template: &str, person: &Person) -> String {
    template
        .replace("{{ first_name }}", person.first)
        .replace("{{ last_name }}", person.last)
        .replace("{{ city }}", person.city)
        .replace("{{ code }}", &String::from_utf8_lossy(&person.code))
}

const SUBJECT: &str = "Grüße aus {{ city }}, {{ first_name }} {{ last_name }} – schöne Angebote für Sie und alle, \
                       die Sie mögen ✓";
const HTML: &str = "<p>Größe für {{ first_name }}:</p>\n.<b>{{ code }}</b>\n";

fn drop_campaign(ground: &Ground, people: &People) {
    let dir = ground.path("staging").join("interop.campaign");
    fs::create_dir(&dir).expect("a directory");
    let description = format!(
        "job = \"interop\"\nenvelope-sender = \"bounce@news.example\"\ntext = \"message.txt\"\n\
         html = \"message.html\"\nrecipients = \"recipients.csv\"\nemail-column = \"email\"\n\n[headers]\n\
         From = \"Zeitung für Sie <news@news.example>\"\nTo = \"{{{{ email }}}}\"\nSubject = \"{SUBJECT}\"\n"
    );
    fs::write(dir.join("campaign.toml"), description).expect("written");
    fs::write(dir.join("message.txt"), text()).expect("written");
    fs::write(dir.join("message.html"), HTML).expect("written");
    people.write_csv(fs::File::create(dir.join("recipients.csv")).expect("a file"), ROWS).expect("written");
    fs::rename(dir, ground.path("pickup").join("interop.campaign")).expect("renamed");
}

/// Subject and body of the relayed message `n`.
fn relayed(n: u64) -> (String, String) {
    let mut body = String::from(".\n..\n.eins\nFrom hier: naïve café ✓\n\n");
    // A line of the greatest length: 998 octets and its CRLF (RFC 5321 4.5.3.1.6).
    let _ = writeln!(body, "{}", "x".repeat(998));
    let _ = writeln!(body, "Nummer {n}");
    (format!("relayed {n}"), body)
}

fn relay(ground: &Ground, mta: &Mta) {
    let mut peer = Peer::connect(ground.listen).expect("the engine greets");
    let greeted = peer.say("EHLO peer.example").expect("a reply");
    assert!(greeted.starts_with("250 "), "{greeted}");
    for n in 0..RELAYED + u64::from(offers_smtputf8(mta.kind)) {
        let (subject, body) = relayed(n);
        let message = format!(
            "From: <a@peer.example>\nTo: <b@peer.example>\nSubject: {subject}\nMIME-Version: 1.0\n\
             Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{body}"
        );
        let (mail, recipients) = match n {
            RELAYED => ("<a@peer.example> BODY=8BITMIME SMTPUTF8", vec![format!("grüße.{n}@{}", mta.domain)]),
            _ => (
                "<a@peer.example> BODY=8BITMIME",
                ["one", "two"].map(|name| format!("{name}.{n}@{}", mta.domain)).to_vec(),
            ),
        };
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let reply = peer.send(mail, &recipients, &message).expect("a reply");
        assert!(reply.starts_with("250 2."), "{reply}");
    }
}

/// Sends everything to `mta` and compares what it has stored; the accounting's lines of deliveries.
fn send(mta: &Mta, directives: &str) -> Vec<Line> {
    let mut ground = Ground::new().expect("a directory");
    fs::create_dir(ground.path("tls")).expect("a directory");
    ground.route(mta.domain, mta.addr, &format!("  max-smtp-out 4\n{directives}"));
    let file = ground.path("tls").join("tls.csv");
    ground.add(&format!(
        "<acct-file {}>\n  records d,b,t\n  record-fields d *,dlvTlsProtocol,dlvTlsCipher\n</acct-file>",
        file.display()
    ));
    let people = People::new(11, &[(mta.domain, 1)]);

    let engine = ground.start().expect("the engine starts");
    drop_campaign(&ground, &people);
    relay(&ground, mta);
    let (relayed, wanted) = expected(mta.kind);
    let all = until(PATIENCE, || (mta.stored().ok()?.len() >= wanted).then_some(()));
    all.unwrap_or_else(|waited| {
        let stored = mta.stored().map(|s| s.len());
        panic!("{stored:?} of {wanted} stored after {waited:?}\n{}\n{}", mta.log(), engine.log_tail())
    });
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());

    let mut of_campaign = 0;
    let mut of_relay = 0;
    for raw in mta.stored().expect("a maildir") {
        let message = MessageParser::default().parse(&raw).expect("a message");
        match number(&recipient(&message, mta.kind)) {
            (true, n) => check_relayed(&raw, &message, n, &mut of_relay),
            (false, n) => check_campaign(&message, &people.nth(n), &mut of_campaign),
        }
    }
    assert_eq!((of_campaign, of_relay), (ROWS, relayed));
    let lines = accounting::read(&ground.path("tls")).expect("accounting files");
    let (delivered, other): (Vec<_>, Vec<_>) = lines.into_iter().partition(|l| l["type"] == "d");
    assert!(other.is_empty(), "{other:?}");
    assert_eq!(delivered.len(), wanted);
    delivered
}

/// Whom the server has stored this copy for.
fn recipient(message: &Message, kind: Kind) -> String {
    let field = match kind {
        Kind::Postfix => "X-Original-To",
        Kind::Exim => "Envelope-to",
        Kind::OpenSmtpd => "Delivered-To",
    };
    let value = message.header_raw(field).unwrap_or_else(|| panic!("no {field}"));
    value.trim().to_string()
}

/// Whether it was relayed, and the number in the address: the last thing in the local part.
fn number(address: &str) -> (bool, u64) {
    let local = address.split('@').next().unwrap_or("");
    let number = local.rsplit('.').next().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX);
    let relayed = ["one.", "two.", "grüße."].iter().any(|p| local.starts_with(p));
    (relayed, number)
}

fn check_campaign(message: &Message, person: &Person, seen: &mut u64) {
    assert_eq!(message.subject(), Some(filled(SUBJECT, person).as_str()));
    let from = message.from().and_then(|f| f.first()).expect("a From");
    assert_eq!((from.name(), from.address()), (Some("Zeitung für Sie"), Some("news@news.example")));
    let plain = |part: Option<std::borrow::Cow<str>>| part.expect("a part").replace("\r\n", "\n");
    assert_eq!(plain(message.body_text(0)).trim_end(), filled(&text(), person).trim_end());
    assert_eq!(plain(message.body_html(0)).trim_end(), filled(HTML, person).trim_end());
    *seen += 1;
}

fn check_relayed(raw: &[u8], message: &Message, n: u64, seen: &mut u64) {
    let (subject, body) = relayed(n);
    assert_eq!(message.subject(), Some(subject.as_str()));
    // Byte for byte, but for the line ends that the maildir has.
    let stored = String::from_utf8_lossy(raw).replace("\r\n", "\n");
    let stored = stored.split_once("\n\n").map_or("", |s| s.1);
    assert_eq!(stored, body);
    *seen += 1;
}

/// How many messages came through TLS by what the server itself says in the Received field it has added: the engine
/// has its mail in clear, so its own field says nothing of it.
fn received_through_tls(mta: &Mta) -> usize {
    let stored = mta.stored().expect("a maildir");
    let through_tls = |raw: &&Vec<u8>| {
        let text = String::from_utf8_lossy(raw);
        let head = text.split_once("\n\n").map_or("", |t| t.0);
        ["using TLSv1.3", "(TLS1.3)", "(TLSv1.3:"].iter().any(|told| head.contains(told))
    };
    stored.iter().filter(through_tls).count()
}

/// The whole conversation with one kind of server, in clear or not.
fn converse(kind: Kind, tls: bool, directives: &str) {
    let Some(mta) = Mta::start(kind, Role::Store { tls }).expect("the server starts") else { return };
    let delivered = send(&mta, directives);
    let protocol = if tls { "TLSv1.3" } else { "" };
    for line in &delivered {
        assert_eq!(line["dlvTlsProtocol"], protocol, "{line:?}");
        assert_eq!(line["dlvTlsCipher"].is_empty(), !tls, "{line:?}");
        assert!(line["dsnStatus"].starts_with("2.") && line["dsnDiag"].contains("250"), "{line:?}");
    }
    assert_eq!(received_through_tls(&mta), if tls { delivered.len() } else { 0 });
    if kind == Kind::Exim {
        // Exim notes with a K what came by BDAT.
        let by_bdat = mta.log().lines().filter(|l| l.contains(" <= ") && l.contains(" K ")).count();
        let messages = (ROWS + RELAYED + 1) as usize;
        assert_eq!(
            by_bdat,
            if directives.contains("prefer-chunking") { messages } else { 0 },
            "{}",
            mta.log()
        );
    }
    eprintln!("{kind:?}, tls {tls}, {directives:?}: {} delivered and stored", delivered.len());
}

#[test]
fn postfix_in_clear() {
    converse(Kind::Postfix, false, "");
}

#[test]
fn postfix_through_starttls() {
    converse(Kind::Postfix, true, "  require-starttls yes");
}

#[test]
fn postfix_by_bdat_through_starttls() {
    converse(Kind::Postfix, true, "  prefer-chunking yes");
}

#[test]
fn exim_in_clear() {
    converse(Kind::Exim, false, "");
}

#[test]
fn exim_through_starttls() {
    converse(Kind::Exim, true, "  require-starttls yes");
}

#[test]
fn exim_by_bdat_in_clear() {
    converse(Kind::Exim, false, "  prefer-chunking yes");
}

#[test]
fn opensmtpd_in_clear() {
    converse(Kind::OpenSmtpd, false, "");
}

#[test]
fn opensmtpd_through_starttls() {
    converse(Kind::OpenSmtpd, true, "  require-starttls yes");
}
