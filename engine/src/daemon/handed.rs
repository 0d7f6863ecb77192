//! A message as a front door hands it over, and what its submission says of where it came from.

use super::at_delivery;
use crate::base::Wall;
use crate::mail::plain::Received;
use crate::smtp::dsn::{Notify, RecipientDsn};
use crate::smtp::merge::Merge;
use crate::smtp::refused::RefusedRecipient;
use crate::spool::record::{AtDelivery, Reports, Submission, Verp};
use vmta_config::{DsnReturn, SourceSettings};

/// A message as a front door hands it over.
#[derive(Debug, Default)]
pub struct Handed<'a> {
    pub sender: &'a str,
    pub recipients: &'a [String],
    /// Those who bounce at once. Of a merged message they are among the others.
    pub refused: &'a [RefusedRecipient],
    pub message: &'a [u8],
    /// LF ends a line too (files).
    pub lf_ends_lines: bool,
    /// What the envelope says about them; a header that is allowed to say so may say otherwise.
    pub job: Option<&'a str>,
    pub envid: Option<&'a str>,
    pub virtual_mta: Option<&'a str>,
    pub smtputf8: bool,
    /// Accounting's `srcType`.
    pub source_type: &'static str,
    /// Who the client has logged in as; empty for nobody.
    pub smtp_user: &'a str,
    /// Name the client gave for itself; empty where there is none.
    pub client_name: &'a str,
    pub client_ip: &'a str,
    pub local_ip: &'a str,
    /// Identity of the pickup file, empty for other doors (F26).
    pub pickup_identity: String,
    /// Authentication-Results, as a whole field; empty where nothing was checked.
    pub authentication: &'a str,
    /// The return path is to name each recipient.
    pub verp: bool,
    /// DSN RET, empty when absent.
    pub dsn_ret: &'a str,
    /// NOTIFY and ORCPT of each recipient; nothing where no recipient has any.
    pub dsn: &'a [RecipientDsn],
    /// Of a merged message: its recipients with their values, and the parts of which it consists.
    pub merge: Option<&'a Merge>,
}

impl Handed<'_> {
    /// What a submission says of where it came from.
    pub(super) fn header(&self, source: &SourceSettings, now: Wall) -> Submission {
        Submission {
            sender: self.sender.to_owned(),
            source_type: self.source_type.to_owned(),
            source_mta: if self.client_name.is_empty() && self.client_ip.is_empty() {
                String::new()
            } else {
                format!("{} ({})", self.client_name, self.client_ip)
            },
            received_from_ip: self.client_ip.to_owned(),
            received_on_ip: self.local_ip.to_owned(),
            smtp_user: self.smtp_user.to_owned(),
            accepted_at: now.0,
            smtputf8: self.smtputf8,
            pickup_identity: self.pickup_identity.clone(),
            dsn_ret: self.dsn_ret.to_owned(),
            reports: wanted(self, source),
            verp: if self.verp || source.verp_default { Verp::Named } else { Verp::No },
            at_delivery: AtDelivery {
                received: self.is_traced(source),
                ..match self.merge {
                    Some(_) => at_delivery::of_merged(source),
                    None => at_delivery::of_finished(source),
                }
            },
            ..Submission::default()
        }
    }

    /// The reports that are to be made of those who bounce at once.
    pub(super) fn reports_of_refused(&self, source: &SourceSettings) -> Reports {
        reports(self, source, self.refused.iter().map(|recipient| recipient.dsn.notify))
    }

    /// Whether it gets a trace field.
    fn is_traced(&self, source: &SourceSettings) -> bool {
        source.add_received_header && self.source_type == "smtp"
    }

    /// The trace field, where the source has us put one on.
    pub(super) fn received<'a>(
        &'a self,
        source: &SourceSettings,
        host: &'a str,
        id: &'a str,
        date: &'a str,
    ) -> Option<Received<'a>> {
        let hidden = source.hide_message_source;
        self.is_traced(source).then_some(Received {
            from: if hidden { host } else { self.client_name },
            ip: if hidden { "localhost" } else { self.client_ip },
            by: host,
            id,
            recipient: match self.recipients {
                [one] => Some(one),
                _ => None,
            },
            date,
            sender: self.sender,
        })
    }
}

/// The reports that are to be made of those who are sent to.
fn wanted(handed: &Handed<'_>, source: &SourceSettings) -> Reports {
    match handed.merge {
        Some(merge) => reports(handed, source, merge.notifies().iter().copied()),
        None if handed.dsn.is_empty() => reports(handed, source, [Notify::NOT_GIVEN]),
        None => reports(handed, source, handed.dsn.iter().map(|dsn| dsn.notify)),
    }
}

/// Nobody is told of what becomes of mail without a sender (RFC 3461 section 6.2).
fn reports(
    handed: &Handed<'_>,
    source: &SourceSettings,
    notifies: impl IntoIterator<Item = Notify>,
) -> Reports {
    let own_senders = handed.merge.is_some_and(Merge::has_senders);
    if (handed.sender.is_empty() && !own_senders) || source.suppress_local_dsn {
        return Reports::default();
    }
    let full = match handed.dsn_ret {
        "" => source.dsn_return_default == DsnReturn::Full,
        given => given == "FULL",
    };
    let mut wanted = Reports { full, ..Reports::default() };
    for notify in notifies {
        wanted.failure |= notify.failure();
        wanted.delay |= notify.delay();
        wanted.success |= notify.success();
    }
    wanted
}
