//! Signed return paths (VERP): the local part of the envelope sender says which recipient of which submission a bounce is
//! about, and nobody without the key can make one up (A60).
//!
//! The local part is 47 characters of lower-case base32 (RFC 4648, read in either case, since relays may change it):
//!
//! ```text
//!  0  u8   version, 1                10  5 bytes  number of the recipient within the submission
//!  1  u8   number of the key         15  u16      last day it is good for, counted from 1970-01-01
//!  2  u64  number of the submission  17  12 bytes  HMAC-SHA-256 of bytes 0..17 and the domain, cut off
//! ```
//!
//! [`named`] is another kind, which PowerMTA has: the recipient in clear, signed by nobody.
//!
//! Numbers have their highest byte first. The domain is that of the envelope sender, in lower-case A-labels.

use super::address::{check, normalise_domain};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use data_encoding::{BASE32_NOPAD_NOCASE, HEXLOWER_PERMISSIVE};

const VERSION: u8 = 1;
const SIGNED: usize = 17;
const MAC: usize = 12;
const LEN: usize = SIGNED + MAC;
/// Characters of a local part.
const LOCAL_PART: usize = (LEN * 8).div_ceil(5);
/// RFC 5321 section 4.5.3.1.1.
const MOST_LOCAL: usize = 64;
const _: () = assert!(LOCAL_PART <= MOST_LOCAL);

/// Days after the start of its delivery for which a return path is good: the longest a queue waits, here and there, and
/// what auto-responders add.
const LIFE: i64 = 60;
const DAY: i64 = 86_400_000;
/// Keys in use at once: the one that signs, and the one before it.
const MOST_KEYS: usize = 2;

/// The envelope sender that names the recipient in PowerMTA's form: `ann@news.example` becomes
/// `ann-jim=site.example@news.example` (reference 8.6). The sender itself where there is none, or that would be no address:
/// the local part longer than SMTP allows, or the recipient none.
pub fn named(sender: &str, recipient: &str) -> String {
    let (Some((local, domain)), Some((to, at))) = (sender.rsplit_once('@'), recipient.rsplit_once('@'))
    else {
        return sender.to_owned();
    };
    let quote = if local.starts_with('"') || to.starts_with('"') { "\"" } else { "" };
    let path = format!("{quote}{}-{}={at}{quote}", unquoted(local), unquoted(to));
    let named = format!("{path}@{domain}");
    // What stands for a recipient need not be an address.
    if path.len() > MOST_LOCAL || check(named.as_bytes()).is_err() { sender.to_owned() } else { named }
}

fn unquoted(local: &str) -> &str {
    local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(local)
}

/// A recipient, as a return path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    pub submission: u64,
    /// Number of the row within the submission.
    pub row: u64,
}

/// Why a return path is not ours to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerpError {
    #[error("is not a signed return path")]
    Foreign,
    #[error("was signed with key {0}, which is not in use")]
    Key(u8),
    #[error("has a signature that does not fit")]
    Forged,
    #[error("has expired")]
    Expired,
}

/// What is wrong with a file of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    #[error("line {line}: a key is its number (0 to 255), a blank, and 64 hexadecimal digits")]
    Line { line: usize },
    #[error("line {line}: key {number} is there twice")]
    Twice { line: usize, number: u8 },
    #[error("line {line}: only {MOST_KEYS} keys can be in use, the first of which signs")]
    Many { line: usize },
    #[error(
        "there is no key in it; remove the file to have a new one made, with which older return paths are refused"
    )]
    Empty,
}

/// The keys in use; the first one signs.
#[derive(Debug)]
pub struct VerpKeys {
    keys: Vec<(u8, hmac::Key)>,
}

impl VerpKeys {
    /// Reads a file of keys: a line each, `#` begins a comment.
    ///
    /// # Errors
    /// When a line is something else, or there is no key or there are too many.
    pub fn parse(text: &str) -> Result<VerpKeys, KeyFileError> {
        let mut keys: Vec<(u8, hmac::Key)> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.split('#').next().unwrap_or_default().trim();
            if text.is_empty() {
                continue;
            }
            let (number, secret) = text.split_once([' ', '\t']).ok_or(KeyFileError::Line { line })?;
            let number = number.parse().map_err(|_| KeyFileError::Line { line })?;
            let secret = HEXLOWER_PERMISSIVE.decode(secret.trim().as_bytes()).unwrap_or_default();
            if secret.len() != 32 {
                return Err(KeyFileError::Line { line });
            }
            if keys.iter().any(|(known, _)| *known == number) {
                return Err(KeyFileError::Twice { line, number });
            }
            if keys.len() == MOST_KEYS {
                return Err(KeyFileError::Many { line });
            }
            keys.push((number, hmac::Key::new(hmac::HMAC_SHA256, &secret)));
        }
        if keys.is_empty() { Err(KeyFileError::Empty) } else { Ok(VerpKeys { keys }) }
    }

    /// The text of a file with one key.
    pub fn file(secret: &[u8; 32]) -> String {
        format!(
            "# Keys of signed return paths: a number and 32 bytes in hexadecimal. The first one signs, a second one is still\n\
             # accepted. To change keys put a new one with another number first, and remove the old one {LIFE} days later.\n\
             1 {}\n",
            HEXLOWER_PERMISSIVE.encode(secret)
        )
    }

    /// The return path for a recipient of a message from `sender`, whose delivery begins at `start` (unix milliseconds). The
    /// same for every attempt. A sender without a domain, as the null sender, is left as it is.
    pub fn return_path(&self, sender: &str, returned: Returned, start: i64) -> String {
        let (Some((_, domain)), Some((number, key))) = (sender.rsplit_once('@'), self.keys.first()) else {
            return sender.to_owned();
        };
        let last_day = (start.max(0) / DAY + LIFE + 1).clamp(0, i64::from(u16::MAX)) as u16;
        let mut bytes = [0; LEN];
        bytes[0] = VERSION;
        bytes[1] = *number;
        bytes[2..10].copy_from_slice(&returned.submission.to_be_bytes());
        bytes[10..15].copy_from_slice(&returned.row.to_be_bytes()[3..]);
        bytes[15..17].copy_from_slice(&last_day.to_be_bytes());
        let mac = mac(key, &bytes[..SIGNED], domain);
        bytes[SIGNED..].copy_from_slice(&mac.as_ref()[..MAC]);
        let mut path = BASE32_NOPAD_NOCASE.encode(&bytes);
        path.make_ascii_lowercase();
        path.push('@');
        path.push_str(domain);
        path
    }

    /// The recipient that a bounce to `local_part@domain` is about, if the address was made here and is still good at
    /// `now` (unix milliseconds).
    ///
    /// # Errors
    /// When it is not; nothing may then be done about any recipient.
    pub fn returned(&self, local_part: &str, domain: &str, now: i64) -> Result<Returned, VerpError> {
        if local_part.len() != LOCAL_PART {
            return Err(VerpError::Foreign);
        }
        let bytes = BASE32_NOPAD_NOCASE.decode(local_part.as_bytes()).map_err(|_| VerpError::Foreign)?;
        let bytes: [u8; LEN] = bytes.try_into().map_err(|_| VerpError::Foreign)?;
        if bytes[0] != VERSION {
            return Err(VerpError::Foreign);
        }
        let key = self.keys.iter().find(|(number, _)| *number == bytes[1]);
        let (_, key) = key.ok_or(VerpError::Key(bytes[1]))?;
        let mac = mac(key, &bytes[..SIGNED], domain);
        verify_slices_are_equal(&mac.as_ref()[..MAC], &bytes[SIGNED..]).map_err(|_| VerpError::Forged)?;
        let number = |range: std::ops::Range<usize>| {
            bytes[range].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        if now / DAY > number(15..17) as i64 {
            return Err(VerpError::Expired);
        }
        Ok(Returned { submission: number(2..10), row: number(10..15) })
    }
}

fn mac(key: &hmac::Key, signed: &[u8], domain: &str) -> hmac::Tag {
    let mut normal = String::new();
    if normalise_domain(domain, &mut normal).is_err() {
        normal = domain.to_ascii_lowercase();
    }
    let mut context = hmac::Context::with_key(key);
    context.update(signed);
    context.update(normal.as_bytes());
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: i64 = 1_796_115_600_000;

    fn keys(secrets: &[(u8, u8)]) -> VerpKeys {
        let line = |(number, byte): &(u8, u8)| format!("{number} {}\n", format!("{byte:02x}").repeat(32));
        VerpKeys::parse(&secrets.iter().map(line).collect::<String>()).expect("keys")
    }

    fn read(keys: &VerpKeys, path: &str, now: i64) -> Result<Returned, VerpError> {
        let (local_part, domain) = path.split_once('@').expect("an address");
        keys.returned(local_part, domain, now)
    }

    #[test]
    fn a_recipient_may_be_named_in_clear() {
        for (sender, recipient, path) in [
            ("jsmith@example.com", "jdoe@yahoo.com", "jsmith-jdoe=yahoo.com@example.com"),
            ("a@b.example", "\"x y\"@c.example", "\"a-x y=c.example\"@b.example"),
            ("\"a\\\"b\"@b.example", "c@d.example", "\"a\\\"b-c=d.example\"@b.example"),
            ("", "c@d.example", ""),
        ] {
            assert_eq!(named(sender, recipient), path);
            assert!(path.is_empty() || crate::mail::check(path.as_bytes()).is_ok(), "{path}");
        }
        let long = format!("{}@d.example", "x".repeat(60));
        assert_eq!(named("a@b.example", &long), "a@b.example");
    }

    #[test]
    fn a_return_path_is_short_plain_and_the_same_every_time() {
        let keys = keys(&[(7, 1)]);
        let returned = Returned { submission: u64::MAX, row: (1 << 40) - 1 };
        let path = keys.return_path("bounce@News.example", returned, START);
        let (local_part, domain) = path.split_once('@').expect("an address");
        assert_eq!((local_part.len(), domain), (LOCAL_PART, "News.example"));
        assert!(local_part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        assert_eq!(path, keys.return_path("bounce@News.example", returned, START));
        assert_eq!(read(&keys, &path, START), Ok(returned));
        assert_eq!(keys.return_path("", returned, START), "");
    }

    #[test]
    fn case_and_the_way_of_writing_the_domain_do_not_matter() {
        let keys = keys(&[(1, 1)]);
        let returned = Returned { submission: 5, row: 6 };
        let path = keys.return_path("b@b\u{fc}cher.example", returned, START);
        let local_part = path.split_once('@').expect("an address").0.to_ascii_uppercase();
        assert_eq!(keys.returned(&local_part, "XN--BCHER-KVA.example", START), Ok(returned));
    }

    #[test]
    fn it_is_good_until_its_last_day() {
        let keys = keys(&[(1, 1)]);
        let path = keys.return_path("b@x.example", Returned { submission: 5, row: 6 }, START);
        let last = (START / DAY + LIFE + 1) * DAY + DAY - 1;
        assert!(read(&keys, &path, last).is_ok());
        assert_eq!(read(&keys, &path, last + 1), Err(VerpError::Expired));
    }

    #[test]
    fn what_another_key_or_domain_signed_is_refused() {
        let (old, both, new) = (keys(&[(1, 1)]), keys(&[(2, 2), (1, 1)]), keys(&[(2, 2)]));
        let returned = Returned { submission: 5, row: 6 };
        let by_old = old.return_path("b@x.example", returned, START);
        assert_eq!(read(&both, &by_old, START), Ok(returned), "the key before is still accepted");
        assert_eq!(read(&new, &by_old, START), Err(VerpError::Key(1)));
        let by_both = both.return_path("b@x.example", returned, START);
        assert_eq!(read(&new, &by_both, START), Ok(returned), "the first key signs");
        assert_eq!(read(&keys(&[(1, 9)]), &by_old, START), Err(VerpError::Forged));
        let elsewhere = by_old.replace("x.example", "y.example");
        assert_eq!(read(&old, &elsewhere, START), Err(VerpError::Forged));
        for foreign in ["bounce", "", &"a".repeat(LOCAL_PART - 1), &"1".repeat(LOCAL_PART)] {
            assert_eq!(old.returned(foreign, "x.example", START), Err(VerpError::Foreign), "{foreign:?}");
        }
    }

    #[test]
    fn a_file_of_keys_is_read_or_refused_with_its_line() {
        assert!(VerpKeys::parse(&VerpKeys::file(&[9; 32])).is_ok());
        let key = "00".repeat(32);
        for (text, error) in [
            (String::new(), KeyFileError::Empty),
            (format!("# none\n1 {}\n", &key[2..]), KeyFileError::Line { line: 2 }),
            (format!("256 {key}\n"), KeyFileError::Line { line: 1 }),
            (format!("1 {key}\n1 {key}\n"), KeyFileError::Twice { line: 2, number: 1 }),
            (format!("1 {key}\n2 {key}\n\n3 {key}\n"), KeyFileError::Many { line: 4 }),
        ] {
            assert_eq!(VerpKeys::parse(&text).err(), Some(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_recipient_comes_back_and_no_changed_path_does(
            submission in any::<u64>(), row in 0..1u64 << 40, at in 0..LOCAL_PART, to in "[a-z2-7]",
        ) {
            let keys = keys(&[(3, 1)]);
            let returned = Returned { submission, row };
            let path = keys.return_path("b@x.example", returned, START);
            prop_assert_eq!(read(&keys, &path, START), Ok(returned));
            let mut changed = path.clone();
            changed.replace_range(at..=at, &to);
            if changed != path {
                prop_assert!(read(&keys, &changed, START).is_err());
            }
        }

        #[test]
        fn any_local_part_is_answered_without_panic(local_part in "\\PC{0,60}|[a-z2-7]{47}") {
            prop_assert!(keys(&[(3, 1)]).returned(&local_part, "x.example", START).is_err());
        }
    }
}
