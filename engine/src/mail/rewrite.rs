//! Other addresses for a message than those it came with: its envelope sender, and the domain of its From header. They are
//! put in at delivery, since it is the virtual MTA that has the say.

use super::address::normalise_domain;
use super::edits::Edits;
use super::header::Header;
use std::fmt;
use std::ops::Range;

/// What addresses are rewritten to.
pub trait Rewrites: fmt::Debug + Send + Sync {
    /// What stands in for an envelope sender, empty for the null sender; `None` where it stays.
    fn sender(&self, sender: &str) -> Option<String>;
    /// What stands in for a domain (lower case, A-labels) of a From header; `None` where it stays.
    fn domain(&self, domain: &str) -> Option<String>;
}

/// Rewrites the domains in the From header.
pub(super) fn from_header(header: &Header<'_>, rewrites: &dyn Rewrites, edits: &mut Edits<'_>) {
    let raw = edits.raw();
    for field in header.all("From") {
        for place in domains(&raw[field.value.clone()]) {
            let place = field.value.start + place.start..field.value.start + place.end;
            let written = String::from_utf8_lossy(&raw[place.clone()]);
            let mut domain = String::new();
            if normalise_domain(&written, &mut domain).is_err() {
                domain = written.to_ascii_lowercase();
            }
            if let Some(to) = rewrites.domain(&domain).filter(|to| *to != written) {
                edits.put(place, to.into_bytes());
            }
        }
    }
}

/// Where the domains of the addresses in a list of mailboxes stand, as it is written: with comments, folds, and names that
/// hold an `@` of their own.
fn domains(list: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut bare, mut angled) = (None, None);
    let (mut quoted, mut comments, mut in_angle) = (false, 0_u32, false);
    let mut at = 0;
    while at < list.len() {
        match list[at] {
            b'\\' if quoted || comments > 0 => at += 1,
            b'"' if comments == 0 => quoted = !quoted,
            _ if quoted => {}
            b'(' => comments += 1,
            b')' => comments = comments.saturating_sub(1),
            _ if comments > 0 => {}
            b'<' => in_angle = true,
            b'>' => in_angle = false,
            b'@' => {
                let domain = domain_at(list, at + 1);
                let place = if in_angle { &mut angled } else { &mut bare };
                if !domain.is_empty() {
                    at = domain.end - 1;
                    *place = Some(domain);
                }
            }
            b',' | b';' if !in_angle => found.extend(angled.take().or(bare.take())),
            _ => {}
        }
        at += 1;
    }
    found.extend(angled.or(bare));
    found
}

/// The domain or address literal that begins at `from`, blanks skipped.
fn domain_at(list: &[u8], from: usize) -> Range<usize> {
    let blanks = list[from..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    let start = from + blanks;
    let rest = &list[start..];
    let len = match rest.first() {
        Some(b'[') => memchr::memchr(b']', rest).map_or(0, |end| end + 1),
        _ => rest.iter().take_while(|b| is_in_domain(**b)).count(),
    };
    start..start + len
}

fn is_in_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') || byte >= 0x80
}

/// Rewrites `old.example` to `new.example`, and every local part of a sender to `bounce`.
#[cfg(test)]
#[derive(Debug)]
pub struct OldToNew;

#[cfg(test)]
impl Rewrites for OldToNew {
    fn sender(&self, sender: &str) -> Option<String> {
        sender.strip_suffix("@old.example").map(|_| "bounce@new.example".to_owned())
    }

    fn domain(&self, domain: &str) -> Option<String> {
        ["old.example", "xn--ld-eka.example"].contains(&domain).then(|| "new.example".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewritten(from: &str) -> String {
        let message = format!("To: x@old.example\r\nFrom:{from}\r\n\r\nFrom: x@old.example\r\n");
        let (header, mut edits) = (Header::scan(message.as_bytes()), Edits::of(message.as_bytes()));
        from_header(&header, &OldToNew, &mut edits);
        let out = String::from_utf8(edits.apply()).expect("text");
        let rest = out.strip_prefix("To: x@old.example\r\nFrom:").expect("other fields stay");
        rest.strip_suffix("\r\n\r\nFrom: x@old.example\r\n").expect("the body stays").to_owned()
    }

    #[test]
    fn the_domain_is_found_however_the_mailbox_is_written() {
        for (from, becomes) in [
            (" ann@old.example", " ann@new.example"),
            ("ann@OLD.example ", "ann@new.example "),
            (" Ann <ann@old.example>", " Ann <ann@new.example>"),
            (
                " \"Ann, ann@old.example\" <ann@other.example>",
                " \"Ann, ann@old.example\" <ann@other.example>",
            ),
            (" ann@old.example <ann@other.example>", " ann@old.example <ann@other.example>"),
            (" x@other.example\r\n\t<\"a@b\"@old.example>", " x@other.example\r\n\t<\"a@b\"@new.example>"),
            (
                " a@old.example (b@old.example), c@d.example,e@old.example",
                " a@new.example (b@old.example), c@d.example,e@new.example",
            ),
            (" =?utf-8?q?=C3=84?= <a@\u{f6}ld.example>", " =?utf-8?q?=C3=84?= <a@new.example>"),
            (" Team: a@old.example, B <b@old.example>;", " Team: a@new.example, B <b@new.example>;"),
            (" a@ old.example", " a@ new.example"),
            (" a@[192.0.2.1]", " a@[192.0.2.1]"),
            (" a@sub.old.example", " a@sub.old.example"),
            (" nobody", " nobody"),
        ] {
            assert_eq!(rewritten(from), becomes, "{from}");
        }
    }

    proptest! {
        #[test]
        fn places_of_domains_are_in_order_and_within(list in "[a@<>(),;\"\\\\\\[\\]. \u{e4}]{0,40}") {
            let mut end = 0;
            for place in domains(list.as_bytes()) {
                prop_assert!(place.start >= end && place.end <= list.len());
                end = place.end;
            }
        }
    }
}
