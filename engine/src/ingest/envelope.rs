//! Envelopes of letters, and the batch SMTP file that hands a letter over in its envelope.

use super::letter::{Letter, LetterError};
use crate::mail::{AddressError, Printable, address, addresses};
use crate::smtp::dsn::{self, MAX_ENVID, Notify, xtext};
use std::collections::HashSet;
use std::io::Write;

/// Who a letter is from, whom it is for, and which reports are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Empty for the null sender.
    pub sender: String,
    recipients: Vec<String>,
    seen: HashSet<String>,
    reports: Reports,
}

/// What delivery reports are asked for (RFC 3461).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    notify: Notify,
    ret: Option<&'static str>,
    envid: Option<String>,
}

/// What cannot stand on an envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("{place} `{}` is not an address: {error}; write user@domain", Printable(address))]
    Address { place: &'static str, address: String, error: AddressError },
    #[error("{place} `{}`: {problem}", Printable(text))]
    List { place: &'static str, text: String, problem: &'static str },
    #[error("the sender `{}` has to be one address", Printable(.0))]
    Sender(String),
    #[error(transparent)]
    Letter(#[from] LetterError),
}

impl Reports {
    /// `never`, or some of `success`, `failure` and `delay` with commas between them; false for anything else.
    pub fn notify(&mut self, when: &str) -> bool {
        let when = Notify::parse(when);
        self.notify = when.unwrap_or(self.notify);
        when.is_some()
    }

    /// How much of the message comes back: `full` or `hdrs`.
    pub fn ret(&mut self, what: &str) -> bool {
        let known = dsn::ret(what);
        self.ret = known.or(self.ret);
        known.is_some()
    }

    pub fn envid(&mut self, id: &str) -> bool {
        let right =
            !id.is_empty() && id.len() <= MAX_ENVID && id.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if right {
            self.envid = Some(id.to_owned());
        }
        right
    }
}

impl Envelope {
    /// An envelope without names.
    pub fn new(reports: Reports) -> Envelope {
        Envelope { reports, ..Envelope::default() }
    }

    /// A sender as it is named on a command line: nothing or `<>` for none.
    ///
    /// # Errors
    /// When it is not one address.
    pub fn set_sender(&mut self, sender: &str, host: &str) -> Result<(), EnvelopeError> {
        let place = "the sender";
        let list = |problem| EnvelopeError::List { place, text: sender.to_owned(), problem };
        self.sender = match addresses(sender).map_err(list)?.as_slice() {
            [] => String::new(),
            [one] if one.is_empty() => String::new(),
            [one] => whole(place, one, host)?,
            _ => return Err(EnvelopeError::Sender(sender.to_owned())),
        };
        Ok(())
    }

    /// Adds the recipients that a word on a command line names; most often one.
    ///
    /// # Errors
    /// When one of them is no address, or there is none.
    pub fn add(&mut self, word: &str, host: &str) -> Result<(), EnvelopeError> {
        let place = "the recipient";
        let list = |problem| EnvelopeError::List { place, text: word.to_owned(), problem };
        let named = addresses(word).map_err(list)?;
        if named.is_empty() {
            return Err(list("there is no address in it"));
        }
        named.iter().try_for_each(|address| self.push(place, address, host))
    }

    /// Adds the recipients that the letter's header names.
    ///
    /// # Errors
    /// When one of them is no address.
    pub fn add_all_of(&mut self, letter: &Letter, host: &str) -> Result<(), EnvelopeError> {
        letter.recipients()?.iter().try_for_each(|(field, address)| self.push(field, address, host))
    }

    fn push(&mut self, place: &'static str, address: &str, host: &str) -> Result<(), EnvelopeError> {
        let address = whole(place, address, host)?;
        let (local, domain) = address.rsplit_once('@').unwrap_or_default();
        if self.seen.insert(format!("{local}@{}", domain.to_ascii_lowercase())) {
            self.recipients.push(address);
        }
        Ok(())
    }

    pub fn has_recipients(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// The file: the envelope as SMTP commands of `host`, then `message`, whose lines end with CR LF.
    pub fn enclose(&self, host: &str, message: &[u8]) -> Vec<u8> {
        let mut file =
            Vec::with_capacity(message.len() + message.len() / 64 + self.recipients.len() * 64 + 256);
        let Reports { notify, ret, envid } = &self.reports;
        let parameter = |name: &str, value: Option<&str>| {
            value.map(|value| format!(" {name}={value}")).unwrap_or_default()
        };
        let notify = parameter("NOTIFY", notify.is_given().then(|| notify.to_string()).as_deref());
        let parameters = [
            if self.needs_smtputf8() { " SMTPUTF8" } else { "" },
            &parameter("RET", *ret),
            &parameter("ENVID", envid.as_deref().map(xtext).as_deref()),
        ]
        .concat();
        // Writing to memory cannot fail.
        let _ = write!(file, "EHLO {host}\r\nMAIL FROM:<{}>{parameters}\r\n", self.sender);
        for recipient in &self.recipients {
            let _ = write!(file, "RCPT TO:<{recipient}>{notify}\r\n");
        }
        file.extend_from_slice(b"DATA\r\n");
        for line in message.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b".") {
                file.push(b'.');
            }
            file.extend_from_slice(line);
        }
        file.extend_from_slice(b".\r\n");
        file
    }

    fn needs_smtputf8(&self) -> bool {
        let all = std::iter::once(&self.sender).chain(&self.recipients);
        all.filter_map(|address| address::check(address.as_bytes()).ok())
            .any(|address| address.needs_smtputf8())
    }
}

/// A checked address; one without a domain is of `host`.
fn whole(place: &'static str, text: &str, host: &str) -> Result<String, EnvelopeError> {
    let address =
        if text.is_empty() || text.contains('@') { text.to_owned() } else { format!("{text}@{host}") };
    let checked = match address::check(address.as_bytes()) {
        // What stands for bytes that were not UTF-8.
        Ok(_) if address.contains('\u{fffd}') => Err(AddressError::NotUtf8),
        checked => checked.map(drop),
    };
    match checked {
        Ok(()) => Ok(address),
        Err(error) => Err(EnvelopeError::Address { place, address: text.chars().take(300).collect(), error }),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::ingest::pickup::{self, PickupMessage, PickupOptions};
    use proptest::prelude::*;

    const HOST: &str = "here.example";

    fn taken(envelope: &Envelope, message: &[u8]) -> PickupMessage {
        pickup::parse(&envelope.enclose(HOST, message), &PickupOptions::default()).expect("a pickup file")
    }

    #[test]
    fn pickup_takes_a_letter_out_of_its_envelope() {
        let mut envelope = Envelope::default();
        envelope.set_sender("Ann <ann>", HOST).expect("a sender");
        envelope.add("Bob <b@x.example>, c@X.example", HOST).expect("recipients");
        envelope.add("c@x.example", HOST).expect("the same again");
        let reports = &mut envelope.reports;
        assert!(reports.notify("success,Delay") && reports.ret("hdrs") && reports.envid("a=1+1 b"));
        let message = b"From: ann@here.example\r\n\r\n.\r\n..x\r\nEHLO\r\n";
        let taken = taken(&envelope, message);
        assert_eq!(taken.sender, "ann@here.example");
        assert_eq!(taken.recipients, ["b@x.example", "c@X.example"]);
        assert_eq!((taken.envid.as_str(), taken.dsn_ret.as_str()), ("a=1+1 b", "HDRS"));
        assert!(!taken.smtputf8);
        assert_eq!(taken.message, message);
        let file = envelope.enclose(HOST, message);
        let file = String::from_utf8_lossy(&file);
        assert!(file.contains("RCPT TO:<b@x.example> NOTIFY=SUCCESS,DELAY\r\n"), "{file}");
    }

    #[test]
    fn the_null_sender_and_others() {
        let mut envelope = Envelope::default();
        envelope.add("z\u{f6}e@x.example", HOST).expect("a recipient");
        for (text, sender) in
            [("<>", ""), ("", ""), ("<a@b.example>", "a@b.example"), ("root", "root@here.example")]
        {
            envelope.set_sender(text, HOST).expect(text);
            let taken = taken(&envelope, b"From: a@b.example\r\n\r\n");
            assert_eq!((taken.sender.as_str(), taken.smtputf8), (sender, true));
        }
        assert!(envelope.set_sender("a@b.example, c@d.example", HOST).is_err());
    }

    #[test]
    fn what_is_no_address_is_named() {
        let refused = |word: &str| Envelope::default().add(word, HOST).expect_err(word).to_string();
        assert_eq!(
            refused("a@x.example, b@@x"),
            "the recipient `b@@x` is not an address: `@` at position 2 is not allowed in a domain; write user@domain"
        );
        assert!(refused("").contains("no address"));
        assert!(refused("<>").contains("empty"));
        assert!(refused("<a@x.example\nDATA>").contains("\\u{a}"));
        assert!(refused("a\u{fffd}@x.example").contains("UTF-8"));
        let reports = &mut Reports::default();
        assert!(!reports.notify("never,delay") && !reports.notify("") && !reports.ret("all"));
        assert!(!reports.envid("") && !reports.envid("a\r\n") && !reports.envid(&"x".repeat(101)));
        assert_eq!(*reports, Reports::default());
    }

    proptest! {
        #[test]
        fn any_body_comes_out_as_it_went_in(lines in proptest::collection::vec("[.x ]{0,4}", 0..20), envid in "[ -~]{1,100}") {
            let mut envelope = Envelope::default();
            envelope.add("b@x.example", HOST).expect("a recipient");
            prop_assert!(envelope.reports.envid(&envid));
            let message = format!("From: a@x.example\r\n\r\n{}", lines.iter().map(|line| format!("{line}\r\n")).collect::<String>());
            let taken = taken(&envelope, message.as_bytes());
            prop_assert_eq!(taken.envid, envid);
            prop_assert_eq!(taken.message, message.as_bytes());
        }
    }
}
