//! `sendmail -bs`: SMTP on standard input and output, for programs that speak it and know no network. Every message
//! becomes a pickup file, so that the engine need not run.

use super::sendmail_post::Post;
use super::sysexits::{Failure, Sysexit};
use crate::ingest::envelope::{Envelope, Reports};
use crate::ingest::letter::LetterReader;
use crate::ingest::pickup::MAX_RECIPIENTS;
use crate::io::clock::Clock;
use crate::smtp::server::{self, Relay, ServerEvent, ServerOptions, Session};
use std::io::{self, BufRead, Read, Write};

/// Bytes of a line that are read at once.
const MAX_READ: u64 = 64 * 1024;

/// Speaks with the caller until he or the session ends it.
pub fn serve(post: &Post<'_>) -> Result<(), Failure> {
    converse(post, &mut io::stdin().lock(), &mut io::stdout().lock())
        .map_err(|e| Sysexit::IoErr.because(format!("the SMTP session broke off: {e}")))
}

fn converse(post: &Post<'_>, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
    let clock = Clock::start();
    // Nobody logs in here, so no nonce is needed; and without BDAT everything goes line by line.
    let mut session = Session::new(
        ServerOptions {
            relay: Relay::Open,
            chunking: false,
            max_message_size: post.max_bytes(),
            max_recipients: MAX_RECIPIENTS,
            ..ServerOptions::new(&post.host)
        },
        clock.now(),
        0,
    );
    let mut lines = Lines::default();
    loop {
        output.write_all(&std::mem::take(session.output()))?;
        output.flush()?;
        if session.is_closed() {
            return Ok(());
        }
        let Some(line) = lines.read(input)? else { return Ok(()) };
        session.handle_bytes(clock.now(), line);
        while let Some(event) = session.poll_event() {
            if let ServerEvent::Message(envelope, message) = event {
                match take(post, &envelope, &message) {
                    Ok(name) => session.accepted(clock.now(), name),
                    Err(failure) => {
                        let (code, status) = reply(failure.exit);
                        session.rejected(clock.now(), code, &format!("{status} {}", failure.text));
                    }
                }
            }
        }
    }
}

fn take(post: &Post<'_>, said: &server::Envelope, message: &[u8]) -> Result<String, Failure> {
    let mut envelope = Envelope::new(Reports::default());
    envelope.set_sender(&format!("<{}>", said.sender), &post.host)?;
    for recipient in &said.recipients {
        envelope.add(&format!("<{recipient}>"), &post.host)?;
    }
    let mut letter = LetterReader::new(false);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        letter.take(line).map_err(|e| Sysexit::DataErr.because(e.to_string()))?;
    }
    post.send(&envelope, &letter.finish(), "")
}

fn reply(exit: Sysexit) -> (u16, &'static str) {
    match exit {
        Sysexit::DataErr => (550, "5.6.0"),
        Sysexit::Unavailable => (552, "5.3.4"),
        Sysexit::NoPerm => (550, "5.7.1"),
        _ => (451, "4.3.0"),
    }
}

/// The caller's lines. One whose first line ends with LF alone (a person, a script) ends all with it; from anybody else a
/// lone LF stays one, for the session to refuse: it may be from somebody whose text the caller passes on.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    lf_ends: Option<bool>,
}

impl Lines {
    fn read(&mut self, input: &mut impl BufRead) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        // The session refuses a longer line, and need not see it whole.
        if input.take(MAX_READ).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        let is_lone = self.line.ends_with(b"\n") && !self.line.ends_with(b"\r\n");
        if *self.lf_ends.get_or_insert(is_lone) && is_lone {
            self.line.pop();
            self.line.extend_from_slice(b"\r\n");
        }
        Ok(Some(&self.line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use vmta_config::{MemoryFiles, load};

    /// What is said in a session, and the pickup files it leaves.
    fn session(input: &str) -> (String, Vec<String>) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().display();
        let text =
            format!("host-name h.example\nlog-file /l\n<spool /s>\n</spool>\npickup {path} {path}/bad\n");
        let loaded = load("c", &MemoryFiles::new([("c", text)]), false);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let post = Post::of(&config).unwrap_or_else(|failure| panic!("{}", failure.text));
        let mut said = Vec::new();
        converse(&post, &mut input.as_bytes(), &mut said).expect("memory");
        let files = fs::read_dir(dir.path()).expect("a directory");
        let read = |path| String::from_utf8(fs::read(path).expect("a file")).expect("text");
        let files = files.map(|entry| read(entry.expect("an entry").path())).collect();
        (String::from_utf8(said).expect("text"), files)
    }

    const TALK: &str = "EHLO me\nMAIL FROM:<a@x.example>\nRCPT TO:<\"b c\"@x.example>\nRCPT TO:<nobody>\nDATA\n\
                        Bcc: d@x.example\n\n..dot\n.\nQUIT\n";

    #[test]
    fn messages_become_pickup_files() {
        for talk in [TALK.to_owned(), TALK.replace('\n', "\r\n")] {
            let (said, files) = session(&talk);
            let codes: Vec<_> =
                said.lines().filter(|line| line.get(3..4) == Some(" ")).map(|line| &line[..3]).collect();
            assert_eq!(codes, ["220", "250", "250", "250", "501", "354", "250", "221"], "{said}");
            let [file] = files.as_slice() else { panic!("{files:?}") };
            assert!(
                file.contains("\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<\"b c\"@x.example>\r\nDATA\r\n"),
                "{file}"
            );
            assert!(file.contains("\r\nFrom: a@x.example\r\n") && !file.contains("Bcc"), "{file}");
            assert!(file.ends_with("\r\n\r\n..dot\r\n.\r\n"), "{file}");
        }
    }

    #[test]
    fn who_ends_lines_with_cr_lf_is_not_taken_at_a_lone_lf() {
        let crlf = TALK.replace('\n', "\r\n").replace("..dot", "x\n.\nMAIL FROM:<e@x.example>");
        let (said, files) = session(&crlf);
        assert!(files.is_empty() && said.contains("bare LF"), "{said}");
    }

    #[test]
    fn what_the_engine_would_refuse_is_refused() {
        let (said, files) = session(&TALK.replace("Bcc:", "Subject: a\nSubject: b\nBcc:"));
        assert!(
            files.is_empty()
                && said.contains("550 5.6.0 the message cannot be taken: the message has a second Subject"),
            "{said}"
        );
    }
}
