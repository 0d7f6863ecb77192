//! A request of the JSON endpoint that KumoMTA's clients use, without its recipients: who sends what, and the values that all
//! recipients share. Names and defaults are KumoMTA's; what is not available is refused, not passed over.

use crate::mail::{Printable, address};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The members that a request may have.
pub const MEMBERS: &str = "envelope_sender, recipients, content, substitutions, deferred_spool, deferred_generation, \
                       trace_headers and template_dialect";

/// What is wrong with a request, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", Printable(field), Printable(problem))]
pub struct InjectError {
    pub field: String,
    pub problem: String,
}

impl InjectError {
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> InjectError {
        InjectError { field: field.into(), problem: problem.into() }
    }
}

/// How the content is expanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    #[default]
    Jinja,
    /// Not at all.
    Static,
}

/// The message as it is described.
#[derive(Clone, Debug)]
pub enum Described {
    Raw(String),
    Object(Box<Object>),
}

/// A message that is to be built.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Object {
    pub text_body: Option<String>,
    pub html_body: Option<String>,
    pub amp_html_body: Option<String>,
    pub attachments: Vec<Attachment>,
    pub headers: BTreeMap<String, String>,
    pub from: Option<Mailbox>,
    pub subject: Option<String>,
    pub reply_to: Option<Mailbox>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mailbox {
    pub email: String,
    pub name: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    pub data: String,
    pub content_type: String,
    pub content_id: Option<String>,
    pub file_name: Option<String>,
    /// Otherwise `data` is text.
    #[serde(default)]
    pub base64: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceHeaders {
    #[serde(default)]
    received_header: bool,
    #[serde(default)]
    supplemental_header: bool,
}

/// The request but its recipients, member by member.
#[derive(Debug, Default)]
pub struct InjectHead {
    pub sender: Option<String>,
    pub described: Option<Described>,
    /// Values of all recipients that have none of their own, as JSON.
    pub substitutions: BTreeMap<String, Box<RawValue>>,
    pub dialect: Dialect,
}

impl InjectHead {
    /// Takes a member of the request.
    ///
    /// # Errors
    /// When it is not known, not right, or asks for what is not available.
    pub fn take(&mut self, key: &str, value: &[u8]) -> Result<(), InjectError> {
        match key {
            "envelope_sender" => self.sender = Some(sender(&read::<String>(key, value)?)?),
            "content" => self.described = Some(described(value)?),
            "substitutions" => self.substitutions = read(key, value)?,
            "template_dialect" => self.dialect = dialect(&read::<String>(key, value)?)?,
            // Content is always expanded at delivery, and always on stable storage before that: both are fulfilled.
            "deferred_spool" | "deferred_generation" => {
                read::<bool>(key, value)?;
            }
            "trace_headers" => {
                let wanted: TraceHeaders = read(key, value)?;
                if wanted.received_header || wanted.supplemental_header {
                    return Err(InjectError::new(
                        key,
                        "no trace headers are added; leave it out, or write false",
                    ));
                }
            }
            "recipients" => {
                return Err(InjectError::new(
                    key,
                    "a list is needed, as in [{\"email\": \"user@example.com\"}]",
                ));
            }
            _ => return Err(InjectError::new(key, format!("there is no such member; there are {MEMBERS}"))),
        }
        Ok(())
    }
}

fn read<'a, T: Deserialize<'a>>(key: &str, value: &'a [u8]) -> Result<T, InjectError> {
    serde_json::from_slice(value).map_err(|e| InjectError::new(key, e.to_string()))
}

fn sender(text: &str) -> Result<String, InjectError> {
    if !text.is_empty() {
        address::check(text.as_bytes())
            .map_err(|e| InjectError::new("envelope_sender", format!("{text:?} is not an address: {e}")))?;
    }
    Ok(text.to_owned())
}

fn described(value: &[u8]) -> Result<Described, InjectError> {
    if value.first() == Some(&b'"') {
        return Ok(Described::Raw(read("content", value)?));
    }
    let object: Object = read("content", value)?;
    if object.amp_html_body.is_some() {
        return Err(InjectError::new("content.amp_html_body", "AMP bodies are not available; leave it out"));
    }
    if object.text_body.is_none() && object.html_body.is_none() {
        return Err(InjectError::new("content", "at least one of text_body and html_body is needed"));
    }
    Ok(Described::Object(Box::new(object)))
}

fn dialect(name: &str) -> Result<Dialect, InjectError> {
    match name {
        "Jinja" => Ok(Dialect::Jinja),
        "Static" => Ok(Dialect::Static),
        _ => Err(InjectError::new(
            "template_dialect",
            format!("{name:?} is not available; \"Jinja\" and \"Static\" are"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_taken_or_refused_by_name() {
        let mut head = InjectHead::default();
        let mut take = |key: &str, value: &str| head.take(key, value.as_bytes()).map_err(|e| e.to_string());
        for (key, value) in [
            ("envelope_sender", r#""bounce@news.example""#),
            ("content", r#"{"text_body":"Hi","from":{"email":"a@b.example"},"headers":{"X-Tenant":"t"}}"#),
            ("substitutions", r#"{"a":1,"b":{"c":[2]}}"#),
            ("deferred_generation", "true"),
            ("trace_headers", r#"{"received_header":false}"#),
            ("template_dialect", r#""Static""#),
        ] {
            assert_eq!(take(key, value), Ok(()), "{key}");
        }
        for (key, value, says) in [
            ("envelope_sender", r#""@""#, "envelope_sender: \"@\" is not an address"),
            ("content", "{}", "content: at least one of text_body and html_body"),
            ("content", r#"{"text_body":"x","amp_html_body":"y"}"#, "content.amp_html_body: "),
            ("content", r#"{"test_body":"x"}"#, "content: unknown field `test_body`"),
            ("trace_headers", r#"{"received_header":true}"#, "trace_headers: no trace headers"),
            ("template_dialect", r#""Handlebars""#, "template_dialect: \"Handlebars\" is not available"),
            ("deferred_spool", "1", "deferred_spool: invalid type"),
            ("recipients", "{}", "recipients: a list is needed"),
            ("recipient", "[]", "recipient: there is no such member"),
        ] {
            let told = take(key, value).unwrap_err();
            assert!(told.starts_with(says), "{key}: {told}");
        }
        assert_eq!(head.sender.as_deref(), Some("bounce@news.example"));
        assert_eq!(head.dialect, Dialect::Static);
        assert_eq!(head.substitutions["b"].get(), r#"{"c":[2]}"#);
    }
}
