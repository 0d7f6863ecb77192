//! A name server on loopback that knows what a test tells it.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// Types of records that are answered.
const A: u16 = 1;
const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;

/// Name and type, in lower case and without a dot at the end, to the data of its records.
#[derive(Clone, Debug, Default)]
pub struct Zone(HashMap<(String, u16), Vec<Vec<u8>>>);

impl Zone {
    fn add(mut self, name: &str, record_type: u16, data: Vec<u8>) -> Zone {
        self.0.entry((name.to_owned(), record_type)).or_default().push(data);
        self
    }

    pub fn a(self, name: &str, address: Ipv4Addr) -> Zone {
        self.add(name, A, address.octets().to_vec())
    }

    pub fn mx(self, name: &str, preference: u16, host: &str) -> Zone {
        self.add(name, MX, [&preference.to_be_bytes()[..], &written(host)].concat())
    }

    pub fn txt(self, name: &str, text: &str) -> Zone {
        let pieces = text.as_bytes().chunks(255);
        let data = pieces.flat_map(|piece| [&[piece.len() as u8], piece].concat()).collect();
        self.add(name, TXT, data)
    }

    /// The name of an address.
    pub fn ptr(self, address: Ipv4Addr, name: &str) -> Zone {
        let [a, b, c, d] = address.octets();
        self.add(&format!("{d}.{c}.{b}.{a}.in-addr.arpa"), PTR, written(name))
    }

    /// The answer to a question; what is not known does not exist.
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let mut at = 12;
        let mut labels = Vec::new();
        while let Some(length @ 1..) = question.get(at).copied().map(usize::from) {
            labels.push(String::from_utf8_lossy(question.get(at + 1..=at + length)?).to_ascii_lowercase());
            at += length + 1;
        }
        let end = at + 5;
        let record_type = u16::from_be_bytes(question.get(at + 1..at + 3)?.try_into().ok()?);
        let found = self.0.get(&(labels.join("."), record_type)).map_or(&[][..], Vec::as_slice);
        let known = self.0.keys().any(|(name, _)| *name == labels.join("."));
        let mut answer = question[..2].to_vec();
        answer.extend_from_slice(&[
            0x85,
            if known { 0x80 } else { 0x83 },
            0,
            1,
            0,
            found.len() as u8,
            0,
            0,
            0,
            0,
        ]);
        answer.extend_from_slice(&question[12..end]);
        for data in found {
            answer.extend_from_slice(&[0xc0, 12, 0, record_type as u8, 0, 1, 0, 0, 0, 60]);
            answer.extend_from_slice(&(data.len() as u16).to_be_bytes());
            answer.extend_from_slice(data);
        }
        Some(answer)
    }
}

fn written(name: &str) -> Vec<u8> {
    let mut out: Vec<u8> = name.split('.').flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).collect();
    out.push(0);
    out
}

/// A running one; ends when dropped.
#[derive(Debug)]
pub struct NameServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// On port 53 of `address`, where `name-server` looks; an error of the kind `PermissionDenied` where only root may.
    pub fn start(address: Ipv4Addr, zone: Zone) -> io::Result<NameServer> {
        let socket = UdpSocket::bind((address, 53))?;
        socket.set_read_timeout(Some(LOOK))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let run = move || {
            let mut question = [0; 1500];
            while !told.load(Ordering::Relaxed) {
                let Ok((length, asker)) = socket.recv_from(&mut question) else { continue };
                if let Some(answer) = zone.answer(&question[..length]) {
                    let _ = socket.send_to(&answer, asker);
                }
            }
        };
        let thread = thread::Builder::new().name("dns".into()).spawn(run)?;
        Ok(NameServer { stop, thread: Some(thread) })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
