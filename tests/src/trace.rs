//! Proves from a system call trace that no message was acknowledged before it was durable: between the arrival of its
//! final dot and its `250` lie the write that holds it and a sync that began after that write had ended.
//!
//! Reads what `strace -f -yy -xx` writes. The lines of a trace are in the order in which the calls began and ended,
//! which is all that the proof needs.

use std::collections::HashMap;
use std::net::SocketAddr;

/// The system calls to be traced.
pub const CALLS: &str = "trace=pwrite64,fdatasync,recvfrom,read,sendto,write,writev";
/// Bytes of each buffer to be traced: a whole batch of a few sessions' messages.
pub const BUFFER: usize = 65536;
/// What the engine says to a message it has taken.
const ACKNOWLEDGED: &[u8] = b"250 2.6.0 message received";

/// How far a message has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Received,
    Writing { thread: String, file: String },
    Written { file: String },
    Syncing { thread: String },
    Durable,
}

/// What a trace has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Messages answered with 250.
    pub acknowledged: u64,
    /// Of these, those that were synced before.
    pub proven: u64,
    /// Syncs of spool segments that ended well, whatever they held.
    pub syncs: u64,
    /// Syncs that made at least one message durable.
    pub commits: u64,
    /// What was acknowledged too early, with the line of the trace.
    pub violations: Vec<String>,
}

#[derive(Debug, Default)]
struct Connection {
    buffer: Vec<u8>,
    message: Option<(Vec<u8>, Stage)>,
}

/// What a line of a trace tells: that a call begins, or with what it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Began { thread: String, call: String, arguments: String },
    Ended { thread: String, call: String, arguments: String },
}

/// Puts the calls together that a trace tells of in two lines.
#[derive(Debug, Default)]
pub struct Calls {
    /// Calls that have begun and not ended, by thread.
    open: HashMap<String, (String, String)>,
}

impl Calls {
    /// The next line of the trace; what is neither begin nor end of a call is passed over.
    pub fn line(&mut self, line: &str) -> Vec<Call> {
        let Some((thread, rest)) = line.trim_start().split_once(' ') else { return Vec::new() };
        let (thread, rest) = (thread.to_string(), rest.trim_start());
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some((call, begun)) = self.open.remove(&thread) else { return Vec::new() };
            let tail = resumed.split_once("resumed>").map_or("", |r| r.1);
            return vec![Call::Ended { thread, call, arguments: format!("{begun}{tail}") }];
        }
        let Some((call, arguments)) = rest.split_once('(') else { return Vec::new() };
        let began = |arguments: &str| Call::Began {
            thread: thread.clone(),
            call: call.into(),
            arguments: arguments.into(),
        };
        match arguments.strip_suffix("<unfinished ...>") {
            Some(begun) => {
                self.open.insert(thread.clone(), (call.into(), begun.into()));
                vec![began(begun)]
            }
            None => {
                let ended =
                    Call::Ended { thread: thread.clone(), call: call.into(), arguments: arguments.into() };
                vec![began(arguments), ended]
            }
        }
    }
}

/// Reads a trace line by line.
#[derive(Debug)]
pub struct Checker {
    /// The intake's address as it stands in descriptors, `TCP:[ADDRESS:PORT->`.
    intake: String,
    calls: Calls,
    connections: HashMap<String, Connection>,
    proof: Proof,
    line: u64,
}

impl Checker {
    pub fn new(intake: SocketAddr) -> Checker {
        Checker {
            intake: format!("TCP:[{intake}->"),
            calls: Calls::default(),
            connections: HashMap::new(),
            proof: Proof::default(),
            line: 0,
        }
    }

    /// The next line of the trace.
    pub fn line(&mut self, line: &str) {
        self.line += 1;
        for call in self.calls.line(line) {
            match call {
                Call::Began { thread, call, arguments } => self.begun(&thread, &call, &arguments),
                Call::Ended { thread, call, arguments } => self.ended(&thread, &call, &arguments),
            }
        }
    }

    pub fn proof(self) -> Proof {
        self.proof
    }

    fn begun(&mut self, thread: &str, call: &str, arguments: &str) {
        let descriptor = descriptor(arguments);
        match call {
            "pwrite64" => {
                let buffer = bytes(arguments);
                self.advance(|id, stage| {
                    let holds = *stage == Stage::Received && contains(&buffer, id);
                    holds.then(|| Stage::Writing { thread: thread.into(), file: descriptor.into() })
                });
            }
            "fdatasync" => {
                let written = Stage::Written { file: descriptor.into() };
                self.advance(|_, stage| {
                    (*stage == written).then(|| Stage::Syncing { thread: thread.into() })
                });
            }
            "sendto" | "write" | "writev"
                if descriptor.starts_with(&self.intake) && bytes(arguments).starts_with(ACKNOWLEDGED) =>
            {
                self.acknowledged(descriptor);
            }
            _ => {}
        }
    }

    fn ended(&mut self, by: &str, call: &str, arguments: &str) {
        let result = arguments.rsplit_once(" = ").map_or("-1", |r| r.1);
        if result.starts_with('-') || result.starts_with('?') {
            return;
        }
        let descriptor = descriptor(arguments);
        match call {
            "pwrite64" => {
                self.advance(|_, stage| match stage {
                    Stage::Writing { thread, file } if thread == by => {
                        Some(Stage::Written { file: file.clone() })
                    }
                    _ => None,
                });
            }
            "fdatasync" => {
                let syncing = Stage::Syncing { thread: by.into() };
                let advanced = self.advance(|_, stage| (*stage == syncing).then_some(Stage::Durable));
                self.proof.syncs += u64::from(path(descriptor).contains("/spool/"));
                self.proof.commits += u64::from(advanced > 0);
            }
            "recvfrom" | "read" if descriptor.starts_with(&self.intake) => {
                let connection = self.connections.entry(descriptor.to_string()).or_default();
                connection.buffer.extend_from_slice(&bytes(arguments));
                if contains(&connection.buffer, b"\r\n.\r\n") {
                    let id = message_id(&connection.buffer);
                    connection.message = Some((id, Stage::Received));
                    connection.buffer.clear();
                }
            }
            _ => {}
        }
    }

    /// Moves on every message for which there is a next stage. How many.
    fn advance(&mut self, next: impl Fn(&[u8], &Stage) -> Option<Stage>) -> usize {
        let mut moved = 0;
        for (id, stage) in self.connections.values_mut().filter_map(|c| c.message.as_mut()) {
            if let Some(later) = next(id, stage) {
                *stage = later;
                moved += 1;
            }
        }
        moved
    }

    fn acknowledged(&mut self, descriptor: &str) {
        self.proof.acknowledged += 1;
        let message = self.connections.get_mut(descriptor).and_then(|c| c.message.take());
        match message {
            Some((_, Stage::Durable)) => self.proof.proven += 1,
            Some((id, stage)) => {
                let id = String::from_utf8_lossy(&id).into_owned();
                self.proof.violations.push(format!("line {}: 250 for {id} while {stage:?}", self.line));
            }
            None => {
                self.proof.violations.push(format!("line {}: 250 without a message", self.line));
            }
        }
    }
}

/// `12<TCP:[a->b]>, ...` has `TCP:[a->b]`. An arrow inside is no end: what ends it is followed by a comma or bracket.
pub(crate) fn descriptor(arguments: &str) -> &str {
    let Some((_, rest)) = arguments.split_once('<') else { return "" };
    let end = [">,", ">)", "> "].iter().filter_map(|e| rest.find(e)).min();
    &rest[..end.unwrap_or(rest.len().saturating_sub(1))]
}

/// A file's path, which `-xx` writes as `\xHH` too.
pub(crate) fn path(descriptor: &str) -> String {
    if descriptor.starts_with('/') {
        descriptor.into()
    } else {
        String::from_utf8_lossy(&unhex(descriptor)).into()
    }
}

/// The bytes of the first quoted string.
fn bytes(arguments: &str) -> Vec<u8> {
    unhex(arguments.split('"').nth(1).unwrap_or(""))
}

/// What is written as `\xHH`.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|h| u8::from_str_radix(h.get(..2)?, 16).ok()).collect()
}

fn contains(buffer: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && buffer.windows(part.len()).any(|w| w == part)
}

/// The value of the Message-Id field, which tells a message from all others.
fn message_id(message: &[u8]) -> Vec<u8> {
    let lines = message.split(|b| *b == b'\n');
    let field = lines.map(<[u8]>::trim_ascii).find(|l| l.to_ascii_lowercase().starts_with(b"message-id:"));
    field.map_or(Vec::new(), |f| f[b"message-id:".len()..].trim_ascii().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        text.bytes().map(|b| format!("\\x{b:02x}")).collect()
    }

    /// A message's way through the engine, one line a call.
    fn way() -> Vec<String> {
        let socket = "9<TCP:[127.0.77.1:2525->127.0.0.1:9]>";
        let file = format!("7<{}>", hex("/x/spool/1"));
        let message = hex("Message-Id: <1@x>\r\n\r\nbody\r\n.\r\n");
        vec![
            format!("11 recvfrom({socket}, \"{message}\", 8192, 0, NULL, NULL) = 30"),
            format!("12 pwrite64({file}, \"{}\", 4096, 0 <unfinished ...>", hex("..<1@x>..")),
            "12 <... pwrite64 resumed>) = 4096".to_string(),
            format!("12 fdatasync({file} <unfinished ...>"),
            "12 <... fdatasync resumed>) = 0".to_string(),
            format!(
                "11 sendto({socket}, \"{}\", 40, 0, NULL, 0) = 40",
                hex("250 2.6.0 message received (1)\r\n")
            ),
        ]
    }

    fn check(lines: &[String]) -> Proof {
        let mut checker = Checker::new("127.0.77.1:2525".parse().expect("an address"));
        lines.iter().for_each(|l| checker.line(l));
        checker.proof()
    }

    #[test]
    fn written_then_synced_then_acknowledged_is_proven() {
        let proof = check(&way());
        assert_eq!((proof.acknowledged, proof.proven, proof.syncs, proof.commits), (1, 1, 1, 1));
        assert!(proof.violations.is_empty());
    }

    #[test]
    fn an_acknowledgement_before_the_end_of_the_sync_is_seen() {
        let mut lines = way();
        lines.swap(4, 5);
        assert_eq!((check(&lines).proven, check(&lines).violations.len()), (0, 1));
    }

    #[test]
    fn a_sync_that_began_before_the_write_ended_proves_nothing() {
        let mut lines = way();
        lines.swap(2, 3);
        lines[2] = lines[2].replace("12 ", "13 ");
        lines[4] = lines[4].replace("12 ", "13 ");
        assert_eq!((check(&lines).proven, check(&lines).violations.len()), (0, 1));
    }

    #[test]
    fn a_sync_that_failed_or_a_write_of_something_else_proves_nothing() {
        let mut lines = way();
        lines[4] = "12 <... fdatasync resumed>) = -1 EIO (Input/output error)".into();
        assert_eq!(check(&lines).proven, 0);
        let mut lines = way();
        lines[1] = lines[1].replace(&hex("<1@x>"), &hex("<2@x>"));
        assert_eq!(check(&lines).proven, 0);
    }
}
