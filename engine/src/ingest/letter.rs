//! Letters: messages as programs on this machine write them to `sendmail`. Line ends are put right, a header that is
//! missing or incomplete is completed, blind copies are taken out; all else stays as it was written.

use crate::mail::addresses;
use crate::mail::encoded_word::phrase;
use crate::mail::header::{Header, InjectionError, forbidden, insert};

/// Fields that do not leave with a message: they speak of the envelope (the last three of one that a pickup file has, where
/// the override would go before the sender that was named), or of how long the message was in some mail box.
const DROPPED: [&str; 7] =
    ["Bcc", "Resent-Bcc", "Return-Path", "Content-Length", "X-Sender", "X-Receiver", "X-Sender-Override"];
/// Characters in a header line that readers like (RFC 5322 section 2.1.1).
const PREFERRED_LINE: usize = 78;
const RECIPIENTS: [&str; 3] = ["To", "Cc", "Bcc"];
const RESENT_RECIPIENTS: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];

/// Why a letter is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LetterError {
    #[error("line {line} of the message: a carriage return stands within it; lines end with LF or CR LF")]
    BareCr { line: usize },
    #[error("the {field} field: {problem}")]
    Recipients { field: String, problem: &'static str },
}

/// Takes a letter in, line by line.
#[derive(Debug)]
pub struct LetterReader {
    dot_ends: bool,
    line: usize,
    text: Vec<u8>,
}

/// A letter that was read: CR LF lines, and a header that ends with an empty line wherever a body follows.
#[derive(Debug)]
pub struct Letter {
    text: Vec<u8>,
}

/// What a letter gets where it does not say it.
#[derive(Clone, Copy, Debug)]
pub struct Missing<'a> {
    /// May be empty.
    pub full_name: &'a str,
    pub address: &'a str,
    /// RFC 5322.
    pub date: &'a str,
    /// With its angle brackets.
    pub message_id: &'a str,
}

impl LetterReader {
    /// With `dot_ends`, a line that is a single dot is not of the letter, and ends it.
    pub fn new(dot_ends: bool) -> LetterReader {
        LetterReader { dot_ends, line: 0, text: Vec::new() }
    }

    /// Takes the next line, with its end or, at the end of the input, without; false when the letter has ended.
    ///
    /// # Errors
    /// When nobody can know where the line ends.
    pub fn take(&mut self, line: &[u8]) -> Result<bool, LetterError> {
        self.line += 1;
        let mut line = line.strip_suffix(b"\n").unwrap_or(line);
        // Programs that end lines with CR LF, through a library that does so once more.
        while let [before @ .., b'\r'] = line {
            line = before;
        }
        if line.contains(&b'\r') {
            return Err(LetterError::BareCr { line: self.line });
        }
        if self.dot_ends && line == b"." {
            return Ok(false);
        }
        if !(self.text.is_empty() && is_mbox_separator(line)) {
            self.text.extend_from_slice(line);
            self.text.extend_from_slice(b"\r\n");
        }
        Ok(true)
    }

    pub fn finish(self) -> Letter {
        let mut text = self.text;
        // `echo hello | sendmail ...`: the first line that is no field begins the body.
        let header = Header::scan(&text);
        let stray = header.fields().iter().find(|field| field.name.is_empty()).map(|field| field.whole.start);
        if let Some(at) = stray {
            text.splice(at..at, *b"\r\n");
        }
        Letter { text }
    }
}

/// `From ann Mon ...`, which stands before each message in a mail box file.
fn is_mbox_separator(line: &[u8]) -> bool {
    let quoted = line.iter().take_while(|byte| **byte == b'>').count();
    line[quoted..].starts_with(b"From ")
}

impl Letter {
    /// The addresses that the header says the letter is for. Once it is sent on (there are `Resent-` fields), only
    /// those of the one who did so count.
    ///
    /// # Errors
    /// When a field cannot be understood.
    pub fn recipients(&self) -> Result<Vec<(&'static str, String)>, LetterError> {
        let header = Header::scan(&self.text);
        let names = if is_resent(&header) { RESENT_RECIPIENTS } else { RECIPIENTS };
        let mut found = Vec::new();
        for name in names {
            for field in header.all(name) {
                let value = header.unfolded(field);
                // Names in other encodings do no harm, and an address with U+FFFD is none.
                let named = addresses(&String::from_utf8_lossy(&value))
                    .map_err(|problem| LetterError::Recipients { field: name.to_owned(), problem })?;
                found.extend(named.into_iter().map(|address| (name, address)));
            }
        }
        Ok(found)
    }

    /// The message as it leaves.
    ///
    /// # Errors
    /// When what is to be added would break out of its field.
    pub fn complete(&self, missing: &Missing<'_>) -> Result<Vec<u8>, InjectionError> {
        let header = Header::scan(&self.text);
        let mut out = Vec::with_capacity(self.text.len() + 512);
        if is_resent(&header) {
            missing.add(&header, ["Resent-From", "Resent-Date", "Resent-Message-ID"], &mut out)?;
        }
        missing.add(&header, ["From", "Date", "Message-ID"], &mut out)?;
        header.copy_without(&DROPPED, &mut out);
        if header.end() == self.text.len() {
            out.extend_from_slice(b"\r\n");
        }
        Ok(out)
    }
}

fn is_resent(header: &Header<'_>) -> bool {
    let prefix = b"Resent-";
    header.fields().iter().any(|field| {
        header.name(field).get(..prefix.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(prefix))
    })
}

impl Missing<'_> {
    /// Appends those of the fields for author, date and name that `header` does not have.
    fn add(
        &self,
        header: &Header<'_>,
        [from, date, message_id]: [&str; 3],
        out: &mut Vec<u8>,
    ) -> Result<(), InjectionError> {
        if header.find(from).is_none() {
            self.author(from, out)?;
        }
        for (name, value) in [(date, self.date), (message_id, self.message_id)] {
            if header.find(name).is_none() {
                insert(out, name, value)?;
            }
        }
        Ok(())
    }

    fn author(&self, field: &str, out: &mut Vec<u8>) -> Result<(), InjectionError> {
        if self.full_name.is_empty() {
            return insert(out, field, self.address);
        }
        for value in [self.full_name, self.address] {
            if let Some(what) = forbidden(value) {
                return Err(InjectionError::Value { field: field.to_owned(), what });
            }
        }
        let start = out.len();
        out.extend_from_slice(format!("{field}: ").as_bytes());
        phrase(self.full_name, field.len() + 2, out);
        let line = out[start..].rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len);
        let fold = if line + self.address.len() + 3 > PREFERRED_LINE { "\r\n" } else { "" };
        out.extend_from_slice(format!("{fold} <{}>\r\n", self.address).as_bytes());
        Ok(())
    }
}

#[cfg(test)]
#[path = "letter_test.rs"]
mod test;
