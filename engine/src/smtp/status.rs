//! Enhanced status codes (RFC 3463) as accounting writes them: `5.1.1 (bad destination mailbox address)`. Texts
//! known from PowerMTA's records are kept word for word (reference 4.6); the others follow the RFC's names.

use super::client_event::{Failure, LocalFailure, RecipientFate};
use super::reply::{Enhanced, Reply};
use super::verdict::{Class, Verdict, VerdictOptions};
use std::borrow::Cow;

/// Status with text, e.g. `2.0.0 (success)`: accounting's `dsnStatus`.
pub fn with_text(status: Enhanced) -> String {
    let (class, subject, detail) = status;
    format!("{class}.{subject}.{detail} ({})", name(status))
}

/// The status of a reply: the server's own where it gave one, else the undefined one of its class. `verdict`
/// decides the class, since a 552 to RCPT counts as transient (S10).
pub fn of_reply(reply: &Reply, verdict: Verdict, options: &VerdictOptions) -> Enhanced {
    let class = match verdict.class {
        Class::Accepted => 2,
        Class::Transient | Class::Protocol => 4,
        Class::Permanent => 5,
    };
    let (subject, detail) = match reply.enhanced {
        Some((_, subject, detail)) => (subject, detail),
        // 553 is "mailbox name not allowed" (RFC 5321 4.2.3).
        None if reply.code == 553 && class == 5 && !options.mailbox_valid_on_553 => (1, 1),
        None => (0, 0),
    };
    (class, subject, detail)
}

/// The status of a connection's failure. A refusal speaks for itself.
pub fn of_failure(failure: &Failure, verdict: Verdict, options: &VerdictOptions) -> Enhanced {
    match failure {
        Failure::Reply(reply) => of_reply(reply, verdict, options),
        Failure::Lost(_) | Failure::Aborted => (4, 4, 2),
        Failure::Timeout | Failure::Blocked | Failure::SessionDeadline => (4, 4, 1),
        Failure::Protocol(_) => (4, 5, 0),
        Failure::Tls(_) | Failure::NoStartTls | Failure::Unverified => (4, 7, 5),
    }
}

/// The status of a refusal of our own.
pub fn of_local(failure: LocalFailure) -> Enhanced {
    match failure {
        LocalFailure::NoEightBit => (5, 6, 3),
        LocalFailure::NoSmtpUtf8 => (5, 6, 7),
        LocalFailure::TooLarge => (5, 3, 4),
        LocalFailure::BadSender => (5, 1, 7),
        LocalFailure::BadRecipient => (5, 1, 3),
    }
}

/// Diagnostic of a reply, e.g. `smtp;550 5.1.1 no such user`: accounting's `dsnDiag`.
pub fn diagnostic(reply: &Reply) -> String {
    format!("smtp;{}", reply.text())
}

/// Diagnostic of a connection's failure: the reply, or empty where there was none (reference 4.2).
pub fn diagnostic_of_failure(failure: &Failure) -> String {
    match failure {
        Failure::Reply(reply) => diagnostic(reply),
        _ => String::new(),
    }
}

/// Diagnostic of a refusal of our own, in the form of a reply.
pub fn diagnostic_of_local(failure: LocalFailure) -> String {
    let (class, subject, detail) = of_local(failure);
    format!("smtp;554 {class}.{subject}.{detail} {failure}")
}

/// Diagnostic of a recipient's fate.
pub fn diagnostic_of_fate(fate: &RecipientFate) -> String {
    match fate {
        RecipientFate::Refused(reply) | RecipientFate::Postponed(reply) => diagnostic(reply),
        RecipientFate::Local(failure) => diagnostic_of_local(*failure),
    }
}

/// The words for a status.
pub fn name(status: Enhanced) -> Cow<'static, str> {
    if let Some((_, _, text)) = DETAILS.iter().find(|(s, d, _)| (*s, *d) == (status.1, status.2)) {
        return Cow::Borrowed(text);
    }
    Cow::Borrowed(match status {
        (2, 0, _) => "success",
        (_, 0, _) => "undefined status",
        (_, 1, _) => "unknown address-related status",
        (_, 2, _) => "unknown mailbox-related status",
        (_, 3, _) => "unknown mail system-related status",
        (_, 4, _) => "unknown network-related status",
        (_, 5, _) => "unknown protocol-related status",
        (_, 6, _) => "unknown content-related status",
        (_, 7, _) => "other or undefined security status",
        _ => "undefined status",
    })
}

/// Subject, detail, text.
const DETAILS: [(u16, u16, &str); 48] = [
    (1, 1, "bad destination mailbox address"),
    (1, 2, "bad destination system: no such domain"),
    (1, 3, "bad destination mailbox address syntax"),
    (1, 4, "destination mailbox address ambiguous"),
    (1, 5, "destination mailbox address valid"),
    (1, 6, "mailbox has moved"),
    (1, 7, "bad sender's mailbox address syntax"),
    (1, 8, "bad sender's system address"),
    (1, 10, "recipient address has null MX"),
    (2, 1, "mailbox disabled, not accepting messages"),
    (2, 2, "mailbox full"),
    (2, 3, "message length exceeds administrative limit"),
    (2, 4, "mailing list expansion problem"),
    (3, 1, "mail system full"),
    (3, 2, "system not accepting network messages"),
    (3, 3, "system not capable of selected features"),
    (3, 4, "message too big for system"),
    (3, 5, "system incorrectly configured"),
    (4, 1, "no answer from host"),
    (4, 2, "bad connection"),
    (4, 3, "directory server failure"),
    (4, 4, "unable to route"),
    (4, 5, "mail system congestion"),
    (4, 6, "routing loop detected"),
    (4, 7, "delivery time expired"),
    (5, 1, "invalid command"),
    (5, 2, "syntax error"),
    (5, 3, "too many recipients"),
    (5, 4, "invalid command arguments"),
    (5, 5, "wrong protocol version"),
    (6, 1, "media not supported"),
    (6, 2, "conversion required and prohibited"),
    (6, 3, "conversion required but not supported"),
    (6, 4, "conversion with loss performed"),
    (6, 5, "conversion failed"),
    (6, 7, "non-ASCII addresses not permitted"),
    (7, 1, "delivery not authorized"),
    (7, 2, "mailing list expansion prohibited"),
    (7, 3, "security conversion required but not possible"),
    (7, 4, "security features not supported"),
    (7, 5, "cryptographic failure"),
    (7, 6, "cryptographic algorithm not supported"),
    (7, 7, "message integrity failure"),
    (7, 8, "authentication credentials invalid"),
    (7, 23, "SPF validation failed"),
    (7, 25, "reverse DNS validation failed"),
    (7, 26, "multiple authentication checks failed"),
    (7, 28, "mail flood detected"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::verdict::Scope;

    /// Texts of reference 4.6.
    #[test]
    fn texts_of_powermta() {
        for (status, text) in [
            ((2, 0, 0), "2.0.0 (success)"),
            ((4, 0, 0), "4.0.0 (undefined status)"),
            ((4, 1, 0), "4.1.0 (unknown address-related status)"),
            ((4, 4, 1), "4.4.1 (no answer from host)"),
            ((4, 4, 7), "4.4.7 (delivery time expired)"),
            ((4, 7, 0), "4.7.0 (other or undefined security status)"),
            ((5, 0, 0), "5.0.0 (undefined status)"),
            ((5, 1, 1), "5.1.1 (bad destination mailbox address)"),
            ((5, 1, 2), "5.1.2 (bad destination system: no such domain)"),
            ((5, 3, 0), "5.3.0 (unknown mail system-related status)"),
            ((5, 7, 1), "5.7.1 (delivery not authorized)"),
            ((5, 42, 999), "5.42.999 (undefined status)"),
        ] {
            assert_eq!(with_text(status), text);
        }
    }

    #[test]
    fn status_of_replies() {
        let verdict = |class| Verdict { scope: Scope::Recipient, class };
        for (reply, class, status) in [
            (Reply::new(250, &["DATA ok"]), Class::Accepted, (2, 0, 0)),
            (Reply::new(250, &["2.6.0 queued"]), Class::Accepted, (2, 6, 0)),
            (Reply::new(550, &["5.1.1 unknown"]), Class::Permanent, (5, 1, 1)),
            (Reply::new(552, &["5.2.2 full"]), Class::Transient, (4, 2, 2)),
            (Reply::new(553, &["no"]), Class::Permanent, (5, 1, 1)),
            (Reply::new(451, &["later"]), Class::Transient, (4, 0, 0)),
        ] {
            assert_eq!(of_reply(&reply, verdict(class), &VerdictOptions::default()), status, "{reply:?}");
        }
        let valid = VerdictOptions { mailbox_valid_on_553: true, ..VerdictOptions::default() };
        for (text, status) in [("no", (5, 0, 0)), ("5.1.3 no", (5, 1, 3))] {
            assert_eq!(of_reply(&Reply::new(553, &[text]), verdict(Class::Permanent), &valid), status);
        }
    }

    #[test]
    fn diagnostics() {
        assert_eq!(diagnostic(&Reply::new(250, &["DATA ok"])), "smtp;250 DATA ok");
        let local = diagnostic_of_local(LocalFailure::TooLarge);
        assert_eq!(local, "smtp;554 5.3.4 message is larger than the host accepts (SIZE)");
        assert_eq!(diagnostic_of_failure(&Failure::Timeout), "");
    }
}
