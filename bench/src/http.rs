//! An HTTP client: one connection, one request after the other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that stays.
#[derive(Debug)]
pub struct Http {
    stream: BufReader<TcpStream>,
    /// Goes with every request, as the header Authorization.
    pub key: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub header: String,
    pub body: Value,
}

impl Http {
    pub fn connect(address: SocketAddr, key: &str) -> io::Result<Http> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Http { stream: BufReader::new(stream), key: key.to_owned() })
    }

    /// Sends a request with a JSON body and waits for the answer.
    pub fn post(&mut self, path: &str, headers: &[&str], body: &[u8]) -> io::Result<Answer> {
        // In one piece: a request that is refused before its body has come costs the connection.
        let request = [self.head("POST", path, headers, body.len()).as_bytes(), body].concat();
        // Whoever refuses a body need not read it to its end.
        let sent = self.send(&request);
        self.answer().or_else(|e| sent.and(Err(e)))
    }

    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.begin("GET", path, &[], 0)?;
        self.answer()
    }

    /// Sends the header of a request whose body has `length` bytes.
    pub fn begin(&mut self, method: &str, path: &str, headers: &[&str], length: usize) -> io::Result<()> {
        let head = self.head(method, path, headers, length);
        self.send(head.as_bytes())
    }

    fn head(&self, method: &str, path: &str, headers: &[&str], length: usize) -> String {
        let key = match self.key.as_str() {
            "" => String::new(),
            key => format!("Authorization: {key}\r\n"),
        };
        let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        format!(
            "{method} {path} HTTP/1.1\r\nHost: engine\r\n{key}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n{more}\r\n"
        )
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Says that nothing more will come.
    pub fn hang_up(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown(Shutdown::Write)
    }

    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut header = String::new();
        while !header.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut header)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let header = header.to_ascii_lowercase();
        let status = header.split(' ').nth(1).and_then(|status| status.parse().ok());
        let length = header.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
        self.stream.read_exact(&mut body)?;
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, header.clone());
        let status = status.ok_or_else(invalid)?;
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        Ok(Answer { status, header, body })
    }
}
