//! `POST /api/v1/transmissions`: one finished message, as PowerMTA takes it (reference 6.6).

use super::body::Body;
use super::keys::Claim;
use super::reply::{Refusal, json};
use super::{Entrance, Settings};
use crate::daemon::handed::Handed;
use crate::daemon::suppressed::suppression;
use crate::ingest::answered::Answered;
use crate::ingest::transmission::Transmission;
use crate::io::http_listener::Ends;
use crate::mail::suppression::{Suppressed, Suppression};
use crate::mail::{AddressError, address};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode};

/// Why a recipient is not accepted.
#[derive(Debug, thiserror::Error)]
enum Unaccepted {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Suppressed(#[from] Suppressed),
}

impl Entrance {
    pub(super) async fn transmission(
        &self,
        ends: &Ends,
        mut body: Body,
        settings: &Settings,
        claim: Option<Claim>,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let whole = body.whole(settings.max_body()).await?;
        let mut request = Transmission::parse(&whole).map_err(|e| Refusal::bad(e.to_string()))?;
        limits(&request, settings)?;
        let suppression = suppression(&settings.configured.config, &settings.source);
        let mut rejected = 0;
        let mut first = None;
        for (sender, recipients) in &mut request.envelopes {
            check_sender(sender)?;
            let suffix = settings.domain_suffix();
            let given = recipients.len();
            recipients.retain_mut(|recipient| match accept(recipient, suffix, suppression.as_ref()) {
                Ok(()) => true,
                Err(e) => {
                    first.get_or_insert_with(|| format!("{recipient}: {e}"));
                    false
                }
            });
            rejected += given - recipients.len();
        }
        let mut messages: Vec<Handed<'_>> = request
            .envelopes
            .iter()
            .filter(|(_, recipients)| !recipients.is_empty())
            .map(|envelope| handed(envelope, &request, ends))
            .collect();
        if let (true, Some(first)) = (messages.is_empty(), first) {
            return Err(Refusal::bad(format!("no recipient is accepted: {first}")));
        }
        let accepted: usize = messages.iter().map(|message| message.recipients.len()).sum();
        let (accepted, rejected) = (accepted as u64, rejected as u64);
        let answered = claim.as_ref().map(|claim| Answered {
            key: claim.key,
            at: self.seconds(),
            print: body.print(),
            accepted,
            rejected,
            lists: None,
        });
        if let (Some(first), Some(answered)) = (messages.first_mut(), &answered) {
            first.pickup_identity = answered.to_string();
        }
        if let Err(e) = self.intake.take_all(&self.reactor, &messages, &settings.source).await {
            if let (Some(claim), Some(answered)) = (&claim, &answered) {
                claim.taken_back(answered);
            }
            return Err(Refusal::from(&e));
        }
        if let (Some(claim), Some(answered)) = (claim, answered) {
            claim.answered(answered);
        }
        Ok(json(StatusCode::OK, answer(accepted, rejected)))
    }
}

pub(super) fn answer(accepted: u64, rejected: u64) -> String {
    format!(
        r#"{{"results":{{"total_accepted_recipients":{accepted},"total_rejected_recipients":{rejected}}}}}"#
    )
}

fn handed<'a>(
    (sender, recipients): &'a (String, Vec<String>),
    request: &'a Transmission<'_>,
    ends: &'a Ends,
) -> Handed<'a> {
    Handed {
        sender,
        recipients,
        message: request.message.as_bytes(),
        lf_ends_lines: true,
        job: request.job.as_deref(),
        smtputf8: request.smtputf8,
        source_type: "api",
        client_name: &ends.client,
        client_ip: &ends.client,
        local_ip: &ends.local,
        ..Handed::default()
    }
}

/// The limits of `<source {transmissions-api}>`.
fn limits(request: &Transmission<'_>, settings: &Settings) -> Result<(), Refusal> {
    let (size, limit) = (request.message.len(), settings.max_message());
    if size > limit {
        let why = format!("content.email_rfc822 is {size} bytes long; at most {limit} are allowed");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    let recipients: usize = request.envelopes.iter().map(|(_, recipients)| recipients.len()).sum();
    match settings.source.max_rcpt_per_message {
        Some(limit) if recipients > limit as usize => {
            Err(Refusal::bad(format!("recipients: there are {recipients}; at most {limit} are allowed")))
        }
        _ => Ok(()),
    }
}

/// An envelope sender: an address, or nothing for `<>`.
fn check_sender(sender: &str) -> Result<(), Refusal> {
    match sender {
        "" => Ok(()),
        sender => match address::check(sender.as_bytes()) {
            Ok(_) => Ok(()),
            Err(e) => Err(Refusal::bad(format!("return_path: {sender:?} is not an address: {e}"))),
        },
    }
}

/// Completes a recipient whose domain is a single label, and refuses those who get no mail.
fn accept(recipient: &mut String, suffix: &str, suppression: Option<&Suppression>) -> Result<(), Unaccepted> {
    qualify(recipient, suffix)?;
    let Some(lists) = suppression else { return Ok(()) };
    lists.refuses(address::check(recipient.as_bytes())?).map_or(Ok(()), |why| Err(why.into()))
}

fn qualify(recipient: &mut String, suffix: &str) -> Result<(), AddressError> {
    let address = address::check(recipient.as_bytes())?;
    let mut domain = String::new();
    match address.qualified(suffix)? {
        Some(whole) => *recipient = whole.as_str().to_owned(),
        None => address::normalise_domain(address.domain(), &mut domain)?,
    }
    Ok(())
}
