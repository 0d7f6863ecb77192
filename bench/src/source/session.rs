//! One session of the source: connects, sends message after message, and never forgets which of them has been
//! answered for.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use super::report::Ack;
use super::{Shared, SourceConfig};
use crate::clock::now_us;

/// Between tries to reach a server, and after a deferral.
const AGAIN: Duration = Duration::from_millis(20);
/// More than this without a line end is no SMTP server.
const MAX_REPLY: usize = 64 * 1024;

/// What became of one message on one connection.
enum Fate {
    Acked { at_us: u64, latency_us: u32 },
    Deferred,
    Refused,
}

/// Why a transaction ended without a fate: whether the final dot may have reached the server.
struct Broken {
    in_doubt: bool,
}

pub(super) async fn run(config: Rc<SourceConfig>, shared: Arc<Shared>, number: u32) {
    let started = Instant::now();
    let mut reached = Instant::now();
    // A message that a broken connection left unsent is sent on the next.
    let mut owed = None;
    while !shared.stop.load(Ordering::Relaxed) && (owed.is_some() || messages_left(&config, &shared)) {
        match Connection::open(&config, number).await {
            Ok(mut connection) => {
                reached = Instant::now();
                shared.lock().connections += 1;
                owed = converse(&mut connection, &config, &shared, started, owed).await;
            }
            Err(_) => {
                shared.lock().broken += 1;
                if reached.elapsed() > config.patience {
                    shared.lock().gave_up = true;
                    return;
                }
                sleep(AGAIN).await;
            }
        }
    }
}

fn messages_left(config: &SourceConfig, shared: &Shared) -> bool {
    shared.next.load(Ordering::Relaxed) < config.load.ids().end
}

/// Sends messages until the connection or the load is at its end; the message still owed, if any.
async fn converse(
    connection: &mut Connection,
    config: &SourceConfig,
    shared: &Shared,
    started: Instant,
    mut owed: Option<u64>,
) -> Option<u64> {
    for _ in 0..config.per_connection {
        while shared.hold.load(Ordering::Relaxed) && !shared.stop.load(Ordering::Relaxed) {
            sleep(AGAIN).await;
        }
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let id = match owed.take() {
            Some(id) => id,
            None => {
                let id = shared.next.fetch_add(1, Ordering::Relaxed);
                if id >= config.load.ids().end {
                    break;
                }
                if let Some(rate) = config.rate {
                    let slot = (id - config.load.first_id) as f64 / f64::from(rate.max(1));
                    sleep_until(started + Duration::from_secs_f64(slot)).await;
                }
                id
            }
        };
        match connection.send(config, shared, id).await {
            Ok(Fate::Acked { at_us, latency_us }) => {
                shared.acked.fetch_add(1, Ordering::Relaxed);
                shared.lock().acked.push(Ack { id, at_us, latency_us });
            }
            Ok(Fate::Deferred) => {
                shared.lock().deferrals += 1;
                owed = Some(id);
                sleep(AGAIN).await;
            }
            Ok(Fate::Refused) => shared.lock().refused.push(id),
            Err(broken) => {
                let mut report = shared.lock();
                report.broken += 1;
                if broken.in_doubt {
                    report.in_doubt.push(id);
                    return None;
                }
                return Some(id);
            }
        }
    }
    connection.quit().await;
    owed
}

/// A socket, or TLS over one.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

struct Connection {
    stream: Box<dyn Stream>,
    reply_timeout: Duration,
    pipelining: bool,
    out: Vec<u8>,
    read: Vec<u8>,
    /// Bytes of `read` already used.
    used: usize,
}

impl Connection {
    /// Connects, is greeted and says EHLO; twice, where there is to be TLS.
    async fn open(config: &SourceConfig, number: u32) -> io::Result<Connection> {
        let socket = if config.target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = config.from.get(number as usize % config.from.len().max(1)) {
            socket.bind((*from, 0).into())?;
        }
        let stream = timeout(config.reply_timeout, socket.connect(config.target)).await??;
        stream.set_nodelay(true)?;
        let mut connection = Connection {
            stream: Box::new(stream),
            reply_timeout: config.reply_timeout,
            pipelining: false,
            out: Vec::with_capacity(config.load.size + 1024),
            read: Vec::with_capacity(4096),
            used: 0,
        };
        connection.expect(220).await?;
        let mut keywords = connection.ask("EHLO source.example", 250).await?;
        if let Some(tls) = &config.tls {
            connection.ask("STARTTLS", 220).await?;
            let connector = TlsConnector::from(tls.config.clone());
            let clear = std::mem::replace(&mut connection.stream, Box::new(tokio::io::empty()));
            let sealed = timeout(config.reply_timeout, connector.connect(tls.name.clone(), clear)).await??;
            connection.stream = Box::new(sealed);
            keywords = connection.ask("EHLO source.example", 250).await?;
        }
        connection.pipelining = config.pipelining && keywords.to_ascii_uppercase().contains("PIPELINING");
        Ok(connection)
    }

    async fn ask(&mut self, command: &str, code: u16) -> io::Result<String> {
        self.stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        self.expect(code).await
    }

    async fn expect(&mut self, code: u16) -> io::Result<String> {
        let (got, text) = self.reply().await?;
        if got == code { Ok(text) } else { Err(io::Error::other(format!("{got} {text}"))) }
    }

    /// One transaction.
    async fn send(&mut self, config: &SourceConfig, shared: &Shared, id: u64) -> Result<Fate, Broken> {
        let before = |_| Broken { in_doubt: false };
        let code = self.envelope(config, shared, id).await.map_err(before)?;
        match code {
            354 => {}
            400..=499 => return self.put_off().await.map_err(before),
            _ => {
                self.put_off().await.map_err(before)?;
                return Ok(Fate::Refused);
            }
        }
        self.out.clear();
        config.load.append_wire(&mut self.out, id);
        let after = |_| Broken { in_doubt: true };
        let sent_us = now_us();
        self.write().await.map_err(after)?;
        let (code, text) = self.reply().await.map_err(after)?;
        let at_us = now_us();
        if code == 250 {
            let latency_us = u32::try_from(at_us - sent_us).unwrap_or(u32::MAX);
            return Ok(Fate::Acked { at_us, latency_us });
        }
        let mut report = shared.lock();
        report.note(code, &text);
        if code < 500 {
            report.put_off.push(id);
        }
        Ok(if code < 500 { Fate::Deferred } else { Fate::Refused })
    }

    /// MAIL, RCPT and DATA; 354, or the code of the refusal that matters.
    async fn envelope(&mut self, config: &SourceConfig, shared: &Shared, id: u64) -> io::Result<u16> {
        let recipients = config.load.recipients_per_message.max(1);
        let mut refusal = 0;
        let mut accepted = 0;
        self.out.clear();
        for step in 0..recipients + 2 {
            match step {
                0 => append_mail(&mut self.out, &config.load.sender),
                k if k <= recipients => {
                    self.out.extend_from_slice(b"RCPT TO:<");
                    config.load.append_recipient(&mut self.out, id, k - 1);
                    self.out.extend_from_slice(b">\r\n");
                }
                _ => self.out.extend_from_slice(b"DATA\r\n"),
            }
            if !self.pipelining {
                self.write().await?;
                self.out.clear();
                let (code, text) = self.reply().await?;
                note_refusal(shared, code, &text, &mut refusal, &mut accepted);
                if step == 0 && refusal != 0 || step == recipients && accepted < 2 {
                    return Ok(refusal);
                }
                if code == 354 {
                    return Ok(354);
                }
            }
        }
        if self.pipelining {
            self.write().await?;
            for _ in 0..recipients + 2 {
                let (code, text) = self.reply().await?;
                note_refusal(shared, code, &text, &mut refusal, &mut accepted);
                if code == 354 {
                    return Ok(354);
                }
            }
        }
        Ok(refusal)
    }

    async fn put_off(&mut self) -> io::Result<Fate> {
        self.stream.write_all(b"RSET\r\n").await?;
        self.expect(250).await?;
        Ok(Fate::Deferred)
    }

    async fn quit(&mut self) {
        if self.stream.write_all(b"QUIT\r\n").await.is_ok() {
            let _ = self.reply().await;
        }
    }

    async fn write(&mut self) -> io::Result<()> {
        timeout(self.reply_timeout, async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        })
        .await?
    }

    /// Reads one reply: its code and the text of all its lines.
    async fn reply(&mut self) -> io::Result<(u16, String)> {
        let mut text = String::new();
        loop {
            while let Some(end) = memchr::memchr(b'\n', &self.read[self.used..]) {
                let line = &self.read[self.used..self.used + end];
                self.used += end + 1;
                let code = line.get(..3).and_then(|c| std::str::from_utf8(c).ok()?.parse().ok());
                let Some(code) = code else { return Err(io::Error::other("a reply without a code")) };
                // The text of a plain success is of no interest, and most replies are one.
                if line.get(3) == Some(&b'-')
                    || text.is_empty() && code != 250 && code != 354
                    || !text.is_empty()
                {
                    text.push_str(String::from_utf8_lossy(&line[3..]).trim_start_matches('-').trim());
                    text.push('\n');
                }
                if line.get(3) != Some(&b'-') {
                    return Ok((code, text));
                }
            }
            self.read.drain(..self.used);
            self.used = 0;
            if self.read.len() > MAX_REPLY {
                return Err(io::Error::other("an endless reply"));
            }
            if timeout(self.reply_timeout, self.stream.read_buf(&mut self.read)).await?? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn append_mail(out: &mut Vec<u8>, sender: &str) {
    out.extend_from_slice(b"MAIL FROM:<");
    out.extend_from_slice(sender.as_bytes());
    out.extend_from_slice(b">\r\n");
}

/// Counts what is accepted and keeps the first refusal.
fn note_refusal(shared: &Shared, code: u16, text: &str, refusal: &mut u16, accepted: &mut u32) {
    if code < 400 {
        *accepted += 1;
        return;
    }
    shared.lock().note(code, text);
    if *refusal == 0 {
        *refusal = code;
    }
}
