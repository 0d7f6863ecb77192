//! The OpenAPI description beside what is served, by a tester that others have written (schemathesis): hundreds of requests, right
//! and wrong, and every answer is one that the description knows.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use bench::ground::Ground;

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn what_is_served_is_what_is_described() {
    let known = Command::new("schemathesis").arg("--version").stdout(Stdio::null()).status();
    if !known.is_ok_and(|status| status.success()) {
        return eprintln!("schemathesis is not installed: left out");
    }
    let mut ground = Ground::new().expect("a directory");
    let address = TcpListener::bind((ground.listen.ip(), 0)).and_then(|l| l.local_addr()).expect("a port");
    ground.add(&format!(
        "<transmissions-api>\n  api-key {KEY}\n</transmissions-api>\n\
         <transmissions-api-listener {address}>\n</transmissions-api-listener>"
    ));
    let engine = ground.start().expect("the engine starts");
    engine.pause("*/*").expect("paused");
    let output = Command::new("schemathesis")
        .current_dir(ground.path(""))
        .args(["run", &format!("http://{address}/api/openapi.json"), "--seed", "1", "--max-examples", "40"])
        .args(["-H", &format!("Authorization: Bearer {KEY}"), "--checks", "all"])
        // No schema can say that a return path is needed for all or for each, or that a key is used for one request.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("Authentication failed"), "{said}");
    let waiting = engine.status().expect("answered").smtp_queues.rcpts;
    assert!(waiting > 0, "some were right: {said}");
    engine.stop().expect("ends");
}
