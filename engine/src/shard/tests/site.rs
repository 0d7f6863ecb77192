//! The receiving side: every connection is asked what it wants to say, command by command.

use crate::base::Time;
use std::net::{IpAddr, SocketAddr};

/// What a receiver is asked for: one command, the greeting, or the end of a message.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// `GREETING`, `EHLO`, `MAIL`, .. `DOT` for the end of the content, `TLS` for the first bytes of a handshake.
    pub verb: &'a str,
    pub line: &'a str,
    /// Number of the connection, from 0 in the order of their making.
    pub connection: usize,
    pub to: SocketAddr,
    pub now: Time,
}

/// What the receiver does.
#[derive(Clone, Debug)]
pub enum Say {
    Reply(String),
    /// Replies and closes.
    Last(String),
    /// Replies, takes so many bytes more, and closes.
    Choke(String, usize),
    Drop,
    /// Says nothing any more, whatever comes.
    Silence,
}

pub fn reply(text: &str) -> Say {
    Say::Reply(text.to_owned())
}

impl Ask<'_> {
    /// What a host in good order says.
    pub fn well(&self) -> Say {
        reply(match self.verb {
            "GREETING" => "220 mx ready",
            "EHLO" => "250-mx\r\n250-PIPELINING\r\n250 8BITMIME",
            "DATA" => "354 go on",
            "QUIT" => return Say::Last("221 bye".to_owned()),
            "DOT" => "250 2.0.0 taken",
            _ => "250 ok",
        })
    }
}

pub type Answer = Box<dyn FnMut(&Ask<'_>) -> Say>;

/// A message that the receiver took.
#[derive(Clone, Debug)]
pub struct Taken {
    pub at: Time,
    pub connection: usize,
    pub recipients: Vec<String>,
    pub message: String,
}

/// One connection as the receiver has it.
#[derive(Debug)]
pub struct Peer {
    pub number: usize,
    pub to: SocketAddr,
    input: Vec<u8>,
    in_data: bool,
    secured: bool,
    silent: bool,
    /// Bytes still taken before it is cut.
    pub choke: Option<usize>,
    sender: bool,
    recipients: Vec<String>,
}

/// What came of bytes: replies in order, and whether the connection is at its end.
#[derive(Debug, Default)]
pub struct Reaction {
    pub replies: Vec<u8>,
    pub closed: bool,
}

/// All receivers of a world.
pub struct Site {
    pub answer: Answer,
    pub taken: Vec<Taken>,
    /// Every RCPT command: when, and where.
    pub recipients: Vec<(Time, SocketAddr)>,
    /// Every connection attempt.
    pub connects: Vec<(Time, SocketAddr, Option<IpAddr>)>,
    pub commands: Vec<String>,
}

impl Site {
    pub fn new() -> Site {
        Site {
            answer: Box::new(|ask| ask.well()),
            taken: Vec::new(),
            recipients: Vec::new(),
            connects: Vec::new(),
            commands: Vec::new(),
        }
    }

    pub fn greet(&mut self, peer: &mut Peer, now: Time) -> Reaction {
        let mut reaction = Reaction::default();
        self.ask(peer, now, "GREETING", "", &mut reaction);
        reaction
    }

    pub fn feed(&mut self, peer: &mut Peer, now: Time, bytes: &[u8]) -> Reaction {
        let mut reaction = Reaction::default();
        peer.input.extend_from_slice(bytes);
        while !reaction.closed && !peer.silent {
            if peer.secured {
                self.ask(peer, now, "TLS", "", &mut reaction);
                reaction.closed = true;
            } else if peer.in_data {
                let Some(message) = peer.take_message() else { break };
                self.end_of_message(peer, now, message, &mut reaction);
            } else {
                let Some(line) = peer.take_line() else { break };
                self.command(peer, now, &line, &mut reaction);
            }
        }
        reaction
    }

    fn ask(&mut self, peer: &mut Peer, now: Time, verb: &str, line: &str, reaction: &mut Reaction) -> u16 {
        let (connection, to) = (peer.number, peer.to);
        let said = (self.answer)(&Ask { verb, line, connection, to, now });
        let text = match said {
            Say::Reply(text) => text,
            Say::Last(text) => {
                reaction.closed = true;
                text
            }
            Say::Choke(text, bytes) => {
                peer.choke = Some(bytes);
                text
            }
            Say::Drop => {
                reaction.closed = true;
                return 0;
            }
            Say::Silence => {
                peer.silent = true;
                return 0;
            }
        };
        reaction.replies.extend_from_slice(format!("{text}\r\n").as_bytes());
        text[..3].parse().expect("a reply code")
    }

    fn command(&mut self, peer: &mut Peer, now: Time, line: &str, reaction: &mut Reaction) {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        self.commands.push(verb.clone());
        match verb.as_str() {
            "MAIL" => {
                peer.recipients.clear();
                peer.sender = self.ask(peer, now, "MAIL", line, reaction) / 100 == 2;
            }
            "RCPT" => {
                self.recipients.push((now, peer.to));
                if !peer.sender {
                    return reaction.replies.extend_from_slice(b"503 no sender\r\n");
                }
                if self.ask(peer, now, "RCPT", line, reaction) / 100 == 2 {
                    let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                    peer.recipients.push(address.to_owned());
                }
            }
            "DATA" if peer.recipients.is_empty() => {
                reaction.replies.extend_from_slice(b"503 no recipients\r\n");
            }
            "DATA" => peer.in_data = self.ask(peer, now, "DATA", line, reaction) == 354,
            "STARTTLS" => peer.secured = self.ask(peer, now, "STARTTLS", line, reaction) == 220,
            "RSET" => {
                peer.sender = false;
                peer.recipients.clear();
                self.ask(peer, now, "RSET", line, reaction);
            }
            other => {
                self.ask(peer, now, other, line, reaction);
            }
        }
    }

    fn end_of_message(&mut self, peer: &mut Peer, now: Time, message: String, reaction: &mut Reaction) {
        peer.in_data = false;
        peer.sender = false;
        let recipients = std::mem::take(&mut peer.recipients);
        if self.ask(peer, now, "DOT", "", reaction) / 100 == 2 {
            self.taken.push(Taken { at: now, connection: peer.number, recipients, message });
        }
    }

    /// Addresses that got a message, sorted.
    pub fn reached(&self) -> Vec<String> {
        let mut all: Vec<String> = self.taken.iter().flat_map(|t| t.recipients.clone()).collect();
        all.sort_unstable();
        all
    }
}

impl Peer {
    pub fn new(number: usize, to: SocketAddr) -> Peer {
        Peer {
            number,
            to,
            input: Vec::new(),
            in_data: false,
            secured: false,
            silent: false,
            choke: None,
            sender: false,
            recipients: Vec::new(),
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let end = self.input.windows(2).position(|w| w == b"\r\n")?;
        let line: Vec<u8> = self.input.drain(..end + 2).collect();
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    fn take_message(&mut self) -> Option<String> {
        let end = self.input.windows(5).position(|w| w == b"\r\n.\r\n")?;
        let message: Vec<u8> = self.input.drain(..end + 5).collect();
        Some(String::from_utf8_lossy(&message[..end + 2]).into_owned())
    }
}
