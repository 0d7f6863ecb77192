//! Mailbox addresses as SMTP carries them: RFC 5321 section 4.1.2 with the UTF-8 extensions of RFC 6531
//! section 3.3. [`check`] is the import path: one table look-up per byte, nothing allocated.
//!
//! Stricter than the grammar where the grammar only causes trouble: invisible characters are refused, and so is a
//! domain whose last label is a number (an IP address without its brackets).

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use thiserror::Error;

/// Octets in a whole address: a path is at most 256 with its angle brackets (RFC 5321 section 4.5.3.1.3).
pub const MAX_ADDRESS: usize = 254;
/// Octets left of the `@` (RFC 5321 section 4.5.3.1.1).
pub const MAX_LOCAL: usize = 64;
/// Octets right of the `@` (RFC 5321 section 4.5.3.1.2).
pub const MAX_DOMAIN: usize = 255;
/// Octets in one label of a domain (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// What is wrong with an address. Positions count octets from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddressError {
    #[error("the address is empty")]
    Empty,
    #[error("the address is {0} octets long; at most {MAX_ADDRESS} are allowed")]
    TooLong(usize),
    #[error("the address is not valid UTF-8")]
    NotUtf8,
    #[error("there is no @ between a local part and a domain")]
    NoAt,
    #[error("nothing stands before the @")]
    EmptyLocal,
    #[error("the part before the @ is {0} octets long; at most {MAX_LOCAL} are allowed")]
    LocalTooLong(usize),
    #[error("{} at position {at} is not allowed before the @ unless the whole local part is quoted", Shown(*byte))]
    LocalByte { at: usize, byte: u8 },
    #[error("a dot begins or ends the local part, or two dots follow each other, at position {at}")]
    LocalDot { at: usize },
    #[error("the quoted local part does not end with \" followed by @")]
    QuoteOpen,
    #[error("{} at position {at} is not allowed inside a quoted local part", Shown(*byte))]
    QuotedByte { at: usize, byte: u8 },
    #[error("the character U+{:04X} cannot be seen and is not allowed in an address", *.0 as u32)]
    Invisible(char),
    #[error("nothing stands after the @")]
    EmptyDomain,
    #[error("the domain is {0} octets long; at most {MAX_DOMAIN} are allowed")]
    DomainTooLong(usize),
    #[error("{} at position {at} is not allowed in a domain", Shown(*byte))]
    DomainByte { at: usize, byte: u8 },
    #[error(
        "a label of the domain is empty at position {at} (a dot begins or ends it, or two follow each other)"
    )]
    EmptyLabel { at: usize },
    #[error("a label of the domain is longer than {MAX_LABEL} octets at position {at}")]
    LabelTooLong { at: usize },
    #[error("a label of the domain begins or ends with a hyphen at position {at}")]
    LabelHyphen { at: usize },
    #[error(
        "the last label of the domain is a number; an IP address is written in brackets, as user@[192.0.2.1]"
    )]
    NumericDomain,
    #[error("the domain is not a valid internationalised name (IDNA)")]
    NotIdna,
    #[error("the address literal is not [IPv4] or [IPv6:address]")]
    BadLiteral,
}

/// A byte as people read it in an error text.
struct Shown(u8);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            b' ' => f.write_str("a space"),
            b @ 0x21..=0x7e => write!(f, "`{}`", b as char),
            b => write!(f, "the byte 0x{b:02X}"),
        }
    }
}

const ATEXT: u8 = 1;
const LABEL: u8 = 2;
const QTEXT: u8 = 4;

/// What each byte may be part of. Bytes above 0x7f are marked as all three; the characters they form are judged
/// afterwards.
static CLASS: [u8; 256] = {
    let mut t = [0u8; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        let mut class = 0;
        if c.is_ascii_alphanumeric() {
            class |= ATEXT | LABEL;
        }
        if c == b'-' {
            class |= LABEL;
        }
        if matches!(c, b' '..=b'~') && c != b'"' && c != b'\\' {
            class |= QTEXT;
        }
        if c >= 0x80 {
            class |= ATEXT | LABEL | QTEXT;
        }
        t[b] = class;
        b += 1;
    }
    let atext = b"!#$%&'*+-/=?^_`{|}~";
    let mut i = 0;
    while i < atext.len() {
        t[atext[i] as usize] |= ATEXT;
        i += 1;
    }
    t
};

/// A checked address that borrows its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRef<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> AddressRef<'a> {
    /// The whole address as it was written.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Left of the `@`, quotes included where there are any.
    pub fn local(&self) -> &'a str {
        &self.text[..self.at]
    }

    /// Right of the `@`, as written: a name in any case, perhaps with U-labels, or a literal in brackets.
    pub fn domain(&self) -> &'a str {
        &self.text[self.at + 1..]
    }

    /// Whether the domain is a single label, as in `jim@host`.
    pub fn is_unqualified(&self) -> bool {
        // The full stops of IDNA (RFC 3490 section 3.1).
        !self.domain().starts_with('[') && !self.domain().contains(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'])
    }

    /// With `suffix` behind a domain that is a single label (`domain-suffix`); `None` where the address stays as it is,
    /// as it does with an empty suffix.
    pub fn qualified(&self, suffix: &str) -> Result<Option<Address>, AddressError> {
        if suffix.is_empty() || !self.is_unqualified() {
            return Ok(None);
        }
        Address::parse(&format!("{}.{suffix}", self.text)).map(Some)
    }

    /// Whether the local part is not ASCII, so that the next hop must offer SMTPUTF8. (A domain can always be
    /// written in ASCII.)
    pub fn needs_smtputf8(&self) -> bool {
        !self.local().is_ascii()
    }
}

/// An address that owns its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    text: Box<str>,
    at: usize,
}

impl Address {
    /// The address in `text`, which must hold nothing else: no angle brackets, no display name, no blanks around.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let parsed = check(text.as_bytes())?;
        Ok(Address { text: parsed.text.into(), at: parsed.at })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn local(&self) -> &str {
        self.as_ref().local()
    }

    pub fn domain(&self) -> &str {
        self.as_ref().domain()
    }

    pub fn as_ref(&self) -> AddressRef<'_> {
        AddressRef { text: &self.text, at: self.at }
    }
}

/// Checks that `bytes` are exactly one address and finds its `@`.
pub fn check(bytes: &[u8]) -> Result<AddressRef<'_>, AddressError> {
    if bytes.is_empty() {
        return Err(AddressError::Empty);
    }
    if bytes.len() > MAX_ADDRESS {
        return Err(AddressError::TooLong(bytes.len()));
    }
    let at = if bytes[0] == b'"' { quoted_end(bytes)? } else { dot_string_end(bytes)? };
    if at > MAX_LOCAL {
        return Err(AddressError::LocalTooLong(at));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| AddressError::NotUtf8)?;
    if bytes.get(at + 1) == Some(&b'[') {
        literal(&text[at + 1..])?;
    } else if text.is_ascii() {
        check_domain(bytes, at + 1)?;
        return Ok(AddressRef { text, at });
    } else {
        check_international(&text[at + 1..])?;
    }
    visible(&text[..at])?;
    Ok(AddressRef { text, at })
}

/// Where the unquoted local part of `bytes` ends.
fn dot_string_end(bytes: &[u8]) -> Result<usize, AddressError> {
    // Where the atom began that is being read: just behind the last dot.
    let mut atom = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if CLASS[byte as usize] & ATEXT != 0 {
            continue;
        }
        match byte {
            b'.' if at == atom => return Err(AddressError::LocalDot { at }),
            b'.' => atom = at + 1,
            b'@' if at == 0 => return Err(AddressError::EmptyLocal),
            b'@' if at == atom => return Err(AddressError::LocalDot { at: at - 1 }),
            b'@' => return Ok(at),
            _ => return Err(AddressError::LocalByte { at, byte }),
        }
    }
    Err(AddressError::NoAt)
}

/// Where the quoted local part of `bytes` (with its quotes) ends: RFC 5321 `Quoted-string`, which has no folding
/// and so no CR or LF in any form (A31).
fn quoted_end(bytes: &[u8]) -> Result<usize, AddressError> {
    let mut i = 1;
    while let Some(&byte) = bytes.get(i) {
        match byte {
            b'"' if bytes.get(i + 1) == Some(&b'@') => return Ok(i + 1),
            b'"' => return Err(AddressError::QuoteOpen),
            b'\\' => match bytes.get(i + 1) {
                Some(b' '..=b'~') => i += 2,
                Some(&byte) => return Err(AddressError::QuotedByte { at: i + 1, byte }),
                None => return Err(AddressError::QuoteOpen),
            },
            _ if CLASS[byte as usize] & QTEXT != 0 => i += 1,
            _ => return Err(AddressError::QuotedByte { at: i, byte }),
        }
    }
    Err(AddressError::QuoteOpen)
}

/// Checks the ASCII domain that begins at `start` and runs to the end of `bytes`.
fn check_domain(bytes: &[u8], start: usize) -> Result<(), AddressError> {
    if start == bytes.len() {
        return Err(AddressError::EmptyDomain);
    }
    if bytes.len() - start > MAX_DOMAIN {
        return Err(AddressError::DomainTooLong(bytes.len() - start));
    }
    let mut label = start;
    for (offset, &byte) in bytes[start..].iter().enumerate() {
        if CLASS[byte as usize] & LABEL == 0 {
            let at = start + offset;
            if byte != b'.' {
                return Err(AddressError::DomainByte { at, byte });
            }
            end_label(bytes, label, at)?;
            label = at + 1;
        }
    }
    end_label(bytes, label, bytes.len())?;
    if bytes[label].is_ascii_digit() && bytes[label..].iter().all(u8::is_ascii_digit) {
        return Err(AddressError::NumericDomain);
    }
    Ok(())
}

fn end_label(bytes: &[u8], start: usize, end: usize) -> Result<(), AddressError> {
    if start == end {
        Err(AddressError::EmptyLabel { at: start })
    } else if end - start > MAX_LABEL {
        Err(AddressError::LabelTooLong { at: start })
    } else if bytes[start] == b'-' || bytes[end - 1] == b'-' {
        Err(AddressError::LabelHyphen { at: start })
    } else {
        Ok(())
    }
}

/// A domain of an address that is not all ASCII; it may be ASCII itself.
fn check_international(domain: &str) -> Result<(), AddressError> {
    if domain.is_ascii() {
        return check_domain(domain.as_bytes(), 0);
    }
    let ascii = to_ascii(domain)?;
    check_domain(ascii.as_bytes(), 0)
}

fn to_ascii(domain: &str) -> Result<Cow<'_, str>, AddressError> {
    idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::STD3).map_err(|_| AddressError::NotIdna)
}

/// Refuses characters that a reader cannot see or that reorder what he sees.
fn visible(text: &str) -> Result<(), AddressError> {
    let hidden = |c: char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    match text.chars().find(|&c| !c.is_ascii() && (c.is_control() || c.is_whitespace() || hidden(c))) {
        Some(c) => Err(AddressError::Invisible(c)),
        None => Ok(()),
    }
}

enum Literal {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// The address in `[...]`: RFC 5321 section 4.1.3. Literals of other kinds have never been registered.
fn literal(domain: &str) -> Result<Literal, AddressError> {
    let inner = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')).ok_or(AddressError::BadLiteral)?;
    match inner.split_at_checked(5) {
        Some((tag, v6)) if tag.eq_ignore_ascii_case("IPv6:") => {
            v6.parse().map(Literal::V6).map_err(|_| AddressError::BadLiteral)
        }
        _ => inner.parse().map(Literal::V4).map_err(|_| AddressError::BadLiteral),
    }
}

/// Writes the one form of `domain` that compares equal for all ways of writing it: lower case, A-labels, literals
/// with their address in canonical form. Replaces what `out` held.
pub fn normalise_domain(domain: &str, out: &mut String) -> Result<(), AddressError> {
    out.clear();
    if domain.starts_with('[') {
        match literal(domain)? {
            Literal::V4(ip) => out.push_str(&format!("[{ip}]")),
            Literal::V6(ip) => out.push_str(&format!("[ipv6:{ip}]")),
        }
    } else if domain.is_ascii() {
        check_domain(domain.as_bytes(), 0)?;
        out.push_str(domain);
        out.make_ascii_lowercase();
    } else {
        let ascii = to_ascii(domain)?;
        check_domain(ascii.as_bytes(), 0)?;
        out.push_str(&ascii);
    }
    Ok(())
}

/// The domain of the queue that a recipient belongs to: of his address, in its one form; `invalid` (RFC 6761) where he has
/// none.
pub fn queue_domain(address: &str) -> String {
    let mut domain = String::new();
    let found = address.rsplit_once('@').is_some_and(|(_, it)| normalise_domain(it, &mut domain).is_ok());
    if found { domain } else { "invalid".to_owned() }
}

#[cfg(test)]
#[path = "address_test.rs"]
mod test;
