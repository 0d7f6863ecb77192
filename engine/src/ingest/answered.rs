//! What is remembered of an HTTP request that had an idempotency key (F27), in the form of an identity as the spool keeps
//! them: of a request that is being carried out, and of one that was answered.

use std::fmt;

/// Begins every identity of HTTP requests, and none of files: theirs begin with a number in hexadecimal.
const PREFIX: &str = "http:";
/// Longest lists that are remembered, in bytes.
pub const MAX_LISTS: usize = 16 * 1024;

/// Whether an identity is that of an HTTP request.
pub fn is_http(identity: &str) -> bool {
    identity.starts_with(PREFIX)
}

/// A request that is being carried out in several groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Of the key; `None` without one.
    pub key: Option<u128>,
    /// Unix seconds.
    pub at: u64,
    /// Of what stands before the recipients; tells one request without a key from another.
    pub print: u64,
}

impl fmt::Display for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some(key) => write!(f, "{PREFIX}begun:{key:032x}:{:x}:{:x}", self.at, self.print),
            None => write!(f, "{PREFIX}begun::{:x}:{:x}", self.at, self.print),
        }
    }
}

impl Begun {
    /// Reads an identity back; `None` for those of others.
    pub fn parse(identity: &str) -> Option<Begun> {
        let mut parts = identity.strip_prefix(PREFIX)?.strip_prefix("begun:")?.split(':');
        let key = match parts.next()? {
            "" => None,
            key => Some(u128::from_str_radix(key, 16).ok()?),
        };
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        Some(Begun { key, at: number()?, print: number()? })
    }
}

/// A request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub key: u128,
    /// Unix seconds.
    pub at: u64,
    /// Of the whole body.
    pub print: u64,
    pub accepted: u64,
    pub rejected: u64,
    /// The failed recipients and why they failed, as two members of JSON; empty when there are none, `None` when they
    /// were too long.
    pub lists: Option<Box<str>>,
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answered { key, at, print, accepted, rejected, lists } = self;
        write!(f, "{PREFIX}done:{key:032x}:{at:x}:{print:x}:{accepted:x}:{rejected:x}")?;
        lists.as_ref().map_or(Ok(()), |lists| write!(f, ":{lists}"))
    }
}

impl Answered {
    /// Reads an identity back; `None` for those of others.
    pub fn parse(identity: &str) -> Option<Answered> {
        let mut parts = identity.strip_prefix(PREFIX)?.strip_prefix("done:")?.splitn(6, ':');
        let key = u128::from_str_radix(parts.next()?, 16).ok()?;
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (at, print, accepted, rejected) = (number()?, number()?, number()?, number()?);
        Some(Answered { key, at, print, accepted, rejected, lists: parts.next().map(Box::from) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_read_back_and_told_apart() {
        let begun = Begun { key: Some(7), at: 1_800_000_000, print: u64::MAX };
        for begun in [begun, Begun { key: None, ..begun }] {
            assert_eq!(Begun::parse(&begun.to_string()), Some(begun));
            assert_eq!(Answered::parse(&begun.to_string()), None);
        }
        let answered =
            Answered { key: u128::MAX, at: 1, print: 2, accepted: 1_000_000, rejected: 1, lists: None };
        for lists in [None, Some(""), Some(r#""failed_recipients":["a:b"],"errors":["a:b: c"]"#)] {
            let answered = Answered { lists: lists.map(Box::from), ..answered.clone() };
            assert!(is_http(&answered.to_string()));
            assert_eq!(Answered::parse(&answered.to_string()), Some(answered.clone()));
            assert_eq!(Begun::parse(&answered.to_string()), None);
        }
        for other in
            ["", "fd01:ff:a:10:http.eml", "http:", "http:begun", "http:done:1:2", "http:done:x:1:1:1:1"]
        {
            assert_eq!((Begun::parse(other), Answered::parse(other)), (None, None), "{other}");
        }
    }
}
