//! Mail by HTTP: clients that send each request with a key, again and again until it is taken.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bench::ground::Ground;
use bench::http::Http;
use bench::source::Load;
use serde_json::json;

use super::account::key;

const API_KEY: &str = "0123456789abcdef0123456789abcdef";
const CLIENTS: u64 = 2;
/// Before a request is sent again.
const AGAIN: Duration = Duration::from_millis(20);

/// A message: its key in the accounts, and the hash of its body.
pub type Mail = (String, u64);

/// What became of requests.
#[derive(Debug, Default)]
struct Known {
    taken: Vec<Mail>,
    /// Sent and never answered.
    doubtful: Vec<Mail>,
}

/// The clients.
#[derive(Debug)]
pub struct Clients {
    stop: Arc<AtomicBool>,
    hold: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    known: Arc<Mutex<Known>>,
    threads: Vec<JoinHandle<()>>,
}

struct Client {
    to: SocketAddr,
    load: Load,
    stop: Arc<AtomicBool>,
    hold: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    known: Arc<Mutex<Known>>,
}

impl Clients {
    /// Gives the ground an address for them; they begin at once, and get through when an engine runs.
    pub fn start(ground: &mut Ground, domain: &str) -> io::Result<Clients> {
        let to = TcpListener::bind((ground.listen.ip(), 0))?.local_addr()?;
        ground.add(&format!(
            "<transmissions-api>\n  api-key {API_KEY}\n</transmissions-api>\n\
             <transmissions-api-listener {to}>\n</transmissions-api-listener>"
        ));
        let load = Load { name: "http".into(), size: 1500, domains: vec![domain.into()], ..Load::default() };
        let mut clients = Clients {
            stop: Arc::default(),
            hold: Arc::default(),
            acked: Arc::default(),
            known: Arc::default(),
            threads: Vec::new(),
        };
        for first in 0..CLIENTS {
            let client = Client {
                to,
                load: load.clone(),
                stop: clients.stop.clone(),
                hold: clients.hold.clone(),
                acked: clients.acked.clone(),
                known: clients.known.clone(),
            };
            let run = move || client.run((first..).step_by(CLIENTS as usize));
            clients.threads.push(thread::Builder::new().name("http".into()).spawn(run)?);
        }
        Ok(clients)
    }

    /// Requests that were taken.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Sends nothing new while `hold`.
    pub fn hold(&self, hold: bool) {
        self.hold.store(hold, Ordering::Relaxed);
    }

    /// Ends them. Gives what was taken, and what may have been.
    pub fn end(self) -> (Vec<Mail>, Vec<Mail>) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut known.taken), std::mem::take(&mut known.doubtful))
    }
}

impl Client {
    fn run(self, numbers: impl Iterator<Item = u64>) {
        for id in numbers {
            while self.hold.load(Ordering::Relaxed) && !self.stop.load(Ordering::Relaxed) {
                thread::sleep(AGAIN);
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let mail = (key(&self.load.recipient(id, 0), &self.load.ledger_id(id)), self.load.body_hash(id));
            let taken = self.insist(id);
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            match taken {
                true => known.taken.push(mail),
                false => known.doubtful.push(mail),
            }
            self.acked.fetch_add(u64::from(taken), Ordering::Relaxed);
        }
    }

    /// False when the end came first.
    fn insist(&self, id: u64) -> bool {
        let recipient = self.load.recipient(id, 0);
        let mut message = format!(
            "X-Ledger-Id: {}\r\nFrom: <news@sender.example>\r\nTo: <{recipient}>\r\nSubject: by HTTP\r\n\
             Date: Mon, 02 Nov 2026 08:00:00 +0000\r\n\r\n",
            self.load.ledger_id(id)
        );
        message.push_str(&String::from_utf8_lossy(&self.load.body(id)));
        let body = json!({
            "return_path": "news@sender.example",
            "recipients": [{"address": recipient}],
            "content": {"email_rfc822": message},
        })
        .to_string();
        let header = format!("Idempotency-Key: {}", self.load.ledger_id(id));
        loop {
            let answer = Http::connect(self.to, API_KEY)
                .and_then(|mut http| http.post("/api/v1/transmissions", &[&header], body.as_bytes()));
            match answer {
                Ok(answer) if answer.status == 200 => return true,
                Ok(answer) => assert!([409, 503].contains(&answer.status), "{answer:?}"),
                Err(_) => {}
            }
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            thread::sleep(AGAIN);
        }
    }
}
