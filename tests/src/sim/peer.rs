//! A receiving host's side of one connection: commands in, replies out, with the bad manners that the plan asks for.

use super::audit::Auditor;
use super::plan::Ill;
use super::site::{Site, SiteCounts};
use memchr::memmem;
use std::net::IpAddr;
use std::time::Duration;

/// What a host says next.
#[derive(Debug, Default)]
pub struct Say {
    pub bytes: Vec<u8>,
    /// Thinking time before it.
    pub after: Duration,
    pub close: bool,
    /// Arrives in one piece: of two replies to one command, cut between them, the second answers the next command, and
    /// nobody could tell.
    pub whole: bool,
    /// What the engine knows once it has read this.
    pub means: Option<Meaning>,
}

/// What a reply tells the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The receiver takes over message number so-and-so.
    Taken(u64),
    /// This recipient is put off for its own sake.
    PutOff(String),
}

/// Everything a host needs to answer.
pub struct Scene<'a> {
    pub now: Duration,
    pub site: &'a mut Site,
    pub audit: &'a mut Auditor,
    pub counts: &'a mut SiteCounts,
    pub wire: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Command,
    Data,
    Chunk { left: usize, last: bool },
    Deaf,
}

/// One connection as the receiver has it.
#[derive(Debug)]
pub struct Peer {
    pub from: IpAddr,
    input: Vec<u8>,
    /// Bytes of a message in which its end was already looked for.
    searched: usize,
    phase: Phase,
    pipelining: bool,
    /// It refused a RSET: a client need not believe what it says of the commands behind it.
    unbelieved: bool,
    sender: Option<String>,
    recipients: Vec<String>,
    message: Vec<u8>,
    says: Vec<Say>,
}

/// What goes wrong with a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Closing,
    Drop,
    Silence,
    Transient,
    Permanent,
    Slow,
    Nonsense,
}

impl Peer {
    pub fn new(from: IpAddr) -> Peer {
        Peer {
            from,
            input: Vec::new(),
            searched: 0,
            phase: Phase::Command,
            pipelining: false,
            unbelieved: false,
            sender: None,
            recipients: Vec::new(),
            message: Vec::new(),
            says: Vec::new(),
        }
    }

    pub fn greet(&mut self, scene: &mut Scene<'_>) -> Vec<Say> {
        let most = scene.site.manners.connections;
        let open = scene.site.open.get(&self.from).copied().unwrap_or(0);
        if open > most && !scene.site.calm {
            scene.counts.refused_421 += 1;
            self.last("421 4.7.0 too many connections");
        } else {
            self.answer(scene, "GREETING", "220 mx ready");
        }
        std::mem::take(&mut self.says)
    }

    pub fn feed(&mut self, scene: &mut Scene<'_>, bytes: &[u8]) -> Vec<Say> {
        self.input.extend_from_slice(bytes);
        loop {
            match self.phase {
                Phase::Deaf => {
                    self.input.clear();
                    break;
                }
                Phase::Command => {
                    let Some(line) = self.take_line() else { break };
                    let (answered, lockstep) = (self.says.len(), !self.pipelining);
                    self.command(scene, &line);
                    let waits = self.phase == Phase::Command && self.says.len() > answered;
                    if lockstep && waits && !self.input.is_empty() {
                        scene
                            .audit
                            .breach("pipelining", format!("more behind {line:?}, which did not allow it"));
                    }
                }
                Phase::Data => {
                    if !self.take_message() {
                        break;
                    }
                    self.end(scene);
                }
                Phase::Chunk { left, last } => {
                    let taken = left.min(self.input.len());
                    self.message.extend(self.input.drain(..taken));
                    self.phase = Phase::Chunk { left: left - taken, last };
                    if taken < left {
                        break;
                    }
                    self.phase = Phase::Command;
                    if last {
                        self.end(scene);
                    } else {
                        self.answer(scene, "BDAT", "250 go on");
                    }
                }
            }
        }
        std::mem::take(&mut self.says)
    }

    fn take_line(&mut self) -> Option<String> {
        let end = memmem::find(&self.input, b"\r\n")?;
        let line: Vec<u8> = self.input.drain(..end + 2).collect();
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    /// Takes a message with its dots undone.
    fn take_message(&mut self) -> bool {
        let from = self.searched.saturating_sub(4);
        let end = if self.input.starts_with(b".\r\n") {
            0
        } else if let Some(found) = memmem::find(&self.input[from..], b"\r\n.\r\n") {
            from + found + 2
        } else {
            self.searched = self.input.len();
            return false;
        };
        self.searched = 0;
        let stuffed: Vec<u8> = self.input.drain(..end + 3).take(end).collect();
        let mut rest = &stuffed[..];
        self.message.clear();
        if let [b'.', tail @ ..] = rest {
            rest = tail;
        }
        while let Some(at) = memmem::find(rest, b"\r\n.") {
            self.message.extend_from_slice(&rest[..at + 2]);
            rest = &rest[at + 3..];
        }
        self.message.extend_from_slice(rest);
        true
    }

    fn say(&mut self, text: &str) {
        self.says.push(Say { bytes: format!("{text}\r\n").into_bytes(), ..Say::default() });
    }

    fn last(&mut self, text: &str) {
        self.say(text);
        if let Some(say) = self.says.last_mut() {
            say.close = true;
        }
        self.phase = Phase::Deaf;
    }

    fn drop_connection(&mut self) {
        self.says.push(Say { close: true, ..Say::default() });
        self.phase = Phase::Deaf;
    }

    /// Whether something is to go wrong now, and what.
    fn wrong(&self, scene: &mut Scene<'_>) -> Option<Wrong> {
        let site = &mut *scene.site;
        if site.is(scene.now, |ill| ill == Ill::Storm) {
            return Some(Wrong::Closing);
        }
        if site.calm || site.rng.u32(..10_000) >= site.manners.chaos {
            return None;
        }
        let all = [
            Wrong::Closing,
            Wrong::Closing,
            Wrong::Drop,
            Wrong::Silence,
            Wrong::Transient,
            Wrong::Permanent,
            Wrong::Slow,
            Wrong::Slow,
            Wrong::Nonsense,
        ];
        site.rng.choice(all.iter()).copied()
    }

    /// Answers a command as `text` says, if nothing goes wrong; true if it did answer so.
    fn answer(&mut self, scene: &mut Scene<'_>, verb: &str, text: &str) -> bool {
        let wrong = self.wrong(scene);
        let counts = &mut *scene.counts;
        match wrong {
            None => {
                self.say(text);
                if let Some(ms) = scene.site.slow(scene.now) {
                    counts.slow += 1;
                    self.delay(Duration::from_millis(ms));
                }
                return true;
            }
            Some(Wrong::Slow) => {
                counts.slow += 1;
                self.say(text);
                let time = Duration::from_millis(scene.site.rng.u64(..200_000));
                self.delay(time);
                return true;
            }
            Some(Wrong::Closing) => {
                counts.refused_421 += 1;
                self.last("421 4.3.2 closing");
            }
            Some(Wrong::Drop) => {
                counts.dropped += 1;
                self.drop_connection();
            }
            Some(Wrong::Silence) => {
                counts.silent += 1;
                self.phase = Phase::Deaf;
            }
            Some(Wrong::Nonsense) => {
                counts.nonsense += 1;
                let nonsense =
                    ["250 ok\r\n250 ok", "what?", "250-a\r\n550 b", "\u{0}\u{1b}[2J", "25", "354 go"];
                self.say(scene.site.rng.choice(nonsense.iter()).unwrap_or(&"?"));
                if let Some(say) = self.says.last_mut() {
                    say.whole = true;
                }
                self.phase = Phase::Deaf;
            }
            Some(Wrong::Permanent) if ["RCPT", "MAIL"].contains(&verb) => {
                counts.refused_5xx += 1;
                self.say("554 5.7.1 not from you");
                if verb == "MAIL" {
                    scene.audit.refused_sender(scene.wire);
                }
            }
            Some(Wrong::Permanent | Wrong::Transient) => {
                counts.refused_4xx += 1;
                self.say("451 4.3.0 later");
            }
        }
        false
    }

    fn delay(&mut self, time: Duration) {
        if let Some(say) = self.says.last_mut() {
            say.after = time;
        }
    }

    fn command(&mut self, scene: &mut Scene<'_>, line: &str) {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        match verb.as_str() {
            "EHLO" if scene.site.manners.no_ehlo => self.say("502 5.5.1 what?"),
            "EHLO" | "HELO" => {
                scene.audit.hello(scene.wire, line.get(5..).unwrap_or_default());
                let text = self.features(scene, &verb);
                self.pipelining = self.answer(scene, &verb, &text) && text.contains("PIPELINING");
            }
            "MAIL" => {
                (self.sender, self.recipients) = (None, Vec::new());
                self.message.clear();
                scene.audit.transaction(scene.now, scene.wire);
                if scene.site.too_fast(scene.now) {
                    scene.counts.refused_4xx += 1;
                    self.say("450 4.7.1 too fast");
                } else if self.answer(scene, "MAIL", "250 ok") {
                    self.sender = Some(address());
                }
            }
            "RCPT" => self.recipient(scene, &address()),
            "DATA" if self.recipients.is_empty() => self.say("503 5.5.1 no recipients"),
            "DATA" => {
                if self.answer(scene, "DATA", "354 go on") {
                    self.phase = Phase::Data;
                }
            }
            "BDAT" => {
                let mut words = line.split(' ').skip(1);
                let left = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                self.phase = Phase::Chunk { left, last: words.next().is_some() };
            }
            "RSET" => {
                (self.sender, self.recipients) = (None, Vec::new());
                self.unbelieved |= !self.answer(scene, "RSET", "250 ok");
            }
            "QUIT" => self.last("221 bye"),
            _ => self.say("500 5.5.2 what?"),
        }
    }

    fn features(&self, scene: &Scene<'_>, verb: &str) -> String {
        let manners = &scene.site.manners;
        let mut lines = vec!["mx.example"];
        if verb == "EHLO" {
            lines.extend(["8BITMIME", "SIZE 10000000", "ENHANCEDSTATUSCODES"]);
            lines.extend(manners.pipelining.then_some("PIPELINING"));
            lines.extend(manners.chunking.then_some("CHUNKING"));
        }
        let (last, first) = lines.split_last().expect("at least one");
        let first: String = first.iter().map(|line| format!("250-{line}\r\n")).collect();
        format!("{first}250 {last}")
    }

    fn recipient(&mut self, scene: &mut Scene<'_>, address: &str) {
        if self.sender.is_none() {
            return self.say("503 5.5.1 no sender");
        }
        scene.audit.recipient(scene.now, scene.wire, address);
        if let Some(text) = scene.site.judge(scene.now, address) {
            if text.starts_with('5') {
                scene.counts.refused_5xx += 1;
                scene.audit.refused(address);
            } else {
                scene.counts.refused_4xx += 1;
                self.say(text);
                if let Some(say) = self.says.last_mut().filter(|_| !self.unbelieved) {
                    say.means = Some(Meaning::PutOff(address.to_owned()));
                }
                return;
            }
            return self.say(text);
        }
        let before = scene.counts.refused_5xx;
        if self.answer(scene, "RCPT", "250 ok") {
            self.recipients.push(address.to_owned());
        } else if scene.counts.refused_5xx > before {
            scene.audit.refused(address);
        }
    }

    /// The end of a message: it is taken, or refused.
    fn end(&mut self, scene: &mut Scene<'_>) {
        self.phase = Phase::Command;
        let recipients = std::mem::take(&mut self.recipients);
        let message = std::mem::take(&mut self.message);
        let sender = self.sender.take();
        if sender.is_none() || recipients.is_empty() {
            return self.say("503 5.5.1 no recipients");
        }
        let silent = scene.site.is(scene.now, |ill| ill == Ill::SilentAfterDot);
        let drops = scene.site.is(scene.now, |ill| ill == Ill::DropsAfterDot);
        let wrong = self.wrong(scene);
        match wrong {
            Some(Wrong::Closing) => {
                scene.counts.refused_421 += 1;
                return self.last("421 4.3.2 closing");
            }
            Some(Wrong::Transient | Wrong::Nonsense) => {
                scene.counts.refused_4xx += 1;
                return self.say("451 4.3.0 later");
            }
            Some(Wrong::Permanent) => {
                scene.counts.refused_5xx += 1;
                recipients.iter().for_each(|address| scene.audit.refused(address));
                return self.say("554 5.6.0 not this");
            }
            _ => {}
        }
        scene.counts.taken += 1;
        let taken = scene.audit.taken(scene.now, scene.wire, &recipients, &message);
        if drops || wrong == Some(Wrong::Drop) {
            scene.counts.in_doubt += 1;
            return self.drop_connection();
        }
        if silent || wrong == Some(Wrong::Silence) {
            scene.counts.in_doubt += 1;
            self.phase = Phase::Deaf;
            return;
        }
        self.say("250 2.0.0 taken");
        if let Some(ms) = scene.site.slow(scene.now) {
            self.delay(Duration::from_millis(ms));
        }
        if wrong == Some(Wrong::Slow) {
            scene.counts.slow += 1;
            let time = Duration::from_millis(scene.site.rng.u64(..900_000));
            self.delay(time);
        }
        if let Some(say) = self.says.last_mut() {
            say.means = Some(Meaning::Taken(taken));
        }
    }
}
