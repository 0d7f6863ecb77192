//! `campaign.toml`: what a marketer says about a campaign. Every key is known and every value checked here, and all that
//! is wrong is told at once, with line, column and what would be right.

use super::campaign_reader::{CampaignError, CampaignProblem, Entries};
use super::compressed::Compression;
use super::import::Duplicates;
use super::table::Format;
use crate::mail::hours::Hours;
use crate::mail::priority::Priority;
use crate::mail::{Address, Syntax, header};
use toml::de::{DeTable, DeValue};

/// Longest `campaign.toml`, in bytes.
pub const MAX_CAMPAIGN: usize = 1024 * 1024;
/// Longest job name, in bytes.
pub const MAX_JOB: usize = 128;
/// Most entries of `[headers]`.
pub const MAX_HEADERS: usize = 100;

/// The keys there are.
const KEYS: [&str; 17] = [
    "job",
    "envelope-sender",
    "verp",
    "virtual-mta",
    "template",
    "html",
    "text",
    "recipients",
    "email-column",
    "duplicates",
    "syntax",
    "start-at",
    "send-hours",
    "time-zone",
    "send-until",
    "priority",
    "headers",
];

/// The file or files that the message is made from. File names are those of files in the campaign's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateFiles {
    Eml(String),
    /// At least one of them.
    Parts {
        html: Option<String>,
        text: Option<String>,
    },
}

/// The file with the recipients, and how to read it, as its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientsFile {
    pub name: String,
    pub format: Format,
    pub compression: Compression,
}

/// A campaign as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    pub job: String,
    pub envelope_sender: Address,
    pub verp: bool,
    /// VMTA or pool; empty for `{default}`.
    pub virtual_mta: String,
    pub template: TemplateFiles,
    pub recipients: RecipientsFile,
    pub email_column: String,
    pub duplicates: Duplicates,
    pub syntax: Syntax,
    /// Not before this time (unix milliseconds); 0 means at once.
    pub start_at: i64,
    pub send_hours: Option<Hours>,
    /// Of `send_hours`, as the IANA names it; empty for that of this machine.
    pub time_zone: String,
    /// Nothing is tried after this time (unix milliseconds).
    pub send_until: Option<i64>,
    pub priority: Priority,
    /// In the order of the file.
    pub headers: Vec<(String, String)>,
}

impl Campaign {
    /// Reads the text of a `campaign.toml`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Campaign, Vec<CampaignError>> {
        let whole = |problem| vec![CampaignError { line: 1, column: 1, problem }];
        if text.len() > MAX_CAMPAIGN {
            return Err(whole(CampaignProblem::TooLong { bytes: text.len(), max: MAX_CAMPAIGN }));
        }
        let text = std::str::from_utf8(text).map_err(|error| {
            let line = text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            vec![CampaignError { line, column: 1, problem: CampaignProblem::NotUtf8 }]
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut entries = Entries::new(text);
        let Some(table) = entries.parse() else { return Err(entries.errors) };
        entries.refuse_unknown(&table, &KEYS);
        let campaign = read(&mut entries, &table);
        match campaign {
            Some(campaign) if entries.errors.is_empty() => Ok(campaign),
            _ => {
                entries.errors.sort_by_key(|error| (error.line, error.column));
                Err(entries.errors)
            }
        }
    }
}

/// The campaign, when everything that has to be there is.
fn read(entries: &mut Entries<'_>, table: &DeTable<'_>) -> Option<Campaign> {
    let job = entries.required(table, "job", job);
    let envelope_sender = entries.required(table, "envelope-sender", |text| {
        Address::parse(text).map_err(|error| format!("an address as in \"bounce@news.example\"; {error}"))
    });
    let verp = entries.boolean(table, "verp").unwrap_or(false);
    let virtual_mta = entries.optional(table, "virtual-mta", name).unwrap_or_default();
    let template = template(entries, table);
    let recipients = entries.required(table, "recipients", recipients);
    let email_column = entries.optional(table, "email-column", name).unwrap_or_else(|| "email".to_owned());
    let duplicates = entries.optional(table, "duplicates", |text| match text {
        "drop" => Ok(Duplicates::Drop),
        "keep" => Ok(Duplicates::Keep),
        _ => Err("\"drop\" or \"keep\"".to_owned()),
    });
    let syntax = entries.optional(table, "syntax", |text| match text {
        "minijinja" => Ok(Syntax::Minijinja),
        "pmta" => Ok(Syntax::Pmta),
        _ => Err("\"minijinja\" or \"pmta\"".to_owned()),
    });
    let start_at = instant(entries, table, "start-at").unwrap_or(0);
    let send_until = instant(entries, table, "send-until");
    let send_hours = entries.optional(table, "send-hours", |text| {
        Hours::parse(text).ok_or_else(|| "hours as in \"Mon-Fri 09:00-18:00, Sat 10:00-14:00\"".to_owned())
    });
    let time_zone = entries.optional(table, "time-zone", name).unwrap_or_default();
    let priority = entries.number(table, "priority", Priority::MOST).map(Priority::new);
    let headers = headers(entries, table);
    Some(Campaign {
        job: job?,
        envelope_sender: envelope_sender?,
        verp,
        virtual_mta,
        template: template?,
        recipients: recipients?,
        email_column,
        duplicates: duplicates.unwrap_or_default(),
        syntax: syntax.unwrap_or_default(),
        start_at,
        send_hours,
        time_zone,
        send_until,
        priority: priority.unwrap_or_default(),
        headers,
    })
}

fn job(text: &str) -> Result<String, String> {
    let right = !text.is_empty() && text.len() <= MAX_JOB && text.trim() == text;
    if right && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!("a name of 1 to {MAX_JOB} bytes without control characters and outer blanks"))
    }
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
        return Err("a name that is not empty, without control characters and outer blanks".to_owned());
    }
    Ok(text.to_owned())
}

/// A file that lies in the campaign's directory itself (A41).
fn file(text: &str) -> Result<String, String> {
    if text.is_empty()
        || text.starts_with('.')
        || text.chars().any(|c| c == '/' || c == '\\' || c.is_control())
    {
        return Err("the name of a file in the campaign's own directory, without / and not starting with ."
            .to_owned());
    }
    Ok(text.to_owned())
}

fn recipients(text: &str) -> Result<RecipientsFile, String> {
    let name = file(text)?;
    let lower = name.to_ascii_lowercase();
    let (rest, compression) = match (lower.strip_suffix(".gz"), lower.strip_suffix(".zst")) {
        (Some(rest), _) => (rest, Compression::Gzip),
        (_, Some(rest)) => (rest, Compression::Zstd),
        _ => (lower.as_str(), Compression::Plain),
    };
    let format = if rest.ends_with(".csv") {
        Format::Csv
    } else if rest.ends_with(".jsonl") {
        Format::Jsonl
    } else {
        return Err(
            "a name that ends in .csv or .jsonl, with .gz or .zst after it when it is compressed".to_owned()
        );
    };
    Ok(RecipientsFile { name, format, compression })
}

/// Either `template`, or `html`, `text` or both.
fn template(entries: &mut Entries<'_>, table: &DeTable<'_>) -> Option<TemplateFiles> {
    let errors = entries.errors.len();
    let eml = entries.optional(table, "template", file);
    let html = entries.optional(table, "html", file);
    let text = entries.optional(table, "text", file);
    if entries.errors.len() > errors {
        return None;
    }
    match (eml, html, text) {
        (Some(eml), None, None) => Some(TemplateFiles::Eml(eml)),
        (None, None, None) => {
            entries.refuse(0..0, CampaignProblem::NoTemplate);
            None
        }
        (None, html, text) => Some(TemplateFiles::Parts { html, text }),
        (Some(_), _, _) => {
            let at = table.get("template").map_or(0..0, toml::Spanned::span);
            entries.refuse(at, CampaignProblem::TwoTemplates);
            None
        }
    }
}

/// Unix milliseconds.
fn instant(entries: &mut Entries<'_>, table: &DeTable<'_>, key: &str) -> Option<i64> {
    let value = table.get(key)?;
    let instant = match value.get_ref() {
        DeValue::Datetime(time) if time.offset.is_some() => time.to_string().parse::<jiff::Timestamp>().ok(),
        _ => None,
    };
    match instant.map(jiff::Timestamp::as_millisecond) {
        Some(at) if at > 0 => Some(at),
        _ => {
            let right =
                "a date and time with its offset from UTC and no quotes, as in 2026-12-01T09:00:00Z or \
                         2026-12-01T10:00:00+01:00"
                    .to_owned();
            entries.refuse(value.span(), CampaignProblem::Value { key: key.to_owned(), right });
            None
        }
    }
}

fn headers(entries: &mut Entries<'_>, table: &DeTable<'_>) -> Vec<(String, String)> {
    let Some(value) = table.get("headers") else { return Vec::new() };
    let DeValue::Table(headers) = value.get_ref() else {
        let right = "a table, as in [headers]".to_owned();
        entries.refuse(value.span(), CampaignProblem::Value { key: "headers".to_owned(), right });
        return Vec::new();
    };
    if headers.len() > MAX_HEADERS {
        entries.refuse(value.span(), CampaignProblem::ManyHeaders { have: headers.len(), max: MAX_HEADERS });
        return Vec::new();
    }
    let mut read: Vec<(usize, String, String)> = Vec::new();
    for (key, value) in headers {
        let name = key.get_ref();
        if !header::is_name(name.as_bytes()) {
            entries.refuse(key.span(), CampaignProblem::HeaderName { name: name.to_string() });
        } else if read.iter().any(|(_, other, _)| other.eq_ignore_ascii_case(name)) {
            entries.refuse(key.span(), CampaignProblem::HeaderTwice { name: name.to_string() });
        }
        let text = entries.text(&format!("headers.{name}"), value, |text| match header::forbidden(text) {
            Some(_) => Err("text on one line, without line breaks and NUL".to_owned()),
            None => Ok(text.to_owned()),
        });
        read.push((key.span().start, name.to_string(), text.unwrap_or_default()));
    }
    read.sort_by_key(|(at, _, _)| *at);
    read.into_iter().map(|(_, name, text)| (name, text)).collect()
}

#[cfg(test)]
#[path = "campaign_test.rs"]
mod test;
