//! Who clients are and how many of them are served: groups of sources, places that are waited for, proxies that say for
//! whom they speak, and what the log is told of sessions.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use bench::ground::Ground;
use bench::site::SiteHandle;
use bench::wait::until;
use tests::peer::Peer;
use tests::submission::site;

const PATIENCE: Duration = Duration::from_secs(60);

/// A ground with a second listener, whose source is called `second` and holds these lines.
fn ground(site: &SiteHandle, second: &str, listener: &str) -> (Ground, SocketAddr) {
    let mut ground = Ground::new().expect("a directory");
    ground.vmta("a", [127, 0, 92, 1].into()).vmta("b", [127, 0, 92, 2].into());
    ground.route("site.example", site.addr("site"), "");
    let free = TcpListener::bind((ground.listen.ip(), 0)).and_then(|listener| listener.local_addr());
    let address = free.expect("a free port");
    ground.add(&format!(
        "<source second>\n{second}\n</source>\n\
         <smtp-listener {address}>\n  source second\n{listener}\n</smtp-listener>\n\
         <source 192.0.2.0/24>\n  always-allow-relaying yes\n  default-virtual-mta a\n</source>\n\
         <source 192.0.2.7>\n  default-virtual-mta b\n</source>\n\
         <source 192.0.2.66>\n  smtp-service no\n</source>\n\
         <smtp-user ann>\n  password secret\n  source ann\n</smtp-user>\n\
         <source ann>\n  default-virtual-mta b\n</source>\n\
         <acct-file {}>\n  records d\n  record-fields d rcpt,vmta,rcvSmtpUser\n</acct-file>",
        ground.path("who.csv").display()
    ));
    (ground, address)
}

fn mail(peer: &mut Peer, to: &str) {
    assert!(peer.say("EHLO me.example").expect("a reply").starts_with("250 "));
    let said = peer.send("<x@s.example>", &[to], "Subject: x\n\nText\n").expect("a reply");
    assert!(said.starts_with("250 "), "{said}");
}

/// The lines of the accounting file of these tests, once there are so many.
fn accounts(ground: &Ground, lines: usize) -> Vec<String> {
    let read = || {
        let files = fs::read_dir(ground.path("")).expect("a directory").flatten().map(|entry| entry.path());
        let files = files.filter(|path| path.to_string_lossy().contains("who-"));
        let text: String = files.map(|path| fs::read_to_string(path).unwrap_or_default()).collect();
        let mut told: Vec<String> =
            text.lines().filter(|line| line.starts_with("d,")).map(str::to_owned).collect();
        told.sort();
        (told.len() >= lines).then_some(told)
    };
    until(PATIENCE, read).expect("accounts of all")
}

#[test]
fn a_proxy_header_chooses_the_source() {
    let site = site();
    let (ground, second) = ground(&site, "  require-proxy-protocol yes", "");
    let engine = ground.start().expect("the engine starts");
    let connect = |header: &[u8]| {
        let mut peer = Peer::silent(second).expect("it listens");
        peer.write(header).expect("sent");
        peer
    };
    let mut peer = connect(b"PROXY TCP4 192.0.2.9 198.51.100.1 4711 25\r\n");
    assert!(peer.reply().expect("a greeting").starts_with("220 "));
    mail(&mut peer, "one@site.example");
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let v2 = [&signature[..], &[0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 1, 1, 0, 25]].concat();
    let mut peer = connect(&v2[..20]);
    peer.write(&v2[20..]).expect("sent");
    assert!(peer.reply().expect("a greeting").starts_with("220 "));
    mail(&mut peer, "two@site.example");
    let mut refused = connect(b"PROXY TCP4 192.0.2.66 198.51.100.1 4711 25\r\n");
    assert!(refused.reply().expect("a greeting").starts_with("521 "));
    let mut stranger = connect(b"PROXY TCP4 203.0.113.1 198.51.100.1 4711 25\r\n");
    assert!(stranger.reply().expect("a greeting").starts_with("220 "));
    stranger.say("EHLO me.example").expect("a reply");
    stranger.say("MAIL FROM:<x@s.example>").expect("a reply");
    assert_eq!(
        stranger.say("RCPT TO:<x@site.example>").expect("a reply"),
        "550 5.7.1 relaying denied",
        "the rights of the proxy are not those of its clients"
    );
    let mut bare = connect(b"EHLO me.example\r\n");
    assert_eq!(bare.reply().unwrap_or_default(), "", "closed without a word");
    assert_eq!(accounts(&ground, 2), ["d,one@site.example,a,", "d,two@site.example,b,"]);
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn xclient_chooses_the_source_and_the_user() {
    let site = site();
    let (ground, second) = ground(&site, "  allow-xclient yes", "");
    let engine = ground.start().expect("the engine starts");
    let mut peer = Peer::connect(second).expect("a greeting");
    peer.say("EHLO proxy.example").expect("a reply");
    let say = |peer: &mut Peer, line: &str| peer.say(line).expect("a reply");
    assert!(say(&mut peer, "XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.9 PORT=4711").starts_with("220 "));
    mail(&mut peer, "one@site.example");
    assert!(say(&mut peer, "XCLIENT ADDR=192.0.2.9 LOGIN=ann").starts_with("220 "));
    mail(&mut peer, "two@site.example");
    assert!(say(&mut peer, "XCLIENT ADDR=192.0.2.66").starts_with("521 "));
    let mut other = Peer::connect(ground.listen).expect("a greeting");
    assert!(say(&mut other, "XCLIENT ADDR=192.0.2.9").starts_with("550 5.7.0 "));
    assert_eq!(accounts(&ground, 2), ["d,one@site.example,a,", "d,two@site.example,b,ann"]);
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn a_group_has_its_limit_and_those_who_may_wait_get_the_next_place() {
    let site = site();
    let (mut ground, second) = ground(&site, "  source-group few", "");
    ground.add("<source-group few>\n  max-smtp-in 1\n  reserved-smtp-in 1\n</source-group>");
    let engine = ground.start().expect("the engine starts");
    let first = until(PATIENCE, || Peer::connect(second).ok()).expect("a greeting");
    let mut over = Peer::silent(second).expect("it listens");
    assert!(over.reply().expect("a reply").starts_with("421 "));
    Peer::connect(ground.listen).expect("others are served");
    drop(first);
    until(PATIENCE, || Peer::connect(second).ok()).expect("the place is free again");
    assert!(engine.stop().expect("it can be waited for").success());

    let (mut ground, second) = self::ground(&site, "  source-group few", "  await-slot yes");
    ground.add("<source-group few>\n  max-smtp-in 1\n</source-group>");
    let engine = ground.start().expect("the engine starts");
    let first = Peer::connect(second).expect("a greeting");
    let mut waits = Peer::silent(second).expect("it listens");
    std::thread::sleep(Duration::from_millis(200));
    drop(first);
    assert!(waits.reply().expect("a greeting").starts_with("220 "));
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn the_log_is_told_of_sessions_and_never_of_passwords() {
    let site = site();
    let source =
        "  log-connections yes\n  log-commands yes\n  log-data yes\n  allow-unencrypted-plain-auth yes";
    let (ground, second) = ground(&site, source, "");
    let engine = ground.start().expect("the engine starts");
    let mut peer = Peer::connect(second).expect("a greeting");
    peer.say("EHLO me.example").expect("a reply");
    for line in ["AUTH LOGIN", "YW5u", "c2VjcmV0"] {
        peer.say(line).expect("a reply");
    }
    mail(&mut peer, "one@site.example");
    peer.say("QUIT").expect("a reply");
    drop(peer);
    let log = || fs::read_to_string(ground.path("log")).ok().filter(|text| text.contains("disconnected"));
    let log = until(PATIENCE, log).expect("the end is told");
    for told in [
        "smtp: connected",
        "C: EHLO me.example",
        "S: 235 2.7.0",
        "C: RCPT TO:<one@site.example>",
        "S: 221 2.0.0",
        "data: ",
    ] {
        assert!(log.contains(told), "{told} in\n{log}");
    }
    assert!(!log.contains("YW5u") && !log.contains("c2VjcmV0"), "{log}");
    assert!(engine.stop().expect("it can be waited for").success());
}
