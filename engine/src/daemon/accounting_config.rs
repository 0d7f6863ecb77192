//! From `<acct-file>` and `<bounce-category-patterns>` to what accounting works with.

use super::accounting::{FileOptions, StreamOptions};
use crate::acct::{Categories, Layout, LayoutError, PatternError, Stamp};
use jiff::tz::TimeZone;
use std::path::{Path, PathBuf};
use thiserror::Error;
use vmta_config::{AcctFile, AcctTarget, Config, DeleteAfter, FieldSelection, Origin};

#[derive(Debug, Error)]
pub enum AccountingConfigError {
    #[error("{origin}: <acct-file {target}>: {source}")]
    Layout { origin: Origin, target: String, source: LayoutError },
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// Accounting as configured; `notes` gets what is configured and not in effect.
///
/// # Errors
/// The first thing that cannot be.
pub fn stream_options(
    config: &Config,
    spool: &Path,
    zone: TimeZone,
    notes: &mut Vec<String>,
) -> Result<StreamOptions, AccountingConfigError> {
    let mut files = Vec::new();
    for file in config.acct_files() {
        match &file.target {
            AcctTarget::File(target) => files.push(file_options(file, target, notes)?),
            AcctTarget::Pipe(_) => notes.push(format!(
                "{}: accounting to a program is not in effect yet; nothing is written to it",
                file.origin
            )),
        }
    }
    let categories = categories(config)?;
    Ok(StreamOptions { cursor_directory: spool.to_owned(), files, categories, stamp: Stamp::new(zone) })
}

/// The configured bounce categories.
pub fn categories(config: &Config) -> Result<Categories, PatternError> {
    let patterns: Vec<(&str, &str)> =
        config.bounce_category_patterns().iter().map(|p| (p.pattern.source(), p.category.as_str())).collect();
    Categories::new(&patterns)
}

fn file_options(
    file: &AcctFile,
    target: &str,
    notes: &mut Vec<String>,
) -> Result<FileOptions, AccountingConfigError> {
    let s = &file.settings;
    let records: Vec<String> = s.records.iter().map(|t| t.code().to_owned()).collect();
    let fields: Vec<(String, String)> =
        s.record_fields.iter().map(|(t, selection)| (t.code().to_owned(), list(selection))).collect();
    let user_string = s.user_string.as_deref().unwrap_or_default();
    let layout = Layout::new(&records, &fields, s.iso_times, user_string).map_err(|source| {
        AccountingConfigError::Layout { origin: file.origin.clone(), target: target.to_owned(), source }
    })?;
    notes.extend(layout.notes().iter().map(|note| format!("{}: {note}", file.origin)));
    let days =
        |age: std::time::Duration| u32::try_from(age.as_secs().div_ceil(86_400)).unwrap_or(u32::MAX).max(1);
    Ok(FileOptions {
        target: PathBuf::from(target),
        layout,
        queue_filter: s.queue_filter.clone(),
        move_to: s.move_to.as_ref().map(PathBuf::from),
        move_interval: s.move_interval,
        max_size: s.max_size,
        delete_after: match s.delete_after {
            DeleteAfter::Never => None,
            DeleteAfter::Age(age) => Some(days(age)),
        },
        world_readable: s.world_readable,
    })
}

/// The selection as a `record-fields` list.
fn list(selection: &FieldSelection) -> String {
    let all = selection.all.then(|| "*".to_owned());
    let excluded = selection.exclude.iter().map(|name| format!("!{name}"));
    let words: Vec<String> =
        all.into_iter().chain(selection.include.iter().cloned()).chain(excluded).collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acct::RecordType;
    use std::time::Duration;
    use vmta_config::{MemoryFiles, load};

    fn options(text: &str) -> (Result<StreamOptions, String>, Vec<String>) {
        let text = format!("<spool /s>\n</spool>\n{text}log-file /l\n");
        let loaded = load("config", &MemoryFiles::new([("config", text)]), false);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let mut notes = Vec::new();
        let made = stream_options(&config, Path::new("/s"), TimeZone::UTC, &mut notes);
        (made.map_err(|e| e.to_string()), notes)
    }

    #[test]
    fn a_file_with_everything() {
        let (made, notes) = options(
            "<acct-file /x/acct.csv>\n records d, t, rb\n record-fields d *,!orcpt,header_X-Job\n\
             move-to /y\n move-interval 5m\n max-size 50M\n iso-times no\n</acct-file>\n\
             <bounce-category-patterns>\n /kitten/ cute\n</bounce-category-patterns>\n",
        );
        let mut made = made.unwrap();
        let file = &made.files[0];
        assert_eq!(file.target, Path::new("/x/acct.csv"));
        assert!(file.layout.takes(RecordType::Transient) && !file.layout.takes(RecordType::Bounce));
        assert_eq!((file.move_interval, file.max_size), (Duration::from_secs(300), 50 << 20));
        assert_eq!(file.move_to.as_deref(), Some(Path::new("/y")));
        let mut header = Vec::new();
        file.layout.push_header(&mut header);
        assert!(String::from_utf8(header).unwrap().ends_with(",vmtaPool,header_X-Job\r\n"));
        let category = made.categories.of_text("5.1.1", "smtp;550 Kitten");
        assert_eq!(made.categories.name(category), "cute");
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("config:3: records rb: no lines"), "{notes:?}");
    }

    #[test]
    fn what_cannot_be_names_its_place() {
        let (made, _) =
            options("<acct-file /x/acct.csv>\n record-fields tq rcpt\n records tq\n</acct-file>\n");
        assert_eq!(
            made.err().unwrap(),
            "config:3: <acct-file /x/acct.csv>: record-fields tq: records of this type have no field `rcpt`"
        );
        let (made, notes) = options("<acct-file |/bin/cat>\n</acct-file>\n");
        assert!(made.unwrap().files.is_empty());
        assert!(notes[0].contains("accounting to a program is not in effect yet"), "{notes:?}");
    }
}
