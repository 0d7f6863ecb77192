//! HTTP submission: what clients send is delivered once, with the values of each recipient; what is wrong is told; a key
//! makes a second try harmless, over kill -9 too.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bench::engine::Engine;
use bench::ground::Ground;
use bench::http::{Answer, Http};
use bench::site::{DoorConfig, LedgerMode, Persona, Site, SiteConfig, SiteHandle};
use bench::wait::until;
use posthaste::base::Wall;
use posthaste::smtp::tls::{Tls, TlsClientConfig};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "0123456789abcdef0123456789abcdef";
const TRANSMISSIONS: &str = "/api/v1/transmissions";
const INJECT: &str = "/api/inject/v1";

/// An engine that serves HTTP, and the site that it sends to.
struct Scene {
    ground: Ground,
    site: SiteHandle,
    address: SocketAddr,
}

impl Scene {
    fn new() -> Scene {
        let doors = vec![DoorConfig::new("site", Persona::Fast)];
        let site = Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() });
        let site = site.expect("loopback");
        let mut ground = Ground::new().expect("a directory");
        ground.route("site.example", site.addr("site"), "  max-smtp-out 8");
        let free = TcpListener::bind((ground.listen.ip(), 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        ground.add(&format!(
            "<transmissions-api>\n  api-key {KEY}\n</transmissions-api>\n\
             <transmissions-api-listener {address}>\n</transmissions-api-listener>\n\
             <source {{transmissions-api}}>\n  process-x-job yes\n  add-date-header yes\n</source>"
        ));
        Scene { ground, site, address }
    }

    fn start(&self) -> Engine {
        self.ground.start().expect("the engine starts")
    }

    fn client(&self) -> Http {
        Http::connect(self.address, KEY).expect("it is served")
    }

    fn post(&self, path: &str, headers: &[&str], body: &Value) -> Answer {
        self.client().post(path, headers, body.to_string().as_bytes()).expect("an answer")
    }

    /// The message that each recipient has, once so many deliveries have come and the engine has nothing left.
    fn received(&self, engine: &Engine, deliveries: u64) -> HashMap<String, String> {
        until(PATIENCE, || (self.site.stats().recipients() >= deliveries).then_some(()))
            .unwrap_or_else(|_| panic!("{} of {deliveries} deliveries", self.site.stats().recipients()));
        engine.wait_until_empty(PATIENCE);
        let ledger = self.site.ledger();
        assert_eq!(ledger.deliveries.len() as u64, deliveries, "nobody has it twice");
        let text =
            |message: &Option<Vec<u8>>| String::from_utf8(message.clone().unwrap_or_default()).expect("text");
        ledger.deliveries.iter().map(|d| (d.recipient.clone(), text(&d.message))).collect()
    }
}

fn told(answer: &Answer) -> &str {
    answer.body["errors"][0]["description"].as_str().unwrap_or_default()
}

/// An injection of `count` recipients, whose body it is.
fn injection(count: usize) -> Vec<u8> {
    let recipients: Vec<Value> = (0..count)
        .map(|n| json!({"email": format!("u{n}@site.example"), "name": format!("N {n}"), "substitutions": {"code": n}}))
        .collect();
    let content = json!({
        "from": {"email": "news@sender.example", "name": "News"},
        "subject": "Hello {{ name }}",
        "text_body": "Your code is {{ code }}",
    });
    let head = json!({"envelope_sender": "bounce@sender.example", "content": content}).to_string();
    let recipients = Value::from(recipients).to_string();
    let head = head.strip_suffix('}').expect("an object");
    format!("{head},\"recipients\":{recipients}}}").into_bytes()
}

#[test]
fn a_finished_message_arrives_as_it_is() {
    let scene = Scene::new();
    let engine = scene.start();
    let body = json!({
        "return_path": "bounce@sender.example",
        "campaign_id": "job1",
        "recipients": [
            {"address": {"email": "a@site.example"}},
            {"address": "b@site.example", "return_path": "other@sender.example"},
            {"address": "nobody"},
        ],
        "content": {"email_rfc822": "From: x@sender.example\nSubject: [{{ s }}]\n\nbody\n.\n"},
    });
    let answer = scene.post(TRANSMISSIONS, &[], &body);
    let expected = json!({"results": {"total_accepted_recipients": 2, "total_rejected_recipients": 1}});
    assert_eq!((answer.status, &answer.body), (200, &expected));
    let received = scene.received(&engine, 2);
    assert!(received["a@site.example"].ends_with("Subject: [{{ s }}]\r\n\r\nbody\r\n.\r\n"));
    let senders: Vec<String> = scene.site.ledger().deliveries.iter().map(|d| d.sender.clone()).collect();
    assert!(
        senders.contains(&"other@sender.example".to_owned())
            && senders.contains(&"bounce@sender.example".to_owned())
    );
    assert!(engine.stop().expect("it can be waited for").success());
    let lines = tests::accounting::read(&scene.ground.path("acct")).expect("accounting");
    assert!(lines.iter().all(|l| l["jobId"] == "job1" && l["srcType"] == "api"), "{lines:?}");
}

#[test]
fn what_is_wrong_is_told_and_the_connection_goes_on() {
    let scene = Scene::new();
    let _engine = scene.start();
    let mut client = scene.client();
    let mut post = |path: &str, headers: &[&str], body: &str| {
        let answer = client.post(path, headers, body.as_bytes()).expect("an answer");
        (answer.status, told(&answer).to_owned())
    };
    for (path, headers, body, status, says) in [
        ("/api/v1/transmission", &[][..], "{}", 404, "there is no /api/v1/transmission; there are"),
        (TRANSMISSIONS, &[], "{}", 400, "missing field"),
        (TRANSMISSIONS, &[], "{", 400, "EOF"),
        (TRANSMISSIONS, &["Idempotency-Key: \u{e9}"], "{}", 400, "Idempotency-Key: 1 to 255"),
        (TRANSMISSIONS, &["Content-Encoding: br"], "{}", 415, "only gzip"),
        (INJECT, &["Content-Encoding: gzip"], "{}", 400, "the gzip body is damaged"),
        (INJECT, &[], "{}", 400, "envelope_sender: it is missing"),
        (INJECT, &[], r#"{"envelope_sender":"a@b.example","recipients":[]}"#, 400, "content: it is missing"),
        (
            INJECT,
            &[],
            r#"{"envelope_sender":"a@b.example","recipient":[]}"#,
            400,
            "recipient: there is no such member",
        ),
        (INJECT, &[], r#"{"recipients":[{"email":"a"},]}"#, 400, "at byte 29: a value should be here"),
        (INJECT, &[], "", 400, "at byte 0: the JSON ends"),
    ] {
        let (got, told) = post(path, headers, body);
        assert!(got == status && told.contains(says), "{path} {body}: {got} {told}");
    }
    drop(client);
    let mut other = scene.client();
    other.key = KEY.replace('0', "1");
    assert_eq!(other.post(TRANSMISSIONS, &[], b"{}").expect("an answer").status, 403);
    let answer = scene.client().get(TRANSMISSIONS).expect("an answer");
    assert_eq!(answer.status, 405);
    assert!(answer.header.contains("allow: post"));
    let document = scene.client().get("/api/openapi.json").expect("an answer");
    assert_eq!((document.status, document.body["openapi"].as_str()), (200, Some("3.1.0")));
    assert_eq!(scene.site.stats().recipients(), 0);
}

#[test]
fn each_recipient_of_an_injection_has_his_own_values() {
    let scene = Scene::new();
    let engine = scene.start();
    let picture = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
    let body = json!({
        "envelope_sender": "bounce@sender.example",
        "recipients": [
            {"email": "ann@site.example", "name": "Ann", "substitutions": {"items": ["pen", "ink"], "n": 2}},
            {"email": "not an address"},
            {"email": "bob@site.example", "substitutions": {"items": [], "n": 0}},
        ],
        "substitutions": {"name": "you"},
        "content": {
            "from": {"email": "news@sender.example"},
            "subject": "For {{ name }}",
            "headers": {"X-Job": "spring", "X-Tenant": "t{{ n }}"},
            "html_body": "<p>{% for item in items %}{{ item }};{% endfor %}{% if not n %}nothing{% endif %}</p>",
            "attachments": [{"data": picture, "base64": true, "content_type": "image/gif", "content_id": "pixel"}],
        },
    });
    let answer = scene.post(INJECT, &[], &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["failed_recipients"], json!(["not an address"]));
    assert_eq!((&answer.body["success_count"], &answer.body["fail_count"]), (&json!(2), &json!(1)));
    assert!(
        answer.body["errors"][0]
            .as_str()
            .expect("a text")
            .starts_with("not an address: `email` is not an e-mail")
    );
    let received = scene.received(&engine, 2);
    let (ann, bob) = (&received["ann@site.example"], &received["bob@site.example"]);
    for (message, parts) in [
        (
            ann,
            ["Subject: For Ann\r\n", "To: Ann <ann@site.example>\r\n", "X-Tenant: t2\r\n", "<p>pen;ink;</p>"],
        ),
        (
            bob,
            ["Subject: For you\r\n", "To: you <bob@site.example>\r\n", "X-Tenant: t0\r\n", "<p>nothing</p>"],
        ),
    ] {
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(message.contains(picture) && !message.to_ascii_lowercase().contains("x-job"), "{message}");
    }
    assert!(engine.stop().expect("it can be waited for").success());
    let lines = tests::accounting::read(&scene.ground.path("acct")).expect("accounting");
    assert!(lines.iter().all(|l| l["jobId"] == "spring"), "{lines:?}");
}

#[test]
fn a_key_gives_the_same_answer_again_over_kill_9_too() {
    let scene = Scene::new();
    let engine = scene.start();
    // Deliveries whose outcome a kill takes along are made again: none, so that only what came in twice would show.
    engine.pause("*/*").expect("it answers");
    let small = json!({
        "return_path": "bounce@sender.example",
        "recipients": [{"address": "t@site.example"}],
        "content": {"email_rfc822": "From: x@sender.example\n\nbody"},
    });
    let body: Value = serde_json::from_slice(&injection(3)).expect("JSON");
    let mut faulty = body.clone();
    faulty["recipients"][1]["email"] = "@".into();
    let key = ["Idempotency-Key: one"];
    let requests =
        [(TRANSMISSIONS, &small, key), (INJECT, &faulty, key), (INJECT, &body, ["Idempotency-Key: two"])];
    let first = requests.map(|(path, body, key)| scene.post(path, &key, body));
    assert!(first.iter().all(|answer| answer.status == 200), "{first:?}");
    assert_eq!(first[1].body["failed_recipients"], json!(["@"]));
    let again = |engine: &Engine| {
        for ((path, body, key), first) in requests.iter().zip(&first) {
            let answer = scene.post(path, key, body);
            assert_eq!((answer.status, &answer.body), (200, &first.body), "{path}");
        }
        assert_eq!(scene.post(INJECT, &key, &body).status, 422, "another request with the key of the first");
        assert_eq!(engine.status().expect("it answers").smtp_queues.rcpts, 6);
    };
    again(&engine);
    engine.kill().expect("it runs");
    let engine = scene.start();
    again(&engine);
    engine.resume("*/*").expect("it answers");
    scene.received(&engine, 6);
}

#[test]
fn a_large_request_that_was_cut_off_by_kill_9_goes_on_with_its_key() {
    const COUNT: usize = 40_000;
    let scene = Scene::new();
    let engine = scene.start();
    engine.pause("*/*").expect("it answers");
    let body = injection(COUNT);
    let key = ["Idempotency-Key: large"];
    let mut client = scene.client();
    client.begin("POST", INJECT, &key, body.len()).expect("it listens");
    client.send(&body[..body.len() * 3 / 4]).expect("it reads");
    let waiting = |engine: &Engine| engine.status().expect("it answers").smtp_queues.rcpts;
    until(PATIENCE, || (waiting(&engine) >= 16_384).then_some(())).expect("some are stored");
    assert_eq!(scene.client().post(INJECT, &key, &body).expect("an answer").status, 409);
    engine.kill().expect("it runs");

    let engine = scene.start();
    let stored = waiting(&engine);
    assert!((16_384..COUNT as u64).contains(&stored), "{stored}");
    let other = injection(COUNT + 1);
    let refused = scene.client().post(INJECT, &key, &other).expect("an answer");
    assert_eq!(refused.status, 422, "{refused:?}");
    let answer = scene.client().post(INJECT, &key, &body).expect("an answer");
    assert_eq!((answer.status, &answer.body["success_count"]), (200, &json!(COUNT)), "{answer:?}");
    let again = scene.client().post(INJECT, &key, &body).expect("an answer");
    assert_eq!(again.body, answer.body);
    assert_eq!(waiting(&engine), COUNT as u64);
    engine.resume("*/*").expect("it answers");
    let received = scene.received(&engine, COUNT as u64);
    assert_eq!(received.len(), COUNT, "each exactly once");
    assert!(received["u39999@site.example"].ends_with("Your code is 39999\r\n"));
    assert!(received["u1@site.example"].ends_with("Your code is 1\r\n"));
}

#[test]
fn what_was_accepted_of_a_broken_request_is_told_and_delivered() {
    let scene = Scene::new();
    let engine = scene.start();
    let mut body = injection(30_000);
    let at = body.len() * 9 / 10;
    // A recipient in the last tenth is no JSON.
    let broken = at + body[at..].windows(9).position(|w| w == b"{\"email\":").expect("a recipient") + 9;
    body[broken] = b']';
    let answer = scene.client().post(INJECT, &[], &body).expect("an answer");
    assert_eq!(answer.status, 400);
    let told = told(&answer);
    let accepted: u64 =
        told.split("; ").nth(1).and_then(|t| t.split(' ').next()?.parse().ok()).expect("a count");
    assert!(
        told.starts_with("recipients[2") && told.ends_with("leave them out of the next request"),
        "{told}"
    );
    assert!(accepted > 8192 && accepted < 30_000, "{told}");
    assert_eq!(scene.received(&engine, accepted).len() as u64, accepted);

    // A request that is small enough is taken as a whole or not at all.
    let cut = injection(1000);
    let mut client = scene.client();
    client.begin("POST", INJECT, &[], cut.len()).expect("it listens");
    client.send(&cut[..cut.len() - 10]).expect("it reads");
    client.hang_up().expect("it is open");
    drop(client);
    engine.wait_until_empty(PATIENCE);
    assert_eq!(scene.site.stats().recipients(), accepted);
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(body).and_then(|()| packer.finish()).expect("into memory")
}

#[test]
fn gzip_is_unpacked_and_a_bomb_refused() {
    let scene = Scene::new();
    let engine = scene.start();
    let mut client = scene.client();
    let gzip = ["Content-Encoding: gzip"];
    let body = packed(&injection(20_000));
    let answer = client.post(INJECT, &gzip, &body).expect("an answer");
    assert_eq!((answer.status, &answer.body["success_count"]), (200, &json!(20_000)), "{answer:?}");
    let cut = client.post(INJECT, &gzip, &body[..body.len() - 9]).expect("an answer");
    assert_eq!(cut.status, 400, "{cut:?}");
    let bomb = packed(&vec![b' '; 64 << 20]);
    for path in [INJECT, TRANSMISSIONS] {
        let answer = scene.client().post(path, &gzip, &bomb).expect("an answer");
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    assert!(scene.site.stats().recipients() <= 40_000);
    engine.wait_until_empty(PATIENCE);
}

#[test]
fn a_full_disk_and_a_reload() {
    let scene = Scene::new();
    let full = scene.ground.text().replace("</spool>", "  min-free-space 1000000G\n</spool>");
    let engine = scene.ground.start_with(&full).expect("the engine starts");
    let body: Value = serde_json::from_slice(&injection(2)).expect("JSON");
    let answer = scene.post(INJECT, &["Idempotency-Key: full"], &body);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header.contains("retry-after: "));
    assert!(engine.stop().expect("it can be waited for").success());

    let engine = scene.start();
    assert_eq!(scene.post(INJECT, &["Idempotency-Key: full"], &body).status, 200, "nothing was remembered");
    let mut before = scene.client();
    let new_key = KEY.replace('0', "z");
    let text = scene.ground.text().replace(KEY, &new_key);
    let without = text.split("<transmissions-api-listener").next().expect("a beginning").to_owned();
    std::fs::write(scene.ground.path("config"), text).expect("the configuration is written");
    engine.ask(&json!({"request": "reload"})).expect("it is right");
    // On a connection of its own: one whose request is refused before its body has been read may be closed.
    assert_eq!(scene.post(INJECT, &[], &body).status, 403);
    before.key = new_key;
    std::fs::write(scene.ground.path("config"), without).expect("the configuration is written");
    engine.ask(&json!({"request": "reload"})).expect("it is right");
    assert!(Http::connect(scene.address, KEY).is_err(), "the address is closed");
    assert_eq!(before.post(INJECT, &[], body.to_string().as_bytes()).expect("who is here stays").status, 200);
    drop(before);
    assert!(engine.stop().expect("it can be waited for").success());
}

/// Asks over TLS for the description; the status line.
fn secured(address: SocketAddr) -> String {
    /// Within the validity of the certificates rcgen makes.
    const NOW: Wall = Wall::from_secs(1_790_000_000);
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    let config = Arc::new(TlsClientConfig::new(rustls::RootCertStore::empty()).expect("TLS"));
    let mut tls = Tls::client(&config, "mail.sender.example", NOW).expect("a name");
    let (mut wire, mut heard, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
    tls.flush(&mut wire);
    tls.write(b"GET /api/openapi.json HTTP/1.1\r\nHost: engine\r\n\r\n", &mut wire);
    while !heard.contains(&b'\n') {
        socket.write_all(&wire).expect("sent");
        wire.clear();
        let read = socket.read(&mut buffer).expect("an answer");
        assert!(read > 0, "it hangs up");
        tls.read(&buffer[..read], &mut heard, &mut wire).expect("TLS");
    }
    String::from_utf8_lossy(&heard).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_certificate_makes_it_https_from_a_reload_on() {
    let scene = Scene::new();
    let engine = scene.start();
    assert_eq!(scene.client().get("/api/openapi.json").expect("an answer").status, 200);
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new(vec!["mail.sender.example".to_owned()]).expect("a name");
    let pem = parameters.self_signed(&key).expect("a certificate").pem() + &key.serialize_pem();
    let file = scene.ground.path("api.pem");
    std::fs::write(&file, pem).expect("written");
    let listener = format!("<transmissions-api-listener {}>\n", scene.address);
    let certificate = format!("{listener}  tls-certificate {}\n", file.display());
    let text = scene.ground.text().replace(&listener, &certificate);
    std::fs::write(scene.ground.path("config"), text).expect("written");
    engine.ask(&json!({"request": "reload"})).expect("it is right");
    assert_eq!(secured(scene.address), "HTTP/1.1 200 OK");
    assert!(scene.client().get("/api/openapi.json").is_err(), "nobody is answered in the clear");
}

/// Sends requests with keys, each until it is answered with 200.
fn insist(address: SocketAddr, client: u64, requests: u64, sent: &AtomicU64) {
    for number in 0..requests {
        let to = format!("u{client}-{number}@site.example");
        let (path, body) = match number % 2 {
            0 => (INJECT, String::from_utf8(injection(1)).expect("text").replace("u0@site.example", &to)),
            _ => {
                let content = json!({"email_rfc822": "From: x@sender.example\n\nbody"});
                let recipients = json!([{"address": to}]);
                let body = json!({"return_path": "", "recipients": recipients, "content": content});
                (TRANSMISSIONS, body.to_string())
            }
        };
        let key = format!("Idempotency-Key: {to}");
        let ask = || {
            let answer = Http::connect(address, KEY)?.post(path, &[&key], body.as_bytes())?;
            assert!([200, 409, 503].contains(&answer.status), "{answer:?}");
            Ok::<bool, std::io::Error>(answer.status == 200)
        };
        until(PATIENCE, || ask().is_ok_and(|taken| taken).then_some(())).expect("in the end it is taken");
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn clients_that_insist_over_kills_send_nothing_twice() {
    const CLIENTS: u64 = 4;
    const REQUESTS: u64 = 100;
    let scene = Scene::new();
    let mut engine = scene.start();
    engine.pause("*/*").expect("it answers");
    let sent = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (address, sent) = (scene.address, sent.clone());
            std::thread::spawn(move || insist(address, client, REQUESTS, &sent))
        })
        .collect();
    for kill in 1..=5 {
        // Somewhere in the middle of what goes on.
        let wanted = CLIENTS * REQUESTS * kill / 6;
        until(PATIENCE, || (sent.load(Ordering::Relaxed) >= wanted).then_some(())).expect("they get on");
        engine.kill().expect("it runs");
        engine = scene.start();
    }
    clients.into_iter().for_each(|client| client.join().expect("a client gets through"));
    assert_eq!(engine.status().expect("it answers").smtp_queues.rcpts, CLIENTS * REQUESTS);
    engine.resume("*/*").expect("it answers");
    assert_eq!(scene.received(&engine, CLIENTS * REQUESTS).len() as u64, CLIENTS * REQUESTS);
}

#[test]
#[cfg(feature = "failpoints")]
fn an_engine_that_dies_between_commit_and_answer_answers_the_second_try() {
    let mut died = 0;
    // Commits of the start come first; the next one is that of the request.
    for commit in 1..10 {
        let scene = Scene::new();
        let fail = format!("storage.synced-before-acknowledging=abort@{commit}");
        let mut engine =
            scene.ground.spawn_with(&scene.ground.text(), "POSTHASTE_FAIL", &fail).expect("it is started");
        let (body, key) = (injection(3), ["Idempotency-Key: once"]);
        if engine.ready(scene.ground.listen).is_err() {
            continue;
        }
        if scene.client().post(INJECT, &key, &body).is_ok() {
            break;
        }
        died += 1;
        let engine = scene.start();
        let answer = scene.client().post(INJECT, &key, &body).expect("an answer");
        assert_eq!((answer.status, &answer.body["success_count"]), (200, &json!(3)), "{answer:?}");
        assert_eq!(scene.received(&engine, 3).len(), 3);
    }
    assert!(died > 0, "no commit was the right one");
}
