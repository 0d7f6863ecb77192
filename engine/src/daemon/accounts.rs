//! From the configuration's `<acct-file>`s to what accounting works with.

use super::accounting_file::FileOptions;
use super::accounting_stream::StreamOptions;
use crate::acct::{Categories, FilterError, Layout, LayoutError, PatternError, QueueFilter, Stamp};
use jiff::tz::TimeZone;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vmta_config::{AcctFile, AcctTarget, Config, DeleteAfter, FieldSelection};

#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    #[error("{origin}: {source}")]
    Layout { origin: String, source: LayoutError },
    #[error("{origin}: queue-filter: {source}")]
    Filter { origin: String, source: FilterError },
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

const DAY: u64 = 86_400;

/// What is accounted, with notes on what is asked for and not written yet.
pub fn stream_options(config: &Config, spool: &Path) -> Result<(StreamOptions, Vec<String>), AccountsError> {
    let mut files = Vec::new();
    let mut notes = Vec::new();
    for file in config.acct_files() {
        match &file.target {
            AcctTarget::File(path) => files.push(file_options(file, path, &mut notes)?),
            AcctTarget::Pipe(command) => notes.push(format!(
                "{}: <acct-file |{command}>: pipes are not started yet; no records are written to it",
                file.origin
            )),
        }
    }
    let patterns: Vec<(&str, &str)> =
        config.bounce_category_patterns().iter().map(|p| (p.pattern.source(), p.category.as_str())).collect();
    let options = StreamOptions {
        cursor_directory: spool.to_owned(),
        files,
        categories: Categories::new(&patterns)?,
        stamp: Stamp::new(TimeZone::system()),
    };
    Ok((options, notes))
}

fn file_options(file: &AcctFile, path: &str, notes: &mut Vec<String>) -> Result<FileOptions, AccountsError> {
    let settings = &file.settings;
    let records: Vec<String> = settings.records.iter().map(ToString::to_string).collect();
    let fields: Vec<(String, String)> =
        settings.record_fields.iter().map(|(kind, list)| (kind.to_string(), field_list(list))).collect();
    let user = settings.user_string.as_deref().unwrap_or_default();
    let origin = || file.origin.to_string();
    let layout = Layout::new(&records, &fields, settings.iso_times, user)
        .map_err(|source| AccountsError::Layout { origin: origin(), source })?;
    notes.extend(layout.notes().iter().map(|note| format!("{}: {note}", file.origin)));
    let filter = settings.queue_filter.as_ref().map(|filter| QueueFilter::parse(&filter.to_string()));
    Ok(FileOptions {
        target: PathBuf::from(path),
        layout,
        queue_filter: filter.transpose().map_err(|source| AccountsError::Filter { origin: origin(), source })?,
        move_to: settings.move_to.as_ref().map(PathBuf::from),
        move_interval: settings.move_interval,
        max_size: settings.max_size,
        delete_after: match settings.delete_after {
            DeleteAfter::Never => None,
            DeleteAfter::Age(age) => Some(days(age)),
        },
        world_readable: settings.world_readable,
    })
}

fn days(age: Duration) -> u32 {
    u32::try_from(age.as_secs().div_ceil(DAY)).unwrap_or(u32::MAX)
}

fn field_list(list: &FieldSelection) -> String {
    let all = list.all.then(|| "*".to_owned());
    let excluded = list.exclude.iter().map(|name| format!("!{name}"));
    all.into_iter().chain(list.include.iter().cloned()).chain(excluded).collect::<Vec<_>>().join(",")
}
