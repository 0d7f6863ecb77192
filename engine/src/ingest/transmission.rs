//! The request of PowerMTA's HTTP API (reference 6.6): one finished message and its recipients. Keys are those of the
//! reference and no others: what is not acted on is refused, not passed over.

use crate::mail::Printable;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A message that is to be submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmission<'a> {
    /// Envelope senders and those whose mail has it, in the order of the request.
    pub envelopes: Vec<(String, Vec<String>)>,
    pub job: Option<String>,
    pub smtputf8: bool,
    pub message: Cow<'a, str>,
}

/// Why a request is not understood; in words that name the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransmissionError {
    #[error("{}", Printable(.0))]
    Json(String),
    #[error("recipients: there are none")]
    NoRecipients,
    #[error("recipients[{0}]: there is no return_path, neither here nor for all")]
    NoReturnPath(usize),
    #[error(
        "recipients[{index}].substitution_data: `{}` is not known; only `*custommessageid` is, and nothing is substituted",
        Printable(key)
    )]
    Substitution { index: usize, key: String },
    #[error("recipients[{0}].substitution_data: `*custommessageid` is not in effect yet; leave it out")]
    CustomMessageId(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request<'a> {
    return_path: Option<String>,
    campaign_id: Option<String>,
    #[serde(default)]
    options: Options,
    recipients: Vec<Recipient>,
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    smtputf8: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipient {
    address: Address,
    return_path: Option<String>,
    #[serde(default)]
    substitution_data: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "an address, or an object with the key `email`")]
enum Address {
    Plain(String),
    Object(Email),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Email {
    email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content<'a> {
    #[serde(borrow)]
    email_rfc822: Cow<'a, str>,
}

impl Transmission<'_> {
    /// Reads a request's body.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Transmission<'_>, TransmissionError> {
        let request: Request<'_> =
            serde_json::from_slice(body).map_err(|e| TransmissionError::Json(e.to_string()))?;
        if request.recipients.is_empty() {
            return Err(TransmissionError::NoRecipients);
        }
        let mut envelopes: Vec<(String, Vec<String>)> = Vec::new();
        let common = request.return_path;
        let mut places = std::collections::HashMap::new();
        for (index, recipient) in request.recipients.into_iter().enumerate() {
            match recipient.substitution_data.into_keys().next() {
                Some(key) if key == "*custommessageid" => {
                    return Err(TransmissionError::CustomMessageId(index));
                }
                Some(key) => return Err(TransmissionError::Substitution { index, key }),
                None => {}
            }
            let sender = recipient.return_path.or_else(|| common.clone());
            let sender = sender.ok_or(TransmissionError::NoReturnPath(index))?;
            let (Address::Plain(address) | Address::Object(Email { email: address })) = recipient.address;
            let place = *places.entry(sender.clone()).or_insert_with(|| {
                envelopes.push((sender, Vec::new()));
                envelopes.len() - 1
            });
            envelopes[place].1.push(address);
        }
        Ok(Transmission {
            envelopes,
            job: request.campaign_id,
            smtputf8: request.options.smtputf8,
            message: request.content.email_rfc822,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_address_and_both_places_of_a_return_path() {
        let body = br#"{"return_path":"bounce@ex","campaign_id":"job1","options":{"smtputf8":true},
            "recipients":[{"address":{"email":"a@ex"}},{"address":"b@ex","return_path":"b-ret@ex"},{"address":"c@ex"}],
            "content":{"email_rfc822":"From: x@ex\n\nbody"}}"#;
        let read = Transmission::parse(body).unwrap();
        let envelope = |sender: &str, to: &[&str]| {
            (sender.to_owned(), to.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            read.envelopes,
            [envelope("bounce@ex", &["a@ex", "c@ex"]), envelope("b-ret@ex", &["b@ex"])]
        );
        assert_eq!((read.job.as_deref(), read.smtputf8), (Some("job1"), true));
        assert_eq!(read.message, "From: x@ex\n\nbody");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |body: &str| Transmission::parse(body.as_bytes()).unwrap_err().to_string();
        let content = r#""content":{"email_rfc822":"x"}"#;
        for (body, says) in [
            ("", "EOF while parsing"),
            ("[1]", "invalid type"),
            (r#"{"recipients":[]}"#, "missing field `content`"),
            (&format!(r#"{{"recipients":[],{content}}}"#), "recipients: there are none"),
            (
                &format!(r#"{{"recipients":[{{"address":"a@ex"}}],{content}}}"#),
                "recipients[0]: there is no return_path",
            ),
            (&format!(r#"{{"Recipients":[],{content}}}"#), "unknown field `Recipients`"),
            (
                &format!(r#"{{"options":{{"open_tracking":true}},"recipients":[],{content}}}"#),
                "unknown field `open_tracking`",
            ),
            (
                &format!(r#"{{"recipients":[{{"address":7}}],{content}}}"#),
                "an address, or an object with the key `email`",
            ),
            (
                &format!(
                    r#"{{"return_path":"","recipients":[{{"address":"a@ex","substitution_data":{{"x":1}}}}],{content}}}"#
                ),
                "`x` is not known",
            ),
        ] {
            assert!(wrong(body).contains(says), "{body}: {}", wrong(body));
        }
    }
}
