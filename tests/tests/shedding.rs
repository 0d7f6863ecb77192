//! Mail that there is no room for is put off, and taken once there is.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bench::engine::Engine;
use bench::ground::Ground;
use bench::wait::until;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

/// A client that waits for each reply.
struct Client {
    socket: TcpStream,
    replies: BufReader<TcpStream>,
}

impl Client {
    fn connect(to: SocketAddr) -> (Client, String) {
        let socket = TcpStream::connect(to).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        let mut client =
            Client { replies: BufReader::new(socket.try_clone().expect("another handle")), socket };
        let greeting = client.reply();
        (client, greeting)
    }

    fn reply(&mut self) -> String {
        let mut line = String::new();
        while line.get(3..4) != Some(" ") {
            line.clear();
            self.replies.read_line(&mut line).expect("a reply");
        }
        line
    }

    fn ask(&mut self, line: &str) -> String {
        self.socket.write_all(format!("{line}\r\n").as_bytes()).expect("sent");
        self.reply()
    }

    /// The reply to a message for one recipient.
    fn send(&mut self, to: &str) -> String {
        for command in ["MAIL FROM:<a@a.example>", &format!("RCPT TO:<{to}>"), "DATA"] {
            assert!(self.ask(command).starts_with(['2', '3']), "{command}");
        }
        self.ask("From: a@a.example\r\n\r\nx\r\n.")
    }
}

fn reload(ground: &Ground, engine: &Engine, more: &str) {
    fs::write(ground.path("config"), format!("{}{more}\n", ground.text())).expect("written");
    engine.ask(&json!({"request": "reload"})).expect("it is right");
}

/// Waits until there is such an alarm, or none.
fn alarm(engine: &Engine, wanted: Option<&str>) {
    let seen = until(PATIENCE, || {
        let status = engine.status().expect("answered");
        let named = |text: &str| status.alarms.iter().any(|alarm| alarm.contains(text));
        wanted.map_or(status.alarms.is_empty(), named).then_some(())
    });
    seen.unwrap_or_else(|_| panic!("{wanted:?}: {:?}", engine.status().map(|status| status.alarms)));
}

#[test]
fn mail_waits_outside_while_memory_is_low() {
    let ground = Ground::new().expect("a directory");
    let engine = ground.start().expect("the engine starts");
    engine.pause("*/*").expect("paused");
    let (mut client, _) = Client::connect(ground.listen);
    client.ask("EHLO me.example");
    assert!(client.send("1@x.example").starts_with("250"));

    reload(&ground, &engine, "memory-soft-limit 1M");
    alarm(&engine, Some("memory is low"));
    let put_off = "452 4.3.2 Server resources temporarily exhausted\r\n";
    assert_eq!(client.ask("MAIL FROM:<a@a.example>"), put_off);
    let (_, greeting) = Client::connect(ground.listen);
    assert!(greeting.starts_with("421"), "{greeting}");
    ground
        .pick_up("p", b"x-sender: a@a.example\nx-receiver: 3@x.example\nFrom: a@a.example\n\nx\n")
        .expect("there");

    reload(&ground, &engine, "");
    alarm(&engine, None);
    assert!(client.send("4@x.example").starts_with("250"));
    let (_, greeting) = Client::connect(ground.listen);
    assert!(greeting.starts_with("220"), "{greeting}");
    until(PATIENCE, || (engine.status().ok()?.smtp_queues.rcpts == 3).then_some(()))
        .expect("the file is taken");
    engine.stop().expect("ends");
}

#[test]
fn mail_waits_outside_while_too_much_waits_inside() {
    let mut ground = Ground::new().expect("a directory");
    ground.add("spool-max-recipients 2");
    let engine = ground.start().expect("the engine starts");
    engine.pause("*/*").expect("paused");
    let (mut client, _) = Client::connect(ground.listen);
    client.ask("EHLO me.example");
    for to in ["1@x.example", "2@x.example"] {
        assert!(client.send(to).starts_with("250"));
    }
    alarm(&engine, Some("too many recipients wait"));
    assert!(client.send("3@x.example").starts_with("452 4.3.1"));
    engine.ask(&json!({"request": "delete", "queue": "x.example/*", "quiet": false})).expect("answered");
    alarm(&engine, None);
    assert!(client.send("3@x.example").starts_with("250"));
    engine.stop().expect("ends");
}
