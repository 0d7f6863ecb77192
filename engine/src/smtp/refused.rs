//! Recipients that are taken in only to be bounced: what RCPT would have been answered is what their sender is told
//! (`accept-invalid-recipients`, and XACK OFF in a pickup file).

use super::dsn::RecipientDsn;
use crate::mail::AddressError;
use crate::mail::suppression::Suppressed;
use std::fmt::Display;

/// Characters kept of what is no address.
const MOST: usize = 320;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRecipient {
    /// As it was given, as far as that can be shown.
    pub address: String,
    /// The reply to RCPT that it stands for.
    pub reply: String,
    pub dsn: RecipientDsn,
}

impl RefusedRecipient {
    pub fn suppressed(address: &str, why: &Suppressed, dsn: RecipientDsn) -> RefusedRecipient {
        RefusedRecipient { address: address.to_owned(), reply: format!("550 5.7.1 {why}: <{address}>"), dsn }
    }

    /// What is no address, in mail that may have addresses beyond ASCII (`smtputf8`) or not.
    pub fn malformed(given: &str, why: &AddressError, smtputf8: bool, dsn: RecipientDsn) -> RefusedRecipient {
        let reply = format!("501 5.1.3 recipient address: {why}");
        RefusedRecipient { address: shown(given, smtputf8), reply, dsn }
    }

    /// An address beyond ASCII, in mail that may have none.
    pub fn beyond_ascii(given: &str, dsn: RecipientDsn) -> RefusedRecipient {
        let reply = "553 5.6.7 recipient address needs SMTPUTF8".to_owned();
        RefusedRecipient { address: shown(given, false), reply, dsn }
    }
}

/// One printable line of bounded length. Without `smtputf8` it is ASCII, so that reports of it reach everybody.
fn shown(given: &str, smtputf8: bool) -> String {
    if given.is_empty() {
        return "<>".to_owned();
    }
    let fits = |c: char| matches!(c, ' '..='~') || (smtputf8 && !c.is_ascii() && !c.is_control());
    given.chars().take(MOST).map(|c| if fits(c) { c } else { '?' }).collect()
}

/// As a reply says of a recipient that he is taken in all the same.
pub(super) struct TakenIn<'a>(pub &'a RefusedRecipient);

impl Display for TakenIn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "250 2.1.5 <{}> ok, and will bounce", super::server::OneLine(&self.0.address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Address;

    #[test]
    fn the_reply_says_why() {
        let none = RecipientDsn::default;
        let suppressed = RefusedRecipient::suppressed("x@y.example", &Suppressed("a1".into()), none());
        assert_eq!(suppressed.reply, "550 5.7.1 recipient is in suppression list \"a1\": <x@y.example>");
        let why = Address::parse("jim").expect_err("no address");
        let malformed = RefusedRecipient::malformed("jim", &why, false, none());
        let reply = "501 5.1.3 recipient address: there is no @ between a local part and a domain";
        assert_eq!((malformed.address.as_str(), malformed.reply.as_str()), ("jim", reply));
        let beyond = RefusedRecipient::beyond_ascii("jürgen@x.example", none());
        assert_eq!((beyond.address.as_str(), &beyond.reply[..9]), ("j?rgen@x.example", "553 5.6.7"));
    }

    #[test]
    fn what_is_no_address_is_kept_as_one_printable_line() {
        assert_eq!(shown("", true), "<>");
        assert_eq!(shown("a\u{1b}[2J \tb@\u{9b}ü", true), "a?[2J ?b@?ü");
        assert_eq!(shown("ü@x", false), "?@x");
        assert_eq!(shown(&"é".repeat(1000), true).chars().count(), MOST);
    }
}
