//! What an attempt's answer reads like in accounting: status and diagnostic.

use crate::route::dns::{Destination, RouteError};
use crate::smtp::client::{End, Failure, RecipientFate};
use crate::smtp::reply::Reply;
use crate::smtp::status;
use crate::smtp::verdict::{Verdict, VerdictOptions};
use crate::spool::record::Said;

pub fn of_fate(fate: &RecipientFate, verdict: Verdict, options: &VerdictOptions) -> Said {
    let code = match fate {
        RecipientFate::Refused(reply) | RecipientFate::Postponed(reply) => {
            status::of_reply(reply, verdict, options)
        }
        RecipientFate::Local(failure) => status::of_local(*failure),
    };
    Said { status: status::with_text(code), diagnostic: status::diagnostic_of_fate(fate) }
}

pub fn of_end(end: &End, verdict: Verdict, options: &VerdictOptions) -> Said {
    match end {
        End::Replied { reply, .. } => Said {
            status: status::with_text(status::of_reply(reply, verdict, options)),
            diagnostic: status::diagnostic(reply),
        },
        End::Local(failure) => Said {
            status: status::with_text(status::of_local(*failure)),
            diagnostic: status::diagnostic_of_local(*failure),
        },
        End::Broken { failure, .. } | End::InDoubt(failure) => of_failure(failure, verdict, options),
        // These end nobody's wait; there is nothing to say.
        End::AllRefused | End::Untried => Said::default(),
    }
}

pub fn of_failure(failure: &Failure, verdict: Verdict, options: &VerdictOptions) -> Said {
    Said {
        status: status::with_text(status::of_failure(failure, verdict, options)),
        diagnostic: status::diagnostic_of_failure(failure),
    }
}

/// Mail given up because its domain has no MX records (`bounce-upon-no-mx`).
pub fn of_no_mx(destination: &Destination) -> Said {
    Said { status: status::with_text((5, 4, 4)), diagnostic: format!("{destination} has no MX record") }
}

/// `5.1.2 (bad destination system: no such domain)`.
pub fn of_route(error: &RouteError) -> String {
    let mut parts = error.status.split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    let (class, subject, detail) = (part(), part(), part());
    status::with_text((class as u8, subject, detail))
}

/// A recipient that was taken in although RCPT would have been answered with `reply`.
pub fn of_refused(reply: &str) -> Said {
    let (code, text) = reply.split_once(' ').unwrap_or_default();
    let reply = Reply::new(code.parse().unwrap_or(550), &[text]);
    let status = reply.enhanced.unwrap_or((5, 0, 0));
    Said { status: status::with_text(status), diagnostic: status::diagnostic(&reply) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_reads_like_any_refusal() {
        let told = |reply: &str| {
            let Said { status, diagnostic } = of_refused(reply);
            (status, diagnostic)
        };
        assert_eq!(
            told("550 5.7.1 recipient is in suppression list \"a1\": <x@y>"),
            (
                "5.7.1 (delivery not authorized)".to_owned(),
                "smtp;550 5.7.1 recipient is in suppression list \"a1\": <x@y>".to_owned()
            )
        );
        assert_eq!(told("501 5.1.3 no @").0, "5.1.3 (bad destination mailbox address syntax)");
        // A damaged row bounces all the same.
        for reply in ["", "550", "x y"] {
            assert_eq!(told(reply).0, "5.0.0 (undefined status)", "{reply}");
        }
    }
}
