//! The receiving end of an SMTP dialogue: bytes in, replies out, and what the wire is to do next. No socket, no
//! clock. A site is not a careful server: it judges its peer only where that is what it is for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::behaviour::{Behaviour, Fate, Stage, What};
use super::content::Content;
use super::door::{Door, Limit, SourceIndex};
use super::ledger::LedgerMode;
use super::replies::{self, Occasion};

/// Longest command line taken, CRLF included.
const MAX_LINE: usize = 4096;

/// What is to happen after the replies so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Send them; more input is needed.
    More,
    /// Wait, then send them, then go on with the input that is left.
    Pause(Duration),
    /// Send them one byte at a time with so much between, then go on.
    Tarpit(Duration),
    /// Send them, then do the TLS handshake; input that is left is thrown away.
    StartTls,
    /// Send them and close.
    Close,
    /// Reset the connection.
    Reset,
    /// Send them, then listen and say nothing.
    Silence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Command,
    Content,
    /// So many bytes of a BDAT chunk to come, and whether it is the last.
    Chunk {
        left: u64,
        last: bool,
    },
}

/// One connection's dialogue. All buffers are reused from message to message.
#[derive(Debug)]
pub struct Dialogue {
    pub(super) behaviour: Arc<Behaviour>,
    pub(super) ip: IpAddr,
    pub(super) source: SourceIndex,
    pub(super) gather: bool,
    mode: Mode,
    partial: Vec<u8>,
    greeted: bool,
    pub(super) tls: bool,
    in_mail: bool,
    pub(super) from: String,
    /// Accepted recipients of the transaction, each ended by a line feed.
    pub(super) recipients: String,
    pub(super) recipient_count: u32,
    /// The reply that a recipient's fate holds for the final dot.
    pub(super) verdict: Option<String>,
    messages: u32,
    pub(super) content: Content,
    chunked: bool,
    tarpit: Option<u64>,
    connection: u64,
}

impl Dialogue {
    /// A connection from `ip` has come in; its greeting is appended to `out`.
    pub fn begin(door: &mut Door, ip: IpAddr, now: u64, out: &mut Vec<u8>) -> (Dialogue, Act) {
        let (source, limit) = door.arrive(ip, now);
        let mut d = Dialogue {
            behaviour: door.behaviour.clone(),
            ip,
            source,
            gather: door.ledger_mode != LedgerMode::Off,
            mode: Mode::Command,
            partial: Vec::new(),
            greeted: false,
            tls: false,
            in_mail: false,
            from: String::new(),
            recipients: String::new(),
            recipient_count: 0,
            verdict: None,
            messages: 0,
            content: Content::default(),
            chunked: false,
            tarpit: None,
            connection: door.next_number(),
        };
        let act = d.greet(door, limit, out);
        (d, act)
    }

    fn greet(&mut self, door: &mut Door, limit: Limit, out: &mut Vec<u8>) -> Act {
        let b = self.behaviour.clone();
        match limit {
            Limit::Storm => return self.say(door, &b.wording.storm, "", out),
            Limit::Connections => return self.say(door, &b.wording.too_many_connections, "", out),
            Limit::Free | Limit::Rate => {}
        }
        if let Some(act) = self.strike(door, Stage::Greeting, "", out) {
            return act;
        }
        let act = self.say(door, &b.wording.greeting, "", out);
        self.pace(act)
    }

    /// The TLS handshake is done: all that was said before is forgotten (RFC 3207 4.2).
    pub fn secured(&mut self, door: &mut Door) {
        self.tls = true;
        self.greeted = false;
        self.reset();
        door.tally(self.source, |t| t.counts.tls_sessions += 1);
    }

    /// Takes input until it is used up or something other than [`Act::More`] is to be done.
    pub fn take(&mut self, door: &mut Door, now: u64, input: &mut &[u8], out: &mut Vec<u8>) -> Act {
        while !input.is_empty() {
            let act = match self.mode {
                Mode::Command => self.take_line(door, now, input, out),
                Mode::Content => self.take_content(door, now, input, out),
                Mode::Chunk { left, last } => self.take_chunk(door, now, input, out, left, last),
            };
            if act != Act::More {
                return act;
            }
        }
        Act::More
    }

    fn take_line(&mut self, door: &mut Door, now: u64, input: &mut &[u8], out: &mut Vec<u8>) -> Act {
        let whole = *input;
        let Some(at) = memchr::memchr(b'\n', whole) else {
            self.partial.extend_from_slice(whole);
            *input = &[];
            if self.partial.len() > MAX_LINE {
                return self.say(door, "421 4.7.0 Line too long", "", out);
            }
            return Act::More;
        };
        *input = &whole[at + 1..];
        let act = if self.partial.is_empty() {
            self.command(door, now, &whole[..at], out)
        } else {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(&whole[..at]);
            let act = self.command(door, now, &line, out);
            line.clear();
            self.partial = line;
            act
        };
        self.pace(act)
    }

    /// The behaviour's delay, or the tarpit that a fault has laid, before the reply just made.
    fn pace(&mut self, act: Act) -> Act {
        match (act, self.tarpit.take(), self.behaviour.delay_ms) {
            (Act::More, Some(ms), _) => Act::Tarpit(Duration::from_millis(ms)),
            (Act::More, None, ms) if ms > 0 && self.mode == Mode::Command => {
                Act::Pause(Duration::from_millis(ms))
            }
            (act, _, _) => act,
        }
    }

    fn command(&mut self, door: &mut Door, now: u64, line: &[u8], out: &mut Vec<u8>) -> Act {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let verb_end = memchr::memchr2(b' ', b':', line).unwrap_or(line.len());
        let (verb, rest) = (&line[..verb_end], line.get(verb_end + 1..).unwrap_or_default());
        match verb {
            v if v.eq_ignore_ascii_case(b"MAIL") => self.mail(door, now, rest, out),
            v if v.eq_ignore_ascii_case(b"RCPT") => self.rcpt(door, now, rest, out),
            v if v.eq_ignore_ascii_case(b"DATA") => self.data(door, out),
            v if v.eq_ignore_ascii_case(b"BDAT") => self.bdat(door, now, rest, out),
            v if v.eq_ignore_ascii_case(b"EHLO") => self.ehlo(door, out),
            v if v.eq_ignore_ascii_case(b"HELO") => self.helo(door, out),
            v if v.eq_ignore_ascii_case(b"STARTTLS") => self.starttls(door, out),
            v if v.eq_ignore_ascii_case(b"RSET") => {
                self.reset();
                self.simple(door, Stage::Rset, "250 2.0.0 Ok", out)
            }
            v if v.eq_ignore_ascii_case(b"NOOP") => self.say(door, "250 2.0.0 Ok", "", out),
            v if v.eq_ignore_ascii_case(b"QUIT") => {
                match self.simple(door, Stage::Quit, "221 2.0.0 Bye", out) {
                    Act::More => Act::Close,
                    act => act,
                }
            }
            _ => self.wrong(door, "502 5.5.2 Error: command not recognized", out),
        }
    }

    fn ehlo(&mut self, door: &mut Door, out: &mut Vec<u8>) -> Act {
        if self.behaviour.no_ehlo {
            return self.wrong(door, "502 5.5.1 Command not implemented", out);
        }
        if let Some(act) = self.strike(door, Stage::Ehlo, "", out) {
            return act;
        }
        self.greeted = true;
        self.reset();
        let starttls = self.behaviour.starttls && !self.tls;
        let keywords = self.behaviour.keywords.iter().map(String::as_str);
        let lines: Vec<&str> = std::iter::once(self.behaviour.host.as_str())
            .chain(keywords)
            .chain(starttls.then_some("STARTTLS"))
            .collect();
        for (i, line) in lines.iter().enumerate() {
            out.extend_from_slice(if i + 1 == lines.len() { b"250 " } else { b"250-" });
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Act::More
    }

    fn helo(&mut self, door: &mut Door, out: &mut Vec<u8>) -> Act {
        self.greeted = true;
        self.reset();
        self.simple(door, Stage::Ehlo, "250 {host}", out)
    }

    fn starttls(&mut self, door: &mut Door, out: &mut Vec<u8>) -> Act {
        if !self.behaviour.starttls || self.tls {
            return self.wrong(door, "502 5.5.1 Error: command not implemented", out);
        }
        match self.simple(door, Stage::StartTls, "220 2.0.0 Ready to start TLS", out) {
            Act::More if out.ends_with(b"TLS\r\n") => Act::StartTls,
            act => act,
        }
    }

    fn mail(&mut self, door: &mut Door, now: u64, rest: &[u8], out: &mut Vec<u8>) -> Act {
        if !self.greeted || self.in_mail {
            return self.wrong(door, "503 5.5.1 Error: bad sequence of commands", out);
        }
        let b = self.behaviour.clone();
        let refusal = match door.mail(self.source, now) {
            Limit::Storm => Some(&b.wording.storm),
            Limit::Rate => Some(&b.wording.rate),
            _ if b.max_messages.is_some_and(|max| self.messages >= max) => Some(&b.wording.too_many_messages),
            _ if too_big(&b, rest) => Some(&b.wording.too_big),
            _ => None,
        };
        if let Some(text) = refusal {
            self.count_message(door, text.as_bytes()[0]);
            return self.say(door, text, "", out);
        }
        if let Some(act) = self.strike(door, Stage::Mail, "", out) {
            return act;
        }
        let Some(path) = path(rest) else {
            return self.wrong(door, "501 5.1.7 Bad sender address syntax", out);
        };
        self.reset();
        self.from.push_str(&String::from_utf8_lossy(path));
        self.in_mail = true;
        self.messages += 1;
        self.say(door, "250 2.1.0 Ok", "", out)
    }

    fn rcpt(&mut self, door: &mut Door, now: u64, rest: &[u8], out: &mut Vec<u8>) -> Act {
        if !self.in_mail {
            return self.wrong(door, "503 5.5.1 Error: need MAIL command", out);
        }
        let Some(path) = path(rest).filter(|p| !p.is_empty()) else {
            return self.wrong(door, "501 5.1.3 Bad recipient address syntax", out);
        };
        // Borrowed unless the address is no UTF-8.
        let to = String::from_utf8_lossy(path);
        if let Some(act) = self.strike(door, Stage::Rcpt, &to, out) {
            return act;
        }
        let b = self.behaviour.clone();
        let w = &b.wording;
        let fate = door.fate(&to);
        let refusal: Option<&str> = match &fate {
            Some(Fate::Unknown) => Some(&w.unknown),
            Some(Fate::Full) => Some(&w.full),
            Some(Fate::Disabled) => Some(&w.disabled),
            Some(Fate::Transient(_)) => Some(&w.transient),
            Some(Fate::Reply(text)) => Some(text),
            _ if b.max_recipients.is_some_and(|max| self.recipient_count >= max) => {
                Some(&w.too_many_recipients)
            }
            _ if b.greylist_ms.is_some() && door.grey(self.ip, &self.from, &to, now) => Some(&w.grey),
            _ => None,
        };
        if let Some(text) = refusal {
            let rejected = text.starts_with('5');
            door.tally(self.source, |t| {
                t.counts.recipients_rejected += u64::from(rejected);
                t.counts.recipients_deferred += u64::from(!rejected);
            });
            return self.say(door, text, &to, out);
        }
        match fate {
            Some(Fate::Spam) => self.verdict = Some(w.spam.to_string()),
            Some(Fate::ReplyAtDot(text)) => self.verdict = Some(text),
            _ => {}
        }
        self.recipients.push_str(&to);
        self.recipients.push('\n');
        self.recipient_count += 1;
        self.say(door, "250 2.1.5 Ok", "", out)
    }

    fn data(&mut self, door: &mut Door, out: &mut Vec<u8>) -> Act {
        if self.recipient_count == 0 {
            return self.wrong(door, "554 5.5.1 Error: no valid recipients", out);
        }
        let to = self.last_recipient().to_string();
        if let Some(act) = self.strike(door, Stage::Data, &to, out) {
            return act;
        }
        self.content.begin();
        self.mode = Mode::Content;
        self.say(door, "354 End data with <CR><LF>.<CR><LF>", "", out)
    }

    fn take_content(&mut self, door: &mut Door, now: u64, input: &mut &[u8], out: &mut Vec<u8>) -> Act {
        if door.may_fail_in_body() {
            let to = self.last_recipient().to_string();
            if let Some(act) = self.strike(door, Stage::Body, &to, out) {
                return act;
            }
        }
        if !self.content.take(input, self.gather) {
            return Act::More;
        }
        self.mode = Mode::Command;
        let act = self.end_of_message(door, now, true, out);
        self.pace(act)
    }

    fn bdat(&mut self, door: &mut Door, now: u64, rest: &[u8], out: &mut Vec<u8>) -> Act {
        let mut words = rest.split(|b| *b == b' ').filter(|w| !w.is_empty());
        let size = words.next().and_then(|w| std::str::from_utf8(w).ok()?.parse::<u64>().ok());
        let last = words.next().is_some_and(|w| w.eq_ignore_ascii_case(b"LAST"));
        let (Some(left), true) = (size, self.behaviour.offers("CHUNKING")) else {
            return self.wrong(door, "501 5.5.4 Error: BDAT needs CHUNKING and a size", out);
        };
        if !self.chunked {
            self.content.begin();
            self.chunked = true;
        }
        self.mode = Mode::Chunk { left, last };
        if left == 0 { self.chunk_done(door, now, last, out) } else { Act::More }
    }

    fn take_chunk(
        &mut self,
        door: &mut Door,
        now: u64,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        left: u64,
        last: bool,
    ) -> Act {
        let take = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (piece, rest) = input.split_at(take);
        *input = rest;
        self.content.size += take as u64;
        if self.gather {
            self.content.gathered.extend_from_slice(piece);
        }
        let left = left - take as u64;
        self.mode = Mode::Chunk { left, last };
        if left > 0 {
            return Act::More;
        }
        let act = self.chunk_done(door, now, last, out);
        self.pace(act)
    }

    fn chunk_done(&mut self, door: &mut Door, now: u64, last: bool, out: &mut Vec<u8>) -> Act {
        self.mode = Mode::Command;
        if self.recipient_count == 0 {
            // The chunk had to be read all the same (RFC 3030 2).
            return self.wrong(door, "503 5.5.1 Error: no valid recipients", out);
        }
        if !last {
            return self.say(door, "250 2.0.0 Ok, more", "", out);
        }
        self.end_of_message(door, now, false, out)
    }

    /// The first byte of a reply to a message tells how it is counted.
    pub(super) fn count_message(&mut self, door: &mut Door, first: u8) {
        door.tally(self.source, |t| match first {
            b'5' => t.counts.messages_rejected += 1,
            b'4' => t.counts.messages_deferred += 1,
            _ => {}
        });
    }

    pub(super) fn last_recipient(&self) -> &str {
        self.recipients.trim_end_matches('\n').rsplit('\n').next().unwrap_or_default()
    }

    pub(super) fn reset(&mut self) {
        self.in_mail = false;
        self.from.clear();
        self.recipients.clear();
        self.recipient_count = 0;
        self.verdict = None;
        self.chunked = false;
    }

    /// A fixed reply, unless a fault strikes.
    fn simple(&mut self, door: &mut Door, stage: Stage, text: &str, out: &mut Vec<u8>) -> Act {
        match self.strike(door, stage, "", out) {
            Some(act) => act,
            None => self.say(door, text, "", out),
        }
    }

    fn wrong(&mut self, door: &mut Door, text: &str, out: &mut Vec<u8>) -> Act {
        door.tally(self.source, |t| t.counts.protocol_errors += 1);
        self.say(door, text, "", out)
    }

    /// Appends a reply; a 421 closes.
    pub(super) fn say(&mut self, door: &mut Door, text: &str, to: &str, out: &mut Vec<u8>) -> Act {
        let number = if text.contains("{n}") { door.next_number() } else { 0 };
        let about = Occasion { ip: self.ip, host: &self.behaviour.host, from: &self.from, to, number };
        replies::append(out, text, about);
        if text.starts_with("421") { Act::Close } else { Act::More }
    }

    /// What a fault at `stage` makes happen in place of the ordinary reply. A tarpit lets the reply be made and
    /// slows its sending.
    pub(super) fn strike(
        &mut self,
        door: &mut Door,
        stage: Stage,
        to: &str,
        out: &mut Vec<u8>,
    ) -> Option<Act> {
        let what = match to {
            "" => door.fault(stage, &self.connection.to_le_bytes()),
            to => door.fault(stage, to.as_bytes()),
        };
        match what? {
            What::Silence => Some(Act::Silence),
            What::Reset => Some(Act::Reset),
            What::Close => Some(Act::Close),
            What::Reply(text) => Some(self.say(door, &text, to, out)),
            What::Tarpit(ms) => {
                self.tarpit = Some(ms);
                None
            }
        }
    }
}

/// The address between the angle brackets of `FROM:<...> ...` or `TO:<...> ...`.
fn path(rest: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'<', rest)?;
    let close = memchr::memchr(b'>', rest)?;
    rest.get(open + 1..close)
}

/// Whether `SIZE=n` among the parameters of MAIL is over the limit.
fn too_big(b: &Behaviour, rest: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(rest, b" SIZE=") else { return false };
    let digits = rest[at + 6..].iter().take_while(|d| d.is_ascii_digit());
    let size = digits.fold(0u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0')));
    b.max_size().is_some_and(|max| size > max)
}
