//! The message of a pickup file, line by line: control headers are taken out and read, every other line is kept.

use super::pickup::{MAX_LINE, MAX_NAME, PickupError, PickupOptions, PickupProblem, error};
use crate::mail::{Address, AddressError, address, header};

/// Headers that the engine reads and takes out (reference 5.2, 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    Sender,
    Receiver,
    SenderOverride,
    Envid,
    Job,
    VirtualMta,
}

impl Control {
    pub(super) fn named(name: &[u8]) -> Option<Control> {
        use Control::{Envid, Job, Receiver, Sender, SenderOverride, VirtualMta};
        [Sender, Receiver, SenderOverride, Envid, Job, VirtualMta]
            .into_iter()
            .find(|control| control.field().as_bytes().eq_ignore_ascii_case(name))
    }

    pub(super) fn field(self) -> &'static str {
        match self {
            Control::Sender => "x-sender",
            Control::Receiver => "x-receiver",
            Control::SenderOverride => "x-sender-override",
            Control::Envid => "x-envid",
            Control::Job => "x-job",
            Control::VirtualMta => "x-virtual-mta",
        }
    }
}

/// `Name: value` taken apart, the value without outer blanks.
pub(super) fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    header::is_name(name).then(|| (name, line[colon + 1..].trim_ascii()))
}

/// The bare address of a sender that a field holds, with `suffix` behind a domain of a single label; empty, or `<>`, is the
/// null sender.
pub(super) fn sender_address(
    line: usize,
    field: &'static str,
    value: &[u8],
    suffix: &str,
) -> Result<String, PickupError> {
    if value.is_empty() || value == b"<>" {
        return Ok(String::new());
    }
    match address_of(value, suffix) {
        Ok(address) => Ok(address),
        Err(AddressError::NotUtf8) => error(line, PickupProblem::NotUtf8 { field }),
        Err(cause) => {
            let value: String = String::from_utf8_lossy(value).chars().take(300).collect();
            error(line, PickupProblem::Address { field, value, error: cause })
        }
    }
}

/// Checks an address and puts `suffix` behind a domain of a single label.
pub(super) fn address_of(bytes: &[u8], suffix: &str) -> Result<String, AddressError> {
    let address = address::check(bytes)?;
    let qualified = address.qualified(suffix)?;
    Ok(qualified.as_ref().map_or(address.as_str(), Address::as_str).to_owned())
}

/// A job, envelope id or VMTA.
pub(super) fn name(line: usize, field: &'static str, value: &[u8]) -> Result<String, PickupError> {
    match std::str::from_utf8(value) {
        Err(_) => error(line, PickupProblem::NotUtf8 { field }),
        Ok(text) if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) => {
            error(line, PickupProblem::Name { field })
        }
        Ok(text) => Ok(text.to_owned()),
    }
}

/// What control headers said.
#[derive(Debug, Default)]
pub(super) struct Controls {
    domain_suffix: String,
    pub(super) sender_override: Option<String>,
    pub(super) envid: Option<String>,
    pub(super) job: Option<String>,
    pub(super) virtual_mta: Option<String>,
}

impl Controls {
    /// Notes a header that may stand anywhere among the others.
    pub(super) fn set(&mut self, line: usize, control: Control, value: &[u8]) -> Result<(), PickupError> {
        let field = control.field();
        let (place, value) = match control {
            Control::Sender | Control::Receiver => return error(line, PickupProblem::Misplaced { field }),
            Control::SenderOverride => {
                (&mut self.sender_override, sender_address(line, field, value, &self.domain_suffix)?)
            }
            Control::Envid => (&mut self.envid, name(line, field, value)?),
            Control::Job => (&mut self.job, name(line, field, value)?),
            Control::VirtualMta => (&mut self.virtual_mta, name(line, field, value)?),
        };
        if place.replace(value).is_some() {
            return error(line, PickupProblem::Twice { field });
        }
        Ok(())
    }
}

/// A message that is being read.
pub(super) struct MessageText {
    pub(super) controls: Controls,
    /// Whether each of `x-envid`, `x-job` and `x-virtual-mta` is read; otherwise it is a header like any other.
    reads: (bool, bool, bool),
    out: Vec<u8>,
    in_header: bool,
    /// The header before this line was taken out: a continuation of it has no place.
    after: Option<Control>,
    any_header: bool,
    from: bool,
    subject: bool,
}

impl MessageText {
    /// `size` is about how long the message will be.
    pub(super) fn new(options: &PickupOptions<'_>, size: usize) -> MessageText {
        MessageText {
            controls: Controls { domain_suffix: options.domain_suffix.to_owned(), ..Controls::default() },
            reads: (options.process_envid, options.process_job, options.process_virtual_mta),
            out: Vec::with_capacity(size + size / 32 + 2),
            in_header: true,
            after: None,
            any_header: false,
            from: false,
            subject: false,
        }
    }

    /// `x-job` and `x-envid` are read whatever the options say.
    pub(super) fn read_envelope_headers(&mut self) {
        (self.reads.0, self.reads.1) = (true, true);
    }

    pub(super) fn reads(&self, control: Control) -> bool {
        match control {
            Control::Envid => self.reads.0,
            Control::Job => self.reads.1,
            Control::VirtualMta => self.reads.2,
            Control::Sender | Control::Receiver | Control::SenderOverride => true,
        }
    }

    /// Takes the next line, without its end.
    pub(super) fn line(&mut self, number: usize, line: &[u8]) -> Result<(), PickupError> {
        if line.len() > MAX_LINE {
            return error(number, PickupProblem::LongLine { bytes: line.len(), max: MAX_LINE });
        }
        if self.in_header && self.header_line(number, line)? {
            return Ok(());
        }
        self.out.extend_from_slice(line);
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Looks at a line of the header; true when it is taken out.
    fn header_line(&mut self, number: usize, line: &[u8]) -> Result<bool, PickupError> {
        if line.is_empty() {
            self.in_header = false;
            return if self.from { Ok(false) } else { error(number, PickupProblem::NoFrom) };
        }
        if matches!(line[0], b' ' | b'\t') {
            return match self.after {
                Some(control) => error(number, PickupProblem::Folded { field: control.field() }),
                None if self.any_header => Ok(false),
                None => error(number, PickupProblem::NotAHeader),
            };
        }
        let Some((name, value)) = field(line) else { return error(number, PickupProblem::NotAHeader) };
        self.after = Control::named(name).filter(|control| self.reads(*control));
        self.any_header = true;
        if let Some(control) = self.after {
            self.controls.set(number, control, value)?;
            return Ok(true);
        }
        for (field, seen) in [("From", &mut self.from), ("Subject", &mut self.subject)] {
            if name.eq_ignore_ascii_case(field.as_bytes()) && std::mem::replace(seen, true) {
                return error(number, PickupProblem::SecondHeader { field });
            }
        }
        Ok(false)
    }

    /// The whole message; `number` is that of its last line.
    pub(super) fn finish(mut self, number: usize) -> Result<(Vec<u8>, Controls), PickupError> {
        if !self.any_header {
            return error(number, PickupProblem::NoMessage);
        }
        if !self.from {
            return error(number, PickupProblem::NoFrom);
        }
        if self.in_header {
            // A message may end with its headers (RFC 5322 section 2.1); the empty line makes it plain that it does.
            self.out.extend_from_slice(b"\r\n");
        }
        Ok((self.out, self.controls))
    }
}
