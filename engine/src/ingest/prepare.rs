//! A campaign made ready for its import: the template compiled against the columns of the table, and the columns found that
//! have to be stored. Everything that is wrong is told before the first row is read.

use super::campaign::{Campaign, TemplateFiles};
use super::plan::{Plan, PlanError, UsedField};
use crate::base::Wall;
use crate::mail::schedule::Schedule;
use crate::mail::{Content, Fixed, Template, TemplateError, TemplateSource};
use crate::spool::record::{Submission, Verp};
use jiff::tz::TimeZone;

/// What the template files hold, as [`Campaign::template`] names them.
#[derive(Clone, Copy, Debug)]
pub enum TemplateBytes<'a> {
    Eml(&'a [u8]),
    Parts { html: Option<&'a [u8]>, text: Option<&'a [u8]> },
}

/// Why a campaign cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    #[error("{file}: {error}")]
    Template { file: String, error: TemplateError },
    #[error("{file}, line {line}: the line is not UTF-8; save the file as UTF-8")]
    NotUtf8 { file: String, line: usize },
    #[error("{file}: {error}")]
    Columns { file: String, error: PlanError },
}

/// A campaign whose rows can be imported.
#[derive(Debug)]
pub struct Prepared {
    pub content: Content,
    pub plan: Plan,
}

/// Compiles the template of `campaign`, whose recipients file has these columns.
///
/// # Errors
/// All that is wrong with the template, and all columns that are missing.
pub fn prepare(
    campaign: &Campaign,
    template: TemplateBytes<'_>,
    columns: &[String],
    fixed: &Fixed,
) -> Result<Prepared, Vec<PrepareError>> {
    let mut errors = Vec::new();
    let content = compile(campaign, template, columns, fixed, &mut errors);
    let used: Vec<UsedField> = content.as_ref().map_or(Vec::new(), |content| {
        let names = content.fields().iter().cloned();
        names
            .zip(content.fields_in_headers())
            .map(|(name, in_header)| UsedField { name, in_header })
            .collect()
    });
    let plan = Plan::new(columns, &campaign.email_column, &used);
    match (content, plan) {
        (Some(content), Ok(plan)) if errors.is_empty() => Ok(Prepared { content, plan }),
        (_, plan) => {
            let file = || campaign.recipients.name.clone();
            let missing = plan.err().unwrap_or_default().into_iter();
            errors.extend(missing.map(|error| PrepareError::Columns { file: file(), error }));
            Err(errors)
        }
    }
}

fn compile(
    campaign: &Campaign,
    template: TemplateBytes<'_>,
    columns: &[String],
    fixed: &Fixed,
    errors: &mut Vec<PrepareError>,
) -> Option<Content> {
    let (eml, html, text) = match &campaign.template {
        TemplateFiles::Eml(file) => (Some(file), None, None),
        TemplateFiles::Parts { html, text } => (None, html.as_ref(), text.as_ref()),
    };
    let source = match template {
        TemplateBytes::Eml(bytes) => TemplateSource::Eml(bytes),
        TemplateBytes::Parts { html: html_bytes, text: text_bytes } => {
            let before = errors.len();
            let html = as_text(html_bytes, html, errors);
            let text = as_text(text_bytes, text, errors);
            if errors.len() > before {
                return None;
            }
            TemplateSource::Parts { html, text, attached: &[] }
        }
    };
    let template = Template { source, headers: &campaign.headers, syntax: campaign.syntax, fields: columns };
    let file = |error: &TemplateError| {
        let part = match &error.place {
            place if place.starts_with("html part") => eml.or(html),
            place if place.starts_with("text part") => eml.or(text),
            _ => eml,
        };
        // A header that no file holds is one of `[headers]`, or should be.
        part.map_or("campaign.toml", String::as_str).to_owned()
    };
    match Content::compile(&template, fixed) {
        Ok(mut content) => {
            content.take_recipient_for(&campaign.email_column);
            Some(content)
        }
        Err(found) => {
            errors
                .extend(found.into_iter().map(|error| PrepareError::Template { file: file(&error), error }));
            None
        }
    }
}

fn as_text<'a>(
    bytes: Option<&'a [u8]>,
    file: Option<&String>,
    errors: &mut Vec<PrepareError>,
) -> Option<&'a str> {
    let bytes = bytes?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            errors.push(PrepareError::NotUtf8 { file: file.cloned().unwrap_or_default(), line });
            None
        }
    }
}

/// How long a campaign with hours is tried, where it does not say so itself.
const SEND_FOR_MS: i64 = 7 * 86_400_000;

/// When a campaign that is accepted at `accepted_at` may be delivered. `None` when it never could.
pub fn schedule(campaign: &Campaign, accepted_at: i64, zone: &TimeZone) -> Option<Schedule> {
    if campaign.send_hours.is_none() && campaign.send_until.is_none() {
        return Some(Schedule::default());
    }
    let from = campaign.start_at.max(accepted_at);
    let until = campaign.send_until.unwrap_or(from.saturating_add(SEND_FOR_MS));
    if until <= from {
        return None;
    }
    let made = Schedule::of_campaign(campaign.send_hours.as_ref(), Wall(from), Wall(until), zone);
    (!made.is_empty()).then_some(made)
}

/// The header of the campaign's submission, as far as the campaign says it. Its fields, size and needs are filled in from
/// the content by `campaign_start`.
pub fn submission(campaign: &Campaign, id: u64, accepted_at: i64, identity: &str) -> Submission {
    Submission {
        id,
        sender: campaign.envelope_sender.as_str().to_owned(),
        job: campaign.job.clone(),
        virtual_mta: campaign.virtual_mta.clone(),
        verp: if campaign.verp { Verp::Signed } else { Verp::No },
        source_type: "api".to_owned(),
        accepted_at,
        start_at: campaign.start_at,
        priority: campaign.priority,
        pickup_identity: identity.to_owned(),
        ..Submission::default()
    }
}

#[cfg(test)]
#[path = "prepare_test.rs"]
mod test;
