//! A campaign's directory, opened: its description, its compiled template, and its recipients up to the first row.
//! Used by `send` to check a campaign and by pickup to import it, so that both say the same about it.

use crate::ingest::{
    ArchiveError, Campaign, CampaignError, PrepareError, Prepared, Table, TableError, TemplateBytes,
    TemplateFiles, check_archive, open_compressed, prepare,
};
use crate::mail::Fixed;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Name of the description.
pub const DESCRIPTION: &str = "campaign.toml";
/// Longest template or body, bytes.
const MAX_TEMPLATE: u64 = 25 << 20;
/// Most bytes a compressed recipients file may decode to.
const MAX_DECODED: u64 = 1 << 40;

/// What is wrong with a campaign; `Display` is a line for the `.reason` file.
#[derive(Debug, Error)]
pub enum CampaignFault {
    #[error("{file}: {source}")]
    File { file: String, source: io::Error },
    #[error("{file}: it is not a plain file; put the file itself into the campaign's directory")]
    NotAFile { file: String },
    #[error("{file}: longer than {MAX_TEMPLATE} bytes")]
    TooLong { file: String },
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    #[error("{file}: {source}")]
    Archive { file: String, source: ArchiveError },
    #[error("{file}: {source}")]
    Table { file: String, source: TableError },
    #[error(transparent)]
    Prepare(#[from] PrepareError),
}

/// A campaign ready to be imported.
pub struct CampaignDirectory {
    pub campaign: Campaign,
    /// The template, compiled, and the columns that are stored.
    pub prepared: Prepared,
    pub table: Table<Box<dyn BufRead + Send>>,
}

impl CampaignDirectory {
    /// Opens the campaign in `directory` and checks everything but the rows. `fixed` gives what the content takes over
    /// from the submission (a check may give anything).
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn open(
        directory: &Path,
        fixed: impl FnOnce(&Campaign) -> Fixed,
    ) -> Result<CampaignDirectory, Vec<CampaignFault>> {
        let text = read(directory, DESCRIPTION).map_err(one)?;
        let campaign = Campaign::parse(&text)
            .map_err(|errors| errors.into_iter().map(CampaignFault::from).collect::<Vec<_>>())?;
        let mut table = open_table(directory, &campaign).map_err(one)?;
        let files = Template::read(directory, &campaign).map_err(one)?;
        let prepared = prepare(&campaign, files.bytes(), table.columns(), &fixed(&campaign))
            .map_err(|errors| errors.into_iter().map(CampaignFault::from).collect::<Vec<_>>())?;
        table.require(prepared.plan.columns());
        Ok(CampaignDirectory { campaign, prepared, table })
    }
}

fn one(fault: CampaignFault) -> Vec<CampaignFault> {
    vec![fault]
}

/// Opens a file of the campaign: a plain one, and no link that leads out of the directory.
fn open(directory: &Path, name: &str) -> Result<File, CampaignFault> {
    let trouble = |source| CampaignFault::File { file: name.to_owned(), source };
    let path: PathBuf = directory.join(name);
    // NONBLOCK, so that a pipe put there cannot hold the engine up.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(trouble)?;
    if !file.metadata().map_err(trouble)?.is_file() {
        return Err(CampaignFault::NotAFile { file: name.to_owned() });
    }
    Ok(file)
}

fn read(directory: &Path, name: &str) -> Result<Vec<u8>, CampaignFault> {
    let mut bytes = Vec::new();
    let source = open(directory, name)?.take(MAX_TEMPLATE + 1).read_to_end(&mut bytes);
    source.map_err(|source| CampaignFault::File { file: name.to_owned(), source })?;
    if bytes.len() as u64 > MAX_TEMPLATE {
        return Err(CampaignFault::TooLong { file: name.to_owned() });
    }
    Ok(bytes)
}

fn open_table(
    directory: &Path,
    campaign: &Campaign,
) -> Result<Table<Box<dyn BufRead + Send>>, CampaignFault> {
    let file = &campaign.recipients;
    let name = || file.name.clone();
    // A damaged archive must be found before the first row is taken.
    check_archive(open(directory, &file.name)?, file.compression, MAX_DECODED)
        .map_err(|source| CampaignFault::Archive { file: name(), source })?;
    let input = open_compressed(open(directory, &file.name)?, file.compression)
        .map_err(|source| CampaignFault::File { file: name(), source })?;
    Table::open(file.format, input).map_err(|source| CampaignFault::Table { file: name(), source })
}

/// The template's files, read.
enum Template {
    Eml(Vec<u8>),
    Parts { html: Option<Vec<u8>>, text: Option<Vec<u8>> },
}

impl Template {
    fn read(directory: &Path, campaign: &Campaign) -> Result<Template, CampaignFault> {
        let part = |name: &Option<String>| name.as_deref().map(|n| read(directory, n)).transpose();
        Ok(match &campaign.template {
            TemplateFiles::Eml(name) => Template::Eml(read(directory, name)?),
            TemplateFiles::Parts { html, text } => Template::Parts { html: part(html)?, text: part(text)? },
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const CAMPAIGN: &str = "job = \"spring\"\nenvelope-sender = \"b@news.example\"\ntext = \"body.txt\"\n\
        recipients = \"list.csv\"\n[headers]\nFrom = \"n@news.example\"\nSubject = \"Hello {{ name }}\"\n";

    fn campaign(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let dir = campaign(files);
        match CampaignDirectory::open(dir.path(), |_| Fixed::default()) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_good_campaign_is_ready_to_be_imported() {
        let files = [
            ("campaign.toml", CAMPAIGN),
            ("body.txt", "Hi {{ name }}, your code is {{ code }}\n"),
            ("list.csv", "email,name,city,code\na@b.example,Ann,Ulm,7\n"),
        ];
        let dir = campaign(&files);
        let opened = CampaignDirectory::open(dir.path(), |_| Fixed::default()).ok().unwrap();
        assert_eq!(opened.campaign.job, "spring");
        assert_eq!(opened.prepared.plan.field_names(), ["name", "code"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let body = ("body.txt", "x");
        let list = ("list.csv", "email,name\na@b.example,Ann\n");
        assert!(faults(&[body, list])[0].starts_with("campaign.toml: No such file"));
        assert!(faults(&[("campaign.toml", CAMPAIGN), list])[0].starts_with("body.txt: No such file"));
        assert!(faults(&[("campaign.toml", CAMPAIGN), body])[0].starts_with("list.csv: No such file"));
        let shown = faults(&[("campaign.toml", CAMPAIGN), body, ("list.csv", "mail,nam\nx,y\n")]);
        assert!(shown.iter().any(|f| f.contains("name")), "{shown:?}");
        assert!(faults(&[("campaign.toml", "job = 3\n"), body, list]).len() > 1, "all faults at once");
    }

    #[test]
    fn a_link_out_of_the_directory_is_not_followed() {
        let dir = campaign(&[("campaign.toml", CAMPAIGN), ("body.txt", "x")]);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("list.csv")).unwrap();
        let faults = CampaignDirectory::open(dir.path(), |_| Fixed::default()).err().unwrap();
        assert!(faults[0].to_string().starts_with("list.csv: "), "{faults:?}");
        fs::remove_file(dir.path().join("body.txt")).unwrap();
        fs::create_dir(dir.path().join("body.txt")).unwrap();
        fs::remove_file(dir.path().join("list.csv")).unwrap();
        fs::write(dir.path().join("list.csv"), "email,name\n").unwrap();
        let faults = CampaignDirectory::open(dir.path(), |_| Fixed::default()).err().unwrap();
        assert!(faults[0].to_string().contains("not a plain file"), "{faults:?}");
    }
}
