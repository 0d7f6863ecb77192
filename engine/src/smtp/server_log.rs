//! What a session tells of itself for the log: commands and replies, what clients send as messages, TLS. What AUTH says is
//! never told, nor what might be a password that went astray.

use super::server::{Phase, Session};
use super::server_options::Told;
use std::fmt::Write;

/// Commands that may be shown: everything else might be an answer to an AUTH that was refused.
const SHOWN: [&str; 20] = [
    "HELO", "EHLO", "MAIL", "RCPT", "DATA", "QUIT", "BDAT", "STARTTLS", "RSET", "NOOP", "VRFY", "HELP",
    "EXPN", "ETRN", "TURN", "XCLIENT", "XMRG", "XDFN", "XPRT", "XACK",
];
/// Bytes on one line of a dump.
const ROW: usize = 16;

impl Session {
    /// Lines for the log, as far as `<source>` wants any; the caller takes them out.
    pub fn told(&mut self) -> &mut Vec<String> {
        &mut self.told
    }

    pub(super) fn tells(&self) -> Told {
        self.options.told
    }

    /// A line of the client's, before it is carried out.
    pub(super) fn tell_line(&mut self, line: &[u8]) {
        if !self.tells().commands {
            return;
        }
        let shown = match self.phase {
            Phase::Auth => "(authentication data)".to_owned(),
            _ => shown(line),
        };
        self.told.push(format!("C: {shown}"));
    }

    /// The reply that begins at `from` in the output.
    pub(super) fn tell_reply(&mut self, from: usize) {
        if self.tells().commands {
            let line = String::from_utf8_lossy(self.output[from..].trim_ascii_end());
            self.told.push(format!("S: {line}"));
        }
    }

    /// A piece of a message, as it came.
    pub(super) fn tell_data(&mut self, bytes: &[u8]) {
        if self.tells().data {
            self.told.extend(bytes.chunks(ROW).map(dump));
        }
    }

    pub(super) fn tell_tls(&mut self, what: std::fmt::Arguments<'_>) {
        if self.tells().tls {
            self.told.push(format!("TLS: {what}"));
        }
    }
}

fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let (verb, argument) = text.split_once(' ').unwrap_or((&text, ""));
    let verb = verb.to_ascii_uppercase();
    let mechanism = argument.split(' ').next().unwrap_or_default();
    match verb.as_str() {
        "AUTH" if argument.contains(' ') && mechanism.len() <= 20 => format!("AUTH {mechanism} (not shown)"),
        "AUTH" => "AUTH".to_owned(),
        known if SHOWN.contains(&known) => {
            text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
        }
        _ => format!("(no known command, {} bytes)", line.len()),
    }
}

/// Up to sixteen bytes as numbers and as text.
fn dump(bytes: &[u8]) -> String {
    let mut line = String::from("data:");
    for at in 0..ROW {
        // Writing to a String cannot fail.
        let _ = match bytes.get(at) {
            Some(byte) => write!(line, " {byte:02x}"),
            None => write!(line, "   "),
        };
    }
    line.push_str("  ");
    line.extend(bytes.iter().map(|b| if (b' '..=b'~').contains(b) { *b as char } else { '.' }));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_say_is_shown_without_their_secrets() {
        for (line, told) in [
            ("MAIL FROM:<a@b.example>", "MAIL FROM:<a@b.example>"),
            ("auth plain AGFubgBzZWNyZXQ=", "AUTH plain (not shown)"),
            ("AUTH LOGIN", "AUTH"),
            ("AUTH AGFubgBzZWNyZXQAGFubgBzZWNyZXQ= x", "AUTH"),
            ("AGFubgBzZWNyZXQ=", "(no known command, 16 bytes)"),
            ("RCPT TO:<\u{7}>", "RCPT TO:<?>"),
        ] {
            assert_eq!(shown(line.as_bytes()), told, "{line}");
        }
    }

    #[test]
    fn bytes_as_numbers_and_as_text() {
        assert_eq!(dump(b"Hi!\r\n"), "data: 48 69 21 0d 0a                                   Hi!..");
        assert_eq!(
            dump(b"0123456789abcdef"),
            "data: 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef"
        );
    }
}
