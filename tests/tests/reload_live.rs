//! What a reload changes beside queues, on a running engine: the addresses listened on, accounting, the pickup directory,
//! the log, name servers. Nothing that is open or under way suffers by it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use bench::campaign::Campaign;
use bench::engine::Engine;
use bench::ground::Ground;
use bench::people::People;
use bench::site::{DoorConfig, Persona, Site, SiteConfig, SiteHandle};
use bench::source::{self, Load, SourceConfig};
use bench::wait::until;
use serde_json::{Value, json};
use tests::accounting;
use tests::peer::Peer;

const PATIENCE: Duration = Duration::from_secs(60);

fn site() -> SiteHandle {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    Site::start(SiteConfig { doors, ..SiteConfig::default() }).expect("loopback")
}

fn reload(ground: &Ground, engine: &Engine, text: &str) -> io::Result<Value> {
    fs::write(ground.path("config"), text).expect("the configuration is written");
    engine.ask(&json!({"request": "reload"}))
}

fn free_port(address: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((address.ip(), 0)).expect("a port");
    listener.local_addr().expect("of a socket")
}

fn greets(address: SocketAddr) -> bool {
    Peer::connect(address).is_ok()
}

#[test]
fn listeners_come_and_go_and_sessions_stay() {
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "");
    let engine = ground.start().expect("the engine starts");
    let first = ground.listen;
    let second = free_port(first);
    let line = |address: &dyn std::fmt::Display| format!("smtp-listener {address}\n");
    let with = |lines: &str| ground.text().replace(&line(&first), lines);
    let mut session = Peer::connect(first).expect("the engine greets");
    for command in ["EHLO peer.example", "MAIL FROM:<a@peer.example>"] {
        assert!(session.say(command).expect("a reply").starts_with("250 "), "{command}");
    }

    let report = reload(&ground, &engine, &with(&(line(&first) + &line(&second)))).expect("it is right");
    assert_eq!(report["restart"], json!([]));
    assert!(greets(first) && greets(second), "one more");

    reload(&ground, &engine, &with(&line(&second))).expect("it is right");
    assert!(!greets(first) && greets(second), "one less");
    // The session came in where nobody listens any more.
    assert!(session.say("RCPT TO:<b@site.example>").expect("a reply").starts_with("250 "));
    assert!(session.say("DATA").expect("a reply").starts_with("354 "));
    assert!(session.say("Subject: s\r\n\r\nbody\r\n.").expect("a reply").starts_with("250 "));
    until(PATIENCE, || (site.stats().recipients() == 1).then_some(())).expect("it is delivered");

    // Somebody else's address: nothing changes, the one in the way of it included.
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("of a socket").port();
    let beside = SocketAddr::new(first.ip(), port);
    reload(&ground, &engine, &with(&line(&beside))).expect("it is right");
    let everywhere = format!("0.0.0.0:{port}");
    let told =
        reload(&ground, &engine, &with(&line(&everywhere))).expect_err("the address is taken").to_string();
    assert!(told.contains(&format!("cannot listen on {everywhere}")) && told.contains("/config:"), "{told}");
    assert!(greets(beside), "opened again");
    let status = engine.ask(&json!({"request": "status"})).expect("it answers");
    assert_eq!(status["failed_reloads"], 1);
    drop(taken);
    reload(&ground, &engine, &with(&line(&everywhere))).expect("it is free now");
    assert!(greets(beside) && greets(SocketAddr::from(([127, 0, 0, 1], port))));

    assert!(session.say("NOOP").expect("the session is still there").starts_with("250 "));
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn clients_are_limited_and_treated_as_the_new_file_says() {
    let ground = Ground::new().expect("a directory");
    let engine = ground.start().expect("the engine starts");
    let mut session = Peer::connect(ground.listen).expect("the engine greets");
    reload(&ground, &engine, &(ground.text() + "total-max-smtp-in 1\n")).expect("it is right");
    let refused = Peer::connect(ground.listen).map(|_| ()).expect_err("one client is there").to_string();
    assert!(refused.contains("421"), "{refused}");
    reload(&ground, &engine, &(ground.text() + "total-max-smtp-in 3\n")).expect("it is right");
    assert!(greets(ground.listen));

    // The same address, by another source.
    let listener = format!("smtp-listener {}", ground.listen);
    let closed = ground.text().replace(&listener, &format!("{listener} source=closed"));
    let report = reload(&ground, &engine, &(closed + "<source closed>\n  smtp-service no\n</source>\n"));
    assert_eq!(report.expect("it is right")["restart"], json!([]));
    let refused = Peer::connect(ground.listen).map(|_| ()).expect_err("closed").to_string();
    assert!(refused.contains("521"), "{refused}");
    assert!(session.say("NOOP").expect("the session is still there").starts_with("250 "));
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn accounting_files_change_without_a_line_lost_or_doubled() {
    const MESSAGES: u64 = 1500;
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "");
    let engine = ground.start().expect("the engine starts");
    let load = Load { messages: MESSAGES, domains: vec!["site.example".into()], ..Load::default() };
    let config = SourceConfig { rate: Some(500), ..SourceConfig::new(ground.listen, load) };
    let sending = source::start(config).expect("a thread");
    let usual = format!("<acct-file {}>", ground.path("acct/acct.csv").display());
    let other = format!("<acct-file {}>", ground.path("acct/other.csv").display());
    for turn in 0..12 {
        let (from, to) = match turn % 3 {
            0 => (usual.as_str(), other.clone()),
            1 => (usual.as_str(), format!("{usual}\n  record-fields d rcpt,dsnStatus,bounceCat")),
            _ => (usual.as_str(), usual.clone()),
        };
        let report = reload(&ground, &engine, &ground.text().replace(from, &to)).expect("it is right");
        assert_eq!(report["restart"], json!([]), "{report}");
        std::thread::sleep(Duration::from_millis(150));
    }
    let report = sending.join();
    assert_eq!((report.acked.len() as u64, report.broken), (MESSAGES, 0), "{:?}", report.replies);
    engine.wait_until_empty(PATIENCE);
    assert!(engine.stop().expect("it can be waited for").success());
    let lines = accounting::read(&ground.path("acct")).expect("whole files");
    let delivered = accounting::per_recipient(&lines, "d");
    let odd: HashMap<_, _> = delivered.iter().filter(|(_, count)| **count != 1).collect();
    assert!(odd.is_empty() && delivered.len() as u64 == MESSAGES, "{} recipients, {odd:?}", delivered.len());
    let files = fs::read_dir(ground.path("acct")).expect("a directory").count();
    assert!(files >= 4, "{files} files: the reloads came after the mail");

    // A place that cannot be is told of before anything changes.
    let engine = ground.start().expect("the engine starts");
    let nowhere = format!("<acct-file {}>", ground.path("no/such/acct.csv").display());
    let told = reload(&ground, &engine, &ground.text().replace(&usual, &nowhere)).expect_err("no directory");
    assert!(told.to_string().contains("its directory is not there"), "{told}");
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn pickup_goes_to_another_directory_and_the_log_into_a_new_file() {
    let site = site();
    let mut ground = Ground::new().expect("a directory");
    ground.route("site.example", site.addr("site"), "");
    let engine = ground.start().expect("the engine starts");
    let message = "x-sender: a@sender.example\nx-receiver: b@site.example\nFrom: a@sender.example\nSubject: s\n\nbody\n";
    let put = |directory: &str, name: &str| {
        fs::write(ground.path("staging").join(name), message).expect("written");
        fs::rename(ground.path("staging").join(name), ground.path(directory).join(name)).expect("moved");
    };
    put("pickup", "one");
    until(PATIENCE, || (site.stats().recipients() == 1).then_some(())).expect("it is delivered");

    let usual = format!("pickup {}", ground.path("pickup").display());
    let other = format!("pickup {}", ground.path("elsewhere").display());
    fs::rename(ground.path("log"), ground.path("log.1")).expect("there is a log");
    let report = reload(&ground, &engine, &ground.text().replace(&usual, &other)).expect("it is right");
    assert_eq!(report["restart"], json!([]));
    assert!(fs::read_to_string(ground.path("log")).is_ok_and(|log| log.contains("reloaded")));
    until(PATIENCE, || ground.path("elsewhere").is_dir().then_some(())).expect("it is made");
    put("pickup", "two");
    put("elsewhere", "three");
    until(PATIENCE, || (site.stats().recipients() == 2).then_some(())).expect("it is delivered");
    until(PATIENCE, || (!ground.path("elsewhere/three").exists()).then_some(())).expect("it is removed");
    assert!(ground.path("pickup/two").exists(), "nobody looks there any more");

    // Back again: what has come in the meantime is taken, and what was taken before is not.
    reload(&ground, &engine, &ground.text()).expect("it is right");
    until(PATIENCE, || (site.stats().recipients() == 3).then_some(())).expect("it is delivered");
    assert!(engine.stop().expect("it can be waited for").success());
    assert_eq!(site.stats().recipients(), 3);
}

#[test]
fn a_campaign_that_is_being_imported_comes_to_its_end_where_it_is() {
    const ROWS: u64 = 100_000;
    let mut ground = Ground::new().expect("a directory");
    ground.add("<domain *>\n  type discard\n</domain>");
    let engine = ground.start().expect("the engine starts");
    engine.pause("*").expect("paused");
    let people = People::new(3, &[("a.example", 1)]);
    Campaign::new("long", people, ROWS).drop_into(&ground).expect("the pickup directory takes it");
    let aside = ground.path("pickup").join(".importing/long.campaign");
    until(PATIENCE, || aside.exists().then_some(())).expect("it begins");
    let usual = format!("pickup {}", ground.path("pickup").display());
    let other = format!("pickup {}", ground.path("elsewhere").display());
    reload(&ground, &engine, &ground.text().replace(&usual, &other)).expect("it is right");
    assert!(aside.exists(), "the import was over before the reload");
    let report = ground.path("reports").join("long.report.json");
    until(PATIENCE, || report.exists().then_some(())).expect("it comes to its end");
    until(PATIENCE, || (!aside.exists()).then_some(())).expect("it is removed");
    let waiting = engine.ask(&json!({"request": "queues"})).expect("it answers")["rows"][0]["rcpts"].clone();
    assert_eq!(waiting, ROWS);
    assert!(engine.stop().expect("it can be waited for").success());
}

#[test]
fn other_name_servers_are_asked_at_once() {
    let server = match UdpSocket::bind("127.0.91.53:53") {
        Ok(server) => server,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: port 53 takes root");
            return;
        }
        Err(e) => panic!("127.0.91.53:53: {e}"),
    };
    server.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut ground = Ground::new().expect("a directory");
    ground.add("name-server 127.0.91.54");
    let engine = ground.start().expect("the engine starts");
    let load = Load { messages: 1, domains: vec!["lost.example".into()], ..Load::default() };
    let sent = source::start(SourceConfig::new(ground.listen, load)).expect("a thread").join();
    assert_eq!(sent.acked.len(), 1);
    let text = ground.text().replace("127.0.91.54", "127.0.91.53");
    assert_eq!(reload(&ground, &engine, &text).expect("it is right")["restart"], json!([]));
    let mut question = [0; 512];
    let length = server.recv(&mut question).expect("a question");
    assert!(question[..length].windows(5).any(|name| name == b"\x04lost"), "{:?}", &question[..length]);
    assert!(engine.stop().expect("it can be waited for").success());
}
