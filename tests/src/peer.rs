//! A peer on the wire, for what a well-behaved source never says.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to an engine, spoken to line by line.
#[derive(Debug)]
pub struct Peer(BufReader<TcpStream>);

impl Peer {
    /// Connects and reads the greeting.
    pub fn connect(to: SocketAddr) -> io::Result<Peer> {
        let mut peer = Peer::silent(to)?;
        let greeting = peer.reply()?;
        if greeting.starts_with("220 ") { Ok(peer) } else { Err(io::Error::other(greeting)) }
    }

    /// Connects, and leaves the greeting to be read.
    pub fn silent(to: SocketAddr) -> io::Result<Peer> {
        let stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Peer(BufReader::new(stream)))
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// The last line of the next reply.
    pub fn reply(&mut self) -> io::Result<String> {
        let mut line = String::new();
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            if line.get(3..4) != Some("-") {
                return Ok(line.trim_end().to_string());
            }
        }
    }

    /// Sends a line and reads what is said to it.
    pub fn say(&mut self, line: &str) -> io::Result<String> {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Sends a message whose lines end in `\n`; the final reply, or the first that refuses.
    pub fn send(&mut self, mail: &str, recipients: &[&str], message: &str) -> io::Result<String> {
        let mut commands = vec![format!("MAIL FROM:{mail}")];
        commands.extend(recipients.iter().map(|r| format!("RCPT TO:<{r}>")));
        for command in commands {
            let reply = self.say(&command)?;
            if !reply.starts_with("250 ") {
                return Ok(reply);
            }
        }
        let reply = self.say("DATA")?;
        if !reply.starts_with("354 ") {
            return Ok(reply);
        }
        let mut text = String::with_capacity(message.len() + 64);
        for line in message.lines() {
            // RFC 5321 4.5.2.
            text.push_str(if line.starts_with('.') { "." } else { "" });
            text.push_str(line);
            text.push_str("\r\n");
        }
        self.say(&(text + "."))
    }
}
