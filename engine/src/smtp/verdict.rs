//! The one place where a reply or failure becomes a meaning: whom it concerns (scope) and what is to be done
//! (class).

use super::client_event::{End, Failure, LocalFailure, RecipientFate, Stage};
use super::reply::Reply;

/// Whom a verdict concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One recipient.
    Recipient,
    /// All recipients of the transaction.
    Message,
    /// The connection: another one to the same host may do better.
    Connection,
    /// The host: try the next one.
    Host,
}

/// What a verdict asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Accepted,
    /// Try again later.
    Transient,
    /// Bounce.
    Permanent,
    /// The peer broke the protocol: as transient, but the site is to be looked at.
    Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    pub scope: Scope,
    pub class: Class,
}

/// Directives that bear on verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerdictOptions {
    /// `smtp-421-means-mx-unavailable`: 421 speaks for the host, not for this connection.
    pub mx_unavailable_on_421: bool,
    /// `bounce-upon-5xx-greeting`: a refusal of the connection bounces the mail. Off by default, unlike PowerMTA: one
    /// host's greeting must not end a campaign (S14).
    pub bounce_upon_5xx_greeting: bool,
    /// `smtp-553-means-invalid-mailbox no`: a 553 without a status of its own is no word about the mailbox.
    pub mailbox_valid_on_553: bool,
    /// `bounce-upon-transfer-failure`: a connection lost during content bounces the mail.
    pub bounce_upon_transfer_failure: bool,
    /// `assume-delivery-upon-data-termination-timeout`.
    pub assume_delivery_upon_end_timeout: bool,
}

const fn verdict(scope: Scope, class: Class) -> Verdict {
    Verdict { scope, class }
}

/// The meaning of a reply at a stage.
pub fn of_reply(stage: Stage, reply: &Reply, options: &VerdictOptions) -> Verdict {
    let scope = scope_at(stage);
    if reply.code == 421 {
        let scope = if options.mx_unavailable_on_421 { Scope::Host } else { scope_of_421(stage) };
        return verdict(scope, Class::Transient);
    }
    match (reply.class(), stage) {
        (2, _) => verdict(scope, Class::Accepted),
        // RFC 5321 4.5.3.1.10: 552 to RCPT is to be treated as 452.
        (5, Stage::Rcpt) if reply.code == 552 => verdict(scope, Class::Transient),
        (5, Stage::Greeting | Stage::Hello) if options.bounce_upon_5xx_greeting => {
            verdict(scope, Class::Permanent)
        }
        // What a host says about itself says nothing about the mail.
        (5, Stage::Greeting | Stage::Hello | Stage::StartTls | Stage::Rset | Stage::Idle | Stage::Quit) => {
            verdict(scope, Class::Transient)
        }
        (4, _) => verdict(scope, Class::Transient),
        (5, _) => verdict(scope, Class::Permanent),
        _ => verdict(Scope::Connection, Class::Protocol),
    }
}

fn scope_at(stage: Stage) -> Scope {
    match stage {
        Stage::Greeting | Stage::Hello => Scope::Host,
        Stage::StartTls | Stage::Rset | Stage::Idle | Stage::Quit => Scope::Connection,
        Stage::Mail | Stage::Data | Stage::Content | Stage::Final => Scope::Message,
        Stage::Rcpt => Scope::Recipient,
    }
}

/// A greeting of 421 is the host's; later the connection has served its time.
fn scope_of_421(stage: Stage) -> Scope {
    match stage {
        Stage::Greeting | Stage::Hello => Scope::Host,
        _ => Scope::Connection,
    }
}

/// The meaning of a connection's failure.
pub fn of_failure(stage: Stage, failure: &Failure, options: &VerdictOptions) -> Verdict {
    match failure {
        Failure::Reply(reply) => of_reply(stage, reply, options),
        Failure::Protocol(_) => verdict(Scope::Connection, Class::Protocol),
        Failure::Lost(_) if stage == Stage::Content && options.bounce_upon_transfer_failure => {
            verdict(Scope::Message, Class::Permanent)
        }
        Failure::NoStartTls | Failure::Unverified => verdict(Scope::Host, Class::Transient),
        Failure::Lost(_) | Failure::Timeout | Failure::Blocked | Failure::Tls(_) => match stage {
            // A host that does not even open a session is not worth another connection now (S02).
            Stage::Greeting | Stage::Hello | Stage::StartTls => verdict(Scope::Host, Class::Transient),
            _ => verdict(Scope::Connection, Class::Transient),
        },
        Failure::SessionDeadline => verdict(Scope::Host, Class::Transient),
        Failure::Aborted => verdict(Scope::Connection, Class::Transient),
    }
}

/// The meaning of a refusal of our own: never the remote's fault, nor the address's (S17).
pub fn of_local(failure: LocalFailure) -> Verdict {
    match failure {
        LocalFailure::BadRecipient => verdict(Scope::Recipient, Class::Permanent),
        LocalFailure::NoSmtpUtf8
        | LocalFailure::NoEightBit
        | LocalFailure::TooLarge
        | LocalFailure::BadSender => verdict(Scope::Message, Class::Permanent),
    }
}

/// The meaning of a recipient's fate; `None` for one that is merely put off to a following transaction.
pub fn of_fate(fate: &RecipientFate, options: &VerdictOptions) -> Option<Verdict> {
    match fate {
        RecipientFate::Refused(reply) => Some(of_reply(Stage::Rcpt, reply, options)),
        RecipientFate::Local(failure) => Some(Verdict { scope: Scope::Recipient, ..of_local(*failure) }),
        RecipientFate::Postponed(_) => None,
    }
}

/// The meaning of a transaction's end for the recipients it speaks for; `None` where it decides nothing about them.
pub fn of_end(end: &End, options: &VerdictOptions) -> Option<Verdict> {
    match end {
        End::Replied { stage, reply } => Some(of_reply(*stage, reply, options)),
        End::Local(failure) => Some(of_local(*failure)),
        End::Broken { stage, failure } => Some(of_failure(*stage, failure, options)),
        End::InDoubt(Failure::Timeout) if options.assume_delivery_upon_end_timeout => {
            Some(verdict(Scope::Message, Class::Accepted))
        }
        End::InDoubt(_) => Some(verdict(Scope::Message, Class::Transient)),
        End::AllRefused | End::Untried => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::client_event::ProtocolError;
    use Class::*;
    use Scope::*;

    #[test]
    fn replies() {
        let plain = VerdictOptions::default();
        let strict = VerdictOptions { mx_unavailable_on_421: true, bounce_upon_5xx_greeting: true, ..plain };
        for (stage, code, scope, class, strictly) in [
            (Stage::Greeting, 421, Host, Transient, (Host, Transient)),
            (Stage::Greeting, 450, Host, Transient, (Host, Transient)),
            (Stage::Greeting, 554, Host, Transient, (Host, Permanent)),
            (Stage::Hello, 550, Host, Transient, (Host, Permanent)),
            (Stage::StartTls, 454, Connection, Transient, (Connection, Transient)),
            (Stage::StartTls, 502, Connection, Transient, (Connection, Transient)),
            (Stage::Mail, 421, Connection, Transient, (Host, Transient)),
            (Stage::Mail, 451, Message, Transient, (Message, Transient)),
            (Stage::Mail, 550, Message, Permanent, (Message, Permanent)),
            (Stage::Rcpt, 250, Recipient, Accepted, (Recipient, Accepted)),
            (Stage::Rcpt, 421, Connection, Transient, (Host, Transient)),
            (Stage::Rcpt, 451, Recipient, Transient, (Recipient, Transient)),
            (Stage::Rcpt, 452, Recipient, Transient, (Recipient, Transient)),
            (Stage::Rcpt, 550, Recipient, Permanent, (Recipient, Permanent)),
            (Stage::Rcpt, 552, Recipient, Transient, (Recipient, Transient)),
            (Stage::Rcpt, 553, Recipient, Permanent, (Recipient, Permanent)),
            (Stage::Rcpt, 354, Connection, Protocol, (Connection, Protocol)),
            (Stage::Data, 451, Message, Transient, (Message, Transient)),
            (Stage::Data, 554, Message, Permanent, (Message, Permanent)),
            (Stage::Final, 250, Message, Accepted, (Message, Accepted)),
            (Stage::Final, 421, Connection, Transient, (Host, Transient)),
            (Stage::Final, 452, Message, Transient, (Message, Transient)),
            (Stage::Final, 552, Message, Permanent, (Message, Permanent)),
            (Stage::Idle, 421, Connection, Transient, (Host, Transient)),
        ] {
            let reply = Reply::new(code, &["text"]);
            assert_eq!(of_reply(stage, &reply, &plain), Verdict { scope, class }, "{stage:?} {code}");
            let (scope, class) = strictly;
            assert_eq!(
                of_reply(stage, &reply, &strict),
                Verdict { scope, class },
                "{stage:?} {code}, strict"
            );
        }
    }

    #[test]
    fn failures() {
        let plain = VerdictOptions::default();
        let strict = VerdictOptions { bounce_upon_transfer_failure: true, ..plain };
        let lost = || Failure::Lost("connection reset".into());
        for (stage, failure, scope, class) in [
            (Stage::Greeting, Failure::Timeout, Host, Transient),
            (Stage::Greeting, lost(), Host, Transient),
            (Stage::Rcpt, Failure::Timeout, Connection, Transient),
            (Stage::Content, lost(), Connection, Transient),
            (Stage::Content, Failure::Blocked, Connection, Transient),
            (Stage::Data, Failure::SessionDeadline, Host, Transient),
            (Stage::Rcpt, Failure::Protocol(ProtocolError::Unsolicited(250)), Connection, Protocol),
            (Stage::StartTls, Failure::NoStartTls, Host, Transient),
            (Stage::StartTls, Failure::Unverified, Host, Transient),
            (Stage::Mail, Failure::Aborted, Connection, Transient),
        ] {
            assert_eq!(
                of_failure(stage, &failure, &plain),
                Verdict { scope, class },
                "{stage:?} {failure:?}"
            );
        }
        assert_eq!(
            of_failure(Stage::Content, &lost(), &strict),
            Verdict { scope: Message, class: Permanent }
        );
    }

    #[test]
    fn ends() {
        let plain = VerdictOptions::default();
        let assuming = VerdictOptions { assume_delivery_upon_end_timeout: true, ..plain };
        let doubt = End::InDoubt(Failure::Timeout);
        assert_eq!(of_end(&doubt, &plain), Some(Verdict { scope: Message, class: Transient }));
        assert_eq!(of_end(&doubt, &assuming), Some(Verdict { scope: Message, class: Accepted }));
        assert_eq!(of_end(&End::Untried, &plain), None);
        assert_eq!(of_end(&End::AllRefused, &plain), None);
        let local = RecipientFate::Local(LocalFailure::NoSmtpUtf8);
        assert_eq!(of_fate(&local, &plain), Some(Verdict { scope: Recipient, class: Permanent }));
        assert_eq!(of_fate(&RecipientFate::Postponed(Reply::new(452, &[])), &plain), None);
    }
}
