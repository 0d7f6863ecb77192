//! A transaction inside the client: its commands as bytes, and how far it is.

use super::client_event::{LocalFailure, Transaction};
use super::client_options::ClientOptions;
use super::dot::DotWriter;
use super::extensions::Extensions;
use crate::mail::normalise_domain;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::io::Write;

/// Longest path that is ever sent: RFC 5321 4.5.3.1.3 allows 256 octets with brackets; UTF-8 may need more.
const MAX_ADDRESS: usize = 1024;

/// A recipient that is named in the transaction's commands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    /// Its index in the transaction.
    pub index: u16,
    /// Its fate has been told (refused or postponed).
    pub told: bool,
}

/// A transaction under way. Its buffers are used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    /// Identifies it among the expected replies.
    pub serial: u32,
    pub token: u64,
    /// MAIL and RCPTs as they go over the wire, and where each ends.
    commands: Vec<u8>,
    ends: SmallVec<[u32; 4]>,
    pub recipients: SmallVec<[Named; 2]>,
    /// Commands written so far.
    pub written: usize,
    /// RCPT replies so far, and how many of them accepted.
    pub answered: usize,
    pub accepted: usize,
    /// Replies still expected for it.
    pub outstanding: usize,
    /// Any reply about it has come.
    pub replied: bool,
    /// A recipient was put off for a following transaction: further refusals of the kind are the same limit.
    pub postponing: bool,
    /// Its commands went out behind another transaction's content.
    pub ahead: bool,
    pub data_written: bool,
    pub wants_body: bool,
    pub content_begun: bool,
    pub content_written: bool,
    /// Bytes of its content written so far, and where in a line they end.
    pub content_at: usize,
    pub dots: DotWriter,
    /// Position in the output stream where its content begins.
    pub begins: u64,
    /// Its last event is out.
    pub finished: bool,
}

impl Envelope {
    /// Makes it ready for `transaction`. `Err` when the whole transaction cannot be sent; `local` gets the
    /// recipients that cannot.
    pub fn prepare(
        &mut self,
        transaction: &Transaction,
        offered: &Extensions,
        options: &ClientOptions,
        local: &mut Vec<(u16, LocalFailure)>,
    ) -> Result<(), LocalFailure> {
        self.clear(transaction.token);
        check_content(transaction, offered)?;
        let sender = sendable(&transaction.sender, offered).map_err(|e| match e {
            LocalFailure::BadRecipient => LocalFailure::BadSender,
            other => other,
        })?;
        let dsn = transaction.dsn.as_deref().filter(|_| offered.dsn && !options.ignore_dsn);
        self.mail(&sender, transaction, offered, dsn.map(|d| (d.ret.as_str(), d.envid.as_str())));
        for (index, address) in (0..=u16::MAX).zip(&transaction.recipients) {
            match sendable(address, offered) {
                Ok(address) if !address.is_empty() => {
                    self.recipients.push(Named { index, told: false });
                    self.rcpt(&address, dsn.and_then(|d| d.recipients.get(usize::from(index))));
                }
                Ok(_) => local.push((index, LocalFailure::BadRecipient)),
                Err(e) => local.push((index, e)),
            }
        }
        Ok(())
    }

    fn clear(&mut self, token: u64) {
        let (mut commands, mut ends, mut recipients) = (
            std::mem::take(&mut self.commands),
            std::mem::take(&mut self.ends),
            std::mem::take(&mut self.recipients),
        );
        commands.clear();
        ends.clear();
        recipients.clear();
        *self = Envelope { token, commands, ends, recipients, ..Envelope::default() };
    }

    fn mail(
        &mut self,
        sender: &str,
        transaction: &Transaction,
        offered: &Extensions,
        dsn: Option<(&str, &str)>,
    ) {
        let out = &mut self.commands;
        out.extend_from_slice(b"MAIL FROM:<");
        out.extend_from_slice(sender.as_bytes());
        out.push(b'>');
        if offered.size.is_some() && transaction.size > 0 {
            // Writing to a Vec cannot fail.
            let _ = write!(out, " SIZE={}", transaction.size);
        }
        if transaction.eight_bit {
            out.extend_from_slice(b" BODY=8BITMIME");
        }
        let beyond_ascii = |address: &String| !address.is_ascii();
        if transaction.smtputf8
            || (offered.smtputf8
                && (beyond_ascii(&transaction.sender) || transaction.recipients.iter().any(beyond_ascii)))
        {
            out.extend_from_slice(b" SMTPUTF8");
        }
        if let Some((ret, envid)) = dsn {
            parameter(out, " RET=", ret);
            parameter(out, " ENVID=", envid);
        }
        out.extend_from_slice(b"\r\n");
        self.ends.push(out.len() as u32);
    }

    fn rcpt(&mut self, address: &str, dsn: Option<&(String, String)>) {
        let out = &mut self.commands;
        out.extend_from_slice(b"RCPT TO:<");
        out.extend_from_slice(address.as_bytes());
        out.push(b'>');
        if let Some((notify, orcpt)) = dsn {
            parameter(out, " NOTIFY=", notify);
            parameter(out, " ORCPT=", orcpt);
        }
        out.extend_from_slice(b"\r\n");
        self.ends.push(out.len() as u32);
    }

    /// Number of commands: MAIL and one RCPT per named recipient.
    pub fn commands(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of command `n`.
    pub fn command(&self, n: usize) -> &[u8] {
        let start = if n == 0 { 0 } else { self.ends[n - 1] as usize };
        &self.commands[start..self.ends[n] as usize]
    }
}

fn check_content(transaction: &Transaction, offered: &Extensions) -> Result<(), LocalFailure> {
    if transaction.smtputf8 && !offered.smtputf8 {
        return Err(LocalFailure::NoSmtpUtf8);
    }
    if transaction.eight_bit && !offered.eight_bit_mime {
        return Err(LocalFailure::NoEightBit);
    }
    if !offered.admits(transaction.size) {
        return Err(LocalFailure::TooLarge);
    }
    Ok(())
}

/// The address as it can be sent to this host. The last guard before the wire (A31): nothing that could end the command
/// or its path. Where SMTPUTF8 is not offered, a domain can still be written in A-labels (RFC 6531 3.2), a local
/// part cannot (S18).
fn sendable<'a>(address: &'a str, offered: &Extensions) -> Result<Cow<'a, str>, LocalFailure> {
    // Nearly every address: nothing in it needs a second look.
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\');
    if address.len() <= MAX_ADDRESS && address.bytes().all(plain) {
        return Ok(Cow::Borrowed(address));
    }
    if address.len() > MAX_ADDRESS || address.chars().any(char::is_control) || ends_path_early(address) {
        return Err(LocalFailure::BadRecipient);
    }
    if address.is_ascii() || offered.smtputf8 {
        return Ok(Cow::Borrowed(address));
    }
    let (local, domain) = address.rsplit_once('@').ok_or(LocalFailure::BadRecipient)?;
    let mut ascii = String::new();
    if !local.is_ascii() {
        return Err(LocalFailure::NoSmtpUtf8);
    }
    normalise_domain(domain, &mut ascii).map_err(|_| LocalFailure::BadRecipient)?;
    Ok(Cow::Owned(format!("{local}@{ascii}")))
}

/// Whether a blank or angle bracket stands outside a quoted local part.
fn ends_path_early(address: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for b in address.bytes() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b' ' | b'<' | b'>' if !quoted => return true,
            _ => {}
        }
    }
    quoted
}

/// Appends `name` and `value` unless the value is empty or could end the parameter.
fn parameter(out: &mut Vec<u8>, name: &str, value: &str) {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic()) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value.as_bytes());
    }
}
