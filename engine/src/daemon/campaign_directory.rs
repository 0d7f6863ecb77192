//! A campaign's directory, opened: its description, its compiled template, and its recipients up to the first row. Used by
//! `send` to check a campaign and by the import to read it, so that both say the same about it.

use super::directory::Directory;
use super::pickup;
use crate::base::Wall;
use crate::ingest::campaign::{Campaign, MAX_CAMPAIGN, RecipientsFile, TemplateFiles};
use crate::ingest::check_structure;
use crate::ingest::compressed::open_compressed;
use crate::ingest::prepare::{self, Prepared, TemplateBytes};
use crate::ingest::table::Table;
use crate::mail::Fixed;
use crate::mail::schedule::Schedule;
use jiff::tz::TimeZone;
use rustix::fs::Stat;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, Read, Seek};

/// Name of the description.
pub const DESCRIPTION: &str = "campaign.toml";
/// Bytes of a template file.
const MAX_TEMPLATE: u64 = 25 << 20;
/// Bytes that a compressed recipients file may decode to.
const MAX_DECODED: u64 = 1 << 40;

/// A campaign ready to be imported.
pub struct CampaignDirectory {
    pub campaign: Campaign,
    pub prepared: Prepared,
    pub table: Table<Box<dyn BufRead + Send>>,
    /// Of the recipients file: what tells the campaign from others (F26).
    pub stat: Stat,
    /// Of `send-hours`.
    zone: TimeZone,
}

impl CampaignDirectory {
    /// Opens the campaign in `dir` and checks everything but the rows. `domain_suffix` stands behind a sender's domain of a
    /// single label; `fixed` gives what the content takes over from the
    /// submission (a check may give anything).
    ///
    /// # Errors
    /// Everything that is wrong with it, a line each.
    pub fn open(
        dir: &Directory,
        domain_suffix: &str,
        fixed: impl FnOnce(&Campaign) -> Fixed,
    ) -> Result<CampaignDirectory, String> {
        let text = read_file(dir, DESCRIPTION, MAX_CAMPAIGN as u64)?;
        let mut campaign = Campaign::parse(&text)
            .map_err(|errors| errors.iter().fold(String::new(), |all, e| all + &format!("{e}\n")))?;
        let sender = campaign.envelope_sender.as_ref().qualified(domain_suffix).map_err(|e| {
            let sender = campaign.envelope_sender.as_str();
            format!(
                "{DESCRIPTION}: envelope-sender: {sender:?} with the domain-suffix {domain_suffix:?}: {e}\n"
            )
        })?;
        campaign.envelope_sender = sender.unwrap_or(campaign.envelope_sender);
        let zone = match campaign.time_zone.as_str() {
            "" => TimeZone::system(),
            name => TimeZone::get(name).map_err(|_| {
                format!(
                    "{DESCRIPTION}: time-zone: {name:?} is not known here; write one as in \"Europe/Paris\"\n"
                )
            })?,
        };
        let file = &campaign.recipients;
        let named = |e: &dyn std::fmt::Display| format!("{}: {e}\n", file.name);
        let (recipients, stat) = dir.open_file(OsStr::new(&file.name)).map_err(|e| named(&e))?;
        let mut table = open_table(recipients, file).map_err(|e| named(&e))?;
        let template = Template::read(dir, &campaign.template)?;
        let prepared = prepare::prepare(&campaign, template.bytes(), table.columns(), &fixed(&campaign))
            .map_err(|errors| errors.iter().fold(String::new(), |all, e| all + &format!("{e}\n")))?;
        table.require(prepared.plan.columns());
        Ok(CampaignDirectory { campaign, prepared, table, stat, zone })
    }

    /// When it may be delivered if it is accepted now.
    ///
    /// # Errors
    /// When it never could.
    pub fn schedule(&self, now: Wall) -> Result<Schedule, String> {
        prepare::schedule(&self.campaign, now.0, &self.zone).ok_or_else(|| {
            format!(
                "{DESCRIPTION}: no time is left to send it in; look at start-at, send-hours and send-until\n"
            )
        })
    }
}

/// What tells the campaign `name`, whose directory is `dir`, from others; none when it is no campaign at all.
pub fn identity(dir: &Directory, name: &OsStr) -> Option<String> {
    let text = read_file(dir, DESCRIPTION, MAX_CAMPAIGN as u64).ok()?;
    let (_, stat) = dir.open_file(OsStr::new(&Campaign::parse(&text).ok()?.recipients.name)).ok()?;
    Some(pickup::identity(&stat, name))
}

fn read_file(dir: &Directory, name: &str, most: u64) -> Result<Vec<u8>, String> {
    let (file, _) = dir.open_file(OsStr::new(name)).map_err(|e| {
        if e.is_gone() {
            format!("{name}: there is no such file in the campaign's directory\n")
        } else {
            format!("{name}: {e}\n")
        }
    })?;
    let mut bytes = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}\n"))?;
    if read as u64 > most {
        return Err(format!("{name}: the file is larger than {most} bytes\n"));
    }
    Ok(bytes)
}

fn open_table(mut file: File, described: &RecipientsFile) -> Result<Table<Box<dyn BufRead + Send>>, String> {
    // What would end the import in the middle must be found before the first row is taken.
    check_structure(&file, described.compression, described.format, MAX_DECODED)
        .map_err(|e| e.to_string())?;
    file.rewind().map_err(|e| e.to_string())?;
    let input = open_compressed(file, described.compression).map_err(|e| e.to_string())?;
    Table::open(described.format, input).map_err(|e| e.to_string())
}

/// The bytes of the template files.
enum Template {
    Eml(Vec<u8>),
    Parts { html: Option<Vec<u8>>, text: Option<Vec<u8>> },
}

impl Template {
    fn read(dir: &Directory, files: &TemplateFiles) -> Result<Template, String> {
        let read = |name: &Option<String>| name.as_ref().map(|n| read_file(dir, n, MAX_TEMPLATE)).transpose();
        Ok(match files {
            TemplateFiles::Eml(name) => Template::Eml(read_file(dir, name, MAX_TEMPLATE)?),
            TemplateFiles::Parts { html, text } => Template::Parts { html: read(html)?, text: read(text)? },
        })
    }

    fn bytes(&self) -> TemplateBytes<'_> {
        match self {
            Template::Eml(bytes) => TemplateBytes::Eml(bytes),
            Template::Parts { html, text } => {
                TemplateBytes::Parts { html: html.as_deref(), text: text.as_deref() }
            }
        }
    }
}
