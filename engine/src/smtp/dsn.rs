//! Parameters of delivery status notifications (RFC 3461): NOTIFY and ORCPT of RCPT, RET and ENVID of MAIL, and the
//! xtext in which two of them are written.

use std::fmt;

/// Characters in an ENVID, decoded or not (RFC 3461 section 4.4).
pub const MAX_ENVID: usize = 100;
/// Characters in an ORCPT (RFC 3461 section 4.2).
pub const MAX_ORCPT: usize = 500;
/// Names of the values, one behind the other, that rows have where some recipient has NOTIFY or ORCPT.
pub const ROW_FIELDS: [&str; 2] = ["*notify", "*orcpt"];

/// Which reports a recipient's sender wants. None said is as good as FAILURE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify(u8);

const NEVER: u8 = 1;
const SUCCESS: u8 = 2;
const FAILURE: u8 = 4;
const DELAY: u8 = 8;
const NAMES: [(&str, u8); 3] = [("SUCCESS", SUCCESS), ("FAILURE", FAILURE), ("DELAY", DELAY)];

impl Notify {
    pub const NOT_GIVEN: Notify = Notify(0);
    pub const NEVER: Notify = Notify(NEVER);

    /// `NEVER`, or some of `SUCCESS`, `FAILURE` and `DELAY` with commas between them.
    pub fn parse(text: &str) -> Option<Notify> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Some(Notify(NEVER));
        }
        let bit = |word: &str| NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|n| n.1);
        text.split(',').try_fold(0, |bits, word| Some(bits | bit(word)?)).map(Notify)
    }

    pub fn is_given(self) -> bool {
        self.0 != 0
    }

    pub fn failure(self) -> bool {
        self.0 == 0 || self.0 & FAILURE != 0
    }

    pub fn success(self) -> bool {
        self.0 & SUCCESS != 0
    }

    pub fn delay(self) -> bool {
        self.0 & DELAY != 0
    }
}

/// As it is written in a command; nothing where it was not given.
impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 & NEVER != 0 {
            return f.write_str("NEVER");
        }
        let given = NAMES.iter().filter(|(_, bit)| self.0 & bit != 0);
        given.enumerate().try_for_each(|(i, (name, _))| write!(f, "{}{name}", if i > 0 { "," } else { "" }))
    }
}

/// What RCPT says of reports about one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientDsn {
    pub notify: Notify,
    /// As it was written: an address type, `;`, and an address in xtext.
    pub orcpt: Box<str>,
}

/// What is wrong with a parameter of RCPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadParameter {
    Notify,
    Orcpt,
    Unknown,
}

impl RecipientDsn {
    /// Takes one parameter of RCPT.
    pub fn take(&mut self, keyword: &str, value: &str) -> Result<(), BadParameter> {
        if keyword.eq_ignore_ascii_case("NOTIFY") {
            self.notify = Notify::parse(value).ok_or(BadParameter::Notify)?;
        } else if keyword.eq_ignore_ascii_case("ORCPT") {
            if !is_orcpt(value) {
                return Err(BadParameter::Orcpt);
            }
            self.orcpt = value.into();
        } else {
            return Err(BadParameter::Unknown);
        }
        Ok(())
    }

    pub fn is_given(&self) -> bool {
        self.notify.is_given() || !self.orcpt.is_empty()
    }
}

/// Whether `text` is an ORCPT: `rfc822;user+40example`. With SMTPUTF8 there may be UTF-8 in it (RFC 6533 section 3).
fn is_orcpt(text: &str) -> bool {
    let Some((kind, address)) = text.split_once(';') else { return false };
    let is_kind = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let fits = |b: u8| b > b' ' && b != b'=' && b != 0x7f;
    let written = if kind.eq_ignore_ascii_case("utf-8") {
        address.bytes().all(fits)
    } else {
        from_xtext(address).is_some()
    };
    is_kind && !address.is_empty() && written && text.len() <= MAX_ORCPT
}

/// The ORCPT of an address.
pub fn orcpt_of(address: &str) -> String {
    if address.is_ascii() {
        return format!("rfc822;{}", xtext(address));
    }
    // In ASCII, so that hosts without SMTPUTF8 take it (RFC 6533 section 3).
    let escaped = |c: char| !c.is_ascii_graphic() || matches!(c, '\\' | '+' | '=');
    let mut out = "utf-8;".to_owned();
    for c in address.chars() {
        match escaped(c) {
            true => out.push_str(&format!("\\x{{{:02X}}}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

/// RET as it is stored and written.
pub fn ret(value: &str) -> Option<&'static str> {
    ["FULL", "HDRS"].into_iter().find(|known| known.eq_ignore_ascii_case(value))
}

/// Decodes ENVID: 1 to 100 printable ASCII characters and blanks.
pub fn envid(value: &str) -> Option<String> {
    let id = String::from_utf8(from_xtext(value)?).ok()?;
    (!id.is_empty() && id.len() <= MAX_ENVID && id.bytes().all(|b| matches!(b, b' '..=b'~'))).then_some(id)
}

/// Encodes xtext (RFC 3461 section 4).
pub fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'+' && byte != b'=' => out.push(char::from(byte)),
            _ => out.push_str(&format!("+{byte:02X}")),
        }
    }
    out
}

/// Decodes xtext.
pub fn from_xtext(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => {
                let (digits, after) = rest.split_at_checked(2)?;
                if !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')) {
                    return None;
                }
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = after;
            }
            b'!'..=b'~' if byte != b'=' => bytes.push(byte),
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn notify_says_which_reports_are_wanted() {
        let wants =
            |text: &str| Notify::parse(text).map(|n| (n.success(), n.failure(), n.delay(), n.to_string()));
        assert_eq!(wants("never"), Some((false, false, false, "NEVER".to_owned())));
        assert_eq!(wants("delay,SUCCESS"), Some((true, false, true, "SUCCESS,DELAY".to_owned())));
        assert_eq!(wants("Failure"), Some((false, true, false, "FAILURE".to_owned())));
        for wrong in ["", "NEVER,DELAY", "SUCCESS,", "always", "SUCCESS DELAY"] {
            assert_eq!(wants(wrong), None, "{wrong}");
        }
        let none = Notify::NOT_GIVEN;
        assert!(none.failure() && !none.success() && !none.delay() && !none.is_given());
        assert_eq!(none.to_string(), "");
    }

    #[test]
    fn an_original_recipient_has_a_type_and_an_address() {
        let mut dsn = RecipientDsn::default();
        for right in ["rfc822;a+40b.example", "X400;/c+3Dus", "utf-8;z\u{f6}e@x.example"] {
            assert_eq!(dsn.take("orcpt", right), Ok(()), "{right}");
            assert_eq!(&*dsn.orcpt, right);
        }
        let long = format!("rfc822;{}", "x".repeat(MAX_ORCPT));
        for wrong in
            ["", "rfc822", "rfc822;", ";a", "rfc822;a=b", "rfc822;a+4", "rf c;a", "rfc822;\u{f6}", &long]
        {
            assert_eq!(dsn.take("ORCPT", wrong), Err(BadParameter::Orcpt), "{wrong}");
        }
        assert_eq!(dsn.take("NOTIFY", "x"), Err(BadParameter::Notify));
        assert_eq!(dsn.take("SIZE", "1"), Err(BadParameter::Unknown));
    }

    #[test]
    fn an_address_has_its_original_recipient() {
        assert_eq!(orcpt_of("a+b@x.example"), "rfc822;a+2Bb@x.example");
        assert_eq!(orcpt_of("z\u{f6}e+1@x.example"), "utf-8;z\\x{F6}e\\x{2B}1@x.example");
        assert!(is_orcpt(&orcpt_of("z\u{f6}e+1@x.example")));
    }

    #[test]
    fn envelope_ids_are_printable() {
        assert_eq!(envid("a+3D1+2B1+20b").as_deref(), Some("a=1+1 b"));
        for wrong in ["", "+0D", "a+g0", "+C3+A9", &"x".repeat(MAX_ENVID + 1)] {
            assert_eq!(envid(wrong), None, "{wrong}");
        }
        assert_eq!((ret("full"), ret("Hdrs"), ret("all")), (Some("FULL"), Some("HDRS"), None));
    }

    proptest! {
        #[test]
        fn xtext_comes_back(text in ".{0,60}") {
            let written = xtext(&text);
            prop_assert!(written.bytes().all(|b| b.is_ascii_graphic() && b != b'='));
            prop_assert_eq!(from_xtext(&written), Some(text.into_bytes()));
        }

        #[test]
        fn any_text_is_answered(text in "[+0-9A-Fa-f=; ]{0,20}") {
            let _ = (from_xtext(&text), is_orcpt(&text), Notify::parse(&text), envid(&text));
        }
    }
}
