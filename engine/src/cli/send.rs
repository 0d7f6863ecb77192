//! `send`: checks a campaign as the import will, every row of it, and moves it into the pickup directory.

use super::args::Cli;
use super::start::configuration;
use super::{FAILED, complain, print};
use crate::daemon::campaign_directory::CampaignDirectory;
use crate::daemon::directory::Directory;
use crate::ingest::batch::Batch;
use crate::ingest::import::{Import, Settings, Taken};
use crate::ingest::progress::Counts;
use crate::io::clock;
use crate::io::config_files::ConfigFiles;
use crate::mail::Fixed;
use serde_json::json;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Faults of rows that are printed.
const SHOWN: usize = 10;

/// What a check found.
struct Checked {
    job: String,
    counts: Counts,
    faults: Vec<String>,
}

pub fn send(cli: &Cli, campaign: &Path, only_check: bool) -> ExitCode {
    let checked = match check(campaign, &domain_suffix(cli)) {
        Ok(checked) => checked,
        Err(faults) => {
            complain(cli.json, &format!("{}:\n{}", campaign.display(), faults.trim_end()));
            return ExitCode::from(FAILED);
        }
    };
    let mut moved = None;
    if !only_check {
        let config = match configuration(cli, &cli.config, false) {
            Ok(config) => config,
            Err(code) => return code,
        };
        let Some((pickup, _)) = &config.global().pickup else {
            complain(cli.json, "the configuration has no pickup directory; write `pickup DIR BAD-DIR`");
            return ExitCode::from(FAILED);
        };
        match hand_in(campaign, Path::new(pickup)) {
            Ok(path) => moved = Some(path),
            Err(e) => {
                complain(cli.json, &format!("{} cannot be moved to {pickup}: {e}", campaign.display()));
                return ExitCode::from(FAILED);
            }
        }
    }
    report(cli, &checked, moved.as_deref());
    ExitCode::SUCCESS
}

/// What the configuration says, if it can be read: a check alone does without one.
fn domain_suffix(cli: &Cli) -> String {
    let loaded = vmta_config::load(&cli.config.to_string_lossy(), &ConfigFiles, true);
    loaded.config.and_then(|config| config.global().domain_suffix.clone()).unwrap_or_default()
}

/// Checks everything the import checks, to the last row.
fn check(campaign: &Path, domain_suffix: &str) -> Result<Checked, String> {
    let dir = Directory::open(campaign).map_err(|e| e.to_string())?;
    let fixed = |_: &_| Fixed {
        date: "Thu, 1 Jan 1970 00:00:00 +0000".to_owned(),
        submission_id: 1,
        host: "localhost".to_owned(),
        ..Fixed::default()
    };
    let mut opened = CampaignDirectory::open(&dir, domain_suffix, fixed)?;
    opened.schedule(clock::wall())?;
    let one = [String::new()];
    let settings = Settings {
        vmtas: &one,
        duplicates: opened.campaign.duplicates,
        domain_suffix,
        key: [0; 16],
        resume: None,
    };
    let mut import = Import::new(opened.prepared.plan, &settings).map_err(|e| e.to_string())?;
    let (mut batch, mut taken, mut faults) = (Batch::new(), Taken::default(), Vec::new());
    let file = &opened.campaign.recipients.name;
    while opened.table.read(&mut batch).map_err(|e| format!("{file}: {e}"))? {
        import.take(&batch, &mut taken).map_err(|e| format!("{file}: {e}"))?;
        for refused in taken.rejected.drain(..) {
            if faults.len() < SHOWN {
                faults.push(format!("{file}: line {}: {}", refused.line, refused.fault));
            }
        }
        taken.chunks.clear();
    }
    let counts = import.finish(&mut taken).map_err(|e| format!("{file}: {e}"))?;
    Ok(Checked { job: opened.campaign.job, counts, faults })
}

/// Renames the campaign into the pickup directory; from another file system it is copied beside it first, so that it
/// appears there whole.
fn hand_in(campaign: &Path, pickup: &Path) -> io::Result<PathBuf> {
    let campaign = campaign.canonicalize()?;
    let mut name = campaign.file_name().unwrap_or_default().to_owned();
    if !name.to_string_lossy().ends_with(".campaign") {
        name.push(".campaign");
    }
    let target = pickup.join(&name);
    if target.exists() {
        let text = "a campaign of that name is waiting there; wait a moment or rename yours";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match fs::rename(&campaign, &target) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            let aside = pickup.join(format!(".{}.sending", name.to_string_lossy()));
            fs::create_dir(&aside)?;
            for entry in fs::read_dir(&campaign)? {
                let entry = entry?;
                fs::copy(entry.path(), aside.join(entry.file_name()))?;
            }
            fs::rename(&aside, &target)?;
            fs::remove_dir_all(&campaign)?;
        }
        renamed => renamed?,
    }
    Ok(target)
}

fn report(cli: &Cli, checked: &Checked, moved: Option<&Path>) {
    let Counts { read, accepted, duplicates, rejected } = checked.counts;
    if cli.json {
        let value = json!({
            "job": checked.job,
            "rows": read,
            "recipients": accepted,
            "duplicates": duplicates,
            "rejected": rejected,
            "first_errors": checked.faults,
            "moved_to": moved.map(|path| path.display().to_string()),
        });
        print(&format!("{value:#}\n"));
        return;
    }
    for fault in &checked.faults {
        print(&format!("{fault}\n"));
    }
    if rejected > checked.faults.len() as u64 {
        print(&format!("... and {} more rows\n", rejected - checked.faults.len() as u64));
    }
    print(&format!(
        "Job {}: {read} rows, {accepted} recipients, {duplicates} duplicates, {rejected} rejected.\n",
        checked.job
    ));
    match moved {
        Some(path) => print(&format!("Handed in as {}.\n", path.display())),
        None => print("The campaign is good; nothing was sent.\n"),
    }
}
