//! What an attempt's answer reads like in accounting: status and diagnostic.

use crate::route::dns::{Destination, RouteError};
use crate::smtp::client::{End, Failure, RecipientFate};
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
